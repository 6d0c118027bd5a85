//! ElectLeaders. Source: KIP-183, KIP-460.

use crate::codec::message::message;

message! {
    ElectLeadersRequest {
        election_type: i8 [1..];
        // Null is all.
        topic_partitions: Option<Vec<ElectLeadersTopic>> [..];
        timeout_ms: i32 [..] = 60_000;
    }
    ElectLeadersTopic {
        topic: String [..];
        partitions: Vec<i32> [..];
    }
    ElectLeadersResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [1..];
        replica_election_results: Vec<ReplicaElectionResult> [..];
    }
    ReplicaElectionResult {
        topic: String [..];
        partition_result: Vec<PartitionElectionResult> [..];
    }
    PartitionElectionResult {
        partition_id: i32 [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
    }
}
