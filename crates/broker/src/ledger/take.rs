//! Taking one record out wherever it stands: for a move that looks for certain ones.
//!
//! Others of its key are passed by, whether they wait or are leased: who moves by a filter wants what matches, not what comes next.

use duolog_record::{Offset, PartitionId, Timestamp};

use super::changes::{Hold, NO_TTL, RecordState};
use super::lease::{dead_record, outlived};
use super::partition::{Entry, Live, PartitionLedger};
use super::timers::Timers;
use super::{DeadRecord, Grant, Ledger};
use crate::{Now, QueuePolicy};

/// A record as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Where.
    pub offset: Offset,
    /// When it was appended.
    pub append_time: Timestamp,
    /// The hash of its key.
    pub key: u64,
    /// What it brought along as time to live, or `NO_TTL`.
    pub ttl_ms: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way, as if leased once more: the caller says `moved`, or `move_failed` and `undo_lease`.
    Taken(Grant, DeadRecord),
    /// It is settled, leased, delayed, on its way, or has outlived its time to live.
    NotThere,
    /// The ledger can remember no more records apart from the others.
    Full,
}

impl Ledger {
    /// Takes a record, if it could be leased but for others of its key.
    pub fn take(&mut self, now: Now, policy: &QueuePolicy, partition: PartitionId, sought: &Sought) -> Taken {
        let Some(index) = self.index(partition) else { return Taken::NotThere };
        if !self.is_there(now, policy, partition, sought) {
            return Taken::NotThere;
        }
        let offset = sought.offset.0;
        let (records, runs) = (self.records < self.caps.records, self.runs < self.caps.runs);
        let it = &mut self.partitions[index as usize];
        let is_known = it.records.contains_key(&offset);
        if !is_known && !(records && (runs || it.settled.touches(offset))) {
            return Taken::Full;
        }
        let state = match it.records.get_mut(&offset) {
            Some(entry) => {
                entry.lease_again(now, self.incarnation, Hold::Free);
                let state = entry.state;
                it.set_live(offset, Live::Moving, &mut self.timers);
                state
            }
            None => it.take_fresh(now, sought, self.incarnation, &mut self.timers),
        };
        it.mark(offset, offset + 1);
        let taken = Taken::Taken(it.grant(offset, &state), dead_record(partition, offset, &state));
        self.refresh(index);
        taken
    }

    /// True for a record that could be leased, but for others of its key.
    #[must_use]
    pub fn is_there(&self, now: Now, policy: &QueuePolicy, partition: PartitionId, sought: &Sought) -> bool {
        let Some(index) = self.index(partition) else { return false };
        let it = &self.partitions[index as usize];
        let offset = sought.offset.0;
        if offset < it.settled.floor() || offset >= it.end || it.settled.contains(offset) {
            return false;
        }
        let (live_from, ttl_ms) = match it.records.get(&offset) {
            Some(entry) if entry.live == Live::Ready => (entry.state.live_from, entry.state.ttl_ms),
            Some(_) => return false,
            None if self.delay_ms > 0
                && sought.append_time.0 > now.wall.0.saturating_sub_unsigned(self.delay_ms) =>
            {
                return false;
            }
            None => (it.live_from(offset, sought.append_time), it.ttl_of(sought)),
        };
        !outlived(now, policy, live_from, ttl_ms)
    }

    /// The first offset from here on that is not settled, and the end of what is known.
    #[must_use]
    pub fn next_unsettled(&self, partition: PartitionId, from: Offset) -> Option<(Offset, Offset)> {
        let it = &self.partitions[self.index(partition)? as usize];
        Some((Offset(it.settled.next_outside(from.0)), Offset(it.end)))
    }
}

impl PartitionLedger {
    /// A queue that looks at keys has no times to live but its own.
    fn ttl_of(&self, sought: &Sought) -> u64 {
        if self.groups.is_some() { NO_TTL } else { sought.ttl_ms }
    }

    fn take_fresh(
        &mut self,
        now: Now,
        sought: &Sought,
        incarnation: u64,
        timers: &mut Timers,
    ) -> RecordState {
        let offset = sought.offset.0;
        let state = RecordState {
            attempts: 1,
            incarnation,
            live_from: self.live_from(offset, sought.append_time),
            first_leased_at: now.wall.0,
            key: if self.groups.is_some() { sought.key } else { 0 },
            hold: Hold::Free,
            ttl_ms: self.ttl_of(sought),
        };
        self.records.insert(offset, Entry { state, incarnation_before: 0, live: Live::Moving });
        timers.enter((self.index, offset), Live::Moving);
        match &mut self.groups {
            Some(groups) => {
                groups.hold(state.key, offset);
                self.advance_groups();
            }
            None => self.scan_past(offset),
        }
        state
    }
}
