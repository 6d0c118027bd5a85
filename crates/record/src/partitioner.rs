//! The partition of a key, as the streams' own clients choose it by default, so that all publishers agree.
//!
//! Source: MurmurHash2 (Appleby), seed 0x9747b28c; partition = (hash & 0x7fffffff) mod partitions.

/// MurmurHash2, 32 bit, of a key.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut mixed = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        mixed = (mixed ^ (mixed >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partitions` (at least 1).
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_clients_compute() {
        let vectors: [(&[u8], u32); 7] = [
            (b"", 0x106e_08d9),
            (b"a", 0xa2d0_b27c),
            (b"21", 0xc5f2_f8ec),
            (b"foobar", 0xd0e4_7bbe),
            (b"a-little-bit-long-string", 0xc53b_1da0),
            (b"a-little-bit-longer-string", 0xa768_c9c3),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 0xfc7d_49cd),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key), hash, "{key:?}");
        }
    }

    #[test]
    fn a_key_stays_in_one_partition_within_range() {
        assert_eq!(partition_of_key(b"foobar", 1), 0);
        assert_eq!(partition_of_key(b"foobar", 10), (0xd0e4_7bbe_u32 & 0x7fff_ffff) % 10);
    }
}
