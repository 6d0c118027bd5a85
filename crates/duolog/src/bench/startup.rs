//! `duolog bench startup`: idle memory, and how long until a broker serves, empty and after `kill -9` with data.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use duolog_record::{BatchBuilder, Timestamp};

use super::kafka::Wire;
use super::progress;
use super::report::{Report, Row};
use super::server::Spawned;
use crate::config::Size;

/// Starts of which the median counts.
const STARTS: usize = 5;
/// How long a broker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// Bytes of one record that fills the log.
const RECORD_BYTES: usize = 1024;
/// Bytes of a batch of them.
const BATCH_BYTES: usize = 512 << 10;

#[derive(Debug, Args)]
pub struct StartupBench {
    /// Directory in which the data is made and deleted: choose the disk that is to be measured; default: beside the
    /// binary
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Data in the log at the kill
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    pub data: Size,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(bench: &StartupBench) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut server = Spawned::start(bench.dir.as_deref(), &[])?;
    let mut row = Row::new("start, empty");
    row.ms("ready_ms", median(&mut server)?);
    thread::sleep(IDLE);
    if let Some(bytes) = server.resident_bytes() {
        row.figure("idle_rss_mib", bytes as f64 / f64::from(1 << 20));
    }
    report.push(row);

    fill(&server, bench.data.0)?;
    let mut row = Row::new(format!("start after kill -9 with {} MiB", bench.data.0 >> 20));
    row.ms("ready_ms", median(&mut server)?);
    thread::sleep(IDLE);
    if let Some(bytes) = server.resident_bytes() {
        row.figure("idle_rss_mib", bytes as f64 / f64::from(1 << 20));
    }
    report.push(row);
    Ok(report)
}

/// The median of starts after a kill each.
fn median(server: &mut Spawned) -> anyhow::Result<Duration> {
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        server.kill()?;
        starts.push(server.restart(&[])?);
    }
    starts.sort_unstable();
    starts.get(STARTS / 2).copied().context("there was no start")
}

/// Produces so many bytes, each batch acknowledged.
fn fill(server: &Spawned, bytes: u64) -> anyhow::Result<()> {
    let mut wire = Wire::connect(server.address("kafka")?)?;
    wire.create_topic("startup", 1, 2 * BATCH_BYTES)?;
    let mut builder = BatchBuilder::new();
    while builder.bytes() < BATCH_BYTES {
        builder.push(Timestamp(0), None, Some(&[7; RECORD_BYTES]), &[]);
    }
    let batch = builder.build();
    let bar = progress::bar("fill", bytes);
    let mut filled = 0;
    while filled < bytes {
        wire.send_produce("startup", 0, &batch)?;
        wire.receive_produce()?;
        filled += batch.bytes().len() as u64;
        bar.set_position(filled.min(bytes));
    }
    bar.finish_and_clear();
    Ok(())
}
