//! Produce: batches to partitions. Source: KIP-98, KIP-467 (record errors), KIP-951 (new leaders), KIP-516.

use bytes::Bytes;

use crate::codec::message::message;
use crate::codec::messages::{LeaderIdAndEpoch, NodeEndpoint};

message! {
    ProduceRequest {
        transactional_id: Option<String> [3..];
        acks: i16 [..];
        timeout_ms: i32 [..];
        topic_data: Vec<TopicProduceData> [..];
    }
    TopicProduceData {
        name: String [..=12];
        topic_id: u128 [13..];
        partition_data: Vec<PartitionProduceData> [..];
    }
    PartitionProduceData {
        index: i32 [..];
        records: Option<Bytes> [..];
    }
    ProduceResponse {
        responses: Vec<TopicProduceResponse> [..];
        throttle_time_ms: i32 [1..];
        node_endpoints: Vec<NodeEndpoint> [10..] tag 0;
    }
    TopicProduceResponse {
        name: String [..=12];
        topic_id: u128 [13..];
        partition_responses: Vec<PartitionProduceResponse> [..];
    }
    PartitionProduceResponse {
        index: i32 [..];
        error_code: i16 [..];
        base_offset: i64 [..];
        log_append_time_ms: i64 [2..] = -1;
        log_start_offset: i64 [5..] = -1;
        record_errors: Vec<BatchIndexAndErrorMessage> [8..];
        error_message: Option<String> [8..];
        current_leader: LeaderIdAndEpoch [10..] tag 0;
    }
    BatchIndexAndErrorMessage {
        batch_index: i32 [8..];
        batch_index_error_message: Option<String> [8..];
    }
}
