//! `/api/bindings`: subjects that topics keep, and topics that are heard on subjects.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::error::ApiError;
use super::extract::{Body, Options};
use crate::bindings::{BindError, Binding};

pub fn routes() -> Router<Admin> {
    Router::new().route("/api/bindings", get(list).post(add).delete(remove))
}

/// A binding, and where it stands.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    binding: Binding,
    configured: bool,
}

/// Which one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    kind: Kind,
    subject: String,
    topic: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Capture,
    Echo,
}

impl From<BindError> for ApiError {
    fn from(error: BindError) -> Self {
        let message = error.to_string();
        match error {
            BindError::Invalid(_) => Self::invalid(message),
            BindError::NotFound(_) => Self::not_found(message),
            BindError::Configured | BindError::Exists | BindError::OverLimit => Self::conflict(message),
            BindError::Change(error) => error.into(),
        }
    }
}

async fn list(State(admin): State<Admin>) -> Json<Vec<Listed>> {
    let all = admin.bindings.list().into_iter();
    Json(all.map(|(binding, configured)| Listed { binding, configured }).collect())
}

async fn add(
    State(admin): State<Admin>,
    Body(binding): Body<Binding>,
) -> Result<(StatusCode, Json<Listed>), ApiError> {
    admin.bindings.add(binding.clone()).await?;
    Ok((StatusCode::CREATED, Json(Listed { binding, configured: false })))
}

async fn remove(State(admin): State<Admin>, Options(which): Options<Which>) -> Result<StatusCode, ApiError> {
    let Which { kind, subject, topic } = which;
    let binding = match kind {
        Kind::Capture => Binding::Capture { subject, topic },
        Kind::Echo => Binding::Echo { topic, subject, catch_up: false },
    };
    admin.bindings.remove(&binding).await?;
    Ok(StatusCode::NO_CONTENT)
}
