//! What every log does, on disk and in memory alike: one `check`, many small cases.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Pumped, all, append, append_at, commit_of, open, remove, tiny, trim, trims};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, Durability, LogError, MemoryLog, Options, ReadError, ReadLimit, Target};
use duolog_testkit::SimDisk;

const P1: PartitionId = PartitionId(1);

/// Runs a case on the log in memory and on disk, there with files so small that they roll, and with ordinary ones.
fn check(case: impl Fn(&dyn Case)) {
    case(&MemoryLog::manual());
    case(&open(&SimDisk::new(1), tiny()));
    case(&open(&SimDisk::new(2), Options { file_targets: 1, ..tiny() }));
    case(&open(&SimDisk::new(3), Options { file_bytes: 1 << 20, ..Options::default() }));
}

trait Case: Pumped {}
impl<T: Pumped> Case for T {}

impl dyn Case + '_ {
    fn ok(&self, commit: Commit) {
        self.outcome(commit).unwrap();
    }

    fn bases(&self, from: u64, limit: ReadLimit) -> Vec<u64> {
        self.read(P1, Offset(from), limit).unwrap().iter().map(|it| it.base.0).collect()
    }

    fn fill(&self, batches: u64, records: u32) {
        for index in 0..batches {
            let base = index * u64::from(records);
            let value = format!("value {index} {}", "x".repeat(100));
            self.ok(Commit {
                append_time: Timestamp(index as i64),
                ..commit_of(vec![append(1, base, records, value.as_bytes())])
            });
        }
    }
}

#[test]
fn whole_batches_are_read_from_the_one_that_contains_the_offset() {
    check(|log| {
        log.fill(50, 3);
        assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(150)));
        assert_eq!(log.bases(0, all()).len(), 50);
        assert_eq!(log.bases(7, all())[..2], [6, 9]);
        assert_eq!(log.bases(149, all()), [147]);
        assert!(log.bases(150, all()).is_empty());
        let read = log.read(P1, Offset(30), all()).unwrap();
        assert!(common::value_of(&read[0]).starts_with(b"value 10 "));
        assert_eq!((read[0].offsets, read[0].leader_epoch, read[0].append_time), (3, 1, Timestamp(10)));
        assert!(matches!(log.read(P1, Offset(151), all()), Err(ReadError::OutOfRange { .. })));
        assert!(matches!(log.read(PartitionId(9), Offset(0), all()), Err(ReadError::UnknownPartition(_))));
    });
}

#[test]
fn that_a_batch_has_no_keys_or_times_to_live_is_remembered() {
    check(|log| {
        for base in 0..40 {
            let mut entry = append(1, base, 1, &[b'x'; 100]);
            entry.body.unkeyed = base % 3 == 0;
            entry.body.timed = base % 4 == 0;
            log.ok(commit_of(vec![entry]));
        }
        let spans = log.spans(P1, Offset(0), 40).unwrap();
        let unkeyed: Vec<u64> = spans.iter().filter(|it| it.unkeyed).map(|it| it.base.0).collect();
        assert_eq!(unkeyed, (0..40).step_by(3).collect::<Vec<u64>>());
        let timed: Vec<u64> = spans.iter().filter(|it| it.timed).map(|it| it.base.0).collect();
        assert_eq!(timed, (0..40).step_by(4).collect::<Vec<u64>>());
    });
}

#[test]
fn a_read_stops_at_its_limits_but_gives_the_first_batch() {
    check(|log| {
        log.fill(20, 1);
        let one = ReadLimit { bytes_max: 1, until: Offset(u64::MAX) };
        assert_eq!(log.bases(3, one), [3]);
        let some = ReadLimit { bytes_max: 600, until: Offset(u64::MAX) };
        assert_eq!(log.bases(3, some), [3, 4, 5]);
        assert_eq!(log.bases(3, ReadLimit { until: Offset(5), ..all() }), [3, 4]);
    });
}

