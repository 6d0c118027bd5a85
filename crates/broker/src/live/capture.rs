//! Captures: what is published on some subjects is also appended to a topic, and answered once that is durable.
//!
//! Invariants: a publisher's messages are appended in the order of publishing; what is echoed from a topic is never
//! captured; bytes on their way are bounded, and a publisher over that takes no more until they are durable.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use duolog_record::{Header, Offset};

use super::{Message, Pattern};
use crate::catalog::DEFAULT_NAMESPACE;
use crate::core::record_bytes;
use crate::errors::AppendError;
use crate::headers::SUBJECT;
use crate::limits::{
    CAPTURE_BYTES_IN_FLIGHT, CAPTURE_PUBLISH_BYTES, CAPTURE_PUBLISH_RECORDS, DEDUP_KEY_BYTES,
};
use crate::{NewRecord, Pending, Published, Session};

/// What is published on `pattern` is appended to `topic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Subjects.
    pub pattern: Pattern,
    /// Name of the topic; the subject becomes the record's key.
    pub topic: Arc<str>,
}

/// What became of a captured message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Where the publisher awaits an answer; empty if nowhere.
    pub reply: Bytes,
    /// The topic.
    pub topic: Arc<str>,
    /// Where it is, durable; or why it is not.
    pub place: Result<CapturedAt, AppendError>,
}

/// The place of a captured message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedAt {
    /// Index of the partition in its topic.
    pub partition: u32,
    /// There.
    pub offset: Offset,
    /// It was there already, by its idempotency key; nothing was stored.
    pub duplicate: bool,
}

/// Records for one topic on their way.
struct InFlight {
    topic: Arc<str>,
    replies: Vec<Bytes>,
    bytes: usize,
    answer: Answer,
}

enum Answer {
    Pending(Pending<Result<Vec<Published>, AppendError>>),
    Refused(AppendError),
}

/// One publisher's captured messages.
#[derive(Default)]
pub(super) struct Captures {
    /// Not handed over yet, for one topic.
    topic: Option<Arc<str>>,
    records: Vec<NewRecord>,
    replies: Vec<Bytes>,
    bytes: usize,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// Name of the header whose value is the idempotency key.
    idempotency_header: Option<&'static [u8]>,
}

impl Captures {
    pub(super) fn name_idempotency_header(&mut self, name: &'static [u8]) {
        self.idempotency_header = Some(name);
    }

