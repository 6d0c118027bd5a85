//! What must hold of a queue by key, as far as clients can be certain of it.
//!
//! A receive is judged by what was told before it was asked for: the broker granted it later. Whoever asks for a
//! settlement of a record gives up certainty about it until it is leased again.
//! Adding a rule: what is known in [`Lines`], a check in `received`, and a test below that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use duolog_broker::Monotonic;
use duolog_record::{Offset, PartitionId};

use super::{Broken, Place, Verdict};
use crate::sim::ms_before;

/// Rises with everything that is told.
pub type Moment = u64;

/// One receive, as its client knows it.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// When it was asked for.
    pub asked: Moment,
    /// Its leases do not end before then.
    pub until: Monotonic,
    /// When its answer was heard.
    pub now: Monotonic,
    /// [`Lines::stepped_ms`] when it was asked for.
    pub stepped_ms: u64,
}

/// One record of a receive.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Where it stands.
    pub place: Place,
    /// Its key.
    pub key: u64,
    /// Which attempt.
    pub attempt: u32,
}

/// By partition and key, then offset.
type At = (PartitionId, u64, Offset);

/// A lease that nobody has asked to settle.
#[derive(Debug)]
struct Held {
    attempt: u32,
    heard: Moment,
    until: Monotonic,
    /// A crash does not forget it.
    durable: bool,
}

/// What is known of one queue by key.
#[derive(Debug, Default)]
pub struct Lines {
    moment: Moment,
    /// By how much the wall clock was set ahead so far, milliseconds.
    stepped_ms: u64,
    held: BTreeMap<At, Held>,
    /// Released for certain, and when that was heard.
    back: BTreeMap<At, Moment>,
    /// What was delivered for the first time since the start, and when that was heard.
    firsts: BTreeMap<At, Moment>,
    keys: BTreeMap<Place, u64>,
    /// How often something was asked or told of a record.
    touches: BTreeMap<Place, u64>,
}

impl Lines {
    /// Now.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// By how much the wall clock was set ahead so far, milliseconds.
    #[must_use]
    pub fn stepped_ms(&self) -> u64 {
        self.stepped_ms
    }

    /// Until when the leases of a receive last at least.
    fn until(&self, receive: Receive) -> Monotonic {
        ms_before(receive.until, self.stepped_ms - receive.stepped_ms)
    }

    /// A receive was answered.
    ///
    /// # Errors
    /// A record came although another of its key was leased, or before an earlier one of its key that was available, or
    /// for the first time after a later one.
    pub fn received(&mut self, receive: Receive, records: &[Received]) -> Verdict {
        self.moment += 1;
        let mine: BTreeSet<Place> = records.iter().map(|it| it.place).collect();
        for record in records {
            self.check(receive, record, &mine)?;
        }
        for record in records {
            let (partition, offset) = record.place;
            let at = (partition, record.key, offset);
            self.keys.insert(record.place, record.key);
            self.touch(record.place);
            let until = self.until(receive);
            self.held.insert(at, Held { attempt: record.attempt, heard: self.moment, until, durable: false });
            if record.attempt == 1 {
                self.firsts.entry(at).or_insert(self.moment);
            }
        }
        Ok(())
    }

    /// A receive was answered that had been answered before: its leases have begun anew.
    pub fn received_again(&mut self, receive: Receive, records: &[Received]) {
        self.moment += 1;
        let until = self.until(receive);
        for record in records {
            // If anything was asked of it since, it may have ended, and another lease be heard of before this answer.
            if let Some(held) = self.held.get_mut(&(record.place.0, record.key, record.place.1))
                && held.attempt == record.attempt
            {
                (held.heard, held.until, held.durable) = (self.moment, until, false);
            }
        }
    }

