//! DescribeTopicPartitions: topics and their partitions, page by page. Source: KIP-966.

use crate::codec::Nullable;
use crate::codec::message::message;

message! {
    DescribeTopicPartitionsRequest {
        // Empty is all.
        topics: Vec<DescribeTopicPartitionsRequestTopic> [..];
        response_partition_limit: i32 [..] = 2_000;
        cursor: Nullable<TopicPartitionCursor> [..];
    }
    DescribeTopicPartitionsRequestTopic {
        name: String [..];
    }
    // The first partition of the next page.
    TopicPartitionCursor {
        topic_name: String [..];
        partition_index: i32 [..];
    }
    DescribeTopicPartitionsResponse {
        throttle_time_ms: i32 [..];
        topics: Vec<DescribeTopicPartitionsResponseTopic> [..];
        next_cursor: Nullable<TopicPartitionCursor> [..];
    }
    DescribeTopicPartitionsResponseTopic {
        error_code: i16 [..];
        name: Option<String> [..];
        topic_id: u128 [..];
        is_internal: bool [..];
        partitions: Vec<DescribeTopicPartitionsResponsePartition> [..];
        topic_authorized_operations: i32 [..] = i32::MIN;
    }
    DescribeTopicPartitionsResponsePartition {
        error_code: i16 [..];
        partition_index: i32 [..];
        leader_id: i32 [..];
        leader_epoch: i32 [..] = -1;
        replica_nodes: Vec<i32> [..];
        isr_nodes: Vec<i32> [..];
        eligible_leader_replicas: Option<Vec<i32>> [..];
        last_known_elr: Option<Vec<i32>> [..];
        offline_replicas: Vec<i32> [..];
    }
}
