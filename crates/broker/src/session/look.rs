//! Looks that are answered from the log, past the shard.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use duolog_record::{BatchError, Offset, PartitionId, Record, Records};
use duolog_storage::{ReadError, ReadLimit};

use crate::broker::Inner;
use crate::errors::FetchError;
use crate::limits::KEPT_OPEN_BATCHES;
use crate::room::{Opened, Taken};
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

/// Records that cannot be read: what is stored of them is damaged, or is nonsense.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Which ones; some of these offsets may never have had any.
    pub offsets: Range<Offset>,
    /// What was found.
    pub error: ReadError,
}

/// Batches that stay open from one scan to the next, so that one who takes a large batch in turns opens it once. Those that are longest
/// out of use make room for others.
#[derive(Default)]
pub(crate) struct KeptOpen {
    batches: VecDeque<OpenBatch>,
    bytes: usize,
    bytes_max: usize,
}

/// A batch from which records have been taken, up to `next`.
struct OpenBatch {
    partition: PartitionId,
    next: Offset,
    end: Offset,
    records: Result<Records, BatchError>,
    /// Of the room for opening, until it is kept.
    taken: Taken,
}

impl KeptOpen {
    /// At most so many bytes, decompressed.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Keeps none any more.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    fn take(&mut self, partition: PartitionId, next: Offset) -> Option<OpenBatch> {
        let at = self.batches.iter().position(|it| it.partition == partition && it.next == next)?;
        let batch = self.batches.remove(at)?;
        self.bytes -= batch.bytes();
        Some(batch)
    }

    fn put(&mut self, mut batch: OpenBatch) {
        let bytes = batch.bytes();
        if bytes > self.bytes_max || !batch.records.as_ref().is_ok_and(|records| records.left() > 0) {
            return;
        }
        while self.bytes + bytes > self.bytes_max || self.batches.len() >= KEPT_OPEN_BATCHES {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        // Whoever waits for that room is not to hold any.
        batch.taken = Taken::default();
        self.bytes += bytes;
        self.batches.push_back(batch);
    }
}

impl OpenBatch {
    fn of(partition: PartitionId, opened: Opened) -> Self {
        let Opened { stored, records, _taken } = opened;
        let end = stored.base.plus(u64::from(stored.offsets));
        Self { partition, next: stored.base, end, records, taken: _taken }
    }

    fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, Records::section_bytes)
    }

    /// Its next record; what is left of it where that is nonsense; `None` at its end.
    fn next(&mut self) -> Option<Result<Record, Gap>> {
        let error = match &mut self.records {
            Ok(records) => match records.next()? {
                Ok(record) => {
                    self.next = record.offset.plus(1);
                    return Some(Ok(record));
                }
                Err(error) => error,
            },
            Err(error) => error.clone(),
        };
        if self.next >= self.end {
            return None;
        }
        let (partition, at) = (self.partition, self.next);
        self.next = self.end;
        let reason = format!("records cannot be decoded: {error}");
        Some(Err(Gap { offsets: at..self.end, error: ReadError::Damaged { partition, at, reason } }))
    }
}

/// See `Session::scan`.
pub(super) fn scan(
    inner: &Inner,
    partition: PartitionId,
    from: Offset,
    kept: &mut KeptOpen,
    mut visit: impl FnMut(Result<Record, Gap>) -> ControlFlow<()>,
) -> Result<(), FetchError> {
    let until = bounds(inner, partition).ok_or(FetchError::NotFound(partition))?.end;
    let mut at = from;
    while at < until {
        let mut batch = match kept.take(partition, at) {
            Some(batch) => batch,
            None => match inner.shared.room.open_at(&*inner.log, partition, at) {
                Ok(Some(opened)) => OpenBatch::of(partition, opened),
                Ok(None) => return Ok(()),
                Err(error @ ReadError::Damaged { .. }) => {
                    let behind = inner.log.readable_behind(partition, at)?.unwrap_or(until);
                    let gap = Gap { offsets: at..behind.clamp(at.plus(1), until), error };
                    at = gap.offsets.end;
                    if visit(Err(gap)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        while let Some(next) = batch.next() {
            let seen = match next {
                Ok(record) if record.offset < at => continue,
                Ok(record) => Ok(record),
                Err(gap) => Err(Gap { offsets: gap.offsets.start.max(at)..gap.offsets.end, ..gap }),
            };
            if visit(seen).is_break() {
                kept.put(batch);
                return Ok(());
            }
        }
        at = batch.end;
    }
    Ok(())
}
