//! The ledger: which records of a queue are available, leased, delayed, on the way to the dead-letter queue, settled.
//!
//! Invariant: every offset from a partition's start to its end is in exactly one state; below the floor all are
//! settled. Pure: decisions take `now`, what changed is handed out by `take_changes` and folds back in `recover`.
//! A backlog costs no memory: only settled runs, records with a history and a window of spans are kept, each bounded
//! in `limits.rs`. Where to look: `lease` hands out, `settle` takes back, `rewind` purges and replays, `written` is
//! the way to disk and back. `take` takes
//! one record out of the middle. A queue that looks at keys has `groups` in the place of spans: `grouped` keeps them,
//! `lease_grouped` hands out of them. Adding an outcome: `Outcome`, `settle`, and the model in `tests/`.
//! Source: KIP-932 (record states); SQS Developer Guide, "visibility timeout".

mod changes;
mod dirty;
mod grouped;
mod groups;
mod key;
mod lease;
mod lease_grouped;
mod partition;
mod rewind;
mod settle;
mod settled;
mod take;
mod timers;
mod types;
mod window;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::planted::{self, Bug};

use crate::limits::{
    DELAY_WAKE_MS, LEDGER_CHANGE_PARTS, LEDGER_DEAD_PER_LEASE, LEDGER_GROUPED_RUNS, LEDGER_RECORDS,
    LEDGER_RUNS, LEDGER_WINDOW_RECORDS, LEDGER_WINDOW_RECORDS_MIN, LEDGER_WINDOW_SPANS,
    LEDGER_WINDOW_SPANS_MIN, LEDGER_WINDOW_SPANS_QUEUE,
};
use crate::{Backoff, LeaseId, Monotonic, Now, Order, QueuePolicy};
use groups::Groups;
use partition::{Counted, Live, PartitionLedger};
use timers::Timers;
use window::span_end;

pub use changes::{
    Hold, LedgerChanges, LedgerState, NO_TTL, Part, PartitionChanges, RecordState, ReplayMark, SnapshotAt,
};
pub use key::{DAMAGED_KEY, key_hash};
pub use take::{Sought, Taken};
pub use types::{
    DeadRecord, Grant, KeyedSpan, Keys, LeaseResult, LedgerDepth, LedgerSpan, Outlived, Settled, Term,
};

/// How much a ledger keeps; the tests use tiny ones.
#[derive(Clone, Copy, Debug)]
struct Caps {
    runs: usize,
    records: usize,
    spans: usize,
    spans_queue: usize,
    spans_min: usize,
    dead: usize,
    parts: usize,
}

impl Caps {
    fn of(order: Order) -> Self {
        let standard = Self {
            runs: LEDGER_RUNS,
            records: LEDGER_RECORDS,
            spans: LEDGER_WINDOW_SPANS,
            spans_queue: LEDGER_WINDOW_SPANS_QUEUE,
            spans_min: LEDGER_WINDOW_SPANS_MIN,
            dead: LEDGER_DEAD_PER_LEASE,
            parts: LEDGER_CHANGE_PARTS,
        };
        match order {
            Order::Standard => standard,
            Order::ByKey | Order::Fair => Self {
                runs: LEDGER_GROUPED_RUNS,
                spans: LEDGER_WINDOW_RECORDS,
                spans_queue: LEDGER_WINDOW_RECORDS,
                spans_min: LEDGER_WINDOW_RECORDS_MIN,
                ..standard
            },
        }
    }
}

