//! How fast the log on disk writes, reads and opens, without anything above it.
//!
//! `cargo run --release -p duolog-storage --example throughput -- DIRECTORY [batch KiB] [MiB] [sync|os]`
#![allow(clippy::unwrap_used, reason = "a measuring tool")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use duolog_record::{BatchBuilder, Offset, PartitionId, Timestamp};
use duolog_storage::{Body, Commit, DiskLog, Durability, Entry, FsDisk, Log, Options, ReadLimit, Target};

/// Value of each record, bytes.
const VALUE_BYTES: usize = 100;
/// Commits that are not answered yet.
const IN_FLIGHT: usize = 16;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a directory that may be filled");
    let batch_kib: usize = arguments.next().map_or(64, |it| it.parse().unwrap());
    let mib: usize = arguments.next().map_or(1024, |it| it.parse().unwrap());
    let durability =
        if arguments.next().as_deref() == Some("os") { Durability::Os } else { Durability::Sync };
    let disk = || Arc::new(FsDisk::new(&directory));

    let mut builder = BatchBuilder::new();
    let mut records = 0u32;
    while builder.bytes() < batch_kib << 10 {
        builder.push(Timestamp(0), None, Some(&[b'v'; VALUE_BYTES]), &[]);
        records += 1;
    }
    let body = Body::of(&builder.build());
    let batches = (mib << 20) / body.bytes.len();

    let log = DiskLog::open(disk(), Options::default()).unwrap();
    let base = log.bounds(PartitionId(1)).map_or(0, |it| it.end.0);
    let (sender, receiver) = channel();
    let started = Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    for index in 0..batches {
        if index >= IN_FLIGHT {
            let sent: Instant = receiver.recv().unwrap();
            slowest = slowest.max(sent.elapsed());
        }
        let target = Target {
            partition: PartitionId(1),
            base: Offset(base + index as u64 * u64::from(records)),
            leader_epoch: 1,
        };
        // A buffer of its own, as a request has.
        let body = Body { bytes: Bytes::copy_from_slice(&body.bytes), ..body.clone() };
        let entry = Entry { body, targets: vec![target], key_hashes: Vec::new(), abort_first: None };
        let commit = Commit {
            entries: vec![entry],
            trims: Vec::new(),
            durability,
            append_time: Timestamp(0),
            may_use_reserve: false,
        };
        let (sender, sent) = (sender.clone(), Instant::now());
        log.commit(
            commit,
            Box::new(move |result| {
                result.unwrap();
                sender.send(sent).unwrap();
            }),
        );
    }
    receiver.iter().take(IN_FLIGHT.min(batches)).for_each(drop);
    let seconds = started.elapsed().as_secs_f64();
    let stats = log.stats();
    println!(
        "written: {:.0} MB/s, {:.2} M records/s, {} commits a sync, slowest {slowest:?}, {stats:?}",
        (batches * body.bytes.len()) as f64 / seconds / 1e6,
        (batches as f64 * f64::from(records)) / seconds / 1e6,
        stats.frames / stats.syncs.max(1),
    );

    let started = Instant::now();
    let (mut at, end, mut bytes) = (base, log.bounds(PartitionId(1)).unwrap().end, 0usize);
    while at < end.0 {
        let limit = ReadLimit { bytes_max: 1 << 20, until: end };
        let read = log.read(PartitionId(1), Offset(at), limit).unwrap();
        bytes += read.iter().map(|it| it.body.len()).sum::<usize>();
        at = read.last().map(|it| it.base.0 + u64::from(it.offsets)).unwrap();
    }
    println!("read: {:.0} MB/s", bytes as f64 / started.elapsed().as_secs_f64() / 1e6);

    // As after a kill: nothing is closed.
    std::mem::forget(log);
    let started = Instant::now();
    let copy = format!("{directory}-copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "lock") {
            std::fs::hard_link(&path, std::path::Path::new(&copy).join(path.file_name().unwrap())).unwrap();
        }
    }
    let linked = started.elapsed();
    let log = DiskLog::open(Arc::new(FsDisk::new(&copy)), Options::default()).unwrap();
    println!("opened: {:?} with {} files", started.elapsed() - linked, log.stats().files);
    log.close();
    std::fs::remove_dir_all(&copy).unwrap();
}
