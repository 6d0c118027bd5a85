//! Receives and what becomes of the leases that they bring.

use duolog_broker::{AttemptId, LeaseAsk, LeaseId, Leased, Outcome, QueueId, Session};

use super::{BUSY, Clients, Flight, Held, Named, number_of};
use crate::history::{Attempt, Broken, Exchange, Handed, History, Receive, Received};
use crate::sim::stage::Stage;
use crate::sim::told::{Asked, Course, Heard, Told};

/// Most leases that clients remember.
const HELD_MAX: usize = 200;
/// Receives under names that may be repeated.
const NAMED_MAX: usize = 4;

impl Clients {
    pub(super) fn lease(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let Stage { work, jobs, audit, lines, turns, brief, .. } = *stage;
        let queue = *self.random.pick(&[work, jobs, jobs, audit, lines, lines, turns, turns, brief]);
        let visibility_ms = if queue == stage.lines {
            // At least something, and often long enough to outlive a restart.
            Some(1 + self.random.below(12_000))
        } else if queue == turns || queue == brief {
            Some(1 + self.random.below(3000))
        } else {
            self.random.one_in(3).then(|| self.random.below(3000))
        };
        let ask = LeaseAsk {
            queue,
            count: 1 + u32::try_from(self.random.below(10)).expect("small"),
            visibility_ms,
            wait_ms: if self.random.one_in(2) { self.random.below(5000) } else { 0 },
            attempt: None,
            priority: 0,
            bound: false,
        };
        let named = (queue == stage.lines && self.random.one_in(2)).then(|| self.named(ask, session));
        let ask = named.map_or(ask, |named| named.ask);
        let asked = history.lines(queue).map(|lines| (lines.moment(), lines.stepped_ms()));
        let until = session.clock().now().monotonic.plus_ms(ask.visibility_ms.unwrap_or_default());
        let moment = history.attempts.moment() + 1;
        let turns_moment = history.turns(queue).map_or(0, |turns| turns.moment() + 1);
        let exchange = history.terms(queue).is_some().then(|| history.exchange(session.clock().now()));
        let session = session.clone();
        let told = Box::pin(async move {
            let result = session.lease(ask).await;
            let heard = session.clock().now();
            let now = heard.monotonic;
            let receive =
                asked.map(|(asked, stepped_ms)| Receive { asked: asked + 1, until, now, stepped_ms });
            let attempt = named.map(|Named { name, first_at, .. }| Attempt {
                name,
                asked: moment,
                first_at,
                until,
                now,
            });
            let course = exchange.map(|exchange| Course {
                exchange: Exchange { heard, ..exchange },
                moment: turns_moment,
                visibility_ms: ask.visibility_ms.unwrap_or_default(),
            });
            Told::Lease { heard: Heard { queue, receive, attempt, course }, result }
        });
        self.flights.push(Flight { receives_from: Some(queue), told });
    }

    /// The receive under a new name; or an earlier one, as if its answer had been lost.
    fn named(&mut self, ask: LeaseAsk, session: &Session) -> Named {
        if !self.named.is_empty() && self.random.one_in(2) {
            return self.named[self.random.index(self.named.len())];
        }
        let name = self.next_name;
        self.next_name += 1;
        let ask = LeaseAsk { attempt: AttemptId::new(&name.to_be_bytes()), ..ask };
        let named = Named { name, ask, first_at: session.clock().now().monotonic };
        self.named.push_back(named);
        if self.named.len() > NAMED_MAX {
            self.named.pop_front();
        }
        named
    }

