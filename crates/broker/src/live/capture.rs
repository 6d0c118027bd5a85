//! Captures: what is published on some subjects is also appended to a topic, and answered once that is durable.
//!
//! Invariants: a publisher's messages are appended to a topic in the order of publishing; what is echoed from a topic is never
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
    CAPTURE_BYTES_IN_FLIGHT, CAPTURE_PUBLISH_BYTES, CAPTURE_PUBLISH_RECORDS, CAPTURE_TOPICS_GATHERING,
    DEDUP_KEY_BYTES,
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

/// Records for one topic: being gathered, then on their way, then answered.
struct Batch {
    topic: Arc<str>,
    /// While it is being gathered.
    records: Vec<NewRecord>,
    /// How many have not been told of.
    left: usize,
    bytes: usize,
    state: State,
}

enum State {
    Gathering,
    Pending(Pending<Result<Vec<Published>, AppendError>>),
    Stored(std::vec::IntoIter<Published>),
    Refused(AppendError),
}

/// One publisher's captured messages.
///
/// Each topic gathers a batch of its own, so that a subject of two topics costs two appends and not two a message; what became
/// of them is told in the order of publishing all the same.
#[derive(Default)]
pub(super) struct Captures {
    /// In the order in which they were begun, up to those of which all has been told.
    batches: VecDeque<Batch>,
    /// The number of the first of them.
    first: u64,
    /// Those that are being gathered, each for another topic.
    gathering: Vec<u64>,
    gathered_records: usize,
    gathered_bytes: usize,
    /// Where the publisher awaits an answer to each message, in the order of publishing, and its batch.
    order: VecDeque<(Bytes, u64)>,
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
        self.order.is_empty()
    }

    /// True if no more may be under way for now.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight_bytes >= CAPTURE_BYTES_IN_FLIGHT
    }

    /// Takes a message for a topic.
    pub(super) fn add(&mut self, session: &Session, topic: &Arc<str>, message: Message<'_>) {
        if self.gathered_records >= CAPTURE_PUBLISH_RECORDS || self.gathered_bytes >= CAPTURE_PUBLISH_BYTES {
            self.hand_over(session);
        }
        let record = self.record(message);
        let bytes = record_bytes(&record);
        // One that cannot be stored must not take those with it that it is handed over with.
        let number = match check(session, topic, &record) {
            Ok(()) => self.gather(session, topic, record, bytes),
            Err(error) => {
                // It waits behind those before it, and so takes memory as they do.
                let bytes = bytes + size_of::<Batch>();
                self.in_flight_bytes += bytes;
                self.begin(Batch { left: 1, bytes, state: State::Refused(error), ..Batch::new(topic) })
            }
        };
        self.order.push_back((Bytes::copy_from_slice(message.reply), number));
    }

    /// Puts a record into its topic's batch; gives that one's number.
    fn gather(&mut self, session: &Session, topic: &Arc<str>, record: NewRecord, bytes: usize) -> u64 {
        // Mostly there is one, and it is the very same name.
        let known = self.gathering.iter().copied().find(|number| {
            self.batch(*number).is_some_and(|it| Arc::ptr_eq(&it.topic, topic) || it.topic == *topic)
        });
        let number = match known {
            Some(number) => number,
            None => {
                if self.gathering.len() >= CAPTURE_TOPICS_GATHERING {
                    self.hand_over(session);
                }
                let number = self.begin(Batch::new(topic));
                self.gathering.push(number);
                number
            }
        };
        self.gathered_records += 1;
        self.gathered_bytes += bytes;
        let batch = self.batch_mut(number);
        batch.left += 1;
        batch.bytes += bytes;
        batch.records.push(record);
        number
    }

    fn begin(&mut self, batch: Batch) -> u64 {
        self.batches.push_back(batch);
        self.first + self.batches.len() as u64 - 1
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

    /// Gives what has been gathered to the shard.
    pub(super) fn hand_over(&mut self, session: &Session) {
        for number in std::mem::take(&mut self.gathering) {
            let batch = self.batch_mut(number);
            let bytes = batch.bytes;
            let found = session.catalog().topic(DEFAULT_NAMESPACE, &batch.topic).map(|topic| topic.id);
            let records = std::mem::take(&mut batch.records);
            batch.state = match found {
                // The binding is the operator's: whoever may publish on the subject may be captured.
                Some(id) => State::Pending(session.publish_unasked(id, records)),
                None => State::Refused(AppendError::NotFound),
            };
            self.in_flight_bytes += bytes;
        }
        (self.gathered_records, self.gathered_bytes) = (0, 0);
    }

    /// What became of the oldest, in order, as far as it is known; pending while that of the very oldest is not, and while there are none.
    pub(super) fn poll(&mut self, waiting: &mut Context<'_>) -> Poll<Vec<Captured>> {
        let mut known = Vec::new();
        while let Some((_, number)) = self.order.front() {
            let number = *number;
            let Poll::Ready(place) = self.batch_mut(number).poll_place(waiting) else { break };
            let Some((reply, _)) = self.order.pop_front() else { break };
            let topic = Arc::clone(&self.batch_mut(number).topic);
            known.push(Captured { reply, topic, place });
            self.told(number);
        }
        if known.is_empty() { Poll::Pending } else { Poll::Ready(known) }
    }

    /// One of a batch's messages has been told of.
    fn told(&mut self, number: u64) {
        let batch = self.batch_mut(number);
        batch.left -= 1;
        if batch.left == 0 {
            let bytes = batch.bytes;
            self.in_flight_bytes -= bytes;
        }
        while self.batches.front().is_some_and(|it| it.left == 0) {
            self.batches.pop_front();
            self.first += 1;
        }
    }

    fn batch(&self, number: u64) -> Option<&Batch> {
        self.batches.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn batch_mut(&mut self, number: u64) -> &mut Batch {
        let index = (number - self.first) as usize;
        self.batches.get_mut(index).expect("a batch stays until all of it has been told")
    }
}

impl Batch {
    fn new(topic: &Arc<str>) -> Self {
        Self { topic: Arc::clone(topic), records: Vec::new(), left: 0, bytes: 0, state: State::Gathering }
    }

    /// What became of the next of its messages.
    fn poll_place(&mut self, waiting: &mut Context<'_>) -> Poll<Result<CapturedAt, AppendError>> {
        if let State::Pending(pending) = &mut self.state {
            self.state = match std::task::ready!(Pin::new(pending).poll(waiting)) {
                Ok(places) => State::Stored(places.into_iter()),
                Err(error) => State::Refused(error),
            };
        }
        match &mut self.state {
            State::Gathering | State::Pending(_) => Poll::Pending,
            State::Stored(places) => Poll::Ready(places.next().map(place).ok_or(AppendError::NotFound)),
            State::Refused(error) => Poll::Ready(Err(error.clone())),
        }
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
