//! SyncGroup: the leader hands over the assignment, a follower waits for its share.
//!
//! Assignments are copied, as the metadata of a join is. Source: KIP-62, KIP-345, KIP-559.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use crate::error::of_group;
use crate::group::SyncAsk;

/// From this version on a member says what protocol it believes in, and must.
const PROTOCOL_REQUIRED_FROM: i16 = 5;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if !client.session.may(Action::Consume, &request.group_id) {
        return refused(ErrorCode::GroupAuthorizationFailed);
    }
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if header.api_version >= PROTOCOL_REQUIRED_FROM && !says_protocol {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let copied = |share: SyncGroupRequestAssignment| {
        (Arc::from(share.member_id), Bytes::copy_from_slice(&share.assignment))
    };
    let ask = SyncAsk {
        member_id: Arc::from(request.member_id),
        instance_id: request.group_instance_id.map(Arc::from),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(Arc::from),
        protocol: request.protocol_name.map(Arc::from),
        assignments: request.assignments.into_iter().map(copied).collect(),
    };
    match client.groups.sync(&request.group_id, ask).await {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type.as_deref().map(str::to_owned),
            protocol_name: synced.protocol.as_deref().map(str::to_owned),
            assignment: synced.assignment,
            ..Default::default()
        },
        Err(error) => refused(of_group(error)),
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}
