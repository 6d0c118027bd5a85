//! What must hold of a queue whose policy says when its records come and go, as far as clients can be certain of it:
//! back-off, time to live, leases that run, and attempts that are counted from a replay.
//!
//! A client knows when it asked and when it heard; the broker decided in between. Deadlines are reckoned from the earlier
//! of the two where something must not come before, from the later where it must not come after. Whoever asks for a
//! settlement gives up certainty about the lease until that is answered, and if nothing else happened meanwhile.
//! Adding a rule: what is known in [`Terms`], a check, and a test below that breaks it.

use std::collections::BTreeMap;

use duolog_broker::{Backoff, LeaseId, Monotonic, Now, Order, Outcome, QueuePolicy};

use super::{Broken, Number, Place};
use crate::sim::ms_before;

/// How the wall clock was set so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// How often.
    pub count: u64,
    /// By how much ahead in all, milliseconds.
    pub ahead_ms: u64,
}

/// Something that was asked and answered, as its client knows it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When it was asked.
    pub asked: Now,
    /// How the wall clock had been set by then.
    pub steps: Steps,
    /// When the answer was heard.
    pub heard: Now,
}

/// One record of a receive.
#[derive(Clone, Copy, Debug)]
pub struct Handed {
    /// Which.
    pub number: Number,
    /// Its lease, and so its place and which attempt it is.
    pub lease: LeaseId,
}

/// A lease that a client has asked to settle.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    number: Number,
    /// How often something was asked or told of the record.
    touches: u64,
    lease: LeaseId,
    asked_at: Monotonic,
    ahead_ms: u64,
    /// The lease runs until then at least, if that is certain.
    runs_until: Option<Monotonic>,
    /// [`Terms::replays`] when the lease was told.
    replays: u64,
    /// [`Terms::replays`] when the settlement was asked for.
    replays_then: u64,
}

/// A lease or a delay that nobody has asked to change.
#[derive(Clone, Copy, Debug)]
struct Hold {
    lease: LeaseId,
    /// The lease runs until then at least, if it was told by this process.
    runs_until: Option<Monotonic>,
    /// The record is not available before then.
    back_at: Monotonic,
    /// A crash does not forget it.
    is_durable: bool,
}

/// A record in one queue.
#[derive(Debug)]
struct Known {
    place: Option<Place>,
    /// Its time to live began not before and not after, by the wall clock.
    lives_from: (i64, i64),
    /// A time to live that it brought along.
    ttl_ms: Option<u64>,
    hold: Option<Hold>,
    touches: u64,
    /// The last attempt that was told, and [`Terms::lost`] then.
    attempt: u32,
    lost: u64,
    /// The attempt of before the last that was counted anew: if the replay is undone by a crash, so is what came of it.
    attempt_before: u32,
    /// Handles of before so many replays settle nothing.
    fenced: u64,
}

/// Some time or other.
const ANY_TIME: (i64, i64) = (i64::MIN, i64::MAX);

impl Default for Known {
    fn default() -> Self {
        let lives_from = ANY_TIME;
        Self {
            place: None,
            lives_from,
            ttl_ms: None,
            hold: None,
            touches: 0,
            attempt: 0,
            lost: 0,
            attempt_before: 0,
            fenced: 0,
        }
    }
}

impl Known {
    /// How long it lives where records live so long, and may bring a shorter time along or may not.
    fn least_ttl_ms(&self, ttl_ms: Option<u64>, heeds: bool) -> Option<u64> {
        [ttl_ms, self.ttl_ms.filter(|_| heeds)].into_iter().flatten().min()
    }
}

/// What is known of one queue.
#[derive(Debug)]
pub struct Terms {
    ttl_ms: Option<u64>,
    /// It heeds the times to live that records bring along: a queue that looks at keys does not.
    heeds: bool,
    backoff: Backoff,
    /// How the wall clock was set so far.
    steps: Steps,
    records: BTreeMap<Number, Known>,
    /// Receives that nobody has heard the answer of.
    lost: u64,
    /// Replays that were answered.
    replays: u64,
    /// The last replay was not after this time: what was published meanwhile may live from then on.
    replayed_until: i64,
}

