//! `/api/exchanges`: list, describe, declare, delete, publish.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duolog_amqp::codec::method::{ExchangeDeclare, ExchangeDelete};
use duolog_amqp::codec::{Properties, ShortStr};
use duolog_amqp::{Declared, exchange_type, namespace_of, vhost_of};
use duolog_broker::routing::Exchange;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Admin;
use super::calls::{self, short};
use super::error::{Document, Refusal};
use super::json;

/// How the default exchange is called in paths.
pub(super) const DEFAULT: &str = "amq.default";

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/exchanges", get(list))
        .route("/api/exchanges/{vhost}", get(list_in))
        .route("/api/exchanges/{vhost}/{name}", get(describe).put(declare).delete(remove))
        .route("/api/exchanges/{vhost}/{name}/publish", post(publish))
}

/// An exchange to declare.
#[derive(Debug, Deserialize)]
pub(super) struct Declare {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    durable: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    internal: bool,
    arguments: Option<Value>,
}

/// Which exchanges may be deleted.
#[derive(Debug, Deserialize)]
struct If {
    #[serde(default, rename = "if-unused")]
    unused: bool,
}

/// A message.
#[derive(Debug, Deserialize)]
struct Publish {
    routing_key: String,
    #[serde(default)]
    properties: Option<Value>,
    payload: String,
    #[serde(default)]
    payload_encoding: String,
}

fn described(admin: &Admin, exchange: &Exchange) -> Value {
    let declared = Declared::of(&exchange.labels);
    json!({
        "policy": admin.amqp.in_force_on_exchange(exchange).policy,
        "name": exchange.name,
        "vhost": vhost_of(&exchange.namespace),
        "type": exchange_type(exchange),
        "durable": declared.durable,
        "auto_delete": declared.auto_delete,
        "internal": declared.internal,
        "arguments": json::object(declared.table()),
    })
}

fn default_in(vhost: &str) -> Value {
    json!({
        "name": "", "vhost": vhost, "type": "direct", "durable": true, "auto_delete": false, "internal": false,
        "arguments": {}, "policy": null,
    })
}

impl Admin {
    pub(super) fn exchanges_in(&self, vhost: &str) -> Vec<Value> {
        let catalog = self.session.catalog();
        let named = catalog.exchanges(namespace_of(vhost)).map(|it| described(self, it));
        std::iter::once(default_in(vhost)).chain(named).collect()
    }

    pub(super) async fn declare_exchange(
        &self,
        vhost: &str,
        name: &str,
        asked: &Declare,
    ) -> Result<bool, Refusal> {
        self.check_vhost(vhost)?;
        let is_new = self.session.catalog().exchange(namespace_of(vhost), name).is_none();
        let arguments = json::table(asked.arguments.as_ref())?.encode();
        let method = ExchangeDeclare {
            exchange: short(name)?,
            kind: short(&asked.kind)?,
            durable: asked.durable,
            auto_delete: asked.auto_delete,
            internal: asked.internal,
            arguments: arguments.as_raw(),
            ..ExchangeDeclare::default()
        };
        self.call(vhost, &method).await?;
        Ok(is_new)
    }
}

async fn list(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.amqp.vhosts().iter().flat_map(|vhost| admin.exchanges_in(vhost)).collect())
}

async fn list_in(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(Value::Array(admin.exchanges_in(&vhost))))
}

async fn describe(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    if name == DEFAULT {
        return Ok(Json(default_in(&vhost)));
    }
    let catalog = admin.session.catalog();
    catalog
        .exchange(namespace_of(&vhost), &name)
        .map(|it| Json(described(&admin, it)))
        .ok_or(Refusal::NotFound)
}

async fn declare(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Document(asked): Document<Declare>,
) -> Result<StatusCode, Refusal> {
    admin.declare_exchange(&vhost, &name, &asked).await.map(calls::declared)
}

async fn remove(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Query(only): Query<If>,
) -> Result<StatusCode, Refusal> {
    admin.check_vhost(&vhost)?;
    if admin.session.catalog().exchange(namespace_of(&vhost), &name).is_none() {
        return Err(Refusal::NotFound);
    }
    let method =
        ExchangeDelete { exchange: short(&name)?, if_unused: only.unused, ..ExchangeDelete::default() };
    admin.call(&vhost, &method).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn publish(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Document(asked): Document<Publish>,
) -> Result<Json<Value>, Refusal> {
    let body = match asked.payload_encoding.as_str() {
        "base64" => STANDARD.decode(&asked.payload).map_err(|error| Refusal::Bad(error.to_string()))?,
        _ => asked.payload.into_bytes(),
    };
    let none = Map::new();
    let given = asked.properties.as_ref().and_then(Value::as_object).unwrap_or(&none);
    let properties = encoded(given)?;
    let exchange = if name == DEFAULT { ShortStr::EMPTY } else { short(&name)? };
    let routing_key = short(&asked.routing_key)?;
    let mut caller = admin.caller(&vhost)?;
    let is_routed = calls::publish(&mut caller, (exchange, routing_key), &properties, &body).await?;
    Ok(Json(json!({ "routed": is_routed })))
}

/// Properties that are given as JSON, encoded.
fn encoded(given: &Map<String, Value>) -> Result<Vec<u8>, Refusal> {
    let text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => short(text).map(Some),
        Some(_) => Err(Refusal::Bad(format!("{name} is a string"))),
    };
    let number = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_u64().map(Some).ok_or_else(|| Refusal::Bad(format!("{name} is a whole number")))
        }
    };
    let small = |name: &str| match number(name)?.map(u8::try_from) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Refusal::Bad(format!("{name} is at most 255"))),
    };
    let headers = json::table(given.get("headers"))?.encode();
    let mut out = Vec::new();
    Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: given.contains_key("headers").then(|| headers.as_raw()),
        delivery_mode: small("delivery_mode")?,
        priority: small("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    }
    .encode(&mut out);
    Ok(out)
}
