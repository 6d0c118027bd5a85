//! The cleaner: what it leaves on disk, and that nobody notices.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Pumped, all, append, arc, clean, commit_of, open, remove, tiny, trim, trims, value_of};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Entry, Log, Options, Target};
use duolog_testkit::SimDisk;
use duolog_testkit::disk::Faults;

const P1: PartitionId = PartitionId(1);

fn fill(log: &DiskLog, partition: u64, batches: u64) {
    let from = log.bounds(PartitionId(partition)).map_or(0, |it| it.end.0);
    for at in from..from + batches {
        let value = format!("{partition}/{at} {}", "x".repeat(500));
        let commit = commit_of(vec![append(partition, at, 1, value.as_bytes())]);
        log.outcome(Commit { append_time: Timestamp(at as i64), ..commit }).unwrap();
    }
}

/// Settles everything but what `is_kept`.
fn discard(log: &DiskLog, partition: PartitionId, is_kept: impl Fn(u64) -> bool) {
    let bounds = log.bounds(partition).unwrap();
    let runs: Vec<_> = (bounds.start.0..bounds.end.0)
        .filter(|at| !is_kept(*at))
        .map(|at| Offset(at)..Offset(at + 1))
        .collect();
    log.discard(partition, &runs);
}

#[test]
fn one_stuck_message_does_not_hold_a_file() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 1, 2000);
    let before = log.stats();
    assert!(before.files > 30, "{before:?}");
    discard(&log, P1, |at| at % 50 == 7);
    clean(&log, 0);
    let after = log.stats();
    assert!(after.files <= 10 && after.disk_bytes < before.disk_bytes / 6, "{before:?} then {after:?}");
    assert!(after.clean.files_rewritten > 20 && after.clean.bytes_freed > before.disk_bytes / 2, "{after:?}");
    assert_eq!(clean(&log, 0), 0, "what was rewritten is left alone");
    let check = |log: &DiskLog| {
        assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(2000)));
        let read = log.read(P1, Offset(0), all()).unwrap();
        for at in (7..2000).step_by(50) {
            let it = read.iter().find(|it| it.base.0 == at).unwrap();
            assert_eq!((it.append_time, it.leader_epoch), (Timestamp(at as i64), 1));
            assert!(value_of(it).starts_with(format!("1/{at} ").as_bytes()));
        }
        assert!(read.windows(2).all(|pair| pair[0].base < pair[1].base));
        let from_hole = log.read(P1, Offset(8), all()).unwrap();
        assert_eq!(from_hole[0].base, Offset(57));
    };
    check(&log);
    drop(log);
    check(&open(&disk, tiny()));
}

#[test]
fn many_partitions_in_each_file_become_a_few_stretches() {
    let disk = SimDisk::new(1);
    let options = Options { extents_max: 100, ..tiny() };
    let log = open(&disk, options.clone());
    for round in 0..40u64 {
        let entries: Vec<Entry> = (0..20)
            .map(|id| append(id, round, 1, format!("{id}/{round} {}", "z".repeat(200)).as_bytes()))
            .collect();
        log.outcome(commit_of(entries)).unwrap();
    }
    let before: Vec<_> = (0..20).map(|id| log.values(id)).collect();
    assert!(clean(&log, 0) > 0);
    let stats = log.stats();
    assert!(stats.clean.files_rewritten > 4, "{stats:?}");
    assert!(stats.clean.bytes_read >= 20 * 30 * 200, "all of it is copied: {stats:?}");
    let values = |log: &DiskLog| (0..20).map(|id| log.values(id)).collect::<Vec<_>>();
    assert_eq!(before, values(&log));
    drop(log);
    assert_eq!(before, values(&open(&disk, options)));
}

#[test]
fn a_body_with_many_targets_stays_one_body() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    for round in 0..200u64 {
        let mut entry = append(1, round, 1, format!("to all {round} {}", "f".repeat(400)).as_bytes());
        for id in 2..=6 {
            entry.targets.push(Target { partition: PartitionId(id), base: Offset(round), leader_epoch: 3 });
        }
        entry.key_hashes = vec![round, 7];
        entry.body.unkeyed = round % 20 == 3;
        entry.body.timed = round % 30 == 3;
        log.outcome(commit_of(vec![entry])).unwrap();
    }
    for id in 1..=6 {
        // Each keeps others, so that most bodies are dead, and those that are not have one to six targets.
        discard(&log, PartitionId(id), |at| at % 10 == 3 && at % id < 2);
    }
    clean(&log, 0);
    let stats = log.stats();
    assert!(stats.clean.files_rewritten > 2, "{stats:?}");
    assert!(stats.clean.bytes_written < stats.clean.bytes_read * 3 / 2, "each body once: {stats:?}");
    drop(log);
    let log = open(&disk, tiny());
    for id in 1..=6 {
        let values = log.values(id);
        for at in (3..200).step_by(10).filter(|at| at % id < 2) {
            let (_, value) = values.iter().find(|(base, _)| *base == at).unwrap();
            assert!(value.starts_with(format!("to all {at} ").as_bytes()));
            let span = log.spans(PartitionId(id), Offset(at), 1).unwrap()[0];
            assert_eq!((span.unkeyed, span.timed), (at % 20 == 3, at % 30 == 3));
        }
    }
}

