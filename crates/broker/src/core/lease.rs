//! Leasing and settling: who gets which record of a queue, and what becomes of it.
//!
//! A lease is answered at once and written lazily: what a crash forgets of it is one attempt that nobody saw settled. An
//! ack is answered when it is durable, and with it everything that was leased before.

use super::Core;
use super::command::Reply;
use super::line::{LeaseReply, Waiter, lease_id};
use super::verdict::when_durable;
use crate::errors::{LeaseError, SettleError};
use crate::ledger::{Grant, Settled};
use crate::limits::LEASES_MAX;
use crate::state::Owner;
use crate::{LeaseAsk, LeaseId, Now, Outcome, Queue, QueueId};

impl Core {
    pub(super) fn lease(&mut self, now: Now, ask: LeaseAsk, reply: LeaseReply) {
        let Some(state) = self.queues.get_mut(ask.queue) else {
            return reply.refuse(LeaseError::NotFound);
        };
        let waiter = Waiter {
            count: ask.count.clamp(1, LEASES_MAX),
            visibility_ms: ask.visibility_ms,
            is_hasty: ask.wait_ms == 0,
            deadline: now.monotonic.plus_ms(ask.wait_ms),
            reply,
        };
        if let Err(waiter) = state.line.push(waiter) {
            return waiter.reply.refuse(LeaseError::Overloaded);
        }
        state.ledger.expire(now);
        self.settle_down(now, ask.queue);
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
        let Some(state) = self.queues.get_mut(queue.id) else {
            return false;
        };
        let Some(waiter) = state.line.first() else {
            return false;
        };
        if !state.ledger.has_available() {
            return false;
        }
        let visibility_ms = waiter.visibility_ms.unwrap_or(queue.policy.visibility_timeout_ms);
        let result = state.ledger.lease(now, &queue.policy, waiter.count, visibility_ms, false);
        if result.granted.is_empty() {
            // What has outlived its time to live made room for a look at what comes behind it.
            let has_moved = result.expired > 0;
            if has_moved {
                self.note_lazy(now, queue.id);
            }
            return has_moved;
        }
        let Some(waiter) = state.line.pop_first() else {
            return false;
        };
        if let Err(unwanted) = waiter.reply.grant(queue.id, result.granted) {
            self.undo(queue.id, &unwanted);
        }
        self.note_lazy(now, queue.id);
        true
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
            if let Some(state) = self.queues.get_mut(lease.queue) {
                state.ledger.undo_lease(lease);
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

    /// Receivers could not be given these: they are settled, so that they are not leased over and over.
    pub(super) fn unreceivable(&mut self, now: Now, id: QueueId, malformed: &[LeaseId], gone: &[LeaseId]) {
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        for &lease in gone.iter().chain(malformed) {
            // One that is settled or over needs nothing.
            let _ = state.ledger.settle(now, lease, Outcome::Ack);
        }
        if !malformed.is_empty() {
            state.malformed += malformed.len() as u64;
            tracing::warn!(
                queue = id.0,
                records = malformed.len(),
                "records that cannot be decoded were settled"
            );
        }
        self.note_lazy(now, id);
        self.settle_down(now, id);
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
        let mut has_changed = false;
        let mut results = Vec::with_capacity(outcomes.len());
        for (lease, outcome) in outcomes {
            if lease.queue != id {
                results.push(Err(SettleError::Unknown));
                continue;
            }
            let settled = state.ledger.settle(now, lease, outcome);
            has_changed |= settled.is_ok();
            // What was settled before may not be durable yet, and whoever hears so relies on it.
            is_awaited |= matches!(settled, Ok(Settled::Acked) | Err(SettleError::Settled));
            results.push(settled.map(|_| ()));
        }
        if has_changed {
            self.note_lazy(now, id);
        }
        if is_awaited {
            self.queues.lazy.remove(&id);
            self.dirty.insert(Owner::Ledger(id.0));
            self.answer_when_durable(when_durable(reply, results));
        } else {
            drop(reply.send(Ok(results)));
        }
        self.settle_down(now, id);
    }
}
