//! CreatePartitions: more partitions for a topic. Source: KIP-195.

use crate::codec::message::message;

message! {
    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [..];
        timeout_ms: i32 [..];
        validate_only: bool [..];
    }
    CreatePartitionsTopic {
        name: String [..];
        // In all, not more.
        count: i32 [..];
        assignments: Option<Vec<CreatePartitionsAssignment>> [..];
    }
    CreatePartitionsAssignment {
        broker_ids: Vec<i32> [..];
    }
    CreatePartitionsResponse {
        throttle_time_ms: i32 [..];
        results: Vec<CreatePartitionsTopicResult> [..];
    }
    CreatePartitionsTopicResult {
        name: String [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
    }
}
