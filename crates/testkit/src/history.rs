//! The judge: what clients were told, and whether it can all be true.
//!
//! It knows nothing of the broker's insides. Each record carries a number of its own; the simulator tells the history what
//! clients asked for and what they were answered, and the history finds contradictions at once or at the end.
//! Adding a rule: an event, a field, and a test in `tests.rs` that breaks it.

mod attempts;
mod deaths;
mod lengths;
mod order;
mod routes;
mod terms;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use duolog_broker::{Now, Order, Outcome, QueueId, QueuePolicy};
use duolog_record::{Offset, PartitionId};

use crate::sim::Seen;
pub use attempts::{Attempt, Attempts, Name};
pub use deaths::Deaths;
pub use lengths::{Lengths, Sent};
pub use order::{Lines, Moment, Receive, Received};
pub use routes::{Call, Routes, Standing, When};
pub use terms::{Exchange, Handed, Steps, Terms, Touched};
pub use turns::Turns;

/// What a client put into a record, unique in a run.
pub type Number = u64;

/// A move of a cursor that was asked for.
#[derive(Clone, Copy, Debug)]
struct CursorAsked {
    id: u64,
    to: Option<Offset>,
}

/// A contradiction. The text says which promise was broken, by which record, where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

type Verdict = Result<(), Broken>;
/// Where a record stands.
pub type Place = (PartitionId, Offset);

/// A record's life in one queue.
#[derive(Clone, Debug, Default)]
struct Work {
    /// A settlement was answered: it must not be delivered again.
    settled: bool,
    /// A settlement was asked for and not answered: either is right.
    maybe_settled: bool,
    /// The highest attempt that a client was given.
    attempt: u32,
    /// The highest attempt that a later acknowledged commit must have carried to disk.
    durable_attempt: u32,
    /// It was seen in a dead-letter queue.
    dead: bool,
    /// In which life it was leased last.
    life: u64,
}

/// What was told about one stream position.
#[derive(Clone, Copy, Debug)]
struct Fact {
    number: Number,
    /// Acknowledged or read: it must be there for ever, until it is trimmed.
    promised: bool,
}

/// Everything that clients were told in one run.
#[derive(Debug, Default)]
pub struct History {
    facts: BTreeMap<Place, Fact>,
    /// Where a number was seen; a second place is a duplicate.
    places: BTreeMap<Number, Place>,
    asked: BTreeSet<Number>,
    /// Start that was acknowledged, and the highest that was asked for.
    starts: BTreeMap<PartitionId, (Offset, Offset)>,
    work: BTreeMap<(QueueId, Number), Work>,
    /// What a cursor may be: what was last acknowledged, `None` for nothing yet, and what was asked for since.
    cursors: BTreeMap<(String, PartitionId), Vec<CursorAsked>>,
    /// Moves of cursors so far. A move is known by its number: two may go to the same offset.
    cursor_moves: u64,
    /// Where a record of a queue was dead-lettered to.
    graves: BTreeMap<(QueueId, Number), Place>,
    /// Records that were seen where a move brings them.
    moved: BTreeSet<(QueueId, Number)>,
    /// Queues for which a replay or purge was asked, and the last number that was sent by then.
    replayed: BTreeMap<QueueId, Number>,
    /// How often a queue was loosened.
    loosened: BTreeMap<QueueId, u64>,
    /// How many of them are not answered yet.
    replaying: BTreeMap<QueueId, u32>,
    /// Queues by key.
    lines: BTreeMap<QueueId, Lines>,
    /// Queues whose policy says when records come and go.
    terms: BTreeMap<QueueId, Terms>,
    /// Those of them in which keys take turns.
    turns: BTreeMap<QueueId, Turns>,
    steps: Steps,
    /// Their leases, and what receives under a name have brought.
    pub attempts: Attempts,
    acknowledged: u64,
    trace: Option<Number>,
    /// How many processes have ended.
    life: u64,
    /// What came of the faults so far.
    pub seen: Seen,
}

