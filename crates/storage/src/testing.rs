//! Commits for tests: bodies with a valid checksum around any bytes.

use bytes::Bytes;
use duolog_record::{Offset, PartitionId, Timestamp};

use crate::{Body, Commit, Durability, Entry, ReadLimit, Target};

/// A body whose records part is `filling`.
pub(crate) fn body(offsets: u32, filling: &[u8], max_timestamp: i64) -> Body {
    let mut bytes = vec![2u8, 0, 0, 0, 0];
    bytes.resize(crate::limits::BODY_BYTES_MIN, 0);
    bytes[7..11].copy_from_slice(&(offsets - 1).to_be_bytes());
    bytes.extend_from_slice(filling);
    let crc = crc_fast::crc32_iscsi(&bytes[5..]);
    bytes[1..5].copy_from_slice(&crc.to_be_bytes());
    Body {
        bytes: Bytes::from(bytes),
        offsets,
        crc,
        max_timestamp: Timestamp(max_timestamp),
        unkeyed: false,
        timed: false,
    }
}

/// An append of one body to one partition.
pub(crate) fn append(partition: u64, base: u64, offsets: u32, filling: &[u8]) -> Entry {
    Entry {
        body: body(offsets, filling, 1_000 + base as i64),
        targets: vec![Target { partition: PartitionId(partition), base: Offset(base), leader_epoch: 1 }],
        key_hashes: Vec::new(),
        abort_first: None,
    }
}

/// A synced commit at time 0.
pub(crate) fn commit_of(entries: Vec<Entry>) -> Commit {
    Commit {
        entries,
        trims: Vec::new(),
        durability: Durability::Sync,
        append_time: Timestamp(0),
        may_use_reserve: false,
    }
}

/// Everything.
pub(crate) fn limit_none() -> ReadLimit {
    ReadLimit { bytes_max: usize::MAX, until: Offset(u64::MAX) }
}
