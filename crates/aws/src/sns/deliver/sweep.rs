//! What is left of subscriptions: those that nobody has confirmed in time, and queues that a crash, or another protocol, has left behind.

use std::sync::Arc;

use duolog_broker::Session;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::routing::{BindingSpec, Destination};
use tracing::{info, warn};

use crate::limits::SNS_ORPHAN_MS;
use crate::sns::subscription::Subscription;
use crate::sns::topic::is_topic;
use crate::sns::{http, log};

/// Ends the ones and removes the others.
pub(super) async fn sweep(session: &Session) {
    let now = session.now();
    let catalog = session.catalog();
    let topics = catalog.exchanges(DEFAULT_NAMESPACE).filter(|exchange| is_topic(exchange));
    // Those that wait to be confirmed lead to the topic itself.
    let waiting = topics.flat_map(|topic| catalog.bindings_to(Destination::Exchange(topic.id)));
    let expired = waiting.filter_map(Subscription::of).filter(|it| it.has_expired(now));
    let expired: Vec<BindingSpec> = expired.map(|it| it.binding.spec.clone()).collect();
    for spec in expired {
        match session.unbind(spec).await {
            Ok(_) => info!("a subscription that was not confirmed in time is gone"),
            Err(error) => {
                warn!(%error, "a subscription that was not confirmed in time cannot be removed yet")
            }
        }
    }
    let catalog = session.catalog();
    let is_left = |queue: &&Arc<duolog_broker::Queue>| {
        let is_old = now.0.saturating_sub(queue.created_at.0) > SNS_ORPHAN_MS;
        is_old && http::subscription_of(&catalog, queue).is_none()
    };
    for log in log::left(&catalog).filter(|log| now.0.saturating_sub(log.created_at.0) > SNS_ORPHAN_MS) {
        match session.delete_topic(log.id).await {
            Ok(()) => info!(topic = %log.name, "the log of a topic that is gone is removed"),
            Err(error) => {
                warn!(topic = %log.name, %error, "the log of a topic that is gone cannot be removed yet")
            }
        }
    }
    let left: Vec<_> = http::queues(&catalog).filter(is_left).collect();
    for queue in left {
        match session.delete_queue(queue.id).await {
            Ok(()) => info!(queue = %queue.name, "a queue that belongs to no subscription is removed"),
            Err(error) => {
                warn!(queue = %queue.name, %error, "a queue that belongs to no subscription cannot be removed yet");
            }
        }
    }
}
