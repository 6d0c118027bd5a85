//! Queues of type `stream`: topics, which are read by offset and keep what was read.
//!
//! Class `queue` where the name is that of a stream. A declaration makes a topic, or takes one that another protocol has made, and marks it:
//! the default exchange leads to it, and it may be bound and read here. Source: RabbitMQ documentation, "Streams and Super
//! Streams"; `rabbit_stream_queue` for what is refused how.

use std::sync::Arc;

use duolog_broker::catalog::ADDRESSABLE;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::GROUP_BYTES;
use duolog_broker::routing::Destination;
use duolog_broker::{Catalog, Keep, Labels, Session, Topic, TopicId, TopicPolicy, TopicSpec};
use duolog_storage::Durability;

use super::AmqpSession;
use super::exchanges::{delete_if_unused, sources_of};
use super::queues::{self, DECLARE_TRIES, inequivalent};
use crate::codec::method::{QueueDeclare, QueueDelete, QueueDeleteOk};
use crate::codec::{RawTable, ShortStr, ValueRef};
use crate::error::AmqpError;
use crate::labels::{Declared, STREAM, TAKEN};
use crate::policies::kept_without_policies;

/// Arguments that are compared when a stream is declared again.
const COMPARED: [&str; 4] =
    ["x-queue-type", "x-max-length-bytes", "x-max-age", "x-stream-max-segment-size-bytes"];

/// Arguments that say something of other queues.
fn of_other_queues() -> impl Iterator<Item = &'static str> {
    queues::COMPARED.into_iter().filter(|it| !COMPARED.contains(it))
}

/// The declaration is that of a stream.
pub(super) fn is_asked_for(arguments: RawTable<'_>) -> bool {
    arguments.get("x-queue-type").and_then(ValueRef::as_str) == Some(STREAM)
}

/// The stream of this name.
pub(crate) fn stream<'a>(catalog: &'a Catalog, namespace: &str, name: &str) -> Option<&'a Arc<Topic>> {
    catalog.topic(namespace, name).filter(|it| is_stream(it))
}

/// It was declared to be a stream.
#[must_use]
pub fn is_stream(topic: &Topic) -> bool {
    topic.labels.contains_key(ADDRESSABLE)
}

/// Records that a stream has.
pub(crate) fn length(broker: &Session, topic: &Topic) -> u64 {
    let bounds = topic.partitions.iter().filter_map(|it| broker.bounds(*it));
    bounds.map(|it| it.end.0.saturating_sub(it.start.0)).sum()
}

impl AmqpSession {
    /// The stream that a method names, if it names one; an empty name is that of the queue declared last on the channel.
    pub(super) fn stream_named(
        &mut self,
        number: u16,
        name: ShortStr<'_>,
    ) -> Result<Option<Arc<Topic>>, AmqpError> {
        let name = match (name.as_str().unwrap_or_default(), &self.channel(number)?.last_queue) {
            ("", Some(last)) => last.clone(),
            (name, _) => name.to_owned(),
        };
        Ok(stream(&self.catalog, &self.namespace, &name).cloned())
    }

