//! Taking records back: outcomes, deadlines, the end of a dead-letter move.
//!
//! A handle names a lease by incarnation and attempt. The last one given is good for an end (`Ack`, `DeadLetter`) until
//! the record is leased again, even if the lease is over; for anything else only while the lease lasts.
//! Source: SQS Developer Guide, "receipt handle": a delete works with the handle of the last receive.

use duolog_record::{Offset, PartitionId};

use super::changes::{Hold, RecordState};
use super::lease::{dead_record, lease_hold};
use super::partition::{Live, NO_WAY_BACK};
use super::{Ledger, Settled};
use crate::errors::SettleError;
use crate::limits::VISIBILITY_MS;
use crate::{LeaseId, Monotonic, Now, Outcome};

impl Ledger {
    /// Ends or changes a lease. An extension by 0 ms is a release.
    ///
    /// # Errors
    /// `Settled`, `Expired`, `Lost`, `Unknown`, `TooLong`.
    pub fn settle(&mut self, now: Now, id: LeaseId, outcome: Outcome) -> Result<Settled, SettleError> {
        let index = self.index(id.partition).ok_or(SettleError::Unknown)?;
        let (state, live) = self.named(index, id)?;
        let offset = id.offset.0;
        let it = &mut self.partitions[index as usize];
        let answer = match outcome {
            Outcome::Ack => {
                it.settle_record(offset, &mut self.timers);
                Settled::Acked
            }
            Outcome::DeadLetter => {
                it.set_live(offset, Live::Moving, &mut self.timers);
                Settled::WantsDeadLetter(dead_record(id.partition, offset, &state))
            }
            Outcome::Release { after_ms } | Outcome::Extend { for_ms: after_ms @ 0 } => {
                lease_running(now, live)?;
                let after_ms = match outcome {
                    Outcome::Release { after_ms: 0 } => self.backoff.after_ms(state.attempts),
                    _ => after_ms,
                };
                let (hold, live) = delay_hold(now, after_ms);
                self.hold(index, offset, hold, live);
                Settled::Released
            }
            Outcome::Extend { for_ms } => {
                let latest = lease_running(now, live)?;
                if now.monotonic.plus_ms(for_ms) > latest {
                    return Err(SettleError::TooLong { ms_max: VISIBILITY_MS });
                }
                let leased_at = match state.hold {
                    Hold::Leased { leased_at, .. } => leased_at,
                    Hold::Free | Hold::Delayed { .. } => now.wall.0,
                };
                let (hold, live) = lease_hold(now, leased_at, for_ms, Some(latest));
                self.hold(index, offset, hold, live);
                Settled::Extended
            }
        };
        self.refresh(index);
        Ok(answer)
    }

    /// The state of the record whose last lease a handle names.
    fn named(&self, index: u32, id: LeaseId) -> Result<(RecordState, Live), SettleError> {
        let it = &self.partitions[index as usize];
        let offset = id.offset.0;
        let Some(entry) = it.records.get(&offset) else {
            if it.settled.contains(offset) {
                return Err(SettleError::Settled);
            }
            // Leased in an earlier life at best: before a replay, or before a crash that lost the lease.
            let earlier = offset < it.end && id.attempt > 0 && id.incarnation < self.incarnation;
            return Err(match earlier {
                true if offset >= it.replay.below && self.is_of_before(id.incarnation) => SettleError::Lost,
                true => SettleError::Expired,
                false => SettleError::Unknown,
            });
        };
        let state = entry.state;
        if id.attempt == 0 || id.incarnation > self.incarnation {
            return Err(SettleError::Unknown);
        }
        if (id.incarnation, id.attempt) != (state.incarnation, state.attempts) || entry.live == Live::Moving {
            // Later than the last lease that was written, which nobody has followed by another since the start.
            let is_later = id.incarnation >= state.incarnation && id.attempt > state.attempts;
            let is_lost = is_later
                && entry.live != Live::Moving
                && self.is_of_before(id.incarnation.max(state.incarnation));
            return Err(if is_lost { SettleError::Lost } else { SettleError::Expired });
        }
        Ok((state, entry.live))
    }

    /// True for an incarnation that ended with the last restart, or before.
    fn is_of_before(&self, incarnation: u64) -> bool {
        opening_of(incarnation) < opening_of(self.incarnation)
    }

