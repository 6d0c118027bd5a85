//! `/api/exchanges`: list, describe, create, delete, publish.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::AppendError;
use duolog_broker::routing::{Exchange, ExchangeKind, ExchangeSpec, HashOn, Seen};
use duolog_broker::{Catalog, Gate, NewRecord, Routed, TopicId, headers};
use duolog_record::Header;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::bytes_as_text::{as_text, to_bytes};
use super::error::ApiError;
use super::extract::{Body, Name, Options};
use super::topics::check_name;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/exchanges", get(list).post(create))
        .route("/api/exchanges/{name}", get(describe).delete(delete))
        .route("/api/exchanges/{name}/publish", post(publish))
}

/// An exchange in full; the list has the same.
#[derive(Debug, Serialize)]
pub(super) struct Described {
    name: String,
    kind: NamedKind,
    alternate: Option<String>,
    /// `None` where it is the key, or nothing is hashed.
    hash_header: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hash_header_base64: bool,
    created_at_ms: i64,
    bindings: usize,
    /// Topics whose records are published to it, by name.
    from_topics: Vec<String>,
}

/// How an exchange compares.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamedKind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
}

impl From<ExchangeKind> for NamedKind {
    fn from(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct,
            ExchangeKind::Fanout => Self::Fanout,
            ExchangeKind::Topic => Self::Topic,
            ExchangeKind::Headers => Self::Headers,
            ExchangeKind::ConsistentHash => Self::ConsistentHash,
        }
    }
}

impl From<NamedKind> for ExchangeKind {
    fn from(kind: NamedKind) -> Self {
        match kind {
            NamedKind::Direct => Self::Direct,
            NamedKind::Fanout => Self::Fanout,
            NamedKind::Topic => Self::Topic,
            NamedKind::Headers => Self::Headers,
            NamedKind::ConsistentHash => Self::ConsistentHash,
        }
    }
}

/// An exchange to declare.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    kind: NamedKind,
    alternate: Option<String>,
    hash_header: Option<String>,
}

/// Which exchanges may be deleted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    #[serde(default)]
    if_unused: bool,
}

/// A record to publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    /// Also the record's key; without it the record has none, and exchanges compare as with an empty one.
    key: Option<String>,
    #[serde(default)]
    key_base64: bool,
    value: String,
    #[serde(default)]
    value_base64: bool,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

/// Where it went.
#[derive(Debug, Serialize)]
struct Published {
    /// Topics, by name.
    routed: Vec<String>,
}

impl Publish {
    fn record(self) -> Result<NewRecord, ApiError> {
        let header = |(name, value): (String, Option<String>)| Header {
            key: Bytes::from(name),
            value: value.map(Bytes::from),
        };
        let headers: Vec<_> = self.headers.into_iter().map(header).collect();
        let idempotency_key = headers.iter().find(|it| it.key == headers::IDEMPOTENCY_KEY.as_bytes());
        Ok(NewRecord {
            key: self.key.map(|key| to_bytes("key", key, self.key_base64)).transpose()?,
            value: Some(to_bytes("value", self.value, self.value_base64)?),
            idempotency_key: idempotency_key.and_then(|it| it.value.clone()),
            headers,
            ..NewRecord::default()
        })
    }
}

impl Admin {
    pub(super) fn exchange(&self, name: &str) -> Result<Arc<Exchange>, ApiError> {
        let catalog = self.session.catalog();
        catalog
            .exchange(DEFAULT_NAMESPACE, name)
            .cloned()
            .ok_or_else(|| ApiError::not_found(format!("there is no exchange {name:?}")))
    }
}

pub(super) fn described(catalog: &Catalog, exchange: &Exchange) -> Described {
    let (hash_header, hash_header_base64) = match &exchange.hash_on {
        HashOn::Key => (None, false),
        HashOn::Header(name) => {
            let (text, is_base64) = as_text(name);
            (Some(text), is_base64)
        }
    };
    let forwards = catalog.forwards_to(exchange.id);
    let topics = forwards.filter_map(|it| catalog.topic_by_id(it.topic));
    let mut from_topics: Vec<_> = topics.map(|topic| topic.name.clone()).collect();
    from_topics.sort_unstable();
    Described {
        name: exchange.name.clone(),
        kind: exchange.kind.into(),
        alternate: exchange.alternate.clone(),
        hash_header,
        hash_header_base64,
        created_at_ms: exchange.created_at.0,
        bindings: catalog.bindings_from(exchange.id).count(),
        from_topics,
    }
}

async fn list(State(admin): State<Admin>) -> Json<Vec<Described>> {
    let catalog = admin.session.catalog();
    Json(catalog.exchanges(DEFAULT_NAMESPACE).map(|it| described(&catalog, it)).collect())
}

async fn describe(State(admin): State<Admin>, Name(name): Name) -> Result<Response, ApiError> {
    admin.whole(&*admin.exchange(&name)?).await
}

async fn create(
    State(admin): State<Admin>,
    Body(create): Body<Create>,
) -> Result<(StatusCode, Json<Described>), ApiError> {
    check_name(&create.name)?;
    create.alternate.as_deref().map_or(Ok(()), check_name)?;
    let kind = ExchangeKind::from(create.kind);
    let hash_on = match create.hash_header {
        None => HashOn::Key,
        Some(name) if kind == ExchangeKind::ConsistentHash && !name.is_empty() => HashOn::Header(name.into()),
        Some(_) => {
            return Err(ApiError::invalid(
                "hash_header: it is the name of the header that an exchange of kind consistent-hash goes by",
            ));
        }
    };
    let spec = ExchangeSpec { alternate: create.alternate, hash_on, ..ExchangeSpec::new(&create.name, kind) };
    admin.session.create_exchange(spec).await?;
    let exchange = admin.exchange(&create.name)?;
    Ok((StatusCode::CREATED, Json(described(&admin.session.catalog(), &exchange))))
}

async fn delete(
    State(admin): State<Admin>,
    Name(name): Name,
    Options(delete): Options<Delete>,
) -> Result<StatusCode, ApiError> {
    let exchange = admin.exchange(&name)?;
    admin.session.delete_exchange(exchange.id, delete.if_unused).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn publish(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(publish): Body<Publish>,
) -> Result<Json<Published>, ApiError> {
    let record = publish.record()?;
    let exchange = admin.exchange(&name)?;
    let catalog = admin.session.catalog();
    let key = record.key.as_deref().unwrap_or_default();
    let seen = Seen::new(&record.headers, record.value.as_deref().unwrap_or_default());
    let topics: Arc<[TopicId]> = catalog.route(exchange.id, &[key], &seen).into();
    if topics.is_empty() {
        return Ok(Json(Published { routed: Vec::new() }));
    }
    let routed = Routed { record, topics: Arc::clone(&topics), gate: Gate::Open, relaxed: false };
    let results = admin.session.route(vec![routed]).await?;
    match results.into_iter().find_map(Result::err) {
        // All of them were deleted in the meantime.
        Some(AppendError::NotFound) => return Ok(Json(Published { routed: Vec::new() })),
        Some(error) => return Err(error.into()),
        None => (),
    }
    let names = topics.iter().filter_map(|id| catalog.topic_by_id(*id));
    let mut routed: Vec<_> = names.map(|topic| topic.name.clone()).collect();
    routed.sort_unstable();
    Ok(Json(Published { routed }))
}
