//! What makes a subscription of an `http` or `https` endpoint durable: a queue of its own, which the topic leads to once the subscription
//! is confirmed, and from which `deliver` takes what it posts. One that is fed from the log of its topic (`replay`) has such a queue on that.
//!
//! The queue is named `sns:ID` by the id of the subscription: no name of SQS or Kafka, so neither lists it, while operators see what waits.
//! Invariant: the queue goes with its subscription. Deleting it takes a confirmed one along in the same commit; what a crash leaves of the
//! two is found by `deliver`.

use std::sync::Arc;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{Destination, Exchange, ExchangeId};
use duolog_broker::{Catalog, Labels, Queue, QueuePolicy, QueueSpec, Session, Start, Topic};

use super::subscription::{Subscription, find};
use super::{SnsCode, SnsError, replay};
use crate::limits::{SNS_ATTEMPT_MS, SNS_HTTP_SUBSCRIPTIONS};

/// What the names of the queues begin with.
const PREFIX: &str = "sns:";
/// Label with the id of the topic's exchange.
const EXCHANGE: &str = "aws.sns.exchange";

/// True for the protocols of endpoints that messages are posted to.
pub(super) fn is_http(protocol: &str) -> bool {
    matches!(protocol, "http" | "https")
}

/// The id of the subscription whose queue has this name.
pub(crate) fn id_in(queue: &str) -> Option<&str> {
    queue.strip_prefix(PREFIX)
}

/// The queue of a subscription.
pub(super) fn queue<'c>(catalog: &'c Catalog, id: &str) -> Option<&'c Arc<Queue>> {
    catalog.queue(DEFAULT_NAMESPACE, &format!("{PREFIX}{id}")).filter(|queue| exchange_of(queue).is_some())
}

/// All of them.
pub(super) fn queues(catalog: &Catalog) -> impl Iterator<Item = &Arc<Queue>> {
    catalog
        .queues_from(DEFAULT_NAMESPACE, PREFIX)
        .take_while(|queue| queue.name.starts_with(PREFIX))
        .filter(|queue| exchange_of(queue).is_some())
}

fn exchange_of(queue: &Queue) -> Option<ExchangeId> {
    queue.labels.get(EXCHANGE)?.parse().ok().map(ExchangeId)
}

/// The subscription that a queue is for, and its topic.
pub(super) fn subscription_of<'c>(
    catalog: &'c Catalog,
    queue: &'c Queue,
) -> Option<(&'c Arc<Exchange>, Subscription<'c>)> {
    let topic = catalog.exchange_by_id(exchange_of(queue)?)?;
    let it = find(catalog, topic, id_in(&queue.name)?)?;
    let is_its =
        it.is_pending() || replay::is_fed(it) || it.binding.spec.destination == Destination::Queue(queue.id);
    is_its.then_some((topic, it))
}

/// The queue of a subscription, made if it is not there: one that is its own, or at the end of a log.
///
/// # Errors
/// `SubscriptionLimitExceeded`; `InvalidParameter` if somebody else has a queue of that name; what the broker says.
pub(super) async fn make_queue(
    session: &Session,
    topic: &Exchange,
    id: &str,
    log: Option<&Topic>,
) -> Result<Arc<Queue>, SnsError> {
    let catalog = session.catalog();
    if let Some(queue) = queue(&catalog, id) {
        return Ok(Arc::clone(queue));
    }
    if queues(&catalog).count() >= SNS_HTTP_SUBSCRIPTIONS {
        let most = format!(
            "There are as many subscriptions of endpoints as there may be ({SNS_HTTP_SUBSCRIPTIONS})"
        );
        return Err(SnsError::new(SnsCode::SubscriptionLimitExceeded, most));
    }
    let name = format!("{PREFIX}{id}");
    let policy = QueuePolicy { visibility_timeout_ms: SNS_ATTEMPT_MS, ..QueuePolicy::default() };
    let labels = Labels::from([(EXCHANGE.to_owned(), topic.id.0.to_string())]);
    let topic = log.map(|log| log.name.clone());
    let spec = QueueSpec { labels, topic, start: Start::Latest, ..QueueSpec::new(&name, policy) };
    match session.create_queue(spec).await {
        // Somebody was faster.
        Ok(_) | Err(ChangeError::Exists(_)) => {}
        Err(error) => return Err(super::subscription::change_failed(error)),
    }
    queue(&session.catalog(), id).cloned().ok_or_else(|| {
        SnsError::invalid_because("Endpoint", format_args!("there is a queue {name} that is none of ours"))
    })
}

/// Ends a subscription: what waits for its endpoint goes with it.
pub(super) async fn end(session: &Session, it: Subscription<'_>) -> Result<(), ChangeError> {
    remove_queue(session, it.id()).await?;
    // One that waited to be confirmed is not bound to the queue.
    session.unbind(it.binding.spec.clone()).await.map(drop)
}

/// Removes the queue of a subscription, and that with it if it is confirmed.
pub(super) async fn remove_queue(session: &Session, id: &str) -> Result<(), ChangeError> {
    let Some(queue) = queue(&session.catalog(), id).map(|queue| queue.id) else { return Ok(()) };
    match session.delete_queue(queue).await {
        Ok(()) | Err(ChangeError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
