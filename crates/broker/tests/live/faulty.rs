//! A log in memory whose reads fail where a test says so.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_record::{Offset, PartitionId};
use duolog_storage::{Log, MemoryLog, ReadError, ReadLimit, Span, StoredBatch};

use crate::support::{ReadThrough, Reads};

pub type FaultyLog = ReadThrough<Faults>;

#[derive(Default)]
pub struct Faults {
    /// Reads that succeed, ever.
    pub reads: AtomicU64,
    /// So many reads fail from now on, as the system's would.
    pub failures: AtomicU64,
    /// The batches at and above the first of these offsets and below the second are damaged, in every partition that is not hidden.
    damage: (AtomicU64, AtomicU64),
}

impl Faults {
    pub fn damage(&self, offsets: Range<u64>) {
        self.damage.0.store(offsets.start, Ordering::SeqCst);
        self.damage.1.store(offsets.end, Ordering::SeqCst);
    }

    fn damaged(&self) -> Range<u64> {
        self.damage.0.load(Ordering::SeqCst)..self.damage.1.load(Ordering::SeqCst)
    }

    fn check(&self, partition: PartitionId, from: Offset) -> Result<(), ReadError> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(ReadError::Io { partition, reason: "of the test".to_owned() });
        }
        if self.damaged().contains(&from.0) {
            return Err(ReadError::Damaged { partition, at: from, reason: "of the test".to_owned() });
        }
        Ok(())
    }
}

impl Reads for Faults {
    fn read(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        self.check(partition, from)?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut batches = log.read(partition, from, limit)?;
        let sound = batches.iter().take_while(|batch| !self.damaged().contains(&batch.base.0)).count();
        batches.truncate(sound);
        Ok(batches)
    }

    fn spans(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        from: Offset,
        count: usize,
    ) -> Result<Vec<Span>, ReadError> {
        let damaged = self.damaged();
        if damaged.contains(&from.0) {
            return Err(ReadError::Damaged { partition, at: from, reason: "of the test".to_owned() });
        }
        let mut spans = log.spans(partition, from, count)?;
        let sound = spans.iter().take_while(|span| !damaged.contains(&span.base.0)).count();
        spans.truncate(sound);
        Ok(spans)
    }

    fn readable_behind(
        &self,
        _: &MemoryLog,
        _: PartitionId,
        at: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        Ok(self.damaged().contains(&at.0).then(|| Offset(self.damaged().end)))
    }
}
