//! How fast the core takes appends, and how fast it starts again, without a disk or a socket:
//! `cargo run --release -p duolog-broker --example append_rate`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use duolog_broker::core::STATE_PARTITION;
use duolog_broker::{
    Broker, BrokerOptions, Clock, CursorMove, Monotonic, Now, Pending, Permissive, Principal, Session,
    TopicPolicy, TopicSpec,
};
use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::{Log, MemoryLog};

type Failure = Box<dyn std::error::Error>;

/// The system's clocks.
struct SystemClock {
    started: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: Monotonic(self.started.elapsed().as_micros() as u64),
            wall: Timestamp(wall.as_millis() as i64),
        }
    }
}

fn start(log: &Arc<MemoryLog>) -> Result<Broker, Failure> {
    let clock = Arc::new(SystemClock { started: Instant::now() });
    let options = BrokerOptions { seed: 1, retention_check_ms: 300_000, ..BrokerOptions::default() };
    let log: Arc<dyn Log> = Arc::clone(log) as Arc<dyn Log>;
    Ok(Broker::start(log, clock, Arc::new(Permissive), options)?)
}

async fn topic(session: &Session, partitions: u32) -> Result<Vec<PartitionId>, Failure> {
    let spec = TopicSpec::new("orders", partitions, TopicPolicy::default());
    let id = session.create_topic(spec).await?;
    Ok(session.catalog().topic_by_id(id).map(|topic| topic.partitions.clone()).unwrap_or_default())
}

fn batch(records: u32, producer: Option<Producer>) -> Batch {
    let value = Bytes::from(vec![7; 100]);
    let mut builder = BatchBuilder::new();
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for _ in 0..records {
        builder.push(Timestamp(1), None, Some(&value), &[]);
    }
    builder.build()
}

/// Keeps `in_flight` calls under way until `count` were made.
async fn pump<T, E>(
    count: u32,
    in_flight: usize,
    mut call: impl FnMut(u32) -> Pending<Result<T, E>>,
) -> Result<(), Failure>
where
    Pending<Result<T, E>>: Future<Output = Result<T, E>>,
    E: std::error::Error + 'static,
{
    let mut line = VecDeque::with_capacity(in_flight);
    for n in 0..count {
        if line.len() >= in_flight
            && let Some(oldest) = line.pop_front()
        {
            oldest.await?;
        }
        line.push_back(call(n));
    }
    for rest in line {
        rest.await?;
    }
    Ok(())
}

fn report(what: &str, records: u64, started: Instant, log: &MemoryLog) {
    let seconds = started.elapsed().as_secs_f64();
    let frames = log.stats().frames;
    println!("{what}: {:.2} M records/s ({frames} frames)", records as f64 / seconds / 1e6);
}

/// 100-byte records in batches of 16 KiB, five in flight.
async fn batches() -> Result<(), Failure> {
    const RECORDS: u32 = 150;
    let log = Arc::new(MemoryLog::new());
    let broker = start(&log)?;
    let session = broker.session(Principal::anonymous());
    let partitions = topic(&session, 1).await?;
    let batch = batch(RECORDS, None);
    println!("a batch has {} bytes", batch.bytes().len());
    let started = Instant::now();
    pump(300_000, 5, |_| session.append(partitions[0], batch.clone())).await?;
    report("batches of 16 KiB, 5 in flight", 300_000 * u64::from(RECORDS), started, &log);
    broker.stop();
    Ok(())
}

/// Appends of one record, 64 in flight.
async fn small() -> Result<(), Failure> {
    let log = Arc::new(MemoryLog::new());
    let broker = start(&log)?;
    let session = broker.session(Principal::anonymous());
    let partitions = topic(&session, 4).await?;
    let batch = batch(1, None);
    let started = Instant::now();
    pump(1_000_000, 64, |n| session.append(partitions[n as usize % 4], batch.clone())).await?;
    report("one record, 64 in flight", 1_000_000, started, &log);
    broker.stop();
    Ok(())
}

/// A start after a million offset commits and a million appends of idempotent producers.
async fn restart() -> Result<(), Failure> {
    const CHANGES: u32 = 1_000_000;
    let log = Arc::new(MemoryLog::new());
    let broker = start(&log)?;
    let session = broker.session(Principal::anonymous());
    let partitions = topic(&session, 10).await?;
    let groups: Vec<String> = (0..100).map(|n| format!("group-{n}")).collect();
    let place = |n: u32| (partitions[n as usize / 100 % 10], n % 100);
    let started = Instant::now();
    pump(CHANGES, 256, |n| {
        let (partition, group) = place(n);
        let offset = Offset(u64::from(n));
        let moves = vec![CursorMove { partition, offset, leader_epoch: -1, metadata: String::new() }];
        session.move_cursors(&groups[group as usize], moves)
    })
    .await?;
    report("offset commits, 256 in flight", u64::from(CHANGES), started, &log);
    let started = Instant::now();
    pump(CHANGES, 64, |n| {
        let (partition, id) = place(n);
        let base_sequence = i32::try_from(n / 1_000).unwrap_or_default();
        session.append(partition, batch(1, Some(Producer { id: i64::from(id), epoch: 0, base_sequence })))
    })
    .await?;
    report("idempotent appends, 64 in flight", u64::from(CHANGES), started, &log);
    // As after a crash: the first broker is not told.
    let again = Arc::new(log.reopen());
    let bounds = again.bounds(STATE_PARTITION).unwrap_or_default();
    let started = Instant::now();
    let restarted = start(&again)?;
    println!(
        "start after {} state records, {} of them and {} KiB in the tail: {:.1} ms",
        bounds.end,
        bounds.end.since(bounds.start),
        again.partition_bytes(STATE_PARTITION) >> 10,
        started.elapsed().as_secs_f64() * 1e3,
    );
    restarted.stop();
    broker.stop();
    Ok(())
}

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(batches())?;
    runtime.block_on(small())?;
    runtime.block_on(restart())
}
