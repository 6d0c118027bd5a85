//! `/api/definitions`: what is declared, as one document, and such a document declared.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::{Declared, Policy, PolicyKind, RABBITMQ_VERSION, is_stream, namespace_of};
use duolog_broker::{Queue, Topic};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Admin;
use super::bindings::{Bind, Ends};
use super::error::{Document, Refusal};
use super::policies::COMPONENT;
use super::{exchanges, json, queues};

/// What names of exchanges that are always there begin with.
const RESERVED: &str = "amq.";

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/definitions", get(export).post(import))
        .route("/api/definitions/{vhost}", get(export_one).post(import_one))
}

/// A document; of users and permissions nothing is taken over: there are none.
#[derive(Debug, Deserialize)]
struct Definitions {
    #[serde(default)]
    vhosts: Vec<Named>,
    #[serde(default)]
    queues: Vec<In<queues::Declare>>,
    #[serde(default)]
    exchanges: Vec<In<exchanges::Declare>>,
    #[serde(default)]
    bindings: Vec<Bound>,
    #[serde(default)]
    policies: Vec<In<Map<String, Value>>>,
    #[serde(default)]
    parameters: Vec<In<Parameter>>,
}

/// Of parameters there are the policies of operators.
#[derive(Debug, Deserialize)]
struct Parameter {
    component: String,
    value: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// Something that has a name in a virtual host; that of the path if it names none.
#[derive(Debug, Deserialize)]
struct In<T> {
    name: String,
    vhost: Option<String>,
    #[serde(flatten)]
    it: T,
}

#[derive(Debug, Deserialize)]
struct Bound {
    source: String,
    vhost: Option<String>,
    destination: String,
    destination_type: String,
    #[serde(flatten)]
    it: Bind,
}

impl Admin {
    fn exported(&self, vhosts: &[String]) -> Value {
        let catalog = self.session.catalog();
        let of_queue = |vhost: &str, queue: &Queue| {
            let declared = Declared::of(&queue.labels);
            (!declared.exclusive).then(|| {
                json!({
                    "name": queue.name, "vhost": vhost, "durable": declared.durable,
                    "auto_delete": declared.auto_delete, "arguments": json::object(declared.table()),
                })
            })
        };
        let in_each = |of: &dyn Fn(&str) -> Vec<Value>| -> Vec<Value> {
            vhosts.iter().flat_map(|vhost| of(vhost)).collect()
        };
        let of_stream = |vhost: &str, (topic, _): &(Arc<Topic>, u64)| {
            json!({
                "name": topic.name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": json::object(Declared::of(&topic.labels).table()),
            })
        };
        let queues = in_each(&|vhost| {
            let streams = self.amqp.streams(vhost);
            // A queue of the same name is attached to the stream.
            let is_stream =
                |name: &str| catalog.topic(namespace_of(vhost), name).is_some_and(|it| is_stream(it));
            let queues = catalog.queues(namespace_of(vhost)).filter(|it| !is_stream(&it.name));
            let queues = queues.filter_map(|queue| of_queue(vhost, queue));
            queues.chain(streams.iter().map(|it| of_stream(vhost, it))).collect()
        });
        let is_own =
            |it: &Value| it["name"].as_str().is_some_and(|it| !it.is_empty() && !it.starts_with(RESERVED));
        let mut exchanges = in_each(&|vhost| self.exchanges_in(vhost).into_iter().filter(is_own).collect());
        // It follows from the others.
        exchanges.iter_mut().filter_map(Value::as_object_mut).for_each(|it| drop(it.remove("policy")));
        let is_made = |it: &Value| it["source"].as_str().is_some_and(|it| !it.is_empty());
        let bindings = in_each(&|vhost| self.bindings_in(vhost).into_iter().filter(is_made).collect());
        json!({
            "rabbit_version": RABBITMQ_VERSION,
            "rabbitmq_version": RABBITMQ_VERSION,
            "product_name": "Duolog",
            "product_version": env!("CARGO_PKG_VERSION"),
            "users": [],
            "vhosts": vhosts.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "permissions": [],
            "topic_permissions": [],
            "parameters": in_each(&|vhost| self.parameters_in(vhost)),
            "global_parameters": [],
            "policies": in_each(&|vhost| self.policies_in(vhost, PolicyKind::User)),
            "queues": queues,
            "exchanges": exchanges,
            "bindings": bindings,
        })
    }

    async fn import(&self, all: Definitions, in_vhost: Option<&str>) -> Result<StatusCode, Refusal> {
        check_policies(&all)?;
        let vhost_of = |named: Option<String>| match in_vhost {
            Some(vhost) => Ok(vhost.to_owned()),
            None => named.ok_or_else(|| Refusal::Bad("something has no vhost".to_owned())),
        };
        if in_vhost.is_none() {
            for Named { name } in all.vhosts {
                self.amqp.create_vhost(&name).await?;
            }
        }
        for In { name, vhost, it } in all.policies {
            self.put_policy(&vhost_of(vhost)?, PolicyKind::User, &name, &it).await?;
        }
        for In { name, vhost, it } in all.parameters {
            self.put_policy(&vhost_of(vhost)?, PolicyKind::Operator, &name, &it.value).await?;
        }
        for In { name, vhost, it } in all.queues {
            self.declare_queue(&vhost_of(vhost)?, &name, &it).await?;
        }
        for In { name, vhost, it } in all.exchanges {
            self.declare_exchange(&vhost_of(vhost)?, &name, &it).await?;
        }
        for Bound { source, vhost, destination, destination_type, it } in all.bindings {
            let to_queue = destination_type == "queue";
            let ends = Ends { source: &source, to_queue, destination: &destination };
            self.bind(&vhost_of(vhost)?, ends, &it).await?;
        }
        Ok(StatusCode::NO_CONTENT)
    }
}

/// Before anything is taken over.
fn check_policies(all: &Definitions) -> Result<(), Refusal> {
    if let Some(other) = all.parameters.iter().find(|it| it.it.component != COMPONENT) {
        let component = &other.it.component;
        return Err(Refusal::Bad(format!(
            "there are no parameters {component:?} here: nothing is taken over"
        )));
    }
    let users = all.policies.iter().map(|it| (PolicyKind::User, &it.name, &it.it));
    let operators = all.parameters.iter().map(|it| (PolicyKind::Operator, &it.name, &it.it.value));
    for (kind, name, given) in users.chain(operators) {
        let parsed = Policy::parse(kind, name, given);
        parsed.map_err(|why| Refusal::Bad(format!("policy {name:?}: {why}")))?;
    }
    Ok(())
}

async fn export(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.exported(&admin.amqp.vhosts()))
}

async fn export_one(State(admin): State<Admin>, Path(vhost): Path<String>) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(admin.exported(&[vhost])))
}

async fn import(
    State(admin): State<Admin>,
    Document(all): Document<Definitions>,
) -> Result<StatusCode, Refusal> {
    admin.import(all, None).await
}

async fn import_one(
    State(admin): State<Admin>,
    Path(vhost): Path<String>,
    Document(all): Document<Definitions>,
) -> Result<StatusCode, Refusal> {
    admin.check_vhost(&vhost)?;
    admin.import(all, Some(&vhost)).await
}
