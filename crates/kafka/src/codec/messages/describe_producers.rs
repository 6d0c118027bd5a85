//! DescribeProducers: the idempotent producers that are known of a partition. Source: KIP-664.

use crate::codec::message::message;

message! {
    DescribeProducersRequest {
        topics: Vec<DescribeProducersTopicRequest> [..];
    }
    DescribeProducersTopicRequest {
        name: String [..];
        partition_indexes: Vec<i32> [..];
    }
    DescribeProducersResponse {
        throttle_time_ms: i32 [..];
        topics: Vec<DescribeProducersTopicResponse> [..];
    }
    DescribeProducersTopicResponse {
        name: String [..];
        partitions: Vec<DescribeProducersPartitionResponse> [..];
    }
    DescribeProducersPartitionResponse {
        partition_index: i32 [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
        active_producers: Vec<ProducerState> [..];
    }
    ProducerState {
        producer_id: i64 [..];
        producer_epoch: i32 [..];
        last_sequence: i32 [..] = -1;
        last_timestamp: i64 [..] = -1;
        coordinator_epoch: i32 [..];
        current_txn_start_offset: i64 [..] = -1;
    }
}
