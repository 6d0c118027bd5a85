//! Topics: created, changed, trimmed, deleted.

use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use duolog_storage::Trim;

use super::Core;
use super::command::Reply;
use super::sequencer::Sequencer;
use super::verdict::when_durable;
use crate::catalog::RELAXED;
use crate::catalog::labels_bytes;
use crate::errors::ChangeError;
use crate::limits::{
    DEDUP_WINDOW_MS, LABELS_BYTES, LABELS_BYTES_ALL, NAME_BYTES, PARTITIONS, PARTITIONS_PER_TOPIC,
    PENDING_TRIMS, TOPICS,
};
use crate::routing::Destination;
use crate::state::Owner;
use crate::{DedupPolicy, Labels, Now, Order, QueueId, Topic, TopicId, TopicPolicy, TopicSpec};

const TOO_MANY_PARTITIONS: &str = "there must be 1 to 10000";

fn invalid(what: &'static str, why: &str) -> ChangeError {
    ChangeError::Invalid { what, why: why.to_owned() }
}

/// A name of a topic, queue or namespace.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), ChangeError> {
    match name.len() {
        0 => Err(invalid(what, "it is empty")),
        bytes if bytes > NAME_BYTES => Err(invalid(what, "it is longer than 249 bytes")),
        _ => Ok(()),
    }
}

fn check_policy(policy: &TopicPolicy) -> Result<(), ChangeError> {
    let room = crate::limits::GROUP_BYTES as u64;
    if policy.batch_bytes_max == 0 {
        return Err(invalid("batch_bytes_max", "it is 0"));
    }
    if u64::from(policy.batch_bytes_max) > room {
        return Err(invalid("batch_bytes_max", "it is more than one commit takes (16 MiB)"));
    }
    check_dedup(policy.dedup.as_ref())
}

fn check_dedup(dedup: Option<&DedupPolicy>) -> Result<(), ChangeError> {
    if dedup.is_some_and(|dedup| dedup.window_ms > DEDUP_WINDOW_MS) {
        return Err(invalid("dedup_window_ms", "it is more than 7 days"));
    }
    Ok(())
}

impl Core {
    pub(super) fn create_topic(&mut self, now: Now, spec: TopicSpec, reply: Reply<TopicId, ChangeError>) {
        match self.check_topic(&spec) {
            Ok(()) => {
                let id = self.add_topic(now, spec, false);
                self.answer_when_durable(when_durable(reply, id));
            }
            Err(error) => self.refuse_declaration(reply, error),
        }
    }

    pub(super) fn check_topic(&self, spec: &TopicSpec) -> Result<(), ChangeError> {
        check_name("namespace", &spec.namespace)?;
        check_name("name", &spec.name)?;
        self.check_labels(&spec.labels, &Labels::new())?;
        check_policy(&spec.policy)?;
        if spec.partitions == 0 || spec.partitions > PARTITIONS_PER_TOPIC {
            return Err(invalid("partitions", TOO_MANY_PARTITIONS));
        }
        if self.catalog.topic(&spec.namespace, &spec.name).is_some() {
            return Err(ChangeError::Exists(spec.name.clone()));
        }
        self.check_room(spec.partitions as usize)?;
        if self.catalog.topics.len() >= TOPICS {
            return Err(ChangeError::OverLimit("the broker holds as many topics as it may"));
        }
        if self.partitions.len() + spec.partitions as usize > PARTITIONS {
            return Err(ChangeError::OverLimit("the broker holds as many partitions as it may"));
        }
        Ok(())
    }

    /// Labels that are to stand where others did.
    pub(super) fn check_labels(&self, labels: &Labels, before: &Labels) -> Result<(), ChangeError> {
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > LABELS_BYTES {
            return Err(invalid("labels", "they are longer than 64 KiB"));
        }
        let (more, less) = (labels_bytes(labels), labels_bytes(before));
        if more > less && self.catalog.labels_bytes + (more - less) > LABELS_BYTES_ALL {
            let all = "the labels of all topics and queues take as much memory as they may (256 MiB)";
            return Err(ChangeError::OverLimit(all));
        }
        Ok(())
    }

