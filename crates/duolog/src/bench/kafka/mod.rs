//! `duolog bench kafka`: produce, consume, latency from produce to consume.

mod consume;
mod latency;
mod produce;
mod replay;
mod rewriting;
mod wire;

use clap::{Args, ValueEnum};

use super::BenchTarget;
use super::content::BYTES_MIN;
use super::fill;
use super::report::Report;
use super::server::Server;
use crate::config::Size;

pub use self::wire::Wire;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Produce, every batch acknowledged.
    Produce,
    /// Produce without measuring, then read everything.
    Consume,
    /// Time from producing a record to having consumed it, at a steady rate.
    Latency,
    /// Produce, consume, latency.
    All,
}

#[derive(Debug, Args)]
pub struct KafkaBench {
    #[command(flatten)]
    pub target: BenchTarget,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::All)]
    pub mode: Mode,
    /// Records of produce and consume
    #[arg(long, default_value_t = 5_000_000, value_name = "N")]
    pub records: u64,
    /// Bytes of a record's value, 8 at least
    #[arg(long, default_value = "100", value_name = "SIZE")]
    pub record_bytes: Size,
    /// Bytes of a batch (a client's `batch.size`)
    #[arg(long, default_value = "64KiB", value_name = "SIZE")]
    pub batch_bytes: Size,
    /// Unanswered requests of a producer
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub in_flight: usize,
    /// Producers and consumers, one connection each
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub clients: u32,
    /// Partitions of the topic; each belongs to one producer and one consumer
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub partitions: u32,
    /// Bytes of one fetch
    #[arg(long, default_value = "1MiB", value_name = "SIZE")]
    pub fetch_bytes: Size,
    /// Records per second of latency
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub rate: u64,
    /// Seconds of latency
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub seconds: u64,
    /// With `--mode latency`: measure alone, and again while so many consumers replay old records from the start
    #[arg(long, value_name = "N")]
    pub replaying: Option<u32>,
    /// Bytes of the old records
    #[arg(long, default_value = "2GiB", value_name = "SIZE", requires = "replaying")]
    pub replay_bytes: Size,
    /// With `--mode produce`: measure alone, and again while the cleaner rewrites files of so many bytes
    #[arg(long, value_name = "SIZE", conflicts_with = "replaying")]
    pub rewriting: Option<Size>,
}

/// The settings that the measurements work with.
#[derive(Debug)]
struct Load {
    topic: String,
    records: u64,
    record_bytes: usize,
    batch_bytes: usize,
    in_flight: usize,
    clients: u32,
    partitions: u32,
    fetch_bytes: i32,
    rate: u64,
    seconds: u64,
}

impl Load {
    fn of(bench: &KafkaBench) -> anyhow::Result<Self> {
        let record_bytes = bench.record_bytes.bytes()?;
        anyhow::ensure!(record_bytes >= BYTES_MIN, "--record-bytes must be {BYTES_MIN} at least");
        anyhow::ensure!(record_bytes <= 64 << 20, "--record-bytes must be 64MiB at most");
        anyhow::ensure!(bench.in_flight > 0 && bench.rate > 0, "--in-flight and --rate must be 1 at least");
        anyhow::ensure!(
            bench.clients > 0 && bench.clients <= bench.partitions,
            "each client needs a partition of its own: --clients must be from 1 to --partitions"
        );
        Ok(Self {
            topic: String::new(),
            records: bench.records,
            record_bytes,
            batch_bytes: bench.batch_bytes.bytes()?.min(64 << 20),
            in_flight: bench.in_flight,
            clients: bench.clients,
            partitions: bench.partitions,
            fetch_bytes: i32::try_from(bench.fetch_bytes.0).unwrap_or(i32::MAX),
            rate: bench.rate,
            seconds: bench.seconds,
        })
    }

    /// The partitions of one client.
    fn partitions_of(&self, client: u32) -> impl Iterator<Item = u32> {
        (client..self.partitions).step_by(self.clients as usize)
    }

    /// Records of one partition, all of them spread evenly.
    fn records_of(&self, partition: u32) -> u64 {
        let (each, more) =
            (self.records / u64::from(self.partitions), self.records % u64::from(self.partitions));
        each + u64::from(u64::from(partition) < more)
    }
}

/// Runs what is asked for.
pub fn run(bench: &KafkaBench) -> anyhow::Result<Report> {
    let mut load = Load::of(bench)?;
    let server = Server::of(&bench.target, "kafka", "127.0.0.1:9092")?;
    match (bench.mode, bench.rewriting, bench.replaying) {
        (Mode::Produce, Some(bytes), _) => return rewriting::run(&server, &mut load, bytes.0),
        (Mode::Latency, _, Some(consumers)) => return replayed(&server, &mut load, bench, consumers),
        (_, None, None) => {}
        (_, Some(_), _) => anyhow::bail!("--rewriting goes with --mode produce"),
        (_, _, Some(_)) => anyhow::bail!("--replaying goes with --mode latency"),
    }
    let mut report = Report::default();
    if bench.mode != Mode::Latency {
        load.topic = fresh_topic(&server, &load, load.partitions)?;
        let row = produce::run(&server, &load)?;
        if bench.mode != Mode::Consume {
            report.push(row);
        }
        if bench.mode != Mode::Produce {
            report.push(consume::run(&server, &load)?);
        }
        Wire::connect(server.address())?.delete_topic(&load.topic)?;
    }
    if matches!(bench.mode, Mode::Latency | Mode::All) {
        load.topic = fresh_topic(&server, &load, 1)?;
        report.push(latency::run(&server, &load)?);
        Wire::connect(server.address())?.delete_topic(&load.topic)?;
    }
    Ok(report)
}

/// Latency alone, and while old records are replayed.
fn replayed(server: &Server, load: &mut Load, bench: &KafkaBench, consumers: u32) -> anyhow::Result<Report> {
    let old = fresh_name()?;
    let places = fill::create(server.address(), &old, consumers)?;
    fill::fill(server.address(), &places, bench.replay_bytes.0)?;
    server.settled()?;
    let mut report = Report::default();
    load.topic = fresh_topic(server, load, 1)?;
    report.push(latency::run(server, load)?);
    let mut wire = Wire::connect(server.address())?;
    wire.delete_topic(&load.topic)?;
    load.topic = fresh_topic(server, load, 1)?;
    let (mut row, replay) = replay::during(server, load, &places, || latency::run(server, load))?;
    row.name += ", while old records are replayed";
    report.push(row);
    report.push(replay);
    wire.delete_topic(&load.topic)?;
    wire.delete_topic(&old)?;
    Ok(report)
}

/// A name that nobody has.
fn fresh_name() -> anyhow::Result<String> {
    let id = uuid::Uuid::from_u64_pair(getrandom::u64()?, getrandom::u64()?);
    Ok(format!("duolog-bench-{}", id.simple()))
}

/// A topic that nobody has, so that offsets begin at 0.
fn fresh_topic(server: &Server, load: &Load, partitions: u32) -> anyhow::Result<String> {
    let name = fresh_name()?;
    let batch = (load.batch_bytes + load.record_bytes + 1024).max(1 << 20);
    Wire::connect(server.address())?.create_topic(&name, partitions, batch)?;
    Ok(name)
}
