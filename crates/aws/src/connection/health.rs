//! Being alive, for probes and for test containers that wait for the usual stand-in's path.

use hyper::Response;
use uuid::Uuid;

use super::reply::{self, ReplyBody};

/// `GET /health`.
pub(super) fn alive(id: Uuid) -> Response<ReplyBody> {
    reply::plain_json(r#"{"status":"ok"}"#.to_owned(), id)
}

/// `GET /_localstack/health`.
pub(super) fn localstack(id: Uuid) -> Response<ReplyBody> {
    let version = env!("CARGO_PKG_VERSION");
    let body = format!(
        r#"{{"services":{{"sqs":"running","sns":"running"}},"edition":"duolog","version":"{version}"}}"#
    );
    reply::plain_json(body, id)
}
