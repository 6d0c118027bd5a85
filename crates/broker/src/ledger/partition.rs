//! One partition of a ledger: the state of each of its records.
//!
//! Invariant: below `scan` a record is settled or has a history (`records`); from there on one that has neither is
//! fresh. `scan` itself stands at a fresh record of the window, or at the window's end. A record with a history that
//! is available is in `ready`.

use std::collections::{BTreeMap, BTreeSet};

use duolog_record::{PartitionId, Timestamp};

use super::changes::{NO_TTL, Part, RecordState, ReplayMark};
use super::dirty::Dirty;
use super::grouped::Recent;
use super::groups::Groups;
use super::settled::SettledSet;
use super::timers::Timers;
use super::window::{Window, span_end};
use crate::{Monotonic, Order};

/// What a record with a history is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    /// Can be leased.
    Ready,
    /// Leased.
    Leased {
        /// When that ends.
        until: Monotonic,
        /// To where it can be extended.
        latest: Monotonic,
    },
    /// Released with a delay.
    Delayed {
        /// When that ends.
        until: Monotonic,
    },
    /// On the way to the dead-letter queue.
    Moving,
}

/// A record with a history that is not settled.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What is written of it.
    pub(super) state: RecordState,
    /// Incarnation of the lease before the last, for taking the last back; `NO_WAY_BACK` if that can no longer be.
    pub(super) incarnation_before: u64,
    /// What it is doing.
    pub(super) live: Live,
}

/// No lease is of this incarnation.
pub(super) const NO_WAY_BACK: u64 = u64::MAX;

/// What the ledger last added up of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) runs: usize,
    pub(super) records: usize,
    pub(super) spans: usize,
    pub(super) holds: bool,
    pub(super) leasable: bool,
    pub(super) undue: Option<i64>,
    pub(super) window_low: bool,
    pub(super) window_empty: bool,
    pub(super) dirty: bool,
}

/// The records of one partition.
#[derive(Debug)]
pub(super) struct PartitionLedger {
    pub(super) id: PartitionId,
    pub(super) index: u32,
    /// Everything below is readable.
    pub(super) end: u64,
    pub(super) settled: SettledSet,
    pub(super) records: BTreeMap<u64, Entry>,
    pub(super) ready: BTreeSet<u64>,
    pub(super) replay: ReplayMark,
    pub(super) scan: u64,
    /// From `scan` up to here nothing is settled and nothing has a history: spares looking that up for each record.
    clear_until: u64,
    pub(super) window: Window,
    /// What can be leased, by key, in a queue that looks at keys; then `ready`, `scan` and the window's spans are not
    /// used.
    pub(super) groups: Option<Groups>,
    /// Live appends ahead of the window of such a queue.
    pub(super) recent: Recent,
    /// A fresh record may be leased if it was appended before then or at that time.
    pub(super) due_before: i64,
    /// When the record at the window's end was appended, if it is not due, in such a queue.
    pub(super) undue: Option<i64>,
    /// The window's turn to be read on has come, after a look for what was passed over.
    pub(super) front_next: bool,
    pub(super) dirty: Dirty,
    /// Floor or replay mark changed, or `dirty` holds something.
    pub(super) touched: bool,
    pub(super) counted: Counted,
}

impl PartitionLedger {
    /// All below `floor` settled, nothing behind it known.
    pub(super) fn new(id: PartitionId, index: u32, floor: u64, order: Order) -> Self {
        let groups = match order {
            Order::Standard => None,
            Order::ByKey | Order::Fair => Some(Groups::new(order)),
        };
        Self {
            id,
            index,
            end: floor,
            settled: SettledSet::new(floor),
            records: BTreeMap::new(),
            ready: BTreeSet::new(),
            replay: ReplayMark::default(),
            scan: floor,
            clear_until: floor,
            window: Window::new(floor),
            groups,
            recent: Recent::default(),
            due_before: i64::MAX,
            undue: None,
            front_next: false,
            dirty: Dirty::default(),
            touched: false,
            counted: Counted::default(),
        }
    }

    /// Not settled, whatever else.
    pub(super) fn unsettled(&self) -> u64 {
        self.end - self.settled.floor() - self.settled.above()
    }

