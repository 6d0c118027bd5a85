//! What the tests of the logs share: commits, and the answer to one.
#![allow(dead_code, clippy::unwrap_used, reason = "each test takes a part of it")]

pub mod counted;

use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Timestamp};
use duolog_storage::disk::Disk;
use duolog_storage::{
    Body, Commit, DiskLog, Durability, Entry, Log, LogError, MemoryLog, Options, ReadLimit, StoredBatch,
    Target, Trim,
};
use duolog_testkit::SimDisk;
use parking_lot::Mutex;

/// `DUOLOG_SEEDS` seeds from `DUOLOG_SEED` on; unless set `quick` of them, or `full` with `DUOLOG_TEST_FULL`.
pub fn seeds(quick: u64, full: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let is_full = std::env::var_os("DUOLOG_TEST_FULL").is_some();
    let first = number("DUOLOG_SEED").unwrap_or(0);
    first..first + number("DUOLOG_SEEDS").unwrap_or(if is_full { full } else { quick })
}

/// Tiny files, so that a test rolls many.
pub fn tiny() -> Options {
    Options { file_bytes: 32 << 10, file_targets: 100, cache_bytes: 4 << 10, ..Options::default() }
}

pub fn open(disk: &SimDisk, options: Options) -> DiskLog {
    DiskLog::open_manual(arc(disk), options).unwrap()
}

pub fn arc(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub fn batch(records: u32, value: &[u8], at: i64) -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(Timestamp(at), None, Some(value), &[]);
    }
    builder.build()
}

pub fn append(partition: u64, base: u64, records: u32, value: &[u8]) -> Entry {
    append_at(partition, base, records, value, 1_000 + base as i64)
}

pub fn append_at(partition: u64, base: u64, records: u32, value: &[u8], at: i64) -> Entry {
    Entry {
        body: Body::of(&batch(records, value, at)),
        targets: vec![Target { partition: PartitionId(partition), base: Offset(base), leader_epoch: 1 }],
        key_hashes: Vec::new(),
        abort_first: None,
    }
}

pub fn commit_of(entries: Vec<Entry>) -> Commit {
    Commit {
        entries,
        trims: Vec::new(),
        durability: Durability::Sync,
        append_time: Timestamp(0),
        may_use_reserve: false,
    }
}

pub fn trims(trims: Vec<Trim>) -> Commit {
    Commit { trims, ..commit_of(Vec::new()) }
}

pub fn trim(partition: u64, start: u64) -> Trim {
    Trim::Start { partition: PartitionId(partition), start: Offset(start) }
}

pub fn remove(partition: u64) -> Trim {
    Trim::Remove { partition: PartitionId(partition) }
}

pub fn all() -> ReadLimit {
    ReadLimit { bytes_max: usize::MAX, until: Offset(u64::MAX) }
}

/// Lets the cleaner do all that it finds to do. Gives how often it did something.
pub fn clean(log: &DiskLog, now: i64) -> u32 {
    let mut steps = 0;
    log.reclaim(Timestamp(now)).unwrap();
    while log.clean(Timestamp(now)).unwrap() {
        steps += 1;
        assert!(steps < 10_000, "the cleaner does not come to an end");
    }
    log.reclaim(Timestamp(now)).unwrap();
    steps
}

/// A log whose commits a test completes.
pub trait Pumped: Log {
    fn pump_once(&self) -> bool;

    /// Commits and completes it.
    fn outcome(&self, commit: Commit) -> Result<(), LogError> {
        let answer = self.queue(commit);
        while answer.lock().is_none() && self.pump_once() {}
        let result = answer.lock().take();
        result.expect("an answer when nothing waits any more")
    }

    fn queue(&self, commit: Commit) -> Arc<Mutex<Option<Result<(), LogError>>>> {
        let answer = Arc::new(Mutex::new(None));
        let there = Arc::clone(&answer);
        self.commit(commit, Box::new(move |result| *there.lock() = Some(result)));
        answer
    }

    fn values(&self, partition: u64) -> Vec<(u64, Bytes)> {
        let id = PartitionId(partition);
        let Some(bounds) = self.bounds(id) else { return Vec::new() };
        let batches = self.read(id, bounds.start, all()).unwrap();
        batches.iter().map(|it| (it.base.0, value_of(it))).collect()
    }
}

impl Pumped for MemoryLog {
    fn pump_once(&self) -> bool {
        self.pump()
    }
}

impl Pumped for DiskLog {
    fn pump_once(&self) -> bool {
        self.pump()
    }
}

/// Value of a batch's first record.
pub fn value_of(batch: &StoredBatch) -> Bytes {
    let whole = Batch::from_parts(batch.base, batch.leader_epoch, &batch.body).unwrap();
    let record = whole.records(batch.base, usize::MAX).unwrap().next().unwrap().unwrap();
    record.value.unwrap_or_default()
}
