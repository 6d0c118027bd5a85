//! What must hold of records that were routed to several topics: all records of a call are in all of their topics, or in none.
//!
//! Topics are known by their index. What was acknowledged is there for ever; if it need not have been synced, power loss may take
//! it, and then all that its client sent later, too. What was refused, or was not there after a restart, never comes back. A
//! position holds one record in an epoch: where an unsynced tail was lost, readers must be able to tell.
//! Adding a rule: what is known in [`Routes`], a check, and a test below that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use duolog_record::Offset;

use super::{Broken, Number, Verdict};
use crate::sim::Seen;

/// One publish: the index into those that were asked for.
pub type Call = usize;

/// A record, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its leader epoch.
    pub epoch: i32,
    /// Where it stands.
    pub offset: Offset,
    /// Which.
    pub number: Number,
}

/// When topics were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While the process that answers runs.
    Running,
    /// After a restart, before anything new was asked.
    Restarted {
        /// What was not synced may be gone.
        tail_lost: bool,
    },
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is not answered.
    Open,
    /// It is there, and power loss may take it.
    Unsynced,
    /// It is there for ever.
    Kept,
    /// It was refused, or was not there after a restart.
    Nowhere,
}

/// A publish that was asked for.
#[derive(Debug)]
struct Asked {
    client: u64,
    relaxed: bool,
    fate: Fate,
    /// Its records and their topics.
    places: Vec<(usize, Number)>,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Routes {
    calls: Vec<Asked>,
    /// By number, the call; and by topic and number, that it goes there.
    of: BTreeMap<Number, Call>,
    routed: BTreeSet<(usize, Number)>,
    /// What was read at a position of a topic in an epoch.
    facts: BTreeMap<(usize, i32, Offset), Number>,
    /// Records that somebody has asked to trim from a topic.
    trimmed: BTreeSet<(usize, Number)>,
}

impl Routes {
    /// A client publishes records, each to topics; `relaxed` if none of them needs to be synced.
    pub fn asks(&mut self, client: u64, relaxed: bool, records: &[(Number, Vec<usize>)]) -> Call {
        let call = self.calls.len();
        let places = records.iter().flat_map(|(number, topics)| topics.iter().map(|it| (*it, *number)));
        let places: Vec<_> = places.collect();
        self.of.extend(records.iter().map(|(number, _)| (*number, call)));
        self.routed.extend(places.iter().copied());
        self.calls.push(Asked { client, relaxed, fate: Fate::Open, places });
        call
    }

    /// It was acknowledged.
    pub fn acknowledged(&mut self, call: Call) {
        let Asked { relaxed, fate, .. } = &mut self.calls[call];
        *fate = if *relaxed { Fate::Unsynced } else { Fate::Kept };
    }

    /// It was refused.
    pub fn refused(&mut self, call: Call) {
        self.calls[call].fate = Fate::Nowhere;
    }

    /// Somebody asks to trim a topic, in which these are to go.
    pub fn asks_trim(&mut self, topic: usize, numbers: impl Iterator<Item = Number>) {
        self.trimmed.extend(numbers.map(|number| (topic, number)));
    }

    /// A commit that was begun after everything told so far is synced.
    pub fn barrier(&mut self) {
        for call in self.calls.iter_mut().filter(|call| call.fate == Fate::Unsynced) {
            call.fate = Fate::Kept;
        }
    }

    /// All topics were read at one moment, each from its start to its end.
    ///
    /// # Errors
    /// A promise is broken.
    pub fn read(&mut self, topics: &[Vec<Standing>], when: When, seen: &mut Seen) -> Verdict {
        let mut there = BTreeSet::new();
        for (topic, line) in topics.iter().enumerate() {
            self.check_line(topic, line)?;
            there.extend(line.iter().map(|it| (topic, it.number)));
        }
        // Clients of which something acknowledged was lost.
        let mut bereft = BTreeMap::new();
        for call in 0..self.calls.len() {
            if let Some(is_there) = self.is_there(call, &there)? {
                self.check_call(call, is_there, when, &mut bereft, seen)?;
            }
        }
        Ok(())
    }

