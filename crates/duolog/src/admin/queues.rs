//! `/api/queues`: list, describe, create, delete, purge, replay.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::LeaseError;
use duolog_broker::{Backoff, DeadLetter, Depth, Order, Overflow, Queue, QueuePolicy, QueueSpec, Start};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::error::ApiError;
use super::extract::{Body, Name};
use super::topics::check_name;
use duolog_broker::when;

/// Most receives before a message is dead-lettered. Source: the limit of SQS for `maxReceiveCount`.
const ATTEMPTS_MAX: u32 = 1000;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/queues", get(list).post(create))
        .route("/api/queues/{name}", get(describe).delete(delete))
        .route("/api/queues/{name}/purge", post(purge))
        .route("/api/queues/{name}/replay", post(replay))
}

/// A queue in full; the list has the same.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    topic: String,
    created_at_ms: i64,
    available: u64,
    in_flight: u64,
    delayed: u64,
    backlog_bytes: u64,
    oldest_age_ms: Option<u64>,
    dead_lettered: u64,
    visibility_timeout_ms: u64,
    attempts_max: Option<u32>,
    dead_letter: Option<String>,
    /// Beside the other: a queue has one of them. The empty name is the default exchange.
    dead_letter_exchange: Option<String>,
    dead_letter_key: Option<String>,
    length_max: Option<u64>,
    length_bytes_max: Option<u64>,
    overflow: NamedOverflow,
    priority_max: Option<u8>,
    receive_wait_ms: u64,
    message_ttl_ms: Option<u64>,
    in_flight_max: u32,
    message_bytes_max: u32,
    order: NamedOrder,
    delay_ms: u64,
    /// After the first attempt.
    backoff_ms: Option<u64>,
    /// To where it doubles; `None` stays as it is.
    backoff_max_ms: Option<u64>,
}

/// In which order a queue hands out its messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NamedOrder {
    Standard,
    Key,
    Fair,
}

/// What happens to messages that are too many.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamedOverflow {
    DropHead,
    Reject,
    RejectDeadLetter,
}

impl From<Overflow> for NamedOverflow {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::DropHead => Self::DropHead,
            Overflow::Reject => Self::Reject,
            Overflow::RejectDeadLetter => Self::RejectDeadLetter,
        }
    }
}

impl From<NamedOverflow> for Overflow {
    fn from(overflow: NamedOverflow) -> Self {
        match overflow {
            NamedOverflow::DropHead => Self::DropHead,
            NamedOverflow::Reject => Self::Reject,
            NamedOverflow::RejectDeadLetter => Self::RejectDeadLetter,
        }
    }
}

impl From<Order> for NamedOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Standard => Self::Standard,
            Order::ByKey => Self::Key,
            Order::Fair => Self::Fair,
        }
    }
}

impl From<NamedOrder> for Order {
    fn from(order: NamedOrder) -> Self {
        match order {
            NamedOrder::Standard => Self::Standard,
            NamedOrder::Key => Self::ByKey,
            NamedOrder::Fair => Self::Fair,
        }
    }
}

/// A queue to declare; what is left out is the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    topic: Option<String>,
    from: Option<String>,
    visibility_timeout_ms: Option<u64>,
    attempts_max: Option<u32>,
    dead_letter: Option<String>,
    receive_wait_ms: Option<u64>,
    message_ttl_ms: Option<u64>,
    order: Option<NamedOrder>,
    delay_ms: Option<u64>,
    backoff_ms: Option<u64>,
    backoff_max_ms: Option<u64>,
    dead_letter_exchange: Option<String>,
    dead_letter_key: Option<String>,
    length_max: Option<u64>,
    length_bytes_max: Option<u64>,
    overflow: Option<NamedOverflow>,
    priority_max: Option<u8>,
}

