//! OffsetForLeaderEpoch: where the records of an epoch end. Source: KIP-101, KIP-320.

use crate::codec::message::message;

message! {
    OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2;
        topics: Vec<OffsetForLeaderTopic> [..];
    }
    OffsetForLeaderTopic {
        topic: String [..];
        partitions: Vec<OffsetForLeaderPartition> [..];
    }
    OffsetForLeaderPartition {
        partition: i32 [..];
        current_leader_epoch: i32 [2..] = -1;
        leader_epoch: i32 [..];
    }
    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<OffsetForLeaderTopicResult> [..];
    }
    OffsetForLeaderTopicResult {
        topic: String [..];
        partitions: Vec<OffsetForLeaderPartitionResult> [..];
    }
    OffsetForLeaderPartitionResult {
        error_code: i16 [..];
        partition: i32 [..];
        leader_epoch: i32 [1..] = -1;
        end_offset: i64 [..] = -1;
    }
}
