//! A partition of a queue that looks at keys: how its groups follow the states of its records, and how its window
//! moves on.
//!
//! Invariant: everything below the window's end is settled, has a history, is in a chain, or was passed over and lies
//! at or behind its group's `more_from`. What is read of the log may be older than what is known here: states are looked
//! up anew for each record.

use duolog_storage::planted::{self, Bug};

use super::groups::{Groups, Waiting};
use super::partition::{Live, PartitionLedger};
use super::window::span_end;
use super::{KeyedSpan, Keys};
use crate::Order;
use crate::limits::{LEDGER_GROUP_KEPT, LEDGER_GROUP_REFILL, LEDGER_RECENT_KEYS};

/// Live appends that wait until the window has come as far as they are.
#[derive(Debug, Default)]
pub(super) struct Recent {
    spans: std::collections::VecDeque<KeyedSpan>,
    keys: usize,
}

impl Recent {
    /// Keeps a span if it continues the last one; too many are not worth it.
    fn push(&mut self, span: KeyedSpan) {
        let continues = self.spans.back().is_none_or(|last| span_end(&last.span) == span.span.base.0);
        if !continues || self.keys + span.keys.stored() > LEDGER_RECENT_KEYS {
            self.clear();
        }
        if span.keys.stored() <= LEDGER_RECENT_KEYS {
            self.keys += span.keys.stored();
            self.spans.push_back(span);
        }
    }

    /// The span that begins here; those below it are dropped.
    fn pop_at(&mut self, offset: u64) -> Option<KeyedSpan> {
        while self.spans.front().is_some_and(|front| front.span.base.0 < offset) {
            self.pop();
        }
        self.spans.front().filter(|front| front.span.base.0 == offset)?;
        self.pop()
    }

    /// Puts back the first.
    fn put_back(&mut self, span: KeyedSpan) {
        self.keys += span.keys.stored();
        self.spans.push_front(span);
    }

