//! The vocabulary of the log: [`Offset`], [`PartitionId`], [`Timestamp`], [`Record`], [`Batch`].
//!
//! Place: floor 0. Pure: no I/O, no async, no clock; only this crate knows the bytes of a record batch.
//! A [`Batch`] is the sealed unit that producers send, the log stores and consumers receive, byte for byte.
//! Source: KIP-98 (record batch v2), KIP-82 (headers), KIP-110 (zstd).

pub mod batch;
pub mod build;
pub mod compress;
pub mod limits;
pub mod partitioner;
mod records;
mod types;
mod varint;

pub use batch::{Batch, BatchError, BatchHeader, PREFIX_BYTES, Producer, TimestampType, crc32c};
pub use build::{BatchBuilder, Control};
pub use compress::Codec;
pub use records::{Mark, Records};
pub use types::{Header, Offset, PartitionId, Record, Timestamp};
