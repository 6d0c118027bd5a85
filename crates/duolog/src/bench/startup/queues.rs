//! What many empty queues cost: to make them, to start with them, to list them, to keep them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::super::progress;
use super::super::report::{Report, Row};
use super::super::server::{Spawned, metrics};
use super::super::sqs::Wire;
use super::measure;

/// Connections that declare queues, one at a time on each.
const CONNECTIONS: u64 = 32;
/// How long the processor time of a broker is watched that nobody asks for anything.
const WATCH: Duration = Duration::from_secs(5);

/// Declares the queues, kills the broker, starts it again.
pub fn run(server: &mut Spawned, queues: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut row = Row::new(format!("create {queues} queues, {CONNECTIONS} connections"));
    create(server, queues, &mut row)?;
    report.push(row);
    let mut row = measure(server, format!("start after kill -9 with {queues} queues"))?;
    let before = server.processor_time();
    thread::sleep(WATCH);
    if let (Some(before), Some(after)) = (before, server.processor_time()) {
        let percent = (after - before).as_secs_f64() / WATCH.as_secs_f64() * 100.0;
        row.figure("idle_cpu_percent", (percent * 10.0).round() / 10.0);
    }
    report.push(row);
    let mut row = Row::new(format!("look at {queues} queues"));
    list(server, queues, &mut row)?;
    report.push(row);
    Ok(())
}

/// Declares them in tenths, so that it shows if a queue costs more the more there are.
fn create(server: &Spawned, queues: u64, row: &mut Row) -> anyhow::Result<()> {
    let address = server.address("aws")?;
    let bar = progress::bar("create", queues);
    let begun = Instant::now();
    let mut tenths = Vec::new();
    for tenth in 0..10 {
        let begun = Instant::now();
        let numbers = tenth * queues / 10..(tenth + 1) * queues / 10;
        let count = numbers.end - numbers.start;
        create_some(address, numbers, &bar)?;
        tenths.push(begun.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64);
    }
    let took = begun.elapsed();
    bar.finish_and_clear();
    row.figure("queues_per_s", (queues as f64 / took.as_secs_f64()).round());
    row.figure("first_tenth_us_each", tenths.first().copied().unwrap_or_default().round());
    row.figure("last_tenth_us_each", tenths.last().copied().unwrap_or_default().round());
    if let Some(bytes) = server.resident_bytes() {
        row.figure("rss_mib", bytes >> 20);
    }
    Ok(())
}

fn create_some(address: &str, numbers: std::ops::Range<u64>, bar: &ProgressBar) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let worker = |worker| {
            let numbers = numbers.clone();
            scope.spawn(move || {
                let mut wire = Wire::connect(address)?;
                for number in numbers.skip(worker as usize).step_by(CONNECTIONS as usize) {
                    wire.create_queue(&name(number), false)?;
                    bar.inc(1);
                }
                anyhow::Ok(())
            })
        };
        let workers: Vec<_> = (0..CONNECTIONS).map(worker).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

fn name(number: u64) -> String {
    format!("bench-queue-{number:07}")
}

/// All pages of ListQueues, and one look at `/metrics`.
fn list(server: &Spawned, queues: u64, row: &mut Row) -> anyhow::Result<()> {
    let mut wire = Wire::connect(server.address("aws")?)?;
    let begun = Instant::now();
    let listed = wire.list_queues()?;
    row.ms("list_ms", begun.elapsed());
    anyhow::ensure!(listed == queues, "{listed} queues are listed of {queues}");
    let begun = Instant::now();
    let text = metrics(server.address("admin")?).context("no metrics")?;
    row.ms("metrics_ms", begun.elapsed());
    row.figure("metrics_kib", text.len() >> 10);
    Ok(())
}
