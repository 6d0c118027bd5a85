//! InitProducerId: an identity for idempotent producing. Source: KIP-98, KIP-360.

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{InitProducerIdRequest, InitProducerIdResponse};
use crate::error::of_cursor;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse { error_code: code.code(), ..Default::default() };
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return refused(ErrorCode::InvalidRequest),
        // Not retriable, so that the client fails at once and says why, instead of trying until it times out.
        Some(_) => return refused(ErrorCode::TransactionalIdAuthorizationFailed),
    }
    // A producer that names its old id wants its epoch raised after an error; a new id serves as well: its batches were
    // answered or will never be sent again.
    match client.session.new_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => refused(of_cursor(&error)),
    }
}