impl Terms {
    /// Nothing is known of its records.
    #[must_use]
    pub fn new(policy: &QueuePolicy) -> Self {
        Self {
            ttl_ms: policy.message_ttl_ms,
            heeds: policy.order == Order::Standard,
            backoff: policy.backoff,
            steps: Steps::default(),
            records: BTreeMap::new(),
            lost: 0,
            replays: 0,
            replayed_until: i64::MIN,
        }
    }

    /// How often it was replayed.
    #[must_use]
    pub fn replays(&self) -> u64 {
        self.replays
    }

    /// When the broker decided, by its wall clock: any time, if that was set meanwhile.
    fn decided(&self, exchange: &Exchange) -> (i64, i64) {
        let is_certain = exchange.steps.count == self.steps.count;
        if is_certain { (exchange.asked.wall.0, exchange.heard.wall.0) } else { ANY_TIME }
    }

    /// So many milliseconds after something was asked, less what the wall clock was set ahead since.
    fn after(&self, asked_at: Monotonic, ahead_ms: u64, ms: u64) -> Monotonic {
        ms_before(asked_at.plus_ms(ms), self.steps.ahead_ms - ahead_ms)
    }

    /// How long a record lives, if that is limited.
    fn ttl_ms(&self, known: &Known) -> Option<u64> {
        known.least_ttl_ms(self.ttl_ms, self.heeds)
    }

    /// A record was published, with a time to live of its own or without, and that was answered.
    pub fn published(&mut self, number: Number, place: Place, ttl_ms: Option<u64>, exchange: &Exchange) {
        let (from, to) = self.decided(exchange);
        let known = self.records.entry(number).or_default();
        known.place = Some(place);
        known.ttl_ms = ttl_ms;
        known.lives_from = (from, to.max(self.replayed_until));
    }

    /// A receive was answered, `outstanding` others were not; its leases last so many milliseconds. Gives how many came
    /// again after a back-off.
    ///
    /// # Errors
    /// A record came before it was to, or after its time to live, or its attempts were not counted one by one.
    pub fn received(
        &mut self,
        exchange: &Exchange,
        visibility_ms: u64,
        outstanding: u64,
        handed: &[Handed],
    ) -> Result<u64, Broken> {
        let decided = self.decided(exchange);
        let mut backed_off = 0;
        for it in handed {
            backed_off += u64::from(self.check(exchange, decided, outstanding, it)?);
            let until = self.after(exchange.asked.monotonic, exchange.steps.ahead_ms, visibility_ms);
            let lease = it.lease;
            let back_at = until.plus_ms(self.backoff.after_ms(lease.attempt));
            let known = self.records.entry(it.number).or_default();
            known.place = Some((lease.partition, lease.offset));
            known.touches += 1;
            if lease.attempt <= known.attempt {
                known.attempt_before = known.attempt;
            }
            (known.attempt, known.lost) = (lease.attempt, self.lost);
            known.hold = Some(Hold { lease, runs_until: Some(until), back_at, is_durable: false });
        }
        Ok(backed_off)
    }

    /// Gives whether the record comes after a back-off.
    fn check(
        &self,
        exchange: &Exchange,
        decided: (i64, i64),
        outstanding: u64,
        handed: &Handed,
    ) -> Result<bool, Broken> {
        let Handed { number, lease } = *handed;
        let Some(known) = self.records.get(&number) else { return Ok(false) };
        if let Some(hold) = &known.hold
            && exchange.heard.monotonic < hold.back_at
        {
            let early_ms = hold.back_at.ms_since(exchange.heard.monotonic);
            return Err(Broken(format!(
                "record {number} came {early_ms} ms before its lease and back-off are over"
            )));
        }
        if let Some(ttl_ms) = self.ttl_ms(known)
            && let ((now, _), (_, lives_from)) = (decided, known.lives_from)
            && now >= lives_from.saturating_add_unsigned(ttl_ms)
        {
            let age_ms = now.saturating_sub(lives_from);
            return Err(Broken(format!(
                "record {number} was delivered at an age of {age_ms} ms: {ttl_ms} is the most"
            )));
        }
        let most = u64::from(known.attempt) + 1 + (self.lost - known.lost) + outstanding;
        if u64::from(lease.attempt) > most {
            let attempt = lease.attempt;
            return Err(Broken(format!(
                "record {number} came as attempt {attempt}: {most} at most were made"
            )));
        }
        Ok(known.hold.is_some())
    }