#[test]
fn spans_are_the_batches_without_their_bodies() {
    check(|log| {
        log.fill(40, 2);
        let spans = log.spans(P1, Offset(5), 30).unwrap();
        let read = log.read(P1, Offset(5), all()).unwrap();
        assert_eq!(spans.len(), 30);
        for (span, batch) in spans.iter().zip(&read) {
            assert_eq!(
                (span.base, span.offsets, span.append_time),
                (batch.base, batch.offsets, batch.append_time)
            );
            assert_eq!(span.bytes as usize, batch.body.len());
        }
        assert!(!spans.iter().any(|it| it.unkeyed), "nobody said so");
        assert!(log.spans(P1, Offset(80), 3).unwrap().is_empty());
        assert!(log.spans(P1, Offset(81), 3).is_err());
    });
}

#[test]
fn one_body_can_go_to_many_partitions() {
    check(|log| {
        let mut fan_out = append(1, 0, 2, b"to all");
        for id in 2..30 {
            fan_out.targets.push(Target { partition: PartitionId(id), base: Offset(id), leader_epoch: 3 });
        }
        log.ok(commit_of(vec![fan_out, append(1, 2, 1, b"next")]));
        for id in 2..30 {
            assert_eq!(log.bounds(PartitionId(id)), Some(Offset(id)..Offset(id + 2)));
            assert_eq!(log.values(id), [(id, "to all".into())]);
        }
        assert_eq!(log.values(1), [(0, "to all".into()), (2, "next".into())]);
        assert_eq!(log.partitions().len(), 29);
    });
}

#[test]
fn a_commit_is_applied_whole_or_not_at_all() {
    check(|log| {
        log.fill(3, 1);
        let wrong = commit_of(vec![append(2, 7, 1, b"b"), append(1, 5, 1, b"c")]);
        assert!(matches!(log.outcome(wrong), Err(LogError::Invalid { .. })));
        assert!(matches!(log.outcome(trims(vec![trim(1, 4)])), Err(LogError::Invalid { .. })));
        assert_eq!(log.partitions(), [(P1, Offset(0)..Offset(3))]);
        log.ok(commit_of(vec![append(1, 3, 1, b"c")]));
    });
}

#[test]
fn answers_come_in_the_order_of_the_commits_whatever_their_durability() {
    check(|log| {
        let answers: Vec<_> = (0..6u64)
            .map(|at| {
                let durability = if at % 2 == 0 { Durability::Os } else { Durability::Sync };
                log.queue(Commit { durability, ..commit_of(vec![append(1, at, 1, b"x")]) })
            })
            .collect();
        assert_eq!(log.bounds(P1), None);
        while log.pump_once() {
            let given: Vec<bool> = answers.iter().map(|it| it.lock().is_some()).collect();
            assert!(given.is_sorted_by(|a, b| a >= b), "{given:?}");
        }
        assert!(answers.iter().all(|it| matches!(&*it.lock(), Some(Ok(())))));
        assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(6)));
    });
}

#[test]
fn trimmed_records_are_gone_and_their_offsets_are_not_used_again() {
    check(|log| {
        log.fill(30, 2);
        log.ok(trims(vec![trim(1, 21)]));
        assert_eq!(log.bounds(P1), Some(Offset(21)..Offset(60)));
        assert_eq!(log.bases(21, all())[0], 20);
        assert!(matches!(log.read(P1, Offset(20), all()), Err(ReadError::OutOfRange { .. })));
        log.ok(trims(vec![trim(1, 5)]));
        assert_eq!(log.bounds(P1), Some(Offset(21)..Offset(60)));
        log.ok(trims(vec![trim(1, 60), trim(7, 4)]));
        assert_eq!(log.bounds(P1), Some(Offset(60)..Offset(60)));
        assert_eq!(log.bounds(PartitionId(7)), Some(Offset(4)..Offset(4)));
        assert_eq!(log.partition_bytes(P1), 0);
        assert!(log.outcome(commit_of(vec![append(1, 0, 1, b"x")])).is_err());
        log.reclaim(Timestamp(0)).unwrap();
        log.ok(commit_of(vec![append(1, 60, 1, b"x"), append(7, 4, 1, b"y")]));
        assert_eq!(log.values(1), [(60, "x".into())]);
    });
}

