//! Queues, streams and exchanges are made what their declarations and the policies together say.
//!
//! A change is made of what the catalog shows, and is done only if that is still so; then it is looked again. So whoever comes last leaves
//! everything as it is to be, and what a crash leaves undone the next start does.

use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{Exchange, ExchangeId};
use duolog_broker::{Catalog, Labels, Queue, QueueId, QueuePolicy, Topic, TopicId, TopicPolicy};
use futures_util::future::join_all;

use super::{Definition, IN_FORCE, Policies, Policy, PolicyKind, is_quorum, labelled};
use crate::arguments;
use crate::codec::RawTable;
use crate::labels::{Declared, TAKEN};
use crate::limits::{POLICIES_BYTES, POLICY_CHANGES};
use crate::registry::Registry;
use crate::session::streams::{is_stream, policy};
use crate::vhosts::{MARK, namespace_of, vhost_of};

/// Settings of a queue or a stream, or the alternate of an exchange, and its labels.
type Change<T> = (T, Labels);

fn with_label(labels: &Labels, label: Option<String>) -> Labels {
    let mut labels = labels.clone();
    match label {
        Some(label) => labels.insert(IN_FORCE.to_owned(), label),
        None => labels.remove(IN_FORCE),
    };
    labels
}

impl Policies {
    /// A queue that is to be declared: what policies make of its settings and labels.
    pub(crate) fn declare_queue(
        &self,
        catalog: &Catalog,
        name: (&str, &str),
        arguments: RawTable<'_>,
        (own, labels): Change<QueuePolicy>,
    ) -> Change<QueuePolicy> {
        let definition = self.for_queue(catalog, name, arguments).definition.for_queue(is_quorum(arguments));
        match definition.to_label() {
            Some(label) => (definition.over(own, arguments), with_label(&labels, Some(label))),
            None => (own, labels),
        }
    }

    /// What is to become of a queue, if it is not what it is to be. What policies say nothing of stays: clients of other protocols may have set it.
    fn change_queue(&self, catalog: &Catalog, queue: &Queue) -> Option<Change<QueuePolicy>> {
        let label = queue.labels.get(IN_FORCE);
        let wanted = self.on_queue(catalog, queue).definition;
        if label.is_none() && wanted == Definition::default() {
            return None;
        }
        let declared = Declared::of(&queue.labels);
        let arguments = declared.table();
        let wanted = wanted.for_queue(is_quorum(arguments));
        let now = wanted.to_label();
        if now.as_ref() == label {
            return None;
        }
        // They were valid when they were declared.
        let own = arguments::settings(&queue.name, vhost_of(&queue.namespace), arguments).ok()?;
        let before = Definition::of_label(label).fields();
        let settings = before.taken(wanted.fields(), wanted.over(own, arguments), &queue.policy);
        Some((settings, with_label(&queue.labels, now)))
    }

    /// An exchange that is to be declared.
    pub(crate) fn declare_exchange(
        &self,
        catalog: &Catalog,
        (namespace, name): (&str, &str),
        (own, labels): Change<Option<String>>,
    ) -> Change<Option<String>> {
        let definition = self.on_exchange(catalog, namespace, name).definition;
        match definition.alternate() {
            Some(alternate) if own.is_none() => {
                (Some(alternate.to_owned()), with_label(&labels, Some(alternate.to_owned())))
            }
            _ => (own, labels),
        }
    }

    /// The same as of a queue. A stream that another protocol has made keeps its records as that has said.
    fn change_stream(&self, catalog: &Catalog, topic: &Topic) -> Option<Change<TopicPolicy>> {
        let label = topic.labels.get(IN_FORCE);
        let wanted = if is_stream(topic) && !topic.labels.contains_key(TAKEN) {
            self.on_stream(catalog, &topic.namespace, &topic.name).definition.for_stream()
        } else {
            Definition::default()
        };
        let now = wanted.to_label();
        if now.as_ref() == label {
            return None;
        }
        Some((kept(topic, &wanted)?, with_label(&topic.labels, now)))
    }

    /// The same as of a queue. An alternate of its own is no policy's.
    fn change_exchange(&self, catalog: &Catalog, exchange: &Exchange) -> Option<Change<Option<String>>> {
        let label = exchange.labels.get(IN_FORCE);
        let own = exchange.alternate.clone().filter(|it| Some(it) != label);
        let definition = self.on_exchange(catalog, &exchange.namespace, &exchange.name).definition;
        let wanted = definition.alternate().filter(|_| own.is_none()).map(str::to_owned);
        if wanted.as_ref() == label {
            return None;
        }
        Some((own.or_else(|| wanted.clone()), with_label(&exchange.labels, wanted)))
    }
}

/// How a stream keeps its records by its declaration and a definition.
fn kept(topic: &Topic, definition: &Definition) -> Option<TopicPolicy> {
    let declared = Declared::of(&topic.labels);
    // They were valid when they were declared.
    let own = policy(&topic.name, vhost_of(&topic.namespace), declared.table()).ok()?;
    let before = Definition::of_label(topic.labels.get(IN_FORCE));
    Some(definition.over_stream(&before, &own, &topic.policy))
}

/// How a stream keeps its records that no policy holds for any more.
pub(crate) fn kept_without_policies(topic: &Topic) -> TopicPolicy {
    kept(topic, &Definition::default()).unwrap_or_else(|| topic.policy.clone())
}