    /// A settlement is asked for, by the handle of a lease that was told after so many replays.
    pub fn touch(&mut self, number: Number, lease: LeaseId, replays: u64, now: Now) -> Touched {
        let known = self.records.entry(number).or_default();
        known.touches += 1;
        let hold = known.hold.take().filter(|hold| hold.lease == lease);
        Touched {
            number,
            touches: known.touches,
            lease,
            asked_at: now.monotonic,
            ahead_ms: self.steps.ahead_ms,
            runs_until: hold.and_then(|hold| hold.runs_until),
            replays,
            replays_then: self.replays,
        }
    }

    /// A settlement was answered. Gives true if a record was settled that had outlived its time to live.
    ///
    /// # Errors
    /// It failed although the lease was running; or it did not, by a handle of before a replay.
    pub fn settled(
        &mut self,
        touched: &Touched,
        outcome: Outcome,
        is_ok: bool,
        now: Now,
    ) -> Result<bool, Broken> {
        let Touched { number, touches, lease, asked_at, ahead_ms, runs_until, replays, replays_then } =
            *touched;
        let Some(known) = self.records.get(&number) else { return Ok(false) };
        if is_ok && replays < known.fenced {
            return Err(Broken(format!(
                "a handle of before a replay ended a lease of record {number} from after it"
            )));
        }
        if !is_ok && known.touches == touches && runs_until.is_some_and(|until| now.monotonic < until) {
            return Err(Broken(format!("record {number} was leased and {outcome:?} was refused")));
        }
        // As in `replayed`: it may have outlived its time before the replay, and have come back with it.
        let may_be_back = self.ttl_ms.is_some() && self.replays > replays_then;
        let is_alone = is_ok && known.touches == touches && !may_be_back;
        let hold = match outcome {
            Outcome::Release { after_ms: 0 } => {
                Some((None, self.after(asked_at, ahead_ms, self.backoff.after_ms(lease.attempt))))
            }
            Outcome::Release { after_ms } => Some((None, self.after(asked_at, ahead_ms, after_ms))),
            Outcome::Extend { for_ms: for_ms @ 1.. } => {
                let until = self.after(asked_at, ahead_ms, for_ms);
                Some((Some(until), until.plus_ms(self.backoff.after_ms(lease.attempt))))
            }
            Outcome::Extend { for_ms: 0 } | Outcome::Ack | Outcome::DeadLetter => None,
        };
        let ttl_over = self.ttl_ms(known).map(|ttl_ms| known.lives_from.1.saturating_add_unsigned(ttl_ms));
        let is_late = outcome == Outcome::Ack && is_ok && ttl_over.is_some_and(|over| over <= now.wall.0);
        if let (true, Some((runs_until, back_at)), Some(known)) =
            (is_alone, hold, self.records.get_mut(&number))
        {
            known.hold = Some(Hold { lease, runs_until, back_at, is_durable: false });
        }
        Ok(is_late)
    }

    /// True if records outlive their time.
    #[must_use]
    pub fn has_ttl(&self) -> bool {
        self.ttl_ms.is_some()
    }

