//! `/api/queues`: list, describe, declare, delete, purge, get messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::method::{BasicGet, BasicNack, QueueDeclare, QueueDelete, QueuePurge};
use duolog_amqp::{Answer, Declared, namespace_of, vhost_of};
use duolog_broker::errors::LeaseError;
use duolog_broker::{Depth, Queue, Topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Admin;
use super::calls::{self, short};
use super::error::{Document, Refusal};
use super::{json, policies};

/// Messages of one answer.
const GET_MAX: usize = 1_000;
/// Bytes of their bodies, after which no more are got.
const GET_BYTES: usize = 4 << 20;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/queues", get(list))
        .route("/api/queues/{vhost}", get(list_in))
        .route("/api/queues/{vhost}/{name}", get(describe).put(declare).delete(remove))
        .route("/api/queues/{vhost}/{name}/contents", delete(purge))
        .route("/api/queues/{vhost}/{name}/get", post(take))
}

/// A queue to declare.
#[derive(Debug, Deserialize)]
pub(super) struct Declare {
    #[serde(default)]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    pub(super) arguments: Option<Value>,
}

/// Which queues may be deleted.
#[derive(Debug, Deserialize)]
struct If {
    #[serde(default, rename = "if-empty")]
    empty: bool,
    #[serde(default, rename = "if-unused")]
    unused: bool,
}

/// Which messages to get, and what becomes of them.
#[derive(Debug, Deserialize)]
struct Take {
    #[serde(deserialize_with = "super::error::number")]
    count: usize,
    #[serde(default)]
    ackmode: AckMode,
    encoding: Option<String>,
    truncate: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AckMode {
    #[default]
    AckRequeueTrue,
    RejectRequeueTrue,
    AckRequeueFalse,
    RejectRequeueFalse,
}

impl Admin {
    pub(super) fn amqp_queue(&self, vhost: &str, name: &str) -> Result<Arc<Queue>, Refusal> {
        self.check_vhost(vhost)?;
        self.session.catalog().queue(namespace_of(vhost), name).cloned().ok_or(Refusal::NotFound)
    }

    /// # Errors
    /// `NotFound` if there is neither a queue nor a stream of this name.
    pub(super) fn check_queue(&self, vhost: &str, name: &str) -> Result<(), Refusal> {
        if self.amqp.stream(vhost, name).is_some() {
            return Ok(());
        }
        self.amqp_queue(vhost, name).map(drop)
    }

    pub(super) async fn declare_queue(
        &self,
        vhost: &str,
        name: &str,
        asked: &Declare,
    ) -> Result<bool, Refusal> {
        let is_new = self.check_queue(vhost, name).is_err();
        let arguments = json::table(asked.arguments.as_ref())?.encode();
        let method = QueueDeclare {
            queue: short(name)?,
            durable: asked.durable,
            auto_delete: asked.auto_delete,
            arguments: arguments.as_raw(),
            ..QueueDeclare::default()
        };
        self.call(vhost, &method).await?;
        Ok(is_new)
    }

    async fn depth_of(&self, queue: &Queue) -> Result<Depth, Refusal> {
        self.session.depth(queue.id).await.map_err(|error| match error {
            LeaseError::NotFound => Refusal::NotFound,
            error => Refusal::Unavailable(error.to_string()),
        })
    }

