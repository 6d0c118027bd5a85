//! The live state as it is written down, and back.

use bytes::Bytes;
use duolog_record::{PartitionId, Timestamp, TimestampType};
use duolog_storage::Durability;

use super::{Core, cursors, routing};
use crate::routing::{BindingId, ExchangeId};
use crate::state::{
    BackoffValue, BrokerValue, DeadLetterValue, OrderValue, OverflowValue, Owner, QueueValue, StateRecord,
    TopicValue, Value,
};
use crate::{
    Backoff, DeadLetter, DedupPolicy, Keep, MoveId, Order, Overflow, Queue, QueueId, QueuePolicy, Topic,
    TopicId, TopicPolicy,
};

impl Core {
    /// What an owner's state is now; `None` for one that is gone.
    pub(super) fn state_record(&self, owner: Owner) -> StateRecord {
        let value = match &owner {
            Owner::Broker => Some(Value::Broker(self.broker_value())),
            Owner::Topic(id) => {
                self.catalog.topic_by_id(TopicId(*id)).map(|it| Value::Topic(self.topic_value(it)))
            }
            Owner::Queue(id) => {
                self.catalog.queue_by_id(QueueId(*id)).map(|it| Value::Queue(queue_value(it)))
            }
            // Ledgers write changes: see `ledger_records`.
            Owner::Ledger(_) => None,
            Owner::Cursor(group, partition) => {
                let cursor = self.cursors.get(group, PartitionId(*partition));
                cursor.map(|it| Value::Cursor(cursors::to_value(it)))
            }
            Owner::Producer(partition, id) => {
                let producer = self.producers.get((PartitionId(*partition), *id));
                producer.map(|it| Value::Producer(it.to_value()))
            }
            Owner::Move(id) => self.tasks.get(MoveId(*id)).map(|it| Value::Move(it.to_value())),
            Owner::Delay(topic) => self.delays.get(TopicId(*topic)).map(|it| Value::Delay(it.to_value())),
            Owner::Dedup(topic, chunk) => self.dedup.value(TopicId(*topic), *chunk).map(Value::Dedup),
            Owner::Exchange(id) => {
                let exchange = self.catalog.exchange_by_id(ExchangeId(*id));
                exchange.map(|it| Value::Exchange(routing::exchange_value(it)))
            }
            Owner::Binding(id) => {
                let binding = self.catalog.binding_by_id(BindingId(*id));
                binding.map(|it| Value::Binding(routing::binding_value(&it.spec)))
            }
        };
        StateRecord { owner, value: value.map(|value| value.encode()) }
    }

    fn broker_value(&self) -> BrokerValue {
        BrokerValue {
            next_partition: self.counters.next_partition,
            next_queue: self.counters.next_queue,
            next_producer: self.counters.next_producer,
            catalog_version: self.catalog.version,
            incarnation: self.incarnation,
            clean: self.clean,
            durability_os: self.durability == Durability::Os,
        }
    }

    fn topic_value(&self, topic: &Topic) -> TopicValue {
        let policy = &topic.policy;
        let epoch = |partition| self.catalog.epochs.get(partition).copied().unwrap_or_default();
        TopicValue {
            namespace: topic.namespace.clone(),
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|partition| (partition.0, epoch(partition))).collect(),
            keep_settled: match policy.keep {
                Keep::Retention => None,
                Keep::UntilSettled { after } => Some(after),
            },
            retention_ms: policy.retention_ms,
            retention_bytes: policy.retention_bytes,
            batch_bytes_max: policy.batch_bytes_max,
            append_time: policy.timestamps == TimestampType::Append,
            durability_sync: policy.durability.map(|durability| durability == Durability::Sync),
            made_by_queue: topic.made_by_queue,
            created_at: topic.created_at.0,
            labels: topic.labels.clone(),
            dedup: policy.dedup.map(|dedup| (dedup.window_ms, dedup.per_key)),
        }
    }
}

/// A topic as it was written, without its epochs.
pub(super) fn topic_of(id: TopicId, value: TopicValue) -> Topic {
    let durability = |sync| if sync { Durability::Sync } else { Durability::Os };
    Topic {
        id,
        namespace: value.namespace,
        name: value.name,
        partitions: value.partitions.iter().map(|&(partition, _)| PartitionId(partition)).collect(),
        policy: TopicPolicy {
            keep: value.keep_settled.map_or(Keep::Retention, |after| Keep::UntilSettled { after }),
            retention_ms: value.retention_ms,
            retention_bytes: value.retention_bytes,
            batch_bytes_max: value.batch_bytes_max,
            timestamps: if value.append_time { TimestampType::Append } else { TimestampType::Create },
            durability: value.durability_sync.map(durability),
            dedup: value.dedup.map(|(window_ms, per_key)| DedupPolicy { window_ms, per_key }),
        },
        made_by_queue: value.made_by_queue,
        created_at: Timestamp(value.created_at),
        labels: value.labels,
    }
}

