//! The record batch v2: its header, its checks, and the way to its records.
//!
//! ```text
//! 0   base offset i64            \
//! 8   batch length i32, from 12   } the prefix: outside the CRC, stamped by the log
//! 12  leader epoch i32           /
//! 16  magic i8 = 2
//! 17  CRC-32C u32 of everything from 21 on: producer's bytes are told from damaged ones, whoever stamped the prefix
//! 21  attributes i16: 0-2 codec, 3 append time, 4 transactional, 5 control, 6 delete horizon
//! 23  last offset delta i32
//! 27  base timestamp i64         43 producer id i64, -1 none     53 base sequence i32
//! 35  largest timestamp i64      51 producer epoch i16           57 record count i32
//! 61  records, as a whole compressed by the codec (records.rs)
//! ```
//! All integers are big-endian. Invariant: a [`Batch`] has a header that contradicts neither itself nor its length.
//! Source: KIP-98 (format), KIP-32 (times), KIP-360 (producer fields).

use bytes::{Bytes, BytesMut};

use crate::limits::{BATCH_BYTES_MAX, BATCH_BYTES_MIN};
use crate::records::Records;
use crate::{Codec, Offset, Timestamp};

/// Base offset (8), batch length (4), leader epoch (4): outside the CRC, so that the log can stamp them.
pub const PREFIX_BYTES: usize = 16;

/// Bytes that the batch length does not count: base offset and the length itself.
const UNCOUNTED_BYTES: usize = 12;
const MAGIC: i8 = 2;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// CRC-32C (Castagnoli), as batches and frames carry it.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

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
        let Some((header, _)) = bytes.split_first_chunk::<BATCH_BYTES_MIN>() else {
            return Err(BatchError::Incomplete { need: BATCH_BYTES_MIN - bytes.len() });
        };
        let base_offset = i64::from_be_bytes(field(header, 0));
        let length = length_of(header)?;
        let leader_epoch = i32::from_be_bytes(field(header, 12));
        Self::parse_body(&header[PREFIX_BYTES..], base_offset, length, leader_epoch)
    }

    /// The header from magic on, for a batch of `length` bytes.
    fn parse_body(body: &[u8], base_offset: i64, length: u32, leader_epoch: i32) -> Result<Self, BatchError> {
        // Offsets of fields are those of the drawing; the body begins with the magic.
        const AT: usize = PREFIX_BYTES;
        let attributes = i16::from_be_bytes(field(body, ATTRIBUTES_AT - AT));
        let last_offset_delta = i32::from_be_bytes(field(body, 23 - AT));
        let producer_id = i64::from_be_bytes(field(body, 43 - AT));
        let producer_epoch = i16::from_be_bytes(field(body, 51 - AT));
        let base_sequence = i32::from_be_bytes(field(body, 53 - AT));
        let records = i32::from_be_bytes(field(body, 57 - AT));
        let malformed = |what| Err(BatchError::Malformed(what));
        if base_offset < 0 {
            return malformed("a negative base offset");
        }
        if last_offset_delta < 0 || last_offset_delta == i32::MAX {
            return malformed("a last offset delta outside 0..2^31-1");
        }
        if records < 0 || records > last_offset_delta + 1 {
            return malformed("more records than offsets, or fewer than none");
        }
        let Some(codec) = Codec::from_bits(attributes) else {
            return malformed("an unknown compression codec");
        };
        let producer = if producer_id < 0 {
            None
        } else if producer_epoch < 0 || base_sequence < -1 {
            return malformed("a producer id without epoch or sequence");
        } else {
            Some(Producer { id: producer_id, epoch: producer_epoch, base_sequence })
        };
        let timestamp_type =
            if attributes & APPEND_TIME_BIT == 0 { TimestampType::Create } else { TimestampType::Append };
        Ok(Self {
            base_offset: Offset(base_offset as u64),
            length,
            leader_epoch,
            crc: u32::from_be_bytes(field(body, CRC_AT - AT)),
            codec,
            timestamp_type,
            transactional: attributes & TRANSACTIONAL_BIT != 0,
            control: attributes & CONTROL_BIT != 0,
            last_offset_delta: last_offset_delta as u32,
            base_timestamp: Timestamp(i64::from_be_bytes(field(body, 27 - AT))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(body, MAX_TIMESTAMP_AT - AT))),
            producer,
            records: records as u32,
        })
    }

    /// How many offsets the batch takes.
    #[must_use]
    pub fn offsets(&self) -> u32 {
        self.last_offset_delta + 1
    }
}

