//! `/api/bindings`: list, bind, unbind.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::codec::method::{ExchangeBind, ExchangeUnbind, QueueBind, QueueUnbind};
use duolog_amqp::{Declared, is_stream, namespace_of, vhost_of};
use duolog_broker::Catalog;
use duolog_broker::routing::{Binding, Destination};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Admin;
use super::calls::short;
use super::error::{Document, Refusal};
use super::exchanges::DEFAULT;
use super::json;

/// What stands for an empty routing key in paths, and before the mark of arguments.
const TILDE: &str = "~";

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/bindings", get(list))
        .route("/api/bindings/{vhost}", get(list_in))
        .route("/api/bindings/{vhost}/e/{source}/{kind}/{destination}", get(list_between).post(bind))
        .route("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", get(describe).delete(unbind))
        .route("/api/queues/{vhost}/{name}/bindings", get(list_of_queue))
        .route("/api/exchanges/{vhost}/{name}/bindings/source", get(list_from))
        .route("/api/exchanges/{vhost}/{name}/bindings/destination", get(list_to))
}

/// A binding to make.
#[derive(Debug, Deserialize)]
pub(super) struct Bind {
    #[serde(default)]
    pub(super) routing_key: String,
    pub(super) arguments: Option<Value>,
}

/// The ends of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends<'a> {
    pub(super) source: &'a str,
    pub(super) to_queue: bool,
    pub(super) destination: &'a str,
}

impl<'a> Ends<'a> {
    fn of(source: &'a str, kind: &str, destination: &'a str) -> Result<Self, Refusal> {
        let source = if source == DEFAULT { "" } else { source };
        let to_queue = match kind {
            "q" => true,
            "e" => false,
            _ => return Err(Refusal::NotFound),
        };
        Ok(Self { source, to_queue, destination })
    }
}

/// What of a routing key stays as it is where it names a binding.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// True if a path means the binding of this key, encoded once more or not.
fn is_key(shown: &Value, key: &str) -> bool {
    let shown = shown.as_str().unwrap_or_default();
    shown == key || percent_decode_str(shown).decode_utf8_lossy() == key
}

/// Names a binding between two ends: its key, encoded, and a mark of its arguments if it has some.
fn key_of(routing_key: &str, arguments: &[u8]) -> String {
    let routing_key = utf8_percent_encode(routing_key, KEPT).to_string();
    match (&*routing_key, arguments) {
        ("", []) => TILDE.to_owned(),
        (key, []) => key.to_owned(),
        (key, arguments) => {
            // The same for the same arguments, in this process and others.
            let mut hasher = DefaultHasher::new();
            hasher.write(arguments);
            format!("{key}{TILDE}{:016x}", hasher.finish())
        }
    }
}

fn described(catalog: &Catalog, binding: &Binding) -> Option<Value> {
    let source = catalog.exchange_by_id(binding.spec.source)?;
    let (destination, kind) = match binding.spec.destination {
        Destination::Queue(id) => (catalog.queue_by_id(id)?.name.as_str(), "queue"),
        Destination::Exchange(id) => (catalog.exchange_by_id(id)?.name.as_str(), "exchange"),
        // Others are another protocol's.
        Destination::Topic(id) => {
            (catalog.topic_by_id(id).filter(|it| is_stream(it))?.name.as_str(), "queue")
        }
    };
    let declared = Declared::of(&binding.spec.labels);
    let routing_key = String::from_utf8_lossy(&binding.spec.key);
    Some(json!({
        "source": source.name,
        "vhost": vhost_of(&source.namespace),
        "destination": destination,
        "destination_type": kind,
        "routing_key": routing_key,
        "arguments": json::object(declared.table()),
        "properties_key": key_of(&routing_key, declared.table().as_bytes()),
    }))
}

impl Admin {
    /// All of a virtual host, those of the default exchange first.
    pub(super) fn bindings_in(&self, vhost: &str) -> Vec<Value> {
        let (catalog, namespace) = (self.session.catalog(), namespace_of(vhost));
        let streams = catalog.topics(namespace).filter(|it| is_stream(it)).map(|it| &it.name);
        let names: BTreeSet<_> = catalog.queues(namespace).map(|it| &it.name).chain(streams).collect();
        let of_default = names.into_iter().map(|name| {
            json!({
                "source": "", "vhost": vhost, "destination": name, "destination_type": "queue", "routing_key": name,
                "arguments": {}, "properties_key": key_of(name, &[]),
            })
        });
        let named = catalog.exchanges(namespace).flat_map(|it| catalog.bindings_from(it.id));
        of_default.chain(named.filter_map(|it| described(&catalog, it))).collect()
    }

    fn bindings_with(&self, vhost: &str, is_meant: impl Fn(&Value) -> bool) -> Result<Json<Value>, Refusal> {
        self.check_vhost(vhost)?;
        Ok(Json(self.bindings_in(vhost).into_iter().filter(is_meant).collect()))
    }

