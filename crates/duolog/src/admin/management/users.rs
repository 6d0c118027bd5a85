//! `/api/whoami`, `/api/users`, `/api/permissions`: there is one user, who may do everything everywhere.

use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Admin;
use super::error::{Document, Refusal};

/// The user that there is; who says another name may do the same.
const USER: &str = "guest";
/// What matches everything.
const ALL: &str = ".*";

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/whoami", get(whoami))
        .route("/api/users", get(list))
        .route("/api/users/{user}", get(describe))
        .route("/api/users/{user}/permissions", get(permissions_of))
        .route("/api/permissions", get(permissions))
        .route("/api/permissions/{vhost}/{user}", get(permission).put(permit))
        .route("/api/vhosts/{vhost}/permissions", get(permissions_in))
}

/// A permission, as it is given.
#[derive(Debug, Deserialize)]
struct Permit {
    configure: String,
    write: String,
    read: String,
}

/// The name in the credentials.
fn name_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(value.get("Basic ".len()..)?.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(name, _)| name.to_owned())
}

fn user() -> Value {
    json!({ "name": USER, "tags": ["administrator"], "limits": {} })
}

fn permission_in(vhost: &str) -> Value {
    json!({ "user": USER, "vhost": vhost, "configure": ALL, "write": ALL, "read": ALL })
}

fn check_user(name: &str) -> Result<(), Refusal> {
    if name == USER { Ok(()) } else { Err(Refusal::NotFound) }
}

async fn whoami(headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let name = name_of(&headers).ok_or(Refusal::Unauthorized)?;
    Ok(Json(json!({ "name": name, "tags": ["administrator"] })))
}

async fn list() -> Json<Value> {
    Json(json!([user()]))
}

async fn describe(Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    check_user(&name)?;
    Ok(Json(user()))
}

impl Admin {
    pub(super) fn permissions(&self) -> Value {
        self.amqp.vhosts().iter().map(|vhost| permission_in(vhost)).collect()
    }
}

async fn permissions(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.permissions())
}

async fn permissions_of(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    check_user(&name)?;
    Ok(Json(admin.permissions()))
}

async fn permissions_in(
    State(admin): State<Admin>,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    Ok(Json(json!([permission_in(&vhost)])))
}

async fn permission(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    admin.check_vhost(&vhost)?;
    check_user(&name)?;
    Ok(Json(permission_in(&vhost)))
}

/// Tools permit everything to whom they make a virtual host for; nothing less can be had.
async fn permit(
    State(admin): State<Admin>,
    Path((vhost, name)): Path<(String, String)>,
    Document(permit): Document<Permit>,
) -> Result<StatusCode, Refusal> {
    admin.check_vhost(&vhost)?;
    check_user(&name)?;
    if [&permit.configure, &permit.write, &permit.read].into_iter().any(|it| it != ALL) {
        return Err(Refusal::Bad(format!(
            "there are no permissions here but {ALL:?}: everybody may do everything"
        )));
    }
    Ok(StatusCode::NO_CONTENT)
}