/// The ledger of one queue over all partitions of its topic.
#[derive(Debug)]
pub struct Ledger {
    caps: Caps,
    order: Order,
    /// How long after its append a record may be leased, milliseconds.
    delay_ms: u64,
    /// How long a record waits after a failed attempt.
    backoff: Backoff,
    /// The highest priority, if its partitions are levels of priority.
    priority_max: Option<u8>,
    /// The time that was last told.
    last: Now,
    partitions: Vec<PartitionLedger>,
    by_id: HashMap<PartitionId, u32>,
    timers: Timers,
    /// The log's incarnation above, a count of purges, replays and leases taken back below: with the attempt it
    /// names a lease of a record once and never again.
    incarnation: u64,
    /// The partition whose turn it is.
    turn: u32,
    /// Sums over the partitions.
    runs: usize,
    records: usize,
    spans: usize,
    /// Partitions with records that are not settled.
    holding: usize,
    /// Partitions that have something to lease in the window or among the retries.
    leasable: BTreeSet<u32>,
    /// Partitions whose window is below half of what it may be, and those whose window is about to run out.
    window_low: BTreeSet<u32>,
    window_empty: BTreeSet<u32>,
    /// Partitions whose next record is not due yet, by when that was appended.
    undue: BTreeSet<(i64, u32)>,
    /// Partitions with changes that were not taken.
    dirty: BTreeSet<u32>,
}

impl Ledger {
    /// A ledger that begins at these floors (in the order of the topic's partitions); all of it counts as changed.
    /// `opening` is the log's incarnation: it must rise with every restart.
    #[must_use]
    pub fn new(order: Order, partitions: &[(PartitionId, Offset)], opening: u32) -> Self {
        let mut ledger = Self::empty(order, opening);
        ledger.partitions.reserve_exact(partitions.len());
        for &(partition, floor) in partitions {
            ledger.add_partition(partition, floor);
        }
        ledger
    }

