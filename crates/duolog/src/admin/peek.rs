//! Looking at records without taking them.

use bytes::Bytes;
use duolog_broker::errors::FetchError;
use duolog_broker::{Isolation, ReadAsk, Session};
use duolog_record::{Batch, Offset, PartitionId, Record};
use serde::Serialize;

use super::error::ApiError;

/// Records shown if nobody says how many.
pub const COUNT_DEFAULT: usize = 10;
/// Most records of one answer.
pub const COUNT_MAX: usize = 1000;
/// Stored bytes looked at per read.
const READ_BYTES: usize = 1 << 20;
/// Bytes of records after which no more are shown; one is in any case.
const SHOWN_BYTES: usize = 16 << 20;
/// Most bytes that one batch may grow to.
const DECODED_BYTES_MAX: usize = 64 << 20;

/// A record as the API shows it. Bytes that are not UTF-8 are shown with replacement characters.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Peeked {
    offset: u64,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

/// Up to `count` records from `from` on, or from the first that is kept. May touch the disk.
pub fn records(
    session: &Session,
    partition: PartitionId,
    from: Option<Offset>,
    count: usize,
) -> Result<Vec<Peeked>, ApiError> {
    let count = count.min(COUNT_MAX);
    let bounds = session.bounds(partition).ok_or(FetchError::NotFound(partition))?;
    let mut at = from.unwrap_or(bounds.start);
    let mut shown = Vec::new();
    let mut bytes = 0;
    while shown.len() < count && at < bounds.end {
        let ask =
            ReadAsk { partition, from: at, bytes_max: READ_BYTES, isolation: Isolation::ReadUncommitted };
        let slice = session.read(ask)?;
        if slice.batches.is_empty() {
            break;
        }
        for stored in slice.batches {
            let next = stored.base.plus(u64::from(stored.offsets));
            let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body);
            let decoded =
                batch.and_then(|batch| batch.records(stored.base, DECODED_BYTES_MAX)).map_err(|error| {
                    ApiError::internal(format!("the batch at offset {} cannot be read: {error}", stored.base))
                })?;
            for record in decoded.map_while(Result::ok).filter(|record| record.offset >= at) {
                if shown.len() >= count || bytes >= SHOWN_BYTES {
                    return Ok(shown);
                }
                bytes +=
                    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
                shown.push(peeked(record));
            }
            at = next;
        }
    }
    Ok(shown)
}

fn peeked(record: Record) -> Peeked {
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    Peeked {
        offset: record.offset.0,
        timestamp_ms: record.timestamp.0,
        key: record.key.map(text),
        value: record.value.map(text),
        headers: record.headers.into_iter().map(|it| (text(it.key), it.value.map(text))).collect(),
    }
}
