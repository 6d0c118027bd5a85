//! `duolog bench`: the load generator behind docs/benchmarks.md.
//!
//! It speaks the protocols through its own minimal clients, one thread per connection, so that it costs little beside the
//! broker. What it sends is derived from partition and offset (or from a number), and every record that it reads is
//! compared with that: a figure is never of records that were lost, swapped or damaged.

mod amqp;
mod content;
mod fill;
mod kafka;
mod live;
mod pace;
mod progress;
mod report;
mod server;
mod sqs;
mod startup;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::live::Dialect;

/// Where the load goes, and how the figures are printed.
#[derive(Debug, Args)]
pub struct BenchTarget {
    /// Start a broker of one's own for this run, on free ports, its data in a directory that is deleted afterwards
    #[arg(long)]
    pub spawn: bool,
    /// Directory in which `--spawn` makes that directory: choose the disk that is to be measured; default: beside the
    /// binary
    #[arg(long, value_name = "DIR", requires = "spawn")]
    pub dir: Option<PathBuf>,
    /// Further arguments of `duolog serve` for `--spawn`, as in `--serve-arg=--durability=os`
    #[arg(long = "serve-arg", value_name = "ARG", requires = "spawn", allow_hyphen_values = true)]
    pub serve_args: Vec<String>,
    /// Listener to load; default: where a broker stands by default
    #[arg(long, value_name = "ADDR", conflicts_with = "spawn")]
    pub addr: Option<String>,
    /// Admin listener, for the number of fsyncs
    #[arg(long, env = "DUOLOG_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9600")]
    pub admin: String,
    /// Seconds without a change after which its disk counts as settled, where that is waited for: by default retention, reclaiming
    /// and the cleaner all look more often
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub settled_seconds: u64,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Produce, consume and measure latency as a Kafka client
    Kafka(kafka::KafkaBench),
    /// Send, receive and delete as an SQS client
    Sqs(sqs::SqsBench),
    /// Publish and consume persistent messages as AMQP clients
    Amqp(amqp::AmqpBench),
    /// Publish to subscribers and measure latency as NATS clients
    Nats(live::LiveBench),
    /// Publish to subscribers and measure latency as Redis clients
    Redis(live::LiveBench),
    /// Measure start-up and idle memory
    Startup(startup::StartupBench),
}

/// Runs one benchmark.
pub fn run(command: BenchCommand) -> anyhow::Result<()> {
    let (report, json) = match command {
        BenchCommand::Kafka(bench) => (kafka::run(&bench)?, bench.target.json),
        BenchCommand::Sqs(bench) => (sqs::run(&bench)?, bench.target.json),
        BenchCommand::Amqp(bench) => (amqp::run(&bench)?, bench.target.json),
        BenchCommand::Nats(bench) => (live::run(Dialect::Nats, &bench)?, bench.target.json),
        BenchCommand::Redis(bench) => (live::run(Dialect::Redis, &bench)?, bench.target.json),
        BenchCommand::Startup(bench) => (startup::run(&bench)?, bench.json),
    };
    print!("{}", if json { report.json() } else { report.text() });
    Ok(())
}