    /// True if none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.in_flight.is_empty()
    }

    /// True if no more may be under way for now.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight_bytes >= CAPTURE_BYTES_IN_FLIGHT
    }

    /// Takes a message for a topic.
    pub(super) fn add(&mut self, session: &Session, topic: &Arc<str>, message: Message<'_>) {
        let is_other = self.topic.as_ref().is_some_and(|waiting| waiting != topic);
        if is_other || self.records.len() >= CAPTURE_PUBLISH_RECORDS || self.bytes >= CAPTURE_PUBLISH_BYTES {
            self.hand_over(session);
        }
        let record = self.record(message);
        let reply = Bytes::copy_from_slice(message.reply);
        // One that cannot be stored must not take those with it that it is handed over with.
        if let Err(error) = check(session, topic, &record) {
            self.hand_over(session);
            // It waits behind those before it, and so takes memory as they do.
            let bytes = record_bytes(&record) + size_of::<InFlight>();
            self.in_flight_bytes += bytes;
            self.in_flight.push_back(InFlight {
                topic: Arc::clone(topic),
                replies: vec![reply],
                bytes,
                answer: Answer::Refused(error),
            });
            return;
        }
        self.topic.get_or_insert_with(|| Arc::clone(topic));
        self.bytes += record_bytes(&record);
        self.records.push(record);
        self.replies.push(reply);
    }

    fn record(&self, message: Message<'_>) -> NewRecord {
        // One allocation for all parts.
        let mut all =
            Vec::with_capacity(message.subject.len() + message.headers.len() + message.payload.len());
        all.extend_from_slice(message.subject);
        all.extend_from_slice(message.headers);
        all.extend_from_slice(message.payload);
        let mut value = Bytes::from(all);
        let key = value.split_to(message.subject.len());
        let block = value.split_to(message.headers.len());
        let mut headers = headers(&block);
        let idempotency_key = self.idempotency_header.and_then(|name| {
            let header = headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?;
            header.value.clone()
        });
        headers.push(Header { key: Bytes::from_static(SUBJECT.as_bytes()), value: Some(key.clone()) });
        NewRecord { key: Some(key), value: Some(value), headers, idempotency_key, ..NewRecord::default() }
    }

    /// Gives what waits to the shard.
    pub(super) fn hand_over(&mut self, session: &Session) {
        let Some(topic) = self.topic.take() else { return };
        let records = std::mem::take(&mut self.records);
        let replies = std::mem::take(&mut self.replies);
        let bytes = std::mem::take(&mut self.bytes);
        let found = session.catalog().topic(DEFAULT_NAMESPACE, &topic).map(|topic| topic.id);
        let answer = match found {
            // The binding is the operator's: whoever may publish on the subject may be captured.
            Some(id) => Answer::Pending(session.publish_unasked(id, records)),
            None => Answer::Refused(AppendError::NotFound),
        };
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(InFlight { topic, replies, bytes, answer });
    }

    /// What became of the oldest, in order; pending while they are on their way, and while there are none.
    pub(super) fn poll(&mut self, waiting: &mut Context<'_>) -> Poll<Vec<Captured>> {
        let Some(oldest) = self.in_flight.front_mut() else { return Poll::Pending };
        let answer = match &mut oldest.answer {
            Answer::Pending(pending) => std::task::ready!(Pin::new(pending).poll(waiting)),
            Answer::Refused(error) => Err(error.clone()),
        };
        let InFlight { topic, replies, bytes, .. } = self.in_flight.pop_front().expect("it is the front");
        self.in_flight_bytes -= bytes;
        let mut places = answer.map(Vec::into_iter);
        let captured = |reply| Captured {
            reply,
            topic: Arc::clone(&topic),
            place: match &mut places {
                Ok(places) => places.next().map(place).ok_or(AppendError::NotFound),
                Err(error) => Err(error.clone()),
            },
        };
        Poll::Ready(replies.into_iter().map(captured).collect())
    }
}

fn place(published: Published) -> CapturedAt {
    let Published { partition_index, offset, duplicate, .. } = published;
    CapturedAt { partition: partition_index, offset, duplicate }
}

fn check(session: &Session, topic: &str, record: &NewRecord) -> Result<(), AppendError> {
    let catalog = session.catalog();
    let topic = catalog.topic(DEFAULT_NAMESPACE, topic).ok_or(AppendError::NotFound)?;
    let (bytes, bytes_max) = (record_bytes(record) as u64, u64::from(topic.policy.batch_bytes_max));
    if bytes > bytes_max {
        return Err(AppendError::TooLarge { bytes, bytes_max });
    }
    match &record.idempotency_key {
        Some(key) if key.is_empty() || key.len() > DEDUP_KEY_BYTES => {
            Err(AppendError::Malformed("an idempotency key of no or too many bytes"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The headers of a block, see [`Message::headers`]; a line without a colon is a name without a value.
fn headers(block: &Bytes) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut at = 0;
    let mut is_status = true;
    for line in block.split(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if std::mem::take(&mut is_status) || line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let name = colon.unwrap_or(line.len());
        let value = colon.map(|colon| {
            let value = &line[colon + 1..];
            let blank = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            block.slice(begin + colon + 1 + blank..begin + line.len())
        });
        headers.push(Header { key: block.slice(begin..begin + name), value });
    }
    headers
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use duolog_record::Header;

    use super::headers;

    #[test]
    fn a_block_of_headers_is_read_line_by_line() {
        let header = |key: &'static str, value: Option<&'static str>| Header {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let read = |text: &'static str| headers(&Bytes::from_static(text.as_bytes()));
        assert_eq!(read(""), []);
        assert_eq!(read(" 503\r\n\r\n"), []);
        assert_eq!(
            read("\r\nA: b\r\nA:  c: d \r\nE:\r\nlone\r\n\r\n"),
            [header("A", Some("b")), header("A", Some("c: d ")), header("E", Some("")), header("lone", None)]
        );
    }
}
