//! Handing out records of a queue that looks at keys: groups in their turn, each group's records in order.

use super::changes::{NO_TTL, RecordState};
use super::groups::Waiting;
use super::lease::{Call, dead_record};
use super::partition::{Entry, Live, PartitionLedger};
use super::timers::Timers;
use super::{LeaseResult, Order};
use crate::{Now, QueuePolicy};

/// What became of the first record of a group.
enum Took {
    /// It was granted, and the group may be gone on with.
    Granted,
    /// It has outlived its time to live and is settled.
    Expired,
    /// It goes to the dead-letter queue: nothing behind it may be granted.
    Dead,
    /// A cap of the ledger forbids it.
    Refused,
}

impl PartitionLedger {
    /// Leases from the groups in their turn, as far as the call goes. What it grants stands in the order of offsets.
    pub(super) fn lease_grouped(
        &mut self,
        call: &mut Call<'_>,
        timers: &mut Timers,
        result: &mut LeaseResult,
    ) {
        let first = result.granted.len();
        // What is available again at once must not be leased again by this call.
        let mut again = Vec::new();
        let mut refused = None;
        while call.room > 0 {
            let Some(next) = self.groups.as_ref().and_then(|groups| groups.next_open(refused)) else { break };
            if !self.lease_group(next.1, call, timers, &mut again, result) {
                // Others may have records that continue a settled run.
                refused = Some(next);
            }
        }
        if let Some(groups) = &mut self.groups {
            for (key, record) in again {
                groups.add(key, record);
            }
        }
        result.granted[first..].sort_unstable_by_key(|grant| grant.offset);
    }

    /// Leases from one group: all it has if its other records would have to wait, else one. False if nothing came of it.
    fn lease_group(
        &mut self,
        key: u64,
        call: &mut Call<'_>,
        timers: &mut Timers,
        again: &mut Vec<(u64, Waiting)>,
        result: &mut LeaseResult,
    ) -> bool {
        let (mut any, mut is_dying) = (false, false);
        while call.room > 0 {
            let Some(groups) = &self.groups else { break };
            let (order, Some(record)) = (groups.order(), groups.front(key)) else { break };
            if is_dying && !self.is_dead(record, call) {
                break;
            }
            match self.lease_first(key, record, call, timers, again, result) {
                Took::Granted if order == Order::Fair => return true,
                Took::Granted | Took::Expired => any = true,
                Took::Dead => (any, is_dying) = (true, true),
                Took::Refused => break,
            }
        }
        any
    }

    fn is_dead(&self, record: Waiting, call: &Call<'_>) -> bool {
        self.records.get(&record.offset).is_some_and(|entry| entry.state.attempts >= call.attempts_max)
    }

    fn lease_first(
        &mut self,
        key: u64,
        record: Waiting,
        call: &mut Call<'_>,
        timers: &mut Timers,
        again: &mut Vec<(u64, Waiting)>,
        result: &mut LeaseResult,
    ) -> Took {
        let offset = record.offset;
        if call.outlived(record.live_from, NO_TTL) {
            self.settle_waiting(key, record, timers);
            result.expired += 1;
            return Took::Expired;
        }
        if self.is_dead(record, call) {
            if result.dead.len() >= call.dead_max {
                return Took::Refused;
            }
            if let Some(entry) = self.records.get(&offset) {
                result.dead.push(dead_record(self.id, offset, &entry.state));
            }
            self.set_live(offset, Live::Moving, timers);
            return Took::Dead;
        }
        let is_first = result.granted.is_empty();
        if !self.records.contains_key(&offset) && !self.may_lease_fresh(offset, is_first, call) {
            return Took::Refused;
        }
        if call.hold().1 == Live::Ready {
            if let Some(groups) = &mut self.groups {
                groups.remove(key, offset);
            }
            again.push((key, record));
        }
        let state = self.hold_for(key, record, call, timers);
        self.mark(offset, offset + 1);
        result.granted.push(self.grant(offset, &state));
        call.room -= 1;
        Took::Granted
    }

    /// The record is leased by this call, whether for the first time or again; gives its state.
    fn hold_for(&mut self, key: u64, record: Waiting, call: &Call<'_>, timers: &mut Timers) -> RecordState {
        let offset = record.offset;
        let (hold, live) = call.hold();
        match self.records.get_mut(&offset) {
            Some(entry) => {
                entry.lease_again(call.now, call.incarnation, hold);
                let state = entry.state;
                if live != Live::Ready {
                    self.set_live(offset, live, timers);
                }
                state
            }
            None => {
                let state = RecordState {
                    attempts: 1,
                    incarnation: call.incarnation,
                    live_from: record.live_from,
                    first_leased_at: call.now.wall.0,
                    key,
                    hold,
                    ttl_ms: NO_TTL,
                };
                self.records.insert(offset, Entry { state, incarnation_before: 0, live });
                timers.enter((self.index, offset), live);
                if live != Live::Ready
                    && let Some(groups) = &mut self.groups
                {
                    groups.hold(key, offset);
                }
                state
            }
        }
    }

    /// Whether a fresh record may be leased: a full ledger leases only what continues a settled run. Where nothing is
    /// held the first of a call may always be: after a replay it can stand before records with a history, which wait for it.
    fn may_lease_fresh(&self, offset: u64, is_first: bool, call: &Call<'_>) -> bool {
        let is_idle = is_first && self.groups.as_ref().is_some_and(|groups| groups.held() == 0);
        (is_idle || call.records_elsewhere + self.records.len() < call.records_max)
            && (call.runs_elsewhere + self.settled.runs_len() < call.runs_max || self.settled.touches(offset))
    }

    /// Settles a record that could have been leased.
    fn settle_waiting(&mut self, key: u64, record: Waiting, timers: &mut Timers) {
        if self.records.contains_key(&record.offset) {
            self.settle_record(record.offset, timers);
            return;
        }
        if let Some(groups) = &mut self.groups {
            groups.remove(key, record.offset);
        }
        self.settle_fresh(record.offset, record.offset + 1);
    }

    /// Settles what has outlived its time to live at the heads of the groups. Answers how many.
    pub(super) fn settle_outlived_groups(
        &mut self,
        now: Now,
        policy: &QueuePolicy,
        timers: &mut Timers,
    ) -> u64 {
        let mut settled = 0;
        let Some(groups) = &self.groups else { return settled };
        if !super::lease::outlived(now, policy, groups.live_since, NO_TTL) {
            return settled;
        }
        for (key, front) in groups.fronts() {
            let mut front = Some(front);
            while let Some(record) =
                front.filter(|it| super::lease::outlived(now, policy, it.live_from, NO_TTL))
            {
                self.settle_waiting(key, record, timers);
                settled += 1;
                front = self.groups.as_ref().and_then(|groups| groups.front(key));
            }
        }
        if let Some(groups) = &mut self.groups {
            let fronts = groups.fronts();
            groups.live_since = fronts.iter().map(|(_, front)| front.live_from).min().unwrap_or(i64::MAX);
        }
        self.advance_groups();
        settled
    }
}
