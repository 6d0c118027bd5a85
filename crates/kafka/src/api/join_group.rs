//! JoinGroup: a member asks for a place in the next generation, and waits until the generation stands.
//!
//! The metadata is copied: a slice would keep the whole request in memory for as long as the member lives.
//! Source: KIP-62, KIP-345, KIP-394, KIP-559, KIP-814.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::error::of_group;
use crate::group::{JoinAsk, JoinRefused, Joined, JoinedMember, Protocol};

/// From this version on a newcomer is given an id before it is a member.
const ID_REQUIRED_FROM: i16 = 4;
/// From this version on a leader can be told not to assign.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    if !client.session.may(Action::Consume, &request.group_id) {
        return refused(ErrorCode::GroupAuthorizationFailed, request.member_id);
    }
    let group = request.group_id.clone();
    let ask = ask_of(client, header, request);
    match client.groups.join(&group, ask).await {
        Ok(joined) => placed(joined),
        Err(JoinRefused { error, member_id }) => refused(of_group(error), member_id.to_string()),
    }
}

fn ask_of(client: &Client, header: &RequestHeader, request: JoinGroupRequest) -> JoinAsk {
    // A negative time is below every bound that can be configured.
    let session_timeout_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    let copied = |protocol: crate::codec::messages::JoinGroupRequestProtocol| Protocol {
        name: Arc::from(protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    JoinAsk {
        member_id: Arc::from(request.member_id),
        instance_id: request.group_instance_id.map(Arc::from),
        client_id: Arc::from(header.client_id.as_deref().unwrap_or_default()),
        client_host: Arc::from(format!("/{}", client.peer.ip())),
        session_timeout_ms,
        // Version 0 has one timeout for both.
        rebalance_timeout_ms: u64::try_from(request.rebalance_timeout_ms).unwrap_or(session_timeout_ms),
        protocol_type: Arc::from(request.protocol_type),
        protocols: request.protocols.into_iter().map(copied).collect(),
        id_required: header.api_version >= ID_REQUIRED_FROM,
        can_skip_assignment: header.api_version >= SKIP_ASSIGNMENT_FROM,
    }
}

fn placed(joined: Joined) -> JoinGroupResponse {
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance_id.as_deref().map(str::to_owned),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(str::to_owned),
        protocol_name: joined.protocol.as_deref().map(str::to_owned),
        leader: joined.leader.to_string(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id.to_string(),
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn refused(error: ErrorCode, member_id: String) -> JoinGroupResponse {
    JoinGroupResponse { error_code: error.code(), member_id, ..Default::default() }
}
