//! What reading, opening and keeping cost, counted in reads and bytes: the promises of docs/benchmarks.md at a small scale.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::counted::Counted;
use common::{Pumped, all, append, append_at, arc, clean, commit_of, tiny, trim, trims};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Entry, Log, Options};
use duolog_testkit::SimDisk;

fn open(disk: &Counted, options: Options) -> DiskLog {
    DiskLog::open_manual(Arc::new(disk.clone()), options).unwrap()
}

fn value(partition: u64, round: u64, bytes: usize) -> Vec<u8> {
    format!("{partition}/{round} {}", "v".repeat(bytes)).into_bytes()
}

/// A batch to each partition in turns.
fn fill(log: &DiskLog, partitions: u64, rounds: u64, bytes: usize) {
    for round in 0..rounds {
        let entries: Vec<Entry> =
            (0..partitions).map(|id| append(id, round, 1, &value(id, round, bytes))).collect();
        for entries in entries.chunks(50) {
            log.outcome(commit_of(entries.to_vec())).unwrap();
        }
    }
}

#[test]
fn catching_up_with_one_partition_of_many_takes_few_large_reads_once_the_cleaner_has_passed() {
    const PARTITIONS: u64 = 100;
    const ROUNDS: u64 = 50;
    let disk = Counted::new(arc(&SimDisk::new(1)));
    let options = Options {
        file_bytes: 256 << 10,
        file_targets: 1_000_000,
        cache_bytes: 0,
        extents_max: 500,
        ..tiny()
    };
    let log = open(&disk, options);
    fill(&log, PARTITIONS, ROUNDS, 500);
    let read = || {
        disk.take();
        let batches = log.read(PartitionId(42), Offset(0), all()).unwrap();
        assert_eq!(batches.len() as u64, ROUNDS);
        (disk.take(), batches.iter().map(|it| it.body.len() as u64).sum::<u64>())
    };
    let (before, _) = read();
    assert!(before.calls >= ROUNDS, "each batch lies elsewhere: {before:?}");
    clean(&log, 0);
    let (after, bytes) = read();
    assert!(after.calls <= 8, "{before:?}, then {after:?}");
    // Besides the batches: what lies between them in a frame, and pages of the index.
    assert!(after.bytes <= bytes * 3 / 2 + 8 * 4096, "{after:?} for {bytes} bytes of batches");
}

#[test]
fn replaying_old_records_leaves_the_newest_in_memory() {
    let disk = Counted::new(arc(&SimDisk::new(1)));
    let log = open(&disk, Options { cache_bytes: 64 << 10, ..tiny() });
    fill(&log, 4, 200, 500);
    let tail = || {
        disk.take();
        for id in 0..4 {
            assert_eq!(log.read(PartitionId(id), Offset(190), all()).unwrap().len(), 10);
        }
        disk.take().calls
    };
    assert_eq!(tail(), 0, "the newest are in memory");
    for _ in 0..3 {
        for id in 0..4 {
            assert_eq!(log.read(PartitionId(id), Offset(0), all()).unwrap().len(), 200);
        }
        assert!(disk.take().bytes > 4 * 150 * 500, "the old ones come from the disk");
    }
    assert_eq!(tail(), 0, "they still are");
}

#[test]
fn small_batches_that_lie_apart_keep_nothing_of_what_lies_between_them() {
    let disk = Counted::new(arc(&SimDisk::new(1)));
    let log = open(&disk, Options { cache_bytes: 0, file_bytes: 1 << 20, file_targets: 1_000_000, ..tiny() });
    for round in 0..300 {
        let entries = vec![append(1, round, 1, b"small"), append(2, round, 1, &[b'L'; 4000])];
        log.outcome(commit_of(entries)).unwrap();
    }
    let batches = |partition: u64| {
        disk.take();
        let batches = log.read(PartitionId(partition), Offset(0), all()).unwrap();
        assert_eq!(batches.len(), 300);
        batches
    };
    // Had they kept the buffer that they were read into, they would share it.
    assert!(batches(1).iter().all(|it| it.body.is_unique()));
    assert!(disk.take().calls < 30, "neighbours are read together all the same");
    assert!(batches(2).iter().any(|it| !it.body.is_unique()), "large ones are not copied");
}

#[test]
fn an_opening_reads_footers_and_the_newest_file_and_no_index() {
    const PARTITIONS: u64 = 300;
    let sim = SimDisk::new(1);
    let disk = Counted::new(arc(&sim));
    let options = Options { file_bytes: 512 << 10, file_targets: 1_000_000, ..tiny() };
    let log = open(&disk, options.clone());
    fill(&log, PARTITIONS, 60, 500);
    let stats = log.stats();
    assert!(stats.files > 15, "{stats:?}");
    // As after kill -9.
    drop(log);
    sim.kill_process();
    disk.take();
    let log = open(&disk, options);
    let read = disk.take();
    assert_eq!(log.partitions().len() as u64, PARTITIONS);
    // Of each sealed file a row of 56 bytes a partition and a fence a page, with some blocks around them; the newest whole.
    let footers = stats.files * (PARTITIONS * 56 + (512 << 10) / 500 / 63 * 8 + 4 * 4096);
    assert!(read.bytes <= footers + (512 << 10) + (128 << 10), "{read:?}, {stats:?}");
    assert!(read.bytes < stats.disk_bytes / 8, "{read:?}, {stats:?}");
}

/// How long the partitions of each kind keep their records, rounds.
const LIFETIMES: [u64; 5] = [1, 4, 24, 100, u64::MAX];

#[test]
fn a_thousand_partitions_of_mixed_retention_settle_within_twice_what_is_alive() {
    const PARTITIONS: u64 = 1_000;
    const ROUNDS: u64 = 120;
    let sim = SimDisk::new(1);
    let disk = Counted::new(arc(&sim));
    let options = Options {
        file_bytes: 1 << 20,
        file_targets: 1_000_000,
        reserve_files: 0,
        extents_max: 20_000,
        ..tiny()
    };
    let log = open(&disk, options);
    let lifetime = |id: u64| LIFETIMES[id as usize % LIFETIMES.len()];
    for round in 0..ROUNDS {
        let appends: Vec<u64> = (0..PARTITIONS).collect();
        for ids in appends.chunks(100) {
            let entries =
                ids.iter().map(|&id| append_at(id, round, 1, &value(id, round, 100), round as i64)).collect();
            log.outcome(Commit { append_time: Timestamp(round as i64), ..commit_of(entries) }).unwrap();
        }
        let old = appends.iter().filter(|id| round >= lifetime(**id));
        let changes = old.map(|&id| trim(id, round + 1 - lifetime(id))).collect();
        log.outcome(Commit { append_time: Timestamp(round as i64), ..trims(changes) }).unwrap();
        if round % 10 == 9 {
            clean(&log, round as i64);
        }
    }
    let before = log.stats();
    clean(&log, ROUNDS as i64);
    let alive: u64 = log.partitions().iter().map(|(id, _)| log.partition_bytes(*id)).sum();
    let stats = log.stats();
    // The newest file is allocated as a whole.
    assert!(stats.disk_bytes <= 2 * alive + (1 << 20), "{alive} bytes alive: {before:?}, then {stats:?}");
    assert!(stats.clean.bytes_written < 3 * stats.bytes, "nothing is rewritten again and again: {stats:?}");
    for id in 0..PARTITIONS {
        let kept = log.values(id);
        assert_eq!(kept.len() as u64, lifetime(id).min(ROUNDS), "partition {id}");
        assert!(kept.iter().all(|(at, found)| *found == value(id, *at, 100)));
    }
}
