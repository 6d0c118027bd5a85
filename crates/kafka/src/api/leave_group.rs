//! LeaveGroup: members go, one (versions 0 to 2) or many at a time. Source: KIP-345, KIP-800.

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use crate::error::of_group;
use crate::group::{GroupError, Identity};

/// From this version on a request names many members, and each is answered.
const MANY_FROM: i16 = 3;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    if !client.session.may(Action::Consume, &request.group_id) {
        return refused(ErrorCode::GroupAuthorizationFailed);
    }
    if header.api_version < MANY_FROM {
        let who = Identity::new(request.member_id, None);
        return match client.groups.leave(&request.group_id, &[who]) {
            Ok(answers) => refused(answers.into_iter().next().map_or(ErrorCode::None, code_of)),
            Err(error) => refused(of_group(error)),
        };
    }
    let leaving: Vec<_> = request
        .members
        .iter()
        .map(|member| Identity::new(&*member.member_id, member.group_instance_id.clone()))
        .collect();
    match client.groups.leave(&request.group_id, &leaving) {
        Ok(answers) => {
            for (member, answer) in request.members.iter().zip(&answers) {
                tracing::debug!(
                    group = request.group_id,
                    member = member.member_id,
                    reason = member.reason.as_deref().unwrap_or_default(),
                    left = answer.is_ok(),
                    "a member leaves"
                );
            }
            let members = request.members.into_iter().zip(answers).map(answered).collect();
            LeaveGroupResponse { members, ..Default::default() }
        }
        Err(error) => refused(of_group(error)),
    }
}

fn code_of(answer: Result<(), GroupError>) -> ErrorCode {
    answer.map_or_else(of_group, |()| ErrorCode::None)
}

fn answered((member, answer): (MemberIdentity, Result<(), GroupError>)) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: code_of(answer).code(),
    }
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}
