//! Whose state a record of the state partition holds: the record's key.

use serde::{Deserialize, Serialize};

/// Who owns a piece of state. The order is the order of snapshots; variants are only ever appended, because their
/// position is what is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Owner {
    /// Counters and the mark of a clean end.
    Broker,
    /// A topic, by id.
    Topic(u128),
    /// A queue's declaration, by id.
    Queue(u64),
    /// A queue's ledger, by the queue's id.
    Ledger(u64),
    /// A group's cursor in a partition.
    Cursor(String, u64),
    /// An idempotent producer in a partition.
    Producer(u64, i64),
    /// Idempotency keys of a topic, by the topic's id and a number that rises.
    Dedup(u128, u64),
    /// What is delayed in a topic, by the topic's id.
    Delay(u128),
    /// A move task, by id.
    Move(u64),
    /// An exchange, by id.
    Exchange(u64),
    /// A binding, by id.
    Binding(u64),
}

impl Owner {
    /// The record's key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("an owner has no part that postcard refuses")
    }

    /// The inverse; `None` for bytes that are no owner that this version knows.
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let (owner, rest) = postcard::take_from_bytes(key).ok()?;
        rest.is_empty().then_some(owner)
    }
}