    /// A commit has only so many places.
    fn check_room(&self, partitions: usize) -> Result<(), ChangeError> {
        if self.changes.trims.len() + partitions > PENDING_TRIMS {
            return Err(ChangeError::OverLimit("too many changes wait to be written; try again"));
        }
        Ok(())
    }

    /// Adds a topic that was checked.
    pub(super) fn add_topic(&mut self, now: Now, spec: TopicSpec, made_by_queue: bool) -> TopicId {
        let mut id = TopicId(self.seed.next_id());
        while self.catalog.topic_by_id(id).is_some() {
            id = TopicId(self.seed.next_id());
        }
        let partitions = (0..spec.partitions).map(|index| self.new_partition(id, index)).collect();
        let TopicSpec { namespace, name, policy, labels, .. } = spec;
        let created_at = now.wall;
        self.catalog.put_topic(Topic {
            id,
            namespace,
            name,
            partitions,
            policy,
            made_by_queue,
            created_at,
            labels,
        });
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Topic(id.0)]);
        id
    }

    fn new_partition(&mut self, topic: TopicId, index: u32) -> PartitionId {
        let partition = PartitionId(self.counters.next_partition);
        self.counters.next_partition += 1;
        self.partitions.insert(partition, Sequencer::new(topic, index, 0));
        self.catalog.epochs.insert(partition, 0);
        // So that the log knows the partition before its first record.
        self.changes.trims.push(Trim::Start { partition, start: Offset(0) });
        partition
    }

    pub(super) fn add_partitions(&mut self, id: TopicId, total: u32, reply: Reply<(), ChangeError>) {
        match self.grow_topic(id, total) {
            Ok(()) => self.answer_when_durable(when_durable(reply, ())),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn grow_topic(&mut self, id: TopicId, total: u32) -> Result<(), ChangeError> {
        let known =
            self.catalog.topic_by_id(id).ok_or_else(|| ChangeError::NotFound("the topic".to_owned()))?;
        let mut topic = Topic::clone(known);
        let has = topic.partitions.len();
        if total > PARTITIONS_PER_TOPIC {
            return Err(invalid("partitions", TOO_MANY_PARTITIONS));
        }
        let Some(more) = (total as usize).checked_sub(has).filter(|&more| more > 0) else {
            return Err(invalid(
                "partitions",
                &format!("the topic has {has} already, and none is taken away"),
            ));
        };
        let is_ordered = |queue: &&QueueId| {
            self.catalog.queue_by_id(**queue).is_some_and(|queue| queue.policy.order == Order::ByKey)
        };
        if let Some(queue) = self.queues.on(id).iter().find(is_ordered) {
            let name = self.catalog.queue_by_id(*queue).map_or("", |queue| &queue.name);
            let why =
                format!("queue {name} hands out records in the order of their keys, which more would break");
            return Err(invalid("partitions", &why));
        }
        self.check_room(more)?;
        if self.partitions.len() + more > PARTITIONS {
            return Err(ChangeError::OverLimit("the broker holds as many partitions as it may"));
        }
        let first = u32::try_from(has).unwrap_or(u32::MAX);
        let added: Vec<_> = (first..total).map(|index| self.new_partition(id, index)).collect();
        for queue in self.queues.on(id).to_vec() {
            if let Some(state) = self.queues.get_mut(queue) {
                added.iter().for_each(|&partition| state.ledger.add_partition(partition, Offset(0)));
                self.dirty.insert(Owner::Ledger(queue.0));
            }
        }
        topic.partitions.extend(added);
        self.catalog.put_topic(topic);
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Topic(id.0)]);
        Ok(())
    }

    pub(super) fn delete_topic(&mut self, id: TopicId, reply: Reply<(), ChangeError>) {
        let partitions = self.catalog.topic_by_id(id).map_or(0, |topic| topic.partitions.len());
        if let Err(error) = self.check_room(partitions) {
            drop(reply.send(Err(error)));
        } else if self.remove_topic(id) {
            self.answer_when_durable(when_durable(reply, ()));
        } else {
            drop(reply.send(Err(ChangeError::NotFound("the topic".to_owned()))));
        }
    }

    /// Takes a topic away with all that hangs on it; false if there is none.
    pub(super) fn remove_topic(&mut self, id: TopicId) -> bool {
        if self.catalog.topic_by_id(id).is_none() {
            return false;
        }
        for queue in self.queues.on(id).to_vec() {
            self.remove_queue(queue);
        }
        self.forget_bindings_to(Destination::Topic(id));
        let Some(topic) = self.catalog.remove_topic(id) else {
            return false;
        };
        for &partition in &topic.partitions {
            self.partitions.remove(&partition);
            for (partition, producer) in self.producers.remove_partition(partition) {
                self.dirty.insert(Owner::Producer(partition.0, producer));
            }
            self.changes.trims.push(Trim::Remove { partition });
            self.changes.removed.push(partition);
        }
        self.forget_cursors_in(&topic.partitions);
        self.appends.forget_topic(id);
        self.dedup.forget_topic(id);
        self.remove_delays(id);
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Topic(id.0)]);
        true
    }

    /// Changes a topic if it still is what the sender has seen.
    pub(super) fn set_topic(
        &mut self,
        known: &Topic,
        policy: TopicPolicy,
        labels: Labels,
        reply: Reply<bool, ChangeError>,
    ) {
        let is_known = self.catalog.topic_by_id(known.id).is_none_or(|is| **is == *known);
        match if is_known { self.change_topic(known.id, policy, labels) } else { Ok(()) } {
            Ok(()) => self.answer_when_durable(when_durable(reply, is_known)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn change_topic(&mut self, id: TopicId, policy: TopicPolicy, labels: Labels) -> Result<(), ChangeError> {
        check_policy(&policy)?;
        let known =
            self.catalog.topic_by_id(id).ok_or_else(|| ChangeError::NotFound("the topic".to_owned()))?;
        self.check_labels(&labels, &known.labels)?;
        let mut topic = Topic { policy, labels, ..Topic::clone(known) };
        // What has happened to it is not for a change to forget.
        topic.labels.extend(known.labels.get_key_value(RELAXED).map(|(name, it)| (name.clone(), it.clone())));
        self.catalog.put_topic(topic);
        self.catalog_changed = true;
        self.dirty.extend([Owner::Broker, Owner::Topic(id.0)]);
        Ok(())
    }

    pub(super) fn trim(
        &mut self,
        partition: PartitionId,
        start: Offset,
        over_queues: bool,
        reply: Reply<Offset, ChangeError>,
    ) {
        let allowed = if over_queues { Ok(()) } else { self.check_unneeded(partition, start) };
        if let Err(error) = allowed.and_then(|()| self.check_room(1)) {
            drop(reply.send(Err(error)));
            return;
        }
        match self.move_start(partition, start) {
            Some(start) => self.answer_when_durable(when_durable(reply, start)),
            None => drop(reply.send(Err(ChangeError::NotFound("the partition".to_owned())))),
        }
    }

    /// # Errors
    /// `Invalid` if a queue has not settled everything below `start`.
    fn check_unneeded(&self, partition: PartitionId, start: Offset) -> Result<(), ChangeError> {
        let end = self.partitions.get(&partition).map_or(start, |sequencer| sequencer.durable);
        let start = start.min(end);
        let Some((queue, from)) = self.pins(partition, &[]).into_iter().find(|&(_, from)| from < start)
        else {
            return Ok(());
        };
        let name = self.catalog.queue_by_id(queue).map_or("", |queue| &queue.name);
        let why = format!("queue {name} has not settled what lies from offset {from} on: purge it first");
        Err(invalid("start", &why))
    }

    /// Moves a partition's start up, at most to what is durable; gives the start that then holds.
    pub(super) fn move_start(&mut self, partition: PartitionId, start: Offset) -> Option<Offset> {
        let sequencer = self.partitions.get_mut(&partition)?;
        let start = start.min(sequencer.durable);
        if start > sequencer.start {
            sequencer.start = start;
            self.changes.trims.push(Trim::Start { partition, start });
            self.queue_start_moved(partition, start);
        }
        self.partitions.get(&partition).map(|it| it.start)
    }

    /// Notes the catalog as it is now in what the next group will show.
    pub(super) fn publish_catalog(&mut self) {
        if std::mem::take(&mut self.catalog_changed) {
            self.changes.catalog = Some(Arc::new(self.catalog.clone()));
        }
    }
}
