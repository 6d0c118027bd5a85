//! The record batch v2: its header, checks, and iteration.
//!
//! Source: KIP-98; the drawing below is the authority for this crate.

use bytes::Bytes;

use crate::{Codec, Offset, Record, Timestamp};

/// Base offset (8), batch length (4), leader epoch (4): outside the CRC, so that the log can stamp them.
pub const PREFIX_BYTES: usize = 16;

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// More bytes are needed.
    #[error("{need} bytes more are needed")]
    Incomplete {
        /// How many more.
        need: usize,
    },
    /// An older or newer format than v2.
    #[error("record format {0} is not supported")]
    BadMagic(i8),
    /// The checksum does not match.
    #[error("checksum {found:08x} where {stated:08x} was stated")]
    BadCrc {
        /// In the header.
        stated: u32,
        /// Computed.
        found: u32,
    },
    /// Decompressed, it would exceed the cap.
    #[error("more than {bytes_max} bytes when decompressed")]
    TooLarge {
        /// The cap.
        bytes_max: usize,
    },
    /// A field contradicts another or the format.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// Whose time a batch's records carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    Create,
    /// The broker's, at append.
    Append,
}

/// The idempotent producer that made a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Producer id, not negative.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
}

/// The 61 bytes before the records, each field checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// As sent or stamped.
    pub base_offset: Offset,
    /// Bytes of the whole batch, prefix included.
    pub length: u32,
    /// As sent or stamped.
    pub leader_epoch: i32,
    /// As stated.
    pub crc: u32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Whose time the records carry.
    pub timestamp_type: TimestampType,
    /// Part of a transaction.
    pub transactional: bool,
    /// Holds a control record.
    pub control: bool,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: u32,
    /// Time that the records' deltas count from.
    pub base_timestamp: Timestamp,
    /// Largest time of its records.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, if there is one.
    pub producer: Option<Producer>,
    /// Number of records; less than the number of offsets after compaction.
    pub records: u32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. Does not look at the CRC.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let _ = bytes;
        unimplemented!()
    }

    /// How many offsets the batch takes.
    #[must_use]
    pub fn offsets(&self) -> u32 {
        self.last_offset_delta + 1
    }
}

/// A sealed batch, its header known. Cloning clones a handle.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes the first batch off the front of `bytes`, its CRC checked; what follows stays in `bytes`. No copy.
    ///
    /// # Errors
    /// See [`BatchError`]; `bytes` is then unchanged.
    pub fn split_checked(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let _ = bytes;
        unimplemented!()
    }

    /// The same for bytes that the log has verified already.
    ///
    /// # Errors
    /// As [`Self::split_checked`], without `BadCrc`.
    pub fn split_trusted(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let _ = bytes;
        unimplemented!()
    }

    /// A batch from its stored body and its place: joins prefix and body by one copy.
    ///
    /// # Errors
    /// As [`Self::split_trusted`].
    pub fn from_parts(base: Offset, leader_epoch: i32, body: &Bytes) -> Result<Self, BatchError> {
        let _ = (base, leader_epoch, body);
        unimplemented!()
    }

    /// The header of a stored body (everything after the prefix), without joining: base offset and epoch are the
    /// given ones.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`].
    pub fn header_of_body(base: Offset, leader_epoch: i32, body: &[u8]) -> Result<BatchHeader, BatchError> {
        let _ = (base, leader_epoch, body);
        unimplemented!()
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch with its prefix as it came, which need not be stamped.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What is stored: everything after the prefix. Shares the bytes.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(PREFIX_BYTES..)
    }

    /// The prefix that makes a stored body a batch at this place.
    #[must_use]
    pub fn prefix(base: Offset, body_bytes: usize, leader_epoch: i32) -> [u8; PREFIX_BYTES] {
        let _ = (base, body_bytes, leader_epoch);
        unimplemented!()
    }

    /// The same records under the broker's time: sets the attribute bit and the largest timestamp, computes the CRC
    /// anew; copies.
    #[must_use]
    pub fn with_append_time(&self, now: Timestamp) -> Self {
        let _ = now;
        unimplemented!()
    }

    /// Decodes the records, decompressing to at most `bytes_max` bytes; offsets count from `base`. Keys and values
    /// are slices of one buffer.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn records(&self, base: Offset, bytes_max: usize) -> Result<Records, BatchError> {
        let _ = (base, bytes_max);
        unimplemented!()
    }
}

/// Iterates over the records of a batch; after an error it ends.
#[derive(Debug)]
pub struct Records {
    #[allow(dead_code)]
    rest: Bytes,
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
