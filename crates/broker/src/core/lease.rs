//! Leasing and settling: who gets which record of a queue, and what becomes of it.
//!
//! A lease is answered at once and written lazily: what a crash forgets of it is one attempt that nobody saw settled. An
//! ack is answered when it is durable, and with it everything that was leased before.

use super::Core;
use super::command::Reply;
use super::dead_letter::Reason;
use super::line::{LeaseReply, Waiter, lease_id};
use super::verdict::when_durable;
use crate::errors::{LeaseError, SettleError};
use crate::ledger::{DeadRecord, Grant, LeaseResult, Settled, Term};
use crate::limits::LEASES_MAX;
use crate::state::Owner;
use crate::{LeaseAsk, LeaseId, Now, Outcome, Queue, QueueId};

impl Core {
    pub(super) fn lease(&mut self, now: Now, ask: LeaseAsk, reply: LeaseReply) {
        let Some(state) = self.queues.get_mut(ask.queue) else {
            return reply.refuse(LeaseError::NotFound);
        };
        let waiter = Waiter {
            priority: ask.priority,
            count: ask.count.clamp(1, LEASES_MAX),
            visibility_ms: ask.visibility_ms,
            bound: ask.bound,
            is_hasty: ask.wait_ms == 0,
            deadline: now.monotonic.plus_ms(ask.wait_ms),
            attempt: ask.attempt.filter(|_| state.ledger.blocks_keys()).map(Box::new),
            reply,
        };
        let default_ms = self.catalog.queue_by_id(ask.queue).map_or(0, |it| it.policy.visibility_timeout_ms);
        let visibility_ms = ask.visibility_ms.unwrap_or(default_ms);
        let Some(waiter) = self.repeat(now, waiter, ask.queue, visibility_ms) else {
            return self.settle_down(now, ask.queue);
        };
        let Some(state) = self.queues.get_mut(ask.queue) else {
            return waiter.reply.refuse(LeaseError::NotFound);
        };
        if let Err(waiter) = state.line.push(waiter) {
            return waiter.reply.refuse(LeaseError::Overloaded);
        }
        if state.line.len() == 1 {
            state.hold_back_anew();
        }
        state.wake(now);
        state.ledger.expire(now);
        self.settle_down(now, ask.queue);
    }

    /// Gives a repeated attempt what it was given before; the waiter comes back if there is nothing, or no more.
    fn repeat(&mut self, now: Now, waiter: Waiter, queue: QueueId, visibility_ms: u64) -> Option<Waiter> {
        let Some(state) = self.queues.get_mut(queue) else {
            return Some(waiter);
        };
        let Some(attempt) = waiter.attempt.as_deref().copied() else {
            return Some(waiter);
        };
        let Some(grants) = state.attempts.repeat(now, &mut state.ledger, queue, attempt, visibility_ms)
        else {
            return Some(waiter);
        };
        // If this one has gone as well, the next finds the same.
        let _ = waiter.reply.grant(queue, grants);
        self.note_lazy(now, queue);
        None
    }

    /// Leases to those who wait, in their order, as long as there is something.
    pub(super) fn serve(&mut self, now: Now, id: QueueId) {
        let Some(queue) = self.catalog.queue_by_id(id).cloned() else {
            return;
        };
        while self.serve_first(now, &queue) {}
    }

    /// Leases to the first in line; false if there is none, or nothing for it.
    fn serve_first(&mut self, now: Now, queue: &Queue) -> bool {
        let dead_letter_exists = self.gives_up(queue);
        let Some(state) = self.queues.get_mut(queue.id) else {
            return false;
        };
        let Some(waiter) = state.line.first() else {
            return false;
        };
        if state.standings.go_before(waiter.priority) {
            return false;
        }
        let visibility_ms = waiter.visibility_ms.unwrap_or(queue.policy.visibility_timeout_ms);
        if waiter.attempt.as_ref().is_some_and(|attempt| state.attempts.knows(**attempt)) {
            // The same attempt was in line before and has been served since.
            let Some(waiter) = state.line.pop_first() else {
                return false;
            };
            let Some(waiter) = self.repeat(now, waiter, queue.id, visibility_ms) else {
                return true;
            };
            let Some(state) = self.queues.get_mut(queue.id) else {
                return false;
            };
            state.line.push_first(waiter);
            return true;
        }
        let count = waiter.count;
        let term = Term { ms: visibility_ms, bound: waiter.bound };
        if !state.ledger.has_available() || state.holds_back(count) {
            return false;
        }
        let LeaseResult { granted, dead, expired } =
            state.ledger.lease(now, &queue.policy, count, term, dead_letter_exists);
        if queue.policy.dead_letter.is_some() && !dead_letter_exists {
            let attempts_max = queue.policy.attempts_max.unwrap_or(u32::MAX);
            let overdue = granted.iter().filter(|grant| grant.attempt > attempts_max).count();
            if overdue > 0 {
                state.note_undeliverable(queue, overdue as u64);
            }
        } else {
            state.note_deliverable();
        }
        // What was taken away made room for what comes behind it.
        let is_going_on = !granted.is_empty() || !dead.is_empty() || expired > 0;
        if !granted.is_empty()
            && let Some(waiter) = state.line.pop_first()
        {
            state.hold_back_anew();
            if let Some(attempt) = waiter.attempt.as_deref().copied() {
                state.attempts.note(now, attempt, &granted, visibility_ms);
            }
            if let Err(unwanted) = waiter.reply.grant(queue.id, granted) {
                self.undo(queue.id, &unwanted);
            }
        }
        self.bury_all(queue, dead);
        if is_going_on {
            self.note_lazy(now, queue.id);
        }
        is_going_on
    }

