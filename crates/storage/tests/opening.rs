//! Opening a directory: what is refused and with which words, what outlives a restart.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use common::{Pumped, append, arc, commit_of, open, remove, tiny, trim, trims};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::disk::Disk;
use duolog_storage::{Commit, DiskLog, Durability, FsDisk, Log, LogError, OpenError, Options, ReadError};
use duolog_testkit::SimDisk;
use duolog_testkit::disk::Faults;

const P1: PartitionId = PartitionId(1);

fn refusal(disk: &SimDisk) -> OpenError {
    DiskLog::open_manual(arc(disk), tiny()).err().expect("refused")
}

fn fill(log: &DiskLog, from: u64, until: u64) {
    for at in from..until {
        log.outcome(commit_of(vec![append(1, at, 1, format!("{at} {}", "v".repeat(200)).as_bytes())]))
            .unwrap();
    }
}

#[test]
fn a_directory_is_open_once() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    assert!(matches!(refusal(&disk), OpenError::Locked { .. }));
    log.close();
    let log = open(&disk, tiny());
    drop(log);
    open(&disk, tiny());
}

#[test]
fn each_opening_counts_and_leaves_no_litter() {
    let disk = SimDisk::new(1);
    for incarnation in 1..10 {
        let log = open(&disk, tiny());
        assert_eq!(log.incarnation(), incarnation);
        log.close();
    }
    let logs = disk.names().iter().filter(|name| name.ends_with(".log")).count();
    assert!(logs <= 2, "{:?}", disk.names());
}

#[test]
fn os_commits_survive_the_process() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    let commit = Commit { durability: Durability::Os, ..commit_of(vec![append(1, 0, 1, b"x")]) };
    let before = log.stats().syncs;
    log.outcome(commit).unwrap();
    assert_eq!(log.stats().syncs, before);
    disk.kill_process();
    drop(log);
    assert_eq!(open(&disk, tiny()).values(1), [(0, "x".into())]);
}

#[test]
fn bounds_outlive_the_files_that_told_them() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 0, 200);
    log.outcome(commit_of(vec![append(2, 0, 1, b"gone")])).unwrap();
    log.outcome(trims(vec![trim(1, 200), remove(2), trim(3, 77)])).unwrap();
    log.reclaim(Timestamp(0)).unwrap();
    for round in 0..4 {
        let log = if round == 0 { None } else { Some(open(&disk, tiny())) };
        if let Some(log) = &log {
            assert_eq!(log.bounds(P1), Some(Offset(200)..Offset(200)));
            assert_eq!(log.bounds(PartitionId(2)), None);
            assert_eq!(log.bounds(PartitionId(3)), Some(Offset(77)..Offset(77)));
            log.reclaim(Timestamp(0)).unwrap();
        }
        disk.kill_process();
    }
    drop(log);
    let log = open(&disk, tiny());
    log.reclaim(Timestamp(0)).unwrap();
    assert!(log.stats().files <= 2, "{:?}", log.stats());
    assert!(log.outcome(commit_of(vec![append(1, 0, 1, b"x")])).is_err());
    fill(&log, 200, 201);
}

#[test]
fn discarded_files_are_reclaimed_and_leave_a_hole() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 0, 300);
    let before = log.stats().files;
    log.discard(P1, &[Offset(50)..Offset(290)]);
    log.reclaim(Timestamp(0)).unwrap();
    assert!(log.stats().files + 2 < before, "{before} files, then {}", log.stats().files);
    disk.kill_process();
    drop(log);
    let log = open(&disk, tiny());
    assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(300)));
    let bases: Vec<u64> = log.values(1).into_iter().map(|(base, _)| base).collect();
    assert!(bases.len() < 250 && bases.starts_with(&[0, 1, 2]) && bases.ends_with(&[298, 299]), "{bases:?}");
    let hole = (0..300).find(|at| !bases.contains(at)).unwrap();
    let after = bases.iter().copied().find(|base| *base > hole).unwrap();
    assert_eq!(log.read(P1, Offset(hole), common::all()).unwrap()[0].base, Offset(after));
}

#[test]
fn a_file_that_the_manifest_lacks_is_kept_and_the_log_not_opened() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 0, 10);
    let old = disk.contents("manifest").unwrap();
    log.close();
    let log = open(&disk, tiny());
    fill(&log, 10, 20);
    log.close();
    disk.unlink("manifest").unwrap();
    let file = disk.create("manifest").unwrap();
    file.write_at(&[IoSlice::new(&old)], 0).unwrap();
    let names = disk.names();
    let error = refusal(&disk);
    assert!(matches!(error, OpenError::Unlisted { .. }), "{error}");
    assert!(error.to_string().contains(".log in the simulated disk holds data"), "{error}");
    assert_eq!(disk.names(), names);

    disk.unlink("manifest").unwrap();
    assert!(matches!(refusal(&disk), OpenError::Unlisted { .. }), "no manifest is an old one too");
}

