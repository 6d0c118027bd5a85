//! `/api/policies` and `/api/operator-policies`: list, describe, put, delete; operators' as parameters besides.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_amqp::{InForce, Policy, PolicyKind};
use serde_json::{Map, Value, json};

use super::super::Admin;
use super::calls;
use super::error::{Document, Refusal};

/// What operators' policies are called among parameters.
pub(super) const COMPONENT: &str = "operator_policy";

pub fn routes() -> Router<Admin> {
    of_kind("/api/policies", PolicyKind::User)
        .merge(of_kind("/api/operator-policies", PolicyKind::Operator))
        .route("/api/parameters", get(parameters))
        .route("/api/parameters/{component}", get(parameters_of))
        .route("/api/parameters/{component}/{vhost}", get(parameters_of_in))
}

/// In a virtual host, by name.
type Named = Path<(String, String)>;

fn of_kind(path: &str, kind: PolicyKind) -> Router<Admin> {
    let list = move |State(admin): State<Admin>| async move { Json(Value::Array(admin.policies(kind))) };
    let list_in = move |State(admin): State<Admin>, Path(vhost): Path<String>| async move {
        admin.check_vhost(&vhost)?;
        Ok::<_, Refusal>(Json(Value::Array(admin.policies_in(&vhost, kind))))
    };
    let describe = move |State(admin): State<Admin>, Path((vhost, name)): Named| async move {
        admin.check_vhost(&vhost)?;
        let found = admin.policies_in(&vhost, kind).into_iter().find(|it| it["name"] == *name);
        found.map(Json).ok_or(Refusal::NotFound)
    };
    let put = move |State(admin): State<Admin>,
                    Path((vhost, name)): Named,
                    Document(given): Document<Map<String, Value>>| async move {
        admin.put_policy(&vhost, kind, &name, &given).await.map(calls::declared)
    };
    let remove = move |State(admin): State<Admin>, Path((vhost, name)): Named| async move {
        match admin.amqp.clear_policy(&vhost, kind, &name).await? {
            true => Ok(StatusCode::NO_CONTENT),
            false => Err(Refusal::NotFound),
        }
    };
    Router::new()
        .route(path, get(list))
        .route(&format!("{path}/{{vhost}}"), get(list_in))
        .route(&format!("{path}/{{vhost}}/{{name}}"), get(describe).put(put).delete(remove))
}

/// What holds for a queue, as it is shown.
pub(super) fn shown(in_force: &InForce) -> [(&'static str, Value); 3] {
    [
        ("policy", json!(in_force.policy)),
        ("operator_policy", json!(in_force.operator_policy)),
        ("effective_policy_definition", json!(in_force.definition)),
    ]
}

/// A policy as a parameter.
fn parameter(mut policy: Value) -> Value {
    let (vhost, name) = (policy["vhost"].take(), policy["name"].take());
    if let Some(map) = policy.as_object_mut() {
        map.retain(|key, _| key != "vhost" && key != "name");
    }
    json!({ "component": COMPONENT, "vhost": vhost, "name": name, "value": policy })
}

impl Admin {
    /// Those of a virtual host, by name.
    pub(super) fn policies_in(&self, vhost: &str, kind: PolicyKind) -> Vec<Value> {
        let shown = |it: Policy| {
            json!({
                "vhost": vhost,
                "name": it.name,
                "pattern": it.pattern,
                "apply-to": it.apply_to,
                "definition": it.definition,
                "priority": it.priority,
            })
        };
        self.amqp.policies(vhost, kind).into_iter().map(shown).collect()
    }

    fn policies(&self, kind: PolicyKind) -> Vec<Value> {
        self.amqp.vhosts().iter().flat_map(|vhost| self.policies_in(vhost, kind)).collect()
    }

    /// Operators' policies of a virtual host, as parameters.
    pub(super) fn parameters_in(&self, vhost: &str) -> Vec<Value> {
        self.policies_in(vhost, PolicyKind::Operator).into_iter().map(parameter).collect()
    }

    /// True if there was none of this name.
    pub(super) async fn put_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
        given: &Map<String, Value>,
    ) -> Result<bool, Refusal> {
        self.check_vhost(vhost)?;
        let policy = Policy::parse(kind, name, given).map_err(Refusal::Bad)?;
        Ok(self.amqp.set_policy(vhost, kind, &policy).await?)
    }
}

async fn parameters(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.amqp.vhosts().iter().flat_map(|vhost| admin.parameters_in(vhost)).collect())
}

/// Of other components there are none.
async fn parameters_of(State(admin): State<Admin>, Path(component): Path<String>) -> Json<Value> {
    if component == COMPONENT { parameters(State(admin)).await } else { Json(json!([])) }
}

async fn parameters_of_in(
    State(admin): State<Admin>,
    Path((component, vhost)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    let is_there = component == COMPONENT;
    Ok(Json(Value::Array(if is_there { admin.parameters_in(&vhost) } else { Vec::new() })))
}
