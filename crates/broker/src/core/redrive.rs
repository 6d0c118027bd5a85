//! Move tasks: records of a queue go back to where they were dead-lettered from, or to another queue's topic.
//!
//! Invariant: as for dead letters, one commit appends the copy, settles the source and counts it in the task. What a task
//! has under way is in memory alone, so a crash gives it back to the queue, and the task goes on with it. A task without a
//! filter takes what would be leased next; one with a filter looks through the log and takes what matches, wherever it
//! stands, so that what it does not want neither waits for it nor holds it up (`search`).
//! Source: SQS API reference, StartMessageMoveTask.

mod search;
mod tasks;

use duolog_record::Record;
use duolog_storage::ReadError;

use self::tasks::Running;
pub(super) use self::tasks::Tasks;
use super::Core;
use super::command::Reply;
use super::dead_letter::{Copy, DeadFound, Place};
use super::declare::no_queue;
use super::line::lease_id;
use super::verdict::when_durable;
use crate::errors::ChangeError;
use crate::ledger::{LeaseResult, Settled};
use crate::limits::{LOOK_RETRY_MS, MOVE_FILTER_BYTES, MOVE_HELD, MOVE_POLL_MS, MOVE_TASKS};
use crate::state::{MoveValue, Owner};
use crate::{
    LeaseId, MoveId, MoveSpec, MoveStatus, MoveTask, NewRecord, Now, Outcome, Queue, QueueId, TopicId,
    headers,
};

