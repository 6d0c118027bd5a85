//! `/api/groups`: list, describe, delete.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use duolog_broker::GroupCursors;
use duolog_kafka::group::{GroupError, MemberView, OffsetsError};
use serde::Serialize;

use super::Admin;
use super::error::ApiError;
use super::extract::Name;

pub fn routes() -> Router<Admin> {
    Router::new().route("/api/groups", get(list)).route("/api/groups/{name}", get(describe).delete(delete))
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    state: &'static str,
    topics: Vec<String>,
    lag_records: u64,
}

/// A group in full.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    state: &'static str,
    lag_records: u64,
    members: Vec<Member>,
    partitions: Vec<Position>,
}

/// A member that is there now.
#[derive(Debug, Serialize)]
struct Member {
    id: String,
    client_id: String,
    client_host: String,
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
}

async fn list(State(admin): State<Admin>) -> Result<Json<Vec<Listed>>, ApiError> {
    let mut listed = Vec::new();
    for group in admin.groups.list(&admin.session).await? {
        let name = group.id.to_string();
        let positions = admin.positions(admin.session.cursors(&name).await?);
        let lag_records = positions.iter().map(|it| it.lag_records).sum();
        let mut topics: Vec<_> = positions.into_iter().map(|it| it.topic).collect();
        topics.dedup();
        listed.push(Listed { name, state: group.state.name(), topics, lag_records });
    }
    Ok(Json(listed))
}

async fn describe(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Described>, ApiError> {
    let group = admin.groups.describe(&admin.session, &name).await?.ok_or_else(|| no_such_group(&name))?;
    let partitions = admin.positions(admin.session.cursors(&name).await?);
    let lag_records = partitions.iter().map(|it| it.lag_records).sum();
    let member = |it: MemberView| Member {
        id: it.id.to_string(),
        client_id: it.client_id.to_string(),
        client_host: it.client_host.to_string(),
    };
    let members = group.members.into_iter().map(member).collect();
    Ok(Json(Described { name, state: group.state.name(), lag_records, members, partitions }))
}

async fn delete(State(admin): State<Admin>, Name(name): Name) -> Result<StatusCode, ApiError> {
    match admin.groups.delete(&admin.session, &name).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(OffsetsError::Group(GroupError::NotFound)) => Err(no_such_group(&name)),
        Err(OffsetsError::Group(GroupError::NonEmpty)) => Err(ApiError::conflict(format!(
            "the group {name:?} has members: stop them, or wait until they time out"
        ))),
        Err(OffsetsError::Group(error)) => Err(ApiError::invalid(error.to_string())),
        Err(OffsetsError::Cursor(error)) => Err(error.into()),
    }
}

fn no_such_group(name: &str) -> ApiError {
    ApiError::not_found(format!("the group {name:?} has neither members nor offsets"))
}
