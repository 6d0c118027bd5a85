//! Reads records of an echoed partition as the messages that they are heard as.

use std::ops::ControlFlow;

use duolog_record::{Offset, Record};

use super::block::write_headers;
use super::feeder::{Feed, Feeder};
use crate::Gap;
use crate::errors::FetchError;
use crate::headers::SUBJECT;
use crate::limits::{ECHO_LOOK_BYTES, ECHO_RECORD_BYTES, ECHO_TURN_BYTES, LIVE_SUBJECT_BYTES};
use crate::live::Message;
use crate::live::publisher::Publisher;

/// What a read has come to.
pub(super) struct ReadTurn {
    /// Where it stopped: all below has been visited, or there is nothing.
    pub(super) next: Offset,
    /// What comes there is damaged.
    pub(super) gap: Option<Gap>,
    /// What comes there cannot be read now.
    pub(super) error: Option<FetchError>,
}

impl Feeder {
    /// Reads records of a feed and hands each to `visit` as a message; `visit` answers how many bytes it has.
    pub(super) fn read(
        &mut self,
        feed: &Feed,
        from: Offset,
        mut visit: impl FnMut(&mut Publisher, Offset, Message<'_>) -> usize,
    ) -> ReadTurn {
        let mut turn = ReadTurn { next: from, gap: None, error: None };
        let (mut subject, mut headers) = (Vec::new(), Vec::new());
        let publisher = &mut self.publisher;
        // Before it is read: what comes meanwhile is not to be passed over.
        let end = self.session.bounds(feed.partition).map_or(from, |bounds| bounds.end.max(from));
        // Of all records, heard or not: others wait for this thread.
        let mut looked_at = 0;
        let mut has_broken_off = false;
        let read = self.session.scan_on(feed.partition, from, &mut self.kept, |seen| {
            has_broken_off = true;
            let record = match seen {
                Ok(record) => record,
                Err(gap) => {
                    turn.next = from.max(gap.offsets.start);
                    turn.gap = Some(gap);
                    return ControlFlow::Break(());
                }
            };
            let offset = record.offset;
            feed.echo.subject.fill(&mut subject, &feed.echo.topic, feed.index, record.key.as_deref());
            let mut bytes = 0;
            if subject.len() <= LIVE_SUBJECT_BYTES && !was_heard(&record, &subject) {
                write_headers(&record, &mut headers);
                let payload = record.value.as_deref().unwrap_or_default();
                let message = Message { subject: &subject, reply: b"", headers: &headers, payload };
                bytes = visit(publisher, offset, message);
            }
            if bytes == usize::MAX {
                turn.next = offset;
                return ControlFlow::Break(());
            }
            turn.next = offset.plus(1);
            looked_at += record.value.as_ref().map_or(0, |value| value.len()) + ECHO_RECORD_BYTES;
            if bytes >= ECHO_TURN_BYTES || looked_at >= ECHO_LOOK_BYTES {
                return ControlFlow::Break(());
            }
            has_broken_off = false;
            ControlFlow::Continue(())
        });
        match read {
            // Behind the last record there may be offsets without any.
            Ok(()) if !has_broken_off => turn.next = turn.next.max(end),
            Ok(()) => {}
            Err(error) => turn.error = Some(error),
        }
        turn
    }
}

/// True if a record was captured on the subject that it would be echoed on.
fn was_heard(record: &Record, subject: &[u8]) -> bool {
    // The last is the broker's own: one before it came with the message, from a client that sends on what it has heard.
    let captured = record.headers.iter().rfind(|header| *header.key == *SUBJECT.as_bytes());
    captured.is_some_and(|header| header.value.as_deref() == Some(subject))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use duolog_record::{Header, Offset, Record, Timestamp};

    use super::was_heard;
    use crate::headers::SUBJECT;

    #[test]
    fn what_a_client_sends_on_with_its_headers_was_heard_where_it_was_sent() {
        let header = |subject: &'static str| Header {
            key: Bytes::from_static(SUBJECT.as_bytes()),
            value: Some(Bytes::from_static(subject.as_bytes())),
        };
        let headers = vec![header("first"), header("second")];
        let record = Record { offset: Offset(0), timestamp: Timestamp(0), key: None, value: None, headers };
        assert!(was_heard(&record, b"second"));
        assert!(!was_heard(&record, b"first"));
    }
}
