//! Handing records out: retries and fresh records in the order of their offsets, partitions in turn.

use super::changes::{Hold, RecordState};
use super::partition::{Entry, Live, PartitionLedger};
use super::timers::Timers;
use super::window::span_end;
use super::{DeadRecord, Grant, LeaseResult, Ledger, Term};
use crate::limits::{LEASES_MAX, VISIBILITY_MS};
use crate::{Now, QueuePolicy};
use duolog_record::{Offset, Timestamp};
use duolog_storage::planted::{self, Bug};

/// The terms of one call, and what it may still take.
pub(super) struct Call<'a> {
    pub(super) now: Now,
    pub(super) policy: &'a QueuePolicy,
    pub(super) term: Term,
    /// Attempts after which a record is dead.
    pub(super) attempts_max: u32,
    pub(super) incarnation: u64,
    /// Records that may still be granted.
    pub(super) room: usize,
    /// Records with a history that the ledger may have, and has in the other partitions.
    pub(super) records_max: usize,
    pub(super) records_elsewhere: usize,
    /// Records that may be sent to the dead-letter queue in all.
    pub(super) dead_max: usize,
    /// Settled runs beyond which none may begin, and those of the other partitions.
    pub(super) runs_max: usize,
    pub(super) runs_elsewhere: usize,
}

impl Call<'_> {
    pub(super) fn outlived(&self, live_from: i64) -> bool {
        outlived(self.now, self.policy, live_from)
    }

    pub(super) fn hold(&self) -> (Hold, Live) {
        let leased_at = self.now.wall.0;
        let (hold, live) = lease_hold(self.now, leased_at, self.term.ms, None);
        match hold {
            Hold::Leased { .. } if self.term.bound => {
                (Hold::Leased { leased_at, until: leased_at, granted_ms: 0 }, live)
            }
            hold => (hold, live),
        }
    }
}

impl Ledger {
    /// Leases up to `count` available records; a term of 0 ms makes them available again at once. Ends what is due first.
    pub fn lease(
        &mut self,
        now: Now,
        policy: &QueuePolicy,
        count: u32,
        term: impl Into<Term>,
        dead_letter_exists: bool,
    ) -> LeaseResult {
        self.expire(now);
        let term = term.into();
        let mut result = LeaseResult::default();
        let in_flight_room = policy.in_flight_max.saturating_sub(self.timers.leased());
        let mut call = Call {
            now,
            policy,
            term: Term { ms: term.ms.min(VISIBILITY_MS), ..term },
            attempts_max: policy
                .attempts_max
                .filter(|_| dead_letter_exists)
                .map_or(u32::MAX, |max| max.max(1)),
            incarnation: self.incarnation,
            room: count.min(LEASES_MAX).min(in_flight_room) as usize,
            records_max: self.caps.records,
            records_elsewhere: 0,
            dead_max: self.caps.dead,
            runs_max: self.caps.runs,
            runs_elsewhere: 0,
        };
        let first = self.turn;
        let (mut at, mut wrapped) = (first, false);
        while call.room > 0 {
            match self.leasable.range(at..).next().copied() {
                Some(index) if !wrapped || index < first => {
                    let granted = result.granted.len();
                    self.lease_from(index, &mut call, &mut result);
                    at = index + 1;
                    if result.granted.len() > granted {
                        self.turn = at;
                    }
                }
                Some(_) | None if wrapped => break,
                Some(_) | None => (at, wrapped) = (0, true),
            }
        }
        result
    }

    fn lease_from(&mut self, index: u32, call: &mut Call<'_>, result: &mut LeaseResult) {
        let it = &mut self.partitions[index as usize];
        call.records_elsewhere = self.records - it.counted.records;
        call.runs_elsewhere = self.runs - it.counted.runs;
        if it.groups.is_some() {
            it.lease_grouped(call, &mut self.timers, result);
            return self.refresh(index);
        }
        // What is available again at once must not be leased again by this call.
        let mut again = Vec::new();
        while call.room > 0 {
            let fresh = (it.fresh_room(call) > 0).then_some(it.scan);
            let more = match it.ready.first().copied() {
                Some(retry) if fresh.is_none_or(|fresh| retry < fresh) => {
                    it.lease_retry(retry, call, &mut self.timers, &mut again, result)
                }
                Some(_) | None if fresh.is_some() => {
                    it.lease_fresh(call, &mut self.timers, &mut again, result);
                    true
                }
                Some(_) | None => false,
            };
            if !more {
                break;
            }
        }
        it.ready.extend(again);
        self.refresh(index);
    }