    fn pop(&mut self) -> Option<KeyedSpan> {
        let span = self.spans.pop_front()?;
        self.keys -= span.keys.stored();
        Some(span)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// True for a state in which a record holds up its group.
fn is_held(live: Live) -> bool {
    match live {
        Live::Ready => false,
        Live::Leased { .. } | Live::Delayed { .. } | Live::Moving => true,
    }
}

impl PartitionLedger {
    /// A record with a history goes from one live state to another.
    pub(super) fn regroup(&mut self, offset: u64, before: Live, live: Live) {
        let Some(groups) = &mut self.groups else { return };
        let Some(entry) = self.records.get(&offset) else { return };
        let key = entry.state.key;
        if is_held(before) && !is_held(live) {
            groups.free_one(key);
            let is_by_key = groups.order() == Order::ByKey;
            if planted::is(Bug::ReleasedToTheEnd) && is_by_key && matches!(before, Live::Leased { .. }) {
                groups.skip_from(key, offset);
            } else if offset < self.window.end() {
                groups.add(key, Waiting { offset, live_from: entry.state.live_from });
            }
        } else if !is_held(before) && is_held(live) {
            groups.hold(key, offset);
        }
    }

    /// A record with a history is gone.
    pub(super) fn ungroup(&mut self, offset: u64, key: u64, live: Live) {
        let Some(groups) = &mut self.groups else { return };
        if is_held(live) {
            groups.free_one(key);
        } else {
            groups.remove(key, offset);
        }
    }

    /// Begins the window anew at the first record that is not settled.
    pub(super) fn restart_groups(&mut self) {
        let Some(groups) = &mut self.groups else { return };
        groups.clear();
        for (&offset, entry) in &self.records {
            if is_held(entry.live) {
                groups.hold(entry.state.key, offset);
            }
        }
        self.recent.clear();
        self.undue = None;
        self.window.restart(self.settled.floor());
        self.advance_groups();
    }

    /// Moves the window's end over what is settled or known.
    pub(super) fn advance_groups(&mut self) {
        let Some(groups) = &mut self.groups else { return };
        loop {
            let next = self.settled.next_outside(self.window.end());
            self.window.push_hole(next);
            let Some(entry) = self.records.get(&next) else { return };
            if entry.live == Live::Ready {
                groups.add(entry.state.key, Waiting { offset: next, live_from: entry.state.live_from });
            }
            self.window.push_hole(next + 1);
        }
    }

    /// A live append, its keys known: taken into the window, or kept for when that has come so far.
    pub(super) fn appended_keys(&mut self, span: KeyedSpan, full: usize) {
        if self.window.end() == span.span.base.0 && self.undue.is_none() && self.take_span(&span, full) {
            self.advance_groups();
        } else {
            self.recent.push(span);
        }
    }

    /// Takes in the live appends that the window has come to.
    pub(super) fn catch_up(&mut self, full: usize) {
        while self.undue.is_none()
            && let Some(span) = self.recent.pop_at(self.window.end())
        {
            if !self.take_span(&span, full) {
                self.recent.put_back(span);
                return;
            }
            self.advance_groups();
        }
    }

    /// What was found from the window's end on, or of groups of which records were passed over.
    pub(super) fn extend_groups(&mut self, from: u64, spans: &[KeyedSpan], to: u64, full: usize) {
        let to = to.min(self.end);
        if from < self.window.end() {
            self.front_next = true;
            return self.refill(from, spans, to.min(self.window.end()), full);
        }
        if from > self.window.end() {
            return;
        }
        self.front_next = false;
        for span in spans {
            if !self.take_span(span, full) {
                return self.advance_groups();
            }
        }
        self.settle_hole(to);
        self.advance_groups();
        self.catch_up(full);
    }

    /// Takes a batch into the window; false if there is no room for all of it.
    fn take_span(&mut self, span: &KeyedSpan, full: usize) -> bool {
        let end = span_end(&span.span);
        if end <= self.window.end() {
            return true;
        }
        if end > self.end {
            return false;
        }
        self.settle_hole(span.span.base.0);
        if span.span.skip {
            self.settle_hole(end);
            return true;
        }
        if span.span.append_time.0 > self.due_before {
            self.undue = Some(span.span.append_time.0);
            return false;
        }
        if let Keys::All(key) = span.keys
            && self.is_passed_over(key, self.window.end())
        {
            self.window.push_hole(end);
            return true;
        }
        let mut passed_over = 0;
        for offset in self.window.end()..end {
            let Some(key) = span.keys.at(offset - span.span.base.0) else { break };
            if key == 0 {
                self.settle_fresh(offset, offset + 1);
            } else if key == passed_over || self.is_passed_over(key, offset) {
                passed_over = key;
            } else if self.is_waiting(offset) && !self.take(offset, key, span, full) {
                return false;
            }
            self.window.push_hole(offset + 1);
        }
        // A batch with fewer keys than offsets has nothing behind them.
        self.settle_hole(end);
        true
    }

    /// True if records of a key are passed over from before this offset on: whatever stands there changes nothing.
    fn is_passed_over(&self, key: u64, offset: u64) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.more_from(key) <= offset)
    }

    /// There is no record between the window's end and `to`.
    fn settle_hole(&mut self, to: u64) {
        if self.window.end() < to {
            self.settle_fresh(self.window.end(), to);
            self.window.push_hole(to);
        }
    }

    /// True for a record that is neither settled nor held.
    fn is_waiting(&self, offset: u64) -> bool {
        match self.records.get(&offset) {
            Some(entry) => entry.live == Live::Ready,
            None => !self.settled.contains(offset),
        }
    }

    fn waiting_at(&self, offset: u64, span: &KeyedSpan) -> Waiting {
        let live_from = match self.records.get(&offset) {
            Some(entry) => entry.state.live_from,
            None => self.live_from(offset, span.span.append_time),
        };
        Waiting { offset, live_from }
    }

