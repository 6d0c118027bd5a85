//! What a backlog costs: ten million batches of one record, drained with acks in random order.
//!
//! `cargo run --release -p duolog-broker --example ledger_backlog`. Memory is the growth of the resident set (Linux).
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use duolog_broker::ledger::{Ledger, LedgerSpan, LedgerState};
use duolog_broker::{LeaseId, Monotonic, Now, Outcome, QueueId, QueuePolicy};
use duolog_record::{Offset, PartitionId, Timestamp};

const RECORDS: u64 = 10_000_000;
const IN_FLIGHT: u32 = 120_000;
/// Leases that are kept while there is a backlog: about as many settled runs lie between them, just below their cap.
const HELD: usize = 60_000;
const PARTITION: PartitionId = PartitionId(16);

/// Time spent in one verb.
#[derive(Default)]
struct Meter {
    spent: Duration,
    records: u64,
}

impl Meter {
    fn measure<T>(&mut self, records: u64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.spent += start.elapsed();
        self.records += records;
        done
    }

    fn ns(&self) -> u128 {
        self.spent.as_nanos() / u128::from(self.records.max(1))
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn span(base: u64) -> LedgerSpan {
    LedgerSpan { base: Offset(base), offsets: 1, append_time: Timestamp(0), skip: false }
}

fn main() {
    let policy = QueuePolicy {
        visibility_timeout_ms: 30_000,
        attempts_max: None,
        dead_letter: None,
        receive_wait_ms: 0,
        message_ttl_ms: None,
        in_flight_max: IN_FLIGHT,
        delay_ms: 0,
        message_bytes_max: 1 << 20,
    };
    let at_start = resident_bytes();
    let mut ledger = Ledger::new(&[(PARTITION, Offset(0))], 1);
    let mut append = Meter::default();
    append.measure(RECORDS, || (0..RECORDS).for_each(|base| ledger.appended(PARTITION, span(base))));
    let backlog = resident_bytes() - at_start;

    let (mut lease, mut ack, mut changes) = (Meter::default(), Meter::default(), Meter::default());
    let mut held: Vec<LeaseId> = Vec::with_capacity(IN_FLIGHT as usize);
    let (mut seed, mut peak, mut parts, mut now_ms) = (1_u64, 0, 0, 0_u64);
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for round in 0_u64.. {
        now_ms += 1;
        let now = Now { monotonic: Monotonic(now_ms * 1000), wall: Timestamp(now_ms as i64) };
        let asked: Vec<_> = ledger.needs_window().collect();
        for (partition, from, room) in asked {
            let to = (from.0 + room as u64).min(RECORDS);
            let spans: Vec<_> = (from.0..to).map(span).collect();
            ledger.extend_window(partition, from, &spans, Offset(to));
        }
        let before = held.len();
        for _ in 0..100 {
            let granted = lease.measure(10, || ledger.lease(now, &policy, 10, 30_000, false)).granted;
            held.extend(granted.iter().map(|grant| LeaseId {
                queue: QueueId(1),
                partition: grant.partition,
                offset: grant.offset,
                incarnation: grant.incarnation,
                attempt: grant.attempt,
            }));
        }
        let keep = if held.len() > before { HELD } else { 0 };
        while held.len() > keep {
            let last = held.len() - 1;
            let chosen = random(held.len());
            held.swap(chosen, last);
            let id = held.pop().unwrap();
            ack.measure(1, || ledger.settle(now, id, Outcome::Ack)).ok();
        }
        let written = changes.measure(1000, || {
            let mut parts = 0;
            while let Some(changes) = ledger.take_changes() {
                parts += changes.partitions.iter().map(|it| it.parts.len()).sum::<usize>();
            }
            parts
        });
        parts += written;
        if round % 100 == 0 {
            peak = peak.max(resident_bytes() - at_start);
        }
        if ledger.floor(PARTITION) == Some(Offset(RECORDS)) {
            break;
        }
    }

    let mut state = LedgerState::default();
    let (piece, _) = ledger.snapshot(None);
    state.apply(&piece);
    println!(
        "append   {:>6} ns a batch, {:.1} MiB for the backlog",
        append.ns(),
        backlog as f64 / 1_048_576.0
    );
    println!("lease    {:>6} ns a record, ten at a time", lease.ns());
    println!("ack      {:>6} ns a record, random among {HELD} held", ack.ns());
    println!("changes  {:>6} ns a record, {parts} parts for {} records", changes.ns(), lease.records);
    println!("memory   {:>6.1} MiB at most, leases and settled runs included", peak as f64 / 1_048_576.0);
}
