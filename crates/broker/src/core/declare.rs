//! Queues: declared, changed, deleted.

use duolog_record::TimestampType;

use super::Core;
use super::command::Reply;
use super::rewind::{AtTime, Found};
use super::topics::check_name;
use super::verdict::{Verdict, refused_when_durable, when_durable};
use crate::errors::{ChangeError, LeaseError, SettleError};
use crate::ledger::Ledger;
use crate::limits::{BINDING_KEY_BYTES, GROUP_BYTES, PRIORITY_LEVELS, TOPIC_BATCH_BYTES_MIN, VISIBILITY_MS};
use crate::routing::Destination;
use crate::state::Owner;
use crate::{
    Backoff, DeadLetter, Keep, Labels, Now, Order, Queue, QueueId, QueuePolicy, QueueSpec, Start, Topic,
    TopicId, TopicPolicy, TopicSpec,
};

fn invalid(what: &'static str, why: &str) -> ChangeError {
    ChangeError::Invalid { what, why: why.to_owned() }
}

pub(super) fn no_queue() -> ChangeError {
    ChangeError::NotFound("the queue".to_owned())
}

fn check_policy(name: &str, policy: &QueuePolicy) -> Result<(), ChangeError> {
    if policy.visibility_timeout_ms > VISIBILITY_MS {
        return Err(invalid("visibility_timeout_ms", "it is more than 12 hours"));
    }
    if policy.attempts_max == Some(0) {
        return Err(invalid("attempts_max", "it is 0"));
    }
    if policy.in_flight_max == 0 {
        return Err(invalid("in_flight_max", "it is 0"));
    }
    match policy.backoff {
        Backoff::None => {}
        Backoff::Fixed { ms } if ms <= VISIBILITY_MS => {}
        Backoff::Exponential { base_ms, max_ms } if base_ms <= max_ms && max_ms <= VISIBILITY_MS => {}
        Backoff::Exponential { base_ms, max_ms } if base_ms > max_ms => {
            return Err(invalid("backoff", "it begins with more than its maximum"));
        }
        Backoff::Fixed { .. } | Backoff::Exponential { .. } => {
            return Err(invalid("backoff", "it is more than 12 hours"));
        }
    }
    if policy.message_bytes_max as usize > GROUP_BYTES {
        return Err(invalid("message_bytes_max", "it is more than one commit takes (16 MiB)"));
    }
    match &policy.dead_letter {
        Some(DeadLetter::Queue(target)) => {
            check_name("dead_letter", target)?;
            if target == name {
                return Err(invalid("dead_letter", "a queue cannot be its own dead-letter queue"));
            }
        }
        Some(DeadLetter::Exchange { name, key }) => {
            if !name.is_empty() {
                check_name("dead_letter", name)?;
            }
            if key.as_ref().is_some_and(|key| key.len() > BINDING_KEY_BYTES) {
                return Err(invalid("dead_letter", "its key is longer than 255 bytes"));
            }
        }
        None => {}
    }
    check_unordered(policy)
}

/// Some things only queues can do that do not look at keys.
fn check_unordered(policy: &QueuePolicy) -> Result<(), ChangeError> {
    let wanted = [
        ("dead_letter", matches!(policy.dead_letter, Some(DeadLetter::Exchange { .. }))),
        ("length_max", policy.length_max.is_some()),
        ("length_bytes_max", policy.length_bytes_max.is_some()),
        ("priority_max", policy.priority_max.is_some()),
    ];
    match wanted.into_iter().find(|(_, is_wanted)| *is_wanted && policy.order != Order::Standard) {
        Some((what, _)) => Err(invalid(what, "only queues in standard order have this")),
        None => Ok(()),
    }
}

/// The topic that a queue makes for itself.
fn own_topic(spec: &QueueSpec, name: &str) -> TopicSpec {
    // The lengths and headers around a message need room beside it.
    let batch_bytes_max = spec.policy.message_bytes_max.saturating_mul(2).max(TOPIC_BATCH_BYTES_MIN);
    TopicSpec {
        namespace: spec.namespace.clone(),
        name: name.to_owned(),
        partitions: spec.policy.priority_max.map_or(1, |max| (u32::from(max) + 1).min(PRIORITY_LEVELS)),
        policy: TopicPolicy {
            keep: Keep::UntilSettled { after: 0 },
            retention_ms: None,
            retention_bytes: None,
            batch_bytes_max: batch_bytes_max.min(u32::try_from(GROUP_BYTES).unwrap_or(u32::MAX)),
            timestamps: TimestampType::Create,
            durability: spec.durability,
            dedup: spec.dedup,
        },
        labels: Labels::new(),
    }
}

impl Core {
    pub(super) fn create_queue(&mut self, now: Now, spec: QueueSpec, reply: Reply<QueueId, ChangeError>) {
        match (self.check_queue(&spec), spec.start) {
            (Ok(Some(topic)), Start::Time(at)) => {
                self.look_by_time(topic, at, AtTime::Create { spec: Box::new(spec), reply });
            }
            (Ok(_), _) => self.declare(now, spec, &Found::new(), reply),
            (Err(error), _) => self.refuse_declaration(reply, error),
        }
    }

    /// Declares a queue once it is known where it begins; much may have happened since it was asked for.
    pub(super) fn declare(
        &mut self,
        now: Now,
        spec: QueueSpec,
        found: &Found,
        reply: Reply<QueueId, ChangeError>,
    ) {
        match self.check_queue(&spec).and_then(|topic| self.add_queue(now, spec, topic, found)) {
            Ok(id) => {
                self.answer_when_durable(when_durable(reply, id));
                self.settle_outlived(now, id);
                self.settle_down(now, id);
            }
            Err(error) => self.refuse_declaration(reply, error),
        }
    }

