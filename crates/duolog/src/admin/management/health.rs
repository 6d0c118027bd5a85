//! `/api/health/checks` and `/api/aliveness-test`: whether all is well, for who supervises.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::Answer;
use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::method::{BasicGet, QueueDeclare};
use duolog_amqp::codec::{Properties, ShortStr};
use serde_json::{Map, Value, json};

use super::super::Admin;
use super::NODE;
use super::calls::{self, short};
use super::error::Refusal;
use crate::config::Protocol;

/// The queue of the test whether the broker is alive, as RabbitMQ calls it.
const ALIVE: &str = "aliveness-test";

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/aliveness-test/{vhost}", get(alive))
        .route("/api/health/checks/{check}", get(healthy))
        .route("/api/health/checks/port-listener/{port}", get(has_port))
        .route("/api/health/checks/protocol-listener/{protocol}", get(has_protocol))
}

/// What a protocol is called here.
pub(super) fn protocol_of(protocol: Protocol) -> &'static str {
    match protocol {
        // Of this API. Source: RabbitMQ.
        Protocol::Admin => "http",
        protocol => protocol.name(),
    }
}

/// A check that fails, with what it was about.
fn failed<const N: usize>(reason: &str, more: [(&str, Value); N]) -> Refusal {
    let more: Map<_, _> = more.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Refusal::Unhealthy(reason.to_owned(), more)
}

fn ok() -> Json<Value> {
    Json(json!({ "status": "ok" }))
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
        Ok(ok())
    } else {
        Err(Refusal::Unavailable(format!("what is published to the queue {ALIVE:?} does not come out of it")))
    }
}

async fn healthy(State(admin): State<Admin>, Path(check): Path<String>) -> Result<Json<Value>, Refusal> {
    match check.as_str() {
        "alarms" | "local-alarms" if admin.amqp.is_disk_low() => {
            let alarm = json!([{ "node": NODE, "resource": "disk" }]);
            Err(failed("there is too little room on the disk", [("alarms", alarm)]))
        }
        "alarms" | "local-alarms" => Ok(ok()),
        // The broker answers for each of their queues.
        "virtual-hosts" => {
            for vhost in admin.amqp.vhosts() {
                if let Err(Refusal::Unavailable(reason)) = admin.depths_in(&vhost).await {
                    return Err(failed(&reason, [("virtual-hosts", json!([vhost]))]));
                }
            }
            Ok(ok())
        }
        // No queue has replicas that it would lose with this node.
        "node-is-mirror-sync-critical" | "node-is-quorum-critical" => Ok(ok()),
        _ => Err(Refusal::NotFound),
    }
}

const NOBODY_LISTENS: &str = "No active listener";

async fn has_port(State(admin): State<Admin>, Path(port): Path<String>) -> Result<Json<Value>, Refusal> {
    let port: u16 = port.parse().map_err(|_| Refusal::Bad("Invalid port".to_owned()))?;
    let ports: Vec<_> = admin.listening.iter().map(|(_, address)| address.port()).collect();
    if ports.contains(&port) {
        return Ok(Json(json!({ "status": "ok", "port": port })));
    }
    Err(failed(NOBODY_LISTENS, [("missing", json!(port)), ("ports", json!(ports))]))
}

async fn has_protocol(State(admin): State<Admin>, Path(asked): Path<String>) -> Result<Json<Value>, Refusal> {
    // Source: RabbitMQ `rabbit_networking`, which has more names for it.
    let wanted = if matches!(&*asked, "amqp091" | "amqp0.9.1") { "amqp" } else { &*asked };
    let protocols: Vec<_> = admin.listening.iter().map(|(protocol, _)| protocol_of(*protocol)).collect();
    if protocols.contains(&wanted) {
        return Ok(Json(json!({ "status": "ok", "protocol": wanted })));
    }
    Err(failed(NOBODY_LISTENS, [("missing", json!(asked)), ("protocols", json!(protocols))]))
}