#[test]
fn what_is_long_dead_goes_even_from_a_file_that_is_mostly_alive() {
    let disk = SimDisk::new(1);
    let options = Options { purge_ms: 1000, ..tiny() };
    let log = open(&disk, options.clone());
    fill(&log, 1, 100);
    discard(&log, P1, |at| at != 5);
    assert_eq!(clean(&log, 100), 0, "dead, but not for long");
    assert_eq!(clean(&log, 1099), 0);
    assert!(clean(&log, 1100) > 0);
    let holds = |text: &str| {
        disk.names()
            .iter()
            .filter_map(|name| disk.contents(name))
            .any(|bytes| bytes.windows(text.len()).any(|it| it == text.as_bytes()))
    };
    assert!(!holds("1/5 "), "the secret is gone");
    assert!(holds("1/6 "));
    assert_eq!(clean(&log, 9000), 0, "once is enough");
}

#[test]
fn removed_partitions_stay_removed_and_emptied_ones_keep_their_end() {
    let disk = SimDisk::new(1);
    let log = open(&disk, tiny());
    fill(&log, 1, 300);
    fill(&log, 2, 300);
    fill(&log, 3, 300);
    log.outcome(trims(vec![remove(2), trim(3, 300)])).unwrap();
    discard(&log, P1, |at| at % 30 == 0);
    clean(&log, 0);
    fill(&log, 1, 100);
    for _ in 0..2 {
        clean(&log, 0);
        assert_eq!(log.bounds(PartitionId(2)), None);
        assert_eq!(log.bounds(PartitionId(3)), Some(Offset(300)..Offset(300)));
    }
    drop(log);
    let log = open(&disk, tiny());
    assert_eq!(log.bounds(PartitionId(2)), None);
    assert_eq!(log.bounds(PartitionId(3)), Some(Offset(300)..Offset(300)));
    assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(400)));
}

#[test]
fn readers_are_not_disturbed_while_files_are_replaced() {
    let disk = SimDisk::new(1);
    let log = open(&disk, Options { extents_max: 1, ..tiny() });
    for _ in 0..50 {
        (1..=10).for_each(|id| fill(&log, id, 10));
    }
    let expected = log.values(1);
    let mut steps = 0;
    while log.clean(Timestamp(0)).unwrap() {
        assert_eq!(log.values(1), expected);
        assert_eq!(log.read(P1, Offset(250), all()).unwrap().len(), 250);
        steps += 1;
        assert!(steps < 10_000, "the cleaner does not come to an end");
    }
    assert!(steps > 5);
}

#[test]
fn without_room_a_rewrite_is_given_up_and_tried_again_later() {
    let disk = SimDisk::new(1);
    let options = Options { reserve_files: 0, ..tiny() };
    let log = open(&disk, options.clone());
    fill(&log, 1, 1000);
    fill(&log, 2, 1000);
    discard(&log, P1, |at| at % 5 == 0);
    discard(&log, PartitionId(2), |at| at % 3 == 0);
    let used: u64 =
        disk.names().iter().filter_map(|name| disk.contents(name)).map(|it| it.len() as u64).sum();
    disk.set_faults(Faults { capacity_bytes: Some(used + 5000), ..Faults::default() });
    let files = log.stats().files;
    clean(&log, 0);
    assert_eq!(log.stats().files, files, "nothing has changed");
    let logs = disk.names().iter().filter(|name| name.ends_with(".log")).count() as u64;
    assert_eq!(logs, files, "and nothing is left behind");
    disk.set_faults(Faults::default());
    for _ in 0..10 {
        clean(&log, 0);
    }
    assert!(log.stats().files < files / 2, "{:?}", log.stats());
    drop(log);
    let log = open(&disk, options);
    assert_eq!(log.values(1).iter().filter(|(at, _)| at % 5 == 0).count(), 200);
    assert_eq!(log.values(2).iter().filter(|(at, _)| at % 3 == 0).count(), 334);
}

#[test]
fn a_damaged_input_is_left_whole_and_the_rest_is_rewritten() {
    let disk = SimDisk::new(1);
    let options = Options { cache_bytes: 0, ..tiny() };
    let log = open(&disk, options.clone());
    fill(&log, 1, 1000);
    let marker = b"1/105 x";
    let name = disk
        .names()
        .into_iter()
        .find(|name| disk.contents(name).unwrap().windows(marker.len()).any(|it| it == marker))
        .unwrap();
    let at = disk.contents(&name).unwrap().windows(marker.len()).position(|it| it == marker).unwrap();
    let file = arc(&disk).open(&name).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"?")], at as u64).unwrap();
    let before = disk.contents(&name).unwrap();
    discard(&log, P1, |at| at % 35 == 0);
    for _ in 0..3 {
        clean(&log, 0);
    }
    assert_eq!(log.stats().clean.files_damaged, 1);
    assert!(log.stats().files < 10, "{:?}", log.stats());
    assert_eq!(disk.contents(&name).unwrap(), before, "not a byte of it has changed");
    drop(log);
    let log = open(&disk, options);
    assert!(log.read(P1, Offset(105), all()).is_err());
    let behind = log.read(P1, Offset(140), all()).unwrap();
    assert!(behind.iter().any(|it| it.base == Offset(980)));
}
