//! One module per action (a batch beside its single form): reads the request, asks the broker, writes the response.
//!
//! Adding an action: its request in `codec/request.rs`, its response in `codec/response.rs`, a module with
//! `async fn handle(call: &Call<'_>) -> Answer`, an arm in `dispatch`.

mod change_visibility;
mod create_queue;
mod delete_message;
mod delete_queue;
mod get_queue_attributes;
mod get_queue_url;
mod list_queues;
mod list_source_queues;
mod move_tasks;
mod permissions;
mod purge_queue;
mod receive;
mod send;
mod set_queue_attributes;
mod settlement;
mod tags;

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Queue, Session};
use duolog_net::{Budget, OverBudget, Reservation, Shutdown};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::query::{self, Form};
use crate::codec::response::Ascii;
use crate::codec::{queue_url, request, text::Text};
use crate::error::{ErrorCode, SqsError};
use crate::limits::ANSWER_ROOM_TIMEOUT;
use crate::settings::{Echo, Settings};
use crate::sns;

/// In which protocol a request came, and is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire<'a> {
    /// AWS JSON 1.0.
    Json,
    /// The Query protocol.
    Query(&'a Form<'a>),
}

/// One request and what it is answered with.
pub(crate) struct Call<'a> {
    /// The broker's verbs.
    pub session: &'a Session,
    /// Bytes for the answer.
    pub budget: &'a Budget,
    /// Ends waiting receives.
    pub shutdown: &'a Shutdown,
    /// How the client called us: host, and port if there was one.
    pub host: &'a str,
    /// Region and account, echoed.
    pub echo: Echo<'a>,
    /// What is asked for.
    pub action: &'a str,
    /// How it is read and answered.
    pub wire: Wire<'a>,
    /// The request's body.
    pub body: &'a Bytes,
    /// Names the request.
    pub id: Uuid,
}

/// The body of a response, and what it took from the budget.
pub(crate) struct Answered {
    /// JSON or XML.
    pub body: Bytes,
    /// Given back when the client has taken the body.
    pub held: Option<Reservation>,
}

/// What an action comes to.
pub(crate) type Answer = Result<Answered, SqsError>;

impl<'a> Call<'a> {
    /// Reads the request.
    fn read<T: Deserialize<'a>>(&self) -> Result<T, SqsError> {
        let read = match self.wire {
            Wire::Json => request::decode(self.body),
            Wire::Query(form) => query::decode(form, self.action),
        };
        read.map_err(|error| SqsError::new(ErrorCode::Serialization, error))
    }

    /// Writes a response.
    fn answer(&self, response: &impl Serialize) -> Answer {
        self.answer_sized(response, 256)
    }

    /// As `answer`, with an idea of its size.
    fn answer_sized(&self, response: &impl Serialize, bytes: usize) -> Answer {
        let written = match self.wire {
            Wire::Json => {
                let mut body = Vec::with_capacity(bytes);
                serde_json::to_writer(&mut body, response).map(|()| body).map_err(|error| error.to_string())
            }
            Wire::Query(_) => query::encode(self.action, response, self.request_id().as_str(), bytes),
        };
        let body = written.map_err(|error| SqsError::new(ErrorCode::InternalFailure, error))?;
        Ok(Answered { body: body.into(), held: None })
    }

    /// The answer without content. In JSON the service answers such actions with an empty body or `{}`; SDKs take both.
    fn done(&self) -> Answer {
        let body = match self.wire {
            Wire::Json => Bytes::from_static(b"{}"),
            Wire::Query(_) => query::empty(self.action, self.request_id().as_str()).into(),
        };
        Ok(Answered { body, held: None })
    }

    fn request_id(&self) -> Ascii<36> {
        let mut text = [0; 36];
        self.id.as_hyphenated().encode_lower(&mut text);
        Ascii::new(text)
    }

    /// The queue that the request names.
    fn queue(&self, url: Option<&Text<'_>>) -> Result<Arc<Queue>, SqsError> {
        let url = required(url, "QueueUrl")?;
        let name = queue_url::queue_name(url).ok_or_else(|| {
            let shown: String = url.chars().take(200).collect();
            SqsError::new(
                ErrorCode::InvalidAddress,
                format!("The address {shown} is not valid for this endpoint."),
            )
        })?;
        self.queue_named(name)
    }

    fn queue_named(&self, name: &str) -> Result<Arc<Queue>, SqsError> {
        let catalog = self.session.catalog();
        // What waits for an endpoint of SNS is nobody else's to take.
        let is_open = sns::subscription_of_queue(name).is_none();
        let queue = catalog.queue(DEFAULT_NAMESPACE, name).filter(|_| is_open);
        queue.cloned().ok_or_else(SqsError::no_such_queue)
    }

    /// The URL under which this client reaches the queue.
    fn url_of(&self, name: &str) -> String {
        queue_url::of_queue(self.host, self.echo.account, name)
    }

    /// Waits for room for an answer, but not for ever: what the request itself holds others may wait for.
    async fn reserve(&self, bytes: usize) -> Result<Reservation, SqsError> {
        let reserving = self.budget.reserve(bytes);
        let reserved = tokio::time::timeout(ANSWER_ROOM_TIMEOUT, reserving).await.map_err(|_| {
            SqsError::new(ErrorCode::RequestThrottled, "No memory is free for the answer; try again later.")
        })?;
        reserved.map_err(over_budget)
    }
}

