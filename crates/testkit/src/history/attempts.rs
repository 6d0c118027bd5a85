//! What must hold of receives that their receivers have named, as far as clients can be certain of it.
//!
//! A lease is handed out once; only the same name brings it again, and only while nothing has become of it. A repeat for
//! which that is certain has to bring it: until then nobody could get at the keys. What is not certain: whatever was asked
//! of one of its leases and not answered, and everything after a restart.
//! Adding a rule: what is known in [`Attempts`], a check in `heard`, and a test below that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use duolog_broker::{LeaseId, Monotonic};
use duolog_record::{Offset, PartitionId};

use super::{Broken, Moment, Verdict};

/// A lease as bytes, which have an order.
pub type LeaseIdBytes = [u8; LeaseId::BYTES];

/// What a receiver calls an attempt.
pub type Name = u64;

/// How long a name is remembered, milliseconds. Source: `AttemptId`.
const REMEMBERED_MS: u64 = 5 * 60 * 1000;

/// One receive under a name, as its client knows it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The name.
    pub name: Name,
    /// [`Attempts::moment`] when it was asked for.
    pub asked: Moment,
    /// When the name was used first.
    pub first_at: Monotonic,
    /// Its leases do not end before then.
    pub until: Monotonic,
    /// When its answer was heard.
    pub now: Monotonic,
}

/// One lease that was handed out.
#[derive(Debug)]
struct Given {
    name: Option<Name>,
    life: u64,
    /// It was acknowledged or given back, and that was answered.
    is_over: bool,
}

/// What a name has brought.
#[derive(Debug)]
struct Tried {
    leases: BTreeSet<LeaseIdBytes>,
    /// When that was heard last.
    heard: Moment,
    until: Monotonic,
    life: u64,
    /// Something was asked of one of its leases.
    is_touched: bool,
}

/// All leases of a run's queues by key, and what names have brought.
#[derive(Debug, Default)]
pub struct Attempts {
    moment: Moment,
    life: u64,
    given: BTreeMap<LeaseIdBytes, Given>,
    tried: BTreeMap<Name, Tried>,
    /// By record, the lease that was handed out last, and when that was heard.
    latest: BTreeMap<(PartitionId, Offset), (LeaseId, Moment)>,
}

impl Attempts {
    /// Now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// True if the name has brought something.
    #[must_use]
    pub fn has_brought(&self, name: Name) -> bool {
        self.tried.contains_key(&name)
    }

    /// A receive was answered, under a name or not; with the power off not all that it leased may have been read. Gives
    /// which leases were handed out before.
    ///
    /// # Errors
    /// One of them was handed out before and should not have been again; or all of them should have been, and were not.
    pub fn heard(
        &mut self,
        attempt: Option<Attempt>,
        leases: &[LeaseId],
        is_read: bool,
    ) -> Result<BTreeSet<LeaseIdBytes>, Broken> {
        self.moment += 1;
        let mut again = BTreeSet::new();
        for lease in leases {
            if let Some(given) = self.given.get(&lease.to_bytes()) {
                self.check_again(lease, given, attempt)?;
                again.insert(lease.to_bytes());
            }
        }
        if let Some(attempt) = attempt {
            self.check_brought(attempt, leases, is_read)?;
        }
        self.note(attempt, leases);
        Ok(again)
    }

