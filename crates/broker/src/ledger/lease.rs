//! Handing records out: retries and fresh records in the order of their offsets, partitions in turn.

use super::changes::{Hold, NO_TTL, RecordState};
use super::partition::{Entry, Live, NO_WAY_BACK, PartitionLedger};
use super::timers::Timers;
use super::window::span_end;
use super::{DeadRecord, Grant, LeaseResult, Ledger, Outlived, Term};
use crate::limits::{LEASES_MAX, LEDGER_DYING, VISIBILITY_MS};
use crate::{DeadLetter, Now, QueuePolicy};
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
    /// Of those that have outlived their time to live; `None` if they are settled.
    pub(super) outlived_max: Option<usize>,
    /// Settled runs beyond which none may begin, and those of the other partitions.
    pub(super) runs_max: usize,
    pub(super) runs_elsewhere: usize,
}

impl Call<'_> {
    pub(super) fn outlived(&self, live_from: i64, ttl_ms: u64) -> bool {
        outlived(self.now, self.policy, live_from, ttl_ms)
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
            outlived_max: self.dying_room(policy),
            runs_max: self.caps.runs,
            runs_elsewhere: 0,
        };
        if self.priority_max.is_some() {
            self.lease_by_priority(&mut call, &mut result);
            return result;
        }
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

    /// Takes the oldest out of the queue that could be leased, at most so many: settles them, or sends them on their way. Where there
    /// are priorities, those of the highest.
    pub fn drop_oldest(&mut self, now: Now, policy: &QueuePolicy, most: u64) -> Outlived {
        let mut all = Outlived::default();
        let records = self.caps.records.saturating_sub(self.records);
        let room = self.dying_room(policy).map(|room| room.min(records));
        let mut left = most;
        while left > 0
            && let Some(index) = self.oldest_leasable()
        {
            let room = room.map(|room| room.saturating_sub(all.dead.len()));
            let it = &mut self.partitions[index as usize];
            let Some((at, _)) = it.first_leasable() else { break };
            let taken =
                it.give_up(at, GiveUp { now, most: left, room, outlived: false }, &mut self.timers, &mut all);
            self.refresh(index);
            if taken == 0 {
                break;
            }
            left -= taken.min(left);
        }
        all
    }

    /// The partition whose turn it is to give one up.
    fn oldest_leasable(&self) -> Option<u32> {
        if self.priority_max.is_some() {
            return self.leasable.last().copied();
        }
        let since = |index: &u32| self.partitions[*index as usize].first_leasable().map(|(_, since)| since);
        self.leasable.iter().copied().min_by_key(|index| since(index).unwrap_or(i64::MAX))
    }

    /// The highest partition first.
    fn lease_by_priority(&mut self, call: &mut Call<'_>, result: &mut LeaseResult) {
        let mut below = u32::MAX;
        while call.room > 0
            && let Some(&index) = self.leasable.range(..below).next_back()
        {
            self.lease_from(index, call, result);
            below = index;
        }
    }

    fn lease_from(&mut self, index: u32, call: &mut Call<'_>, result: &mut LeaseResult) {
        let it = &mut self.partitions[index as usize];
        call.records_elsewhere = self.records - it.counted.records;
        call.runs_elsewhere = self.runs - it.counted.runs;
        if it.groups.is_some() {
            it.lease_grouped(call, &mut self.timers, result);
            return self.refresh(index);
        }
        if self.delay_ms > 0 {
            // Batches behind the first may have become due too.
            it.due_before = self.last.wall.0.saturating_sub_unsigned(self.delay_ms);
        }
        let first = result.granted.len();
        // What is available again at once must not be leased again by this call.
        let mut again = Vec::new();
        while call.room > 0 {
            let fresh = (it.fresh_room(call) > 0).then_some(it.scan);
            let more = match it.ready.first().copied() {
                Some(retry) if fresh.is_none_or(|fresh| retry < fresh) => {
                    it.lease_retry(retry, call, &mut self.timers, &mut again, result)
                }
                Some(_) | None if fresh.is_some() => {
                    it.lease_fresh(call, &mut self.timers, &mut again, result)
                }
                Some(_) | None => false,
            };
            if !more {
                break;
            }
        }
        it.ready.extend(again);
        // At a cap a record that has outlived may make room for fresh ones before those that were granted.
        if !result.granted[first..].is_sorted_by_key(|grant| grant.offset) {
            result.granted[first..].sort_unstable_by_key(|grant| grant.offset);
        }
        self.refresh(index);
    }

    /// How many more records that have outlived their time to live or are too many may be on their way; `None` if they are settled.
    fn dying_room(&self, policy: &QueuePolicy) -> Option<usize> {
        let dying = self.timers.moving() as usize;
        let buries = matches!(policy.dead_letter, Some(DeadLetter::Exchange { .. }));
        buries.then(|| LEDGER_DYING.saturating_sub(dying).min(self.caps.dead))
    }

    /// Settles what has outlived its time to live, or sends it on its way, as far as it stands before what has not.
    pub fn settle_outlived(&mut self, now: Now, policy: &QueuePolicy) -> Outlived {
        let mut all = Outlived::default();
        let mut room = self.dying_room(policy);
        for index in 0..self.partitions.len() as u32 {
            let it = &mut self.partitions[index as usize];
            let (settled, dying) = (all.settled, all.dead.len());
            if it.groups.is_some() {
                all.settled += it.settle_outlived_groups(now, policy, &mut self.timers);
            } else {
                let records = self.caps.records.saturating_sub(self.records);
                it.settle_outlived(
                    now,
                    policy,
                    room.map(|room| room.min(records)),
                    &mut self.timers,
                    &mut all,
                );
            }
            room = room.map(|room| room - (all.dead.len() - dying));
            if all.settled > settled || all.dead.len() > dying {
                self.refresh(index);
            }
        }
        all
    }
}