    fn bindings_between(&self, vhost: &str, ends: Ends<'_>) -> Result<Vec<Value>, Refusal> {
        self.check_vhost(vhost)?;
        let kind = if ends.to_queue { "queue" } else { "exchange" };
        let is_meant = |it: &Value| {
            it["source"] == ends.source
                && it["destination_type"] == kind
                && it["destination"] == ends.destination
        };
        Ok(self.bindings_in(vhost).into_iter().filter(is_meant).collect())
    }

    pub(super) async fn bind(&self, vhost: &str, ends: Ends<'_>, asked: &Bind) -> Result<String, Refusal> {
        let arguments = json::table(asked.arguments.as_ref())?.encode();
        let (source, routing_key) = (short(ends.source)?, short(&asked.routing_key)?);
        let destination = short(ends.destination)?;
        if ends.to_queue {
            let (queue, exchange, arguments) = (destination, source, arguments.as_raw());
            self.call(vhost, &QueueBind { queue, exchange, routing_key, arguments, ..QueueBind::default() })
                .await?;
        } else {
            let arguments = arguments.as_raw();
            let method =
                ExchangeBind { destination, source, routing_key, arguments, ..ExchangeBind::default() };
            self.call(vhost, &method).await?;
        }
        Ok(key_of(&asked.routing_key, arguments.as_raw().as_bytes()))
    }
}

async fn list(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.amqp.vhosts().iter().flat_map(|vhost| admin.bindings_in(vhost)).collect())
}

async fn list_in(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.bindings_with(&vhost, |_| true)
}

async fn list_of_queue(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    admin.check_queue(&vhost, &name)?;
    admin.bindings_with(&vhost, |it| it["destination_type"] == "queue" && it["destination"] == *name)
}

async fn list_from(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let name = if name == DEFAULT { "" } else { &name };
    admin.bindings_with(&vhost, |it| it["source"] == name)
}

async fn list_to(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    admin.bindings_with(&vhost, |it| it["destination_type"] == "exchange" && it["destination"] == *name)
}

/// Virtual host, source, `q` or `e`, destination.
type Between = (String, String, String, String);

async fn list_between(
    State(admin): State<Admin>,
    Path((vhost, source, kind, destination)): Path<Between>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(Value::Array(admin.bindings_between(&vhost, Ends::of(&source, &kind, &destination)?)?)))
}

async fn bind(
    State(admin): State<Admin>,
    Path((vhost, source, kind, destination)): Path<Between>,
    Document(asked): Document<Bind>,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Refusal> {
    let key = admin.bind(&vhost, Ends::of(&source, &kind, &destination)?, &asked).await?;
    let encoded = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let path = [&vhost, "e", &source, &kind, &destination, &key].map(encoded).join("/");
    Ok((StatusCode::CREATED, [(LOCATION, format!("/api/bindings/{path}"))]))
}

/// The same and the key of a binding.
type One = (String, String, String, String, String);

async fn describe(
    State(admin): State<Admin>,
    Path((vhost, source, kind, destination, key)): Path<One>,
) -> Result<Json<Value>, Refusal> {
    let between = admin.bindings_between(&vhost, Ends::of(&source, &kind, &destination)?)?;
    between.into_iter().find(|it| is_key(&it["properties_key"], &key)).map(Json).ok_or(Refusal::NotFound)
}

async fn unbind(
    State(admin): State<Admin>,
    Path((vhost, source, kind, destination, key)): Path<One>,
) -> Result<StatusCode, Refusal> {
    let ends = Ends::of(&source, &kind, &destination)?;
    let between = admin.bindings_between(&vhost, ends)?;
    let it = between.into_iter().find(|it| is_key(&it["properties_key"], &key)).ok_or(Refusal::NotFound)?;
    let arguments = admin.arguments_of(&vhost, ends, &it).unwrap_or_default();
    let arguments = duolog_amqp::codec::RawTable::new(&arguments).unwrap_or_default();
    let routing_key = short(it["routing_key"].as_str().unwrap_or_default())?;
    let (source, destination) = (short(ends.source)?, short(ends.destination)?);
    if ends.to_queue {
        let (queue, exchange) = (destination, source);
        let method = QueueUnbind { queue, exchange, routing_key, arguments, ..QueueUnbind::default() };
        admin.call(&vhost, &method).await?;
    } else {
        let method =
            ExchangeUnbind { destination, source, routing_key, arguments, ..ExchangeUnbind::default() };
        admin.call(&vhost, &method).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Admin {
    /// The arguments of a binding as they were given, encoded: JSON does not tell their types.
    fn arguments_of(&self, vhost: &str, ends: Ends<'_>, shown: &Value) -> Option<Vec<u8>> {
        let catalog = self.session.catalog();
        let source = catalog.exchange(namespace_of(vhost), ends.source)?;
        let is_it = |it: &&std::sync::Arc<Binding>| described(&catalog, it).as_ref() == Some(shown);
        let binding = catalog.bindings_from(source.id).find(is_it)?;
        Some(Declared::of(&binding.spec.labels).table().as_bytes().to_vec())
    }
}
