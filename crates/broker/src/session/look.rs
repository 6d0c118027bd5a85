//! Looks that are answered from the log, past the shard.

use std::ops::{ControlFlow, Range};

use duolog_record::{Offset, PartitionId, Record};
use duolog_storage::{ReadError, ReadLimit};

use crate::broker::Inner;
use crate::errors::FetchError;
use crate::room::Opened;
use crate::{ReadAsk, ReadSlice};

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

/// See `Session::scan`.
pub(super) fn scan(
    inner: &Inner,
    partition: PartitionId,
    from: Offset,
    mut visit: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), FetchError> {
    let until = bounds(inner, partition).ok_or(FetchError::NotFound(partition))?.end;
    let mut has_visited = false;
    let mut at = from;
    while at < until
        && let Some(Opened { stored, records, _taken }) =
            inner.shared.room.open_at(&*inner.log, partition, at)?
    {
        let mut damage = None;
        match records {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) if record.offset < at => {}
                        Ok(record) => {
                            has_visited = true;
                            if visit(record).is_break() {
                                return Ok(());
                            }
                        }
                        Err(error) => damage = Some(error),
                    }
                }
            }
            Err(error) => damage = Some(error),
        }
        if let Some(error) = damage.filter(|_| !has_visited) {
            let reason = format!("the batch at offset {} cannot be decoded: {error}", stored.base);
            return Err(FetchError::Storage(ReadError::Damaged { partition, at: stored.base, reason }));
        }
        at = stored.base.plus(u64::from(stored.offsets));
    }
    Ok(())
}
