//! Damage at rest: never served, never deleted, never spread to what is sound.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::IoSlice;

use common::{Pumped, all, append, arc, commit_of, open, remove, tiny, trims};
use duolog_record::{Offset, PartitionId};
use duolog_storage::disk::Disk;
use duolog_storage::{DiskLog, Log, LogError, OpenError, Options, ReadError, examine};
use duolog_testkit::{Random, SimDisk};

const P1: PartitionId = PartitionId(1);
const P2: PartitionId = PartitionId(2);

fn ordinary() -> Options {
    Options { file_bytes: 1 << 20, cache_bytes: 0, ..Options::default() }
}

/// Flips a byte where `marker` lies for the last time, in whichever log file.
fn damage(disk: &SimDisk, marker: &[u8], offset: i64) -> String {
    for name in disk.names().into_iter().rev().filter(|name| name.ends_with(".log")) {
        let bytes = disk.contents(&name).unwrap();
        if let Some(at) = bytes.windows(marker.len()).rposition(|it| it == marker) {
            flip(disk, &name, at as i64 + offset);
            return name;
        }
    }
    panic!("no file has the marker");
}

fn flip(disk: &SimDisk, name: &str, at: i64) {
    let file = disk.open(name).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at as u64).unwrap();
    byte[0] ^= 0x10;
    file.write_at(&[IoSlice::new(&byte)], at as u64).unwrap();
    file.sync_data().unwrap();
}

/// Ten batches in each of two partitions, a commit each; the values of partition 1 are `one-0`, `one-1`, ...
fn filled(options: &Options) -> SimDisk {
    let disk = SimDisk::new(1);
    let log = open(&disk, options.clone());
    for at in 0..10 {
        log.outcome(commit_of(vec![append(1, at, 1, format!("one-{at}").as_bytes())])).unwrap();
        log.outcome(commit_of(vec![append(2, at, 1, format!("two-{at}").as_bytes())])).unwrap();
    }
    while log.pump() {}
    drop(log);
    disk
}

fn damaged_at(log: &DiskLog, from: u64) -> Option<u64> {
    match log.read(P1, Offset(from), all()) {
        Err(ReadError::Damaged { at, .. }) => Some(at.0),
        Ok(_) | Err(_) => None,
    }
}

#[test]
fn a_damaged_body_stops_its_partition_and_no_other() {
    let disk = filled(&ordinary());
    damage(&disk, b"one-4", 0);
    for _ in 0..3 {
        let log = open(&disk, ordinary());
        assert_eq!(log.bounds(P1), Some(Offset(0)..Offset(10)));
        assert_eq!(log.read(P1, Offset(0), all()).unwrap().len(), 4);
        assert_eq!(log.spans(P1, Offset(0), 9).unwrap().len(), 4);
        assert_eq!(damaged_at(&log, 4), Some(4));
        assert_eq!(log.read(P1, Offset(5), all()).unwrap().len(), 5);
        assert_eq!(log.quarantined(), [P1]);
        let append = append(1, 10, 1, b"x");
        assert!(matches!(log.outcome(commit_of(vec![append])), Err(LogError::Quarantined { partition: P1 })));
        assert_eq!(log.values(2).len(), 10 + log.incarnation() as usize - 2);
        let end = log.bounds(P2).unwrap().end.0;
        log.outcome(commit_of(vec![common::append(2, end, 1, b"more")])).unwrap();
    }
    let log = open(&disk, ordinary());
    log.outcome(trims(vec![remove(1)])).unwrap();
    assert!(log.quarantined().is_empty());
}