fn queue_value(queue: &Queue) -> QueueValue {
    let policy = &queue.policy;
    QueueValue {
        namespace: queue.namespace.clone(),
        name: queue.name.clone(),
        topic: queue.topic.0,
        visibility_timeout_ms: policy.visibility_timeout_ms,
        attempts_max: policy.attempts_max,
        dead_letter: policy.dead_letter.as_ref().map(dead_letter_value),
        receive_wait_ms: policy.receive_wait_ms,
        message_ttl_ms: policy.message_ttl_ms,
        in_flight_max: policy.in_flight_max,
        delay_ms: policy.delay_ms,
        message_bytes_max: policy.message_bytes_max,
        order: match policy.order {
            Order::Standard => OrderValue::Standard,
            Order::ByKey => OrderValue::ByKey,
            Order::Fair => OrderValue::Fair,
        },
        backoff: match policy.backoff {
            Backoff::None => BackoffValue::None,
            Backoff::Fixed { ms } => BackoffValue::Fixed { ms },
            Backoff::Exponential { base_ms, max_ms } => BackoffValue::Exponential { base_ms, max_ms },
        },
        created_at: queue.created_at.0,
        modified_at: queue.modified_at.0,
        labels: queue.labels.clone(),
        length_max: policy.length_max,
        length_bytes_max: policy.length_bytes_max,
        overflow: match policy.overflow {
            Overflow::DropHead => OverflowValue::DropHead,
            Overflow::Reject => OverflowValue::Reject,
            Overflow::RejectDeadLetter => OverflowValue::RejectDeadLetter,
        },
        priority_max: policy.priority_max,
    }
}

fn dead_letter_value(target: &DeadLetter) -> DeadLetterValue {
    match target {
        DeadLetter::Queue(name) => DeadLetterValue::Queue(name.clone()),
        DeadLetter::Exchange { name, key } => {
            DeadLetterValue::Exchange(name.clone(), key.as_ref().map(|key| key.to_vec()))
        }
    }
}

fn dead_letter_of(value: DeadLetterValue) -> DeadLetter {
    match value {
        DeadLetterValue::Queue(name) => DeadLetter::Queue(name),
        DeadLetterValue::Exchange(name, key) => DeadLetter::Exchange { name, key: key.map(Bytes::from) },
    }
}

/// A queue as it was written.
pub(super) fn queue_of(id: QueueId, value: QueueValue) -> Queue {
    Queue {
        id,
        namespace: value.namespace,
        name: value.name,
        topic: TopicId(value.topic),
        policy: QueuePolicy {
            visibility_timeout_ms: value.visibility_timeout_ms,
            attempts_max: value.attempts_max,
            dead_letter: value.dead_letter.map(dead_letter_of),
            receive_wait_ms: value.receive_wait_ms,
            message_ttl_ms: value.message_ttl_ms,
            in_flight_max: value.in_flight_max,
            delay_ms: value.delay_ms,
            message_bytes_max: value.message_bytes_max,
            order: match value.order {
                OrderValue::Standard => Order::Standard,
                OrderValue::ByKey => Order::ByKey,
                OrderValue::Fair => Order::Fair,
            },
            backoff: match value.backoff {
                BackoffValue::None => Backoff::None,
                BackoffValue::Fixed { ms } => Backoff::Fixed { ms },
                BackoffValue::Exponential { base_ms, max_ms } => Backoff::Exponential { base_ms, max_ms },
            },
            length_max: value.length_max,
            length_bytes_max: value.length_bytes_max,
            overflow: match value.overflow {
                OverflowValue::DropHead => Overflow::DropHead,
                OverflowValue::Reject => Overflow::Reject,
                OverflowValue::RejectDeadLetter => Overflow::RejectDeadLetter,
            },
            priority_max: value.priority_max,
        },
        created_at: Timestamp(value.created_at),
        modified_at: Timestamp(value.modified_at),
        labels: value.labels,
    }
}
