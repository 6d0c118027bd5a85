//! Health: `live` says that the process answers, `ready` that it takes work.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::Admin;

pub fn routes() -> Router<Admin> {
    Router::new().route("/health/live", get(async || "live\n")).route("/health/ready", get(ready))
}

/// The listener opens after the log is recovered, so what remains to be said is whether the end has begun.
async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
