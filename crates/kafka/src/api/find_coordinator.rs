//! FindCoordinator: which broker serves a group. It is this one, for every group.
//!
//! Source: KIP-699 (many keys from version 4), KIP-932 (share groups, key type 2).

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// From this version on a request names many keys, and each is answered.
const MANY_FROM: i16 = 4;
/// Key types: consumer groups, transactions, share groups.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if header.api_version >= MANY_FROM {
        let find = |key| find(client, request.key_type, key);
        let coordinators = request.coordinator_keys.into_iter().map(find).collect();
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(client, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(client: &Client, key_type: i8, key: String) -> Coordinator {
    match key_type {
        GROUP if client.session.may(Action::Describe, &key) => {
            let (host, port) = client.advertised();
            Coordinator { key, node_id: client.options.node_id, host, port, ..Default::default() }
        }
        GROUP => nowhere(key, ErrorCode::GroupAuthorizationFailed, "not allowed to see this group"),
        // Not retriable, so that a transactional producer fails at once instead of searching on.
        TRANSACTION => {
            let code = ErrorCode::TransactionalIdAuthorizationFailed;
            nowhere(key, code, "transactions are not supported; leave transactional.id unset")
        }
        SHARE => nowhere(key, ErrorCode::InvalidRequest, "share groups are not supported"),
        _ => nowhere(key, ErrorCode::InvalidRequest, "unknown key type; 0 is a consumer group"),
    }
}

fn nowhere(key: String, error: ErrorCode, why: &str) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(why.to_owned()),
        ..Default::default()
    }
}