    /// A lease came that was given before.
    fn check_again(&self, lease: &LeaseId, given: &Given, attempt: Option<Attempt>) -> Verdict {
        let place = format!("{}/{}", lease.partition, lease.offset);
        let Some(attempt) = attempt.filter(|it| Some(it.name) == given.name) else {
            return Err(Broken(format!("one lease of {place} was handed out to two receivers")));
        };
        if given.life < self.life {
            return Err(Broken(format!("a lease of {place} was handed out again after a restart")));
        }
        if given.is_over {
            return Err(Broken(format!(
                "a lease of {place} had ended and was handed out again to attempt {}",
                attempt.name
            )));
        }
        match self.latest.get(&(lease.partition, lease.offset)) {
            Some((last, heard)) if is_later(last, lease) && *heard < attempt.asked => Err(Broken(format!(
                "{place} had been leased anew and its earlier lease was handed out again to attempt {}",
                attempt.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// If what the name has brought stands for certain, it has to come.
    fn check_brought(&self, attempt: Attempt, leases: &[LeaseId], is_read: bool) -> Verdict {
        let Some(tried) = self.tried.get(&attempt.name) else { return Ok(()) };
        let is_certain = is_read
            && !tried.is_touched
            && tried.life == self.life
            && tried.heard < attempt.asked
            && attempt.now < tried.until
            && attempt.now < attempt.first_at.plus_ms(REMEMBERED_MS);
        let brought: BTreeSet<_> = leases.iter().map(|lease| lease.to_bytes()).collect();
        if is_certain && brought != tried.leases {
            return Err(Broken(format!(
                "attempt {} had brought {} records, which nobody has touched, and did not bring the same again",
                attempt.name,
                tried.leases.len()
            )));
        }
        Ok(())
    }

    fn note(&mut self, attempt: Option<Attempt>, leases: &[LeaseId]) {
        let name = attempt.map(|it| it.name);
        for lease in leases {
            let given = Given { name, life: self.life, is_over: false };
            self.given.entry(lease.to_bytes()).or_insert(given);
            let latest = self.latest.entry((lease.partition, lease.offset)).or_insert((*lease, self.moment));
            if is_later(lease, &latest.0) {
                *latest = (*lease, self.moment);
            }
        }
        let Some(attempt) = attempt.filter(|_| !leases.is_empty()) else { return };
        let leases: BTreeSet<_> = leases.iter().map(|lease| lease.to_bytes()).collect();
        match self.tried.get_mut(&attempt.name) {
            Some(tried) if tried.leases == leases => {
                (tried.heard, tried.until) = (self.moment, tried.until.max(attempt.until));
            }
            Some(_) | None => {
                // What was asked of a lease before its answer was heard: nothing, as nobody knew it.
                let tried = Tried {
                    leases,
                    heard: self.moment,
                    until: attempt.until,
                    life: self.life,
                    is_touched: false,
                };
                self.tried.insert(attempt.name, tried);
            }
        }
    }

    /// Something is asked of a lease.
    pub fn touch(&mut self, lease: LeaseId) {
        let name = self.given.get(&lease.to_bytes()).and_then(|given| given.name);
        if let Some(tried) = name.and_then(|name| self.tried.get_mut(&name)) {
            tried.is_touched = true;
        }
    }

    /// It was answered that the lease is acknowledged or given back.
    pub fn over(&mut self, lease: LeaseId) {
        if let Some(given) = self.given.get_mut(&lease.to_bytes()) {
            given.is_over = true;
        }
    }

    /// Names are forgotten.
    pub fn crashed(&mut self) {
        self.life += 1;
    }
}

/// Of two leases of one record.
fn is_later(one: &LeaseId, other: &LeaseId) -> bool {
    (one.incarnation, one.attempt) > (other.incarnation, other.attempt)
}

#[cfg(test)]
mod tests {
    use duolog_broker::QueueId;

    use super::*;

    fn lease(offset: u64, attempt: u32) -> LeaseId {
        let (queue, partition) = (QueueId(1), PartitionId(20));
        LeaseId { queue, partition, offset: Offset(offset), incarnation: 7, attempt }
    }

    fn attempt(attempts: &Attempts, name: Name, now: u64, until: u64) -> Option<Attempt> {
        let (now, until) = (Monotonic(now), Monotonic(until));
        Some(Attempt { name, asked: attempts.moment() + 1, first_at: Monotonic(1), until, now })
    }

    fn heard(attempts: &mut Attempts, name: Name, now: u64, leases: &[LeaseId]) -> Result<usize, Broken> {
        let attempt = attempt(attempts, name, now, now + 100);
        attempts.heard(attempt, leases, true).map(|again| again.len())
    }

    #[test]
    fn a_repeat_brings_what_stands() {
        let mut attempts = Attempts::default();
        assert_eq!(heard(&mut attempts, 1, 1, &[lease(0, 1), lease(1, 1)]), Ok(0));
        assert_eq!(heard(&mut attempts, 1, 100, &[lease(0, 1), lease(1, 1)]), Ok(2));
        assert!(heard(&mut attempts, 1, 199, &[lease(0, 1)]).is_err(), "not the whole");
        assert!(heard(&mut attempts, 1, 199, &[]).is_err(), "nothing");
        assert_eq!(heard(&mut attempts, 1, 200, &[]), Ok(0), "it may have ended");
    }

    #[test]
    fn a_repeat_that_is_read_in_part_brings_a_part() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1), lease(1, 1)]).expect("the first");
        let again = attempt(&attempts, 1, 2, 102);
        assert!(attempts.heard(again, &[lease(0, 1)], false).is_ok());
    }

    #[test]
    fn what_something_was_asked_of_may_stand_or_not() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1), lease(1, 1)]).expect("the first");
        attempts.touch(lease(1, 1));
        assert_eq!(heard(&mut attempts, 1, 2, &[lease(0, 1), lease(1, 1)]), Ok(2));
        assert_eq!(heard(&mut attempts, 1, 3, &[lease(2, 1)]), Ok(0));
    }

    #[test]
    fn no_lease_is_handed_out_to_two_names() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1)]).expect("the first");
        assert!(heard(&mut attempts, 2, 2, &[lease(0, 1)]).is_err());
        assert!(attempts.heard(None, &[lease(0, 1)], true).is_err());
    }

    #[test]
    fn what_has_ended_is_not_handed_out_again() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1)]).expect("the first");
        attempts.touch(lease(0, 1));
        attempts.over(lease(0, 1));
        assert!(heard(&mut attempts, 1, 2, &[lease(0, 1)]).is_err());
        assert_eq!(heard(&mut attempts, 1, 2, &[lease(0, 2)]), Ok(0));
    }

    #[test]
    fn what_was_leased_anew_is_not_handed_out_under_its_earlier_lease() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1)]).expect("the first");
        let asked_before = attempt(&attempts, 1, 300, 400);
        heard(&mut attempts, 2, 200, &[lease(0, 2)]).expect("it had ended");
        assert!(
            attempts.heard(asked_before, &[lease(0, 1)], true).is_ok(),
            "it may have been answered before"
        );
        assert!(heard(&mut attempts, 1, 300, &[lease(0, 1)]).is_err());
    }

    #[test]
    fn a_restart_forgets_names() {
        let mut attempts = Attempts::default();
        heard(&mut attempts, 1, 1, &[lease(0, 1)]).expect("the first");
        attempts.crashed();
        assert_eq!(heard(&mut attempts, 1, 2, &[]), Ok(0));
        assert!(heard(&mut attempts, 1, 2, &[lease(0, 1)]).is_err());
    }
}