#[test]
fn an_append_and_a_trim_in_one_commit_are_applied_in_that_order() {
    check(|log| {
        log.ok(Commit { trims: vec![trim(1, 2)], ..commit_of(vec![append(1, 0, 3, b"a")]) });
        assert_eq!(log.bounds(P1), Some(Offset(2)..Offset(3)));
        log.ok(Commit { trims: vec![remove(1)], ..commit_of(vec![append(1, 3, 1, b"b")]) });
        assert_eq!(log.bounds(P1), None);
    });
}

#[test]
fn a_removed_partition_is_gone_for_good() {
    check(|log| {
        log.fill(5, 1);
        log.ok(trims(vec![remove(1), remove(8)]));
        assert_eq!(log.bounds(P1), None);
        assert!(log.partitions().is_empty());
        assert_eq!(log.partition_bytes(P1), 0);
        assert!(log.outcome(commit_of(vec![append(1, 0, 1, b"x")])).is_err());
        log.ok(trims(vec![trim(1, 3), remove(1)]));
        assert_eq!(log.bounds(P1), None);
    });
}

#[test]
fn a_batch_is_found_by_time() {
    check(|log| {
        for (base, at, append_time) in [(0u64, 50, 10), (1, 20, 20), (2, 90, 30), (3, 60, 25)] {
            log.ok(Commit {
                append_time: Timestamp(append_time),
                ..commit_of(vec![append_at(1, base, 1, b"x", at)])
            });
        }
        let by_time = |at| log.first_at_or_after(P1, Timestamp(at)).unwrap().map(|it| it.base.0);
        assert_eq!(
            [by_time(i64::MIN), by_time(50), by_time(51), by_time(90), by_time(91)],
            [Some(0), Some(0), Some(2), Some(2), None]
        );
        let by_append = |at| log.first_appended_at_or_after(P1, Timestamp(at)).unwrap().map(|it| it.base.0);
        assert_eq!(
            [by_append(0), by_append(11), by_append(21), by_append(31)],
            [Some(0), Some(1), Some(2), None]
        );
        log.ok(trims(vec![trim(1, 3)]));
        let by_time = |at| log.first_at_or_after(P1, Timestamp(at)).unwrap().map(|it| it.base.0);
        assert_eq!([by_time(0), by_time(61)], [Some(3), None]);
        assert!(log.first_at_or_after(PartitionId(5), Timestamp(0)).is_err());
    });
}

#[test]
fn sizes_leave_out_what_was_trimmed_or_discarded() {
    check(|log| {
        for base in 0..60 {
            log.ok(commit_of(vec![append(1, base, 1, b"0123456789")]));
        }
        let each = log.partition_bytes(P1) / 60;
        assert_eq!(log.partition_bytes(P1), each * 60);
        assert_eq!(log.start_for_bytes(P1, each * 7), Offset(53));
        assert_eq!(log.start_for_bytes(P1, each * 60), Offset(0));
        log.discard(P1, &[Offset(55)..Offset(57), Offset(3)..Offset(5)]);
        assert_eq!(log.partition_bytes(P1), each * 56);
        assert_eq!(log.start_for_bytes(P1, each * 7), Offset(51));
        assert_eq!(log.start_for_bytes(P1, 0), Offset(60));
        log.ok(trims(vec![trim(1, 50)]));
        assert_eq!(log.partition_bytes(P1), each * 8);
        assert_eq!(log.start_for_bytes(P1, each * 100), Offset(50));
        assert_eq!(
            (log.partition_bytes(PartitionId(4)), log.start_for_bytes(PartitionId(4), 9)),
            (0, Offset(0))
        );
    });
}

#[test]
fn a_closed_log_takes_nothing_more() {
    check(|log| {
        let answer = log.queue(commit_of(vec![append(1, 0, 1, b"x")]));
        log.close();
        assert!(matches!(&*answer.lock(), Some(Ok(()))));
        assert!(matches!(log.outcome(commit_of(vec![append(1, 1, 1, b"x")])), Err(LogError::Stopped { .. })));
    });
}
