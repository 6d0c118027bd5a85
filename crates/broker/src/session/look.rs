//! Looks that are answered from the log, past the shard's thread.

use std::ops::Range;

use duolog_record::{Batch, Offset, PartitionId, Record, Timestamp};
use duolog_storage::{ReadError, ReadLimit, Span, StoredBatch};

use crate::broker::Inner;
use crate::errors::FetchError;
use crate::limits::DECODED_BATCH_BYTES;
use crate::{OffsetAt, ReadAsk, ReadSlice};

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownPartition(partition) => Self::NotFound(partition),
            ReadError::OutOfRange { at, start, end, .. } => Self::OutOfRange { at, start, end },
            error @ (ReadError::Damaged { .. } | ReadError::Io { .. }) => Self::Storage(error),
        }
    }
}

/// First and next readable offset of a topic's partition.
pub(super) fn bounds(inner: &Inner, partition: PartitionId) -> Option<Range<Offset>> {
    inner.shared.catalog.load().topic_of(partition)?;
    // The log may be a step behind the catalog when a topic is removed, never when one is created.
    inner.log.bounds(partition)
}

pub(super) fn read(inner: &Inner, ask: ReadAsk) -> Result<ReadSlice, FetchError> {
    let known = bounds(inner, ask.partition).ok_or(FetchError::NotFound(ask.partition))?;
    let limit = ReadLimit { bytes_max: ask.bytes_max, until: known.end };
    let batches = inner.log.read(ask.partition, ask.from, limit)?;
    Ok(ReadSlice { batches, log_start: known.start, high_watermark: known.end, last_stable: known.end })
}

/// Decodes one stored batch.
fn records(stored: &StoredBatch) -> impl Iterator<Item = Record> {
    let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body);
    let records = batch.and_then(|batch| batch.records(stored.base, DECODED_BATCH_BYTES));
    records.into_iter().flatten().map_while(Result::ok)
}

/// The first record of the batch at `span` that is `wanted`; the batch's first if none can be decoded.
fn find(
    inner: &Inner,
    partition: PartitionId,
    span: Span,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Option<OffsetAt>, FetchError> {
    let limit = ReadLimit { bytes_max: 1, until: span.base.plus(1) };
    let start = inner.log.bounds(partition).map_or(span.base, |bounds| bounds.start);
    let stored = inner.log.read(partition, span.base.max(start), limit)?;
    let Some(stored) = stored.first() else {
        return Ok(None);
    };
    let found = records(stored).find(|record| record.offset >= start && wanted(record));
    let (offset, timestamp) =
        found.map_or((span.base.max(start), span.max_timestamp), |record| (record.offset, record.timestamp));
    Ok(Some(OffsetAt { offset, timestamp, leader_epoch: stored.leader_epoch }))
}

pub(super) fn offset_at(
    inner: &Inner,
    partition: PartitionId,
    at: Timestamp,
) -> Result<Option<OffsetAt>, FetchError> {
    bounds(inner, partition).ok_or(FetchError::NotFound(partition))?;
    match inner.log.first_at_or_after(partition, at)? {
        Some(span) => find(inner, partition, span, |record| record.timestamp >= at),
        None => Ok(None),
    }
}

pub(super) fn offset_of_max_timestamp(
    inner: &Inner,
    partition: PartitionId,
) -> Result<Option<OffsetAt>, FetchError> {
    bounds(inner, partition).ok_or(FetchError::NotFound(partition))?;
    let Some(mut latest) = inner.log.first_at_or_after(partition, Timestamp(i64::MIN))? else {
        return Ok(None);
    };
    // The first batch with the largest time is the one that no later time finds: the index is asked, not every batch.
    let mut beyond = i64::MAX;
    while latest.max_timestamp.0 < beyond {
        let middle = i64::midpoint(latest.max_timestamp.0, beyond).max(latest.max_timestamp.0 + 1);
        match inner.log.first_at_or_after(partition, Timestamp(middle))? {
            Some(span) => latest = span,
            None => beyond = middle - 1,
        }
    }
    let largest = latest.max_timestamp;
    find(inner, partition, latest, |record| record.timestamp >= largest)
}
