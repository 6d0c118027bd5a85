//! Replaying: consumers that read old records from the start, again and again, while something else is measured.
//!
//! Each has a partition and a connection of its own. What they read does not fit the broker's cache of recent batches, and the
//! system forgets the files before they begin, so that the first pass comes from the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::super::fill::Place;
use super::super::report::Row;
use super::super::server::Server;
use super::Load;
use super::wire::Wire;

/// How long they read before the measurement begins.
const LEAD: Duration = Duration::from_secs(1);

/// What the consumers have read and whether they are to end.
#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    bytes: AtomicU64,
    passes: AtomicU64,
}

/// Does `work` while each of these places is replayed. Gives what it gives, and what was read meanwhile.
pub fn during<T>(
    server: &Server,
    load: &Load,
    places: &[Place],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Row)> {
    server.forget_cached_files()?;
    let progress = Progress::default();
    let begun = Instant::now();
    let done = thread::scope(|scope| {
        let progress = &progress;
        let start = |place| scope.spawn(move || replay(server, load, place, progress));
        let consumers: Vec<_> = places.iter().map(start).collect();
        thread::sleep(LEAD);
        let done = work();
        progress.is_over.store(true, Ordering::Relaxed);
        for consumer in consumers {
            consumer.join().expect("a consumer does not panic")?;
        }
        done
    })?;
    let took = begun.elapsed();
    let bytes = progress.bytes.load(Ordering::Relaxed);
    let mut row = Row::new(format!("kafka replay, {} consumers", places.len()));
    row.figure("read_mib", bytes >> 20);
    row.figure("mb_per_s", (bytes as f64 / 1e6 / took.as_secs_f64()).round());
    row.figure("passes", progress.passes.load(Ordering::Relaxed));
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    Ok((done, row))
}

/// Reads a place from offset 0 to its end until it is over; batches follow one another and their checksums hold.
fn replay(
    server: &Server,
    load: &Load,
    (topic, partition): &Place,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut wire = Wire::connect(server.address())?;
    let mut next = 0;
    while !progress.is_over.load(Ordering::Relaxed) {
        wire.send_fetch(topic, *partition, next, load.fetch_bytes, 0)?;
        let fetched = wire.receive_fetch()?;
        if fetched.batches.is_empty() {
            ensure!(next > 0, "nothing to replay in partition {partition}");
            next = 0;
            progress.passes.fetch_add(1, Ordering::Relaxed);
        }
        for batch in fetched.batches {
            let header = batch.header();
            ensure!(header.base_offset.0 == next, "a batch at {}, expected at {next}", header.base_offset);
            next += u64::from(header.offsets());
            progress.bytes.fetch_add(batch.bytes().len() as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}
