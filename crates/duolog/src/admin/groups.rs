//! `/api/groups`: list, describe, delete.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_broker::GroupCursors;
use serde::Serialize;

use super::Admin;
use super::error::ApiError;

pub fn routes() -> Router<Admin> {
    Router::new().route("/api/groups", get(list)).route("/api/groups/{name}", get(describe).delete(delete))
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    topics: Vec<String>,
    lag_records: u64,
}

/// A group in full.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    lag_records: u64,
    partitions: Vec<Position>,
}

/// Where it stands in one partition.
#[derive(Debug, Serialize)]
struct Position {
    topic: String,
    partition: usize,
    offset: u64,
    end: u64,
    lag_records: u64,
    moved_at_ms: i64,
}

impl Admin {
    /// By topic and partition; cursors of topics that are gone are left out.
    fn positions(&self, cursors: GroupCursors) -> Vec<Position> {
        let catalog = self.session.catalog();
        let mut found = BTreeMap::new();
        for (partition, cursor) in cursors {
            let Some(topic) = catalog.topic_of(partition) else { continue };
            let Some(index) = topic.partitions.iter().position(|it| *it == partition) else { continue };
            let end = self.session.bounds(partition).map_or(cursor.offset, |bounds| bounds.end);
            let position = Position {
                topic: topic.name.clone(),
                partition: index,
                offset: cursor.offset.0,
                end: end.0,
                lag_records: end.since(cursor.offset),
                moved_at_ms: cursor.moved_at.0,
            };
            found.insert((topic.name.clone(), index), position);
        }
        found.into_values().collect()
    }

    async fn described_group(&self, name: &str) -> Result<Described, ApiError> {
        let partitions = self.positions(self.session.cursors(name).await?);
        let lag_records = partitions.iter().map(|it| it.lag_records).sum();
        Ok(Described { name: name.to_owned(), lag_records, partitions })
    }
}

async fn list(State(admin): State<Admin>) -> Result<Json<Vec<Listed>>, ApiError> {
    let mut listed = Vec::new();
    for name in admin.session.groups().await? {
        let group = admin.described_group(&name).await?;
        let mut topics: Vec<_> = group.partitions.into_iter().map(|it| it.topic).collect();
        topics.dedup();
        listed.push(Listed { name, topics, lag_records: group.lag_records });
    }
    Ok(Json(listed))
}

async fn describe(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<Described>, ApiError> {
    let group = admin.described_group(&name).await?;
    if group.partitions.is_empty() {
        return Err(no_such_group(&name));
    }
    Ok(Json(group))
}

async fn delete(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    if admin.session.forget_cursors(&name, None).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_group(&name))
    }
}

fn no_such_group(name: &str) -> ApiError {
    ApiError::not_found(format!("the group {name:?} has committed no offset"))
}