    /// True if it is certain that the record has not outlived its time to live.
    #[must_use]
    pub fn lives(&self, number: Number, now: Now) -> bool {
        let Some(known) = self.records.get(&number) else { return self.ttl_ms.is_none() };
        let over = self.ttl_ms(known).map(|ttl_ms| known.lives_from.0.saturating_add_unsigned(ttl_ms));
        over.is_none_or(|over| now.wall.0 < over)
    }

    /// The wall clock will show less than now: what has outlived its time by now is not young again.
    pub fn was_at(&mut self, now: Now) {
        let (ttl_ms, heeds) = (self.ttl_ms, self.heeds);
        for known in self.records.values_mut() {
            let over = known
                .least_ttl_ms(ttl_ms, heeds)
                .map(|ttl_ms| known.lives_from.0.saturating_add_unsigned(ttl_ms));
            if over.is_some_and(|over| over <= now.wall.0) {
                known.lives_from.0 = i64::MIN;
            }
        }
    }

    /// Where a record stands, if that was told.
    #[must_use]
    pub fn place(&self, number: Number) -> Option<Place> {
        self.records.get(&number)?.place
    }

    /// A replay was answered: the time to live of what was settled has begun anew, and may have of all else. What was
    /// held may have outlived its time and come back at once.
    pub fn replayed(&mut self, exchange: &Exchange) {
        self.replays += 1;
        self.replayed_until = self.replayed_until.max(self.decided(exchange).1);
        for known in self.records.values_mut() {
            known.lives_from.1 = known.lives_from.1.max(self.replayed_until);
            if self.ttl_ms.is_some() {
                known.hold = None;
            }
        }
    }

    /// A record was settled and is available again, with no attempts, since that replay; `was_settled` if that had been
    /// answered.
    pub fn is_back(&mut self, number: Number, was_settled: bool, exchange: &Exchange) {
        let decided = self.decided(exchange);
        let Some(known) = self.records.get_mut(&number) else { return };
        known.hold = None;
        known.touches += 1;
        if was_settled {
            known.fenced = self.replays;
            (known.attempt, known.lost, known.attempt_before) = (0, self.lost, 0);
            known.lives_from.0 = known.lives_from.0.max(decided.0);
        }
    }

    /// A replay was asked for and not answered: it may have happened.
    pub fn maybe_replayed(&mut self) {
        self.replays += 1;
        self.replayed_until = i64::MAX;
        for known in self.records.values_mut() {
            (known.lives_from, known.hold) = (ANY_TIME, None);
            known.touches += 1;
        }
    }

    /// Nobody will hear the answer of a receive.
    pub fn lost(&mut self) {
        self.lost += 1;
    }

    /// What was told so far is durable.
    pub fn barrier(&mut self) {
        let holds = self.records.values_mut().filter_map(|known| known.hold.as_mut());
        holds.for_each(|hold| hold.is_durable = true);
    }

    /// The wall clock was set: what goes on over a restart ends so much earlier, if that was ahead.
    pub fn stepped(&mut self, ahead_ms: u64) {
        self.steps.count += 1;
        self.steps.ahead_ms += ahead_ms;
        for hold in self.records.values_mut().filter_map(|known| known.hold.as_mut()) {
            hold.back_at = ms_before(hold.back_at, ahead_ms);
            hold.runs_until = hold.runs_until.map(|until| ms_before(until, ahead_ms));
        }
    }

    /// What is not durable may be forgotten.
    pub fn crashed(&mut self) {
        for known in self.records.values_mut() {
            known.hold = known.hold.filter(|hold| hold.is_durable);
            if let Some(hold) = &mut known.hold {
                hold.runs_until = None;
            }
            known.attempt = known.attempt.max(known.attempt_before);
        }
    }
}

#[cfg(test)]
mod tests {
    use duolog_broker::QueueId;
    use duolog_record::{Offset, PartitionId, Timestamp};

    use super::*;

    fn at(ms: u64) -> Now {
        Now { monotonic: Monotonic(0).plus_ms(10_000 + ms), wall: Timestamp(10_000 + ms.cast_signed()) }
    }

