//! What both binaries of tests stand on: a clock moved by hand, and a log in memory that a test can get between.
#![allow(dead_code)]

use std::ops::{Deref, Range};

use duolog_broker::{Clock, Monotonic, Now};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{
    Bounds, Commit, Done, Log, LogError, LogStats, MemoryLog, ReadError, ReadLimit, Span, StoredBatch,
};
use parking_lot::Mutex;

/// Stands still until it is moved.
#[derive(Default)]
pub struct HandClock(Mutex<Now>);

impl HandClock {
    pub fn pass_ms(&self, ms: u64) {
        let mut now = self.0.lock();
        now.monotonic = Monotonic(now.monotonic.0 + ms * 1000);
        now.wall = Timestamp(now.wall.0 + i64::try_from(ms).unwrap());
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        *self.0.lock()
    }
}

/// What a test does about the reads of a log.
pub trait Reads: Send + Sync + 'static {
    fn read(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError>;

    fn readable_behind(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        at: Offset,
    ) -> Result<Option<Offset>, ReadError> {
        log.readable_behind(partition, at)
    }

    fn spans(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        from: Offset,
        count: usize,
    ) -> Result<Vec<Span>, ReadError> {
        log.spans(partition, from, count)
    }

    fn is_cached(&self, log: &MemoryLog, partition: PartitionId, from: Offset) -> bool {
        log.is_cached(partition, from)
    }
}

/// A log in memory, but for what a test does about its reads.
#[derive(Default)]
pub struct ReadThrough<R> {
    log: MemoryLog,
    reads: R,
}

impl<R> ReadThrough<R> {
    pub fn new(reads: R) -> Self {
        Self { log: MemoryLog::new(), reads }
    }
}

impl<R> Deref for ReadThrough<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.reads
    }
}

impl<R: Reads> Log for ReadThrough<R> {
    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        self.reads.read(&self.log, partition, from, limit)
    }

    fn readable_behind(&self, partition: PartitionId, at: Offset) -> Result<Option<Offset>, ReadError> {
        self.reads.readable_behind(&self.log, partition, at)
    }

    fn is_cached(&self, partition: PartitionId, from: Offset) -> bool {
        self.reads.is_cached(&self.log, partition, from)
    }

    fn commit(&self, commit: Commit, done: Done) {
        self.log.commit(commit, done);
    }

    fn spans(&self, partition: PartitionId, from: Offset, count: usize) -> Result<Vec<Span>, ReadError> {
        self.reads.spans(&self.log, partition, from, count)
    }

    fn bounds(&self, partition: PartitionId) -> Option<Bounds> {
        self.log.bounds(partition)
    }

    fn partitions(&self) -> Vec<(PartitionId, Bounds)> {
        self.log.partitions()
    }

    fn first_at_or_after(&self, partition: PartitionId, at: Timestamp) -> Result<Option<Span>, ReadError> {
        self.log.first_at_or_after(partition, at)
    }

    fn first_appended_at_or_after(
        &self,
        partition: PartitionId,
        at: Timestamp,
    ) -> Result<Option<Span>, ReadError> {
        self.log.first_appended_at_or_after(partition, at)
    }

    fn partition_bytes(&self, partition: PartitionId) -> u64 {
        self.log.partition_bytes(partition)
    }

    fn start_for_bytes(&self, partition: PartitionId, bytes_max: u64) -> Offset {
        self.log.start_for_bytes(partition, bytes_max)
    }

    fn discard(&self, partition: PartitionId, runs: &[Range<Offset>]) {
        self.log.discard(partition, runs);
    }

    fn reclaim(&self, now: Timestamp) -> Result<(), LogError> {
        self.log.reclaim(now)
    }

    fn incarnation(&self) -> u32 {
        self.log.incarnation()
    }

    fn stats(&self) -> LogStats {
        self.log.stats()
    }

    fn close(&self) {
        self.log.close();
    }
}
