//! Which offsets of a group have outlived their use.
//!
//! Offsets of a group with members never expire. Otherwise they do `retention` after the group became empty or the offset
//! was committed, whichever is later; a restart forgets when a group became empty and counts from itself, so that it only
//! ever keeps longer. Source: KIP-211.

use duolog_broker::GroupCursors;
use duolog_record::{PartitionId, Timestamp};

use super::Use;

/// The partitions whose cursors may go.
pub(super) fn expired(
    cursors: &GroupCursors,
    usage: Use,
    started_at: Timestamp,
    now: Timestamp,
    retention_ms: u64,
) -> Vec<PartitionId> {
    let unused_since = match usage {
        Use::Busy => return Vec::new(),
        Use::EmptySince(at) => at,
        Use::NeverUsed => started_at,
    };
    let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
    cursors
        .iter()
        .filter(|(_, cursor)| unused_since.0.max(cursor.moved_at.0).saturating_add(retention_ms) <= now.0)
        .map(|(partition, _)| *partition)
        .collect()
}

#[cfg(test)]
mod tests {
    use duolog_broker::Cursor;
    use duolog_record::Offset;

    use super::*;

    fn cursors() -> GroupCursors {
        let cursor = |at| Cursor {
            offset: Offset(1),
            leader_epoch: -1,
            metadata: String::new(),
            moved_at: Timestamp(at),
        };
        vec![(PartitionId(1), cursor(100)), (PartitionId(2), cursor(500))]
    }

    fn expired_at(usage: Use, now: i64) -> Vec<u64> {
        expired(&cursors(), usage, Timestamp(50), Timestamp(now), 1_000).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn offsets_of_a_group_with_members_never_expire() {
        assert_eq!(expired_at(Use::Busy, i64::MAX), []);
    }

    #[test]
    fn offsets_without_a_group_expire_by_the_time_of_their_commit() {
        assert_eq!(expired_at(Use::NeverUsed, 1_099), []);
        assert_eq!(expired_at(Use::NeverUsed, 1_100), [1]);
        assert_eq!(expired_at(Use::NeverUsed, 1_500), [1, 2]);
    }

    #[test]
    fn offsets_of_an_empty_group_expire_by_the_time_it_became_empty() {
        assert_eq!(expired_at(Use::EmptySince(Timestamp(2_000)), 2_999), []);
        assert_eq!(expired_at(Use::EmptySince(Timestamp(2_000)), 3_000), [1, 2]);
    }

    #[test]
    fn restart_counts_from_itself() {
        let all = expired(&cursors(), Use::NeverUsed, Timestamp(5_000), Timestamp(5_999), 1_000);
        assert_eq!(all, []);
    }
}
