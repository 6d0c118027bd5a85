//! What there is in all: `/api/overview`, nodes, connections, channels, consumers, health, and what is always empty here.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::RABBITMQ_VERSION;
use duolog_amqp::codec::method::QueueDeclare;
use duolog_amqp::vhost_of;
use serde_json::{Value, json};

use super::super::Admin;
use super::NODE;
use super::calls::short;
use super::error::Refusal;

/// The queue of the test whether the broker is alive, as RabbitMQ calls it.
const ALIVE: &str = "aliveness-test";
/// The types of exchanges that may be declared.
const TYPES: [&str; 6] = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message"];
/// Lists that are valid and empty: there is nothing of the kind.
const NONE: [&str; 9] = [
    "/api/policies",
    "/api/policies/{vhost}",
    "/api/operator-policies",
    "/api/parameters",
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
        .route("/api/vhosts/{vhost}/connections", get(connections_in))
        .route("/api/channels", get(channels))
        .route("/api/consumers", get(consumers))
        .route("/api/consumers/{vhost}", get(consumers_in))
        .route("/api/aliveness-test/{vhost}", get(alive))
        .route("/api/health/checks/{check}", get(healthy));
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

async fn overview(State(admin): State<Admin>) -> Json<Value> {
    let types: Vec<_> = TYPES.iter().map(|name| json!({ "name": name, "enabled": true })).collect();
    let catalog = admin.session.catalog();
    let queues = admin.count(|vhost| catalog.queues(duolog_amqp::namespace_of(vhost)).count());
    let connections = admin.amqp.connections();
    Json(json!({
        "management_version": RABBITMQ_VERSION,
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Duolog",
        "product_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": "duolog",
        "node": NODE,
        "erlang_version": "",
        "rates_mode": "none",
        "exchange_types": types,
        "message_stats": {},
        "queue_totals": {},
        "object_totals": {
            "channels": connections.iter().map(|it| it.channels).sum::<usize>(),
            "connections": connections.len(),
            "consumers": admin.amqp.consumers().len(),
            "exchanges": admin.count(|vhost| admin.exchanges_in(vhost).len()),
            "queues": queues,
        },
        "listeners": [],
        "contexts": [],
    }))
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
        "applications": [],
        "enabled_plugins": ["rabbitmq_management"],
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
        "channels": it.channels,
        "protocol": "AMQP 0-9-1",
        "state": "running",
        "node": NODE,
        "type": "network",
        "client_properties": {},
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

/// Their numbers are the client's own and not kept: counted from 1.
async fn channels(State(admin): State<Admin>) -> Json<Value> {
    let of = |it: &duolog_amqp::Connected| {
        let (name, vhost, user) = (it.peer.to_string(), it.vhost.clone(), it.user.clone());
        let (host, port) = (it.peer.ip().to_string(), it.peer.port());
        (1..=it.channels).map(move |number| {
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
    Json(admin.amqp.connections().iter().flat_map(of).collect())
}

impl Admin {
    fn consumers_with(&self, is_meant: impl Fn(&str) -> bool) -> Value {
        let catalog = self.session.catalog();
        let described = |it: duolog_amqp::Consuming| {
            let queue = catalog.queue_by_id(it.queue)?;
            let vhost = vhost_of(&queue.namespace);
            is_meant(vhost).then(|| {
                json!({
                    "consumer_tag": it.tag,
                    "queue": { "name": queue.name, "vhost": vhost },
                    "ack_required": it.ack_required,
                    "exclusive": it.exclusive,
                    "prefetch_count": it.prefetch,
                    "active": true,
                    "activity_status": "up",
                    "arguments": {},
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

/// Declares a queue, which stays: what is stored shows that the broker lives.
async fn alive(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.call(&vhost, &QueueDeclare { queue: short(ALIVE)?, ..QueueDeclare::default() }).await?;
    ok()
}

fn ok() -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "status": "ok" })))
}

async fn healthy(State(admin): State<Admin>, Path(check): Path<String>) -> Result<Json<Value>, Refusal> {
    match check.as_str() {
        "alarms" | "local-alarms" if admin.amqp.is_disk_low() => {
            Err(Refusal::Unavailable("there is too little room on the disk".to_owned()))
        }
        "alarms"
        | "local-alarms"
        | "virtual-hosts"
        | "node-is-mirror-sync-critical"
        | "node-is-quorum-critical" => ok(),
        _ => Err(Refusal::NotFound),
    }
}