    /// How many of a range are neither settled nor leased, delayed or moving.
    pub(super) fn available_in(&self, start: u64, end: u64) -> u64 {
        let start = start.max(self.settled.floor());
        if start >= end {
            return 0;
        }
        let settled = self.settled.runs(start).take_while(|run| run.0 < end);
        let settled: u64 = settled.map(|run| run.1.min(end) - run.0.max(start)).sum();
        let busy = self.records.range(start..end).filter(|(_, entry)| entry.live != Live::Ready).count();
        (end - start - settled).saturating_sub(busy as u64)
    }

    /// The first record below `end` that is leased or on the way to the dead-letter queue.
    pub(super) fn first_on_its_way(&self, end: u64) -> Option<u64> {
        let is_on_its_way = |live| match live {
            Live::Leased { .. } | Live::Moving => true,
            Live::Ready | Live::Delayed { .. } => false,
        };
        self.records.range(..end).find(|(_, entry)| is_on_its_way(entry.live)).map(|(&offset, _)| offset)
    }

    /// True if something may be leased, the ledger's caps aside.
    pub(super) fn is_leasable(&self) -> bool {
        match &self.groups {
            Some(groups) => groups.has_open(),
            None => self.has_fresh() || !self.ready.is_empty(),
        }
    }

    /// How much of the window's room is taken: spans, or records in a queue that looks at keys.
    pub(super) fn window_len(&self) -> usize {
        self.groups.as_ref().map_or(self.window.len(), Groups::waiting)
    }

    /// True if there is a fresh record at `scan` that is due.
    pub(super) fn has_fresh(&self) -> bool {
        self.scan < self.window.end() && self.undue_head().is_none()
    }

    /// When the next fresh record was appended, if it is not due yet.
    pub(super) fn undue_head(&self) -> Option<i64> {
        if self.groups.is_some() {
            return self.undue;
        }
        let appended = self.window.front()?.append_time.0;
        (self.scan < self.window.end() && appended > self.due_before).then_some(appended)
    }

    /// What was appended up to this time is due.
    pub(super) fn let_in(&mut self, due_before: i64, full: usize) {
        self.due_before = due_before;
        if self.groups.is_some() {
            self.undue = None;
            self.catch_up(full);
        }
    }

    /// Notes that the states of a range have changed.
    pub(super) fn mark(&mut self, start: u64, end: u64) {
        self.dirty.mark(start, end);
        self.touched = true;
    }

    /// Where the fresh records that begin at `scan` end, holes aside; `scan` if there are none.
    pub(super) fn fresh_end(&self) -> u64 {
        self.window.end().min(self.clear_until)
    }

    /// When the time to live of a fresh record began.
    pub(super) fn live_from(&self, offset: u64, appended: Timestamp) -> i64 {
        let appended = appended.0;
        if offset < self.replay.below { appended.max(self.replay.at) } else { appended }
    }

    /// Moves `scan` to the next fresh record of the window; holes and what is to be skipped on the way are settled.
    pub(super) fn advance(&mut self) {
        loop {
            self.skip_to_fresh();
            self.window.pass(self.scan);
            if self.scan >= self.window.end() {
                return;
            }
            let nothing_until = match self.window.front() {
                Some(span) if span.base.0 > self.scan => span.base.0,
                Some(span) if span.skip => span_end(span),
                Some(_) => return,
                None => self.window.end(),
            };
            self.settle_fresh(self.scan, nothing_until);
            self.scan = nothing_until;
        }
    }

    /// Moves `scan` over what is settled or has a history.
    fn skip_to_fresh(&mut self) {
        if self.scan < self.clear_until {
            return;
        }
        loop {
            let mut next = self.settled.next_outside(self.scan);
            let records = self.records.range(next..).map(|(&offset, _)| offset);
            next += (next..).zip(records).take_while(|(at, offset)| at == offset).count() as u64;
            if next == self.scan {
                break;
            }
            self.scan = next;
        }
        let record = self.records.range(self.scan..).next().map_or(u64::MAX, |(&offset, _)| offset);
        self.clear_until = record.min(self.settled.next_run(self.scan));
    }

    /// A fresh record has got a history.
    pub(super) fn scan_past(&mut self, offset: u64) {
        if offset >= self.scan {
            self.clear_until = self.clear_until.min(offset);
            self.advance();
        }
    }

    /// Looks for fresh records from `scan` on, with an empty window.
    pub(super) fn restart_at(&mut self, scan: u64) {
        if self.groups.is_some() {
            return self.restart_groups();
        }
        self.scan = scan;
        self.clear_until = scan;
        self.window.restart(scan);
        self.advance();
    }

