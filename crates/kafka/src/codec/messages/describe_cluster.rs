//! DescribeCluster. Source: KIP-700, KIP-919, KIP-1073.

use crate::codec::message::message;

message! {
    DescribeClusterRequest {
        include_cluster_authorized_operations: bool [..];
        endpoint_type: i8 [1..] = 1;
        include_fenced_brokers: bool [2..];
    }
    DescribeClusterResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        error_message: Option<String> [..];
        endpoint_type: i8 [1..] = 1;
        cluster_id: String [..];
        controller_id: i32 [..] = -1;
        brokers: Vec<DescribeClusterBroker> [..];
        cluster_authorized_operations: i32 [..] = i32::MIN;
    }
    DescribeClusterBroker {
        broker_id: i32 [..];
        host: String [..];
        port: i32 [..];
        rack: Option<String> [..];
        is_fenced: bool [2..];
    }
}