    /// Puts a hold on a record and writes that down.
    fn hold(&mut self, index: u32, offset: u64, hold: Hold, live: Live) {
        let it = &mut self.partitions[index as usize];
        if let Some(entry) = it.records.get_mut(&offset) {
            entry.state.hold = hold;
            it.set_live(offset, live, &mut self.timers);
            it.mark(offset, offset + 1);
        }
    }

    /// The move to the dead-letter queue is part of the commit being made: the record is settled.
    pub fn moved(&mut self, partition: PartitionId, offset: Offset) {
        if let Some(index) = self.moving(partition, offset) {
            self.partitions[index as usize].settle_record(offset.0, &mut self.timers);
            self.refresh(index);
        }
    }

    /// The move cannot be made: the record is available again.
    pub fn move_failed(&mut self, partition: PartitionId, offset: Offset) {
        if let Some(index) = self.moving(partition, offset) {
            self.hold(index, offset.0, Hold::Free, Live::Ready);
            self.refresh(index);
        }
    }

    /// The partition of a record, if that is on the way to the dead-letter queue.
    fn moving(&self, partition: PartitionId, offset: Offset) -> Option<u32> {
        let index = self.index(partition)?;
        let entry = self.partitions[index as usize].records.get(&offset.0)?;
        (entry.live == Live::Moving).then_some(index)
    }

    /// The lease has been handed out a second time: whoever it was handed to first can no longer undo it.
    pub fn keep_lease(&mut self, id: LeaseId) {
        let Some(index) = self.index(id.partition) else { return };
        if self.named(index, id).is_ok()
            && let Some(entry) = self.partitions[index as usize].records.get_mut(&id.offset.0)
        {
            entry.incarnation_before = NO_WAY_BACK;
        }
    }

    /// The receiver was gone before it got the record: as if this lease had never been. False if it is over, or kept by
    /// [`Self::keep_lease`].
    pub fn undo_lease(&mut self, id: LeaseId) -> bool {
        let Some(index) = self.index(id.partition) else { return false };
        let entry = self.partitions[index as usize].records.get(&id.offset.0);
        if self.named(index, id).is_err() || entry.is_some_and(|it| it.incarnation_before == NO_WAY_BACK) {
            return false;
        }
        // The next lease is the same attempt: only another incarnation tells their handles apart.
        self.incarnation += 1;
        let it = &mut self.partitions[index as usize];
        if let Some(entry) = it.records.get_mut(&id.offset.0) {
            entry.state.attempts -= 1;
            entry.state.incarnation = entry.incarnation_before;
        }
        self.hold(index, id.offset.0, Hold::Free, Live::Ready);
        self.refresh(index);
        true
    }

    /// Ends leases and delays that are due; true if something became available.
    pub fn expire(&mut self, now: Now) -> bool {
        let mut any = self.let_in(now);
        while let Some((index, offset)) = self.timers.due(now.monotonic) {
            let it = &mut self.partitions[index as usize];
            let live = it.records.get(&offset).map_or(Live::Ready, |entry| match entry.live {
                Live::Leased { until, .. } => {
                    // Not written: it follows from the lease and the policy.
                    let until = until.plus_ms(self.backoff.after_ms(entry.state.attempts));
                    if until > now.monotonic { Live::Delayed { until } } else { Live::Ready }
                }
                Live::Ready | Live::Delayed { .. } | Live::Moving => Live::Ready,
            });
            it.set_live(offset, live, &mut self.timers);
            self.refresh(index);
            any |= live == Live::Ready;
        }
        any
    }

    /// When `expire` has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next().into_iter().chain(self.next_due()).min()
    }
}

/// The log's incarnation in that of a ledger.
fn opening_of(incarnation: u64) -> u64 {
    incarnation >> 32
}

/// To where a lease may be extended, if it is still running.
fn lease_running(now: Now, live: Live) -> Result<Monotonic, SettleError> {
    match live {
        Live::Leased { until, latest } if until > now.monotonic => Ok(latest),
        Live::Leased { .. } | Live::Ready | Live::Delayed { .. } | Live::Moving => Err(SettleError::Expired),
    }
}

/// The hold of a delay from now, as it is written and as it lives.
fn delay_hold(now: Now, after_ms: u64) -> (Hold, Live) {
    if after_ms == 0 {
        return (Hold::Free, Live::Ready);
    }
    let not_before = now.wall.0.saturating_add_unsigned(after_ms);
    (
        Hold::Delayed { not_before, granted_ms: after_ms },
        Live::Delayed { until: now.monotonic.plus_ms(after_ms) },
    )
}
