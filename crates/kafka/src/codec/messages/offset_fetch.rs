//! OffsetFetch: where groups stand. Source: KIP-447 (stable offsets), KIP-709 (several groups), KIP-848, KIP-516.

use crate::codec::message::message;

message! {
    OffsetFetchRequest {
        group_id: String [..=7];
        // Null is every topic.
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7] null [2..];
        groups: Vec<OffsetFetchRequestGroup> [8..];
        require_stable: bool [7..];
    }
    OffsetFetchRequestTopic {
        name: String [..=7];
        partition_indexes: Vec<i32> [..=7];
    }
    OffsetFetchRequestGroup {
        group_id: String [8..];
        member_id: Option<String> [9..];
        member_epoch: i32 [9..] = -1;
        // Null is every topic.
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..];
    }
    OffsetFetchRequestTopics {
        name: String [8..=9];
        topic_id: u128 [10..];
        partition_indexes: Vec<i32> [8..];
    }
    OffsetFetchResponse {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetFetchResponseTopic> [..=7];
        error_code: i16 [2..=7];
        groups: Vec<OffsetFetchResponseGroup> [8..];
    }
    OffsetFetchResponseTopic {
        name: String [..=7];
        partitions: Vec<OffsetFetchResponsePartition> [..=7];
    }
    // The same at every version, under two names in the guide.
    OffsetFetchResponsePartition {
        partition_index: i32 [..];
        committed_offset: i64 [..];
        committed_leader_epoch: i32 [5..] = -1;
        metadata: Option<String> [..];
        error_code: i16 [..];
    }
    OffsetFetchResponseGroup {
        group_id: String [8..];
        topics: Vec<OffsetFetchResponseTopics> [8..];
        error_code: i16 [8..];
    }
    OffsetFetchResponseTopics {
        name: String [8..=9];
        topic_id: u128 [10..];
        partitions: Vec<OffsetFetchResponsePartition> [8..];
    }
}
