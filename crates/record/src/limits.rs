//! The limits of the record format, each with its unit and its reason.

/// Smallest batch, bytes: the header alone.
pub const BATCH_BYTES_MIN: usize = 61;
/// Largest batch this crate looks at, bytes: above the largest request any frontend accepts.
pub const BATCH_BYTES_MAX: usize = 128 << 20;
/// Headers of one record: bounds what a decoder collects.
pub const HEADERS_PER_RECORD: usize = 10_000;
/// Smallest record, bytes: its length, attributes, two deltas, two lengths and the header count, one byte each.
pub const RECORD_BYTES_MIN: usize = 7;
/// Longest variable-length integer, bytes: 64 bits in groups of seven.
pub const VARINT_BYTES_MAX: usize = 10;
