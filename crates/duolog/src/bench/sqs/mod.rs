//! `duolog bench sqs`: send, then receive and delete, in batches over several connections; on one queue or many, standard
//! or FIFO, empty before or with a backlog.

mod herd;
mod load;
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

use self::load::{Load, NUMBER_DIGITS};
pub use self::wire::Wire;
use self::work::Seen;

/// Connections that declare the queues, one at a time on each.
const SETUP_CONNECTIONS: u64 = 16;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Send.
    Send,
    /// Send without measuring, then receive and delete as much.
    Work,
    /// Both.
    All,
    /// Let as many receivers wait as there are messages, each on a connection of its own; then send.
    Wait,
}

/// How FIFO queues tell a message that is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dedup {
    /// By a `MessageDeduplicationId` of each message.
    Id,
    /// By the body.
    Content,
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
    /// FIFO queues instead of standard ones
    #[arg(long)]
    pub fifo: bool,
    /// Message groups of each FIFO queue; a multiple of the connections
    #[arg(long, default_value_t = 1_000, value_name = "N", requires = "fifo")]
    pub groups: u64,
    /// How FIFO queues deduplicate
    #[arg(long, value_enum, default_value_t = Dedup::Id, requires = "fifo")]
    pub dedup: Dedup,
    /// Queues, over which the batches are spread in turn
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub queues: u64,
    /// Leave one message undeleted in so many bytes of bodies, and measure the disk that is taken when all has settled
    #[arg(long, value_name = "SIZE")]
    pub stuck_every: Option<Size>,
    /// Messages that wait in the queues before the measurement, and that many are left there
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub backlog: u64,
}

/// Runs what is asked for.
pub fn run(bench: &SqsBench) -> anyhow::Result<Report> {
    let message_bytes = checked(bench)?;
    crate::descriptors::raise_limit();
    let server = Server::of(&bench.target, "aws", "127.0.0.1:4566")?;
    let mut load = Load::of(bench, message_bytes);
    let prefix = format!("duolog-bench-{:016x}", getrandom::u64()?);
    load.queue_urls = create_queues(&server, &load, &prefix)?;

    let mut report = Report::default();
    if bench.mode == Mode::Wait {
        herd::run(&server, &load, &mut report)?;
        delete_queues(&server, &load)?;
        return Ok(report);
    }
    if bench.backlog > 0 {
        let range = 0..bench.backlog;
        let row =
            measure(&server, &load, "send the backlog", range.clone(), |wire, worker, bar, latencies| {
                work::send(wire, &load, range.clone(), worker, bar, latencies)
            })?;
        report.push(row);
    }
    let range = bench.backlog..load.messages;
    let sent = measure(&server, &load, "send", range.clone(), |wire, worker, bar, latencies| {
        work::send(wire, &load, range.clone(), worker, bar, latencies)
    })?;
    if bench.mode != Mode::Work {
        report.push(sent);
    }
    if bench.mode != Mode::Send {
        let seen = Mutex::new(Seen::new(&load, bench.messages));
        let range = 0..bench.messages;
        let row = measure(&server, &load, "receive+delete", range, |wire, worker, bar, latencies| {
            work::receive_and_delete(wire, &load, worker, bar, latencies, &seen)
        })?;
        report.push(row);
        seen.into_inner().complete()?;
        if load.stuck_every.is_some() {
            report.push(disk_after(&server, &load)?);
        }
    }
    delete_queues(&server, &load)?;
    Ok(report)
}

/// Refuses what cannot be measured; gives the bytes of a message.
fn checked(bench: &SqsBench) -> anyhow::Result<usize> {
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
    anyhow::ensure!(bench.queues > 0, "--queues must be 1 at least");
    let is_multiple = bench.groups > 0 && bench.groups.is_multiple_of(bench.connections);
    let is_plain = !bench.fifo && bench.queues == 1 && bench.backlog == 0;
    anyhow::ensure!(
        bench.mode != Mode::Wait || is_plain,
        "--mode wait is of one standard queue, empty before"
    );
    anyhow::ensure!(!bench.fifo || is_multiple, "--groups must be a multiple of --connections");
    Ok(message_bytes)
}

/// Declares the queues; gives their URLs.
fn create_queues(server: &Server, load: &Load, prefix: &str) -> anyhow::Result<Vec<String>> {
    let suffix = if load.fifo { ".fifo" } else { "" };
    let connections = SETUP_CONNECTIONS.min(load.queues);
    let mut urls = vec![String::new(); load.queues as usize];
    let shares = in_parallel(connections, |worker| {
        let mut wire = Wire::connect(server.address())?;
        (worker..load.queues)
            .step_by(connections as usize)
            .map(|number| {
                wire.create_queue(&format!("{prefix}-{number}{suffix}"), load.dedup == Dedup::Content)
            })
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    for (worker, share) in shares.into_iter().enumerate() {
        for (turn, url) in share.into_iter().enumerate() {
            urls[worker + turn * connections as usize] = url;
        }
    }
    Ok(urls)
}

/// Unless the broker goes anyway.
fn delete_queues(server: &Server, load: &Load) -> anyhow::Result<()> {
    if server.is_own() {
        return Ok(());
    }
    let mut wire = Wire::connect(server.address())?;
    load.queue_urls.iter().try_for_each(|url| wire.delete_queue(url))
}

/// One thread a connection; what each gives, by worker.
fn in_parallel<T: Send>(
    connections: u64,
    work: impl Fn(u64) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..connections).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    })
}

/// Measures what the workers do for all messages of a range; the latencies are of requests.
fn measure(
    server: &Server,
    load: &Load,
    what: &str,
    range: std::ops::Range<u64>,
    work: impl Fn(&mut Wire, u64, &ProgressBar, &mut Histogram<u64>) -> anyhow::Result<Instant> + Sync,
) -> anyhow::Result<Row> {
    let messages = range.end - range.start;
    let bar = progress::bar(what, messages);
    let before = server.counters();
    let processor = server.processor_time();
    let begun = Instant::now();
    let done = in_parallel(load.connections, |worker| {
        let mut latencies = histogram();
        let mut wire = Wire::connect(server.address())?;
        let ended = work(&mut wire, worker, &bar, &mut latencies)?;
        Ok((latencies, ended))
    })?;
    bar.finish_and_clear();
    let mut all = histogram();
    let mut ended = begun;
    for (latencies, its_end) in done {
        all.add(latencies)?;
        ended = ended.max(its_end);
    }
    let mut row = Row::new(format!("sqs {what}, {}", load.described()));
    row.throughput(messages, messages * load.message_bytes as u64, ended.duration_since(begun));
    row.latency(&all);
    let processor = server.processor_time().zip(processor).map(|(after, before)| after - before);
    row.processor(processor, messages);
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