    /// Takes a record at the window's end into its chain, or passes it over; false if there is no room.
    fn take(&mut self, offset: u64, key: u64, span: &KeyedSpan, full: usize) -> bool {
        let record = self.waiting_at(offset, span);
        let Some(groups) = &mut self.groups else { return false };
        if is_long(groups, key, full) {
            groups.skip_from(key, offset);
        } else if groups.waiting() >= full {
            return false;
        } else {
            groups.add(key, record);
        }
        true
    }

    /// Gives groups of which records were passed over what was found of them in `from..to`.
    fn refill(&mut self, from: u64, spans: &[KeyedSpan], to: u64, full: usize) {
        let is_all = to == self.window.end();
        let Some(groups) = &mut self.groups else { return };
        let mut taking = groups.looked_up(from, to, is_all);
        for span in spans {
            if span.span.skip {
                continue;
            }
            for offset in span.span.base.0..to.min(span_end(&span.span)) {
                let Some(key) = span.keys.at(offset - span.span.base.0) else { break };
                if taking.get(&key).is_none_or(|&more_from| more_from > offset) {
                    continue;
                }
                if !self.is_waiting(offset) {
                    continue;
                }
                let record = self.waiting_at(offset, span);
                let Some(groups) = &mut self.groups else { return };
                let len = groups.len(key);
                if len > 0 && (len >= LEDGER_GROUP_REFILL || groups.waiting() >= full) {
                    groups.skip_from(key, offset);
                    taking.remove(&key);
                } else {
                    groups.add(key, record);
                }
            }
        }
    }

    /// Makes room in the window, if all of it is taken up by groups that have to wait while there may be others behind.
    pub(super) fn shed(&mut self, full: usize) {
        let more = self.window.end() < self.end && self.undue.is_none();
        let Some(groups) = &mut self.groups else { return };
        if !more || groups.waiting() < full {
            return;
        }
        let is_worth_it = match groups.order() {
            Order::Fair => groups.count() <= full / 2,
            Order::ByKey | Order::Standard => groups.free() < low(full),
        };
        if is_worth_it {
            groups.shed(full);
        }
    }

    /// Whether the window is to be read on: soon, and before anything else.
    pub(super) fn groups_lack(&self, full: usize) -> (bool, bool) {
        let Some(groups) = &self.groups else { return (false, false) };
        let more = self.window.end() < self.end && self.undue.is_none();
        let is_hungry = groups.refill_from().is_some();
        let is_low = more && groups.free() < low(full);
        let wants = match groups.order() {
            // Whoever comes last is not to wait for those who have much to do.
            Order::Fair => more && groups.waiting() < full,
            Order::ByKey | Order::Standard => more && groups.waiting() < full / 2,
        };
        (is_hungry || is_low || wants, is_hungry || is_low)
    }

    /// From where the window lacks records.
    pub(super) fn lacks_from(&self, full: usize) -> u64 {
        let end = self.window.end();
        // Neither those that were passed over nor those that are not known yet are to wait for the others to the end.
        let front_first =
            self.front_next && end < self.end && self.undue.is_none() && self.window_len() < full;
        let refill = self.groups.as_ref().and_then(Groups::refill_from);
        refill.filter(|_| !front_first).unwrap_or(end)
    }
}

/// Records that can be leased, below which the window is read on.
fn low(full: usize) -> usize {
    (full / 4).clamp(1, 1024)
}

/// True if a group has so many records in its chain that others need the room more.
fn is_long(groups: &Groups, key: u64, full: usize) -> bool {
    let len = groups.len(key);
    match groups.order() {
        Order::Fair => len >= (full / groups.count().max(4) / 2).max(1),
        Order::ByKey | Order::Standard => {
            len >= LEDGER_GROUP_KEPT && groups.is_blocked(key) && groups.waiting() >= full / 2
        }
    }
}
