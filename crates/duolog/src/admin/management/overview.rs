//! What there is in all: `/api/overview`, nodes, connections, channels, consumers, health, and what is always empty here.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::method::{BasicGet, QueueDeclare};
use duolog_amqp::codec::{Properties, ShortStr};
use duolog_amqp::{Answer, ConsumerState, RABBITMQ_VERSION, Source, vhost_of};
use serde_json::{Value, json};

use super::super::Admin;
use super::NODE;
use super::calls::{self, short};
use super::error::Refusal;

/// The queue of the test whether the broker is alive, as RabbitMQ calls it.
const ALIVE: &str = "aliveness-test";
/// The types of exchanges that may be declared.
const TYPES: [&str; 6] = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message"];
/// Lists that are valid and empty: there is nothing of the kind.
const NONE: [&str; 5] = [
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

async fn overview(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    let types: Vec<_> = TYPES.iter().map(|name| json!({ "name": name, "enabled": true })).collect();
    let (mut queues, mut ready, mut unacknowledged) = (0, 0, 0);
    for vhost in admin.amqp.vhosts() {
        for (_, depth) in admin.depths_in(&vhost).await? {
            queues += 1;
            ready += depth.available;
            unacknowledged += depth.in_flight;
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

async fn channels(State(admin): State<Admin>) -> Json<Value> {
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
    Json(admin.amqp.connections().into_iter().flat_map(of).collect())
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

/// Declares a queue, which stays, and passes a message through it.
async fn alive(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    let queue = short(ALIVE)?;
    admin.call(&vhost, &QueueDeclare { queue, ..QueueDeclare::default() }).await?;
    let mut caller = admin.caller(&vhost)?;
    let is_routed =
        calls::publish(&mut caller, (ShortStr::EMPTY, queue), Properties::NONE, ALIVE.as_bytes()).await?;
    let mut frames = Vec::new();
    BasicGet { queue, no_ack: true, ..BasicGet::default() }.write(&mut frames, 1);
    let got = caller.call(&frames, |_: &ServerMethod<'_>| true).await?;
    let has_come = |it: &Answer| matches!(ServerMethod::decode(&it.method), Ok(ServerMethod::BasicGetOk(_)));
    if is_routed && got.iter().any(has_come) {
        ok()
    } else {
        Err(Refusal::Unavailable(format!("what is published to the queue {ALIVE:?} does not come out of it")))
    }
}

fn ok() -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "status": "ok" })))
}

async fn healthy(State(admin): State<Admin>, Path(check): Path<String>) -> Result<Json<Value>, Refusal> {
    match check.as_str() {
        "alarms" | "local-alarms" if admin.amqp.is_disk_low() => {
            Err(Refusal::Unavailable("there is too little room on the disk".to_owned()))
        }
        "alarms" | "local-alarms" => ok(),
        // The broker answers for each of their queues.
        "virtual-hosts" => {
            for vhost in admin.amqp.vhosts() {
                admin.depths_in(&vhost).await?;
            }
            ok()
        }
        // No queue has replicas that it would lose with this node.
        "node-is-mirror-sync-critical" | "node-is-quorum-critical" => ok(),
        _ => Err(Refusal::NotFound),
    }
}
