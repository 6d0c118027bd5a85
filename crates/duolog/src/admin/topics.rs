//! `/api/topics`: list, describe, create, delete, peek.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Keep, Labels, Topic, TopicPolicy, TopicSpec};
use duolog_record::{Offset, TimestampType};
use duolog_storage::Durability;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::error::ApiError;
use super::peek::{self, Peeked};

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/topics", get(list).post(create))
        .route("/api/topics/{name}", get(describe).delete(delete))
        .route("/api/topics/{name}/records", get(records))
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
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
    durability: Option<String>,
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

async fn describe(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Described>, ApiError> {
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
        partitions: admin.partitions_of(topic),
    }
}

async fn create(
    State(admin): State<Admin>,
    Json(create): Json<Create>,
) -> Result<(StatusCode, Json<Described>), ApiError> {
    check_name(&create.name)?;
    let durability = match create.durability.as_deref() {
        None => None,
        Some("sync") => Some(Durability::Sync),
        Some("os") => Some(Durability::Os),
        Some(other) => return Err(ApiError::invalid(format!("durability {other:?} is neither sync nor os"))),
    };
    let policy = TopicPolicy {
        keep: Keep::Retention,
        retention_ms: create.retention_ms.or(admin.defaults.retention_ms),
        retention_bytes: create.retention_bytes.or(admin.defaults.retention_bytes),
        batch_bytes_max: admin.defaults.batch_bytes_max,
        timestamps: TimestampType::Create,
        durability,
    };
    let spec = TopicSpec {
        namespace: DEFAULT_NAMESPACE.to_owned(),
        name: create.name.clone(),
        partitions: create.partitions.unwrap_or(admin.defaults.partitions),
        policy,
        labels: Labels::new(),
    };
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

async fn delete(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    let topic = admin.topic(&name)?;
    admin.session.delete_topic(topic.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn records(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<Peeked>>, ApiError> {
    let topic = admin.topic(&name)?;
    let partition = *topic.partitions.get(which.partition).ok_or_else(|| {
        let last = topic.partitions.len() - 1;
        ApiError::not_found(format!("topic {name:?} has the partitions 0 to {last}, not {}", which.partition))
    })?;
    let from = which.offset.map(Offset);
    let count = which.count.unwrap_or(peek::COUNT_DEFAULT);
    let session = admin.session.clone();
    // It may touch the disk.
    let looked = tokio::task::spawn_blocking(move || peek::records(&session, partition, from, count));
    looked.await.unwrap_or_else(|error| Err(ApiError::internal(error.to_string()))).map(Json)
}
