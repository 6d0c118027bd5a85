//! `/api/queues/NAME/moves` and `/api/moves`: messages that go back to where they came from.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use duolog_broker::{MoveFilter, MoveId, MoveSpec, MoveStatus, MoveTask, QueueId};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::error::ApiError;
use super::extract::{Body, Name};

pub fn routes() -> Router<Admin> {
    Router::new()
        .route("/api/queues/{name}/moves", get(list).post(start))
        .route("/api/moves/{name}", get(describe).delete(cancel))
}

/// A move to start; what is left out is everything, back to where it came from, as fast as it goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    to: Option<String>,
    rate_per_s: Option<u32>,
    key: Option<String>,
    header: Option<HeaderIs>,
    #[serde(default)]
    dry_run: bool,
}

/// Messages with this header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderIs {
    name: String,
    value: String,
}

/// A move.
#[derive(Debug, Serialize)]
struct Described {
    id: u64,
    queue: String,
    to: Option<String>,
    rate_per_s: Option<u32>,
    dry_run: bool,
    status: &'static str,
    reason: Option<String>,
    moved: u64,
    to_move: u64,
    started_at_ms: i64,
    ended_at_ms: Option<i64>,
}

impl Admin {
    fn described_move(&self, task: MoveTask) -> Described {
        let catalog = self.session.catalog();
        let name = |id: QueueId| catalog.queue_by_id(id).map(|queue| queue.name.clone()).unwrap_or_default();
        let (status, reason) = match task.status {
            MoveStatus::Running => ("running", None),
            MoveStatus::Cancelling => ("cancelling", None),
            MoveStatus::Cancelled => ("cancelled", None),
            MoveStatus::Completed => ("completed", None),
            MoveStatus::Failed { reason } => ("failed", Some(reason)),
        };
        Described {
            id: task.id.0,
            queue: name(task.spec.source),
            to: task.spec.destination.map(name),
            rate_per_s: task.spec.rate_per_s,
            dry_run: task.spec.dry_run,
            status,
            reason,
            moved: task.moved,
            to_move: task.to_move,
            started_at_ms: task.started_at.0,
            ended_at_ms: task.ended_at.map(|at| at.0),
        }
    }

    async fn task(&self, id: MoveId) -> Result<MoveTask, ApiError> {
        let all = self.session.list_moves(None).await?;
        let found = all.into_iter().find(|task| task.id == id);
        found.ok_or_else(|| ApiError::not_found(format!("there is no move {}", id.0)))
    }
}

fn id(name: &str) -> Result<MoveId, ApiError> {
    name.parse().map(MoveId).map_err(|_| ApiError::invalid(format!("{name:?} is not the number of a move")))
}

async fn list(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Vec<Described>>, ApiError> {
    let queue = admin.queue(&name)?;
    let tasks = admin.session.list_moves(Some(queue.id)).await?;
    Ok(Json(tasks.into_iter().map(|task| admin.described_move(task)).collect()))
}

async fn start(
    State(admin): State<Admin>,
    Name(name): Name,
    Body(start): Body<Start>,
) -> Result<(StatusCode, Json<Described>), ApiError> {
    let source = admin.queue(&name)?.id;
    let destination = start.to.as_deref().map(|to| admin.queue(to)).transpose()?.map(|queue| queue.id);
    let filter = match (start.key, start.header) {
        (None, None) => None,
        (Some(key), None) => Some(MoveFilter::Key(Bytes::from(key))),
        (None, Some(header)) => {
            Some(MoveFilter::Header { name: Bytes::from(header.name), value: Bytes::from(header.value) })
        }
        (Some(_), Some(_)) => return Err(ApiError::invalid("a move goes by key or by header, not by both")),
    };
    let spec = MoveSpec { source, destination, rate_per_s: start.rate_per_s, filter, dry_run: start.dry_run };
    let id = admin.session.start_move(spec).await?;
    Ok((StatusCode::CREATED, Json(admin.described_move(admin.task(id).await?))))
}

async fn describe(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Described>, ApiError> {
    let task = admin.task(id(&name)?).await?;
    Ok(Json(admin.described_move(task)))
}

async fn cancel(State(admin): State<Admin>, Name(name): Name) -> Result<Json<Described>, ApiError> {
    let task = admin.session.cancel_move(id(&name)?).await?;
    Ok(Json(admin.described_move(task)))
}
