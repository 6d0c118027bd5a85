//! `/api/exchanges/NAME/from-topics`: topics whose records are published to an exchange.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use duolog_broker::errors::ChangeError;
use duolog_broker::forward::Forward;
use duolog_broker::when;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::error::ApiError;
use super::extract::{Body, Name, Names};
use super::topics::place_of;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/exchanges/{name}/from-topics", post(add))
        .route("/api/exchanges/{name}/from-topics/{topic}", delete(remove))
}

/// What is to be forwarded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    topic: String,
    /// From where on: as a queue's beginning is given.
    #[serde(default = "latest")]
    from: String,
}

fn latest() -> String {
    "latest".to_owned()
}

/// What is forwarded.
#[derive(Debug, Serialize)]
struct Added {
    topic: String,
    exchange: String,
}

/// 201, or 200 if it was there: then it goes on from where it is.
async fn add(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(add): Body<Add>,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    let exchange = admin.exchange(&name)?;
    let topic = admin.topic(&add.topic)?;
    let from = when::parse(&add.from, admin.session.now())
        .map_err(|error| ApiError::invalid(format!("from: {error}")))?;
    let (session, partitions) = (admin.session.clone(), topic.partitions.clone());
    // It may touch the disk.
    let found = tokio::task::spawn_blocking(move || {
        partitions.into_iter().map(|it| Ok((it, place_of(&session, it, from)?))).collect()
    });
    let starts: Result<Vec<_>, ApiError> =
        found.await.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())));
    let forward = Forward { topic: topic.id, exchange: exchange.id };
    let (session, starts) = (admin.session.clone(), starts?);
    let is_new = whole(async move { session.forward(forward, starts).await }).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Added { topic: add.topic, exchange: name })))
}

/// Does both steps, also if nobody waits for the answer any more.
async fn whole(
    steps: impl Future<Output = Result<bool, ChangeError>> + Send + 'static,
) -> Result<bool, ApiError> {
    let done = tokio::spawn(steps).await;
    Ok(done.map_err(|error| ApiError::internal(error.to_string()))??)
}

async fn remove(State(admin): State<Admin>, Names(name, topic): Names) -> Result<StatusCode, ApiError> {
    let forward = Forward { topic: admin.topic(&topic)?.id, exchange: admin.exchange(&name)?.id };
    match whole(async move { admin.session.end_forward(forward).await }).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let why = format!("the topic {topic:?} is not forwarded to the exchange {name:?}");
            Err(ApiError::not_found(why))
        }
    }
}
