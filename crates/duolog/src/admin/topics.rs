//! `/api/topics`: list, describe, create, change, delete, peek.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::FetchError;
use duolog_broker::{DedupPolicy, Keep, Session, Start, Topic, TopicPolicy, TopicSpec};
use duolog_net::Budget;
use duolog_net::limits::RESERVATION_SMALL_BYTES;
use duolog_record::{Offset, PartitionId, TimestampType};
use duolog_storage::Durability;
use serde::{Deserialize, Deserializer, Serialize};

use super::Admin;
use super::error::ApiError;
use super::extract::{Body, Name, Options};
use super::peek;
use duolog_broker::when;

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/topics", get(list).post(create))
        .route("/api/topics/{name}", get(describe).delete(delete))
        .route("/api/topics/{name}/settings", post(change))
        .route("/api/topics/{name}/records", get(records))
        .route("/api/topics/{name}/trim", post(trim))
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    partitions: usize,
    records: u64,
    bytes: u64,
    queues: Vec<String>,
}

/// A topic in full.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    id: String,
    created_at_ms: i64,
    made_by_queue: bool,
    queues: Vec<String>,
    keep: &'static str,
    keep_settled: Option<u64>,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
    batch_bytes_max: u32,
    timestamps: &'static str,
    durability: Option<&'static str>,
    dedup_window_ms: Option<u64>,
    dedup_scope: Option<&'static str>,
    partitions: Vec<Partition>,
}

/// A partition of a topic.
#[derive(Debug, Serialize)]
struct Partition {
    partition: usize,
    start: u64,
    end: u64,
    bytes: u64,
}

/// A topic to create; what is left out is the default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    partitions: Option<u32>,
    /// Left out is the default, `null` is none.
    #[serde(default, deserialize_with = "given")]
    retention_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    retention_bytes: Option<Option<u64>>,
    durability: Option<String>,
    /// Left out is by retention; so many settled records are kept.
    keep_settled: Option<u64>,
    dedup_window_ms: Option<u64>,
    dedup_scope: Option<String>,
}

/// Settings to change; what is left out stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    partitions: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    retention_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    retention_bytes: Option<Option<u64>>,
    /// `null` is by retention.
    #[serde(default, deserialize_with = "given")]
    keep_settled: Option<Option<u64>>,
    /// `null` turns it off.
    #[serde(default, deserialize_with = "given")]
    dedup_window_ms: Option<Option<u64>>,
    dedup_scope: Option<String>,
}

/// Tells a `null` from what is left out.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Up to where to delete records; without a partition in all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trim {
    before: String,
    partition: Option<usize>,
}

/// Which records to look at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    partition: usize,
    offset: Option<u64>,
    count: Option<usize>,
}

impl Admin {
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, ApiError> {
        let catalog = self.session.catalog();
        catalog
            .topic(DEFAULT_NAMESPACE, name)
            .cloned()
            .ok_or_else(|| ApiError::not_found(format!("there is no topic {name:?}")))
    }

    fn partitions_of(&self, topic: &Topic) -> Vec<Partition> {
        let look = |(index, &id)| {
            let bounds = self.session.bounds(id).unwrap_or(Offset(0)..Offset(0));
            Partition {
                partition: index,
                start: bounds.start.0,
                end: bounds.end.0,
                bytes: self.log.partition_bytes(id),
            }
        };
        topic.partitions.iter().enumerate().map(look).collect()
    }

    fn queues_on(&self, topic: &Topic) -> Vec<String> {
        self.session.catalog().queues_on(topic.id).map(|queue| queue.name.clone()).collect()
    }
}

async fn list(State(admin): State<Admin>) -> Json<Vec<Listed>> {
    let catalog = admin.session.catalog();
    let listed = catalog.topics(DEFAULT_NAMESPACE).map(|topic| {
        let partitions = admin.partitions_of(topic);
        Listed {
            name: topic.name.clone(),
            partitions: partitions.len(),
            records: partitions.iter().map(|it| it.end - it.start).sum(),
            bytes: partitions.iter().map(|it| it.bytes).sum(),
            queues: admin.queues_on(topic),
        }
    });
    Json(listed.collect())
}