impl Entry {
    /// Writes another lease into the record's history.
    pub(super) fn lease_again(&mut self, now: Now, incarnation: u64, hold: Hold) {
        let state = &mut self.state;
        self.incarnation_before = state.incarnation;
        state.incarnation = incarnation;
        state.attempts = state.attempts.saturating_add(1);
        if state.attempts == 1 {
            state.first_leased_at = now.wall.0;
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

    /// Leases the fresh records at `scan` that belong together, or settles them if they have outlived, or sends them on their
    /// way. False if that takes no more.
    fn lease_fresh(
        &mut self,
        call: &mut Call<'_>,
        timers: &mut Timers,
        again: &mut Vec<u64>,
        result: &mut LeaseResult,
    ) -> bool {
        let Some((start, end, live_from, ttl_ms)) = self.fresh_segment() else { return false };
        if call.outlived(live_from, ttl_ms) {
            let Some(room) = call.outlived_max else {
                result.expired += self.settle_fresh(start, end);
                self.scan = end;
                self.advance();
                return true;
            };
            let room = room.min(self.fresh_room(call));
            let buried = self.bury_fresh(call.now, room, true, timers, &mut result.dead);
            call.outlived_max = Some(call.outlived_max.unwrap_or_default() - buried);
            return buried > 0;
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
            ttl_ms,
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
        true
    }

    /// Sends fresh records at `scan` that belong together on their way to where the dead go, at most so many. Answers how many.
    pub(super) fn bury_fresh(
        &mut self,
        now: Now,
        most: usize,
        outlived: bool,
        timers: &mut Timers,
        dead: &mut Vec<DeadRecord>,
    ) -> usize {
        let Some((start, end, live_from, ttl_ms)) = self.fresh_segment() else { return 0 };
        let count = usize::try_from(end - start).unwrap_or(usize::MAX).min(most);
        let first_leased_at = now.wall.0;
        let (hold, key) = (Hold::Free, 0);
        let state =
            RecordState { attempts: 0, incarnation: 0, live_from, first_leased_at, key, hold, ttl_ms };
        let end = start + count as u64;
        for offset in start..end {
            let live = Live::Moving;
            self.records.insert(offset, Entry { state, incarnation_before: NO_WAY_BACK, live });
            timers.enter((self.index, offset), live);
            dead.push(DeadRecord { outlived, ..dead_record(self.id, offset, &state) });
        }
        self.mark(start, end);
        self.scan = end;
        self.advance();
        count
    }

    /// The fresh records at `scan` that lie in one span and live from one time: start, end, that time, and what they brought along.
    fn fresh_segment(&self) -> Option<(u64, u64, i64, u64)> {
        let span = self.window.front()?;
        let mut end = span_end(span).min(self.fresh_end());
        if self.scan < self.replay.below {
            end = end.min(self.replay.below);
        }
        Some((self.scan, end, self.live_from(self.scan, span.append_time), span.ttl_ms))
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
        if call.outlived(entry.state.live_from, entry.state.ttl_ms) && !planted::is(Bug::OutlivedRetried) {
            match &mut call.outlived_max {
                None => {
                    self.settle_record(offset, timers);
                    result.expired += 1;
                }
                Some(0) => return false,
                Some(room) => {
                    *room -= 1;
                    result
                        .dead
                        .push(DeadRecord { outlived: true, ..dead_record(self.id, offset, &entry.state) });
                    self.set_live(offset, Live::Moving, timers);
                }
            }
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
        entry.lease_again(call.now, call.incarnation, hold);
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

    /// Settles from the floor on what has outlived, past what is leased or moving, up to the first that has not; or sends at most
    /// `room` of it on its way.
    fn settle_outlived(
        &mut self,
        now: Now,
        policy: &QueuePolicy,
        mut room: Option<usize>,
        timers: &mut Timers,
        all: &mut Outlived,
    ) {
        let mut at = self.settled.floor();
        loop {
            at = self.settled.next_outside(at);
            if at >= self.end {
                return;
            }
            let (live_from, ttl_ms) = match self.records.get(&at) {
                Some(Entry { live: Live::Leased { .. } | Live::Moving, .. }) => {
                    at += 1;
                    continue;
                }
                Some(entry) => (entry.state.live_from, entry.state.ttl_ms),
                None => match self.fresh_segment() {
                    // A fresh record is where the scan stands, unless the window does not reach it.
                    Some((start, _, live_from, ttl_ms)) if start == at => (live_from, ttl_ms),
                    Some(_) | None => return,
                },
            };
            let due = due(policy, live_from, ttl_ms);
            if due.is_none_or(|due| due > now.wall.0) || room == Some(0) {
                all.next = [all.next, due.map(Timestamp)].into_iter().flatten().min();
                return;
            }
            let before = all.dead.len();
            self.give_up(at, GiveUp { now, most: u64::MAX, room, outlived: true }, timers, all);
            room = room.map(|room| room.saturating_sub(all.dead.len() - before));
        }
    }

    /// The first record that could be leased, and when its time to live began.
    fn first_leasable(&self) -> Option<(u64, i64)> {
        let retry = self.ready.first().and_then(|at| Some((*at, self.records.get(at)?.state.live_from)));
        let fresh = if self.has_fresh() { self.fresh_segment() } else { None };
        retry.into_iter().chain(fresh.map(|(start, _, live_from, _)| (start, live_from))).min()
    }

    /// Takes a record with a history out of the queue, or fresh ones that belong together. Answers how many.
    fn give_up(&mut self, at: u64, terms: GiveUp, timers: &mut Timers, all: &mut Outlived) -> u64 {
        let GiveUp { now, most, room, outlived } = terms;
        match (self.records.get(&at), room) {
            (_, Some(0)) => 0,
            (Some(_), None) => {
                self.settle_record(at, timers);
                all.settled += 1;
                1
            }
            (Some(entry), Some(_)) => {
                all.dead.push(DeadRecord { outlived, ..dead_record(self.id, at, &entry.state) });
                self.set_live(at, Live::Moving, timers);
                1
            }
            (None, Some(room)) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX).min(room);
                self.bury_fresh(now, most, outlived, timers, &mut all.dead) as u64
            }
            (None, None) => {
                let Some((start, end, ..)) = self.fresh_segment() else { return 0 };
                let end = end.min(start.saturating_add(most));
                let settled = self.settle_fresh(start, end);
                self.scan = end;
                self.advance();
                all.settled += settled;
                settled
            }
        }
    }
}

/// How records leave a queue that nobody has leased.
#[derive(Clone, Copy)]
struct GiveUp {
    now: Now,
    /// Fresh ones at the most.
    most: u64,
    /// How many may be on their way; `None` if they are settled.
    room: Option<usize>,
    /// Their time to live is over; else they are too many.
    outlived: bool,
}

/// When the time to live is over, milliseconds since the epoch; `None` never.
fn due(policy: &QueuePolicy, live_from: i64, ttl_ms: u64) -> Option<i64> {
    let ttl_ms = policy.message_ttl_ms.map_or(ttl_ms, |most| most.min(ttl_ms));
    (ttl_ms != NO_TTL).then(|| live_from.saturating_add_unsigned(ttl_ms))
}

/// True if the time to live is over.
pub(super) fn outlived(now: Now, policy: &QueuePolicy, live_from: i64, ttl_ms: u64) -> bool {
    due(policy, live_from, ttl_ms).is_some_and(|due| due <= now.wall.0)
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
        outlived: false,
    }
}
