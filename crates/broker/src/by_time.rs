//! Positions in a partition by the time of its records: the index finds the batch, decoding it finds the record.
//! May touch the disk.

use duolog_record::{PartitionId, Record, Timestamp};
use duolog_storage::{Log, Span};

use crate::OffsetAt;
use crate::errors::FetchError;
use crate::room::Room;

/// The first record whose timestamp is at or after `at`.
pub(crate) fn offset_at(
    log: &dyn Log,
    room: &Room,
    partition: PartitionId,
    at: Timestamp,
) -> Result<Option<OffsetAt>, FetchError> {
    match log.first_at_or_after(partition, at)? {
        Some(span) => find(log, room, partition, span, |record| record.timestamp >= at),
        None => Ok(None),
    }
}

/// The record with the largest timestamp, the first of several.
pub(crate) fn offset_of_max_timestamp(
    log: &dyn Log,
    room: &Room,
    partition: PartitionId,
) -> Result<Option<OffsetAt>, FetchError> {
    let Some(mut latest) = log.first_at_or_after(partition, Timestamp(i64::MIN))? else {
        return Ok(None);
    };
    // The first batch with the largest time is the one that no later time finds: the index is asked, not every batch.
    let mut beyond = i64::MAX;
    while latest.max_timestamp.0 < beyond {
        let middle = i64::midpoint(latest.max_timestamp.0, beyond).max(latest.max_timestamp.0 + 1);
        match log.first_at_or_after(partition, Timestamp(middle))? {
            Some(span) => latest = span,
            None => beyond = middle - 1,
        }
    }
    let largest = latest.max_timestamp;
    find(log, room, partition, latest, |record| record.timestamp >= largest)
}

/// The first record of the batch at `span` that is `wanted`; the batch's first if none can be decoded.
fn find(
    log: &dyn Log,
    room: &Room,
    partition: PartitionId,
    span: Span,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Option<OffsetAt>, FetchError> {
    let start = log.bounds(partition).map_or(span.base, |bounds| bounds.start);
    let Some(opened) = room.open_at(log, partition, span.base.max(start))? else {
        return Ok(None);
    };
    let leader_epoch = opened.stored.leader_epoch;
    let found = opened.records.iter().cloned().flatten().map_while(Result::ok);
    let found = found.into_iter().find(|record| record.offset >= start && wanted(record));
    let (offset, timestamp) =
        found.map_or((span.base.max(start), span.max_timestamp), |record| (record.offset, record.timestamp));
    Ok(Some(OffsetAt { offset, timestamp, leader_epoch }))
}