    /// Records under lease: the history hears of them, and the clients hold them.
    pub(in crate::sim) fn leased(
        &mut self,
        history: &mut History,
        heard: Heard,
        leased: &[Leased],
    ) -> Result<(), Broken> {
        let Heard { queue, receive, attempt, course } = heard;
        if self.power_is_off() {
            // There may be more that could not be read.
            history.lost_receive(queue);
        }
        if let Some(course) = &course {
            self.leased_by_policy(history, queue, course, leased)?;
        }
        let replays = history.terms(queue).map_or(0, |terms| terms.replays());
        let ids: Vec<LeaseId> = leased.iter().map(|lease| lease.id).collect();
        let is_repeat = attempt.is_some_and(|it| history.attempts.has_brought(it.name));
        let again = history.attempts.heard(attempt, &ids, !self.power_is_off())?;
        let is_again = |lease: &&Leased| again.contains(&lease.id.to_bytes());
        let (again, new): (Vec<&Leased>, Vec<&Leased>) = leased.iter().partition(is_again);
        if let (Some(receive), Some(lines)) = (receive, history.lines(queue)) {
            lines.received_again(receive, &again.iter().map(|lease| received(lease)).collect::<Vec<_>>());
            lines.received(receive, &new.iter().map(|lease| received(lease)).collect::<Vec<_>>())?;
        }
        history.seen.repeats += u64::from(!again.is_empty());
        history.seen.repeats_new += u64::from(is_repeat && again.is_empty() && !new.is_empty());
        for lease in again {
            history.leased_again(queue, number_of(lease.record.value.as_ref())?)?;
        }
        for lease in new {
            let number = number_of(lease.record.value.as_ref())?;
            if receive.is_some() && lease.attempts > 1 {
                history.seen.by_key_again += 1;
                history.seen.by_key_over += u64::from(history.was_leased_before_restart(queue, number));
            }
            history.leased(queue, number, lease.attempts)?;
            self.held.push(Held { queue, id: lease.id, number, life: history.life(), replays });
            history.seen.delayed_over +=
                u64::from(self.delayed.remove(&number).is_some_and(|it| it < history.life()));
        }
        while self.held.len() > HELD_MAX {
            let index = self.random.index(self.held.len());
            self.held.swap_remove(index);
        }
        Ok(())
    }

    /// What a policy of times has to say to it.
    fn leased_by_policy(
        &mut self,
        history: &mut History,
        queue: QueueId,
        course: &Course,
        leased: &[Leased],
    ) -> Result<(), Broken> {
        let Course { exchange, moment, visibility_ms } = course;
        let outstanding = self.flights.iter().filter(|it| it.receives_from == Some(queue)).count() as u64;
        let (mut handed, mut records) = (Vec::new(), Vec::new());
        for lease in leased {
            let number = number_of(lease.record.value.as_ref())?;
            handed.push(Handed { number, lease: lease.id });
            records.push((number, lease.record.key.as_deref() == Some(BUSY)));
        }
        if let Some(terms) = history.terms(queue) {
            let backed_off = terms.received(exchange, *visibility_ms, outstanding, &handed)?;
            history.seen.backed_off += backed_off;
        }
        if let Some(turns) = history.turns(queue) {
            let newcomers = turns.received(*moment, exchange, *visibility_ms, &records)?;
            history.seen.newcomers += newcomers;
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        if self.held.is_empty() {
            return;
        }
        let queue = self.random.pick(&self.held).queue;
        let dead_letters = queue == stage.work || queue == stage.jobs;
        let mut asked = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            let Some(index) = self.held.iter().position(|it| it.queue == queue) else { break };
            // Usually the oldest, sometimes any: handles go stale.
            let index = if self.random.one_in(4) { self.random.index(self.held.len()) } else { index };
            if self.held[index].queue != queue {
                continue;
            }
            let held = if self.random.one_in(10) { self.held[index] } else { self.held.swap_remove(index) };
            let outcome = match self.random.below(10) {
                0 => Outcome::Release { after_ms: 0 },
                1 => Outcome::Release { after_ms: self.random.below(2000) },
                2 => Outcome::Extend { for_ms: self.random.below(3000) },
                // A queue without a dead-letter queue settles what it is told to move there.
                3 if dead_letters => Outcome::DeadLetter,
                _ => Outcome::Ack,
            };
            if matches!(outcome, Outcome::Ack) {
                history.asks_settle(queue, held.number);
            }
            history.note(Some(held.number), &format_args!("{outcome:?} asked with {:?}", held.id));
            let place = (held.id.partition, held.id.offset);
            let touched = history.lines(queue).map(|lines| lines.touch(place));
            history.attempts.touch(held.id);
            if let Some(turns) = history.turns(queue) {
                turns.touch(held.number);
            }
            let now = session.clock().now();
            let terms =
                history.terms(queue).map(|terms| terms.touch(held.number, held.id, held.replays, now));
            asked.push(Asked { id: held.id, number: held.number, outcome, touched, life: held.life, terms });
        }
        let outcomes = asked.iter().map(|it| (it.id, it.outcome)).collect();
        let (pending, session) = (session.settle(queue, outcomes), session.clone());
        let replays = history.replays(queue);
        self.fly(async move {
            let result = pending.await;
            Told::Settle { queue, asked, replays, heard: session.clock().now(), result }
        });
    }
}

/// What the history of a queue by key hears of a lease.
fn received(leased: &Leased) -> Received {
    let key = leased.record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
    Received {
        place: (leased.id.partition, leased.id.offset),
        key: key.unwrap_or(u64::MAX),
        attempt: leased.attempts,
    }
}
