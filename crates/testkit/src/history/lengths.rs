//! What must hold of a queue with a limit of length: it never holds more that is available, and either gives up its oldest, or refuses
//! what comes when it is full, and then only.
//!
//! A publish is decided between its ask and its answer. What is certainly there then is what was stored before the ask and has not
//! been leased at the answer; what may be there is all that was sent before the ask and is not known to be gone.
//! Adding a rule: what is known in [`Lengths`], a check, and a test below that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Moment, Number, Verdict};

/// A record, by what clients know.
#[derive(Debug, Default)]
struct Known {
    /// When it was answered that it is stored.
    stored_at: Option<Moment>,
    refused: bool,
    /// Somebody has, or had, it; or may have.
    leased: bool,
    ack_asked: bool,
    acked: bool,
}

impl Known {
    /// It is there, and nobody ever had it.
    fn is_fresh(&self) -> bool {
        self.stored_at.is_some() && !self.leased && !self.ack_asked
    }

    /// It may be there.
    fn may_be(&self) -> bool {
        !self.refused && !self.acked
    }
}

/// A publish that is not answered yet.
#[derive(Debug)]
pub struct Sent {
    numbers: Vec<Number>,
    asked: Moment,
    /// Records that may have been there.
    most: u64,
}

/// What is known of one queue.
#[derive(Debug)]
pub struct Lengths {
    length_max: u64,
    /// The oldest leave; else the newest are refused.
    drops: bool,
    records: BTreeMap<Number, Known>,
    moment: Moment,
}

impl Lengths {
    /// Of a queue that holds so many.
    #[must_use]
    pub fn new(length_max: u64, drops: bool) -> Self {
        Self { length_max, drops, records: BTreeMap::new(), moment: 0 }
    }

    /// A client publishes records.
    pub fn asks(&mut self, numbers: Vec<Number>) -> Sent {
        self.moment += 1;
        let most = self.records.values().filter(|known| known.may_be()).count() as u64;
        self.records.extend(numbers.iter().map(|number| (*number, Known::default())));
        Sent { numbers, asked: self.moment, most }
    }

    /// They were stored.
    ///
    /// # Errors
    /// There was no room for them.
    pub fn stored(&mut self, sent: &Sent) -> Verdict {
        self.moment += 1;
        let was_there =
            |known: &&Known| known.is_fresh() && known.stored_at.is_some_and(|at| at < sent.asked);
        let least = self.records.values().filter(was_there).count() as u64;
        let count = sent.numbers.len() as u64;
        if !self.drops && least + count > self.length_max {
            return Err(Broken(format!(
                "{count} records, of which {} is the first, were stored in a queue with {least} of {}",
                sent.numbers[0], self.length_max
            )));
        }
        for number in &sent.numbers {
            self.records.entry(*number).or_default().stored_at = Some(self.moment);
        }
        Ok(())
    }

    /// They were not, as the queue is full.
    ///
    /// # Errors
    /// It had room for them.
    pub fn turned_away(&mut self, sent: &Sent) -> Verdict {
        let count = sent.numbers.len() as u64;
        if self.drops || sent.most + count <= self.length_max {
            return Err(Broken(format!(
                "{count} records, of which {} is the first, were refused by a queue with at most {} of {}",
                sent.numbers[0], sent.most, self.length_max
            )));
        }
        self.refused(sent);
        Ok(())
    }

    /// They were not, for another reason.
    pub fn refused(&mut self, sent: &Sent) {
        for number in &sent.numbers {
            self.records.entry(*number).or_default().refused = true;
        }
    }

    /// A receive brought these, and nothing else was asked meanwhile.
    ///
    /// # Errors
    /// One of them is over, or should have left the queue.
    pub fn leased(&mut self, numbers: &[Number]) -> Verdict {
        self.moment += 1;
        for number in numbers {
            let Some(known) = self.records.get(number).filter(|known| !known.refused) else {
                return Err(Broken(format!(
                    "record {number} is delivered, and was not published or refused"
                )));
            };
            if known.acked {
                return Err(Broken(format!("record {number} was acknowledged and is delivered again")));
            }
            let newer = self.records.range(number + 1..).filter(|(_, known)| known.is_fresh()).count() as u64;
            if self.drops && !known.leased && newer >= self.length_max {
                return Err(Broken(format!(
                    "record {number} is delivered, and {newer} came after it: {} is the most",
                    self.length_max
                )));
            }
        }
        for number in numbers {
            self.records.entry(*number).or_default().leased = true;
        }
        Ok(())
    }

    /// Nobody heard what a receive brought.
    pub fn lost_receive(&mut self) {
        self.records.values_mut().for_each(|known| known.leased = true);
    }

    /// A client asks to acknowledge a record.
    pub fn asks_ack(&mut self, number: Number) {
        self.records.entry(number).or_default().ack_asked = true;
    }

    /// It was answered.
    pub fn acked(&mut self, number: Number) {
        self.records.entry(number).or_default().acked = true;
    }

    /// So many are available.
    ///
    /// # Errors
    /// That are too many: more than the limit and what was given back.
    pub fn available(&self, available: u64) -> Verdict {
        let held = |known: &&Known| known.leased && !known.acked;
        let back = if self.drops { 0 } else { self.records.values().filter(held).count() as u64 };
        if available <= self.length_max + back {
            return Ok(());
        }
        Err(Broken(format!("{available} records are available: {} is the most", self.length_max)))
    }