impl Create {
    /// Where its dead go.
    fn dead_letter(&self) -> Result<Option<DeadLetter>, ApiError> {
        match (&self.dead_letter, &self.dead_letter_exchange) {
            (Some(_), Some(_)) => {
                Err(ApiError::invalid("dead_letter and dead_letter_exchange: it is one or the other"))
            }
            (Some(name), None) => Ok(Some(DeadLetter::Queue(name.clone()))),
            (None, Some(name)) => {
                let key = self.dead_letter_key.clone().map(Bytes::from);
                Ok(Some(DeadLetter::Exchange { name: name.clone(), key }))
            }
            (None, None) if self.dead_letter_key.is_some() => {
                Err(ApiError::invalid("dead_letter_key needs dead_letter_exchange, through which it leads"))
            }
            (None, None) => Ok(None),
        }
    }

    fn backoff(&self) -> Result<Backoff, ApiError> {
        match (self.backoff_ms, self.backoff_max_ms) {
            (None, None) => Ok(Backoff::None),
            (Some(ms), None) => Ok(Backoff::Fixed { ms }),
            (Some(base_ms), Some(max_ms)) => Ok(Backoff::Exponential { base_ms, max_ms }),
            (None, Some(_)) => {
                Err(ApiError::invalid("backoff_max_ms needs backoff_ms, with which it begins"))
            }
        }
    }
}

/// From where to replay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    from: String,
}

/// How many records became available.
#[derive(Debug, Serialize)]
struct Replayed {
    available: u64,
}

/// How many records were settled.
#[derive(Debug, Serialize)]
struct Purged {
    settled: u64,
}

impl Admin {
    pub(super) fn queue(&self, name: &str) -> Result<Arc<Queue>, ApiError> {
        self.session.catalog().queue(DEFAULT_NAMESPACE, name).cloned().ok_or_else(|| {
            let topic = self.session.catalog().topic(DEFAULT_NAMESPACE, name).is_some();
            ApiError::not_found(if topic {
                format!("the topic {name:?} has no queue: `duolog queue create {name}` makes one")
            } else {
                format!("there is no queue {name:?}")
            })
        })
    }

    fn start(&self, from: &str) -> Result<Start, ApiError> {
        when::parse(from, self.session.now()).map_err(|error| ApiError::invalid(format!("from: {error}")))
    }

    async fn described(&self, queue: &Queue) -> Result<Described, ApiError> {
        let depth = self.session.depth(queue.id).await?;
        let topic = self.session.catalog().topic_by_id(queue.topic).map(|topic| topic.name.clone());
        Ok(described(queue, topic.unwrap_or_default(), &depth))
    }
}

fn described(queue: &Queue, topic: String, depth: &Depth) -> Described {
    let policy = &queue.policy;
    let exchange = match &policy.dead_letter {
        Some(DeadLetter::Exchange { name, key }) => Some((name, key)),
        Some(DeadLetter::Queue(_)) | None => None,
    };
    Described {
        name: queue.name.clone(),
        topic,
        created_at_ms: queue.created_at.0,
        available: depth.available,
        in_flight: depth.in_flight,
        delayed: depth.delayed,
        backlog_bytes: depth.backlog_bytes,
        oldest_age_ms: depth.oldest_age_ms,
        dead_lettered: depth.dead_lettered,
        visibility_timeout_ms: policy.visibility_timeout_ms,
        attempts_max: policy.attempts_max,
        dead_letter: policy.dead_letter.as_ref().and_then(DeadLetter::queue).map(str::to_owned),
        dead_letter_exchange: exchange.map(|(name, _)| name.clone()),
        dead_letter_key: exchange
            .and_then(|(_, key)| Some(String::from_utf8_lossy(key.as_deref()?).into_owned())),
        length_max: policy.length_max,
        length_bytes_max: policy.length_bytes_max,
        overflow: policy.overflow.into(),
        priority_max: policy.priority_max,
        receive_wait_ms: policy.receive_wait_ms,
        message_ttl_ms: policy.message_ttl_ms,
        in_flight_max: policy.in_flight_max,
        message_bytes_max: policy.message_bytes_max,
        order: policy.order.into(),
        delay_ms: policy.delay_ms,
        backoff_ms: match policy.backoff {
            Backoff::None => None,
            Backoff::Fixed { ms } => Some(ms),
            Backoff::Exponential { base_ms, .. } => Some(base_ms),
        },
        backoff_max_ms: match policy.backoff {
            Backoff::None | Backoff::Fixed { .. } => None,
            Backoff::Exponential { max_ms, .. } => Some(max_ms),
        },
    }
}

