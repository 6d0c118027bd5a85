//! CreateQueue: declares a queue on the topic of its name, which is made if there is none. Idempotent with equal
//! attributes.
//!
//! The tag `duolog:topic` names another topic, which must exist; `duolog:start` says where to begin on it.

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::{Catalog, DedupPolicy, Order, Queue, QueueSpec, Start, TopicPolicy, when};

use super::{Answer, Call, required, tags};
use crate::codec::{request, response, rules};
use crate::error::{ErrorCode, SqsError};
use crate::settings::{Settings, is_fifo};
use crate::sns;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::CreateQueue<'_> = call.read()?;
    let name = required(request.queue_name.as_ref(), "QueueName")?;
    if !rules::is_queue_name(name) {
        return Err(SqsError::invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    check_fifo(name, &request)?;
    if let Some(queue) = call.session.catalog().queue(DEFAULT_NAMESPACE, name) {
        return existing(call, queue, &request);
    }
    let spec = spec(call, name, &request)?;
    let dedup = spec.dedup;
    match call.session.create_queue(spec).await {
        Ok(_) => {
            let queue = call.queue_named(name)?;
            keep_dedup(call, &queue, dedup, &request.attributes).await?;
            sns::unpark(call.session, name).await;
            call.answer(&response::QueueUrl { queue_url: call.url_of(name) })
        }
        // Somebody was faster.
        Err(ChangeError::Exists(_)) => existing(call, &*call.queue_named(name)?, &request),
        Err(error) => Err(error.into()),
    }
}

/// The suffix and the attribute go together.
fn check_fifo(name: &str, request: &request::CreateQueue<'_>) -> Result<(), SqsError> {
    let wanted = request
        .attributes
        .kept
        .iter()
        .any(|(attribute, value)| attribute.as_str() == "FifoQueue" && value.as_str() == "true");
    match (wanted, is_fifo(name)) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(SqsError::invalid(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end \
             with .fifo suffix and be 1 to 80 in length.",
        )),
        (false, true) => Err(SqsError::invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length; a name that ends \
             in .fifo needs the attribute FifoQueue with the value true.",
        )),
    }
}

/// The window belongs to the topic, which may have been there before the queue. What is set there stays, also that it was
/// switched off; only the scope follows the queue's attribute, where a request names that.
pub(super) async fn keep_dedup(
    call: &Call<'_>,
    queue: &Queue,
    wanted: Option<DedupPolicy>,
    attributes: &request::QueueAttributes<'_>,
) -> Result<(), SqsError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let names_scope = attributes.kept.iter().any(|(name, _)| name.as_str() == "DeduplicationScope");
    loop {
        let catalog = call.session.catalog();
        let Some(topic) = catalog.topic_by_id(queue.topic) else { return Ok(()) };
        let dedup = match topic.policy.dedup {
            None => wanted,
            Some(is) if names_scope => DedupPolicy { per_key: wanted.per_key, ..is },
            Some(is) => is,
        };
        if topic.policy.dedup == Some(dedup) {
            return Ok(());
        }
        let policy = TopicPolicy { dedup: Some(dedup), ..topic.policy.clone() };
        if call.session.set_topic(topic, policy, topic.labels.clone()).await? {
            return Ok(());
        }
    }
}

fn spec(call: &Call<'_>, name: &str, request: &request::CreateQueue<'_>) -> Result<QueueSpec, SqsError> {
    let catalog = call.session.catalog();
    let mut settings = Settings::new(name);
    settings.set_all(&catalog, name, &request.attributes)?;
    tags::add(&mut settings.labels, &request.tags)?;
    let topic = tags::get(&settings.labels, TOPIC_TAG).map(str::to_owned);
    if let Some(topic) = &topic
        && catalog.topic(DEFAULT_NAMESPACE, topic).is_none()
    {
        let reason = "There is no such topic; create it first, or leave the tag out.";
        return Err(SqsError::invalid_value(topic, TOPIC_TAG, reason));
    }
    if !settings.fifo && catalog.topic(DEFAULT_NAMESPACE, topic.as_deref().unwrap_or(name)).is_some() {
        // Keys there are others' keys, not tenants.
        settings.policy.order = Order::Standard;
    }
    let start = match tags::get(&settings.labels, START_TAG) {
        None => Start::Earliest,
        Some(text) => when::parse(text, call.session.now()).map_err(|_| {
            let reason = "Must be earliest, latest, an offset, a time such as 2026-11-24T08:00:00Z, or an \
                          age such as 2h.";
            SqsError::invalid_value(text, START_TAG, reason)
        })?,
    };
    let namespace = DEFAULT_NAMESPACE.to_owned();
    let dedup = settings.dedup();
    let Settings { policy, labels, .. } = settings;
    Ok(QueueSpec { namespace, name: name.to_owned(), topic, dedup, durability: None, start, policy, labels })
}

const TOPIC_TAG: &str = "duolog:topic";
const START_TAG: &str = "duolog:start";

/// Answers with a queue that exists if the request asks for nothing else than it is.
fn existing(call: &Call<'_>, queue: &Queue, request: &request::CreateQueue<'_>) -> Answer {
    let catalog = call.session.catalog();
    if let Some(difference) = difference(call, &catalog, queue, request)? {
        return Err(SqsError::new(
            ErrorCode::QueueNameExists,
            format!(
                "A queue already exists with the same name and a different value for attribute {difference}"
            ),
        ));
    }
    call.answer(&response::QueueUrl { queue_url: call.url_of(&queue.name) })
}

fn difference<'a>(
    call: &Call<'_>,
    catalog: &Catalog,
    queue: &Queue,
    request: &'a request::CreateQueue<'_>,
) -> Result<Option<&'a str>, SqsError> {
    let is = Settings::from(queue);
    let mut asked = is.clone();
    for (attribute, value) in &request.attributes.kept {
        asked.set(catalog, &queue.name, attribute, value)?;
        if asked.get(call.echo, attribute) != is.get(call.echo, attribute) {
            return Ok(Some(attribute.as_str()));
        }
    }
    for (key, value) in request.tags.kept.iter().filter(|(key, _)| key.as_str() == TOPIC_TAG) {
        let topic = catalog.topic_by_id(queue.topic);
        if topic.is_none_or(|topic| topic.name != value.as_str()) {
            return Ok(Some(key.as_str()));
        }
    }
    Ok(None)
}
