//! `duolog bench startup`: idle memory, and how long until a broker serves, empty and after `kill -9` with data or queues.

mod queues;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::fill;
use super::report::{Report, Row};
use super::server::Spawned;
use crate::config::Size;

/// Starts of which the median counts.
const STARTS: usize = 5;
/// How long a broker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// Partitions of one topic.
const PARTITIONS_PER_TOPIC: u32 = 100;

#[derive(Debug, Args)]
pub struct StartupBench {
    /// Directory in which the data is made and deleted: choose the disk that is to be measured; default: beside the
    /// binary
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Data in the log at the kill
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    pub data: Size,
    /// Partitions that hold the data, in topics of 100
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    /// Instead of data: so many empty queues
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["data", "partitions"],
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub queues: Option<u64>,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(bench: &StartupBench) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut server = Spawned::start(bench.dir.as_deref(), &[])?;
    report.push(measure(&mut server, "start, empty".to_owned())?);
    if let Some(queues) = bench.queues {
        queues::run(&mut server, queues, &mut report)?;
        return Ok(report);
    }
    fill(&server, bench.data.0, bench.partitions)?;
    let name = match bench.partitions {
        1 => format!("start after kill -9 with {} MiB", bench.data.0 >> 20),
        many => format!("start after kill -9 with {} MiB in {many} partitions", bench.data.0 >> 20),
    };
    report.push(measure(&mut server, name)?);
    Ok(report)
}

/// The median of starts after a kill each, and the memory that the last of them takes.
fn measure(server: &mut Spawned, name: String) -> anyhow::Result<Row> {
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        server.kill()?;
        starts.push(server.restart(&[])?);
    }
    starts.sort_unstable();
    let mut row = Row::new(name);
    row.ms("ready_ms", starts.get(STARTS / 2).copied().context("there was no start")?);
    row.ms("ready_max_ms", starts.last().copied().context("there was no start")?);
    thread::sleep(IDLE);
    if let Some(bytes) = server.resident_bytes() {
        row.figure("idle_rss_mib", bytes as f64 / f64::from(1 << 20));
    }
    Ok(row)
}

/// Produces so many bytes to all partitions in turns.
fn fill(server: &Spawned, bytes: u64, partitions: u32) -> anyhow::Result<()> {
    let address = server.address("kafka")?;
    let mut places = Vec::with_capacity(partitions as usize);
    for first in (0..partitions).step_by(PARTITIONS_PER_TOPIC as usize) {
        let count = PARTITIONS_PER_TOPIC.min(partitions - first);
        places.extend(fill::create(address, &format!("startup-{first}"), count)?);
    }
    fill::fill(address, &places, bytes)
}
