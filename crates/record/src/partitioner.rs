//! The partition of a key, as the streams' own clients choose it by default, so that all publishers agree.
//!
//! Source: MurmurHash2 (Appleby), seed 0x9747b28c; partition = (hash & 0x7fffffff) mod partitions.

/// MurmurHash2, 32 bit, of a key.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    let _ = key;
    unimplemented!()
}

/// The partition of a key among `partitions` (at least 1).
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}