/// Does it to some at a time.
///
/// # Errors
/// The first that there was; the others were done.
async fn to_each<T: Copy, F: Future<Output = Result<(), ChangeError>>>(
    all: &[T],
    settle: impl Fn(T) -> F,
) -> Result<(), ChangeError> {
    let mut result = Ok(());
    for some in all.chunks(POLICY_CHANGES) {
        let settled = join_all(some.iter().map(|it| settle(*it))).await;
        result = settled.into_iter().fold(result, Result::and);
    }
    result
}

impl Registry {
    /// Makes a queue what it is to be.
    ///
    /// # Errors
    /// [`ChangeError`]; not if it has gone.
    pub(crate) async fn settle_queue(&self, id: QueueId) -> Result<(), ChangeError> {
        loop {
            let catalog = self.broker().catalog();
            let Some(queue) = catalog.queue_by_id(id) else { break };
            let Some((settings, labels)) = self.policies.change_queue(&catalog, queue) else { break };
            match self.broker().set_queue(queue, settings, labels).await {
                Ok(_) => {}
                Err(ChangeError::NotFound(_)) => break,
                Err(error) => return Err(error),
            }
        }
        self.renew_expiry(id);
        Ok(())
    }

    /// The same of an exchange.
    ///
    /// # Errors
    /// See [`Self::settle_queue`].
    pub(crate) async fn settle_exchange(&self, id: ExchangeId) -> Result<(), ChangeError> {
        loop {
            let catalog = self.broker().catalog();
            let Some(exchange) = catalog.exchange_by_id(id) else { return Ok(()) };
            let Some((alternate, labels)) = self.policies.change_exchange(&catalog, exchange) else {
                return Ok(());
            };
            match self.broker().set_exchange(exchange, alternate, labels).await {
                Ok(_) => {}
                Err(ChangeError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The same of a stream.
    ///
    /// # Errors
    /// See [`Self::settle_queue`].
    pub(crate) async fn settle_stream(&self, id: TopicId) -> Result<(), ChangeError> {
        loop {
            let catalog = self.broker().catalog();
            let Some(topic) = catalog.topic_by_id(id) else { return Ok(()) };
            let Some((kept, labels)) = self.policies.change_stream(&catalog, topic) else { return Ok(()) };
            match self.broker().set_topic(topic, kept, labels).await {
                Ok(_) => {}
                Err(ChangeError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The same of everything in a namespace. What cannot be done now is tried again later: see [`Self::catch_up`].
    ///
    /// # Errors
    /// The first that there was; the others were done.
    pub(crate) async fn settle_all(&self, namespace: &str) -> Result<(), ChangeError> {
        let catalog = self.broker().catalog();
        let queues: Vec<_> = catalog.queues(namespace).map(|it| it.id).collect();
        let exchanges: Vec<_> = catalog.exchanges(namespace).map(|it| it.id).collect();
        let streams: Vec<_> = catalog.topics(namespace).filter(|it| is_stream(it)).map(|it| it.id).collect();
        drop(catalog);
        let result = to_each(&queues, |id| self.settle_queue(id)).await;
        let result = result.and(to_each(&exchanges, |id| self.settle_exchange(id)).await);
        let result = result.and(to_each(&streams, |id| self.settle_stream(id)).await);
        if let Err(error) = &result {
            self.note_behind(namespace, error);
        }
        result
    }

    /// Puts a policy; false if there was one of its name.
    ///
    /// # Errors
    /// [`ChangeError`]: `NotFound` without the virtual host, `OverLimit` if its policies become too long.
    pub(crate) async fn set_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        policy: &Policy,
    ) -> Result<bool, ChangeError> {
        let value = serde_json::to_string(policy).expect("keys are strings");
        let had_one = self.change_policies(vhost, kind, &policy.name, Some(value)).await?;
        Ok(!had_one)
    }

    /// Takes a policy away; false if there was none.
    ///
    /// # Errors
    /// See [`Self::set_policy`].
    pub(crate) async fn clear_policy(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
    ) -> Result<bool, ChangeError> {
        self.change_policies(vhost, kind, name, None).await
    }

    /// True if there was one of this name.
    async fn change_policies(
        &self,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
        value: Option<String>,
    ) -> Result<bool, ChangeError> {
        let (namespace, key) = (namespace_of(vhost), format!("{}{name}", kind.prefix()));
        loop {
            let catalog = self.broker().catalog();
            let no_vhost = || ChangeError::NotFound("the virtual host".to_owned());
            let mark = catalog.exchange(namespace, MARK).ok_or_else(no_vhost)?;
            let had_one = mark.labels.contains_key(&key);
            let mut labels = mark.labels.clone();
            match &value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(&key),
            };
            check_room(&labels)?;
            let is_same = labels == mark.labels;
            if is_same || self.broker().set_exchange(mark, mark.alternate.clone(), labels).await? {
                return self.settle_all(namespace).await.map(|()| had_one);
            }
        }
    }

    /// Those of one kind in a virtual host, by name.
    pub(crate) fn policies_in(&self, vhost: &str, kind: PolicyKind) -> Vec<Policy> {
        let catalog = self.broker().catalog();
        let mark = catalog.exchange(namespace_of(vhost), MARK);
        mark.map(|it| labelled(&it.labels, kind).collect()).unwrap_or_default()
    }
}

fn check_room(labels: &Labels) -> Result<(), ChangeError> {
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > POLICIES_BYTES {
        return Err(ChangeError::OverLimit("the policies of a virtual host take at most 60,000 bytes"));
    }
    Ok(())
}