    fn undo(&mut self, id: QueueId, grants: &[Grant]) {
        if let Some(state) = self.queues.get_mut(id) {
            for grant in grants {
                state.ledger.undo_lease(lease_id(id, grant));
            }
        }
    }

    /// Receivers went away before they got these.
    pub(super) fn give_back(&mut self, now: Now, leases: &[LeaseId]) {
        for &lease in leases {
            if let Some(state) = self.queues.get_mut(lease.queue)
                && state.ledger.undo_lease(lease)
            {
                state.attempts.given_back(lease);
                self.note_lazy(now, lease.queue);
            }
        }
        if let Some(lease) = leases.first() {
            self.settle_down(now, lease.queue);
        }
    }

    /// Answers those who have waited long enough, unless a look at the log is still to bring something.
    pub(super) fn dismiss(&mut self, now: Now, id: QueueId) {
        let in_flight_max = self.catalog.queue_by_id(id).map_or(0, |queue| queue.policy.in_flight_max);
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        if state.is_looking() {
            return;
        }
        while let Some(waiter) = state.line.pop_due(now.monotonic) {
            let in_flight = state.ledger.in_flight();
            if waiter.is_hasty && in_flight >= in_flight_max {
                waiter.reply.refuse(LeaseError::OverLimit { in_flight });
            } else {
                waiter.reply.nothing(id);
            }
        }
    }

    /// Receivers could not be given these: they go where the dead go, so that they are not leased over and over.
    pub(super) fn unreceivable(&mut self, now: Now, id: QueueId, malformed: &[LeaseId], gone: &[LeaseId]) {
        let has_place = |queue: &Queue| queue.policy.dead_letter.is_some() && self.gives_up(queue);
        let kept = self.catalog.queue_by_id(id).is_some_and(|queue| has_place(queue));
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        for &lease in gone {
            // One that is settled or over needs nothing.
            let _ = state.ledger.settle(now, lease, Outcome::Ack);
        }
        let mut dead = Vec::new();
        for &lease in malformed {
            match state.ledger.settle(now, lease, Outcome::DeadLetter) {
                Ok(Settled::WantsDeadLetter(record)) => dead.push(record),
                Ok(Settled::Acked | Settled::Released | Settled::Extended) | Err(_) => {}
            }
        }
        state.malformed += dead.len() as u64;
        for record in dead {
            tracing::warn!(
                queue = id.0, partition = %record.partition, offset = %record.offset, kept,
                "a record that cannot be decoded leaves its queue"
            );
            match kept {
                true => self.bury(id, record, Reason::Malformed, None),
                false => self.settle_dead(id, record),
            }
        }
        self.note_lazy(now, id);
        self.settle_down(now, id);
    }

    /// There is no place for the dead: the record is settled.
    pub(super) fn settle_dead(&mut self, id: QueueId, record: DeadRecord) {
        if let Some(state) = self.queues.get_mut(id) {
            state.ledger.moved(record.partition, record.offset);
        }
    }

    pub(super) fn settle(
        &mut self,
        now: Now,
        id: QueueId,
        outcomes: Vec<(LeaseId, Outcome)>,
        reply: Reply<Vec<Result<(), SettleError>>, SettleError>,
    ) {
        let Some(state) = self.queues.get_mut(id) else {
            drop(reply.send(Err(SettleError::NotFound)));
            return;
        };
        let mut is_awaited = false;
        let mut dead = Vec::new();
        let mut results = Vec::with_capacity(outcomes.len());
        for (index, (lease, outcome)) in outcomes.into_iter().enumerate() {
            if lease.queue != id {
                results.push(Err(SettleError::Unknown));
                continue;
            }
            let settled = state.ledger.settle(now, lease, outcome);
            // What was settled before may not be durable yet, and whoever hears so relies on it.
            is_awaited |= matches!(settled, Ok(Settled::Acked) | Err(SettleError::Settled));
            if let Ok(Settled::WantsDeadLetter(record)) = settled {
                dead.push((index, record));
            }
            results.push(settled.map(|_| ()));
        }
        if results.iter().any(Result::is_ok) {
            self.note_lazy(now, id);
        }
        self.answer_settled(id, is_awaited, results, dead, reply);
        self.settle_down(now, id);
    }

    /// Answers at once, when the acks are durable, or when the dead have been moved.
    fn answer_settled(
        &mut self,
        id: QueueId,
        is_awaited: bool,
        results: Vec<Result<(), SettleError>>,
        dead: Vec<(usize, DeadRecord)>,
        reply: Reply<Vec<Result<(), SettleError>>, SettleError>,
    ) {
        let has_target = self.catalog.queue_by_id(id).is_some_and(|it| it.policy.dead_letter.is_some());
        if !dead.is_empty() && has_target {
            let wait = self.queues.moves.wait(results, dead.len(), reply);
            for (index, record) in dead {
                self.bury(id, record, Reason::Rejected, Some((wait, index)));
            }
            return;
        }
        let is_awaited = is_awaited || !dead.is_empty();
        for (_, record) in dead {
            self.settle_dead(id, record);
        }
        if is_awaited {
            self.dirty.insert(Owner::Ledger(id.0));
            self.answer_when_durable(when_durable(reply, results));
        } else {
            drop(reply.send(Ok(results)));
        }
    }
}
