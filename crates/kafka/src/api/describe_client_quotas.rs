//! DescribeClientQuotas: there are none, and nobody is throttled. Source: KIP-546.

use duolog_broker::Action;

use super::Client;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    _: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    if client.session.may(Action::Describe, "*") {
        return DescribeClientQuotasResponse { entries: Some(Vec::new()), ..Default::default() };
    }
    DescribeClientQuotasResponse {
        error_code: ErrorCode::ClusterAuthorizationFailed.code(),
        error_message: Some("not allowed to describe the cluster".to_owned()),
        ..Default::default()
    }
}
