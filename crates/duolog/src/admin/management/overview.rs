//! What there is in all: `/api/overview`, nodes, connections, channels, consumers, and what is always empty here.

use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::{ConsumerState, RABBITMQ_VERSION, Source, vhost_of};
use serde_json::{Value, json};

use super::super::Admin;
use super::error::Refusal;
use super::{NODE, health};
use crate::config::Protocol;

/// The types of exchanges that may be declared.
const TYPES: [&str; 6] = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message"];
/// Lists that are valid and empty: there is nothing of the kind.
const NONE: [&str; 10] = [
    "/api/users/without-permissions",
    "/api/users/{user}/topic-permissions",
    "/api/vhosts/{vhost}/topic-permissions",
    "/api/vhost-limits/{vhost}",
    "/api/user-limits",
    "/api/global-parameters",
    "/api/topic-permissions",
    "/api/vhost-limits",
    "/api/feature-flags",
    "/api/extensions",
];

pub fn routes() -> Router<Admin> {
    let routes = Router::new()
        .route("/api/overview", get(overview))
        .route("/api/cluster-name", get(cluster_name))
        .route("/api/nodes", get(nodes))
        .route("/api/nodes/{name}", get(node))
        .route("/api/connections", get(connections))
        .route("/api/connections/{name}", get(connection))
        .route("/api/connections/username/{user}", get(connections_of))
        .route("/api/vhosts/{vhost}/connections", get(connections_in))
        .route("/api/channels", get(channels))
        .route("/api/channels/{name}", get(channel))
        .route("/api/vhosts/{vhost}/channels", get(channels_in))
        .route("/api/consumers", get(consumers))
        .route("/api/consumers/{vhost}", get(consumers_in));
    NONE.into_iter().fold(routes, |routes, path| routes.route(path, get(none)))
}

async fn none() -> Json<Value> {
    Json(json!([]))
}

impl Admin {
    fn count(&self, of: impl Fn(&str) -> usize) -> usize {
        self.amqp.vhosts().iter().map(|vhost| of(vhost)).sum()
    }
}

async fn overview(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    let types: Vec<_> = TYPES.iter().map(|name| json!({ "name": name, "enabled": true })).collect();
    let (mut queues, mut ready, mut unacknowledged) = (0, 0, 0);
    for vhost in admin.amqp.vhosts() {
        for (_, depth) in admin.depths_in(&vhost).await? {
            queues += 1;
            ready += depth.available;
            unacknowledged += depth.in_flight;
        }
        for (_, length) in admin.amqp.streams(&vhost) {
            queues += 1;
            ready += length;
        }
    }
    let connections = admin.amqp.connections();
    Ok(Json(json!({
        "management_version": RABBITMQ_VERSION,
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Duolog",
        "product_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": "duolog",
        "node": NODE,
        "rates_mode": "none",
        "exchange_types": types,
        "listeners": admin.listening.iter().map(described_listener).collect::<Vec<_>>(),
        "queue_totals": {
            "messages": ready + unacknowledged,
            "messages_ready": ready,
            "messages_unacknowledged": unacknowledged,
        },
        "object_totals": {
            "channels": connections.iter().map(|it| it.channels.len()).sum::<usize>(),
            "connections": connections.len(),
            "consumers": admin.amqp.consumers().len(),
            "exchanges": admin.count(|vhost| admin.exchanges_in(vhost).len()),
            "queues": queues,
        },
    })))
}

/// What is listened on. The protocol of this API is called `http`, as there.
fn described_listener((protocol, address): &(Protocol, SocketAddr)) -> Value {
    json!({
        "node": NODE,
        "protocol": health::protocol_of(*protocol),
        "ip_address": address.ip().to_string(),
        "port": address.port(),
    })
}

async fn cluster_name() -> Json<Value> {
    Json(json!({ "name": "duolog" }))
}

