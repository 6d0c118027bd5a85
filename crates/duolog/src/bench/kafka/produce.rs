//! Producing: batches of whole records, a bounded number of them unanswered, as a client with `linger.ms` does it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use duolog_record::{Batch, BatchBuilder, Timestamp};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::super::content;
use super::super::progress;
use super::super::report::{Row, histogram, note};
use super::super::server::{Server, note_counters};
use super::Load;
use super::wire::Wire;

/// Time of every record: what is measured does not depend on it.
const TIMESTAMP: Timestamp = Timestamp(1_700_000_000_000);

/// A request that waits for its answer.
struct Sent {
    partition: u32,
    base: u64,
    records: u64,
    at: Instant,
}

/// Produces all records; the latencies are of requests.
pub fn run(server: &Server, load: &Load) -> anyhow::Result<Row> {
    let bar = progress::bar("produce", load.records);
    let before = server.counters();
    let begun = Instant::now();
    let latencies = thread::scope(|scope| {
        let bar = &bar;
        let start = |client| scope.spawn(move || produce(server, load, client, bar));
        let clients: Vec<_> = (0..load.clients).map(start).collect();
        let mut all = histogram();
        for client in clients {
            all.add(client.join().expect("a producer does not panic")?)?;
        }
        anyhow::Ok(all)
    })?;
    let took = begun.elapsed();
    bar.finish_and_clear();
    let mut row = Row::new(format!("kafka produce, {} B", load.record_bytes));
    row.throughput(load.records, load.records * load.record_bytes as u64, took);
    row.latency(&latencies);
    note_counters(&mut row, before, server.counters());
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    Ok(row)
}

fn produce(server: &Server, load: &Load, client: u32, bar: &ProgressBar) -> anyhow::Result<Histogram<u64>> {
    let mut sender = Wire::connect(server.address())?;
    let receiver = sender.split()?;
    // The channel's places are the requests that may be unanswered; one is held by the receiver itself.
    let (sent, answered) = mpsc::sync_channel(load.in_flight - 1);
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(receiver, answered, bar));
        let sending = send(&mut sender, load, client, sent);
        let received = receiving.join().expect("a receiver does not panic");
        // The receiver knows why; a sender whose channel is closed does not.
        let latencies = received?;
        sending.map(|()| latencies)
    })
}

fn send(wire: &mut Wire, load: &Load, client: u32, sent: mpsc::SyncSender<Sent>) -> anyhow::Result<()> {
    let mut places: Vec<(u32, u64)> = load.partitions_of(client).map(|partition| (partition, 0)).collect();
    let mut value = vec![0; load.record_bytes];
    while !places.is_empty() {
        for (partition, next) in &mut places {
            let total = load.records_of(*partition);
            if *next == total {
                continue;
            }
            let batch = batch(load, *partition, *next, total, &mut value);
            let records = u64::from(batch.header().records);
            let waiting = Sent { partition: *partition, base: *next, records, at: Instant::now() };
            // First the place, then the request: never more unanswered than allowed.
            if sent.send(waiting).is_err() {
                anyhow::bail!("the answers have ended");
            }
            wire.send_produce(&load.topic, *partition, &batch)?;
            *next += records;
        }
        places.retain(|(partition, next)| *next < load.records_of(*partition));
    }
    Ok(())
}

/// A batch of as many records as fit, one at least.
fn batch(load: &Load, partition: u32, from: u64, until: u64, value: &mut [u8]) -> Batch {
    let mut builder = BatchBuilder::new();
    let mut number = from;
    while number < until && (builder.is_empty() || builder.bytes() + value.len() + 16 <= load.batch_bytes) {
        content::fill(value, u64::from(partition), number);
        builder.push(TIMESTAMP, None, Some(value), &[]);
        number += 1;
    }
    builder.build()
}

fn receive(mut wire: Wire, sent: mpsc::Receiver<Sent>, bar: &ProgressBar) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = histogram();
    let mut unshown = 0;
    let mut shown_at = Instant::now();
    while let Ok(waiting) = sent.recv() {
        let (partition, base) = wire.receive_produce()?;
        ensure!(
            (partition, base) == (waiting.partition, waiting.base),
            "records {} of partition {} were stored at {base} of {partition}",
            waiting.base,
            waiting.partition
        );
        note(&mut latencies, waiting.at.elapsed());
        unshown += waiting.records;
        if shown_at.elapsed() > Duration::from_millis(100) {
            bar.inc(unshown);
            (unshown, shown_at) = (0, Instant::now());
        }
    }
    bar.inc(unshown);
    Ok(latencies)
}