    /// # Errors
    /// `NotImplemented` if the name is that of a stream, of which this cannot be had.
    pub(super) fn refuse_stream(
        &mut self,
        number: u16,
        name: ShortStr<'_>,
        what: &str,
    ) -> Result<(), AmqpError> {
        match self.stream_named(number, name)? {
            Some(topic) => Err(AmqpError::not_implemented(format_args!(
                "{what} not supported by stream queues: queue '{}' in vhost '{}'",
                topic.name,
                self.vhost()
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn found_stream(&mut self, number: u16, topic: &Topic, no_wait: bool) {
        let count = u32::try_from(length(&self.broker, topic)).unwrap_or(u32::MAX);
        self.declared_queue(number, topic.id.into(), &topic.name, count, no_wait);
    }

    /// # Errors
    /// `PreconditionFailed` if it was declared otherwise.
    pub(super) fn check_equivalent_stream(
        &self,
        topic: &Topic,
        method: &QueueDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let what = format!("queue '{}' in vhost '{}'", topic.name, self.vhost());
        let flags = [("durable", method.durable, true), ("auto_delete", method.auto_delete, false)];
        for (name, received, current) in flags {
            if received != current {
                return Err(inequivalent(name, &what, &format!("'{received}'"), &format!("'{current}'")));
            }
        }
        if method.exclusive {
            return Err(self.invalid_property("exclusive", &topic.name));
        }
        let is = Declared::of(&topic.labels);
        for name in COMPARED {
            queues::check_argument(name, &what, method.arguments.get(name), is.table().get(name))?;
        }
        Ok(())
    }

    fn invalid_property(&self, property: &str, name: &str) -> AmqpError {
        let vhost = self.vhost();
        AmqpError::precondition(format_args!(
            "invalid property '{property}' for queue '{name}' in vhost '{vhost}'"
        ))
    }

    /// Declares a stream that is not there, as far as this session knows.
    pub(super) fn declare_stream(
        &mut self,
        number: u16,
        name: &str,
        method: &QueueDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let properties = [
            ("non-durable", !method.durable),
            ("exclusive", method.exclusive),
            ("auto-delete", method.auto_delete),
        ];
        if let Some((property, _)) = properties.into_iter().find(|(_, is_set)| *is_set) {
            return Err(self.invalid_property(property, name));
        }
        let policy = policy(name, self.vhost(), method.arguments)?;
        let declared = Declared {
            durable: true,
            arguments: method.arguments.as_bytes().to_vec(),
            ..Declared::default()
        };
        let mut labels = declared.labels();
        labels.insert(ADDRESSABLE.to_owned(), "true".to_owned());
        let spec = TopicSpec {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            partitions: 1,
            policy,
            labels,
        };
        let (broker, no_wait) = (self.broker.clone(), method.no_wait);
        let registry = Arc::clone(&self.registry);
        let made = async move {
            let id = make(&broker, spec).await?;
            registry.settle_stream(id).await?;
            Ok(id)
        };
        self.operate(number, QueueDeclare::ID, made, move |session, id: TopicId| {
            if let Some(topic) = session.catalog.topic_by_id(id).cloned() {
                session.found_stream(number, &topic, no_wait);
            }
            Ok(())
        });
        Ok(())
    }

    pub(super) fn delete_stream(
        &mut self,
        number: u16,
        method: &QueueDelete<'_>,
        topic: &Arc<Topic>,
    ) -> Result<(), AmqpError> {
        let what = format!("queue '{}' in vhost '{}'", topic.name, self.vhost());
        if method.if_unused && self.registry.consumers(topic.id.into()) > 0 {
            return Err(AmqpError::precondition(format_args!("{what} in use")));
        }
        let count = length(&self.broker, topic);
        if method.if_empty && count > 0 {
            return Err(AmqpError::precondition(format_args!("{what} not empty")));
        }
        let (broker, id, no_wait) = (self.broker.clone(), topic.id, method.no_wait);
        let deleting = async move { delete(&broker, id).await };
        let message_count = u32::try_from(count).unwrap_or(u32::MAX);
        self.operate(number, QueueDelete::ID, deleting, move |session, ()| {
            session.registry.disown(id.into());
            if !no_wait {
                QueueDeleteOk { message_count }.write(&mut session.said, number);
            }
            Ok(())
        });
        Ok(())
    }
}

/// Makes the topic, or marks the one that is there.
async fn make(broker: &Session, spec: TopicSpec) -> Result<TopicId, AmqpError> {
    for _ in 0..DECLARE_TRIES {
        let Some(topic) = broker.catalog().topic(&spec.namespace, &spec.name).cloned() else {
            match broker.create_topic(spec.clone()).await {
                Err(ChangeError::Exists(_)) => continue,
                made => return Ok(made?),
            }
        };
        if is_stream(&topic) {
            // Another connection was faster.
            return Ok(topic.id);
        }
        let (asked, kept) = (&spec.policy, &topic.policy);
        for (argument, asked, kept) in [
            ("x-max-age", asked.retention_ms, kept.retention_ms),
            ("x-max-length-bytes", asked.retention_bytes, kept.retention_bytes),
        ] {
            if asked.is_some_and(|asked| Some(asked) != kept) {
                return Err(AmqpError::precondition(format_args!(
                    "invalid arg '{argument}' for queue '{}': the topic of this name is there, and keeps \
                     its records otherwise",
                    topic.name
                )));
            }
        }
        let mut labels = topic.labels.clone();
        labels.extend(spec.labels.clone());
        labels.insert(TAKEN.to_owned(), "true".to_owned());
        if broker.set_topic(&topic, topic.policy.clone(), labels).await? {
            return Ok(topic.id);
        }
    }
    let text = format!("queue '{}' comes and goes", spec.name);
    Err(AmqpError::new(crate::codec::ReplyCode::ResourceError, text))
}

/// Deletes a stream: the topic, unless others use it, which then is no stream any more.
pub(crate) async fn delete(broker: &Session, id: TopicId) -> Result<(), AmqpError> {
    let sources = sources_of(&broker.catalog(), Destination::Topic(id));
    loop {
        let catalog = broker.catalog();
        let Some(topic) = catalog.topic_by_id(id).filter(|it| is_stream(it)) else { break };
        let is_shared = topic.labels.contains_key(TAKEN) || catalog.queues_on(id).next().is_some();
        let done = if is_shared {
            broker.set_topic(topic, kept_without_policies(topic), unmarked(&topic.labels)).await
        } else {
            broker.delete_topic(id).await.map(|()| true)
        };
        match done {
            Ok(true) | Err(ChangeError::NotFound(_)) => break,
            // It has changed meanwhile.
            Ok(false) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let catalog = broker.catalog();
    let left: Vec<_> = catalog.bindings_to(Destination::Topic(id)).cloned().collect();
    for binding in left {
        broker.unbind(binding.spec.clone()).await?;
    }
    delete_if_unused(broker, sources).await
}

/// Labels without what a declaration has added.
fn unmarked(labels: &Labels) -> Labels {
    let is_ours = |name: &str| name == ADDRESSABLE || Declared::is_label(name);
    labels
        .iter()
        .filter(|(name, _)| !is_ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// How long a stream keeps its records, by its arguments.
pub(crate) fn policy(name: &str, vhost: &str, arguments: RawTable<'_>) -> Result<TopicPolicy, AmqpError> {
    let invalid = |argument: &str, why: &str| {
        AmqpError::precondition(format_args!(
            "invalid arg '{argument}' for queue '{name}' in vhost '{vhost}': {why}"
        ))
    };
    if let Some(argument) = of_other_queues().find(|it| arguments.get(it).is_some()) {
        return Err(invalid(argument, "not supported by queues of type stream"));
    }
    let whole = |argument: &'static str| match arguments.get(argument).map(ValueRef::as_integer) {
        None => Ok(None),
        Some(number) => match number.and_then(|it| u64::try_from(it).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(argument, "it is no whole number of 0 or more")),
        },
    };
    for argument in ["x-stream-max-segment-size-bytes", "x-initial-cluster-size"] {
        whole(argument)?;
    }
    let retention_ms = match arguments.get("x-max-age") {
        None => None,
        Some(age) => {
            let age = age.as_str().and_then(age_ms);
            Some(age.ok_or_else(|| invalid("x-max-age", "it is a number and one of Y, M, D, h, m, s"))?)
        }
    };
    Ok(TopicPolicy {
        keep: Keep::Retention,
        retention_ms,
        retention_bytes: whole("x-max-length-bytes")?,
        batch_bytes_max: u32::try_from(GROUP_BYTES).unwrap_or(u32::MAX),
        durability: Some(Durability::Sync),
        ..TopicPolicy::default()
    })
}

/// Milliseconds of an age such as `7D`. Source: RabbitMQ documentation, "Streams", `x-max-age`.
pub(crate) fn age_ms(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds: u64 = match unit {
        'Y' => 365 * 86_400,
        'M' => 30 * 86_400,
        'D' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    number.checked_mul(seconds)?.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_number_and_a_unit() {
        assert_eq!(age_ms("7D"), Some(7 * 86_400_000));
        assert_eq!(age_ms("1Y"), Some(31_536_000_000));
        assert_eq!(age_ms("90s"), Some(90_000));
        for wrong in
            ["", "D", "7", "-1D", "1.5h", "1d", "1é", "99999999999999999999s", "18446744073709551615Y"]
        {
            assert_eq!(age_ms(wrong), None, "{wrong}");
        }
    }
}