    /// The queues of a virtual host, and how full they are.
    ///
    /// # Errors
    /// `Unavailable` if the broker cannot tell.
    pub(super) async fn depths_in(&self, vhost: &str) -> Result<Vec<(Arc<Queue>, Depth)>, Refusal> {
        let catalog = self.session.catalog();
        let mut all = Vec::new();
        for queue in catalog.queues(namespace_of(vhost)) {
            match self.depth_of(queue).await {
                Ok(depth) => all.push((Arc::clone(queue), depth)),
                // Deleted in the meantime.
                Err(Refusal::NotFound) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(all)
    }

    async fn queues_in(&self, vhost: &str) -> Result<Vec<Value>, Refusal> {
        // A queue of the same name is attached to the stream: clients of AMQP find the stream.
        let streams: BTreeMap<_, _> = self
            .amqp
            .streams(vhost)
            .iter()
            .map(|it| (it.0.name.clone(), self.described_stream(it)))
            .collect();
        let all = self.depths_in(vhost).await?;
        let queues =
            all.iter().map(|(queue, depth)| (queue.name.clone(), self.described_queue(queue, depth)));
        let all: BTreeMap<_, _> = queues.chain(streams).collect();
        Ok(all.into_values().collect())
    }

    fn described_stream(&self, (topic, length): &(Arc<Topic>, u64)) -> Value {
        let declared = Declared::of(&topic.labels);
        let mut described = json!({
            "name": topic.name,
            "vhost": vhost_of(&topic.namespace),
            "durable": true,
            "auto_delete": false,
            "exclusive": false,
            "arguments": json::object(declared.table()),
            "type": "stream",
            "node": super::NODE,
            "state": "running",
            "messages": length,
            "messages_ready": length,
            "messages_unacknowledged": 0,
            "consumers": self.amqp.consumers_on(topic.id.into()),
        });
        let in_force = self.amqp.in_force_on_stream(topic);
        policies::shown(&in_force).into_iter().for_each(|(key, value)| described[key] = value);
        described
    }

    fn described_queue(&self, queue: &Queue, depth: &Depth) -> Value {
        let declared = Declared::of(&queue.labels);
        let arguments = declared.table();
        let kind = arguments.get("x-queue-type").and_then(|it| it.as_str()).unwrap_or("classic");
        let in_force = self.amqp.in_force_on_queue(queue);
        let mut described = json!({
            "name": queue.name,
            "vhost": vhost_of(&queue.namespace),
            "durable": declared.durable,
            "auto_delete": declared.auto_delete,
            "exclusive": declared.exclusive,
            "arguments": json::object(arguments),
            "type": kind,
            "node": super::NODE,
            "state": "running",
            "messages": depth.available + depth.in_flight,
            "messages_ready": depth.available,
            "messages_unacknowledged": depth.in_flight,
            "messages_delayed": depth.delayed,
            "consumers": self.amqp.consumers_on(queue.id.into()),
        });
        policies::shown(&in_force).into_iter().for_each(|(key, value)| described[key] = value);
        described
    }
}

async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    let mut all = Vec::new();
    for vhost in admin.amqp.vhosts() {
        all.extend(admin.queues_in(&vhost).await?);
    }
    Ok(Json(Value::Array(all)))
}

async fn list_in(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(Value::Array(admin.queues_in(&vhost).await?)))
}

async fn describe(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    if let Some(stream) = admin.amqp.stream(&vhost, &name) {
        return Ok(Json(admin.described_stream(&stream)));
    }
    let queue = admin.amqp_queue(&vhost, &name)?;
    let depth = admin.depth_of(&queue).await?;
    Ok(Json(admin.described_queue(&queue, &depth)))
}

async fn declare(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Document(asked): Document<Declare>,
) -> Result<StatusCode, Refusal> {
    admin.declare_queue(&vhost, &name, &asked).await.map(calls::declared)
}

async fn remove(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Query(only): Query<If>,
) -> Result<StatusCode, Refusal> {
    admin.check_queue(&vhost, &name)?;
    let queue = short(&name)?;
    let method =
        QueueDelete { queue, if_unused: only.unused, if_empty: only.empty, ..QueueDelete::default() };
    admin.call(&vhost, &method).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    admin.call(&vhost, &QueuePurge { queue: short(&name)?, ..QueuePurge::default() }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn take(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Document(asked): Document<Take>,
) -> Result<Json<Value>, Refusal> {
    admin.check_queue(&vhost, &name)?;
    let mut caller = admin.caller(&vhost)?;
    let no_ack = asked.ackmode == AckMode::AckRequeueFalse;
    let get = BasicGet { queue: short(&name)?, no_ack, ..BasicGet::default() };
    let mut frames = Vec::new();
    get.write(&mut frames, 1);
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while messages.len() < asked.count.min(GET_MAX) && bytes < GET_BYTES {
        let got = caller.call(&frames, |_: &ServerMethod<'_>| true).await?;
        let Some(message) = got.iter().find_map(|it| message_of(it, &asked)) else { break };
        bytes += got.iter().map(|it| it.body.len()).sum::<usize>();
        messages.push(message);
    }
    if !no_ack && !messages.is_empty() {
        let requeue = asked.ackmode != AckMode::RejectRequeueFalse;
        let mut frames = Vec::new();
        BasicNack { delivery_tag: 0, multiple: true, requeue }.write(&mut frames, 1);
        // Answered when that is done.
        QueueDeclare { queue: short(&name)?, passive: true, ..QueueDeclare::default() }.write(&mut frames, 1);
        caller.call(&frames, |_: &ServerMethod<'_>| true).await?;
    }
    Ok(Json(Value::Array(messages)))
}

/// As it is shown; `None` if the queue is empty.
fn message_of(answer: &Answer, asked: &Take) -> Option<Value> {
    let Ok(ServerMethod::BasicGetOk(got)) = ServerMethod::decode(&answer.method) else { return None };
    let shown = &answer.body[..asked.truncate.unwrap_or(usize::MAX).min(answer.body.len())];
    let text = std::str::from_utf8(shown).ok().filter(|_| asked.encoding.as_deref() != Some("base64"));
    let (payload, encoding) = match text {
        Some(text) => (text.to_owned(), "string"),
        None => (STANDARD.encode(shown), "base64"),
    };
    Some(json!({
        "payload_bytes": answer.body.len(),
        "redelivered": got.redelivered,
        "exchange": String::from_utf8_lossy(got.exchange.as_bytes()),
        "routing_key": String::from_utf8_lossy(got.routing_key.as_bytes()),
        "message_count": got.message_count,
        "properties": json::properties(&answer.properties),
        "payload": payload,
        "payload_encoding": encoding,
    }))
}