#[test]
fn lost_headers_leave_holes_that_are_known_and_ends_that_are_in_doubt() {
    let disk = filled(&ordinary());
    // The frame header lies in front of the body; its checksum covers every byte of it.
    damage(&disk, b"one-4", -130);
    let log = open(&disk, ordinary());
    assert_eq!(damaged_at(&log, 4), Some(4));
    assert_eq!(log.values(2).len(), 10);
    assert_eq!(log.quarantined(), [P1], "partition 2 was continued by later frames");
    drop(log);

    let disk = filled(&ordinary());
    damage(&disk, b"two-9", -130);
    let log = open(&disk, ordinary());
    assert_eq!(log.quarantined(), [P1, P2], "nothing says to which the last frame went");
    assert_eq!(log.values(1).len(), 10);
    assert_eq!(log.bounds(P2), Some(Offset(0)..Offset(9)));
}

#[test]
fn the_last_frame_is_not_cut_once_it_is_known_to_be_durable() {
    let disk = filled(&ordinary());
    damage(&disk, b"two-9", 0);
    let log = open(&disk, ordinary());
    assert_eq!(log.bounds(P2), Some(Offset(0)..Offset(10)));
    assert!(matches!(log.read(P2, Offset(9), all()), Err(ReadError::Damaged { .. })));
    assert_eq!(log.quarantined(), [P2]);
}

#[test]
fn damage_in_a_sealed_file_is_found_when_it_is_read() {
    let options = Options { cache_bytes: 0, ..tiny() };
    let disk = SimDisk::new(1);
    let log = open(&disk, options.clone());
    for at in 0..300 {
        log.outcome(commit_of(vec![append(1, at, 1, format!("one-{at} {}", "z".repeat(200)).as_bytes())]))
            .unwrap();
    }
    assert!(log.stats().files > 3);
    log.close();
    damage(&disk, b"one-7 ", 0);
    for _ in 0..2 {
        let log = open(&disk, options.clone());
        assert_eq!(log.read(P1, Offset(0), all()).unwrap().len(), 7);
        assert_eq!(damaged_at(&log, 7), Some(7));
        assert_eq!(log.read(P1, Offset(8), all()).unwrap().len(), 292);
    }
}

#[test]
fn without_its_footer_or_its_header_a_file_is_as_good_as_before() {
    let options = tiny();
    let disk = SimDisk::new(1);
    let log = open(&disk, options.clone());
    for at in 0..300 {
        log.outcome(commit_of(vec![append(1, at, 1, format!("one-{at} {}", "z".repeat(200)).as_bytes())]))
            .unwrap();
    }
    let expected = log.values(1);
    log.close();
    for name in disk.names().iter().filter(|name| name.ends_with(".log")) {
        flip(&disk, name, 20);
        flip(&disk, name, disk.contents(name).unwrap().len() as i64 - 7);
    }
    for _ in 0..2 {
        let log = open(&disk, options.clone());
        assert_eq!(log.values(1), expected);
        assert!(log.quarantined().is_empty());
    }
}

#[test]
fn a_damaged_manifest_is_named() {
    let disk = filled(&ordinary());
    flip(&disk, "manifest", 30);
    let error = DiskLog::open_manual(arc(&disk), ordinary()).err().unwrap();
    assert!(matches!(error, OpenError::DamagedManifest { .. }), "{error}");
    assert!(disk.lock().is_ok(), "the lock was given back");
}

