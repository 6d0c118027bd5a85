//! DescribeCluster: the one broker that there is. Source: KIP-700, KIP-919 (endpoint types), KIP-1073.

use super::{Client, operations};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

/// The endpoint type of brokers; 2 is that of controllers.
const BROKERS: i8 = 1;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::UnsupportedEndpointType.code(),
            error_message: Some("there are no controllers to connect to, only brokers".to_owned()),
            endpoint_type: BROKERS,
            ..Default::default()
        };
    }
    let (host, port) = client.advertised();
    let broker_id = client.options.node_id;
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: client.options.cluster_id.clone(),
        controller_id: broker_id,
        brokers: vec![DescribeClusterBroker { broker_id, host, port, rack: None, is_fenced: false }],
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::of_cluster(client)
        } else {
            i32::MIN
        },
        ..Default::default()
    }
}