fn over_budget(error: OverBudget) -> SqsError {
    SqsError::new(ErrorCode::ServiceUnavailable, error.to_string())
}

/// The value of a parameter that must be there and not empty.
fn required<'a>(value: Option<&'a Text<'_>>, parameter: &str) -> Result<&'a str, SqsError> {
    match value.map(Text::as_str) {
        None | Some("") => Err(SqsError::missing(parameter)),
        Some(value) => Ok(value),
    }
}

/// Changes what a queue is set to: from what it is now, and anew if somebody else was faster, so that of changes at the same
/// time none is lost. Gives the queue as it was, and what it is set to now.
async fn change_queue(
    call: &Call<'_>,
    url: Option<&Text<'_>>,
    change: impl Fn(&Queue, &mut Settings) -> Result<(), SqsError>,
) -> Result<(Arc<Queue>, Settings), SqsError> {
    loop {
        let queue = call.queue(url)?;
        let mut settings = Settings::from(&*queue);
        change(&queue, &mut settings)?;
        let (policy, labels) = (settings.policy.clone(), settings.labels.clone());
        if call.session.set_queue(&queue, policy, labels).await? {
            return Ok((queue, settings));
        }
    }
}

/// Carries out the action.
pub(crate) async fn dispatch(call: &Call<'_>) -> Answer {
    match call.action {
        "SendMessage" => send::single(call).await,
        "SendMessageBatch" => send::batch(call).await,
        "ReceiveMessage" => receive::handle(call).await,
        "DeleteMessage" => delete_message::single(call).await,
        "DeleteMessageBatch" => delete_message::batch(call).await,
        "ChangeMessageVisibility" => change_visibility::single(call).await,
        "ChangeMessageVisibilityBatch" => change_visibility::batch(call).await,
        "CreateQueue" => create_queue::handle(call).await,
        "DeleteQueue" => delete_queue::handle(call).await,
        "GetQueueUrl" => get_queue_url::handle(call),
        "GetQueueAttributes" => get_queue_attributes::handle(call).await,
        "SetQueueAttributes" => set_queue_attributes::handle(call).await,
        "ListQueues" => list_queues::handle(call),
        "ListDeadLetterSourceQueues" => list_source_queues::handle(call),
        "PurgeQueue" => purge_queue::handle(call).await,
        "TagQueue" => tags::tag(call).await,
        "UntagQueue" => tags::untag(call).await,
        "ListQueueTags" => tags::list(call),
        "AddPermission" => permissions::add(call).await,
        "RemovePermission" => permissions::remove(call).await,
        "StartMessageMoveTask" => move_tasks::start(call).await,
        "ListMessageMoveTasks" => move_tasks::list(call).await,
        "CancelMessageMoveTask" => move_tasks::cancel(call).await,
        action => {
            let shown: String = action.chars().take(100).collect();
            Err(SqsError::new(ErrorCode::UnknownOperation, format!("The action {shown} is not known.")))
        }
    }
}
