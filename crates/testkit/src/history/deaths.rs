//! What must hold of a queue that gives its records up through an exchange: each is in the queue, or in all that the exchange
//! leads to, or was acknowledged; never in two of these, never in none, and in each place once.
//!
//! What was seen among the dead stays there, and is not delivered by the queue any more. Receives and settlements are judged by
//! what was known when they were asked: the broker decided at some time between that and the answer.
//! Adding a rule: what is known in [`Deaths`], a check, and a test below that breaks it.

use std::collections::BTreeMap;

use super::{Broken, Moment, Number, Verdict};

/// A record, by what clients know.
#[derive(Debug, Default)]
struct Life {
    /// Its publish was answered.
    published: bool,
    /// It was not stored.
    refused: bool,
    /// The queue was full, and it may have gone to where the dead go at once.
    turned_away: bool,
    /// Its acknowledgement was asked for, and answered.
    ack_asked: bool,
    acked: bool,
    /// It was answered that it has been given up.
    given_up: bool,
    /// When it was seen among the dead.
    dead_at: Option<Moment>,
}

/// All that is known.
#[derive(Debug)]
pub struct Deaths {
    attempts_max: u32,
    lives: BTreeMap<Number, Life>,
    moment: Moment,
}

impl Deaths {
    /// Nothing is known of a queue that leases each record so many times at most.
    #[must_use]
    pub fn new(attempts_max: u32) -> Self {
        Self { attempts_max, lives: BTreeMap::new(), moment: 0 }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.moment
    }

    /// A client publishes a record.
    pub fn asks(&mut self, number: Number) {
        self.lives.insert(number, Life::default());
    }

    /// It was stored.
    pub fn published(&mut self, number: Number) {
        self.lives.entry(number).or_default().published = true;
    }

    /// It was not.
    pub fn refused(&mut self, number: Number) {
        self.lives.entry(number).or_default().refused = true;
    }

    /// The queue was full.
    pub fn turned_away(&mut self, number: Number) {
        self.lives.entry(number).or_default().turned_away = true;
    }

    /// The record came by a receive that was asked for then.
    ///
    /// # Errors
    /// It was acknowledged or dead by then, or comes too often.
    pub fn leased(&mut self, number: Number, attempts: u32, asked: Moment) -> Verdict {
        self.moment += 1;
        let Some(life) = self.lives.get(&number).filter(|life| !life.refused && !life.turned_away) else {
            return Err(Broken(format!("record {number} is delivered, and was not published or refused")));
        };
        if life.acked {
            return Err(Broken(format!("record {number} was acknowledged and is delivered again")));
        }
        if life.given_up || life.dead_at.is_some_and(|at| at <= asked) {
            return Err(Broken(format!("record {number} is among the dead, and is delivered too")));
        }
        if attempts > self.attempts_max {
            let most = self.attempts_max;
            return Err(Broken(format!("record {number} is delivered as attempt {attempts} of {most}")));
        }
        Ok(())
    }

    /// A client asks to acknowledge it.
    pub fn asks_ack(&mut self, number: Number) {
        self.lives.entry(number).or_default().ack_asked = true;
    }

    /// The acknowledgement that was asked for then was answered.
    ///
    /// # Errors
    /// It was dead by then.
    pub fn acked(&mut self, number: Number, asked: Moment) -> Verdict {
        self.moment += 1;
        let life = self.lives.entry(number).or_default();
        if life.given_up || life.dead_at.is_some_and(|at| at <= asked) {
            return Err(Broken(format!(
                "record {number} is among the dead, and was acknowledged after that"
            )));
        }
        life.acked = true;
        Ok(())
    }

    /// It was answered that the record was given up.
    pub fn given_up(&mut self, number: Number) {
        self.moment += 1;
        self.lives.entry(number).or_default().given_up = true;
    }

    /// All places of the dead were read at one moment. Gives how many are new there.
    ///
    /// # Errors
    /// A promise is broken.
    pub fn read(&mut self, places: &[Vec<Number>]) -> Result<u64, Broken> {
        self.moment += 1;
        let mut found: BTreeMap<Number, usize> = BTreeMap::new();
        for place in places {
            let mut here = place.clone();
            here.sort_unstable();
            if let Some(twice) = here.windows(2).find(|two| two[0] == two[1]) {
                return Err(Broken(format!("record {} is among the dead twice", twice[0])));
            }
            here.into_iter().for_each(|number| *found.entry(number).or_default() += 1);
        }
        let mut new = 0;
        for (number, count) in &found {
            if *count < places.len() {
                return Err(Broken(format!("record {number} is dead in {count} of {} places", places.len())));
            }
            new += u64::from(self.is_dead(*number)?);
        }
        let is_lost = |(number, life): &(&Number, &Life)| {
            (life.given_up || life.dead_at.is_some()) && !found.contains_key(number)
        };
        match self.lives.iter().find(is_lost) {
            Some((number, _)) => {
                Err(Broken(format!("record {number} was given up and is not among the dead")))
            }
            None => Ok(new),
        }
    }

