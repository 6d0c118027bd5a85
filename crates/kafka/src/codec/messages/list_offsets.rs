//! ListOffsets: offsets by time. Source: KIP-79, KIP-734 (largest timestamp), KIP-1005, KIP-1075, KIP-1023.

use crate::codec::message::message;

message! {
    ListOffsetsRequest {
        replica_id: i32 [..];
        isolation_level: i8 [2..];
        topics: Vec<ListOffsetsTopic> [..];
        timeout_ms: i32 [10..];
    }
    ListOffsetsTopic {
        name: String [..];
        partitions: Vec<ListOffsetsPartition> [..];
    }
    ListOffsetsPartition {
        partition_index: i32 [..];
        current_leader_epoch: i32 [4..] = -1;
        timestamp: i64 [..];
    }
    ListOffsetsResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<ListOffsetsTopicResponse> [..];
    }
    ListOffsetsTopicResponse {
        name: String [..];
        partitions: Vec<ListOffsetsPartitionResponse> [..];
    }
    ListOffsetsPartitionResponse {
        partition_index: i32 [..];
        error_code: i16 [..];
        timestamp: i64 [1..] = -1;
        offset: i64 [1..] = -1;
        leader_epoch: i32 [4..] = -1;
    }
}
