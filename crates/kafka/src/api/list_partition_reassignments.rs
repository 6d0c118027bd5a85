//! ListPartitionReassignments: no partition is on its way elsewhere. Source: KIP-455.

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    if client.session.may(Action::Describe, "*") {
        return ListPartitionReassignmentsResponse::default();
    }
    ListPartitionReassignmentsResponse {
        error_code: ErrorCode::ClusterAuthorizationFailed.code(),
        error_message: Some("not allowed to describe the cluster".to_owned()),
        ..Default::default()
    }
}