    /// One topic by itself.
    fn check_line(&mut self, topic: usize, line: &[Standing]) -> Verdict {
        let mut last: BTreeMap<u64, Number> = BTreeMap::new();
        let mut epoch_before = i32::MIN;
        for &Standing { epoch, offset, number } in line {
            if !self.routed.contains(&(topic, number)) {
                return Err(Broken(format!("record {number} is in topic {topic}, where nobody sent it")));
            }
            if epoch < epoch_before {
                return Err(Broken(format!("epoch {epoch} comes after {epoch_before} in topic {topic}")));
            }
            epoch_before = epoch;
            let first = *self.facts.entry((topic, epoch, offset)).or_insert(number);
            if first != number {
                return Err(Broken(format!(
                    "record {number} is at {offset} of topic {topic}, where record {first} was in the same epoch"
                )));
            }
            let client = self.calls[self.of[&number]].client;
            if let Some(before) = last.insert(client, number).filter(|before| *before >= number) {
                return Err(Broken(format!("record {number} comes after {before} in topic {topic}")));
            }
        }
        Ok(())
    }

    /// Whether the records of a call are in all of their topics, or in none; `None` if all were trimmed.
    fn is_there(&self, call: Call, there: &BTreeSet<(usize, Number)>) -> Result<Option<bool>, Broken> {
        let (mut has, mut lacks) = (None, None);
        for place in &self.calls[call].places {
            if there.contains(place) {
                has = Some(*place);
            } else if !self.trimmed.contains(place) {
                lacks = Some(*place);
            }
        }
        match (has, lacks) {
            (Some((topic, number)), Some((other, missing))) => Err(Broken(format!(
                "record {number} is in topic {topic}, and record {missing} of the same publish is not in topic {other}"
            ))),
            (None, None) => Ok(None),
            (has, _) => Ok(Some(has.is_some())),
        }
    }

