//! Does the recovered state fit together and fit the log? What could only come from damage or a mistake stops the start:
//! serving on would lose or reuse offsets without a word. What an interrupted run leaves behind is put right.

use std::collections::BTreeSet;

use duolog_record::PartitionId;
use duolog_storage::Log;

use super::Core;
use super::recover::Fold;
use super::routing::rules_of;
use crate::state::{EndValue, FIRST_PARTITION, FilterValue, Owner, STATE_PARTITION};

/// `Err(message)` unless `holds`.
fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

impl Fold {
    /// # Errors
    /// What does not fit.
    pub(super) fn check(&self, log: &dyn Log) -> Result<(), String> {
        let mut of_topics = self.check_topics(log)?;
        for delay in self.delays.values() {
            let is_own = of_topics.insert(delay.partition);
            ensure(is_own, || format!("the hidden partition {} is a topic's as well", delay.partition))?;
        }
        self.check_queues()?;
        self.check_routes()?;
        for (partition, _) in log.partitions() {
            let is_known = partition == STATE_PARTITION || of_topics.contains(&partition.0);
            ensure(is_known, || format!("the log holds partition {partition}, which no topic has"))?;
        }
        let is_empty = log.bounds(STATE_PARTITION).is_none_or(|bounds| bounds.end == bounds.start);
        ensure(is_empty || self.broker.is_some(), || "the counters are missing".to_owned())
    }

    /// Gives the partitions of all topics.
    fn check_topics(&self, log: &dyn Log) -> Result<BTreeSet<u64>, String> {
        let next = self.broker.as_ref().map_or(FIRST_PARTITION, |broker| broker.next_partition);
        let mut partitions = BTreeSet::new();
        let mut names = BTreeSet::new();
        for topic in self.topics.values() {
            let name = &topic.name;
            ensure(names.insert((&topic.namespace, name)), || format!("there are two topics {name}"))?;
            ensure(!topic.partitions.is_empty(), || format!("topic {name} has no partitions"))?;
            for &(partition, _) in &topic.partitions {
                let was_given_out = (FIRST_PARTITION..next).contains(&partition);
                ensure(was_given_out, || format!("topic {name} has partition {partition}, never given out"))?;
                let is_own = partitions.insert(partition);
                ensure(is_own, || format!("partition {partition} of topic {name} is another's as well"))?;
                let is_there = log.bounds(PartitionId(partition)).is_some();
                ensure(is_there, || format!("partition {partition} of topic {name} is not in the log"))?;
            }
        }
        Ok(partitions)
    }

    fn check_queues(&self) -> Result<(), String> {
        let next = self.broker.as_ref().map_or(1, |broker| broker.next_queue);
        let mut names = BTreeSet::new();
        for (&id, queue) in &self.queues {
            let name = &queue.name;
            ensure(names.insert((&queue.namespace, name)), || format!("there are two queues {name}"))?;
            ensure((1..next).contains(&id), || format!("queue {name} has id {id}, never given out"))?;
            let has_topic = self.topics.contains_key(&queue.topic);
            ensure(has_topic, || format!("the topic of queue {name} does not exist"))?;
        }
        Ok(())
    }
}

impl Fold {
    fn check_routes(&self) -> Result<(), String> {
        let next = self.broker.as_ref().map_or(1, |broker| broker.next_queue);
        let mut names = BTreeSet::new();
        for (&id, exchange) in &self.exchanges {
            let name = &exchange.name;
            ensure(names.insert((&exchange.namespace, name)), || format!("there are two exchanges {name}"))?;
            let is_own = (1..next).contains(&id) && !self.queues.contains_key(&id);
            ensure(is_own, || format!("exchange {name} has id {id}, never given out"))?;
        }
        for (&id, binding) in &self.bindings {
            let is_own = (1..next).contains(&id)
                && !self.queues.contains_key(&id)
                && !self.exchanges.contains_key(&id);
            ensure(is_own, || format!("a binding has id {id}, never given out"))?;
            for end in [binding.source, binding.destination] {
                let is_there = match end {
                    EndValue::Exchange(id) => self.exchanges.contains_key(&id),
                    EndValue::Queue(id) => self.queues.contains_key(&id),
                    EndValue::Topic(id) => self.topics.contains_key(&id),
                };
                ensure(is_there, || format!("binding {id} has an end at {end:?}, which does not exist"))?;
            }
            if let FilterValue::Rules { body, text } = &binding.filter {
                let rules = rules_of(*body, text);
                ensure(rules.is_ok(), || {
                    format!("binding {id} has rules that are none; a newer duolog may know them")
                })?;
            }
            let is_exchange = matches!(binding.source, EndValue::Exchange(_));
            ensure(is_exchange, || {
                format!("binding {id} begins at no exchange; a newer duolog may know it")
            })?;
        }
        Ok(())
    }
}

impl Core {
    /// Forgets what rests on records that are not there: a run may have ended between the removal of a topic and the
    /// last of its cursors, and what was shown before the sync may be gone. A cursor beyond the end stays where its
    /// group left it: the client finds out by the epoch, or by the range, and decides.
    pub(super) fn forget_lost(&mut self) {
        let partitions = &self.partitions;
        let ends = |partition| partitions.get(&partition).map(|sequencer| sequencer.next);
        for (partition, producer) in self.producers.keep_below(ends) {
            self.dirty.insert(Owner::Producer(partition.0, producer));
        }
        for (group, partition) in self.cursors.retain(|partition| partitions.contains_key(&partition)) {
            self.dirty.insert(Owner::Cursor(group, partition.0));
        }
    }
}