/// Any one flipped bit: what is read is right, or an error says that something is wrong.
#[test]
fn no_flipped_bit_is_ever_served() {
    let mut noticed = 0;
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let options = Options { file_targets: 1 + random.index(40), cache_bytes: 0, ..tiny() };
        let log = open(&disk, options.clone());
        let mut expected: BTreeMap<u64, Vec<(u64, bytes::Bytes)>> = BTreeMap::new();
        for index in 0..60 {
            let partition = random.below(4);
            let held = expected.entry(partition).or_default();
            let value = format!("{index} {}", "w".repeat(random.index(400)));
            log.outcome(commit_of(vec![append(partition, held.len() as u64, 1, value.as_bytes())])).unwrap();
            held.push((held.len() as u64, value.into()));
        }
        if random.one_in(2) {
            log.close();
        } else {
            while log.pump() {}
        }
        drop(log);
        let logs: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".log")).collect();
        let name: &String = random.pick(&logs);
        assert!(disk.flip_bit(name));
        for _ in 0..2 {
            let log = open(&disk, options.clone());
            let quarantined = log.quarantined();
            for (partition, held) in &expected {
                let id = PartitionId(*partition);
                let is_whole = log.bounds(id) == Some(Offset(0)..Offset(held.len() as u64));
                let mut found = Vec::new();
                let mut errors = 0;
                for at in 0..log.bounds(id).map_or(0, |it| it.end.0) {
                    let one = duolog_storage::ReadLimit { bytes_max: 1, until: Offset(u64::MAX) };
                    match log.read(id, Offset(at), one) {
                        Ok(batches) => {
                            found.extend(batches.iter().map(|it| (it.base.0, common::value_of(it))));
                        }
                        Err(_) => errors += 1,
                    }
                }
                found.dedup();
                assert!(
                    found.iter().all(|it| held.contains(it)),
                    "seed {seed}: partition {partition} was changed"
                );
                let is_said = errors > 0 || quarantined.contains(&id);
                assert!(
                    is_said || (is_whole && found == *held),
                    "seed {seed}: partition {partition} lost silently"
                );
                noticed += usize::from(is_said);
            }
        }
    }
    assert!(noticed > 20, "only {noticed} flips hit anything");
}

#[test]
fn a_doctor_sees_an_acknowledged_frame_that_is_lost_before_a_torn_tail() {
    let disk = SimDisk::new(1);
    let log = open(&disk, ordinary());
    for at in 0..5 {
        log.outcome(commit_of(vec![append(1, at, 1, format!("one-{at}").as_bytes())])).unwrap();
    }
    // Killed before the log was idle: only the last frame says that those before it were durable, and it is torn.
    drop(log);
    disk.kill_process();
    let name = damage(&disk, b"one-4", 0);
    let bytes = disk.contents(&name).unwrap();
    let value = bytes.windows(5).rposition(|it| it == b"one-3").unwrap();
    let header = bytes[..value].windows(4).rposition(|it| it == b"DLFR").unwrap();
    flip(&disk, &name, header as i64 + 24);
    let found = examine(&arc(&disk)).unwrap().findings;
    assert!(found.iter().any(|it| it.file == name && it.text.contains("are lost")), "{found:?}");
    let log = open(&disk, ordinary());
    assert_eq!((log.values(1).len(), log.quarantined()), (3, vec![P1]));
}

#[test]
fn what_can_be_read_behind_a_damaged_page_of_the_index_is_found() {
    let options = Options { cache_bytes: 0, ..tiny() };
    let disk = SimDisk::new(1);
    let log = open(&disk, options.clone());
    // Several pages of the index in a file.
    for at in 0..1_000 {
        log.outcome(commit_of(vec![append(1, at, 1, b"x")])).unwrap();
    }
    assert!(log.stats().files > 2);
    log.close();
    let pages = |bytes: &[u8]| bytes.windows(4).filter(|it| it == b"DLIX").count();
    let name =
        disk.names().into_iter().find(|it| it.ends_with(".log") && pages(&disk.contents(it).unwrap()) > 1);
    let name = name.unwrap();
    let page = disk.contents(&name).unwrap().windows(4).position(|it| it == b"DLIX").unwrap();
    flip(&disk, &name, page as i64 + 100);
    let log = open(&disk, options);
    let at = (0..1_000).find_map(|from| damaged_at(&log, from)).unwrap();
    let behind = log.readable_behind(P1, Offset(at)).unwrap().unwrap();
    assert!(behind.0 > at + 1 && behind.0 < 999, "{at} to {behind}");
    assert_eq!(log.read(P1, behind, all()).unwrap()[0].base, behind);
    for lost in at..behind.0 {
        assert_eq!(damaged_at(&log, lost), Some(lost));
        assert_eq!(log.readable_behind(P1, Offset(lost)).unwrap(), Some(behind));
    }
    assert_eq!(log.readable_behind(P1, Offset(999)).unwrap(), None);
}