    /// What became of a call, by what was known of it.
    fn check_call(
        &mut self,
        index: Call,
        is_there: bool,
        when: When,
        bereft: &mut BTreeMap<u64, Number>,
        seen: &mut Seen,
    ) -> Verdict {
        let call = &mut self.calls[index];
        let number = call.places.first().map_or(0, |(_, number)| *number);
        match (call.fate, is_there, when) {
            (Fate::Nowhere, true, _) => {
                return Err(Broken(format!("record {number} was refused, or gone, and is there")));
            }
            (Fate::Kept, false, _) => {
                return Err(Broken(format!("record {number} was routed and acknowledged and is lost")));
            }
            (Fate::Unsynced, false, When::Running | When::Restarted { tail_lost: false }) => {
                return Err(Broken(format!("record {number} was written and acknowledged and is lost")));
            }
            (Fate::Unsynced, false, When::Restarted { tail_lost: true }) => {
                seen.relaxed_lost += 1;
                bereft.entry(call.client).or_insert(number);
            }
            (Fate::Open, there, When::Restarted { .. }) => {
                let count = if there { &mut seen.routed_over } else { &mut seen.routed_nowhere };
                *count += 1;
            }
            _ => {}
        }
        if let (true, Some(lost)) = (is_there, bereft.get(&call.client)) {
            return Err(Broken(format!(
                "record {number} is there, and {lost} that was sent before it is lost"
            )));
        }
        if when != When::Running {
            call.fate = if is_there { Fate::Kept } else { Fate::Nowhere };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: When = When::Restarted { tail_lost: true };

    /// Two topics: the records of the first, with their epochs, and of the second.
    fn lines(first: &[(i32, Number)], second: &[Number]) -> [Vec<Standing>; 2] {
        let standing = |(offset, (epoch, number))| Standing { epoch, offset: Offset(offset), number };
        let second = second.iter().map(|number| (0, *number));
        [(0..).zip(first.iter().copied()).map(standing).collect(), (0..).zip(second).map(standing).collect()]
    }

    struct Judge(Routes);

    impl Judge {
        fn new() -> Self {
            Self(Routes::default())
        }

        /// One record for both topics.
        fn ask(&mut self, number: Number, relaxed: bool) -> Call {
            self.0.asks(1, relaxed, &[(number, vec![0, 1])])
        }

        fn read(&mut self, first: &[(i32, Number)], second: &[Number], when: When) -> Verdict {
            self.0.read(&lines(first, second), when, &mut Seen::default())
        }
    }

    #[test]
    fn a_record_is_in_all_of_its_topics_or_in_none() {
        let mut judge = Judge::new();
        judge.ask(1, false);
        assert!(judge.read(&[], &[], When::Running).is_ok());
        assert!(judge.read(&[(0, 1)], &[], When::Running).is_err());
        assert!(judge.read(&[], &[1], When::Running).is_err());
        assert!(judge.read(&[(0, 1)], &[1], When::Running).is_ok());
    }

    #[test]
    fn all_records_of_one_publish_share_a_fate() {
        let mut judge = Judge::new();
        judge.0.asks(1, false, &[(1, vec![0]), (2, vec![1])]);
        assert!(judge.read(&[(0, 1)], &[], When::Running).is_err());
        assert!(judge.read(&[(0, 1)], &[2], When::Running).is_ok());
        assert!(judge.read(&[(0, 1), (0, 2)], &[2], When::Running).is_err(), "it was sent to one");
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let mut judge = Judge::new();
        let call = judge.ask(1, false);
        judge.0.acknowledged(call);
        assert!(judge.read(&[], &[], When::Running).is_err());
        assert!(judge.read(&[], &[], LOST).is_err());
    }

    #[test]
    fn power_loss_alone_takes_what_was_not_synced() {
        let mut judge = Judge::new();
        let call = judge.ask(1, true);
        judge.0.acknowledged(call);
        assert!(judge.read(&[], &[], When::Running).is_err());
        assert!(judge.read(&[], &[], When::Restarted { tail_lost: false }).is_err());
        assert!(judge.read(&[], &[], LOST).is_ok());
        assert!(judge.read(&[(1, 1)], &[1], When::Running).is_err(), "it is gone");
        let call = judge.ask(2, true);
        judge.0.acknowledged(call);
        judge.0.barrier();
        assert!(judge.read(&[], &[], LOST).is_err());
    }

    #[test]
    fn what_a_restart_has_shown_stays() {
        let mut judge = Judge::new();
        judge.ask(1, true);
        assert!(judge.read(&[(0, 1)], &[1], LOST).is_ok());
        assert!(judge.read(&[], &[], LOST).is_err());
    }

    #[test]
    fn what_was_refused_is_nowhere() {
        let mut judge = Judge::new();
        let call = judge.ask(1, false);
        judge.0.refused(call);
        assert!(judge.read(&[], &[], LOST).is_ok());
        assert!(judge.read(&[(0, 1)], &[1], When::Running).is_err());
    }

    #[test]
    fn what_is_lost_is_the_tail() {
        let mut judge = Judge::new();
        let call = judge.ask(1, true);
        judge.0.acknowledged(call);
        judge.ask(2, true);
        assert!(judge.read(&[(0, 2)], &[2], LOST).is_err());
        let mut judge = Judge::new();
        judge.ask(1, true);
        judge.ask(2, true);
        assert!(judge.read(&[(0, 2)], &[2], LOST).is_ok(), "the first may have been refused");
    }

    #[test]
    fn the_records_of_a_client_keep_their_order() {
        let mut judge = Judge::new();
        judge.ask(1, false);
        judge.ask(2, false);
        assert!(judge.read(&[(0, 2), (0, 1)], &[1, 2], When::Running).is_err());
        assert!(judge.read(&[(1, 1), (1, 2), (1, 2)], &[1, 2], When::Running).is_err(), "twice");
    }

    #[test]
    fn a_position_is_given_once_in_an_epoch() {
        let mut judge = Judge::new();
        judge.0.asks(1, true, &[(1, vec![0])]);
        assert!(judge.read(&[(3, 1)], &[], When::Running).is_ok());
        assert!(judge.read(&[], &[], LOST).is_ok());
        judge.0.asks(1, true, &[(2, vec![0])]);
        assert!(judge.read(&[(3, 2)], &[], When::Running).is_err());
        assert!(judge.read(&[(4, 2)], &[], When::Running).is_ok());
    }

    #[test]
    fn what_is_trimmed_from_a_topic_may_be_in_the_others() {
        let mut judge = Judge::new();
        judge.ask(1, false);
        judge.0.asks_trim(0, [1].into_iter());
        assert!(judge.read(&[], &[1], When::Running).is_ok());
        assert!(judge.read(&[(0, 1)], &[1], When::Running).is_ok());
        assert!(judge.read(&[(0, 1)], &[], When::Running).is_err());
        assert!(judge.read(&[], &[], When::Running).is_ok(), "it may not be stored yet");
    }
}