    /// Settles what is fresh in a range; answers how many.
    pub(super) fn settle_fresh(&mut self, start: u64, end: u64) -> u64 {
        let mut settled = 0;
        let mut at = start;
        while at < end {
            let record = self.records.range(at..end).next().map_or(end, |(&offset, _)| offset);
            settled += self.settled.add(at, record);
            self.mark(at, record);
            at = record + 1;
        }
        settled
    }

    /// Gives a record that has a history another live state.
    pub(super) fn set_live(&mut self, offset: u64, live: Live, timers: &mut Timers) {
        let Some(entry) = self.records.get_mut(&offset) else { return };
        let before = std::mem::replace(&mut entry.live, live);
        if before == Live::Ready {
            self.ready.remove(&offset);
        }
        timers.leave((self.index, offset), before);
        timers.enter((self.index, offset), live);
        if self.groups.is_some() {
            self.regroup(offset, before, live);
        } else if live == Live::Ready {
            self.ready.insert(offset);
        }
    }

    /// Settles a record that has a history.
    pub(super) fn settle_record(&mut self, offset: u64, timers: &mut Timers) {
        let Some(entry) = self.records.remove(&offset) else { return };
        timers.leave((self.index, offset), entry.live);
        if entry.live == Live::Ready {
            self.ready.remove(&offset);
        }
        self.ungroup(offset, entry.state.key, entry.live);
        self.settled.add(offset, offset + 1);
        self.mark(offset, offset + 1);
    }

    /// Settles everything below `floor`, whatever its state; answers how many.
    pub(super) fn settle_below(&mut self, floor: u64, timers: &mut Timers) -> u64 {
        if floor <= self.settled.floor() {
            return 0;
        }
        let kept = self.records.split_off(&floor);
        for (offset, entry) in std::mem::replace(&mut self.records, kept) {
            timers.leave((self.index, offset), entry.live);
        }
        self.ready = self.ready.split_off(&floor);
        self.end = self.end.max(floor);
        self.touched = true;
        let settled = self.settled.add(0, floor);
        self.scan = self.scan.max(floor);
        if self.groups.is_some() {
            self.restart_groups();
        } else {
            self.advance();
        }
        settled
    }

    /// Settles everything but what is leased or on the way to the dead-letter queue; answers how many.
    pub(super) fn settle_unheld(&mut self, timers: &mut Timers) -> u64 {
        let before = self.unsettled();
        let is_held = |live| match live {
            Live::Leased { .. } | Live::Moving => true,
            Live::Ready | Live::Delayed { .. } => false,
        };
        let unheld = self.records.iter().filter(|(_, entry)| !is_held(entry.live));
        let unheld: Vec<u64> = unheld.map(|(&offset, _)| offset).collect();
        unheld.into_iter().for_each(|offset| self.settle_record(offset, timers));
        self.settle_fresh(self.settled.floor(), self.end);
        self.restart_at(self.end);
        before - self.unsettled()
    }

    /// Writes down the states in a range, at most `parts_max` of them in all; answers up to where.
    pub(super) fn describe(&self, start: u64, end: u64, parts: &mut Vec<Part>, parts_max: usize) -> u64 {
        let mut at = start.max(self.settled.floor());
        if at >= end {
            return end;
        }
        let mut runs = self.settled.runs(at).peekable();
        let mut records = self.records.range(at..end).peekable();
        while at < end {
            if parts.len() >= parts_max {
                return at;
            }
            let run = runs.peek().map_or((u64::MAX, u64::MAX), |&run| run);
            let record = records.peek().map_or(u64::MAX, |&(&offset, _)| offset);
            if run.0 <= at {
                let run_end = run.1.min(end);
                parts.push(Part::Settled(at, run_end - at));
                at = run_end;
                runs.next();
            } else if let Some((_, entry)) = records.next_if(|&(&offset, _)| offset == at) {
                let RecordState { ttl_ms, .. } = entry.state;
                parts.push(match ttl_ms {
                    NO_TTL => Part::Record(at, entry.state),
                    ttl_ms => Part::Timed(at, entry.state, ttl_ms),
                });
                at += 1;
            } else {
                let fresh_end = run.0.min(record).min(end);
                parts.push(Part::Fresh(at, fresh_end - at));
                at = fresh_end;
            }
        }
        end
    }
}
