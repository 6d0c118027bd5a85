//! StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask: dead-lettered messages go back to their queues, or
//! to another one.

use std::sync::Arc;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::{Catalog, DeadLetter, MoveId, MoveSpec, MoveStatus, MoveTask, Queue};

use super::{Answer, Call, required};
use crate::codec::text::Text;
use crate::codec::{arn, request, response, task_handle};
use crate::error::{ErrorCode, SqsError};
use crate::limits::{MOVE_RATE, MOVE_TASKS_LISTED};
use crate::settings::is_fifo;

pub(super) async fn start(call: &Call<'_>) -> Answer {
    let request: request::StartMessageMoveTask<'_> = call.read()?;
    let source = queue(call, request.source_arn.as_ref(), "SourceArn")?;
    let catalog = call.session.catalog();
    let is_dead_letter = catalog
        .queues(DEFAULT_NAMESPACE)
        .any(|it| it.policy.dead_letter.as_ref().and_then(DeadLetter::queue) == Some(&source.name));
    if !is_dead_letter {
        return Err(SqsError::invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    let destination = match &request.destination_arn {
        None => None,
        Some(arn) => Some(queue(call, Some(arn), "DestinationArn")?),
    };
    if destination.as_ref().is_some_and(|destination| destination.id == source.id) {
        return Err(SqsError::invalid("Source queue arn and destination queue arn cannot be the same."));
    }
    // What goes to a FIFO queue needs a message group, and what comes from one has an order to keep.
    if destination.as_ref().is_some_and(|destination| is_fifo(&destination.name) != is_fifo(&source.name)) {
        return Err(SqsError::invalid("Source queue and destination queue must be of the same type."));
    }
    let (least, most) = MOVE_RATE;
    let rate_per_s = match request.max_number_of_messages_per_second {
        None => None,
        Some(rate) if (least..=most).contains(&rate) => u32::try_from(rate).ok(),
        Some(rate) => {
            return Err(SqsError::invalid_value(
                rate,
                "MaxNumberOfMessagesPerSecond",
                &format!("Must be between {least} and {most}."),
            ));
        }
    };
    let spec = MoveSpec {
        source: source.id,
        destination: destination.map(|destination| destination.id),
        rate_per_s,
        filter: None,
        dry_run: false,
    };
    match call.session.start_move(spec).await {
        Ok(id) => call.answer(&response::TaskStarted { task_handle: handle(call, id, &source) }),
        Err(ChangeError::Exists(_)) => Err(SqsError::new(
            ErrorCode::InvalidParameterValue,
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn list(call: &Call<'_>) -> Answer {
    let request: request::ListMessageMoveTasks<'_> = call.read()?;
    let source = queue(call, request.source_arn.as_ref(), "SourceArn")?;
    let count = request.max_results.unwrap_or(1);
    let most =
        usize::try_from(count).ok().filter(|count| (1..=MOVE_TASKS_LISTED).contains(count)).ok_or_else(
            || SqsError::invalid_value(count, "MaxResults", "Must be an integer between 1 and 10."),
        )?;
    let tasks = call.session.list_moves(Some(source.id)).await?;
    let catalog = call.session.catalog();
    // What only counted, for an operator, has moved nothing.
    let moves = tasks.iter().filter(|task| !task.spec.dry_run);
    let results = moves.take(most).map(|task| listed(call, &catalog, &source, task)).collect();
    call.answer(&response::Tasks { results })
}

pub(super) async fn cancel(call: &Call<'_>) -> Answer {
    let request: request::CancelMessageMoveTask<'_> = call.read()?;
    let handle = required(request.task_handle.as_ref(), "TaskHandle")?;
    let (id, name) = task_handle::decode(handle)
        .ok_or_else(|| SqsError::invalid("The TaskHandle is not one that was given out."))?;
    let source =
        call.queue_named(&name).map_err(|_| no_such("resource that you specified for the SourceArn"))?;
    let known = call.session.list_moves(Some(source.id)).await?;
    if !known.iter().any(|task| task.id == MoveId(id)) {
        return Err(no_such("task"));
    }
    match call.session.cancel_move(MoveId(id)).await {
        Ok(task) => {
            call.answer(&response::TaskCancelled { approximate_number_of_messages_moved: task.moved })
        }
        Err(ChangeError::Invalid { .. }) => {
            Err(SqsError::new(ErrorCode::UnsupportedOperation, "Only active tasks can be cancelled."))
        }
        Err(ChangeError::NotFound(_)) => Err(no_such("task")),
        Err(error) => Err(error.into()),
    }
}

fn listed(call: &Call<'_>, catalog: &Catalog, source: &Queue, task: &MoveTask) -> response::Task {
    let arn_of = |name: &str| arn::of_queue(call.echo.region, call.echo.account, name);
    let (status, failure_reason) = match &task.status {
        MoveStatus::Running => ("RUNNING", None),
        MoveStatus::Cancelling => ("CANCELLING", None),
        MoveStatus::Cancelled => ("CANCELLED", None),
        MoveStatus::Completed => ("COMPLETED", None),
        MoveStatus::Failed { reason } => ("FAILED", Some(reason.clone())),
    };
    let destination = task.spec.destination.and_then(|id| catalog.queue_by_id(id));
    response::Task {
        // Only what can still be cancelled has one.
        task_handle: task.is_active().then(|| handle(call, task.id, source)),
        status,
        source_arn: arn_of(&source.name),
        destination_arn: destination.map(|destination| arn_of(&destination.name)),
        max_number_of_messages_per_second: task.spec.rate_per_s,
        approximate_number_of_messages_moved: task.moved,
        approximate_number_of_messages_to_move: task.to_move,
        failure_reason,
        started_timestamp: task.started_at.0,
    }
}

fn handle(call: &Call<'_>, id: MoveId, source: &Queue) -> String {
    task_handle::encode(id.0, &arn::of_queue(call.echo.region, call.echo.account, &source.name))
}

/// The queue of an ARN.
fn queue(call: &Call<'_>, arn: Option<&Text<'_>>, parameter: &str) -> Result<Arc<Queue>, SqsError> {
    let arn = required(arn, parameter)?;
    let name = arn::queue_name(arn).ok_or_else(|| {
        let shown: String = arn.chars().take(200).collect();
        SqsError::invalid_value(shown, parameter, "It is not the ARN of a queue.")
    })?;
    call.queue_named(name).map_err(|_| no_such(&format!("resource that you specified for the {parameter}")))
}

fn no_such(what: &str) -> SqsError {
    SqsError::new(ErrorCode::ResourceNotFound, format!("The {what} doesn't exist."))
}
