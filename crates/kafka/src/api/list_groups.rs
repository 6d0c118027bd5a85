//! ListGroups: every group with members or offsets, filtered by state and type.
//!
//! Filters ignore case; one that names nothing known matches nothing. Source: KIP-518 (states), KIP-848 (types).

use duolog_broker::Action;

use super::Client;
use crate::codec::RequestHeader;
use crate::codec::messages::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::error::of_cursor;

/// What every group here is.
pub(super) const CLASSIC: &str = "classic";

pub(super) async fn handle(
    client: &Client,
    _header: &RequestHeader,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let all = match client.groups.list(&client.session).await {
        Ok(all) => all,
        Err(error) => {
            return ListGroupsResponse { error_code: of_cursor(&error).code(), ..Default::default() };
        }
    };
    if !matches(&request.types_filter, CLASSIC) {
        return ListGroupsResponse::default();
    }
    let groups = all
        .into_iter()
        .filter(|group| matches(&request.states_filter, group.state.name()))
        .filter(|group| client.session.may(Action::Describe, &group.id))
        .map(|group| ListedGroup {
            group_id: group.id.to_string(),
            protocol_type: group.protocol_type.to_string(),
            group_state: group.state.name().to_owned(),
            group_type: CLASSIC.to_owned(),
        })
        .collect();
    ListGroupsResponse { groups, ..Default::default() }
}

/// No filter matches everything.
fn matches(filter: &[String], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
