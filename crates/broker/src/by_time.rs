//! Positions in a partition by the time of its records: the index finds the batch, decoding it finds the record.
//! May touch the disk. A batch is opened within the room that sessions share, or, by the reader's thread alone, beside it.

use duolog_record::{Batch, PartitionId, Record, Timestamp};
use duolog_storage::{Log, ReadLimit, Span, StoredBatch};

use crate::OffsetAt;
use crate::errors::FetchError;
use crate::limits::DECODED_BATCH_BYTES;
use crate::room::{Room, Taken};

/// The first record whose timestamp is at or after `at`.
pub(crate) fn offset_at(
    log: &dyn Log,
    room: Option<&Room>,
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
    room: Option<&Room>,
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

/// Decodes one stored batch, one record after the other; what it takes is held until the end.
fn records(room: Option<&Room>, stored: &StoredBatch) -> (impl Iterator<Item = Record>, Taken) {
    let opened = match room {
        Some(room) => room.open_blocking(stored),
        None => {
            let (base, epoch) = (stored.base, stored.leader_epoch);
            let records = Batch::open_body(base, epoch, &stored.body, DECODED_BATCH_BYTES);
            records.map(|records| (records, Taken::default()))
        }
    };
    let (records, taken) = opened.map_or_else(|_| (None, Taken::default()), |(it, taken)| (Some(it), taken));
    (records.into_iter().flatten().map_while(Result::ok), taken)
}

/// The first record of the batch at `span` that is `wanted`; the batch's first if none can be decoded.
fn find(
    log: &dyn Log,
    room: Option<&Room>,
    partition: PartitionId,
    span: Span,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Option<OffsetAt>, FetchError> {
    let limit = ReadLimit { bytes_max: 1, until: span.base.plus(1) };
    let start = log.bounds(partition).map_or(span.base, |bounds| bounds.start);
    let stored = log.read(partition, span.base.max(start), limit)?;
    let Some(stored) = stored.first() else {
        return Ok(None);
    };
    let (mut records, _taken) = records(room, stored);
    let found = records.find(|record| record.offset >= start && wanted(record));
    let (offset, timestamp) =
        found.map_or((span.base.max(start), span.max_timestamp), |record| (record.offset, record.timestamp));
    Ok(Some(OffsetAt { offset, timestamp, leader_epoch: stored.leader_epoch }))
}
