//! What a backlog costs: ten million batches of one record, drained with acks in random order.
//!
//! `cargo run --release -p duolog-broker --example ledger_backlog [standard|key|unblocked|fair]`. With `key` a thousand keys
//! take turns, and one record in a hundred is of a key that is blocked from the beginning to the end; with `unblocked` it
//! is not, so that the two tell what the others lose by it. Memory is the growth of the resident set, times are those of the
//! processor, so that what else the machine does counts little (Linux).
#![allow(clippy::unwrap_used)]

use duolog_broker::ledger::{Grant, KeyedSpan, Ledger, LedgerSpan, NO_TTL};
use duolog_broker::{LeaseId, Monotonic, Now, Order, Outcome, QueueId, QueuePolicy};
use duolog_record::{Offset, PartitionId, Timestamp};

const RECORDS: u64 = 10_000_000;
/// Leases that are kept while there is a backlog: about as many settled runs lie between them, just below their cap.
const HELD: usize = 60_000;
const PARTITION: PartitionId = PartitionId(16);

/// What one verb took for all records.
#[derive(Default)]
struct Meter {
    spent_ns: u64,
}

impl Meter {
    fn measure(&mut self, work: impl FnOnce()) {
        let start = processor_ns();
        work();
        self.spent_ns += processor_ns() - start;
    }

    fn ns_a_record(&self) -> u64 {
        self.spent_ns / RECORDS
    }
}

/// What a lease took in each tenth of the records, to see whether it depends on how many are left.
#[derive(Default)]
struct Tenths {
    records: u64,
    spent_ns: [u64; 10],
    leased: [u64; 10],
}

impl Tenths {
    fn note(&mut self, spent_ns: u64, records: usize) {
        let tenth = (self.records * 10 / RECORDS).min(9) as usize;
        self.records += records as u64;
        self.spent_ns[tenth] += spent_ns;
        self.leased[tenth] += records as u64;
    }

    fn shown(&self) -> String {
        let each = self.spent_ns.iter().zip(self.leased).map(|(ns, leased)| (ns / leased.max(1)).to_string());
        each.collect::<Vec<_>>().join(", ")
    }
}

fn processor_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn span(base: u64) -> LedgerSpan {
    LedgerSpan { base: Offset(base), offsets: 1, append_time: Timestamp(0), skip: false, ttl_ms: NO_TTL }
}

/// The key of a record: one in a hundred is of the key that will be blocked.
fn key(offset: u64) -> u64 {
    if offset.is_multiple_of(100) { 1 } else { 2 + offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000 }
}

fn keyed(base: u64) -> KeyedSpan {
    KeyedSpan::new(span(base), vec![key(base)])
}

fn order() -> Order {
    match std::env::args().nth(1).as_deref() {
        None | Some("standard") => Order::Standard,
        Some("key" | "unblocked") => Order::ByKey,
        Some("fair") => Order::Fair,
        Some(other) => panic!("no order {other:?}"),
    }
}

fn id(grant: &Grant) -> LeaseId {
    LeaseId {
        queue: QueueId(1),
        partition: grant.partition,
        offset: grant.offset,
        incarnation: grant.incarnation,
        attempt: grant.attempt,
    }
}

/// Answers what the window asks for, as the log would.
fn fill(ledger: &mut Ledger) {
    let asked: Vec<_> = ledger.needs_window().collect();
    for (partition, from, room) in asked {
        if ledger.wants_keys() {
            let to = (from.0 + 10_000).min(RECORDS);
            let spans: Vec<_> = (from.0..to).map(keyed).collect();
            ledger.extend_groups(partition, from, &spans, Offset(to));
            continue;
        }
        let to = (from.0 + room as u64).min(RECORDS);
        let spans: Vec<_> = (from.0..to).map(span).collect();
        ledger.extend_window(partition, from, &spans, Offset(to));
    }
}

fn main() {
    let policy = QueuePolicy { order: order(), ..QueuePolicy::default() };
    let [mut append, mut lease, mut ack, mut changes] = <[Meter; 4]>::default();
    let at_start = resident_bytes();
    let mut ledger = Ledger::new(policy.order, &[(PARTITION, Offset(0))], 1);
    append.measure(|| {
        for base in 0..RECORDS {
            if ledger.wants_keys() {
                ledger.appended_keys(PARTITION, keyed(base));
            } else {
                ledger.appended(PARTITION, span(base));
            }
        }
    });
    let backlog_bytes = resident_bytes().saturating_sub(at_start);

    let mut held: Vec<LeaseId> = Vec::new();
    let is_by_key = policy.order == Order::ByKey;
    let is_blocking = is_by_key && std::env::args().nth(1).as_deref() == Some("key");
    let mut blocker = None;
    if is_blocking {
        fill(&mut ledger);
        let long = Now { monotonic: Monotonic(0), wall: Timestamp(0) };
        blocker = ledger.lease(long, &policy, 1, 12 * 3_600_000, false).granted.first().map(id);
    }
    let mut slowest_ns = 0;
    let mut tenths = Tenths::default();
    let (mut seed, mut peak_bytes, mut parts) = (1_u64, backlog_bytes, 0);
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for round in 1_u64.. {
        let now = Now { monotonic: Monotonic(round * 1000), wall: Timestamp(round as i64) };
        fill(&mut ledger);
        let before = held.len();
        let spent_ns = lease.spent_ns;
        lease.measure(|| {
            for _ in 0..100 {
                held.extend(ledger.lease(now, &policy, 10, 30_000, false).granted.iter().map(id));
            }
        });
        slowest_ns = slowest_ns.max(lease.spent_ns - spent_ns);
        tenths.note(lease.spent_ns - spent_ns, held.len() - before);
        // A key that has one leased has no more to give, so a queue by key holds fewer.
        let most = if is_by_key { HELD.min(500) } else { HELD };
        let keep = if held.len() > before { most } else { 0 };
        if held.is_empty() && is_blocking && ledger.needs_window().next().is_none() {
            // All others are through.
            if let Some(blocker) = blocker.take() {
                ledger.settle(now, blocker, Outcome::Ack).unwrap();
            }
        }
        ack.measure(|| {
            while held.len() > keep {
                let id = held.swap_remove(random(held.len()));
                ledger.settle(now, id, Outcome::Ack).unwrap();
            }
        });
        changes.measure(|| {
            while let Some(changes) = ledger.take_changes() {
                parts += changes.partitions.iter().map(|it| it.parts.len()).sum::<usize>();
            }
        });
        if round % 100 == 0 {
            peak_bytes = peak_bytes.max(resident_bytes().saturating_sub(at_start));
        }
        if ledger.floor(PARTITION) == Some(Offset(RECORDS)) {
            break;
        }
    }

    println!(
        "append   {:>6} ns a batch, {:.1} MiB for the backlog",
        append.ns_a_record(),
        mib(backlog_bytes)
    );
    let slowest_us = slowest_ns / 100_000;
    println!(
        "lease    {:>6} ns a record, ten at a time; {slowest_us} us each in the slowest hundred",
        lease.ns_a_record()
    );
    println!("         {:>6} ns a record by tenths of the backlog", tenths.shown());
    println!("ack      {:>6} ns a record, in random order", ack.ns_a_record());
    println!("changes  {:>6} ns a record, {parts} parts", changes.ns_a_record());
    println!("memory   {:>6.1} MiB at most, leases and settled runs included", mib(peak_bytes));
}
