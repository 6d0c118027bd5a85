//! `duolog bench sqs`: send, then receive and delete, in batches over several connections.

mod wire;
mod work;

use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::BenchTarget;
use super::progress;
use super::report::{Report, Row, histogram};
use super::server::{Server, note_counters};
use crate::config::Size;

use self::wire::Wire;

/// Characters of a body that tell one message from another.
const NUMBER_DIGITS: usize = 16;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Send.
    Send,
    /// Send without measuring, then receive and delete everything.
    Work,
    /// Both.
    All,
}

#[derive(Debug, Args)]
pub struct SqsBench {
    #[command(flatten)]
    pub target: BenchTarget,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::All)]
    pub mode: Mode,
    /// Messages
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub messages: u64,
    /// Bytes of a message's body, 16 at least
    #[arg(long, default_value = "256", value_name = "SIZE")]
    pub message_bytes: Size,
    /// Messages per request, 1 to 10
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub batch: u64,
    /// Connections, one request at a time on each
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub connections: u64,
    /// Leave one message undeleted in so many bytes of bodies, and measure the disk that is taken when all has settled
    #[arg(long, value_name = "SIZE")]
    pub stuck_every: Option<Size>,
}

/// The settings that the measurements work with.
#[derive(Debug)]
struct Load {
    queue_url: String,
    messages: u64,
    message_bytes: usize,
    batch: u64,
    connections: u64,
    /// One message in so many is received and not deleted.
    stuck_every: Option<u64>,
}

impl Load {
    /// True if this message is left undeleted: the middle one of each stretch.
    fn is_stuck(&self, number: u64) -> bool {
        self.stuck_every.is_some_and(|every| number % every == every / 2)
    }
}

/// Runs what is asked for.
pub fn run(bench: &SqsBench) -> anyhow::Result<Report> {
    let message_bytes = bench.message_bytes.bytes()?;
    anyhow::ensure!(
        (NUMBER_DIGITS..=256 << 10).contains(&message_bytes),
        "--message-bytes must be from 16 to 256KiB"
    );
    anyhow::ensure!((1..=10).contains(&bench.batch), "--batch must be from 1 to 10");
    anyhow::ensure!(bench.connections > 0, "--connections must be 1 at least");
    anyhow::ensure!(
        bench.stuck_every.is_none_or(|it| it.0 >= message_bytes as u64),
        "--stuck-every must be --message-bytes at least"
    );
    let server = Server::of(&bench.target, "aws", "127.0.0.1:4566")?;
    let mut wire = Wire::connect(server.address())?;
    let name = format!("duolog-bench-{:016x}", getrandom::u64()?);
    let load = Load {
        queue_url: wire.create_queue(&name)?,
        messages: bench.messages,
        message_bytes,
        batch: bench.batch,
        connections: bench.connections,
        stuck_every: bench.stuck_every.map(|it| it.0 / message_bytes as u64),
    };
    let mut report = Report::default();
    let sent = measure(&server, &load, "send", work::send)?;
    if bench.mode != Mode::Work {
        report.push(sent);
    }
    if bench.mode != Mode::Send {
        let seen = Mutex::new(work::Seen::new(load.messages));
        report.push(measure(&server, &load, "receive+delete", |wire, load, worker, bar, latencies| {
            work::receive_and_delete(wire, load, worker, bar, latencies, &seen)
        })?);
        seen.into_inner().complete()?;
        if load.stuck_every.is_some() {
            report.push(disk_after(&server, &load)?);
        }
    }
    wire.delete_queue(&load.queue_url)?;
    Ok(report)
}

/// One thread a connection; the latencies are of requests.
fn measure(
    server: &Server,
    load: &Load,
    what: &str,
    work: impl Fn(&mut Wire, &Load, u64, &ProgressBar, &mut Histogram<u64>) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Row> {
    let bar = progress::bar(what, load.messages);
    let before = server.counters();
    let begun = Instant::now();
    let latencies = thread::scope(|scope| {
        let (bar, work) = (&bar, &work);
        let start = |worker| {
            scope.spawn(move || {
                let mut latencies = histogram();
                let mut wire = Wire::connect(server.address())?;
                work(&mut wire, load, worker, bar, &mut latencies).map(|()| latencies)
            })
        };
        let workers: Vec<_> = (0..load.connections).map(start).collect();
        let mut all = histogram();
        for worker in workers {
            all.add(worker.join().expect("a worker does not panic")?)?;
        }
        anyhow::Ok(all)
    })?;
    let took = begun.elapsed();
    bar.finish_and_clear();
    let mut row = Row::new(format!("sqs {what}, {} B", load.message_bytes));
    row.throughput(load.messages, load.messages * load.message_bytes as u64, took);
    row.latency(&latencies);
    note_counters(&mut row, before, server.counters());
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    Ok(row)
}

/// What is left on disk when the cleaner has nothing more to do.
fn disk_after(server: &Server, load: &Load) -> anyhow::Result<Row> {
    let (bytes, took) = server.settled()?;
    let mut row = Row::new("sqs disk, settled");
    row.figure("stuck_messages", (0..load.messages).filter(|&number| load.is_stuck(number)).count());
    row.figure("passed_mib", (load.messages * load.message_bytes as u64) >> 20);
    row.figure("disk_mib", bytes >> 20);
    row.ms("settled_after_ms", took);
    if let Some(counters) = server.counters() {
        row.figure("rewritten_mib", counters.rewritten_bytes as u64 >> 20);
    }
    Ok(row)
}
