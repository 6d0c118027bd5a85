//! `/api/vhosts`: list, describe, create, delete.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::super::Admin;
use super::NODE;
use super::calls;
use super::error::Refusal;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(describe).put(create).delete(delete))
}

impl Admin {
    /// # Errors
    /// `NotFound` if there is no such virtual host.
    pub(super) fn check_vhost(&self, name: &str) -> Result<(), Refusal> {
        if self.amqp.vhosts().iter().any(|it| it == name) { Ok(()) } else { Err(Refusal::NotFound) }
    }
}

fn described(name: &str) -> Value {
    let (description, tags): (_, [&str; 0]) = ("", []);
    json!({
        "name": name,
        "description": description,
        "tags": tags,
        "default_queue_type": "classic",
        "metadata": { "description": description, "tags": tags },
        "tracing": false,
        "cluster_state": { NODE: "running" },
    })
}

async fn list(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.amqp.vhosts().iter().map(|name| described(name)).collect())
}

async fn describe(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&name)?;
    Ok(Json(described(&name)))
}

/// Its settings are not looked at: there are none.
async fn create(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    Ok(calls::declared(admin.amqp.create_vhost(&name).await?))
}

async fn delete(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    if admin.amqp.delete_vhost(&name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}
