//! Positions and records as the rest of the broker names them.

use bytes::Bytes;

/// A position in one partition: dense at append, rising, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The position `records` further on.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(self.0 + records)
    }

    /// How many positions lie between `earlier` and this one; zero if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One ordered sequence of batches. Given out by the catalog, never reused, never derived from a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u64);

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch, UTC. Negative is legal: clients may send times before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A header of a record: duplicates of a key are legal and keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, UTF-8 by convention; kept as bytes because nothing on this floor may refuse it.
    pub key: Bytes,
    /// The value; null and empty are different.
    pub value: Option<Bytes>,
}

/// One record, decoded. Null and empty keys and values are different things and both survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in its partition.
    pub offset: Offset,
    /// The record's own time, or the batch's append time if the batch is stamped with that.
    pub timestamp: Timestamp,
    /// Routing and grouping key.
    pub key: Option<Bytes>,
    /// Body.
    pub value: Option<Bytes>,
    /// Headers in the order in which they were written.
    pub headers: Vec<Header>,
}