    /// Settles what has outlived `policy.message_ttl_ms`, as far as it stands before what has not. Answers how many.
    pub fn settle_outlived(&mut self, now: Now, policy: &QueuePolicy) -> u64 {
        let mut settled = 0;
        if policy.message_ttl_ms.is_none() {
            return settled;
        }
        for index in 0..self.partitions.len() as u32 {
            let it = &mut self.partitions[index as usize];
            let here = if it.groups.is_some() {
                it.settle_outlived_groups(now, policy, &mut self.timers)
            } else {
                it.settle_outlived(now, policy, &mut self.timers)
            };
            if here > 0 {
                settled += here;
                self.refresh(index);
            }
        }
        settled
    }
}

impl Entry {
    /// Writes another lease into the record's history.
    pub(super) fn lease_again(&mut self, call: &Call<'_>, hold: Hold) {
        let state = &mut self.state;
        self.incarnation_before = state.incarnation;
        state.incarnation = call.incarnation;
        state.attempts = state.attempts.saturating_add(1);
        if state.attempts == 1 {
            state.first_leased_at = call.now.wall.0;
        }
        state.hold = hold;
    }
}

impl PartitionLedger {
    /// How many fresh records may be leased. At the cap of settled runs only one that continues a run, because its own
    /// settlement begins none: a full ledger can always shrink.
    fn fresh_room(&self, call: &Call<'_>) -> usize {
        let records = call.records_elsewhere + self.records.len();
        let room = if self.has_fresh() { call.records_max.saturating_sub(records) } else { 0 };
        if call.runs_elsewhere + self.settled.runs_len() < call.runs_max {
            room
        } else {
            room.min(usize::from(self.settled.touches(self.scan)))
        }
    }

    /// Leases the fresh records at `scan` that belong together, or settles them if they have outlived.
    fn lease_fresh(
        &mut self,
        call: &mut Call<'_>,
        timers: &mut Timers,
        again: &mut Vec<u64>,
        result: &mut LeaseResult,
    ) {
        let Some((start, end, live_from)) = self.fresh_segment() else { return };
        if call.outlived(live_from) {
            result.expired += self.settle_fresh(start, end);
            self.scan = end;
            self.advance();
            return;
        }
        let most = call.room.min(self.fresh_room(call));
        let count = usize::try_from(end - start).unwrap_or(usize::MAX).min(most);
        let (hold, live) = call.hold();
        let state = RecordState {
            attempts: 1,
            incarnation: call.incarnation,
            live_from,
            first_leased_at: call.now.wall.0,
            key: 0,
            hold,
        };
        let end = start + count as u64;
        for offset in start..end {
            self.records.insert(offset, Entry { state, incarnation_before: 0, live });
            timers.enter((self.index, offset), live);
            result.granted.push(self.grant(offset, &state));
        }
        if live == Live::Ready {
            again.extend(start..end);
        }
        self.mark(start, end);
        call.room -= count;
        self.scan = end;
        self.advance();
    }

    /// The fresh records at `scan` that lie in one span and live from one time: start, end, that time.
    fn fresh_segment(&self) -> Option<(u64, u64, i64)> {
        let span = self.window.front()?;
        let mut end = span_end(span).min(self.fresh_end());
        if self.scan < self.replay.below {
            end = end.min(self.replay.below);
        }
        Some((self.scan, end, self.live_from(self.scan, span)))
    }

