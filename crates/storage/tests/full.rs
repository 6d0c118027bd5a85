//! A full disk: a refusal that can be resumed, and a reserve for what frees space.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Pumped, append, commit_of, open, tiny, trim, trims};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Log, LogError, Options};
use duolog_testkit::SimDisk;
use duolog_testkit::disk::Faults;

const P1: PartitionId = PartitionId(1);

fn options() -> Options {
    Options { reserve_files: 2, ..tiny() }
}

fn capacity(disk: &SimDisk, bytes: u64) {
    disk.set_faults(Faults { capacity_bytes: Some(bytes), ..Faults::default() });
}

fn append_to_end(log: &DiskLog, may_use_reserve: bool) -> Result<(), LogError> {
    let end = log.bounds(P1).map_or(0, |it| it.end.0);
    let commit = commit_of(vec![append(1, end, 1, "f".repeat(900).as_bytes())]);
    log.outcome(Commit { may_use_reserve, ..commit })
}

fn fill(log: &DiskLog) {
    for _ in 0..10_000 {
        match append_to_end(log, false) {
            Ok(()) => {}
            Err(LogError::DiskFull { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never was full");
}

#[test]
fn a_full_disk_refuses_appends_serves_reads_and_can_be_emptied_through_the_log() {
    let disk = SimDisk::new(1);
    capacity(&disk, 400 << 10);
    let log = open(&disk, options());
    fill(&log);
    let end = log.bounds(P1).unwrap().end;
    assert_eq!(log.values(1).len() as u64, end.0);
    assert!(matches!(append_to_end(&log, false), Err(LogError::DiskFull { .. })));
    for _ in 0..20 {
        append_to_end(&log, true).unwrap();
    }
    assert!(
        matches!(append_to_end(&log, false), Err(LogError::DiskFull { .. })),
        "the reserve is not for all"
    );
    log.outcome(trims(vec![trim(1, end.0)])).unwrap();
    log.reclaim(Timestamp(0)).unwrap();
    for _ in 0..50 {
        append_to_end(&log, false).unwrap();
    }
}

#[test]
fn what_was_queued_behind_a_refusal_is_refused_and_the_next_that_fits_succeeds() {
    let disk = SimDisk::new(1);
    capacity(&disk, 300 << 10);
    let log = open(&disk, options());
    fill(&log);
    let end = log.bounds(P1).unwrap().end.0;
    let commit = |base, records| commit_of(vec![append(1, base, records, &[b'q'; 900])]);
    let first = log.queue(commit(end, 2));
    let second = log.queue(commit(end + 2, 3));
    let third = log.queue(Commit { may_use_reserve: true, ..commit(end + 5, 1) });
    let other = log.queue(Commit { may_use_reserve: true, ..commit_of(vec![append(2, 0, 1, b"other")]) });
    let wrong = log.queue(commit(end + 50, 1));
    while log.pump() {}
    for answer in [&first, &second, &third] {
        assert!(matches!(&*answer.lock(), Some(Err(LogError::DiskFull { .. }))), "{:?}", answer.lock());
    }
    assert!(matches!(&*other.lock(), Some(Ok(()))));
    assert!(matches!(&*wrong.lock(), Some(Err(LogError::Invalid { .. }))));
    capacity(&disk, 600 << 10);
    log.outcome(commit(end, 1)).unwrap();
    assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(end + 1)));
}

#[test]
fn a_full_disk_can_be_opened_and_emptied() {
    let disk = SimDisk::new(1);
    capacity(&disk, 300 << 10);
    let log = open(&disk, options());
    fill(&log);
    let end = log.bounds(P1).unwrap().end;
    for _ in 0..2 {
        disk.kill_process();
        capacity(&disk, 300 << 10);
        let log = open(&disk, options());
        assert_eq!(log.bounds(P1), Some(Offset(0)..end));
        assert!(matches!(append_to_end(&log, false), Err(LogError::DiskFull { .. })));
    }
    drop(log);
    disk.kill_process();
    capacity(&disk, 300 << 10);
    let log = open(&disk, options());
    log.outcome(trims(vec![trim(1, end.0)])).unwrap();
    log.reclaim(Timestamp(0)).unwrap();
    for _ in 0..30 {
        append_to_end(&log, false).unwrap();
    }
}

#[test]
fn a_commit_larger_than_a_file_gets_a_larger_file() {
    let disk = SimDisk::new(1);
    let log = open(&disk, options());
    append_to_end(&log, false).unwrap();
    let large = "L".repeat(300 << 10);
    log.outcome(commit_of(vec![append(1, 1, 1, large.as_bytes())])).unwrap();
    append_to_end(&log, false).unwrap();
    assert_eq!(log.values(1)[1].1.len(), large.len());
    disk.kill_process();
    drop(log);
    let log = open(&disk, options());
    assert_eq!((log.values(1).len(), log.values(1)[1].1.len()), (3, large.len()));
}
