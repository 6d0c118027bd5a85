//! A log in memory whose reads fail where a test says so.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{
    Bounds, Commit, Done, Log, LogError, LogStats, MemoryLog, ReadError, ReadLimit, Span, StoredBatch,
};

#[derive(Default)]
pub struct FaultyLog {
    inner: MemoryLog,
    /// Reads that succeed, ever.
    pub reads: AtomicU64,
    /// So many reads fail from now on, as the system's would.
    pub failures: AtomicU64,
    /// The batches at and above the first of these offsets and below the second are damaged, in every partition that is not hidden.
    damage: (AtomicU64, AtomicU64),
}

impl FaultyLog {
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

impl Log for FaultyLog {
    fn commit(&self, commit: Commit, done: Done) {
        self.inner.commit(commit, done);
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        self.check(partition, from)?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(partition, from, limit)
    }

    fn spans(&self, partition: PartitionId, from: Offset, count: usize) -> Result<Vec<Span>, ReadError> {
        self.inner.spans(partition, from, count)
    }

    fn readable_behind(&self, _: PartitionId, at: Offset) -> Option<Offset> {
        self.damaged().contains(&at.0).then(|| Offset(self.damaged().end))
    }

    fn is_cached(&self, partition: PartitionId, from: Offset) -> bool {
        self.inner.is_cached(partition, from)
    }

    fn bounds(&self, partition: PartitionId) -> Option<Bounds> {
        self.inner.bounds(partition)
    }

    fn partitions(&self) -> Vec<(PartitionId, Bounds)> {
        self.inner.partitions()
    }

    fn first_at_or_after(&self, partition: PartitionId, at: Timestamp) -> Result<Option<Span>, ReadError> {
        self.inner.first_at_or_after(partition, at)
    }

    fn first_appended_at_or_after(
        &self,
        partition: PartitionId,
        at: Timestamp,
    ) -> Result<Option<Span>, ReadError> {
        self.inner.first_appended_at_or_after(partition, at)
    }

    fn partition_bytes(&self, partition: PartitionId) -> u64 {
        self.inner.partition_bytes(partition)
    }

    fn start_for_bytes(&self, partition: PartitionId, bytes_max: u64) -> Offset {
        self.inner.start_for_bytes(partition, bytes_max)
    }

    fn discard(&self, partition: PartitionId, runs: &[Range<Offset>]) {
        self.inner.discard(partition, runs);
    }

    fn reclaim(&self, now: Timestamp) -> Result<(), LogError> {
        self.inner.reclaim(now)
    }

    fn incarnation(&self) -> u32 {
        self.inner.incarnation()
    }

    fn stats(&self) -> LogStats {
        self.inner.stats()
    }

    fn close(&self) {
        self.inner.close();
    }
}
