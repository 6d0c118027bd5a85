//! Directories written by earlier releases are read for ever. `fixtures/v1` and `v2` were written by `make` below, the second
//! with a rewritten file in it, and are never written again; a new version of the format gets a directory of its own beside it, made with
//! `DUOLOG_FIXTURE=$PWD/crates/storage/tests/fixtures/v3 cargo test -p duolog-storage --test fixture`.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Pumped, append, append_at, commit_of, remove, trim, value_of};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, FsDisk, Log, Options, Target};

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn options() -> Options {
    Options {
        file_bytes: 32 << 10,
        file_targets: 64,
        reserve_files: 0,
        salt: 0x5eed,
        cache_bytes: 0,
        purge_ms: 0,
        ..Options::default()
    }
}

fn open(directory: &Path) -> DiskLog {
    DiskLog::open_manual(Arc::new(FsDisk::new(directory)), options()).unwrap()
}

/// A sealed file and a newest one that was not closed; every structure of the format is in it.
fn make(directory: &Path) {
    let log = open(directory);
    for index in 0..80u64 {
        let value = format!("value {index}");
        log.outcome(Commit {
            append_time: Timestamp(1_000_000 + index as i64),
            ..commit_of(vec![append_at(1, index * 2, 2, value.as_bytes(), 5_000 - index as i64)])
        })
        .unwrap();
    }
    let mut fan_out = append(2, 0, 1, b"to three");
    fan_out.key_hashes = vec![11, 12];
    for id in [3, 4] {
        fan_out.targets.push(Target { partition: PartitionId(id), base: Offset(id * 100), leader_epoch: 7 });
    }
    let mut mark = append(5, 0, 1, b"mark");
    mark.abort_first = Some(Offset(0));
    log.outcome(Commit { trims: vec![trim(1, 21)], ..commit_of(vec![fan_out, mark]) }).unwrap();
    log.outcome(Commit { trims: vec![remove(4), trim(6, 33)], ..commit_of(Vec::new()) }).unwrap();
    while log.pump() {}
}

/// The same, and then files rewritten, with the odd batches of one more partition left out.
fn make_rewritten(directory: &Path) {
    make(directory);
    let log = open(directory);
    for at in 0..100u64 {
        let entry = append(7, at, 1, format!("seven {at}").as_bytes());
        log.outcome(Commit { append_time: Timestamp(at as i64), ..commit_of(vec![entry]) }).unwrap();
    }
    let odd: Vec<_> = (0..50).map(|half| Offset(half * 2 + 1)..Offset(half * 2 + 2)).collect();
    log.discard(PartitionId(7), &odd);
    while log.clean(Timestamp(1)).unwrap() {}
    assert!(log.stats().clean.files_rewritten > 1);
    while log.pump() {}
}

fn check_rewritten(log: &DiskLog) {
    check(log, &[(7, 0, 100)]);
    let found = log.read(PartitionId(7), Offset(0), common::all()).unwrap();
    assert!(found.len() < 100, "what was left out is not there");
    for at in (0..100).step_by(2) {
        let it = found.iter().find(|it| it.base.0 == at).unwrap();
        assert_eq!((it.append_time, value_of(it)), (Timestamp(at as i64), format!("seven {at}").into()));
    }
}

fn check(log: &DiskLog, more: &[(u64, u64, u64)]) {
    let bounds: Vec<_> = log.partitions().into_iter().map(|(id, it)| (id.0, it.start.0, it.end.0)).collect();
    let expected = [(1, 21, 160), (2, 0, 1), (3, 300, 301), (5, 0, 1), (6, 33, 33)];
    assert_eq!(bounds, [&expected[..], more].concat());
    assert!(log.quarantined().is_empty());
    let batches = log.read(PartitionId(1), Offset(21), common::all()).unwrap();
    assert_eq!(batches.len(), 70);
    for (index, batch) in (10u64..).zip(&batches) {
        assert_eq!((batch.base, batch.offsets, batch.leader_epoch), (Offset(index * 2), 2, 1));
        assert_eq!(batch.append_time, Timestamp(1_000_000 + index as i64));
        assert_eq!(value_of(batch), format!("value {index}"));
    }
    assert_eq!(log.values(2), [(0, "to three".into())]);
    assert_eq!(log.values(3), [(300, "to three".into())]);
    assert_eq!(log.values(5), [(0, "mark".into())]);
    let first = log.first_at_or_after(PartitionId(1), Timestamp(4_985)).unwrap().unwrap();
    assert_eq!((first.base, first.max_timestamp), (Offset(20), Timestamp(4_990)));
}

fn directory_copy(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// What is in the fixture is read, and again after this release has gone on in it.
#[test]
fn a_directory_of_format_version_1_is_read() {
    let copy = directory_copy(&fixture("v1"));
    for incarnation in 2..4 {
        let log = open(copy.path());
        assert_eq!(log.incarnation(), incarnation);
        check(&log, &[]);
        drop(log);
    }
}

#[test]
fn a_directory_of_format_version_2_is_read() {
    let copy = directory_copy(&fixture("v2"));
    for incarnation in 3..5 {
        let log = open(copy.path());
        assert_eq!(log.incarnation(), incarnation);
        check_rewritten(&log);
        drop(log);
    }
}

/// The same commits make the same state with the code of today.
#[test]
fn the_same_commits_are_read_the_same_today() {
    let directory = tempfile::tempdir().unwrap();
    let path = std::env::var_os("DUOLOG_FIXTURE").map_or(directory.path().to_owned(), PathBuf::from);
    make_rewritten(&path);
    check_rewritten(&open(directory_copy(&path).path()));
}
