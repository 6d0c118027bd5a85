//! The way of a ledger to disk and back: changes, snapshots, recovery.

use std::ops::Range;

use duolog_record::{Offset, PartitionId};
use duolog_storage::planted::{self, Bug};

use super::changes::{Hold, PartitionState};
use super::partition::{Entry, Live, PartitionLedger};
use super::{Ledger, LedgerChanges, LedgerState, PartitionChanges, RecordState, SnapshotAt};
use crate::limits::VISIBILITY_MS;
use crate::{Backoff, Monotonic, Now, Order, QueuePolicy};

impl Ledger {
    /// The ledger that was folded to `state`, over the partitions of its topic with their bounds in the log. A timed
    /// lease or delay keeps the lesser of what remains by the wall clock and what was granted; handles given before
    /// stay valid. What lies outside the bounds is forgotten, and that counts as changed.
    #[must_use]
    pub fn recover(
        policy: &QueuePolicy,
        state: LedgerState,
        partitions: &[(PartitionId, Range<Offset>)],
        now: Now,
        opening: u32,
    ) -> Self {
        let mut ledger = Self::empty(policy.order, opening);
        ledger.set_policy(policy);
        ledger.partitions.reserve_exact(partitions.len());
        let mut state = state.partitions;
        for (id, bounds) in partitions {
            ledger.add_partition(*id, bounds.start);
            if let Some(folded) = state.remove(&id.0) {
                let index = ledger.partitions.len() - 1;
                let it = &mut ledger.partitions[index];
                it.touched = false;
                it.recover(folded, bounds.start.0..bounds.end.0, now, policy.backoff);
                for (&offset, entry) in &it.records {
                    ledger.timers.enter((it.index, offset), entry.live);
                }
            }
            ledger.set_end(*id, bounds.end);
            ledger.refresh((ledger.partitions.len() - 1) as u32);
        }
        ledger
    }

    /// The net change since the last call as absolute values; bounded, so call it until it gives `None` and write all
    /// of them in one commit.
    pub fn take_changes(&mut self) -> Option<LedgerChanges> {
        let mut changes = LedgerChanges::default();
        let mut parts_left = self.caps.parts;
        while parts_left > 0
            && let Some(&index) = self.dirty.first()
        {
            let it = &mut self.partitions[index as usize];
            let written = it.take_changes(parts_left);
            parts_left = parts_left.saturating_sub(written.parts.len() + 1);
            changes.partitions.push(written);
            self.refresh(index);
        }
        (!changes.partitions.is_empty()).then_some(changes)
    }

    /// True if `take_changes` would give something.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// One bounded piece of the whole durable state from `at` (`None` is the beginning), and where the next begins
    /// (`None` after the last). Pieces may be written in different commits, each after the changes of its commit.
    #[must_use]
    pub fn snapshot(&self, at: Option<SnapshotAt>) -> (LedgerChanges, Option<SnapshotAt>) {
        let mut changes = LedgerChanges::default();
        let mut parts_left = self.caps.parts;
        let SnapshotAt { mut index, mut offset } = at.unwrap_or(SnapshotAt { index: 0, offset: 0 });
        while let Some(it) = self.partitions.get(index) {
            if parts_left == 0 {
                return (changes, Some(SnapshotAt { index, offset }));
            }
            let mut written = it.changes();
            let reached = it.describe(offset, it.end, &mut written.parts, parts_left);
            parts_left = parts_left.saturating_sub(written.parts.len() + 1);
            changes.partitions.push(written);
            if reached < it.end {
                return (changes, Some(SnapshotAt { index, offset: reached }));
            }
            (index, offset) = (index + 1, 0);
        }
        (changes, None)
    }

    /// What all changes fold to.
    #[cfg(test)]
    pub(super) fn durable_state(&self) -> LedgerState {
        let state_of = |it: &PartitionLedger| PartitionState {
            settled: it.settled.clone(),
            replay: it.replay,
            records: it.records.iter().map(|(&offset, entry)| (offset, entry.state)).collect(),
        };
        LedgerState { partitions: self.partitions.iter().map(|it| (it.id.0, state_of(it))).collect() }
    }
}

impl PartitionLedger {
    /// Takes over what was folded, within the bounds of the log.
    fn recover(&mut self, folded: PartitionState, bounds: Range<u64>, now: Now, backoff: Backoff) {
        self.settled = folded.settled;
        self.replay = folded.replay;
        self.end = bounds.end;
        if self.settled.add(0, bounds.start) > 0 {
            self.touched = true;
        }
        let mut records = folded.records.into_iter();
        for (start, end) in self.settled.remove(bounds.end, u64::MAX) {
            self.mark(start, end);
        }
        for (offset, mut state) in records.by_ref() {
            if !bounds.contains(&offset) || self.settled.contains(offset) {
                self.mark(offset, offset + 1);
                continue;
            }
            let live = live_after_restart(&state, now, backoff);
            let is_by_key = self.groups.as_ref().is_some_and(|it| it.order() == Order::ByKey);
            if planted::is(Bug::KeyFreedByRestart) && is_by_key && matches!(live, Live::Leased { .. }) {
                state.key = 0;
            }
            if live == Live::Ready && self.groups.is_none() {
                self.ready.insert(offset);
            }
            self.records.insert(offset, Entry { state, incarnation_before: state.incarnation, live });
        }
        self.restart_at(self.settled.floor());
    }

    /// Changes without parts.
    fn changes(&self) -> PartitionChanges {
        PartitionChanges {
            partition: self.id.0,
            floor: self.settled.floor(),
            replay: self.replay,
            parts: Vec::new(),
        }
    }

    /// Takes what has changed, at most so many parts; the rest stays.
    fn take_changes(&mut self, parts_max: usize) -> PartitionChanges {
        let mut changes = self.changes();
        let mut rest = Vec::new();
        for (start, end) in self.dirty.take() {
            let reached = self.describe(start, end, &mut changes.parts, parts_max);
            if reached < end {
                rest.push((reached, end));
            }
        }
        self.touched = !rest.is_empty();
        self.dirty.put_back(rest);
        changes
    }
}

/// What a record is doing after a restart: holds that are not over go on.
fn live_after_restart(state: &RecordState, now: Now, backoff: Backoff) -> Live {
    let remaining_ms = |until: i64, granted_ms: u64| {
        u64::try_from(until.saturating_sub(now.wall.0)).unwrap_or_default().min(granted_ms)
    };
    match state.hold {
        Hold::Free => Live::Ready,
        Hold::Delayed { not_before, granted_ms } => match remaining_ms(not_before, granted_ms) {
            0 => Live::Ready,
            ms => Live::Delayed { until: now.monotonic.plus_ms(ms) },
        },
        Hold::Leased { leased_at, until, granted_ms } => match remaining_ms(until, granted_ms) {
            0 => {
                let wait_ms =
                    if planted::is(Bug::BackoffForgotten) { 0 } else { backoff.after_ms(state.attempts) };
                match remaining_ms(until.saturating_add_unsigned(wait_ms), wait_ms) {
                    0 => Live::Ready,
                    ms => Live::Delayed { until: now.monotonic.plus_ms(ms) },
                }
            }
            ms => {
                let until: Monotonic = now.monotonic.plus_ms(ms);
                let latest = leased_at.saturating_add_unsigned(VISIBILITY_MS);
                let latest = now.monotonic.plus_ms(remaining_ms(latest, VISIBILITY_MS));
                Live::Leased { until, latest: latest.max(until) }
            }
        },
    }
}
