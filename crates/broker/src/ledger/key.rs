//! The hash by which a ledger knows a key. It is written with every lease, so it never changes.

/// The group of records without a key.
const NO_KEY: u64 = 1;

/// The group of records that cannot be read, whose keys nobody knows.
pub const DAMAGED_KEY: u64 = u64::MAX;

/// The hash of a key, never 0. Keys of the same hash are one group to the ledger.
/// Source: FNV-1a; the finishing steps of MurmurHash3 spread it over all bits.
#[must_use]
pub fn key_hash(key: Option<&[u8]>) -> u64 {
    let Some(key) = key else { return NO_KEY };
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for &byte in key {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).max(NO_KEY)
}

#[cfg(test)]
mod tests {
    use super::key_hash;

    #[test]
    fn the_hash_of_a_key_never_changes() {
        assert_eq!(key_hash(None), 1);
        assert_eq!(key_hash(Some(b"")), 0xefd0_1f60_ba99_2926);
        assert_eq!(key_hash(Some(b"customer-17")), 0x6551_bef2_09d8_bb69);
    }
}
