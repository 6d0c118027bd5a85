//! What a thousand topics of mixed retention take on disk, compared with what of them is alive, when all has settled.
//!
//! `cargo run --release -p duolog-broker --example mixed_retention -- DIRECTORY [days] [batch KiB]`. Each topic gets a batch an hour of a
//! clock that is moved by hand; the cleaner works beside it at its own pace. Topics keep their records for an hour, a day, a
//! week, up to a size, or for ever.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_broker::{
    Broker, BrokerOptions, Clock, Monotonic, Now, Permissive, Principal, Session, TopicPolicy, TopicSpec,
};
use duolog_record::{Batch, BatchBuilder, PartitionId, Timestamp};
use duolog_storage::{DiskLog, FsDisk, Log, Options};
use parking_lot::Mutex;

type Failure = Box<dyn std::error::Error>;

const TOPICS: u64 = 1_000;
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Bytes that topics keep which go by size.
const KEPT_BYTES: u64 = 256 << 10;
/// Appends that are not answered yet.
const IN_FLIGHT: usize = 256;
/// Disk that has not changed for so long is settled.
const SETTLED: Duration = Duration::from_secs(10);

/// A clock that is moved by hand.
struct HandClock(Mutex<Now>);

impl HandClock {
    fn pass_ms(&self, ms: u64) {
        let mut now = self.0.lock();
        now.monotonic = now.monotonic.plus_ms(ms);
        now.wall = Timestamp(now.wall.0.saturating_add_unsigned(ms));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        *self.0.lock()
    }
}

/// How long the topic with this number keeps its records, milliseconds, or up to which size, bytes.
fn retention(number: u64) -> (Option<u64>, Option<u64>) {
    match number % 10 {
        0..=2 => (Some(HOUR_MS), None),
        3..=5 => (Some(DAY_MS), None),
        6 | 7 => (Some(7 * DAY_MS), None),
        8 => (None, Some(KEPT_BYTES)),
        _ => (None, None),
    }
}

async fn topics(session: &Session) -> Result<Vec<PartitionId>, Failure> {
    let mut partitions = Vec::new();
    for number in 0..TOPICS {
        let (retention_ms, retention_bytes) = retention(number);
        let policy = TopicPolicy { retention_ms, retention_bytes, ..TopicPolicy::default() };
        let spec = TopicSpec::new(&format!("topic-{number}"), 1, policy);
        let id = session.create_topic(spec).await?;
        partitions.extend(session.catalog().topic_by_id(id).into_iter().flat_map(|it| it.partitions.clone()));
    }
    Ok(partitions)
}

fn batch(bytes: usize) -> Batch {
    let value = Bytes::from(vec![7; 1000]);
    let mut builder = BatchBuilder::new();
    while builder.bytes() < bytes {
        builder.push(Timestamp(0), None, Some(&value), &[]);
    }
    builder.build()
}

/// Appends a batch to each topic an hour. The clock moves with each append, so that retention comes in turns with them.
async fn fill(session: &Session, clock: &HandClock, hours: u64, batch: &Batch) -> Result<(), Failure> {
    let partitions = topics(session).await?;
    let mut line = VecDeque::with_capacity(IN_FLIGHT);
    for _ in 0..hours {
        for &partition in &partitions {
            if line.len() == IN_FLIGHT
                && let Some(oldest) = line.pop_front()
            {
                oldest.await?;
            }
            line.push_back(session.append(partition, batch.clone()));
            clock.pass_ms(HOUR_MS / TOPICS);
        }
    }
    for rest in line {
        rest.await?;
    }
    Ok(())
}

/// Bytes of all partitions that are alive.
fn live_bytes(log: &dyn Log) -> u64 {
    log.partitions().iter().map(|(partition, _)| log.partition_bytes(*partition)).sum()
}

/// Bytes that a directory takes, the newest file's blocks and the reserve included.
fn directory_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|it| it.metadata().ok()).map(|it| it.blocks() * 512).sum()
}

/// Lets a second pass at a time until the disk no longer changes. Gives how long that took.
fn settle(broker: &Broker, clock: &HandClock) -> Duration {
    let begun = Instant::now();
    let (mut bytes, mut since) = (0, begun);
    while since.elapsed() < SETTLED {
        clock.pass_ms(1000);
        broker.nudge();
        std::thread::sleep(Duration::from_millis(20));
        let now = broker.log().stats().disk_bytes;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    since - begun
}

fn show(when: &str, log: &dyn Log, directory: &Path) {
    let (live, disk, stats) = (live_bytes(log), directory_bytes(directory), log.stats());
    println!(
        "{when}: {} MiB alive, {} MiB of disk ({:.2} times as much) in {} files; written {} MiB, rewritten {} MiB",
        live >> 20,
        disk >> 20,
        disk as f64 / live as f64,
        stats.files,
        stats.bytes >> 20,
        stats.clean.bytes_written >> 20,
    );
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("a directory that may be filled is wanted")?;
    let days: u64 = arguments.next().map_or(Ok(14), |it| it.parse())?;
    let batch_kib: usize = arguments.next().map_or(Ok(8), |it| it.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let log = Arc::new(DiskLog::open(Arc::new(FsDisk::new(&directory)), Options::default())?);
    let directory = Path::new(&directory);
    let begin = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };
    let clock = Arc::new(HandClock(Mutex::new(begin)));
    let options = BrokerOptions { seed: 1, retention_check_ms: 5 * 60 * 1000, ..BrokerOptions::default() };
    let (disk_log, time) = (Arc::clone(&log) as Arc<dyn Log>, Arc::clone(&clock) as Arc<dyn Clock>);
    let broker = Broker::start(disk_log, time, Arc::new(Permissive), options)?;

    let begun = Instant::now();
    let session = broker.session(Principal::anonymous());
    runtime.block_on(fill(&session, &clock, days * 24, &batch(batch_kib << 10)))?;
    show(&format!("after {days} days in {:.0?}", begun.elapsed()), &*log, directory);
    let took = settle(&broker, &clock);
    show(&format!("settled {took:.0?} later"), &*log, directory);
    broker.stop();
    Ok(())
}
