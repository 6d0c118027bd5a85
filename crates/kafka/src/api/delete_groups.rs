//! DeleteGroups: groups without members go, with their offsets. Source: KIP-229.

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::error::of_offsets;

pub(super) async fn handle(
    client: &Client,
    _header: &RequestHeader,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let code = delete(client, &group_id).await;
        results.push(DeletableGroupResult { group_id, error_code: code.code() });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}

async fn delete(client: &Client, group: &str) -> ErrorCode {
    if !client.session.may(Action::Manage, group) {
        return ErrorCode::GroupAuthorizationFailed;
    }
    match client.groups.delete(&client.session, group).await {
        Ok(()) => ErrorCode::None,
        Err(error) => of_offsets(&error),
    }
}
