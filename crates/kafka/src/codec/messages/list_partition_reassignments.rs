//! ListPartitionReassignments. Source: KIP-455.

use crate::codec::message::message;

message! {
    ListPartitionReassignmentsRequest {
        timeout_ms: i32 [..] = 60_000;
        // Null is all.
        topics: Option<Vec<ListPartitionReassignmentsTopic>> [..];
    }
    ListPartitionReassignmentsTopic {
        name: String [..];
        partition_indexes: Vec<i32> [..];
    }
    ListPartitionReassignmentsResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
        topics: Vec<OngoingTopicReassignment> [..];
    }
    OngoingTopicReassignment {
        name: String [..];
        partitions: Vec<OngoingPartitionReassignment> [..];
    }
    OngoingPartitionReassignment {
        partition_index: i32 [..];
        replicas: Vec<i32> [..];
        adding_replicas: Vec<i32> [..];
        removing_replicas: Vec<i32> [..];
    }
}