async fn describe(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Described>, ApiError> {
    Ok(Json(described(&admin, &*admin.topic(&name)?)))
}

fn described(admin: &Admin, topic: &Topic) -> Described {
    let (keep, keep_settled) = match topic.policy.keep {
        Keep::Retention => ("retention", None),
        Keep::UntilSettled { after } => ("until_settled", Some(after)),
    };
    Described {
        name: topic.name.clone(),
        id: uuid::Uuid::from_u128(topic.id.0).to_string(),
        created_at_ms: topic.created_at.0,
        made_by_queue: topic.made_by_queue,
        queues: admin.queues_on(topic),
        keep,
        keep_settled,
        retention_ms: topic.policy.retention_ms,
        retention_bytes: topic.policy.retention_bytes,
        batch_bytes_max: topic.policy.batch_bytes_max,
        timestamps: match topic.policy.timestamps {
            TimestampType::Create => "create_time",
            TimestampType::Append => "log_append_time",
        },
        durability: topic.policy.durability.map(|durability| match durability {
            Durability::Os => "os",
            Durability::Sync => "sync",
        }),
        dedup_window_ms: topic.policy.deduplicates().map(|dedup| dedup.window_ms),
        dedup_scope: topic.policy.deduplicates().map(|dedup| if dedup.per_key { "key" } else { "topic" }),
        partitions: admin.partitions_of(topic),
    }
}

/// The setting of a window and a scope; a scope without a window means nothing.
fn dedup(window_ms: Option<u64>, scope: Option<&str>) -> Result<Option<DedupPolicy>, ApiError> {
    let per_key = match scope {
        None | Some("topic") => false,
        Some("key") => true,
        Some(other) => {
            return Err(ApiError::invalid(format!("dedup_scope {other:?} is neither topic nor key")));
        }
    };
    match window_ms {
        Some(0) => Err(ApiError::invalid("dedup_window_ms must be 1 at least; null is off")),
        Some(window_ms) => Ok(Some(DedupPolicy { window_ms, per_key })),
        None if scope.is_some() => Err(ApiError::invalid("dedup_scope needs dedup_window_ms")),
        None => Ok(None),
    }
}

/// What becomes of the setting of a topic. Switched off it stays known: with its scope, and that it was somebody's wish.
fn changed_dedup(now: Option<DedupPolicy>, change: &Change) -> Result<Option<DedupPolicy>, ApiError> {
    let is_on = now.filter(|dedup| dedup.window_ms > 0);
    let window_ms = change.dedup_window_ms.unwrap_or(is_on.map(|dedup| dedup.window_ms));
    let scope_now = now.map(|dedup| if dedup.per_key { "key" } else { "topic" });
    let scope = change.dedup_scope.as_deref().or(scope_now.filter(|_| window_ms.is_some()));
    let off = now.map(|dedup| DedupPolicy { window_ms: 0, ..dedup });
    Ok(dedup(window_ms, scope)?.or(off))
}

fn keep(settled: Option<u64>) -> Keep {
    settled.map_or(Keep::Retention, |after| Keep::UntilSettled { after })
}

fn changed(now: &TopicPolicy, change: &Change) -> Result<TopicPolicy, ApiError> {
    Ok(TopicPolicy {
        retention_ms: change.retention_ms.unwrap_or(now.retention_ms),
        retention_bytes: change.retention_bytes.unwrap_or(now.retention_bytes),
        keep: change.keep_settled.map_or(now.keep, keep),
        dedup: changed_dedup(now.dedup, change)?,
        ..now.clone()
    })
}

async fn change(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(change): Body<Change>,
) -> Result<Json<Described>, ApiError> {
    let mut topic = admin.topic(&name)?;
    loop {
        let policy = changed(&topic.policy, &change)?;
        let labels = topic.labels.clone();
        if policy == topic.policy || admin.session.set_topic(&topic, policy, labels).await? {
            break;
        }
        // Somebody else was faster: from what it is now.
        topic = admin.topic(&name)?;
    }
    if let Some(total) = change.partitions.filter(|&total| total as usize != topic.partitions.len()) {
        admin.session.add_partitions(topic.id, total).await?;
    }
    Ok(Json(described(&admin, &*admin.topic(&name)?)))
}

async fn create(
    State(admin): State<Admin>,
    Body(create): Body<Create>,
) -> Result<(StatusCode, Json<Described>), ApiError> {
    check_name(&create.name)?;
    let durability = match create.durability.as_deref() {
        None => None,
        Some("sync") => Some(Durability::Sync),
        Some("os") => Some(Durability::Os),
        Some(other) => return Err(ApiError::invalid(format!("durability {other:?} is neither sync nor os"))),
    };
    let defaults = admin.defaults.policy();
    let policy = TopicPolicy {
        keep: keep(create.keep_settled),
        retention_ms: create.retention_ms.unwrap_or(defaults.retention_ms),
        retention_bytes: create.retention_bytes.unwrap_or(defaults.retention_bytes),
        durability,
        dedup: dedup(create.dedup_window_ms, create.dedup_scope.as_deref())?,
        ..defaults
    };
    let partitions = create.partitions.unwrap_or(admin.defaults.partitions);
    let spec = TopicSpec::new(&create.name, partitions, policy);
    admin.session.create_topic(spec).await?;
    Ok((StatusCode::CREATED, Json(described(&admin, &*admin.topic(&create.name)?))))
}

/// What every protocol can name. Source: Kafka, `Topic.validate`.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." || !name.chars().all(legal) {
        return Err(ApiError::invalid(format!(
            "{name:?} is not a name: use letters, digits, '.', '_' and '-'"
        )));
    }
    Ok(())
}

