//! Heartbeat: a member shows that it lives and hears whether it is to join again. Source: KIP-62, KIP-345.

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{HeartbeatRequest, HeartbeatResponse};
use crate::error::of_group;
use crate::group::Identity;

pub(super) async fn handle(
    client: &Client,
    _header: &RequestHeader,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let code = if client.session.may(Action::Consume, &request.group_id) {
        let who = Identity::new(request.member_id, request.group_instance_id);
        let answer = client.groups.heartbeat(&request.group_id, &who, request.generation_id);
        answer.map_or_else(of_group, |()| ErrorCode::None)
    } else {
        ErrorCode::GroupAuthorizationFailed
    };
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}