    /// Leases a record again, or settles it if it has outlived, or sends it on its way to the dead-letter queue.
    /// False if that takes no more.
    fn lease_retry(
        &mut self,
        offset: u64,
        call: &mut Call<'_>,
        timers: &mut Timers,
        again: &mut Vec<u64>,
        result: &mut LeaseResult,
    ) -> bool {
        let Some(entry) = self.records.get_mut(&offset) else { return false };
        if call.outlived(entry.state.live_from) && !planted::is(Bug::OutlivedRetried) {
            self.settle_record(offset, timers);
            result.expired += 1;
            return true;
        }
        if entry.state.attempts >= call.attempts_max {
            if result.dead.len() >= call.dead_max {
                return false;
            }
            result.dead.push(dead_record(self.id, offset, &entry.state));
            self.set_live(offset, Live::Moving, timers);
            return true;
        }
        let (hold, live) = call.hold();
        entry.lease_again(call, hold);
        let state = entry.state;
        self.set_live(offset, live, timers);
        if live == Live::Ready {
            self.ready.remove(&offset);
            again.push(offset);
        }
        self.mark(offset, offset + 1);
        result.granted.push(self.grant(offset, &state));
        call.room -= 1;
        true
    }

    pub(super) fn grant(&self, offset: u64, state: &RecordState) -> Grant {
        Grant {
            partition: self.id,
            partition_index: self.index,
            offset: Offset(offset),
            attempt: state.attempts,
            incarnation: state.incarnation,
            first_leased_at: Timestamp(state.first_leased_at),
        }
    }

    /// Settles from the floor on what has outlived, past what is leased or moving, up to the first that has not.
    fn settle_outlived(&mut self, now: Now, policy: &QueuePolicy, timers: &mut Timers) -> u64 {
        let mut settled = 0;
        let mut at = self.settled.floor();
        loop {
            at = self.settled.next_outside(at);
            if at >= self.end {
                return settled;
            }
            if let Some(entry) = self.records.get(&at) {
                if !outlived(now, policy, entry.state.live_from) {
                    return settled;
                }
                match entry.live {
                    Live::Ready | Live::Delayed { .. } => {
                        self.settle_record(at, timers);
                        settled += 1;
                    }
                    Live::Leased { .. } | Live::Moving => {}
                }
                at += 1;
            } else {
                // A fresh record is where the scan stands, unless the window does not reach it.
                let Some((start, end, live_from)) = self.fresh_segment() else { return settled };
                if start != at || !outlived(now, policy, live_from) {
                    return settled;
                }
                settled += self.settle_fresh(start, end);
                self.scan = end;
                self.advance();
                at = end;
            }
        }
    }
}

/// True if the time to live is over.
pub(super) fn outlived(now: Now, policy: &QueuePolicy, live_from: i64) -> bool {
    let age_ms = now.wall.0.saturating_sub(live_from);
    policy.message_ttl_ms.is_some_and(|ttl_ms| u64::try_from(age_ms).is_ok_and(|age_ms| age_ms >= ttl_ms))
}

/// The hold of a lease of `granted_ms` from now, as it is written and as it lives; `latest` is to where it may be
/// extended if the lease is not a new one.
pub(super) fn lease_hold(
    now: Now,
    leased_at: i64,
    granted_ms: u64,
    latest: Option<crate::Monotonic>,
) -> (Hold, Live) {
    if granted_ms == 0 {
        return (Hold::Free, Live::Ready);
    }
    let until = now.wall.0.saturating_add_unsigned(granted_ms);
    let latest = latest.unwrap_or_else(|| now.monotonic.plus_ms(VISIBILITY_MS));
    (
        Hold::Leased { leased_at, until, granted_ms },
        Live::Leased { until: now.monotonic.plus_ms(granted_ms), latest },
    )
}

/// What the caller is told of a record to be moved.
pub(super) fn dead_record(
    partition: duolog_record::PartitionId,
    offset: u64,
    state: &RecordState,
) -> DeadRecord {
    DeadRecord {
        partition,
        offset: Offset(offset),
        attempts: state.attempts,
        first_leased_at: Timestamp(state.first_leased_at),
    }
}