    /// Whoever hears that something exists finds it in the catalog.
    pub(super) fn refuse_declaration<T: Send + 'static>(
        &mut self,
        reply: Reply<T, ChangeError>,
        error: ChangeError,
    ) {
        if matches!(error, ChangeError::Exists(_)) {
            self.answer_when_durable(refused_when_durable(reply, error));
        } else {
            drop(reply.send(Err(error)));
        }
    }

    /// The topic that the queue is to read, if it exists.
    fn check_queue(&self, spec: &QueueSpec) -> Result<Option<TopicId>, ChangeError> {
        check_name("namespace", &spec.namespace)?;
        check_name("name", &spec.name)?;
        self.check_labels(&spec.labels, &Labels::new())?;
        check_policy(&spec.name, &spec.policy)?;
        if self.catalog.queue(&spec.namespace, &spec.name).is_some() {
            return Err(ChangeError::Exists(spec.name.clone()));
        }
        if self.queues.is_full() {
            return Err(ChangeError::OverLimit("the broker holds as many queues as it may"));
        }
        let name = spec.topic.as_deref().unwrap_or(&spec.name);
        match self.catalog.topic(&spec.namespace, name) {
            Some(topic) => Ok(Some(topic.id)),
            None => self.check_topic(&own_topic(spec, name)).map(|()| None),
        }
    }

    fn add_queue(
        &mut self,
        now: Now,
        spec: QueueSpec,
        topic: Option<TopicId>,
        found: &Found,
    ) -> Result<QueueId, ChangeError> {
        let topic = topic.unwrap_or_else(|| {
            let own = own_topic(&spec, spec.topic.as_deref().unwrap_or(&spec.name));
            self.add_topic(now, own, true)
        });
        let floors = self.starts(topic, spec.start, found)?;
        let id = QueueId(self.counters.next_queue);
        self.counters.next_queue += 1;
        let mut ledger = Ledger::new(spec.policy.order, &floors, self.incarnation);
        for &(partition, _) in &floors {
            if let Some(sequencer) = self.partitions.get(&partition) {
                ledger.set_end(partition, sequencer.durable);
            }
        }
        ledger.set_policy(&spec.policy);
        self.queues.insert(id, topic, ledger);
        let QueueSpec { namespace, name, policy, labels, .. } = spec;
        let (created_at, modified_at) = (now.wall, now.wall);
        self.catalog.put_queue(Queue { id, namespace, name, topic, policy, created_at, modified_at, labels });
        self.watch_sizes(id);
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Queue(id.0), Owner::Ledger(id.0)]);
        Ok(id)
    }

    pub(super) fn delete_queue(&mut self, id: QueueId, reply: Reply<(), ChangeError>) {
        let Some(topic) = self.remove_queue(id) else {
            drop(reply.send(Err(no_queue())));
            return;
        };
        let is_orphan = |it: &Topic| it.made_by_queue && self.queues.on(topic).is_empty();
        if self.catalog.topic_by_id(topic).is_some_and(|it| is_orphan(it)) {
            self.remove_topic(topic);
        }
        self.answer_when_durable(when_durable(reply, ()));
    }

    /// Takes a queue away and tells those who wait for it; gives the topic that it read.
    pub(super) fn remove_queue(&mut self, id: QueueId) -> Option<TopicId> {
        let queue = self.catalog.remove_queue(id)?;
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Queue(id.0), Owner::Ledger(id.0)]);
        self.forget_bindings_to(Destination::Queue(id));
        self.abandon_dead(id, &Err(SettleError::NotFound));
        self.forget_moves(id);
        if let Some(mut state) = self.queues.remove(id) {
            for waiter in state.line.take_all() {
                self.answer_when_durable(Box::new(move |verdict| {
                    waiter.reply.refuse(match verdict {
                        Verdict::Stopped(stopped) => stopped.clone().into(),
                        Verdict::Durable | Verdict::DiskFull => LeaseError::NotFound,
                    });
                }));
            }
        }
        Some(queue.topic)
    }

    /// Changes a queue if it still is what the sender has seen.
    pub(super) fn set_queue(
        &mut self,
        now: Now,
        known: &Queue,
        policy: QueuePolicy,
        labels: Labels,
        reply: Reply<bool, ChangeError>,
    ) {
        let is_known = self.catalog.queue_by_id(known.id).is_none_or(|is| **is == *known);
        match if is_known { self.change_queue(now, known.id, policy, labels) } else { Ok(()) } {
            Ok(()) => {
                self.answer_when_durable(when_durable(reply, is_known));
                self.settle_outlived(now, known.id);
                self.settle_down(now, known.id);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn change_queue(
        &mut self,
        now: Now,
        id: QueueId,
        policy: QueuePolicy,
        labels: Labels,
    ) -> Result<(), ChangeError> {
        let known = self.catalog.queue_by_id(id).ok_or_else(no_queue)?;
        check_policy(&known.name, &policy)?;
        self.check_labels(&labels, &known.labels)?;
        if policy.order != known.policy.order {
            return Err(invalid("order", "it cannot be changed: delete the queue and declare it again"));
        }
        if let Some(state) = self.queues.get_mut(id) {
            state.ledger.set_policy(&policy);
        }
        let queue = Queue { policy, labels, modified_at: now.wall, ..Queue::clone(known) };
        self.catalog.put_queue(queue);
        self.watch_sizes(id);
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Queue(id.0)]);
        Ok(())
    }
}
