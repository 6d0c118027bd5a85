//! The log of an ordered topic: a topic of the broker, bound to the exchange like any subscriber, that everything published goes through.
//!
//! It tells what is published twice within five minutes, for all subscribers together and in the commit of the publish: a record that
//! it knows goes nowhere. Beyond that it keeps what is published for five minutes, which costs a place in the commit and no body; with an
//! archive (`archive`) for longer, and subscriptions that have replayed some of it are fed from it (`replay`).
//! It is named `sns:log:ID` by the id of the exchange: no name of Kafka, so it is not listed there, and another one if the topic is made again.
//! Source: SNS Developer Guide, "Message deduplication for FIFO topics"; SNS API Reference, FifoThroughputScope.

use std::sync::Arc;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::GROUP_BYTES;
use duolog_broker::routing::{BindingSpec, Destination, Exchange, ExchangeId, Filter};
use duolog_broker::{Catalog, DedupPolicy, Keep, Labels, Session, Topic, TopicPolicy, TopicSpec};

use super::topic::is_ordered;
use super::{SnsError, archive, attributes};
use crate::limits::DEDUP_WINDOW_MS;

/// What the names begin with.
const PREFIX: &str = "sns:log:";
/// Label with the id of the exchange.
const EXCHANGE: &str = "aws.sns.log-of";

fn name(exchange: ExchangeId) -> String {
    format!("{PREFIX}{}", exchange.0)
}

/// The log of an ordered topic, if there is one.
pub(super) fn of<'c>(catalog: &'c Catalog, exchange: &Exchange) -> Option<&'c Arc<Topic>> {
    let log = catalog.topic(DEFAULT_NAMESPACE, &name(exchange.id))?;
    log.labels.contains_key(EXCHANGE).then_some(log)
}

/// Logs whose exchange has gone.
pub(super) fn left(catalog: &Catalog) -> impl Iterator<Item = &Arc<Topic>> {
    catalog.topics(DEFAULT_NAMESPACE).filter(|log| {
        let of = log.labels.get(EXCHANGE).and_then(|id| id.parse().ok()).map(ExchangeId);
        log.name.starts_with(PREFIX) && of.is_some_and(|id| catalog.exchange_by_id(id).is_none())
    })
}

/// How a log is to be, by the attributes of its topic.
fn policy(topic: &Exchange) -> TopicPolicy {
    let per_key = attributes::get(&topic.labels, "FifoThroughputScope") == Some("MessageGroup");
    TopicPolicy {
        keep: Keep::Retention,
        retention_ms: Some(archive::retention_ms(topic).unwrap_or(DEDUP_WINDOW_MS)),
        dedup: Some(DedupPolicy { window_ms: DEDUP_WINDOW_MS, per_key }),
        // No publisher's message is too large for it that is not for others.
        batch_bytes_max: GROUP_BYTES as u32,
        ..TopicPolicy::default()
    }
}

fn binding(topic: &Exchange, log: &Topic) -> BindingSpec {
    BindingSpec {
        source: topic.id,
        destination: Destination::Topic(log.id),
        key: bytes::Bytes::new(),
        filter: Filter::All,
        labels: Labels::from([(EXCHANGE.to_owned(), topic.id.0.to_string())]),
    }
}

/// Makes the log of a topic that is ordered, and as the topic's attributes say.
///
/// # Errors
/// What the broker says.
pub(super) async fn ensure(session: &Session, topic: &Exchange) -> Result<(), SnsError> {
    if !is_ordered(topic) {
        return Ok(());
    }
    let policy = policy(topic);
    loop {
        let catalog = session.catalog();
        if let Some(log) = of(&catalog, topic) {
            let is_bound = catalog.binding(&binding(topic, log)).is_some();
            if log.policy != policy && !session.set_topic(log, policy.clone(), log.labels.clone()).await? {
                continue;
            }
            if !is_bound {
                session.bind(binding(topic, log)).await?;
            }
            return Ok(());
        }
        let labels = Labels::from([(EXCHANGE.to_owned(), topic.id.0.to_string())]);
        let spec = TopicSpec { labels, ..TopicSpec::new(&name(topic.id), 1, policy.clone()) };
        match session.create_topic(spec).await {
            Ok(_) => {}
            // Somebody was faster; or has a topic of this name, which is none of ours.
            Err(ChangeError::Exists(_)) if of(&session.catalog(), topic).is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the log of a topic that is gone.
pub(super) async fn remove(session: &Session, topic: &Exchange) -> Result<(), ChangeError> {
    let Some(log) = of(&session.catalog(), topic).map(|log| log.id) else { return Ok(()) };
    match session.delete_topic(log).await {
        Ok(()) | Err(ChangeError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