    fn check(&self, receive: Receive, record: &Received, mine: &BTreeSet<Place>) -> Verdict {
        let ((partition, offset), key) = (record.place, record.key);
        let place = format!("{partition}/{offset} of key {key}");
        for (&(_, _, other), held) in self.held.range(all_of(partition, key)) {
            if held.heard < receive.asked && receive.now < held.until {
                return Err(Broken(format!("{place} was delivered while {other} is leased")));
            }
        }
        for (&(_, _, other), &since) in self.back.range(all_of(partition, key)) {
            if other < offset && since < receive.asked && !mine.contains(&(partition, other)) {
                return Err(Broken(format!("{place} was delivered before {other}, which was given back")));
            }
        }
        let behind = (partition, key, offset.plus(1))..=(partition, key, Offset(u64::MAX));
        match self.firsts.range(behind).find(|(_, heard)| **heard < receive.asked) {
            Some(((_, _, later), _)) if record.attempt == 1 => {
                Err(Broken(format!("{place} was delivered for the first time after {later}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A settlement of a record is asked for, whatever its outcome. Gives what `released` wants to know.
    pub fn touch(&mut self, place: Place) -> u64 {
        self.moment += 1;
        if let Some(&key) = self.keys.get(&place) {
            let at = (place.0, key, place.1);
            self.held.remove(&at);
            self.back.remove(&at);
        }
        let touches = self.touches.entry(place).or_default();
        *touches += 1;
        *touches
    }

    /// It was answered that a record was released to be available at once; `touched` is from when that was asked for.
    pub fn released(&mut self, place: Place, touched: u64) {
        self.moment += 1;
        if self.touches.get(&place) == Some(&touched)
            && let Some(&key) = self.keys.get(&place)
        {
            self.back.insert((place.0, key, place.1), self.moment);
        }
    }

    /// Leases told so far are durable.
    pub fn barrier(&mut self) {
        self.held.values_mut().for_each(|held| held.durable = true);
    }

    /// The wall clock was set ahead: a lease that goes on over a restart ends so much earlier.
    pub fn stepped_on(&mut self, ms: u64) {
        self.stepped_ms += ms;
        for held in self.held.values_mut() {
            held.until = ms_before(held.until, ms);
        }
    }

    /// What is not durable may be forgotten.
    pub fn crashed(&mut self) {
        self.moment += 1;
        self.held.retain(|_, held| held.durable);
        self.back.clear();
        self.firsts.clear();
    }
}

fn all_of(partition: PartitionId, key: u64) -> RangeInclusive<At> {
    (partition, key, Offset(0))..=(partition, key, Offset(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(20);

    fn receive(lines: &Lines, until: u64, now: u64) -> Receive {
        Receive { asked: lines.moment() + 1, until: Monotonic(until), now: Monotonic(now), stepped_ms: 0 }
    }

    fn of(offset: u64, attempt: u32) -> Received {
        Received { place: (P, Offset(offset)), key: 7, attempt }
    }

    #[test]
    fn a_key_is_blocked_while_one_of_it_is_leased_for_certain() {
        let mut lines = Lines::default();
        lines.received(receive(&lines, 100, 1), &[of(0, 1), of(1, 1)]).expect("the first");
        assert!(lines.received(receive(&lines, 200, 99), &[of(2, 1)]).is_err());
        let asked_before = Receive { asked: 0, ..receive(&lines, 200, 99) };
        assert!(lines.received(asked_before, &[of(2, 1)]).is_ok());
        assert!(lines.received(receive(&lines, 900, 200), &[of(0, 2), of(1, 2), of(2, 2)]).is_ok());
        lines.touch((P, Offset(0)));
        assert!(lines.received(receive(&lines, 900, 201), &[of(3, 1)]).is_err());
        lines.crashed();
        assert!(lines.received(receive(&lines, 900, 201), &[of(3, 1)]).is_ok(), "a crash may forget it");
        lines.barrier();
        lines.crashed();
        assert!(lines.received(receive(&lines, 900, 202), &[of(4, 1)]).is_err());
    }

    #[test]
    fn a_repeat_prolongs_only_the_lease_that_it_repeats() {
        let mut lines = Lines::default();
        lines.received(receive(&lines, 100, 1), &[of(0, 1)]).expect("the first");
        lines.received_again(receive(&lines, 200, 2), &[of(0, 1)]);
        assert!(lines.received(receive(&lines, 400, 199), &[of(0, 2)]).is_err());
        lines.touch((P, Offset(0)));
        lines.received(receive(&lines, 300, 3), &[of(0, 2)]).expect("the second");
        // Decided before the second, and heard of after it.
        lines.received_again(receive(&lines, 900, 2), &[of(0, 1)]);
        assert!(lines.received(receive(&lines, 900, 300), &[of(0, 3)]).is_ok());
    }

    #[test]
    fn what_was_given_back_comes_before_what_is_behind_it() {
        let mut lines = Lines::default();
        lines.received(receive(&lines, 100, 1), &[of(0, 1), of(1, 1)]).expect("the first");
        let touched = lines.touch((P, Offset(0)));
        lines.touch((P, Offset(1)));
        lines.released((P, Offset(0)), touched);
        assert!(lines.received(receive(&lines, 200, 2), &[of(1, 2)]).is_err());
        assert!(lines.received(receive(&lines, 200, 2), &[of(0, 2), of(1, 2)]).is_ok());
    }

    #[test]
    fn a_release_is_certain_only_if_nothing_else_was_asked() {
        let mut lines = Lines::default();
        lines.received(receive(&lines, 100, 1), &[of(0, 1)]).expect("the first");
        let touched = lines.touch((P, Offset(0)));
        lines.touch((P, Offset(0)));
        lines.released((P, Offset(0)), touched);
        assert!(lines.received(receive(&lines, 200, 2), &[of(1, 1)]).is_ok());
    }

    #[test]
    fn first_deliveries_are_in_order() {
        let mut lines = Lines::default();
        lines.received(receive(&lines, 5, 1), &[of(3, 1)]).expect("the first");
        assert!(lines.received(receive(&lines, 200, 9), &[of(2, 1)]).is_err());
        let asked_before = Receive { asked: 1, ..receive(&lines, 5, 9) };
        assert!(lines.received(asked_before, &[of(2, 1)]).is_ok(), "it may have been heard late");
        assert!(lines.received(receive(&lines, 200, 9), &[of(1, 1)]).is_err());
        lines.crashed();
        assert!(lines.received(receive(&lines, 200, 9), &[of(2, 1)]).is_ok());
    }
}
