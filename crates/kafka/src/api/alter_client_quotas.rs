//! AlterClientQuotas: refused, because a quota that is kept and not held to would lie. Taking one away is granted: there is
//! none. Source: KIP-546.

use duolog_broker::Action;

use super::Client;
use super::refused::{Refused, refused};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, QuotaAlteration, QuotaAlterationResult,
};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let entries = request.entries.into_iter().map(|entry| {
        let (code, error_message) = match check(client, &entry) {
            Ok(()) => (ErrorCode::None, None),
            Err((code, message)) => (code, Some(message)),
        };
        QuotaAlterationResult { error_code: code.code(), error_message, entity: entry.entity }
    });
    AlterClientQuotasResponse { throttle_time_ms: 0, entries: entries.collect() }
}

fn check(client: &Client, entry: &QuotaAlteration) -> Result<(), Refused> {
    if !client.session.may(Action::Manage, "*") {
        return refused(ErrorCode::ClusterAuthorizationFailed, "not allowed to change the cluster");
    }
    match entry.ops.iter().find(|operation| !operation.remove) {
        None => Ok(()),
        Some(operation) => refused(
            ErrorCode::InvalidRequest,
            format!("quotas are not supported: {:?} is not set", operation.key),
        ),
    }
}
