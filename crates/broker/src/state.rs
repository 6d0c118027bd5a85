//! The state partition: what the broker knows, as records whose key is an owner and whose value is its state.
//!
//! Invariant: the fold over the partition from any trim point on gives the same value. A value is absolute, so that
//! the last one of an owner counts; a ledger alone also writes changes, which follow a whole value. A change without a
//! whole value before it in the tail is skipped: a whole one follows, because the trim waits for that.
//! A null value forgets the owner. Keys and values are postcard; a value begins with its format version.

#[cfg(test)]
mod fixture;
mod owner;
mod v3;
mod value;

pub(crate) use owner::Owner;
pub(crate) use value::{
    BackoffValue, BindingValue, BrokerValue, CursorValue, DeadLetterValue, DedupValue, DelayValue, EndValue,
    ExchangeKindValue, ExchangeValue, FilterValue, MoveFilterValue, MoveStatusValue, MoveValue, OrderValue,
    OverflowValue, ProducerValue, QueueValue, TopicValue, Value,
};

use duolog_record::PartitionId;

/// The partition that holds the state: hidden, never a topic's.
pub const STATE_PARTITION: PartitionId = PartitionId(0);
/// The first id that a topic's partition may have; those below are the broker's own.
pub(crate) const FIRST_PARTITION: u64 = 16;

/// One record of the state partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateRecord {
    pub(crate) owner: Owner,
    /// `None` forgets the owner.
    pub(crate) value: Option<Vec<u8>>,
}

impl StateRecord {
    /// Bytes that it takes in its batch, about.
    pub(crate) fn bytes(&self) -> usize {
        /// Key, lengths and deltas.
        const OVERHEAD: usize = 24;
        OVERHEAD + self.value.as_ref().map_or(0, Vec::len)
    }
}
