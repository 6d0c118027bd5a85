//! The limits of this frontend, each with its unit and its reason.

/// Bytes of structures (not payloads, which are slices of the request) that decoding one request may collect: room
/// for 100,000 partitions, and what a hostile array can cost.
pub const DECODED_BYTES: usize = 16 << 20;
/// Bytes of one string: what a 16-bit length can say, kept for compact strings too so that it can be answered at
/// any version.
pub const STRING_BYTES: usize = i16::MAX as usize;
/// Elements for which an array reserves room before they are read.
pub const ARRAY_PREALLOCATED: usize = 256;
/// Tagged fields of one structure: the schemas know fewer than ten.
pub const TAGS: u32 = 1_000;
/// Bodies below this many bytes are copied into the response: a copy is cheaper than one more slice to write.
pub const COPY_BELOW_BYTES: usize = 1024;
