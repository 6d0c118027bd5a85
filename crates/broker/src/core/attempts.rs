//! Receives that their receivers have given a name, so that they can be repeated when an answer was lost.
//!
//! Invariant: what a repeated attempt brings are the leases of the first, unchanged since; bounded in attempts, leases and
//! time. In memory alone: after a restart a repeated attempt is a new one.

use std::collections::{BTreeMap, VecDeque};

use duolog_storage::planted::{self, Bug};

use super::line::lease_id;
use crate::ledger::{Grant, Ledger};
use crate::limits::{ATTEMPT_LEASES_PER_QUEUE, ATTEMPT_MS, ATTEMPTS_PER_QUEUE};
use crate::{AttemptId, LeaseId, Monotonic, Now, Outcome, QueueId};

/// What an attempt brought.
struct Attempt {
    /// Tells it from an earlier one of the same name.
    number: u64,
    grants: Vec<Grant>,
    /// When its leases end.
    until: Monotonic,
}

/// The attempts of one queue.
#[derive(Default)]
pub(super) struct Attempts {
    known: BTreeMap<AttemptId, Attempt>,
    /// When each was first made, oldest first.
    line: VecDeque<(Monotonic, AttemptId, u64)>,
    leases: usize,
    next: u64,
}

impl Attempts {
    pub(super) fn knows(&self, attempt: AttemptId) -> bool {
        self.known.contains_key(&attempt)
    }

    /// An attempt has brought these.
    pub(super) fn note(&mut self, now: Now, attempt: AttemptId, grants: &[Grant], visibility_ms: u64) {
        self.forget_old(now);
        self.forget(attempt);
        while self.line.len() >= ATTEMPTS_PER_QUEUE || self.leases + grants.len() > ATTEMPT_LEASES_PER_QUEUE {
            let Some((_, oldest, number)) = self.line.pop_front() else {
                return;
            };
            self.forget_numbered(oldest, number);
        }
        let (number, until) = (self.next, now.monotonic.plus_ms(visibility_ms));
        self.next += 1;
        self.leases += grants.len();
        self.line.push_back((now.monotonic.plus_ms(ATTEMPT_MS), attempt, number));
        self.known.insert(attempt, Attempt { number, grants: grants.to_vec(), until });
    }

    /// What the attempt brought, its leases begun anew, if they all stand as they were given; else it is forgotten.
    pub(super) fn repeat(
        &mut self,
        now: Now,
        ledger: &mut Ledger,
        queue: QueueId,
        attempt: AttemptId,
        visibility_ms: u64,
    ) -> Option<Vec<Grant>> {
        self.forget_old(now);
        let known = self.known.get_mut(&attempt)?;
        if planted::is(Bug::AttemptRepeatedBlindly) {
            return Some(known.grants.clone());
        }
        let stands = |grant: &Grant| {
            ledger.leased_until(lease_id(queue, grant)) == Some(known.until) && known.until > now.monotonic
        };
        if known.grants.is_empty() || !known.grants.iter().all(stands) {
            self.forget(attempt);
            return None;
        }
        for grant in &known.grants {
            let again = Outcome::Extend { for_ms: visibility_ms };
            if ledger.settle(now, lease_id(queue, grant), again).is_err() {
                self.forget(attempt);
                return None;
            }
            // The first receiver may still want to give back what the second now has, also when this attempt is forgotten.
            ledger.keep_lease(lease_id(queue, grant));
        }
        known.until = now.monotonic.plus_ms(visibility_ms);
        Some(known.grants.clone())
    }

    /// A receiver has gone before it got a record, whose lease is undone.
    pub(super) fn given_back(&mut self, lease: LeaseId) {
        for attempt in self.known.values_mut() {
            let is_it = |grant: &Grant| lease_id(lease.queue, grant) == lease;
            if let Some(at) = attempt.grants.iter().position(is_it) {
                attempt.grants.remove(at);
                self.leases -= 1;
                return;
            }
        }
    }

    fn forget_old(&mut self, now: Now) {
        while let Some(&(until, attempt, number)) = self.line.front()
            && until <= now.monotonic
        {
            self.line.pop_front();
            self.forget_numbered(attempt, number);
        }
    }

    fn forget_numbered(&mut self, attempt: AttemptId, number: u64) {
        if self.known.get(&attempt).is_some_and(|known| known.number == number) {
            self.forget(attempt);
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        if let Some(known) = self.known.remove(&attempt) {
            self.leases -= known.grants.len();
        }
    }
}