impl History {
    /// Tells standard error of everything that concerns this record from now on.
    pub fn trace(&mut self, number: Option<Number>) {
        self.trace = number;
    }

    /// Says so if this record is traced; `None` concerns all.
    pub fn note(&self, number: Option<Number>, what: &dyn std::fmt::Display) {
        if self.trace.is_some() && (number.is_none() || number == self.trace) {
            eprintln!("{what}");
        }
    }

    /// The queue delivers by key.
    pub fn by_key(&mut self, queue: QueueId) {
        self.lines.entry(queue).or_default();
    }

    /// What is known of its order, if it does.
    pub fn lines(&mut self, queue: QueueId) -> Option<&mut Lines> {
        self.lines.get_mut(&queue)
    }

    /// The queue has a policy that says when its records come and go.
    pub fn by_policy(&mut self, queue: QueueId, policy: &QueuePolicy) {
        self.terms.entry(queue).or_insert_with(|| Terms::new(policy));
        if policy.order == Order::Fair {
            self.turns.entry(queue).or_default();
        }
    }

    /// What is known of that, if it has.
    pub fn terms(&mut self, queue: QueueId) -> Option<&mut Terms> {
        self.terms.get_mut(&queue)
    }

    /// What is known of the turns of its keys, if they take turns.
    pub fn turns(&mut self, queue: QueueId) -> Option<&mut Turns> {
        self.turns.get_mut(&queue)
    }

    /// Something is asked now, and what was heard of it is answered then.
    #[must_use]
    pub fn exchange(&self, asked: Now) -> Exchange {
        Exchange { asked, steps: self.steps, heard: asked }
    }

    /// A record was published to a topic of such queues, with a time to live or without; `of_its_own` if nothing else has its key.
    pub fn published(
        &mut self,
        number: Number,
        place: Place,
        ttl_ms: Option<u64>,
        of_its_own: bool,
        exchange: &Exchange,
    ) {
        for terms in self.terms.values_mut() {
            terms.published(number, place, ttl_ms, exchange);
        }
        for turns in self.turns.values_mut().filter(|_| of_its_own) {
            turns.came(number);
        }
    }

    /// Nobody will hear the answer of a receive.
    pub fn lost_receive(&mut self, queue: QueueId) {
        if let Some(terms) = self.terms.get_mut(&queue) {
            terms.lost();
        }
        if let Some(turns) = self.turns.get_mut(&queue) {
            turns.lost();
        }
    }

