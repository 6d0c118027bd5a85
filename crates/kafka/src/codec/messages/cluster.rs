//! ElectLeaders, ListPartitionReassignments, ListConfigResources: what operators ask of a cluster.
//! Source: KIP-183, KIP-460, KIP-455, KIP-1142.

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
    ListConfigResourcesRequest {
        resource_types: Vec<i8> [1..];
    }
    ListConfigResourcesResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        config_resources: Vec<ListedConfigResource> [..];
    }
    ListedConfigResource {
        resource_name: String [..];
        resource_type: i8 [1..] = 16;
    }
}