async fn list(State(admin): State<Admin>) -> Result<Json<Vec<Described>>, ApiError> {
    let catalog = admin.session.catalog();
    let mut listed = Vec::new();
    for queue in catalog.queues(DEFAULT_NAMESPACE) {
        match admin.session.depth(queue.id).await {
            Ok(depth) => {
                let topic = catalog.topic_by_id(queue.topic).map(|topic| topic.name.clone());
                listed.push(described(queue, topic.unwrap_or_default(), &depth));
            }
            // Deleted in the meantime.
            Err(LeaseError::NotFound) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(listed))
}

async fn describe(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Described>, ApiError> {
    let queue = admin.queue(&name)?;
    admin.described(&queue).await.map(Json)
}

async fn create(
    State(admin): State<Admin>,
    Body(create): Body<Create>,
) -> Result<(StatusCode, Json<Described>), ApiError> {
    check_name(&create.name)?;
    if create.attempts_max.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
        return Err(ApiError::invalid(format!("attempts_max must be from 1 to {ATTEMPTS_MAX}")));
    }
    if let Some(target) = &create.dead_letter {
        // A mistyped name would mean that messages are delivered again without end.
        admin.queue(target)?;
    }
    if create.dead_letter.is_some() && create.attempts_max.is_none()
        || create.attempts_max.is_some()
            && create.dead_letter.is_none()
            && create.dead_letter_exchange.is_none()
    {
        return Err(ApiError::invalid(
            "dead_letter and attempts_max go together: where to, and after how many receives",
        ));
    }
    let start = create.from.as_deref().map_or(Ok(Start::Earliest), |from| admin.start(from))?;
    let backoff = create.backoff()?;
    let unsaid = QueuePolicy::default();
    let policy = QueuePolicy {
        visibility_timeout_ms: create.visibility_timeout_ms.unwrap_or(unsaid.visibility_timeout_ms),
        attempts_max: create.attempts_max,
        dead_letter: create.dead_letter()?,
        length_max: create.length_max,
        length_bytes_max: create.length_bytes_max,
        overflow: create.overflow.map_or(unsaid.overflow, Overflow::from),
        priority_max: create.priority_max,
        receive_wait_ms: create.receive_wait_ms.unwrap_or(unsaid.receive_wait_ms),
        message_ttl_ms: create.message_ttl_ms,
        delay_ms: create.delay_ms.unwrap_or(unsaid.delay_ms),
        order: create.order.map_or(unsaid.order, Order::from),
        backoff,
        ..unsaid
    };
    let spec = QueueSpec { topic: create.topic, start, ..QueueSpec::new(&create.name, policy) };
    admin.session.create_queue(spec).await?;
    let queue = admin.queue(&create.name)?;
    Ok((StatusCode::CREATED, Json(admin.described(&queue).await?)))
}

async fn delete(State(admin): State<Admin>, Name(name): Name) -> Result<StatusCode, ApiError> {
    let queue = admin.queue(&name)?;
    admin.session.delete_queue(queue.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Purged>, ApiError> {
    let queue = admin.queue(&name)?;
    let settled = admin.session.purge_queue(queue.id).await?;
    Ok(Json(Purged { settled }))
}

async fn replay(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(replay): Body<Replay>,
) -> Result<Json<Replayed>, ApiError> {
    let queue = admin.queue(&name)?;
    let start = admin.start(&replay.from)?;
    if start == Start::Latest {
        return Err(ApiError::invalid(
            "from: nothing lies behind latest: name a point from which to deliver again",
        ));
    }
    let available = admin.session.replay_queue(queue.id, start).await?;
    Ok(Json(Replayed { available }))
}
