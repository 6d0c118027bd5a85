//! What must hold of a queue whose keys take turns, as far as clients can be certain of it.
//!
//! One key has many records, the *busy* one; each other has a single record, the *newcomers*. While one of the busy key's
//! records is leased, a newcomer that was never leased comes before any other of the busy key. Whoever is no longer
//! certain of a newcomer forgets it.
//! Adding a rule: what is known in [`Turns`], a check in `received`, and a test below that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use duolog_broker::Monotonic;

use super::terms::Exchange;
use super::{Broken, Moment, Number};

/// What is known of one queue in which keys take turns.
#[derive(Debug, Default)]
pub struct Turns {
    moment: Moment,
    /// Available for certain, and since when.
    newcomers: BTreeMap<Number, Moment>,
    /// Records of the busy key that are leased for certain: since when, and until when at least.
    busy: BTreeMap<Number, (Moment, Monotonic)>,
    /// Newcomers that were leased once, perhaps before their sender heard that they are there.
    served: BTreeSet<Number>,
}

impl Turns {
    /// Now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// A record of a key of its own was published, and that was answered.
    pub fn came(&mut self, number: Number) {
        self.moment += 1;
        if !self.served.contains(&number) {
            self.newcomers.insert(number, self.moment);
        }
    }

    /// A receive was answered that was asked for at `asked`: records, and whether each is of the busy key. Gives how many
    /// newcomers came before busy ones.
    ///
    /// # Errors
    /// A newcomer was passed over for the busy key.
    pub fn received(
        &mut self,
        asked: Moment,
        exchange: &Exchange,
        visibility_ms: u64,
        records: &[(Number, bool)],
    ) -> Result<u64, Broken> {
        self.moment += 1;
        let now = exchange.heard.monotonic;
        let leased = |(number, (since, until)): (&Number, &(Moment, Monotonic))| {
            *since < asked && now < *until && !records.contains(&(*number, true))
        };
        let is_busy = self.busy.iter().any(leased);
        let mine: BTreeSet<Number> = records.iter().map(|(number, _)| *number).collect();
        if let Some((busy, _)) = records.iter().find(|(_, is_busy)| *is_busy)
            && is_busy
        {
            let passed = |(number, since): &(&Number, &Moment)| **since < asked && !mine.contains(*number);
            if let Some((number, _)) = self.newcomers.iter().find(passed) {
                return Err(Broken(format!(
                    "record {busy} was delivered before {number}, although others of its key are leased"
                )));
            }
        }
        let mut newcomers = 0;
        let until = exchange.asked.monotonic.plus_ms(visibility_ms);
        for &(number, of_busy) in records {
            if of_busy {
                self.busy.insert(number, (self.moment, until));
            } else {
                newcomers += u64::from(self.newcomers.remove(&number).is_some() && is_busy);
                self.served.insert(number);
            }
        }
        Ok(newcomers)
    }

    /// A settlement of a record is asked for.
    pub fn touch(&mut self, number: Number) {
        self.busy.remove(&number);
    }

    /// Nobody will hear the answer of a receive: whatever it was given is leased or was.
    pub fn lost(&mut self) {
        self.newcomers.clear();
    }

    /// The process has ended.
    pub fn crashed(&mut self) {
        self.newcomers.clear();
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use duolog_broker::Now;
    use duolog_record::Timestamp;

    use super::*;
    use crate::history::terms::Steps;

    fn received(turns: &mut Turns, now: u64, records: &[(Number, bool)]) -> Result<u64, Broken> {
        let now = Now { monotonic: Monotonic(0).plus_ms(now), wall: Timestamp(0) };
        let exchange = Exchange { asked: now, steps: Steps::default(), heard: now };
        turns.received(turns.moment() + 1, &exchange, 100, records)
    }

    #[test]
    fn a_newcomer_comes_before_more_of_a_busy_key() {
        let mut turns = Turns::default();
        turns.came(7);
        assert_eq!(received(&mut turns, 0, &[(1, true)]), Ok(0), "it was not busy");
        assert!(received(&mut turns, 50, &[(2, true)]).is_err());
        assert_eq!(received(&mut turns, 50, &[(2, true), (7, false)]), Ok(1));
        assert_eq!(received(&mut turns, 50, &[(3, true)]), Ok(0));
    }

    #[test]
    fn a_key_is_busy_while_that_is_certain() {
        let mut turns = Turns::default();
        received(&mut turns, 0, &[(1, true)]).expect("the first");
        turns.came(7);
        assert_eq!(received(&mut turns, 100, &[(1, true)]), Ok(0), "its lease may have ended");
        turns.touch(1);
        assert_eq!(received(&mut turns, 110, &[(2, true)]), Ok(0), "it may have been settled");
        assert!(received(&mut turns, 110, &[(3, true)]).is_err());
    }

    #[test]
    fn a_newcomer_may_have_been_leased_by_whoever_did_not_hear_so() {
        let mut turns = Turns::default();
        received(&mut turns, 0, &[(1, true)]).expect("the first");
        turns.came(7);
        turns.lost();
        assert_eq!(received(&mut turns, 50, &[(2, true)]), Ok(0));
        turns.came(8);
        turns.crashed();
        assert_eq!(received(&mut turns, 50, &[(3, true)]), Ok(0));
    }
}
