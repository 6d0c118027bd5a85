//! How fast the log on disk writes, reads and opens, without anything above it.
//!
//! `cargo run --release -p duolog-storage --example throughput -- DIRECTORY [batch KiB] [MiB] [sync|os]`
#![allow(clippy::unwrap_used, reason = "a measuring tool")]

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{Line, append, body, read_all};
use duolog_record::PartitionId;
use duolog_storage::{DiskLog, Durability, FsDisk, Log, Options};

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
    let body = body(batch_kib << 10);
    let batches = (mib << 20) / body.bytes.len();

    let log = DiskLog::open(disk(), Options::default()).unwrap();
    let base = log.bounds(PartitionId(1)).map_or(0, |it| it.end.0);
    let mut line = Line::new(IN_FLIGHT);
    let started = Instant::now();
    for index in 0..batches {
        let entry = append(&body, 1, base + index as u64 * u64::from(body.offsets));
        line.commit(&log, vec![entry], durability);
    }
    line.finish();
    let seconds = started.elapsed().as_secs_f64();
    let (stats, slowest) = (log.stats(), line.slowest);
    println!(
        "written: {:.0} MB/s, {:.2} M records/s, {} commits a sync, slowest {slowest:?}, {stats:?}",
        (batches * body.bytes.len()) as f64 / seconds / 1e6,
        (batches as f64 * f64::from(body.offsets)) / seconds / 1e6,
        stats.frames / stats.syncs.max(1),
    );

    let started = Instant::now();
    let bytes = read_all(&log, 1, base);
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
