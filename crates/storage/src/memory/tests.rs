//! The log in memory by itself: order, refusals, bounds.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::*;
use crate::testing::{append, commit_of, limit_none};

fn outcome(log: &MemoryLog, commit: Commit) -> Result<(), LogError> {
    let answer = Arc::new(Mutex::new(None));
    let there = Arc::clone(&answer);
    log.commit(commit, Box::new(move |result| *there.lock() = Some(result)));
    let result = answer.lock().take();
    result.expect("completes within the call")
}

#[test]
fn what_was_committed_is_read_from_the_batch_that_contains_the_offset() {
    let log = MemoryLog::new();
    outcome(&log, commit_of(vec![append(1, 0, 3, b"a"), append(1, 3, 2, b"b")])).unwrap();
    let read = log.read(PartitionId(1), Offset(1), limit_none()).unwrap();
    assert_eq!(read.iter().map(|it| it.base.0).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(log.bounds(PartitionId(1)), Some(Offset(0)..Offset(5)));
    assert!(log.read(PartitionId(1), Offset(5), limit_none()).unwrap().is_empty());
    assert!(matches!(
        log.read(PartitionId(1), Offset(6), limit_none()),
        Err(ReadError::OutOfRange { end: Offset(5), .. })
    ));
}

#[test]
fn a_commit_that_does_not_continue_a_partition_changes_nothing() {
    let log = MemoryLog::new();
    outcome(&log, commit_of(vec![append(1, 0, 1, b"a")])).unwrap();
    let error = outcome(&log, commit_of(vec![append(2, 7, 1, b"b"), append(1, 5, 1, b"c")])).unwrap_err();
    assert!(matches!(error, LogError::Invalid { .. }), "{error}");
    assert_eq!(log.partitions(), [(PartitionId(1), Offset(0)..Offset(1))]);
}

#[test]
fn manual_commits_are_invisible_until_pumped_and_complete_in_order() {
    let log = MemoryLog::manual();
    let order = Arc::new(Mutex::new(Vec::new()));
    for at in 0..3 {
        let order = Arc::clone(&order);
        log.commit(commit_of(vec![append(1, at, 1, b"a")]), Box::new(move |_| order.lock().push(at)));
    }
    assert_eq!(log.bounds(PartitionId(1)), None);
    assert!(log.pump());
    assert_eq!(log.bounds(PartitionId(1)), Some(Offset(0)..Offset(1)));
    while log.pump() {}
    assert_eq!(*order.lock(), [0, 1, 2]);
}

#[test]
fn a_commit_made_by_a_done_callback_follows() {
    let log = Arc::new(MemoryLog::new());
    let again = Arc::clone(&log);
    log.commit(
        commit_of(vec![append(1, 0, 1, b"a")]),
        Box::new(move |_| again.commit(commit_of(vec![append(1, 1, 1, b"b")]), Box::new(|_| ()))),
    );
    assert_eq!(log.bounds(PartitionId(1)), Some(Offset(0)..Offset(2)));
}

#[test]
fn an_emptied_partition_keeps_its_end_and_a_removed_one_is_gone() {
    let log = MemoryLog::new();
    outcome(&log, commit_of(vec![append(1, 0, 4, b"a")])).unwrap();
    let mut trim = commit_of(vec![]);
    trim.trims = vec![Trim::Start { partition: PartitionId(1), start: Offset(4) }];
    outcome(&log, trim).unwrap();
    assert_eq!(log.bounds(PartitionId(1)), Some(Offset(4)..Offset(4)));
    assert_eq!(log.partition_bytes(PartitionId(1)), 0);
    let mut remove = commit_of(vec![]);
    remove.trims = vec![Trim::Remove { partition: PartitionId(1) }];
    outcome(&log, remove).unwrap();
    assert_eq!(log.bounds(PartitionId(1)), None);
    assert!(outcome(&log, commit_of(vec![append(1, 0, 1, b"a")])).is_err());
}

#[test]
fn a_refusal_for_space_can_be_followed_by_success_a_stop_cannot() {
    let log = MemoryLog::new();
    log.fail_next(LogError::DiskFull { bytes: 1, directory: "there".to_owned() });
    assert!(outcome(&log, commit_of(vec![append(1, 0, 1, b"a")])).is_err());
    outcome(&log, commit_of(vec![append(1, 0, 1, b"a")])).unwrap();
    log.fail_next(LogError::Stopped { reason: "sync failed".to_owned() });
    assert!(outcome(&log, commit_of(vec![append(1, 1, 1, b"a")])).is_err());
    assert!(matches!(outcome(&log, commit_of(vec![append(1, 1, 1, b"a")])), Err(LogError::Stopped { .. })));
}

#[test]
fn retention_by_size_ignores_what_was_discarded() {
    let log = MemoryLog::new();
    for at in 0..4 {
        outcome(&log, commit_of(vec![append(1, at, 1, b"0123456789")])).unwrap();
    }
    let each = log.partition_bytes(PartitionId(1)) / 4;
    assert_eq!(log.start_for_bytes(PartitionId(1), each * 2), Offset(2));
    log.discard(PartitionId(1), &[Offset(2)..Offset(3)]);
    assert_eq!(log.partition_bytes(PartitionId(1)), each * 3);
    assert_eq!(log.start_for_bytes(PartitionId(1), each * 2), Offset(1));
    assert_eq!(log.start_for_bytes(PartitionId(1), 0), Offset(4));
}

#[test]
fn reopening_keeps_what_was_durable_and_raises_the_incarnation() {
    let log = MemoryLog::manual();
    log.commit(commit_of(vec![append(1, 0, 2, b"a")]), Box::new(|_| ()));
    assert!(log.pump());
    log.commit(commit_of(vec![append(1, 2, 1, b"b")]), Box::new(|_| ()));
    log.discard(PartitionId(1), &[Offset(0)..Offset(1)]);
    let again = log.reopen();
    assert_eq!(again.partitions(), [(PartitionId(1), Offset(0)..Offset(2))]);
    assert_eq!((again.waiting(), again.incarnation()), (0, 2));
    assert_eq!(log.waiting(), 1);
}

#[test]
fn what_continues_a_refused_commit_is_refused_what_stands_alone_is_not() {
    let log = MemoryLog::manual();
    let fates = Arc::new(Mutex::new(Vec::new()));
    log.fail_next(LogError::DiskFull { bytes: 1, directory: "there".to_owned() });
    for (partition, base) in [(1, 0), (1, 1), (2, 0), (1, 2)] {
        let fates = Arc::clone(&fates);
        let done = move |result: Result<(), LogError>| fates.lock().push(result.is_ok());
        log.commit(commit_of(vec![append(partition, base, 1, b"a")]), Box::new(done));
        if partition == 1 && base == 0 {
            // So that the partition has an end to continue from.
            log.state.lock().partitions.insert(PartitionId(1), Partition::starting_at(Offset(0)));
        }
    }
    while log.pump() {}
    assert_eq!(*fates.lock(), [false, false, true, false]);
    assert!(outcome_pumped(&log, commit_of(vec![append(1, 0, 1, b"a")])).is_ok());
    let invalid = outcome_pumped(&log, commit_of(vec![append(1, 7, 1, b"a")]));
    assert!(matches!(invalid, Err(LogError::Invalid { .. })));
}

fn outcome_pumped(log: &MemoryLog, commit: Commit) -> Result<(), LogError> {
    let answer = Arc::new(Mutex::new(None));
    let there = Arc::clone(&answer);
    log.commit(commit, Box::new(move |result| *there.lock() = Some(result)));
    while log.pump() {}
    let result = answer.lock().take();
    result.expect("was pumped")
}
