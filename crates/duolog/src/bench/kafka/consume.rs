//! Consuming: the next fetch is under way while the last one is checked, as clients prefetch.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use duolog_record::Batch;
use indicatif::ProgressBar;

use super::super::content;
use super::super::progress;
use super::super::report::Row;
use super::super::server::{Server, note_counters};
use super::Load;
use super::wire::{FETCH_WAIT_MS, Wire};

/// Fetched answers that wait to be checked.
const AHEAD: usize = 2;

/// Reads every record and compares it with what was produced.
pub fn run(server: &Server, load: &Load) -> anyhow::Result<Row> {
    let bar = progress::bar("consume", load.records);
    let before = server.counters();
    let begun = Instant::now();
    thread::scope(|scope| {
        let bar = &bar;
        let start = |client| scope.spawn(move || consume(server, load, client, bar));
        let clients: Vec<_> = (0..load.clients).map(start).collect();
        for client in clients {
            client.join().expect("a consumer does not panic")?;
        }
        anyhow::Ok(())
    })?;
    let took = begun.elapsed();
    bar.finish_and_clear();
    let mut row = Row::new(format!("kafka consume, {} B", load.record_bytes));
    row.throughput(load.records, load.records * load.record_bytes as u64, took);
    note_counters(&mut row, before, server.counters());
    if let Some(bytes) = server.resident_bytes() {
        row.figure("broker_rss_mib", bytes >> 20);
    }
    Ok(row)
}

fn consume(server: &Server, load: &Load, client: u32, bar: &ProgressBar) -> anyhow::Result<()> {
    let (fetched, unchecked) = mpsc::sync_channel::<(u32, Vec<Batch>)>(AHEAD);
    thread::scope(|scope| {
        let checking = scope.spawn(move || check(load, &unchecked, bar));
        let fetching = fetch(server, load, client, &fetched);
        drop(fetched);
        checking.join().expect("a checker does not panic")?;
        fetching
    })
}

fn fetch(
    server: &Server,
    load: &Load,
    client: u32,
    fetched: &mpsc::SyncSender<(u32, Vec<Batch>)>,
) -> anyhow::Result<()> {
    let mut wire = Wire::connect(server.address())?;
    for partition in load.partitions_of(client) {
        let total = load.records_of(partition);
        let mut next = 0;
        if total > 0 {
            wire.send_fetch(&load.topic, partition, next, load.fetch_bytes, FETCH_WAIT_MS)?;
        }
        while next < total {
            let batches = wire.receive_fetch()?.batches;
            ensure!(
                !batches.is_empty(),
                "nothing at offset {next} of partition {partition}, where records were stored"
            );
            let last = batches.last().context("there is one")?.header();
            next = last.base_offset.0 + u64::from(last.offsets());
            if next < total {
                wire.send_fetch(&load.topic, partition, next, load.fetch_bytes, FETCH_WAIT_MS)?;
            }
            if fetched.send((partition, batches)).is_err() {
                // The checker has found something and says it.
                return Ok(());
            }
        }
    }
    Ok(())
}

fn check(load: &Load, fetched: &mpsc::Receiver<(u32, Vec<Batch>)>, bar: &ProgressBar) -> anyhow::Result<()> {
    let mut scratch = vec![0; load.record_bytes];
    let mut next: Vec<u64> = vec![0; load.partitions as usize];
    while let Ok((partition, batches)) = fetched.recv() {
        let expected = &mut next[partition as usize];
        let mut records = 0;
        for batch in batches {
            // The first batch may begin below the offset asked for.
            for record in batch.records(batch.header().base_offset, usize::MAX)? {
                let record = record?;
                if record.offset.0 < *expected {
                    continue;
                }
                let value = record.value.as_deref().unwrap_or_default();
                let sound = record.offset.0 == *expected
                    && content::matches(value, &mut scratch, u64::from(partition), *expected);
                ensure!(
                    sound,
                    "partition {partition}: wrong record at {}, expected {expected}",
                    record.offset
                );
                *expected += 1;
                records += 1;
            }
        }
        bar.inc(records);
    }
    Ok(())
}
