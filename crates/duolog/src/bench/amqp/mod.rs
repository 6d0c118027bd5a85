//! `duolog bench amqp`: publish persistent messages with confirms to a durable queue, and consume them.
//!
//! One publisher and one consumer, each a connection and a thread of its own. `--addr` puts the same load on another server of the
//! protocol.

mod wire;
mod work;

use clap::{Args, ValueEnum};

use self::wire::Wire;
use super::BenchTarget;
use super::report::{Report, Row};
use super::server::Server;
use crate::config::Size;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Publish all, each confirmed, then consume them.
    Apart,
    /// Publish and consume at once.
    Together,
    /// Publish one after the other, each once the one before is confirmed.
    Single,
    /// Publish transient messages without confirms, and consume them at once.
    Transient,
    /// All of these.
    All,
}

#[derive(Debug, Args)]
pub struct AmqpBench {
    #[command(flatten)]
    pub target: BenchTarget,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::All)]
    pub mode: Mode,
    /// Messages; of `single` a twentieth
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    pub messages: u64,
    /// Bytes of a message's body, 8 at least
    #[arg(long, default_value = "1KiB", value_name = "SIZE")]
    pub message_bytes: Size,
    /// Messages that may be on their way to be confirmed
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    pub in_flight: u64,
    /// Messages that the consumer may hold unacknowledged
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub prefetch: u16,
}

/// The settings that the measurements work with.
#[derive(Debug)]
pub struct Load {
    queue: String,
    messages: u64,
    message_bytes: usize,
    in_flight: u64,
    prefetch: u16,
    /// Messages are persistent and confirmed.
    lasting: bool,
}

/// Runs what is asked for.
pub fn run(bench: &AmqpBench) -> anyhow::Result<Report> {
    let message_bytes = bench.message_bytes.bytes()?;
    anyhow::ensure!((8..=1 << 20).contains(&message_bytes), "--message-bytes must be from 8 to 1MiB");
    anyhow::ensure!(
        bench.messages > 0 && bench.in_flight > 0,
        "--messages and --in-flight must be 1 at least"
    );
    let load = Load {
        queue: format!("bench-{:016x}", getrandom::u64()?),
        messages: bench.messages,
        message_bytes,
        in_flight: bench.in_flight,
        prefetch: bench.prefetch,
        lasting: true,
    };
    let queue = load.queue.clone();
    let server = Server::of(&bench.target, "amqp", "127.0.0.1:5672")?;
    let mut report = Report::default();
    let does = |mode| bench.mode == mode || bench.mode == Mode::All;
    if does(Mode::Apart) {
        measure(&mut report, &server, &load, "publish", work::publish)?;
        measure(&mut report, &server, &load, "consume", work::consume)?;
    }
    if does(Mode::Together) {
        measure(&mut report, &server, &load, "publish and consume at once", work::together)?;
    }
    if does(Mode::Transient) {
        let transient = Load { lasting: false, queue: load.queue.clone(), ..load };
        measure(&mut report, &server, &transient, "transient, unconfirmed, at once", work::together)?;
    }
    if does(Mode::Single) {
        let single = Load { messages: load.messages.div_ceil(20), in_flight: 1, ..load };
        measure(&mut report, &server, &single, "publish one at a time", work::publish)?;
    }
    Wire::connect(server.address())?.delete(&queue)?;
    Ok(report)
}

/// Measures one thing; the queue is declared before.
fn measure(
    report: &mut Report,
    server: &Server,
    load: &Load,
    what: &str,
    work: fn(&str, &Load) -> anyhow::Result<std::time::Duration>,
) -> anyhow::Result<()> {
    Wire::connect(server.address())?.declare(&load.queue)?;
    let before = server.processor_time();
    let took = work(server.address(), load)?;
    let processor = server.processor_time().zip(before).map(|(after, before)| after - before);
    let mut row = Row::new(format!("amqp {what}, {} B", load.message_bytes));
    row.throughput(load.messages, load.messages * load.message_bytes as u64, took);
    row.processor(processor, load.messages);
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    report.push(row);
    Ok(())
}