    fn terms() -> Terms {
        let backoff = Backoff::Exponential { base_ms: 100, max_ms: 1000 };
        Terms::new(&QueuePolicy { backoff, message_ttl_ms: Some(5_000), ..QueuePolicy::default() })
    }

    fn exchange(terms: &Terms, asked: u64, heard: u64) -> Exchange {
        Exchange { asked: at(asked), steps: terms.steps, heard: at(heard) }
    }

    fn lease(attempt: u32) -> LeaseId {
        let (queue, partition) = (QueueId(1), PartitionId(9));
        LeaseId { queue, partition, offset: Offset(0), incarnation: 7, attempt }
    }

    fn receive(terms: &mut Terms, asked: u64, heard: u64, attempt: u32) -> Result<u64, Broken> {
        let exchange = exchange(terms, asked, heard);
        terms.received(&exchange, 1000, 0, &[Handed { number: 1, lease: lease(attempt) }])
    }

    fn publish(terms: &mut Terms, asked: u64, heard: u64) {
        let exchange = exchange(terms, asked, heard);
        terms.published(1, (PartitionId(9), Offset(0)), None, &exchange);
    }

    #[test]
    fn a_record_stays_away_for_its_lease_and_its_back_off() {
        let mut terms = terms();
        assert_eq!(receive(&mut terms, 0, 50, 1), Ok(0));
        assert!(receive(&mut terms, 1000, 1099, 2).is_err());
        assert_eq!(receive(&mut terms, 1000, 1100, 2), Ok(1));
        assert!(receive(&mut terms, 2000, 2199, 3).is_err(), "twice as long");
    }