impl Core {
    pub(super) fn start_move(&mut self, now: Now, spec: MoveSpec, reply: Reply<MoveId, ChangeError>) {
        match self.add_move(now, spec) {
            Ok(id) => self.answer_when_durable(when_durable(reply, id)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn add_move(&mut self, now: Now, spec: MoveSpec) -> Result<MoveId, ChangeError> {
        let invalid = |what, why: &str| Err(ChangeError::Invalid { what, why: why.to_owned() });
        let source = self.catalog.queue_by_id(spec.source).ok_or_else(no_queue)?;
        if let Some(destination) = spec.destination {
            let destination = self.catalog.queue_by_id(destination).ok_or_else(no_queue)?;
            if destination.topic == source.topic {
                return invalid("destination", "it reads the same topic as the source");
            }
        }
        if spec.rate_per_s == Some(0) {
            return invalid("rate_per_s", "it is 0");
        }
        if spec.filter.as_ref().is_some_and(|filter| filter.bytes() > MOVE_FILTER_BYTES) {
            return invalid("filter", "it is longer than 64 KiB");
        }
        if self.tasks.active_of(spec.source).is_some() {
            return Err(ChangeError::Exists(format!("a move from queue {}", source.name)));
        }
        if self.tasks.active_count() >= MOVE_TASKS {
            return Err(ChangeError::OverLimit("as many moves are running as may; wait for one to end"));
        }
        let to_move = self.queues.get(spec.source).map_or(0, |state| {
            let counts = state.ledger.depth();
            counts.available + counts.in_flight + counts.delayed
        });
        let id = self.tasks.next_id();
        let (source, status) = (spec.source, MoveStatus::Running);
        let task = MoveTask { id, spec, status, moved: 0, to_move, started_at: now.wall, ended_at: None };
        self.tasks.insert(Running::new(task, now.monotonic));
        self.dirty.insert(Owner::Move(id.0));
        for gone in self.tasks.forget_oldest(source) {
            self.dirty.insert(Owner::Move(gone.0));
        }
        Ok(id)
    }

    pub(super) fn list_moves(&mut self, source: Option<QueueId>, reply: Reply<Vec<MoveTask>, ChangeError>) {
        let tasks = self.tasks.of(source);
        self.answer_when_durable(when_durable(reply, tasks));
    }

    pub(super) fn cancel_move(&mut self, now: Now, id: MoveId, reply: Reply<MoveTask, ChangeError>) {
        let Some(running) = self.tasks.get_mut(id) else {
            drop(reply.send(Err(ChangeError::NotFound("the move".to_owned()))));
            return;
        };
        if !running.task.is_active() {
            let why = "it is over".to_owned();
            drop(reply.send(Err(ChangeError::Invalid { what: "move", why })));
            return;
        }
        running.task.status = MoveStatus::Cancelling;
        self.dirty.insert(Owner::Move(id.0));
        self.step_move(now, id);
        if let Some(running) = self.tasks.get(id) {
            let task = running.task.clone();
            self.answer_when_durable(when_durable(reply, task));
        }
    }

    /// Goes on with what is due.
    pub(super) fn tick_moves(&mut self, now: Now) {
        for id in self.tasks.due(now.monotonic) {
            self.step_move(now, id);
        }
    }

    /// Takes the next records of a task, or ends it.
    fn step_move(&mut self, now: Now, id: MoveId) {
        let Some(running) = self.tasks.get_mut(id) else {
            return;
        };
        running.next_at = None;
        if running.outstanding > 0 {
            // It goes on when they have come to their end.
            return;
        }
        if running.task.status == MoveStatus::Cancelling {
            return self.end_move(now, id, MoveStatus::Cancelled);
        }
        if running.task.spec.filter.is_some() || running.task.spec.dry_run {
            return self.search(now, id);
        }
        let (held, moved, to_move) = (running.held.len(), running.task.moved, running.task.to_move);
        let seen = moved + held as u64;
        if seen >= to_move {
            return self.end_move(now, id, MoveStatus::Completed);
        }
        if held >= MOVE_HELD {
            let reason = format!(
                "{held} records cannot be read and are kept from receivers meanwhile, and more may not be"
            );
            return self.end_move(now, id, MoveStatus::Failed { reason });
        }
        let count = running.at_once().min(u32::try_from(to_move - seen).unwrap_or(u32::MAX));
        let source = running.task.spec.source;
        let Some(queue) = self.catalog.queue_by_id(source).cloned() else {
            return;
        };
        let leases = self.take_for_move(now, &queue, count);
        if leases.is_empty() {
            let Some(state) = self.queues.get(source) else {
                return;
            };
            if !state.is_looking() && !state.ledger.has_available() {
                return self.end_move(now, id, MoveStatus::Completed);
            }
        }
        if leases.is_empty() {
            if let Some(running) = self.tasks.get_mut(id) {
                running.next_at = Some(now.monotonic.plus_ms(MOVE_POLL_MS));
            }
            return;
        }
        self.line_up(now, id, leases);
    }

    /// The task looks at these in its turn, and takes the next when its rate allows.
    fn line_up(&mut self, now: Now, id: MoveId, leases: Vec<LeaseId>) {
        if let Some(running) = self.tasks.get_mut(id) {
            running.outstanding = leases.len();
            let pause_ms =
                running.task.spec.rate_per_s.map(|rate| leases.len() as u64 * 1000 / u64::from(rate));
            running.next_at = pause_ms.map(|pause_ms| now.monotonic.plus_ms(pause_ms.max(1)));
            running.unread = leases;
            if !std::mem::replace(&mut running.is_in_line, true) {
                self.queues.moves.line_up(id);
            }
        }
        self.admit_lookers();
    }

    /// Takes records out of reach of receivers, in memory alone.
    fn take_for_move(&mut self, now: Now, queue: &Queue, count: u32) -> Vec<LeaseId> {
        let Some(state) = self.queues.get_mut(queue.id) else {
            return Vec::new();
        };
        state.wake(now);
        let LeaseResult { granted, .. } = state.ledger.lease(now, &queue.policy, count, 0, false);
        let mut leases = Vec::with_capacity(granted.len());
        for grant in granted {
            let lease = lease_id(queue.id, &grant);
            if let Ok(Settled::WantsDeadLetter(record)) = state.ledger.settle(now, lease, Outcome::DeadLetter)
            {
                state.dead.take(record);
                leases.push(lease);
            }
        }
        self.note_lazy(now, queue.id);
        self.settle_down(now, queue.id);
        leases
    }

    /// Records of a task were read, in the order of their offsets; `rest` was left for another look.
    pub(super) fn found_redrive(
        &mut self,
        now: Now,
        id: MoveId,
        found: Vec<(LeaseId, DeadFound)>,
        rest: Vec<LeaseId>,
    ) {
        self.end_look();
        let Some(source) = self.tasks.get(id).map(|running| running.task.spec.source) else {
            return self.admit_lookers();
        };
        let Some(queue) = self.catalog.queue_by_id(source).cloned() else {
            return self.admit_lookers();
        };
        for lease in rest {
            self.release_for_move(&queue, id, lease);
        }
        for (lease, found) in found {
            self.take_found(now, &queue, id, lease, found);
        }
        self.go_on_with_move(now, id);
        self.settle_down(now, source);
    }

    fn take_found(&mut self, now: Now, queue: &Queue, id: MoveId, lease: LeaseId, found: DeadFound) {
        let place = (lease.partition, lease.offset);
        let is_taken = self.queues.get(queue.id).is_some_and(|state| state.dead.has(place));
        let Some(running) = self.tasks.get_mut(id) else {
            return;
        };
        if !is_taken {
            // Purged meanwhile, and no longer counted.
            return;
        }
        if running.task.status != MoveStatus::Running {
            return self.release_for_move(queue, id, lease);
        }
        let spec = running.task.spec.clone();
        match found {
            DeadFound::Record { record, packed } => match self.target_of_move(queue, &spec, &record) {
                Ok(topic) => self.send_on(queue, id, place, topic, record, packed),
                Err(reason) => self.fail_move_task(now, queue, id, lease, reason),
            },
            DeadFound::Malformed(_) => {
                let reason = format!("the record at {}/{} cannot be decoded", place.0, place.1);
                self.fail_move_task(now, queue, id, lease, reason);
            }
            DeadFound::Gone => {
                // Nothing to move: as if it had been.
                running.outstanding = running.outstanding.saturating_sub(1);
                if let Some(state) = self.queues.get_mut(queue.id) {
                    state.dead.forget(place);
                    state.ledger.moved(place.0, place.1);
                }
            }
            DeadFound::Unreadable(error @ ReadError::Damaged { .. }) => {
                tracing::warn!(queue = queue.name, %error, "a record that is to be moved is damaged");
                running.outstanding = running.outstanding.saturating_sub(1);
                running.held.push((place, lease));
            }
            DeadFound::Unreadable(error) => {
                tracing::warn!(queue = queue.name, %error, "a record that is to be moved cannot be read");
                self.release_for_move(queue, id, lease);
                if let Some(running) = self.tasks.get_mut(id) {
                    running.next_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
                }
            }
        }
    }

    /// The topic that a record is to go to.
    fn target_of_move(&self, queue: &Queue, spec: &MoveSpec, record: &Record) -> Result<TopicId, String> {
        let target = match spec.destination {
            Some(destination) => {
                self.catalog.queue_by_id(destination).ok_or("the destination queue was deleted")?
            }
            None => {
                let header = record.headers.iter().find(|header| header.key == headers::DEAD_SOURCE);
                let name = header.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok());
                let name = name.ok_or_else(|| {
                    let offset = record.offset;
                    format!("the record at offset {offset} was not dead-lettered: name a destination")
                })?;
                self.catalog
                    .queue(&queue.namespace, name)
                    .ok_or_else(|| format!("queue {name} does not exist any more: name a destination"))?
            }
        };
        if target.topic == queue.topic {
            return Err(format!("queue {} reads the topic that the records come from", target.name));
        }
        if !self.has_sound_partition(target.topic) {
            return Err(format!(
                "queue {} takes no records, because files of its topic are damaged",
                target.name
            ));
        }
        Ok(target.topic)
    }

    /// Puts a copy into the line of the dead letters: without their story, with its first place.
    fn send_on(
        &mut self,
        queue: &Queue,
        id: MoveId,
        place: Place,
        topic: TopicId,
        record: Record,
        packed: bool,
    ) {
        let Some(partition) = self.sound_place(topic, record.key.as_deref(), &record.headers) else {
            return;
        };
        let Record { timestamp, key, value, mut headers, .. } = record;
        headers.retain(|header| !header.key.starts_with(headers::DEAD_PREFIX));
        if !headers.iter().any(|header| header.key == headers::ORIGIN) {
            headers.push(self.origin(queue.topic, place));
        }
        let record = NewRecord { key, value, headers, timestamp: Some(timestamp), ..NewRecord::default() };
        self.queue_move(queue.id, place, Copy { places: vec![(topic, partition)], record, packed }, Some(id));
    }

    /// A record of a task is in the frame.
    pub(super) fn move_sealed(&mut self, now: Now, id: MoveId) {
        if let Some(running) = self.tasks.get_mut(id) {
            running.task.moved += 1;
            running.outstanding = running.outstanding.saturating_sub(1);
            self.dirty.insert(Owner::Move(id.0));
            self.go_on_with_move(now, id);
        }
    }

    /// The topic of a record's destination has gone while it was on its way.
    pub(super) fn move_unsealed(&mut self, now: Now, id: MoveId) {
        if let Some(running) = self.tasks.get_mut(id) {
            running.outstanding = running.outstanding.saturating_sub(1);
            let reason = "the destination queue was deleted".to_owned();
            self.end_move(now, id, MoveStatus::Failed { reason });
        }
    }

    /// Takes the next records soon, if there is nothing under way and no rate to keep.
    fn go_on_with_move(&mut self, now: Now, id: MoveId) {
        if let Some(running) = self.tasks.get_mut(id)
            && running.task.is_active()
            && running.outstanding == 0
        {
            running.next_at.get_or_insert(now.monotonic);
        }
    }

    fn fail_move_task(&mut self, now: Now, queue: &Queue, id: MoveId, lease: LeaseId, reason: String) {
        self.release_for_move(queue, id, lease);
        self.end_move(now, id, MoveStatus::Failed { reason });
    }

    /// Gives a record back that was not moved.
    fn release_for_move(&mut self, queue: &Queue, id: MoveId, lease: LeaseId) {
        if self.give_back_moved(queue.id, lease)
            && let Some(running) = self.tasks.get_mut(id)
        {
            running.outstanding = running.outstanding.saturating_sub(1);
        }
    }

    /// As if it had never been taken; false if it was settled meanwhile.
    fn give_back_moved(&mut self, queue: QueueId, lease: LeaseId) -> bool {
        let place = (lease.partition, lease.offset);
        let Some(state) = self.queues.get_mut(queue).filter(|state| state.dead.has(place)) else {
            return false;
        };
        state.dead.forget(place);
        state.ledger.move_failed(place.0, place.1);
        state.ledger.undo_lease(lease);
        true
    }

    /// A task is over: what it has held is the queue's again.
    fn end_move(&mut self, now: Now, id: MoveId, status: MoveStatus) {
        let Some(running) = self.tasks.get_mut(id) else {
            return;
        };
        if let MoveStatus::Failed { reason } = &status {
            tracing::warn!(queue = running.task.spec.source.0, reason, "a move has failed");
        }
        running.task.status = status;
        running.task.ended_at = Some(now.wall);
        let (source, held) = (running.task.spec.source, std::mem::take(&mut running.held));
        self.tasks.end(id);
        self.dirty.insert(Owner::Move(id.0));
        for (_, lease) in held {
            let _was_there = self.give_back_moved(source, lease);
        }
        self.note_lazy(now, source);
        self.settle_down(now, source);
    }

    /// Everything in a queue was settled: nothing of it is under way or held.
    pub(super) fn abandon_move(&mut self, now: Now, source: QueueId) {
        if let Some(running) = self.tasks.active_of(source).and_then(|id| self.tasks.get_mut(id)) {
            running.outstanding = 0;
            running.unread.clear();
            running.held.clear();
            running.next_at = Some(now.monotonic);
        }
    }

    /// A queue is gone, and its moves with it.
    pub(super) fn forget_moves(&mut self, source: QueueId) {
        for id in self.tasks.forget(source) {
            self.dirty.insert(Owner::Move(id.0));
        }
    }

    /// What was running when the last run ended goes on.
    pub(super) fn recover_moves(&mut self, now: Now, moves: impl Iterator<Item = (u64, MoveValue)>) {
        for (id, value) in moves {
            if self.catalog.queue_by_id(QueueId(value.source)).is_some() {
                self.tasks.recover(now.monotonic, id, value);
            }
        }
    }
}
