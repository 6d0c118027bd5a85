//! What NATS operators and their tools ask nats-server's monitoring port: `/varz`, `/connz`, `/subsz`, `/healthz`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_nats::{Connz, ConnzOptions, Healthz, Subsz, SubszOptions, Varz};

use super::Admin;
use super::extract::Options;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/varz", get(varz))
        .route("/connz", get(connz))
        .route("/subsz", get(subsz))
        .route("/healthz", get(healthz))
}

async fn varz(State(admin): State<Admin>) -> Json<Varz> {
    Json(admin.nats.varz())
}

async fn connz(State(admin): State<Admin>, Options(options): Options<ConnzOptions>) -> Json<Connz> {
    Json(admin.nats.connz(&options))
}

async fn subsz(State(admin): State<Admin>, Options(options): Options<SubszOptions>) -> Json<Subsz> {
    Json(admin.nats.subsz(&options))
}

async fn healthz(State(admin): State<Admin>) -> (StatusCode, Json<Healthz>) {
    if admin.shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Healthz { status: "unavailable" }))
    } else {
        (StatusCode::OK, Json(admin.nats.healthz()))
    }
}
