//! Building batches: what the broker seals itself, and what test clients send.

use crate::{Batch, BatchError, Codec, Header, Producer, Record, Timestamp, TimestampType};

/// Collects records and seals them into a [`Batch`] at offset 0.
#[derive(Debug)]
pub struct BatchBuilder {}

#[allow(unused_variables)]
impl BatchBuilder {
    /// An empty one: no compression, creation time, no producer.
    #[must_use]
    pub fn new() -> Self {
        unimplemented!()
    }

    /// With compression.
    #[must_use]
    pub fn codec(self, codec: Codec) -> Self {
        unimplemented!()
    }

    /// From an idempotent producer.
    #[must_use]
    pub fn producer(self, producer: Producer) -> Self {
        unimplemented!()
    }

    /// As part of a transaction.
    #[must_use]
    pub fn transactional(self, transactional: bool) -> Self {
        unimplemented!()
    }

    /// With this kind of time.
    #[must_use]
    pub fn timestamp_type(self, kind: TimestampType) -> Self {
        unimplemented!()
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        unimplemented!()
    }

    /// Number of records so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        unimplemented!()
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }

    /// Bytes that the batch would take uncompressed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// Seals. An empty builder gives a batch without records that takes one offset; callers avoid it.
    #[must_use]
    pub fn build(self) -> Batch {
        unimplemented!()
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// How a transaction ended, as the control record at its end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Its records do not count.
    Abort,
    /// They do.
    Commit,
}

#[allow(unused_variables)]
impl Control {
    /// The control batch for the end of a transaction.
    #[must_use]
    pub fn batch(self, producer_id: i64, epoch: i16, coordinator_epoch: i32, at: Timestamp) -> Batch {
        unimplemented!()
    }

    /// Reads the control record of a control batch.
    ///
    /// # Errors
    /// `Malformed` if it is of another kind or length.
    pub fn parse(record: &Record) -> Result<Self, BatchError> {
        unimplemented!()
    }
}