fn described_node(admin: &Admin) -> Value {
    let uptime_ms = u64::try_from(admin.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    json!({
        "name": NODE,
        "type": "disc",
        "running": true,
        "uptime": uptime_ms,
        "mem_used": admin.budget.used_bytes(),
        "mem_limit": admin.budget.bytes_max(),
        "mem_alarm": false,
        "disk_free_alarm": admin.amqp.is_disk_low(),
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "os_pid": std::process::id().to_string(),
        "partitions": [],
    })
}

async fn nodes(State(admin): State<Admin>) -> Json<Value> {
    Json(json!([described_node(&admin)]))
}

async fn node(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    if name == NODE { Ok(Json(described_node(&admin))) } else { Err(Refusal::NotFound) }
}

fn described_connection(it: &duolog_amqp::Connected) -> Value {
    json!({
        "name": it.peer.to_string(),
        "peer_host": it.peer.ip().to_string(),
        "peer_port": it.peer.port(),
        "user": it.user,
        "vhost": it.vhost,
        "channels": it.channels.len(),
        "protocol": "AMQP 0-9-1",
        "state": "running",
        "node": NODE,
        "type": "network",
    })
}

async fn connections(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.amqp.connections().iter().map(described_connection).collect())
}

async fn connections_in(
    State(admin): State<Admin>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    let all = admin.amqp.connections();
    Ok(Json(all.iter().filter(|it| it.vhost == vhost).map(described_connection).collect()))
}

async fn connections_of(State(admin): State<Admin>, Path(user): Path<String>) -> Json<Value> {
    let all = admin.amqp.connections();
    Json(all.iter().filter(|it| it.user == user).map(described_connection).collect())
}

async fn connection(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let found = admin.amqp.connections().into_iter().find(|it| it.peer.to_string() == name);
    found.map(|it| Json(described_connection(&it))).ok_or(Refusal::NotFound)
}

impl Admin {
    fn channels_with(&self, is_meant: impl Fn(&Value) -> bool) -> Vec<Value> {
        let of = |it: duolog_amqp::Connected| {
            let (name, vhost, user) = (it.peer.to_string(), it.vhost, it.user);
            let (host, port) = (it.peer.ip().to_string(), it.peer.port());
            it.channels.into_iter().map(move |number| {
                json!({
                    "name": format!("{name} ({number})"),
                    "number": number,
                    "vhost": vhost,
                    "user": user,
                    "state": "running",
                    "node": NODE,
                    "connection_details": { "name": name, "peer_host": host, "peer_port": port },
                })
            })
        };
        self.amqp.connections().into_iter().flat_map(of).filter(is_meant).collect()
    }
}

async fn channels(State(admin): State<Admin>) -> Json<Value> {
    Json(Value::Array(admin.channels_with(|_| true)))
}

async fn channels_in(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(Value::Array(admin.channels_with(|it| it["vhost"] == *vhost))))
}

async fn channel(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let found = admin.channels_with(|it| it["name"] == *name).into_iter().next();
    found.map(Json).ok_or(Refusal::NotFound)
}

impl Admin {
    fn consumers_with(&self, is_meant: impl Fn(&str) -> bool) -> Value {
        let catalog = self.session.catalog();
        let described = |it: duolog_amqp::Consuming| {
            let (namespace, name) = match it.source {
                Source::Queue(id) => catalog.queue_by_id(id).map(|it| (&it.namespace, &it.name))?,
                Source::Stream(id) => catalog.topic_by_id(id).map(|it| (&it.namespace, &it.name))?,
            };
            let vhost = vhost_of(namespace);
            is_meant(vhost).then(|| {
                json!({
                    "consumer_tag": it.tag,
                    "queue": { "name": name, "vhost": vhost },
                    "ack_required": it.ack_required,
                    "exclusive": it.exclusive,
                    "prefetch_count": it.prefetch,
                    "active": it.state != ConsumerState::Waiting,
                    "activity_status": match it.state {
                        ConsumerState::Up => "up",
                        ConsumerState::SingleActive => "single_active",
                        ConsumerState::Waiting => "waiting",
                    },
                    "arguments": if it.priority == 0 { json!({}) } else { json!({ "x-priority": it.priority }) },
                    "channel_details": { "number": it.channel, "node": NODE },
                })
            })
        };
        self.amqp.consumers().into_iter().filter_map(described).collect()
    }
}

async fn consumers(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.consumers_with(|_| true))
}

async fn consumers_in(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(admin.consumers_with(|it| it == vhost)))
}
