//! Format version 3: queues had no limits of length, no priorities, and gave up their dead to a queue alone.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::value::{
    self, BackoffValue, BindingValue, BrokerValue, CursorValue, DeadLetterValue, DedupValue, DelayValue,
    ExchangeValue, MoveValue, OrderValue, OverflowValue, ProducerValue, TopicValue,
};
use crate::ledger::LedgerChanges;

/// Any owner's state.
#[derive(Deserialize)]
pub(super) enum Value {
    Broker(BrokerValue),
    Topic(TopicValue),
    Queue(QueueValue),
    Cursor(CursorValue),
    Producer(ProducerValue),
    Ledger(LedgerChanges),
    Dedup(DedupValue),
    Delay(DelayValue),
    Move(MoveValue),
    Exchange(ExchangeValue),
    Binding(BindingValue),
}

/// A queue's declaration.
#[derive(Deserialize)]
pub(super) struct QueueValue {
    namespace: String,
    name: String,
    topic: u128,
    visibility_timeout_ms: u64,
    attempts_max: Option<u32>,
    dead_letter: Option<String>,
    receive_wait_ms: u64,
    message_ttl_ms: Option<u64>,
    in_flight_max: u32,
    delay_ms: u64,
    message_bytes_max: u32,
    order: OrderValue,
    backoff: BackoffValue,
    created_at: i64,
    modified_at: i64,
    labels: BTreeMap<String, String>,
}

impl From<Value> for value::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Broker(it) => Self::Broker(it),
            Value::Topic(it) => Self::Topic(it),
            Value::Queue(it) => Self::Queue(it.into()),
            Value::Cursor(it) => Self::Cursor(it),
            Value::Producer(it) => Self::Producer(it),
            Value::Ledger(it) => Self::Ledger(it),
            Value::Dedup(it) => Self::Dedup(it),
            Value::Delay(it) => Self::Delay(it),
            Value::Move(it) => Self::Move(it),
            Value::Exchange(it) => Self::Exchange(it),
            Value::Binding(it) => Self::Binding(it),
        }
    }
}

impl From<QueueValue> for value::QueueValue {
    fn from(it: QueueValue) -> Self {
        Self {
            namespace: it.namespace,
            name: it.name,
            topic: it.topic,
            visibility_timeout_ms: it.visibility_timeout_ms,
            attempts_max: it.attempts_max,
            dead_letter: it.dead_letter.map(DeadLetterValue::Queue),
            receive_wait_ms: it.receive_wait_ms,
            message_ttl_ms: it.message_ttl_ms,
            in_flight_max: it.in_flight_max,
            delay_ms: it.delay_ms,
            message_bytes_max: it.message_bytes_max,
            order: it.order,
            backoff: it.backoff,
            created_at: it.created_at,
            modified_at: it.modified_at,
            labels: it.labels,
            length_max: None,
            length_bytes_max: None,
            overflow: OverflowValue::DropHead,
            priority_max: None,
        }
    }
}