async fn delete(State(admin): State<Admin>, Name(name): Name) -> Result<StatusCode, ApiError> {
    let topic = admin.topic(&name)?;
    admin.session.delete_topic(topic.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The partition of this index.
fn partition(topic: &Topic, index: usize) -> Result<PartitionId, ApiError> {
    topic.partitions.get(index).copied().ok_or_else(|| {
        let last = topic.partitions.len() - 1;
        ApiError::not_found(format!("topic {:?} has the partitions 0 to {last}, not {index}", topic.name))
    })
}

async fn records(
    State(admin): State<Admin>,
    Name(name): Name,
    Options(which): Options<Which>,
) -> Result<Response, ApiError> {
    let partition = partition(&*admin.topic(&name)?, which.partition)?;
    let from = which.offset.map(Offset);
    let count = which.count.unwrap_or(peek::COUNT_DEFAULT);
    // Most answers are small, and small ones need not wait for memory.
    let mut room = RESERVATION_SMALL_BYTES;
    loop {
        let mut reserved = admin.reserve(room).await?;
        let session = admin.session.clone();
        // It may touch the disk.
        let looking = move || peek::records(&session, partition, from, count, room);
        let looked = tokio::task::spawn_blocking(looking).await;
        let answer = looked.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))?;
        let room_max = peek::ROOM_BYTES.min(Budget::largest(admin.budget.bytes_max()));
        if answer.is_cut && room < room_max {
            room = room_max;
            continue;
        }
        reserved.shrink_to(answer.body.capacity());
        let json = [(CONTENT_TYPE, "application/json")];
        return Ok((json, peek::held(answer.body, reserved)).into_response());
    }
}

async fn trim(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(trim): Body<Trim>,
) -> Result<Json<Vec<Partition>>, ApiError> {
    let topic = admin.topic(&name)?;
    let before = when::parse(&trim.before, admin.session.now())
        .map_err(|error| ApiError::invalid(format!("before: {error}")))?;
    let partitions = match trim.partition {
        Some(index) => vec![partition(&topic, index)?],
        None => topic.partitions.clone(),
    };
    for partition in partitions {
        let session = admin.session.clone();
        // It may touch the disk.
        let found = tokio::task::spawn_blocking(move || place_of(&session, partition, before)).await;
        let start = found.unwrap_or_else(|error| Err(ApiError::internal(error.to_string())))?;
        admin.session.trim(partition, start).await?;
    }
    Ok(Json(admin.partitions_of(&topic)))
}

/// The offset that a point means in a partition.
pub(super) fn place_of(session: &Session, partition: PartitionId, at: Start) -> Result<Offset, ApiError> {
    let bounds = session.bounds(partition).ok_or(FetchError::NotFound(partition))?;
    Ok(match at {
        Start::Earliest => bounds.start,
        Start::Latest => bounds.end,
        Start::Offset(offset) => offset.min(bounds.end),
        Start::Time(time) => session.offset_at(partition, time)?.map_or(bounds.end, |found| found.offset),
    })
}