    #[test]
    fn what_is_given_back_waits_from_when_that_was_asked() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        let touched = terms.touch(1, lease(1), 0, at(10));
        assert_eq!(terms.settled(&touched, Outcome::Release { after_ms: 0 }, true, at(20)), Ok(false));
        assert!(receive(&mut terms, 20, 109, 2).is_err());
        assert!(receive(&mut terms, 20, 110, 2).is_ok());
    }

    #[test]
    fn a_replay_before_the_answer_may_end_what_was_extended() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        let touched = terms.touch(1, lease(1), 0, at(10));
        terms.replayed(&exchange(&terms, 6_000, 6_100));
        assert_eq!(terms.settled(&touched, Outcome::Extend { for_ms: 5_950 }, true, at(6_100)), Ok(false));
        assert!(receive(&mut terms, 6_000, 6_000, 1).is_ok());
    }

    #[test]
    fn a_settlement_that_is_not_answered_leaves_everything_open() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        let touched = terms.touch(1, lease(1), 0, at(10));
        receive(&mut terms, 20, 20, 2).expect("it may have been given back");
        assert_eq!(terms.settled(&touched, Outcome::Ack, false, at(30)), Ok(false));
    }

    #[test]
    fn what_is_leased_can_be_settled_at_any_age() {
        let mut terms = terms();
        publish(&mut terms, 0, 0);
        receive(&mut terms, 4_500, 4_500, 1).expect("in time");
        let touched = terms.touch(1, lease(1), 0, at(5_100));
        assert!(terms.settled(&touched, Outcome::Ack, false, at(5_200)).is_err());
        assert_eq!(terms.settled(&touched, Outcome::Ack, true, at(5_200)), Ok(true));
        assert_eq!(terms.settled(&touched, Outcome::Ack, false, at(5_500)), Ok(false), "it may be over");
    }

    #[test]
    fn nothing_is_delivered_after_its_time_to_live() {
        let mut terms = terms();
        publish(&mut terms, 0, 100);
        assert!(terms.lives(1, at(4_999)) && !terms.lives(1, at(5_000)));
        assert!(receive(&mut terms, 5_099, 6_000, 1).is_ok(), "it may have been decided before");
        assert!(receive(&mut terms, 9_000, 9_000, 2).is_err());
        terms.replayed(&exchange(&terms, 7_000, 7_100));
        assert!(receive(&mut terms, 9_000, 9_000, 2).is_ok());
    }

    #[test]
    fn the_lesser_time_to_live_holds() {
        let mut terms = terms();
        for (ttl_ms, over) in [(2_000, 2_000), (9_000, 5_000)] {
            let exchange = exchange(&terms, 0, 0);
            terms.published(1, (PartitionId(9), Offset(0)), Some(ttl_ms), &exchange);
            assert!(terms.lives(1, at(over - 1)) && !terms.lives(1, at(over)));
            assert!(receive(&mut terms, over, over, 1).is_err());
        }
        let policy = QueuePolicy { order: Order::Fair, ..QueuePolicy::default() };
        let mut by_key = Terms::new(&policy);
        let exchange = exchange(&by_key, 0, 0);
        by_key.published(1, (PartitionId(9), Offset(0)), Some(2_000), &exchange);
        assert!(by_key.lives(1, at(2_000)), "it is not looked at");
    }

    #[test]
    fn nothing_grows_young_again() {
        let mut terms = terms();
        publish(&mut terms, 0, 100);
        terms.was_at(at(4_999));
        assert!(terms.lives(1, at(0)));
        terms.was_at(at(5_000));
        assert!(!terms.lives(1, at(0)));
    }

    #[test]
    fn a_clock_that_was_set_leaves_the_age_open() {
        let mut terms = terms();
        let asked = exchange(&terms, 0, 100);
        terms.stepped(0);
        terms.published(1, (PartitionId(9), Offset(0)), None, &asked);
        assert!(receive(&mut terms, 9_000, 9_000, 1).is_ok());
        assert!(!terms.lives(1, at(10)));
    }

    #[test]
    fn attempts_are_counted_one_by_one_and_from_a_replay_on() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        assert!(receive(&mut terms, 2_000, 2_000, 3).is_err());
        terms.lost();
        assert!(receive(&mut terms, 2_000, 2_000, 3).is_ok(), "one more may have been made");
        let exchange = exchange(&terms, 3_000, 3_000);
        terms.replayed(&exchange);
        terms.is_back(1, true, &exchange);
        assert!(receive(&mut terms, 3_100, 3_100, 2).is_err());
        assert!(receive(&mut terms, 3_100, 3_100, 1).is_ok());
    }

    #[test]
    fn a_replay_that_may_be_undone_may_take_its_attempts_with_it() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        receive(&mut terms, 2_000, 2_000, 2).expect("the second");
        receive(&mut terms, 4_000, 4_000, 1).expect("the first since the replay");
        assert!(receive(&mut terms, 6_000, 6_000, 3).is_err());
        terms.maybe_replayed();
        terms.crashed();
        assert!(receive(&mut terms, 6_000, 6_000, 4).is_err());
        assert!(receive(&mut terms, 6_000, 6_000, 3).is_ok());
    }

    #[test]
    fn handles_of_before_a_replay_settle_nothing() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        let exchange = exchange(&terms, 100, 100);
        terms.replayed(&exchange);
        terms.is_back(1, true, &exchange);
        receive(&mut terms, 200, 200, 1).expect("from the beginning");
        let touched = terms.touch(1, lease(1), 0, at(300));
        assert!(terms.settled(&touched, Outcome::Ack, true, at(300)).is_err());
        let touched = terms.touch(1, lease(1), 1, at(300));
        assert!(terms.settled(&touched, Outcome::Ack, true, at(300)).is_ok());
    }

    #[test]
    fn a_crash_forgets_what_is_not_durable() {
        let mut terms = terms();
        receive(&mut terms, 0, 0, 1).expect("the first");
        terms.crashed();
        assert!(receive(&mut terms, 10, 10, 1).is_ok());
        terms.barrier();
        terms.crashed();
        assert!(receive(&mut terms, 20, 20, 2).is_err());
        terms.stepped(900);
        assert!(receive(&mut terms, 210, 210, 2).is_ok(), "by the wall clock it is over");
    }
}
