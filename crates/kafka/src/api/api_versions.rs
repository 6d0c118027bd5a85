//! ApiVersions: what is spoken here. Source: KIP-35, KIP-511.

use super::{Client, Held, Reply};
use crate::ErrorCode;
use crate::codec::messages::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::codec::{ApiKey, RequestHeader, encode_response};

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let named = is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if header.api_version >= 3 && !named {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    tracing::debug!(
        peer = %client.peer,
        software = request.client_software_name,
        version = request.client_software_version,
        "client introduces itself"
    );
    ApiVersionsResponse { api_keys: ApiKey::ALL.iter().copied().map(window).collect(), ..Default::default() }
}

/// The answer to a version that is not known here: at version 0, which every client can read, it names the versions
/// with which the client may ask again.
pub(super) fn unsupported(correlation_id: i32) -> Reply {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![window(ApiKey::ApiVersions)],
        ..Default::default()
    };
    let frame = encode_response(ApiKey::ApiVersions, 0, correlation_id, &response);
    Reply::Frame(frame, Held::default())
}

fn window(api: ApiKey) -> ApiVersion {
    let versions = api.versions();
    ApiVersion { api_key: api as i16, min_version: *versions.start(), max_version: *versions.end() }
}

/// Letters and digits at both ends, dots and hyphens between.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}
