//! From producing a record to having consumed it: one record a request, at a steady rate, one consumer that waits.
//!
//! Time counts as [`Pace`] has it: a broker that stalls is charged for all that had to wait behind it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use duolog_record::{BatchBuilder, Timestamp};
use hdrhistogram::Histogram;

use super::super::content;
use super::super::pace::Pace;
use super::super::progress;
use super::super::report::{Row, histogram, note};
use super::super::server::{Server, note_counters};
use super::Load;
use super::wire::{FETCH_WAIT_MS, Wire};

/// Before the first record, so that the consumer waits already.
const LEAD: Duration = Duration::from_millis(200);

/// Runs for as long as asked.
pub fn run(server: &Server, load: &Load) -> anyhow::Result<Row> {
    let records = load.rate * load.seconds;
    let before = server.counters();
    let pace = Pace::new(Instant::now() + LEAD, load.rate, records);
    let (acknowledged, consumed) = thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(server, load, records, &pace));
        let producing = produce(server, load, records, &pace);
        let consumed = consuming.join().expect("a consumer does not panic");
        anyhow::Ok((producing?, consumed?))
    })?;
    let mut row = Row::new(format!("kafka produce to consume, {}/s, {} B", load.rate, load.record_bytes));
    row.figure("records", records);
    row.latency(&consumed);
    row.acknowledged(&acknowledged);
    note_counters(&mut row, before, server.counters());
    Ok(row)
}

/// The latencies are those of acknowledgements.
fn produce(server: &Server, load: &Load, records: u64, pace: &Pace) -> anyhow::Result<Histogram<u64>> {
    let mut sender = Wire::connect(server.address())?;
    let mut receiver = sender.split()?;
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let mut latencies = histogram();
            for number in 0..records {
                let (_, base) = receiver.receive_produce()?;
                ensure!(base == number, "record {number} was stored at {base}");
                note(&mut latencies, pace.passed(number, Instant::now()));
            }
            Ok(latencies)
        });
        let mut value = vec![0; load.record_bytes];
        for number in 0..records {
            content::fill(&mut value, 0, number);
            let mut builder = BatchBuilder::new();
            builder.push(Timestamp(0), None, Some(&value), &[]);
            let batch = builder.build();
            pace.wait_for(number);
            sender.send_produce(&load.topic, 0, &batch)?;
        }
        receiving.join().expect("a receiver does not panic")
    })
}

fn consume(server: &Server, load: &Load, records: u64, pace: &Pace) -> anyhow::Result<Histogram<u64>> {
    let mut wire = Wire::connect(server.address())?;
    let bar = progress::bar("latency", records);
    let mut latencies = histogram();
    let mut scratch = vec![0; load.record_bytes];
    let mut next = 0;
    while next < records {
        wire.send_fetch(&load.topic, 0, next, load.fetch_bytes, FETCH_WAIT_MS)?;
        for batch in wire.receive_fetch()?.batches {
            let now = Instant::now();
            for record in batch.records(batch.header().base_offset, usize::MAX)? {
                let record = record?;
                if record.offset.0 < next {
                    continue;
                }
                let value = record.value.as_deref().unwrap_or_default();
                let sound = record.offset.0 == next && content::matches(value, &mut scratch, 0, next);
                ensure!(sound, "wrong record at {}, expected {next}", record.offset);
                note(&mut latencies, pace.passed(next, now));
                next += 1;
            }
        }
        bar.set_position(next);
    }
    bar.finish_and_clear();
    Ok(latencies)
}
