//! Each rule of the ledger, one case each; `model` and `property` hold it against a simple one.
#![allow(clippy::unwrap_used)]

mod bounds;
mod durable;
mod groups;
mod model;
mod property;
mod rules;

use duolog_record::{Offset, PartitionId, Timestamp};

use super::{Caps, Grant, KeyedSpan, LeaseResult, Ledger, LedgerSpan, LedgerState, NO_TTL};
use crate::{Backoff, LeaseId, Monotonic, Now, Order, QueueId, QueuePolicy};

const P: PartitionId = PartitionId(20);
const Q: PartitionId = PartitionId(21);
/// When the spans of [`span`] were appended.
const APPENDED: i64 = 1_000_000;

fn policy() -> QueuePolicy {
    QueuePolicy { in_flight_max: 1_000, ..QueuePolicy::default() }
}

/// So many milliseconds after the append.
fn at(ms: u64) -> Now {
    Now { monotonic: Monotonic(7_000_000 + ms * 1000), wall: Timestamp(APPENDED + ms as i64) }
}

fn span(base: u64, offsets: u32) -> LedgerSpan {
    LedgerSpan { base: Offset(base), offsets, append_time: Timestamp(APPENDED), skip: false, ttl_ms: NO_TTL }
}

/// The key of a record: three keys, in no order.
fn key_of(offset: u64) -> u64 {
    10 + (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) % 3
}

/// A span with its keys.
fn keyed(span: LedgerSpan) -> KeyedSpan {
    let offsets = span.base.0..span.base.0 + u64::from(span.offsets);
    KeyedSpan::new(span, offsets.map(key_of).collect::<Vec<u64>>())
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

/// A ledger over one partition with so many records in batches of four.
fn ledger(records: u64) -> Ledger {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(0))], 1);
    append(&mut ledger, P, records);
    ledger
}

fn append(ledger: &mut Ledger, partition: PartitionId, records: u64) {
    let mut base = ledger.partitions[ledger.by_id[&partition] as usize].end;
    let end = base + records;
    while base < end {
        let count = (end - base).min(4);
        ledger.appended(partition, span(base, count as u32));
        base += count;
    }
}

fn lease(ledger: &mut Ledger, now: Now, count: u32) -> Vec<Grant> {
    ledger.lease(now, &policy(), count, 30_000, false).granted
}

fn offsets(result: &[Grant]) -> Vec<u64> {
    result.iter().map(|grant| grant.offset.0).collect()
}

fn dead(result: &LeaseResult) -> Vec<u64> {
    result.dead.iter().map(|dead| dead.offset.0).collect()
}

/// Folds everything that has changed.
fn write(ledger: &mut Ledger, state: &mut LedgerState) {
    while let Some(changes) = ledger.take_changes() {
        state.apply(&changes);
    }
}

/// Stops and starts again with what was written, and reads the window.
fn restart(ledger: &mut Ledger, state: &LedgerState, now: Now, opening: u32) {
    let bounds: Vec<_> = ledger.partitions.iter().map(|it| (it.id, Offset(0)..Offset(it.end))).collect();
    *ledger = Ledger::recover(&policy(), state.clone(), &bounds, now, opening);
    fill(ledger);
}

/// Answers what the window asks for with one span to the end.
fn fill(ledger: &mut Ledger) {
    let asked: Vec<_> = ledger.needs_window().collect();
    for (partition, from, _) in asked {
        let end = ledger.partitions[ledger.by_id[&partition] as usize].end;
        ledger.extend_window(partition, from, &[span(from.0, (end - from.0) as u32)], Offset(end));
    }
}
