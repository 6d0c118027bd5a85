//! DescribeGroups: state, members and assignments of groups.
//!
//! A group that does not exist is `Dead` without an error up to version 5, and an error from then on.
//! Source: KIP-345, KIP-430 (authorized operations), KIP-1043 (version 6).

use super::{Client, operations};
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::error::of_cursor;
use crate::group::{GroupView, MemberView, State};
use crate::{ErrorCode, limits};

/// From this version on a group that does not exist is an error.
const NOT_FOUND_FROM: i16 = 6;
pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut bytes_left = limits::DESCRIBED_BYTES;
    let mut groups = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let operations = request.include_authorized_operations.then(|| operations::of_group(client, &id));
        let mut group = describe(client, header.api_version, id, &mut bytes_left).await;
        if let Some(operations) = operations.filter(|_| group.error_code == 0) {
            group.authorized_operations = operations;
        }
        groups.push(group);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

async fn describe(client: &Client, version: i16, id: String, bytes_left: &mut usize) -> DescribedGroup {
    let view = match client.groups.describe(&client.session, &id).await {
        Ok(view) => view,
        Err(error) => return failed(id, of_cursor(&error), error.to_string()),
    };
    let Some(view) = view else {
        if version >= NOT_FOUND_FROM {
            let why = format!("group {id} not found");
            return failed(id, ErrorCode::GroupIdNotFound, why);
        }
        return DescribedGroup {
            group_id: id,
            group_state: State::Dead.name().to_owned(),
            ..Default::default()
        };
    };
    // Distinct groups always fit; the same one named again and again does not multiply what it costs.
    let Some(rest) = bytes_left.checked_sub(bytes_of(&view)) else {
        let why = "the answer would be too large; describe fewer groups at once".to_owned();
        return failed(id, ErrorCode::InvalidRequest, why);
    };
    *bytes_left = rest;
    DescribedGroup {
        group_id: id,
        group_state: view.state.name().to_owned(),
        protocol_type: view.protocol_type.to_string(),
        protocol_data: view.protocol.to_string(),
        members: view.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn member(member: MemberView) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}

fn bytes_of(view: &GroupView) -> usize {
    let member = |member: &MemberView| {
        let names = [Some(&member.id), member.instance_id.as_ref(), Some(&member.client_id)];
        let names: usize = names.into_iter().flatten().map(|name| name.len()).sum();
        names + member.client_host.len() + member.metadata.len() + member.assignment.len()
    };
    view.members.iter().map(member).sum()
}

fn failed(id: String, error: ErrorCode, why: String) -> DescribedGroup {
    DescribedGroup {
        group_id: id,
        error_code: error.code(),
        error_message: Some(why),
        group_state: State::Dead.name().to_owned(),
        ..Default::default()
    }
}
