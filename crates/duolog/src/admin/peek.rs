//! Looking at records without taking them.
//!
//! The answer is written while the records are read, one batch open at a time, and has a size that it keeps to. It is
//! paid for before it is made, and until the client has read it.

use std::ops::ControlFlow;

use bytes::Bytes;
use duolog_broker::Session;
use duolog_broker::errors::FetchError;
use duolog_net::Reservation;
use duolog_record::{Offset, PartitionId, Record};
use serde::Serialize;

use super::error::ApiError;

/// Records shown if nobody says how many.
pub const COUNT_DEFAULT: usize = 10;
/// Most records of one answer.
pub const COUNT_MAX: usize = 1000;
/// Bytes that the largest answer may take while it is made.
pub const ROOM_BYTES: usize = 64 << 20;
/// No more records are shown once the answer has reached this part of its room: 16 MiB. One is in any case. A buffer may be
/// twice as large as what is in it.
const SHOWN_PART: usize = 4;
/// Of one record this part of the room is shown: 1 MiB of key, value and headers, which JSON makes up to six of.
const RECORD_PART: usize = 64;

/// A record as the API shows it. Bytes that are not UTF-8 are shown with replacement characters.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Peeked {
    offset: u64,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    /// Not all of it is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// An answer, and whether there would be more to show, had it more room.
pub struct Answer {
    /// A JSON list.
    pub body: Vec<u8>,
    /// Records or parts of them are missing.
    pub is_cut: bool,
}

/// Up to `count` records from `from` on, or from the first that is kept, as far as there is room for them, bytes. May
/// touch the disk.
pub fn records(
    session: &Session,
    partition: PartitionId,
    from: Option<Offset>,
    count: usize,
    room: usize,
) -> Result<Answer, ApiError> {
    let bounds = session.bounds(partition).ok_or(FetchError::NotFound(partition))?;
    let mut answer = Answer { body: vec![b'['], is_cut: false };
    let mut left = count.min(COUNT_MAX);
    let mut damage = None;
    session.scan(partition, from.unwrap_or(bounds.start), |seen| {
        let record = match seen {
            Ok(record) => record,
            // What is missing between records is told; where there are none before it, it is what has been asked for.
            Err(_) if answer.body.len() > 1 => {
                answer.is_cut = true;
                return ControlFlow::Continue(());
            }
            Err(gap) => {
                damage = Some(gap.error);
                return ControlFlow::Break(());
            }
        };
        if left == 0 {
            return ControlFlow::Break(());
        }
        if answer.body.len() >= room / SHOWN_PART {
            answer.is_cut = true;
            return ControlFlow::Break(());
        }
        if answer.body.len() > 1 {
            answer.body.push(b',');
        }
        left -= 1;
        let peeked = peeked(&record, room / RECORD_PART);
        answer.is_cut |= peeked.cut;
        serde_json::to_writer(&mut answer.body, &peeked).expect("text into memory");
        ControlFlow::Continue(())
    })?;
    if let Some(error) = damage {
        return Err(FetchError::Storage(error).into());
    }
    answer.body.push(b']');
    Ok(answer)
}

/// The bytes of an answer, which hold what they took from the budget until the last of them is sent.
pub fn held(body: Vec<u8>, reserved: Reservation) -> Bytes {
    struct Held {
        body: Vec<u8>,
        _reserved: Reservation,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }
    Bytes::from_owner(Held { body, _reserved: reserved })
}

fn peeked(record: &Record, bytes_max: usize) -> Peeked {
    let mut left = bytes_max;
    let mut cut = false;
    let mut text = |bytes: &Bytes| {
        let shown = bytes.len().min(left);
        left -= shown;
        cut |= shown < bytes.len();
        String::from_utf8_lossy(&bytes[..shown]).into_owned()
    };
    let key = record.key.as_ref().map(&mut text);
    let value = record.value.as_ref().map(&mut text);
    let headers = record.headers.iter().map(|it| (text(&it.key), it.value.as_ref().map(&mut text))).collect();
    Peeked { offset: record.offset.0, timestamp_ms: record.timestamp.0, key, value, headers, cut }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_net::Budget;
    use duolog_record::{Header, Timestamp};

    use super::*;

    #[test]
    fn what_is_shown_of_a_record_is_bounded() {
        let bytes_max = ROOM_BYTES / RECORD_PART;
        let large = Bytes::from(vec![1; 3 * bytes_max]);
        let header = Header { key: Bytes::from_static(b"h"), value: Some(large.clone()) };
        let record = Record {
            offset: Offset(7),
            timestamp: Timestamp(1),
            key: Some(Bytes::from_static(b"key")),
            value: Some(large),
            headers: vec![header],
        };
        let shown = peeked(&record, bytes_max);
        assert!(shown.cut);
        assert_eq!(
            (shown.key.as_deref(), shown.value.as_ref().map(String::len)),
            (Some("key"), Some(bytes_max - 3))
        );
        assert_eq!(shown.headers, [(String::new(), Some(String::new()))]);
        assert!(serde_json::to_vec(&shown).unwrap().len() < 8 * bytes_max);
    }

    #[test]
    fn an_answer_is_paid_for_until_it_is_gone() {
        let budget = Budget::new(1 << 20);
        let reserved = budget.try_reserve(2048).unwrap().unwrap();
        let body = held(b"[]".to_vec(), reserved);
        let rest = body.slice(1..);
        drop(body);
        assert_eq!((&rest[..], budget.used_bytes()), (&b"]"[..], 2048));
        drop(rest);
        assert_eq!(budget.used_bytes(), 0);
    }
}
