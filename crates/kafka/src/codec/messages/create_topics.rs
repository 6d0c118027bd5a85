//! CreateTopics. Source: KIP-4, KIP-464, KIP-525, KIP-516.

use crate::codec::message::message;

message! {
    CreateTopicsRequest {
        topics: Vec<CreatableTopic> [..];
        timeout_ms: i32 [..] = 60_000;
        validate_only: bool [1..];
    }
    CreatableTopic {
        name: String [..];
        num_partitions: i32 [..];
        replication_factor: i16 [..];
        assignments: Vec<CreatableReplicaAssignment> [..];
        configs: Vec<CreatableTopicConfig> [..];
    }
    CreatableReplicaAssignment {
        partition_index: i32 [..];
        broker_ids: Vec<i32> [..];
    }
    CreatableTopicConfig {
        name: String [..];
        value: Option<String> [..];
    }
    CreateTopicsResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<CreatableTopicResult> [..];
    }
    CreatableTopicResult {
        name: String [..];
        topic_id: u128 [7..];
        error_code: i16 [..];
        error_message: Option<String> [1..];
        topic_config_error_code: i16 [5..] tag 0;
        num_partitions: i32 [5..] = -1;
        replication_factor: i16 [5..] = -1;
        configs: Option<Vec<CreatableTopicConfigs>> [5..];
    }
    CreatableTopicConfigs {
        name: String [5..];
        value: Option<String> [5..];
        read_only: bool [5..];
        config_source: i8 [5..] = -1;
        is_sensitive: bool [5..];
    }
}