    /// One is among the dead. Gives true if that is new.
    fn is_dead(&mut self, number: Number) -> Result<bool, Broken> {
        let moment = self.moment;
        let Some(life) = self.lives.get_mut(&number).filter(|life| !life.refused) else {
            return Err(Broken(format!("record {number} is dead, and was not published or refused")));
        };
        if life.acked {
            return Err(Broken(format!("record {number} was acknowledged and is among the dead")));
        }
        let is_new = life.dead_at.is_none();
        life.dead_at.get_or_insert(moment);
        Ok(is_new)
    }

    /// The queue gives nothing more, and nothing is on its way: whatever was published is somewhere.
    ///
    /// # Errors
    /// A record is nowhere.
    pub fn over(&self) -> Verdict {
        let is_lost =
            |life: &Life| life.published && !life.ack_asked && !life.acked && life.dead_at.is_none();
        match self.lives.iter().find(|(_, life)| is_lost(life)) {
            Some((number, _)) => Err(Broken(format!(
                "record {number} was published, and is neither in its queue nor among the dead"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record, published.
    fn deaths() -> Deaths {
        let mut deaths = Deaths::new(2);
        deaths.asks(1);
        deaths.published(1);
        deaths
    }

    #[test]
    fn a_dead_record_is_in_all_places_once() {
        assert_eq!(deaths().read(&[vec![1], vec![1]]), Ok(1));
        assert!(deaths().read(&[vec![1], vec![]]).is_err());
        assert!(deaths().read(&[vec![1, 1], vec![1]]).is_err());
        assert!(deaths().read(&[vec![2], vec![2]]).is_err(), "nobody published it");
    }

    #[test]
    fn the_dead_stay() {
        let mut deaths = deaths();
        assert_eq!(deaths.read(&[vec![1]]), Ok(1));
        assert_eq!(deaths.read(&[vec![1]]), Ok(0));
        assert!(deaths.read(&[vec![]]).is_err());
    }

    #[test]
    fn the_dead_are_not_delivered() {
        let mut deaths = deaths();
        let before = deaths.now();
        deaths.read(&[vec![1]]).expect("it died");
        assert!(deaths.leased(1, 1, before).is_ok(), "it may have been leased first");
        assert!(deaths.leased(1, 1, deaths.now()).is_err());
        assert!(deaths.acked(1, deaths.now()).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_over() {
        let mut deaths = deaths();
        deaths.asks_ack(1);
        deaths.acked(1, deaths.now()).expect("it lives");
        assert!(deaths.leased(1, 2, deaths.now()).is_err());
        assert!(deaths.read(&[vec![1], vec![1]]).is_err());
        assert!(deaths.over().is_ok());
    }

    #[test]
    fn what_was_given_up_is_among_the_dead() {
        let mut deaths = deaths();
        deaths.given_up(1);
        assert!(deaths.read(&[vec![], vec![]]).is_err());
        assert!(deaths.leased(1, 1, 0).is_err());
    }

    #[test]
    fn nothing_is_tried_too_often() {
        let mut deaths = deaths();
        assert!(deaths.leased(1, 2, 0).is_ok());
        assert!(deaths.leased(1, 3, 0).is_err());
    }

    #[test]
    fn what_was_refused_is_nowhere() {
        let mut deaths = deaths();
        deaths.asks(2);
        deaths.refused(2);
        assert!(deaths.leased(2, 1, 0).is_err());
        assert!(deaths.read(&[vec![2]]).is_err());
    }

    #[test]
    fn what_found_the_queue_full_may_be_among_the_dead_alone() {
        let mut deaths = Deaths::new(2);
        deaths.asks(1);
        deaths.turned_away(1);
        assert!(deaths.leased(1, 1, 0).is_err());
        assert!(deaths.over().is_ok());
        assert_eq!(deaths.read(&[vec![1]]), Ok(1));
        assert!(deaths.read(&[vec![]]).is_err());
    }

    #[test]
    fn nothing_is_nowhere() {
        let mut deaths = deaths();
        assert!(deaths.over().is_err());
        deaths.read(&[vec![1]]).expect("it died");
        assert!(deaths.over().is_ok());
    }
}
