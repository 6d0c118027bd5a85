//! How fast one cold partition among many is read from the start, before and after the cleaner has sorted the files.
//!
//! `cargo run --release -p duolog-storage --example catch_up -- DIRECTORY [partitions] [MiB] [batch KiB]`. The partitions are
//! written in turns, a batch each. Before each read the system forgets the files (`posix_fadvise`), so that it comes from the disk.
#![allow(clippy::unwrap_used, reason = "a measuring tool")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Line, append, body, forget_cached_files, read_all};
use duolog_record::Timestamp;
use duolog_storage::{DiskLog, Durability, FsDisk, Log, Options};

/// Appends of one commit.
const COMMIT_APPENDS: usize = 500;
/// Commits that are not answered yet.
const IN_FLIGHT: usize = 4;
/// Partitions that are read, one after the other.
const READ: u64 = 40;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a directory that may be filled");
    let partitions: u64 = arguments.next().map_or(10_000, |it| it.parse().unwrap());
    let mib: usize = arguments.next().map_or(2048, |it| it.parse().unwrap());
    let batch_kib: usize = arguments.next().map_or(8, |it| it.parse().unwrap());
    // The cleaner is stepped by hand at the end: what is measured before is what it has not touched.
    let log = Arc::new(DiskLog::open_manual(Arc::new(FsDisk::new(&directory)), Options::default()).unwrap());
    let directory = Path::new(&directory);
    let started = Instant::now();
    let rounds = fill(&log, partitions, mib << 20, batch_kib << 10);
    println!("{partitions} partitions, {rounds} batches of {batch_kib} KiB each: {:?}", started.elapsed());

    show("as written", &measure(&log, directory, partitions), &log);
    let started = Instant::now();
    log.reclaim(Timestamp(0)).unwrap();
    while log.clean(Timestamp(0)).unwrap() {}
    println!("cleaner: {:?}, {:?}", started.elapsed(), log.stats().clean);
    show("cleaned", &measure(&log, directory, partitions), &log);
    log.close();
}

/// Writes batches to all partitions in turns. Gives how many each has.
fn fill(log: &Arc<DiskLog>, partitions: u64, bytes: usize, batch_bytes: usize) -> u64 {
    let body = body(batch_bytes);
    let rounds = (bytes / body.bytes.len()) as u64 / partitions;
    let pumping = Arc::clone(log);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let pump = std::thread::spawn(move || {
        while is_done.try_recv().is_err() {
            if !pumping.pump() {
                std::thread::yield_now();
            }
        }
    });
    let mut line = Line::new(IN_FLIGHT);
    for round in 0..rounds {
        let base = round * u64::from(body.offsets);
        let ids: Vec<u64> = (0..partitions).collect();
        for ids in ids.chunks(COMMIT_APPENDS) {
            let entries = ids.iter().map(|id| append(&body, *id, base)).collect();
            line.commit(log, entries, Durability::Sync);
        }
    }
    line.finish();
    done.send(()).unwrap();
    pump.join().unwrap();
    rounds
}

/// Bytes and time of each read.
fn measure(log: &DiskLog, directory: &Path, partitions: u64) -> Vec<(usize, Duration)> {
    let count = READ.min(partitions);
    let read = |number| {
        forget_cached_files(directory);
        let started = Instant::now();
        let bytes = read_all(log, number * partitions / count, 0);
        (bytes, started.elapsed())
    };
    (0..count).map(read).collect()
}

fn show(when: &str, reads: &[(usize, Duration)], log: &DiskLog) {
    let rate = |(bytes, took): (usize, Duration)| bytes as f64 / 1e6 / took.as_secs_f64();
    let bytes = reads.iter().map(|it| it.0).sum();
    let took = reads.iter().map(|it| it.1).sum();
    let mut rates: Vec<f64> = reads.iter().copied().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "{when}: {:.0} MB/s over {} partitions of {} KiB; slowest {:.0}, median {:.0} MB/s; {} files",
        rate((bytes, took)),
        reads.len(),
        (bytes / reads.len()) >> 10,
        rates[0],
        rates[rates.len() / 2],
        log.stats().files,
    );
}