    fn empty(order: Order, opening: u32) -> Self {
        Self {
            caps: Caps::of(order),
            order,
            delay_ms: 0,
            backoff: Backoff::None,
            priority_max: None,
            last: Now { monotonic: Monotonic(0), wall: Timestamp(0) },
            partitions: Vec::new(),
            by_id: HashMap::new(),
            timers: Timers::default(),
            incarnation: u64::from(opening) << 32,
            turn: 0,
            runs: 0,
            records: 0,
            spans: 0,
            holding: 0,
            leasable: BTreeSet::new(),
            window_low: BTreeSet::new(),
            window_empty: BTreeSet::new(),
            undue: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Adds a partition behind the others.
    pub fn add_partition(&mut self, partition: PartitionId, floor: Offset) {
        let index = self.partitions.len() as u32;
        let mut added = PartitionLedger::new(partition, index, floor.0, self.order);
        added.touched = true;
        if self.delay_ms > 0 {
            // Until the time is told.
            added.due_before = i64::MIN;
        }
        self.partitions.push(added);
        self.by_id.insert(partition, index);
        self.refresh(index);
    }

    /// The highest priority, if its partitions are levels of priority.
    #[must_use]
    pub fn priority_max(&self) -> Option<u8> {
        self.priority_max
    }

    /// What of the policy holds from now on also for records that wait: delay, back-off and priorities.
    pub fn set_policy(&mut self, policy: &QueuePolicy) {
        (self.backoff, self.priority_max) = (policy.backoff, policy.priority_max);
        if self.delay_ms == policy.delay_ms {
            return;
        }
        self.delay_ms = policy.delay_ms;
        let due_before = match self.delay_ms {
            0 => i64::MAX,
            ms => self.last.wall.0.saturating_sub_unsigned(ms),
        };
        for it in &mut self.partitions {
            it.due_before = due_before;
        }
        self.drop_window();
    }

    /// Lets in what has become due; true if there is anything.
    pub(super) fn let_in(&mut self, now: Now) -> bool {
        self.last = now;
        let due_before = now.wall.0.saturating_sub_unsigned(self.delay_ms);
        let mut any = false;
        while let Some(&(at, index)) = self.undue.first()
            && at <= due_before
        {
            let full = self.window_full(index);
            self.partitions[index as usize].let_in(due_before, full);
            self.refresh(index);
            any = true;
        }
        any
    }

    /// When the next record is due. Not far off, because the wall clock may be set.
    fn next_due(&self) -> Option<Monotonic> {
        let &(at, _) = self.undue.first()?;
        let due = at.saturating_add_unsigned(self.delay_ms);
        let in_ms = u64::try_from(due.saturating_sub(self.last.wall.0)).unwrap_or_default();
        Some(self.last.monotonic.plus_ms(in_ms.min(DELAY_WAKE_MS)))
    }

    /// Everything below `end` is readable. Never moves back.
    pub fn set_end(&mut self, partition: PartitionId, end: Offset) {
        let Some(index) = self.index(partition) else { return };
        let it = &mut self.partitions[index as usize];
        if end.0 > it.end {
            it.end = end.0;
            self.refresh(index);
        }
    }

    /// A live append has become readable: moves the end, and the window if that reaches this far and has room.
    pub fn appended(&mut self, partition: PartitionId, span: LedgerSpan) {
        let Some(index) = self.index(partition) else { return };
        let room = self.window_room(index);
        let it = &mut self.partitions[index as usize];
        let end = span_end(&span);
        it.end = it.end.max(end);
        if room > 0 && it.window.end() == span.base.0 && span.offsets > 0 {
            it.window.push(span);
            it.advance();
        }
        self.refresh(index);
    }

    /// A live append to a queue that looks at keys, with the hashes of its keys.
    pub fn appended_keys(&mut self, partition: PartitionId, span: KeyedSpan) {
        let Some(index) = self.index(partition) else { return };
        let full = self.window_full(index);
        let it = &mut self.partitions[index as usize];
        it.end = it.end.max(span_end(&span.span));
        it.appended_keys(span, full);
        self.refresh(index);
    }

    /// True if the window needs the keys of records: `needs_window` is answered with `extend_groups`.
    #[must_use]
    pub fn wants_keys(&self) -> bool {
        self.order != Order::Standard
    }

    /// True if a leased record keeps the others of its key back.
    #[must_use]
    pub fn blocks_keys(&self) -> bool {
        self.order == Order::ByKey
    }

    /// When a lease ends, if it still runs.
    #[must_use]
    pub fn leased_until(&self, id: LeaseId) -> Option<Monotonic> {
        let entry = self.partitions[self.index(id.partition)? as usize].records.get(&id.offset.0)?;
        match entry.live {
            Live::Leased { until, .. }
                if (entry.state.incarnation, entry.state.attempts) == (id.incarnation, id.attempt) =>
            {
                Some(until)
            }
            Live::Leased { .. } | Live::Ready | Live::Delayed { .. } | Live::Moving => None,
        }
    }

    /// Records in the window of a queue that looks at keys.
    #[must_use]
    pub fn window_records(&self) -> usize {
        if self.wants_keys() { self.spans } else { 0 }
    }

    /// At most so many records are looked ahead, if the queue looks at keys.
    pub fn set_window_records(&mut self, most: usize) {
        if self.wants_keys() {
            (self.caps.spans, self.caps.spans_queue) = (most.max(self.caps.spans_min), most);
        }
    }

    /// Partitions whose look-ahead window is low although there is more in the log: where to read spans from and how
    /// many at most. Answer each with `extend_window`.
    pub fn needs_window(&self) -> impl Iterator<Item = (PartitionId, Offset, usize)> + '_ {
        let low = self.spans < self.caps.spans_queue;
        let indices = if low { &self.window_low } else { &self.window_empty };
        indices.iter().filter_map(|&index| {
            let it = &self.partitions[index as usize];
            let room = self.window_room(index);
            if it.groups.is_some() {
                let from = it.lacks_from(it.window_len() + room);
                return (room > 0 || from < it.window.end()).then(|| (it.id, Offset(from), room.max(1)));
            }
            (room > 0).then(|| (it.id, Offset(it.window.end()), room))
        })
    }

    /// How many spans a partition's window may take.
    fn window_room(&self, index: u32) -> usize {
        let len = self.partitions[index as usize].window_len();
        let of_queue = self.caps.spans_queue.saturating_sub(self.spans) + len;
        of_queue.clamp(self.caps.spans_min, self.caps.spans).saturating_sub(len)
    }

    /// How many records may stand in a partition's window, in a queue that looks at keys.
    fn window_full(&self, index: u32) -> usize {
        self.partitions[index as usize].window_len() + self.window_room(index)
    }

    /// The same as `extend_window`, for a queue that looks at keys.
    pub fn extend_groups(&mut self, partition: PartitionId, from: Offset, spans: &[KeyedSpan], to: Offset) {
        let Some(index) = self.index(partition) else { return };
        let full = self.window_full(index);
        self.partitions[index as usize].extend_groups(from.0, spans, to.0, full);
        self.refresh(index);
    }

    /// The log's spans from `from` (as `needs_window` asked) up to `to`, complete: what no span covers are holes
    /// and are settled silently. `to` is the end of the last span, or the known end if the log has none from `from` on, damaged ones
    /// included. Ignored if the window has moved since.
    pub fn extend_window(&mut self, partition: PartitionId, from: Offset, spans: &[LedgerSpan], to: Offset) {
        let Some(index) = self.index(partition) else { return };
        let room = self.window_room(index);
        let it = &mut self.partitions[index as usize];
        if it.window.end() != from.0 {
            return;
        }
        let full = it.window.len() + room;
        let mut all = true;
        for &span in spans {
            let (begin, end) = (it.window.end().max(span.base.0), span_end(&span));
            if end <= begin {
                continue;
            }
            if end > it.end || it.window.len() >= full {
                all = false;
                break;
            }
            it.window.push(span);
        }
        if all {
            it.window.push_hole(to.0.min(it.end));
        }
        it.advance();
        self.refresh(index);
    }

    /// Forgets the look-ahead window (the queue is idle); it is asked for again.
    pub fn drop_window(&mut self) {
        for index in 0..self.partitions.len() as u32 {
            let it = &mut self.partitions[index as usize];
            if it.groups.is_some() {
                it.restart_groups();
            } else {
                it.window.restart(it.scan);
                it.advance();
            }
            self.refresh(index);
        }
    }

    /// True if everything that it knows of is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holding == 0
    }