#[test]
fn a_listed_file_that_is_not_there_is_named() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 0, 10);
    log.close();
    let name = disk.names().into_iter().find(|name| name.ends_with(".log")).unwrap();
    disk.unlink(&name).unwrap();
    let error = refusal(&disk);
    assert!(matches!(&error, OpenError::Missing { name: missing, .. } if *missing == name), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let disk = SimDisk::new(1);
    open(&disk, tiny()).close();
    let file = disk.open("manifest").unwrap();
    file.write_at(&[IoSlice::new(&7u32.to_le_bytes())], 8).unwrap();
    let error = refusal(&disk);
    assert!(matches!(error, OpenError::NewerFormat { found: 7, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("use a newer release"), "{error}");
}

#[test]
fn after_a_failed_sync_nothing_is_answered_well() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 0, 3);
    disk.set_faults(Faults { sync_fails_after: Some(0), ..Faults::default() });
    let answers: Vec<_> = (3..6).map(|at| log.queue(commit_of(vec![append(1, at, 1, b"x")]))).collect();
    while log.pump() {}
    for answer in &answers {
        assert!(matches!(&*answer.lock(), Some(Err(LogError::Stopped { .. }))));
    }
    assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(3)));
    assert!(matches!(log.outcome(commit_of(vec![append(1, 3, 1, b"x")])), Err(LogError::Stopped { .. })));
    assert!(matches!(log.reclaim(Timestamp(0)), Err(LogError::Stopped { .. })));
    disk.kill_process();
    drop(log);
    // What the failed sync left in the page cache is not on the disk: once it is shown, it must be.
    let log = open(&disk, tiny());
    let shown = log.bounds(P1).unwrap();
    disk.power_off();
    drop(log);
    disk.power_on();
    assert_eq!(open(&disk, tiny()).bounds(P1), Some(shown));
}

#[test]
fn a_real_directory_with_its_thread() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(FsDisk::new(directory.path().join("data")));
    let options = Options { file_bytes: 256 << 10, cache_bytes: 64 << 10, ..Options::default() };
    let log = Arc::new(DiskLog::open(disk(), options.clone()).unwrap());
    assert!(matches!(DiskLog::open(disk(), options.clone()), Err(OpenError::Locked { .. })));
    let (sender, receiver) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..3u64)
        .map(|partition| {
            let (log, sender) = (Arc::clone(&log), sender.clone());
            std::thread::spawn(move || {
                for base in 0..500 {
                    let sender = sender.clone();
                    let commit = commit_of(vec![append(partition, base, 1, &[b'v'; 500])]);
                    log.commit(
                        commit,
                        Box::new(move |result| sender.send((partition, base, result)).unwrap()),
                    );
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|it| it.join().unwrap());
    let mut next = [0; 3];
    for (partition, base, result) in receiver.iter().take(1500) {
        result.unwrap();
        assert_eq!(std::mem::replace(&mut next[partition as usize], base + 1), base);
    }
    let stats = log.stats();
    assert!(stats.files > 2 && stats.syncs < 1500, "{stats:?}");
    log.close();
    let log = DiskLog::open(disk(), options).unwrap();
    for partition in 0..3 {
        assert_eq!(log.values(partition).len(), 500);
    }
}

/// Readers see whole, right batches while files roll, are trimmed and reclaimed under them.
#[test]
fn readers_are_not_disturbed_by_rolling_and_reclaiming() {
    const BATCHES: u64 = 3000;
    let directory = tempfile::tempdir().unwrap();
    let options = Options { file_bytes: 64 << 10, cache_bytes: 16 << 10, ..Options::default() };
    let log = Arc::new(DiskLog::open(Arc::new(FsDisk::new(directory.path())), options).unwrap());
    let value = |at: u64| format!("{at} {}", "r".repeat(100 + (at % 300) as usize));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let (mut at, mut seen) = (0, 0u64);
                while at < BATCHES {
                    match log.read(
                        P1,
                        Offset(at),
                        duolog_storage::ReadLimit { bytes_max: 20_000, ..common::all() },
                    ) {
                        Ok(batches) => {
                            for batch in &batches {
                                assert_eq!(batch.base.0, at);
                                assert_eq!(common::value_of(batch), value(at));
                                (at, seen) = (at + 1, seen + 1);
                            }
                        }
                        Err(ReadError::OutOfRange { start, .. }) if start.0 > at => at = start.0,
                        // It is not there yet.
                        Err(ReadError::UnknownPartition(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    std::thread::yield_now();
                }
                seen
            })
        })
        .collect();
    let (sender, receiver) = std::sync::mpsc::channel();
    for at in 0..BATCHES {
        let mut commit = commit_of(vec![append(1, at, 1, value(at).as_bytes())]);
        commit.durability = Durability::Os;
        if at % 50 == 49 && at > 1000 {
            commit.trims.push(trim(1, at - 1000));
        }
        let sender = sender.clone();
        log.commit(commit, Box::new(move |result| sender.send(result).unwrap()));
        receiver.recv().unwrap().unwrap();
        if at % 100 == 99 {
            log.reclaim(Timestamp(0)).unwrap();
        }
    }
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    log.close();
    let bounds = log.bounds(P1).unwrap();
    assert!(bounds.start.0 > 1000 && log.stats().files < 20, "{bounds:?} {:?}", log.stats());
    let logs = std::fs::read_dir(directory.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "log")
    });
    assert_eq!(logs.count() as u64, log.stats().files, "what was reclaimed is unlinked");
}