    /// How many processes have ended: tells what was told before a restart from what was told after it.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life
    }

    /// A client asks for a record to be appended or published.
    pub fn asks(&mut self, number: Number) {
        self.asked.insert(number);
    }

    /// It was acknowledged at this place.
    ///
    /// # Errors
    /// The place was given to another record before.
    pub fn appended(&mut self, partition: PartitionId, offset: Offset, number: Number) -> Verdict {
        self.acknowledged += 1;
        self.note(Some(number), &format_args!("acknowledged at {partition}/{offset}"));
        self.at(partition, offset, number, "acknowledged")
    }

    /// A client read it at this place.
    ///
    /// # Errors
    /// Another record was there before; or nobody ever sent this one; or it is there twice.
    pub fn read(&mut self, partition: PartitionId, offset: Offset, number: Number) -> Verdict {
        self.at(partition, offset, number, "read")
    }

    fn at(&mut self, partition: PartitionId, offset: Offset, number: Number, how: &str) -> Verdict {
        if !self.asked.contains(&number) {
            return Err(Broken(format!(
                "record {number} was {how} at {partition}/{offset} and nobody sent it"
            )));
        }
        let fact = self.facts.entry((partition, offset)).or_insert(Fact { number, promised: true });
        if fact.number != number {
            let earlier = fact.number;
            return Err(Broken(format!(
                "record {number} was {how} at {partition}/{offset}, where record {earlier} was before"
            )));
        }
        fact.promised = true;
        let first = *self.places.entry(number).or_insert((partition, offset));
        if first == (partition, offset) {
            return Ok(());
        }
        Err(Broken(format!("record {number} is at {partition}/{offset} and at {}/{} too", first.0, first.1)))
    }

    /// The record was not stored, because one that it repeats was: it must not be seen.
    pub fn left_out(&mut self, number: Number) {
        self.note(Some(number), &"left out");
        self.asked.remove(&number);
    }

    /// A client asks to trim.
    pub fn asks_trim(&mut self, partition: PartitionId, start: Offset) {
        let (_, asked) = self.starts.entry(partition).or_default();
        *asked = start.max(*asked);
    }

    /// The trim was acknowledged.
    pub fn trimmed(&mut self, partition: PartitionId, start: Offset) {
        self.seen.trims += 1;
        self.acknowledged += 1;
        let (acked, asked) = self.starts.entry(partition).or_default();
        *acked = start.max(*acked);
        *asked = start.max(*asked);
    }

    /// A partition was read from its start to its end: nothing promised may be missing, nothing trimmed may be back.
    ///
    /// # Errors
    /// A promised record is missing, or the start moved back or too far.
    pub fn read_whole(
        &self,
        partition: PartitionId,
        start: Offset,
        end: Offset,
        seen: &BTreeSet<Offset>,
    ) -> Verdict {
        let (acked, asked) = self.starts.get(&partition).copied().unwrap_or_default();
        if start < acked || start > asked {
            return Err(Broken(format!(
                "partition {partition} starts at {start}: {acked} to {asked} was asked for"
            )));
        }
        self.read_damaged(partition, start, end, seen)
    }

    /// The same after damage at rest, which may hide that records were trimmed: `seen` also holds what was refused.
    ///
    /// # Errors
    /// A promised record is neither there nor refused.
    pub fn read_damaged(
        &self,
        partition: PartitionId,
        start: Offset,
        end: Offset,
        seen: &BTreeSet<Offset>,
    ) -> Verdict {
        let (acked, _) = self.starts.get(&partition).copied().unwrap_or_default();
        let from = (partition, start.max(acked));
        let to = (partition, Offset(u64::MAX));
        for ((_, offset), fact) in self.facts.range(from..=to) {
            if fact.promised && !seen.contains(offset) {
                let number = fact.number;
                return Err(Broken(format!(
                    "record {number} was promised at {partition}/{offset} and is lost"
                )));
            }
        }
        match seen.last() {
            Some(last) if *last >= end => {
                Err(Broken(format!("partition {partition} has {last} beyond its end {end}")))
            }
            _ => Ok(()),
        }
    }

    /// A client was given a lease.
    ///
    /// # Errors
    /// The record was settled or dead-lettered before, or its delivery count went back behind what was durable.
    pub fn leased(&mut self, queue: QueueId, number: Number, attempt: u32) -> Verdict {
        self.note(Some(number), &format_args!("leased by queue {}, attempt {attempt}", queue.0));
        let replaying = self.replaying.get(&queue).is_some_and(|under_way| *under_way > 0);
        let work = self.work.entry((queue, number)).or_default();
        if replaying {
            *work = Work { maybe_settled: true, attempt, life: self.life, ..Work::default() };
            return Ok(());
        }
        if work.settled {
            return Err(Broken(format!(
                "record {number} was settled in queue {} and delivered again",
                queue.0
            )));
        }
        if work.dead {
            return Err(Broken(format!(
                "record {number} is dead-lettered and delivered by queue {} too",
                queue.0
            )));
        }
        if attempt <= work.durable_attempt {
            let before = work.durable_attempt;
            return Err(Broken(format!(
                "record {number} is delivered as attempt {attempt}; attempt {before} was followed by a durable commit"
            )));
        }
        // What was asked and not answered did not happen, or a replay undid it.
        work.maybe_settled = false;
        self.seen.leases_over += u64::from(work.durable_attempt > 0 && work.life < self.life);
        work.attempt = attempt;
        work.life = self.life;
        Ok(())
    }

    /// A client was given a lease again, under the name that it was given first.
    ///
    /// # Errors
    /// The record was settled before.
    pub fn leased_again(&mut self, queue: QueueId, number: Number) -> Verdict {
        self.note(Some(number), &format_args!("the same lease by queue {} again", queue.0));
        if self.work.get(&(queue, number)).is_some_and(|work| work.settled) {
            return Err(Broken(format!(
                "record {number} was settled in queue {} and given to a repeated receive",
                queue.0
            )));
        }
        Ok(())
    }

    /// True if its last delivery was told by a process that has ended.
    #[must_use]
    pub fn was_leased_before_restart(&self, queue: QueueId, number: Number) -> bool {
        self.work.get(&(queue, number)).is_some_and(|work| work.attempt > 0 && work.life < self.life)
    }

    /// The wall clock was set ahead.
    pub fn stepped_on(&mut self, ms: u64) {
        self.note(None, &format_args!("the wall clock is set {ms} ms ahead"));
        self.lines.values_mut().for_each(|lines| lines.stepped_on(ms));
        self.stepped(ms);
    }

    /// The wall clock is set back from what it is now.
    pub fn stepped_back(&mut self, now: Now) {
        self.note(None, &"the wall clock is set back");
        self.terms.values_mut().for_each(|terms| terms.was_at(now));
        self.stepped(0);
    }

    fn stepped(&mut self, ahead_ms: u64) {
        self.steps.count += 1;
        self.steps.ahead_ms += ahead_ms;
        self.terms.values_mut().for_each(|terms| terms.stepped(ahead_ms));
    }

    /// A commit that was begun after everything told so far has been acknowledged: leases told so far are durable.
    pub fn barrier(&mut self) {
        self.note(None, &"barrier");
        for work in self.work.values_mut() {
            work.durable_attempt = work.durable_attempt.max(work.attempt);
        }
        self.lines.values_mut().for_each(Lines::barrier);
        self.terms.values_mut().for_each(Terms::barrier);
    }

    /// The process ended: what it told of leases and did not follow with a durable commit may be forgotten.
    pub fn crashed(&mut self) {
        self.note(None, &"crash");
        self.life += 1;
        self.lines.values_mut().for_each(Lines::crashed);
        self.attempts.crashed();
        self.terms.values_mut().for_each(Terms::crashed);
        self.turns.values_mut().for_each(Turns::crashed);
        for work in self.work.values_mut() {
            work.attempt = work.durable_attempt;
        }
        // A replay that was not answered may have happened.
        for queue in std::mem::take(&mut self.replaying).into_keys() {
            self.loosen(queue);
        }
    }

    /// A client asks to settle.
    pub fn asks_settle(&mut self, queue: QueueId, number: Number) {
        self.work.entry((queue, number)).or_default().maybe_settled = true;
    }

    /// A settlement in a queue with a policy of times was answered.
    ///
    /// # Errors
    /// As `Terms::settled`.
    pub fn settle_answered(
        &mut self,
        queue: QueueId,
        touched: &Touched,
        outcome: Outcome,
        is_ok: bool,
        now: Now,
    ) -> Verdict {
        let Some(terms) = self.terms.get_mut(&queue) else { return Ok(()) };
        self.seen.settled_late += u64::from(terms.settled(touched, outcome, is_ok, now)?);
        Ok(())
    }

    /// The settlement was acknowledged.
    pub fn settled(&mut self, queue: QueueId, number: Number) {
        self.acknowledged += 1;
        self.note(Some(number), &format_args!("settled in queue {}", queue.0));
        self.work.entry((queue, number)).or_default().settled = true;
    }

    /// The record was seen at `place` in the dead-letter queue of `queue`.
    ///
    /// # Errors
    /// It was settled in its queue before, or was moved twice although nothing was replayed.
    pub fn dead_lettered(&mut self, queue: QueueId, number: Number, place: Place) -> Verdict {
        self.note(
            Some(number),
            &format_args!("dead-lettered by queue {} to {}/{}", queue.0, place.0, place.1),
        );
        if let Entry::Vacant(free) = self.graves.entry((queue, number)) {
            free.insert(place);
            self.seen.dead_lettered += 1;
        }
        let first = self.graves[&(queue, number)];
        if first != place && !self.replayed.contains_key(&queue) {
            return Err(Broken(format!(
                "record {number} of queue {} was dead-lettered to {}/{} and to {}/{}",
                queue.0, first.0, first.1, place.0, place.1
            )));
        }
        if self.replayed.contains_key(&queue) {
            self.work.entry((queue, number)).or_default().maybe_settled = true;
            return Ok(());
        }
        let work = self.work.entry((queue, number)).or_default();
        if work.settled && !work.dead {
            return Err(Broken(format!(
                "record {number} was settled in queue {} and dead-lettered",
                queue.0
            )));
        }
        work.dead = true;
        Ok(())
    }

    /// A replay or purge is asked for: until it is over, what was settled or dead-lettered may be available again, or the
    /// reverse.
    pub fn asks_replay(&mut self, queue: QueueId) {
        self.note(None, &format_args!("replay or purge of queue {} asked", queue.0));
        *self.replaying.entry(queue).or_default() += 1;
        self.loosen(queue);
    }

    /// A replay or purge was answered: what was told while it was under way may be from before it.
    pub fn replay_over(&mut self, queue: QueueId) {
        self.seen.replays += 1;
        self.note(None, &format_args!("replay or purge of queue {} over", queue.0));
        if let Some(under_way) = self.replaying.get_mut(&queue) {
            *under_way = under_way.saturating_sub(1);
        }
        self.loosen(queue);
    }

    /// A replay was answered, with nothing else of that kind under way: `count` records are available again. Everything from
    /// `start` on was kept and asked for, so it is unsettled now, and begins anew if it was settled.
    ///
    /// # Errors
    /// Not as many are available again as were settled for certain.
    pub fn replayed(&mut self, queue: QueueId, start: Offset, count: u64, exchange: &Exchange) -> Verdict {
        self.note(None, &format_args!("replay of queue {} from {start}: {count}", queue.0));
        *self.loosened.entry(queue).or_default() += 1;
        let Some(terms) = self.terms.get_mut(&queue) else { return Ok(()) };
        terms.replayed(exchange);
        let mut settled = 0;
        for ((_, number), work) in self.work.iter_mut().filter(|((of, _), _)| *of == queue) {
            match terms.place(*number) {
                Some((_, offset)) if offset < start => continue,
                Some(_) => {}
                None => {
                    *work = Work { maybe_settled: true, ..Work::default() };
                    continue;
                }
            }
            if work.settled || work.maybe_settled {
                terms.is_back(*number, work.settled, exchange);
                settled += u64::from(work.settled);
                *work = Work::default();
            } else if terms.has_ttl() {
                // It may have outlived its time, which settles it too.
                *work = Work::default();
            }
        }
        self.seen.replayed += settled;
        if count < settled {
            return Err(Broken(format!(
                "a replay of queue {} made {count} records available, and {settled} were settled and kept",
                queue.0
            )));
        }
        Ok(())
    }

    /// A replay was asked for and will not be answered.
    pub fn maybe_replayed(&mut self, queue: QueueId) {
        if let Some(terms) = self.terms.get_mut(&queue) {
            terms.maybe_replayed();
        }
        self.asks_replay(queue);
    }

    /// How often that happened: a settlement asked for before the last time may have been undone, whenever it is answered.
    #[must_use]
    pub fn replays(&self, queue: QueueId) -> u64 {
        self.loosened.get(&queue).copied().unwrap_or_default()
    }

    /// Either is right for every record that was sent until now.
    fn loosen(&mut self, queue: QueueId) {
        let last = self.asked.last().copied().unwrap_or_default();
        self.replayed.insert(queue, last);
        *self.loosened.entry(queue).or_default() += 1;
        for ((of, _), work) in &mut self.work {
            if *of == queue {
                *work = Work { maybe_settled: true, ..Work::default() };
            }
        }
    }

    /// The record was seen where a move has brought it from the dead-letter queue of `queue`.
    pub fn moved_on(&mut self, queue: QueueId, number: Number) {
        let is_loose = self.replayed.contains_key(&queue);
        self.seen.moved += u64::from(self.moved.insert((queue, number)));
        let work = self.work.entry((queue, number)).or_default();
        if is_loose {
            work.maybe_settled = true;
        } else {
            work.dead = true;
        }
    }

    /// True if it is certain that the record has not outlived its time in the queue.
    #[must_use]
    pub fn lives(&self, queue: QueueId, number: Number, now: Now) -> bool {
        self.terms.get(&queue).is_none_or(|terms| terms.lives(number, now))
    }

    /// True if it was answered that the record is settled.
    #[must_use]
    pub fn is_settled(&self, queue: QueueId, number: Number) -> bool {
        self.work.get(&(queue, number)).is_some_and(|work| work.settled)
    }

    /// Records that were seen in a dead-letter queue.
    pub fn dead(&self) -> impl Iterator<Item = Number> + '_ {
        self.graves.keys().map(|&(_, number)| number)
    }

    /// A queue was worked until it was empty: what was promised to it and not settled must have been among `delivered`.
    ///
    /// # Errors
    /// A record got lost between the states.
    pub fn drained(
        &self,
        queue: QueueId,
        promised: &BTreeSet<Number>,
        delivered: &BTreeSet<Number>,
    ) -> Verdict {
        for number in promised {
            let work = self.work.get(&(queue, *number)).cloned().unwrap_or_default();
            let purged = self.replayed.get(&queue).is_some_and(|last| number <= last);
            let accounted =
                purged || work.settled || work.maybe_settled || work.dead || delivered.contains(number);
            if !accounted {
                return Err(Broken(format!(
                    "record {number} is neither settled, dead nor delivered by queue {}",
                    queue.0
                )));
            }
        }
        Ok(())
    }

    /// A client asks to move a cursor; gives what the move is known by.
    pub fn asks_cursor(&mut self, group: &str, partition: PartitionId, offset: Offset) -> u64 {
        self.cursor_moves += 1;
        let id = self.cursor_moves;
        let nothing = CursorAsked { id: 0, to: None };
        let may_be = self.cursors.entry((group.to_owned(), partition)).or_insert_with(|| vec![nothing]);
        may_be.push(CursorAsked { id, to: Some(offset) });
        id
    }

    /// A move has been acknowledged: earlier ones no longer count.
    pub fn cursor_moved(&mut self, group: &str, partition: PartitionId, id: u64) {
        self.acknowledged += 1;
        if let Some(asked) = self.cursors.get_mut(&(group.to_owned(), partition)) {
            asked.retain(|it| it.id >= id);
        }
    }

    /// A client read a cursor: it must be the last acknowledged one or one asked for since.
    ///
    /// # Errors
    /// It is neither.
    pub fn cursor_read(&self, group: &str, partition: PartitionId, found: Option<Offset>) -> Verdict {
        let Some(asked) = self.cursors.get(&(group.to_owned(), partition)) else { return Ok(()) };
        if asked.iter().any(|it| it.to == found) {
            return Ok(());
        }
        Err(Broken(format!("cursor of {group} in {partition} is {found:?}, none of {asked:?}")))
    }

    /// How much was acknowledged, so that a run in which nothing happened is noticed.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}