/// `N` bytes at `at`, which lies within the fixed part of a header.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Bytes of the whole batch, as its length field and magic say.
fn length_of(header: &[u8; BATCH_BYTES_MIN]) -> Result<u32, BatchError> {
    let magic = header[16] as i8;
    if magic != MAGIC {
        return Err(BatchError::BadMagic(magic));
    }
    let counted = i32::from_be_bytes(field(header, 8));
    let length = i64::from(counted) + UNCOUNTED_BYTES as i64;
    if length < BATCH_BYTES_MIN as i64 || length > BATCH_BYTES_MAX as i64 {
        return Err(BatchError::Malformed("a batch length outside the format's bounds"));
    }
    Ok(length as u32)
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
        let header = Self::whole(bytes)?;
        let found = crc32c(&bytes[ATTRIBUTES_AT..header.length as usize]);
        if found != header.crc {
            return Err(BatchError::BadCrc { stated: header.crc, found });
        }
        Ok(Self { header, bytes: bytes.split_to(header.length as usize) })
    }

    /// The same for bytes that the log has verified already.
    ///
    /// # Errors
    /// As [`Self::split_checked`], without `BadCrc`.
    pub fn split_trusted(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let header = Self::whole(bytes)?;
        Ok(Self { header, bytes: bytes.split_to(header.length as usize) })
    }

    /// The header of a batch that lies wholly in `bytes`.
    fn whole(bytes: &Bytes) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        match (header.length as usize).checked_sub(bytes.len()) {
            None | Some(0) => Ok(header),
            Some(need) => Err(BatchError::Incomplete { need }),
        }
    }

    /// A batch from its stored body and its place: joins prefix and body by one copy.
    ///
    /// # Errors
    /// As [`Self::split_trusted`].
    pub fn from_parts(base: Offset, leader_epoch: i32, body: &Bytes) -> Result<Self, BatchError> {
        let header = Self::header_of_body(base, leader_epoch, body)?;
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + body.len());
        bytes.extend_from_slice(&Self::prefix(base, body.len(), leader_epoch));
        bytes.extend_from_slice(body);
        Ok(Self { header, bytes: bytes.freeze() })
    }

    /// The header of a stored body (everything after the prefix), without joining: base offset and epoch are the
    /// given ones.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`].
    pub fn header_of_body(base: Offset, leader_epoch: i32, body: &[u8]) -> Result<BatchHeader, BatchError> {
        if body.len() < BATCH_BYTES_MIN - PREFIX_BYTES {
            return Err(BatchError::Incomplete { need: BATCH_BYTES_MIN - PREFIX_BYTES - body.len() });
        }
        if body[0] as i8 != MAGIC {
            return Err(BatchError::BadMagic(body[0] as i8));
        }
        let base = i64::try_from(base.0).map_err(|_| BatchError::Malformed("a base offset of 64 bits"))?;
        let length = PREFIX_BYTES + body.len();
        if length > BATCH_BYTES_MAX {
            return Err(BatchError::Malformed("a batch length outside the format's bounds"));
        }
        BatchHeader::parse_body(body, base, length as u32, leader_epoch)
    }

    /// True if a stored body matches its own checksum, and the magic before it is the one there is.
    #[must_use]
    pub fn body_is_sound(body: &[u8]) -> bool {
        body.len() >= BATCH_BYTES_MIN - PREFIX_BYTES
            && body[0] == MAGIC as u8
            && u32::from_be_bytes(field(body, CRC_AT - PREFIX_BYTES))
                == crc32c(&body[ATTRIBUTES_AT - PREFIX_BYTES..])
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
        let counted = (body_bytes + PREFIX_BYTES - UNCOUNTED_BYTES) as u32;
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&base.0.to_be_bytes());
        prefix[8..12].copy_from_slice(&counted.to_be_bytes());
        prefix[12..].copy_from_slice(&leader_epoch.to_be_bytes());
        prefix
    }

    /// The same records under the broker's time: sets the attribute bit and the largest timestamp, computes the CRC
    /// anew; copies.
    #[must_use]
    pub fn with_append_time(&self, now: Timestamp) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        let attributes = i16::from_be_bytes(field(&bytes, ATTRIBUTES_AT)) | APPEND_TIME_BIT;
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.0.to_be_bytes());
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        let header =
            BatchHeader { crc, timestamp_type: TimestampType::Append, max_timestamp: now, ..self.header };
        Self { header, bytes: bytes.freeze() }
    }

    /// Decodes the records, decompressing to at most `bytes_max` bytes; offsets count from `base`. Keys and values
    /// are slices of one buffer.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn records(&self, base: Offset, bytes_max: usize) -> Result<Records, BatchError> {
        Records::open(&self.header, self.bytes.slice(BATCH_BYTES_MIN..), base, bytes_max)
    }

    /// The same from a stored body (everything after the prefix) and its place, without joining the two: the records of
    /// a batch that is not compressed are slices of `body` itself.
    ///
    /// # Errors
    /// As [`Self::header_of_body`] and [`Self::records`].
    pub fn open_body(
        base: Offset,
        leader_epoch: i32,
        body: &Bytes,
        bytes_max: usize,
    ) -> Result<Records, BatchError> {
        let header = Self::header_of_body(base, leader_epoch, body)?;
        Records::open(&header, body.slice(BATCH_BYTES_MIN - PREFIX_BYTES..), base, bytes_max)
    }

    /// A batch of these header fields and this records section: lengths, counts and CRC are made to fit.
    pub(crate) fn seal(header: &BatchHeader, records: &[u8]) -> Self {
        let length = BATCH_BYTES_MIN + records.len();
        assert!(length <= BATCH_BYTES_MAX, "a batch of {length} bytes is above the format's bound");
        let mut attributes = header.codec.bits();
        if header.timestamp_type == TimestampType::Append {
            attributes |= APPEND_TIME_BIT;
        }
        if header.transactional {
            attributes |= TRANSACTIONAL_BIT;
        }
        if header.control {
            attributes |= CONTROL_BIT;
        }
        let producer = header.producer.unwrap_or(Producer { id: -1, epoch: -1, base_sequence: -1 });
        let mut bytes = BytesMut::with_capacity(length);
        bytes.extend_from_slice(&Self::prefix(
            header.base_offset,
            length - PREFIX_BYTES,
            header.leader_epoch,
        ));
        bytes.extend_from_slice(&[MAGIC as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(&attributes.to_be_bytes());
        bytes.extend_from_slice(&header.last_offset_delta.to_be_bytes());
        bytes.extend_from_slice(&header.base_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&header.max_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&producer.id.to_be_bytes());
        bytes.extend_from_slice(&producer.epoch.to_be_bytes());
        bytes.extend_from_slice(&producer.base_sequence.to_be_bytes());
        bytes.extend_from_slice(&header.records.to_be_bytes());
        bytes.extend_from_slice(records);
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        let header = BatchHeader { length: length as u32, crc, ..*header };
        Self { header, bytes: bytes.freeze() }
    }
}