    /// Records leased now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.timers.leased()
    }

    /// True if `lease` would find something (after `expire`), unless the in-flight cap forbids it.
    #[must_use]
    pub fn has_available(&self) -> bool {
        if self.wants_keys() || self.runs < self.caps.runs && self.records < self.caps.records {
            return !self.leasable.is_empty();
        }
        let fresh_too = self.records < self.caps.records;
        self.leasable.iter().any(|&index| {
            let it = &self.partitions[index as usize];
            !it.ready.is_empty() || fresh_too && it.has_fresh() && it.settled.touches(it.scan)
        })
    }

    /// Records that a queue that looks at keys could lease now, counted up to `enough`.
    #[must_use]
    pub fn free_up_to(&self, enough: usize) -> usize {
        let mut free = 0;
        for &index in self.leasable.iter().take(enough) {
            free += self.partitions[index as usize].groups.as_ref().map_or(0, Groups::free);
            if free >= enough {
                return enough;
            }
        }
        free
    }

    /// All below are settled; `None` for a partition that is not the queue's.
    #[must_use]
    pub fn floor(&self, partition: PartitionId) -> Option<Offset> {
        let index = self.index(partition)?;
        Some(Offset(self.partitions[index as usize].settled.floor()))
    }

    /// The first offset that the queue needs: below it all is settled, or has outlived and is not leased nor on the way to
    /// the dead-letter queue. `outlived`, if records
    /// have a time to live: since when a record must live to be delivered, and below which offset all were appended
    /// before. `None` for a partition that is not the queue's.
    #[must_use]
    pub fn needed_from(
        &self,
        partition: PartitionId,
        outlived: Option<(Timestamp, Offset)>,
    ) -> Option<Offset> {
        let it = &self.partitions[self.index(partition)? as usize];
        let floor = it.settled.floor();
        let outlived = outlived.map_or(0, |(since, below)| {
            // What was replayed lives from then on.
            let is_replayed = it.replay.below > floor && it.replay.at >= since.0;
            // What is under way to somebody was given in time, and may still be acknowledged, kept longer or dead-lettered.
            let is_blind = planted::is(Bug::OutlivedInFlight);
            let on_its_way = || it.first_on_its_way(below.0).filter(|_| !is_blind);
            if is_replayed { 0 } else { on_its_way().unwrap_or(below.0) }
        });
        Some(Offset(floor.max(outlived)))
    }

    /// Settled runs above the floor, rising.
    #[must_use]
    pub fn settled_runs(&self, partition: PartitionId) -> Vec<Range<Offset>> {
        let Some(index) = self.index(partition) else { return Vec::new() };
        let settled = &self.partitions[index as usize].settled;
        settled.runs(0).map(|(start, end)| Offset(start)..Offset(end)).collect()
    }

    /// How full it is.
    #[must_use]
    pub fn depth(&self) -> LedgerDepth {
        let mut depth = LedgerDepth {
            available: 0,
            in_flight: u64::from(self.timers.leased()) + u64::from(self.timers.moving()),
            delayed: u64::from(self.timers.delayed()),
            oldest: Vec::new(),
        };
        for it in &self.partitions {
            depth.available += it.unsettled();
            if it.settled.floor() < it.end {
                depth.oldest.push((it.id, Offset(it.settled.floor())));
            }
        }
        depth.available -= depth.in_flight + depth.delayed;
        depth
    }

    /// Records that could be leased. A control batch or hole counts until it comes into the look-ahead window.
    #[must_use]
    pub fn available(&self) -> u64 {
        let unsettled: u64 = self.partitions.iter().map(PartitionLedger::unsettled).sum();
        let busy = self.timers.leased() + self.timers.moving() + self.timers.delayed();
        unsettled.saturating_sub(u64::from(busy))
    }

    /// How many of a range could be leased; what lies behind the end counts.
    #[must_use]
    pub fn available_in(&self, partition: PartitionId, range: Range<Offset>) -> u64 {
        let Some(index) = self.index(partition) else { return 0 };
        self.partitions[index as usize].available_in(range.start.0, range.end.0)
    }

    /// Records that have been given their places and are not readable yet; `next` tells where a partition's next place is.
    #[must_use]
    pub fn beyond_end(&self, next: impl Fn(PartitionId) -> Option<Offset>) -> u64 {
        let beyond = |it: &PartitionLedger| next(it.id).map_or(0, |next| next.0.saturating_sub(it.end));
        self.partitions.iter().map(beyond).sum()
    }

    fn index(&self, partition: PartitionId) -> Option<u32> {
        self.by_id.get(&partition).copied()
    }

    /// Brings the sums over all partitions up to what one has become.
    fn refresh(&mut self, index: u32) {
        let full = self.window_full(index);
        let it = &mut self.partitions[index as usize];
        let more = it.window.end() < it.end;
        let len = it.window.len();
        let (window_low, window_empty) = if it.groups.is_some() {
            it.shed(full);
            it.groups_lack(full)
        } else {
            (more && len < self.caps.spans.div_ceil(2), more && len < self.caps.spans_min.div_ceil(2))
        };
        let now = Counted {
            runs: it.settled.runs_len(),
            records: it.records.len(),
            spans: it.window_len(),
            holds: it.unsettled() > 0,
            leasable: it.is_leasable(),
            undue: it.undue_head(),
            window_low,
            window_empty,
            dirty: it.touched,
        };
        let before = std::mem::replace(&mut it.counted, now);
        self.runs = self.runs - before.runs + now.runs;
        self.records = self.records - before.records + now.records;
        self.spans = self.spans - before.spans + now.spans;
        self.holding = self.holding - usize::from(before.holds) + usize::from(now.holds);
        set_member(&mut self.leasable, index, before.leasable, now.leasable);
        set_member(&mut self.window_low, index, before.window_low, now.window_low);
        set_member(&mut self.window_empty, index, before.window_empty, now.window_empty);
        if before.undue != now.undue {
            self.undue.extend(now.undue.map(|at| (at, index)));
            if let Some(at) = before.undue {
                self.undue.remove(&(at, index));
            }
        }
        set_member(&mut self.dirty, index, before.dirty, now.dirty);
    }
}

/// Adds to or takes out of a set if that has changed.
fn set_member(set: &mut BTreeSet<u32>, index: u32, before: bool, now: bool) {
    if now && !before {
        set.insert(index);
    } else if before && !now {
        set.remove(&index);
    }
}
