//! `duolog bench nats` and `duolog bench redis`: publish to those who listen now, and how long that takes.
//!
//! Two figures count, since the load generator takes its part of the machine: messages a second, and the server's time of the
//! processor for each message that it delivered (or took, where nobody listens). `--peer PROGRAM` puts the same load on
//! another server of the protocol, in turns with ours, and says how the two compare.

mod captured;
mod latency;
mod peer;
mod stalled;
mod throughput;
mod wire;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub use self::wire::Dialect;

use self::peer::{Peer, Under};
use super::BenchTarget;
use super::report::{Report, Row};
use super::server::Server;
use crate::config::Size;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As fast as it goes.
    Throughput,
    /// Time from publishing a message to having received it, at a steady rate.
    Latency,
    /// Both.
    All,
    /// Latency of many subscribers at a steady rate, alone and with one more that reads nothing.
    Stalled,
    /// On a subject that a topic captures, each message acknowledged once it is durable (NATS).
    Captured,
}

#[derive(Debug, Args)]
pub struct LiveBench {
    #[command(flatten)]
    pub target: BenchTarget,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::All)]
    pub mode: Mode,
    /// Messages of throughput
    #[arg(long, default_value_t = 5_000_000, value_name = "N")]
    pub messages: u64,
    /// Bytes of a message's body, 8 at least
    #[arg(long, default_value = "128", value_name = "SIZE")]
    pub message_bytes: Size,
    /// Who listen; each gets every message
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub subscribers: u32,
    /// Messages per second of latency
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub rate: u64,
    /// Seconds of latency
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub seconds: u64,
    /// Unanswered messages of `captured`
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub in_flight: u64,
    /// Runs of each measurement; the median counts
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub runs: u32,
    /// Another server of the protocol, which is started on a free port and gets the same load in turns
    #[arg(long, value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
}

/// The settings that the measurements work with.
#[derive(Debug)]
pub struct Load {
    dialect: Dialect,
    subject: String,
    messages: u64,
    message_bytes: usize,
    subscribers: u32,
    rate: u64,
    seconds: u64,
}

/// Runs what is asked for.
pub fn run(dialect: Dialect, bench: &LiveBench) -> anyhow::Result<Report> {
    let message_bytes = bench.message_bytes.bytes()?;
    anyhow::ensure!((8..=1 << 20).contains(&message_bytes), "--message-bytes must be from 8 to 1MiB");
    anyhow::ensure!(bench.rate > 0 && bench.runs > 0, "--rate and --runs must be 1 at least");
    let load = Load {
        dialect,
        subject: format!("bench.{:016x}", getrandom::u64()?),
        messages: bench.messages,
        message_bytes,
        subscribers: bench.subscribers,
        rate: bench.rate,
        seconds: bench.seconds,
    };
    let default = match dialect {
        Dialect::Nats => "127.0.0.1:4222",
        Dialect::Redis => "127.0.0.1:6379",
    };
    let server = Server::of(&bench.target, dialect.name(), default)?;
    let mut report = Report::default();
    if bench.mode == Mode::Captured {
        anyhow::ensure!(dialect == Dialect::Nats, "--mode captured is for NATS, which acknowledges");
        anyhow::ensure!(bench.in_flight > 0, "--in-flight must be 1 at least");
        report.push(captured::run(&load, &server, bench.in_flight)?);
        return Ok(report);
    }
    if bench.mode == Mode::Stalled {
        return stalled::run(&load, &Under::broker(&server), || server.resident_bytes());
    }
    let peer = bench.peer.as_deref().map(|program| Peer::start(dialect, program)).transpose()?;
    let mut servers = vec![Under::broker(&server)];
    servers.extend(peer.as_ref().map(Peer::under));
    if bench.mode != Mode::Latency {
        throughput(&load, &servers, bench.runs, &mut report)?;
    }
    if bench.mode != Mode::Throughput {
        latency(&load, &servers, bench.runs, &mut report)?;
    }
    Ok(report)
}

/// The median run of each server, and how the first compares.
fn throughput(load: &Load, servers: &[Under<'_>], runs: u32, report: &mut Report) -> anyhow::Result<()> {
    let mut measured: Vec<Vec<throughput::Measured>> = vec![Vec::new(); servers.len()];
    for _ in 0..runs {
        for (server, runs) in servers.iter().zip(&mut measured) {
            runs.push(throughput::run(load, server)?);
        }
    }
    let mut medians = Vec::new();
    for (server, mut runs) in servers.iter().zip(measured) {
        runs.sort_by_key(|run| run.took);
        let run = runs[runs.len() / 2];
        let mut row = Row::new(format!(
            "{} {} 1 to {}, {} B",
            server.name,
            load.dialect.name(),
            load.subscribers,
            load.message_bytes
        ));
        row.throughput(run.messages, run.messages * load.message_bytes as u64, run.took);
        row.processor(run.processor, run.messages);
        report.push(row);
        medians.push(run);
    }
    if let [ours, theirs] = medians[..] {
        let mut row = Row::new(format!("{} against {}", servers[0].name, servers[1].name));
        row.ratio("throughput", theirs.took.as_secs_f64() / ours.took.as_secs_f64());
        if let (Some(ours), Some(theirs)) = (ours.processor, theirs.processor) {
            row.ratio("processor", ours.as_secs_f64() / theirs.as_secs_f64());
        }
        report.push(row);
    }
    Ok(())
}

fn latency(load: &Load, servers: &[Under<'_>], runs: u32, report: &mut Report) -> anyhow::Result<()> {
    let mut measured: Vec<Vec<latency::Measured>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (server, runs) in servers.iter().zip(&mut measured) {
            runs.push(latency::run(load, server)?);
        }
    }
    for (server, mut runs) in servers.iter().zip(measured) {
        runs.sort_by_key(|run| run.latencies.value_at_quantile(0.5));
        let run = &runs[runs.len() / 2];
        let name =
            format!("{} {} at {}/s, {} B", server.name, load.dialect.name(), load.rate, load.message_bytes);
        let mut row = Row::new(name);
        row.figure("messages", run.messages);
        row.latency(&run.latencies);
        row.processor(run.processor, run.messages);
        report.push(row);
    }
    Ok(())
}