    /// The end: these are all that the queue still had, none of which is leased. Gives how many had to go.
    ///
    /// # Errors
    /// A record is lost that did not have to go, or went before an older one.
    pub fn over(&self, left: &BTreeSet<Number>) -> Result<u64, Broken> {
        if let Some(number) = left.iter().find(|number| !self.may_be_left(**number)) {
            return Err(Broken(format!(
                "record {number} is delivered at the end, and was refused or acknowledged"
            )));
        }
        let is_gone = |(number, known): &(&Number, &Known)| {
            known.stored_at.is_some() && !known.ack_asked && !left.contains(number)
        };
        let Some((newest, _)) = self.records.iter().rev().find(is_gone) else { return Ok(0) };
        let is_fresh = |number: &&Number| self.records.get(number).is_some_and(Known::is_fresh);
        if !self.drops {
            return Err(Broken(format!("record {newest} was stored and is lost")));
        }
        if let Some(older) = left.iter().find(is_fresh).filter(|older| *older < newest) {
            return Err(Broken(format!("record {newest} has left the queue, and {older} before it has not")));
        }
        let is_untouched = !self.records.values().any(|known| known.leased);
        if is_untouched && (left.len() as u64) < self.length_max {
            return Err(Broken(format!(
                "record {newest} has left the queue, and {} of {} are there",
                left.len(),
                self.length_max
            )));
        }
        Ok(self.records.iter().filter(is_gone).count() as u64)
    }

    fn may_be_left(&self, number: Number) -> bool {
        self.records.get(&number).is_some_and(Known::may_be)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of at most two, which holds so many.
    fn holding(drops: bool, numbers: std::ops::RangeInclusive<Number>) -> Lengths {
        let mut lengths = Lengths::new(2, drops);
        for number in numbers {
            let sent = lengths.asks(vec![number]);
            lengths.stored(&sent).expect("there is room");
        }
        lengths
    }

    fn set(numbers: &[Number]) -> BTreeSet<Number> {
        numbers.iter().copied().collect()
    }

    #[test]
    fn what_comes_to_a_full_queue_is_refused() {
        let mut lengths = holding(false, 1..=2);
        let sent = lengths.asks(vec![3]);
        assert!(lengths.stored(&sent).is_err());
        assert!(lengths.turned_away(&sent).is_ok());
        assert!(lengths.leased(&[3]).is_err());
        assert!(lengths.over(&set(&[1, 2, 3])).is_err());
        let mut lengths = holding(false, 1..=1);
        let sent = lengths.asks(vec![2, 3]);
        assert!(lengths.stored(&sent).is_err(), "all of one publish");
    }

    #[test]
    fn what_is_leased_makes_room() {
        let mut lengths = holding(false, 1..=2);
        let sent = lengths.asks(vec![3]);
        lengths.leased(&[1]).expect("it is there");
        assert!(lengths.stored(&sent).is_ok());
        let sent = lengths.asks(vec![4]);
        assert!(lengths.turned_away(&sent).is_ok(), "it may be back");
    }

    #[test]
    fn nothing_is_refused_while_there_is_room() {
        let mut lengths = holding(false, 1..=2);
        lengths.acked(1);
        let sent = lengths.asks(vec![3]);
        assert!(lengths.turned_away(&sent).is_err());
        let sent = lengths.asks(vec![4]);
        assert!(lengths.turned_away(&sent).is_ok(), "the one before it may be stored");
    }

    #[test]
    fn the_oldest_leave() {
        let mut lengths = holding(true, 1..=3);
        assert!(lengths.leased(&[1]).is_err());
        assert!(lengths.leased(&[2]).is_ok());
        assert_eq!(holding(true, 1..=3).over(&set(&[2, 3])), Ok(1));
        assert!(holding(true, 1..=3).over(&set(&[1, 3])).is_err());
        assert!(holding(true, 1..=3).over(&set(&[3])).is_err(), "there was room for one more");
    }

    #[test]
    fn what_was_leased_when_others_had_to_go_may_be_older() {
        let mut lengths = holding(true, 1..=2);
        lengths.leased(&[1]).expect("it is there");
        for number in 3..=4 {
            let sent = lengths.asks(vec![number]);
            lengths.stored(&sent).expect("the oldest goes");
        }
        assert!(lengths.over(&set(&[1, 4])).is_ok());
        assert!(lengths.over(&set(&[3])).is_err(), "the newest does not go");
    }

    #[test]
    fn no_more_is_available_than_the_limit() {
        let mut lengths = holding(false, 1..=2);
        assert!(lengths.available(2).is_ok());
        assert!(lengths.available(3).is_err());
        lengths.leased(&[1]).expect("it is there");
        assert!(lengths.available(3).is_ok(), "it may be back");
        lengths.acked(1);
        assert!(lengths.available(3).is_err());
        assert!(holding(true, 1..=2).available(3).is_err());
    }

    #[test]
    fn a_queue_that_refuses_loses_nothing() {
        let mut lengths = holding(false, 1..=2);
        assert!(lengths.over(&set(&[2])).is_err());
        lengths.asks_ack(1);
        assert!(lengths.over(&set(&[2])).is_ok());
    }

    #[test]
    fn a_receive_that_nobody_heard_leaves_everything_open() {
        let mut lengths = holding(false, 1..=2);
        lengths.lost_receive();
        let sent = lengths.asks(vec![3]);
        assert!(lengths.stored(&sent).is_ok());
    }
}
