//! Class `queue`: declared, bound, purged, deleted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{BindingSpec, Destination, Exchange};
use duolog_broker::{Pending, Queue, QueueId, QueueSpec, Session};
use duolog_storage::Durability;

use super::AmqpSession;
use super::consume::ready_in;
use super::exchanges::{binding, delete_if_unused, sources_of};
use super::streams::{is_asked_for, stream};
use crate::arguments;
use crate::codec::method::{
    QueueBind, QueueBindOk, QueueDeclare, QueueDeclareOk, QueueDelete, QueueDeleteOk, QueuePurge,
    QueuePurgeOk, QueueUnbind, QueueUnbindOk,
};
use crate::codec::{RawTable, ReplyCode, ShortStr, ValueRef};
use crate::error::AmqpError;
use crate::labels::{Declared, SINGLE_ACTIVE};
use crate::registry::Source;

/// How often a declaration begins again because others create and delete the queue meanwhile.
pub(super) const DECLARE_TRIES: u32 = 8;
/// What names that the server gives out begin with.
const RESERVED: &str = "amq.";
/// Arguments that are compared when a queue is declared again. Source: RabbitMQ `rabbit_queue_type:known_queue_arguments`.
pub(super) const COMPARED: [&str; 12] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    SINGLE_ACTIVE,
    "x-queue-type",
];

impl AmqpSession {
    /// The queue that a method names; an empty name is that of the queue declared last on the channel.
    pub(super) fn queue_named(&mut self, number: u16, name: ShortStr<'_>) -> Result<Arc<Queue>, AmqpError> {
        let last = self.channel(number)?.last_queue.clone();
        let name = match (name.as_str().unwrap_or_default(), &last) {
            ("", Some(last)) => last,
            ("", None) => return Err(AmqpError::not_found("no previously declared queue")),
            (name, _) => name,
        };
        let queue = self.catalog.queue(&self.namespace, name).cloned().ok_or_else(|| self.no_queue(name))?;
        self.registry.check_access(&queue, self.id)?;
        Ok(queue)
    }

    fn no_queue(&self, name: &str) -> AmqpError {
        AmqpError::not_found(format_args!("no queue '{name}' in vhost '{}'", self.vhost()))
    }

    pub(super) fn declare_queue(&mut self, number: u16, method: &QueueDeclare<'_>) -> Result<(), AmqpError> {
        let no_wait = method.no_wait;
        let name = method.queue.as_str().unwrap_or_default();
        if method.passive && name.is_empty() {
            return Err(AmqpError::not_found("no previously declared queue"));
        }
        if let Some(topic) = stream(&self.catalog, &self.namespace, name).cloned() {
            if !method.passive {
                self.check_equivalent_stream(&topic, method)?;
            }
            // What was published before is in it.
            self.operate(number, QueueDeclare::ID, async { Ok(()) }, move |session, ()| {
                session.found_stream(number, &topic, no_wait);
                Ok(())
            });
            return Ok(());
        }
        if method.passive {
            let known = self.catalog.queue(&self.namespace, name).cloned();
            let queue = known.ok_or_else(|| self.no_queue(name))?;
            self.registry.check_access(&queue, self.id)?;
            self.registry.touch(queue.id);
            let (broker, id) = (self.broker.clone(), queue.id);
            let ready = async move { ready_in(&broker, id).await };
            self.operate(number, QueueDeclare::ID, ready, move |session, ready| {
                session.declared_queue(number, queue.id.into(), &queue.name, ready, no_wait);
                Ok(())
            });
            return Ok(());
        }
        let is_there = self.catalog.queue(&self.namespace, name).is_some();
        if !is_there {
            check_name("queue", name)?;
        }
        let name = if name.is_empty() { self.registry.new_name("amq.gen-") } else { name.to_owned() };
        if let Some(queue) = self.catalog.queue(&self.namespace, &name) {
            // Before its arguments are judged by themselves: what it differs in is what the client hears of.
            self.registry.check_access(queue, self.id)?;
            self.check_equivalent(queue, &declared_by(method))?;
        }
        if is_asked_for(method.arguments) {
            return self.declare_stream(number, &name, method);
        }
        let spec = self.queue_spec(&name, method)?;
        self.declare(number, spec, no_wait, DECLARE_TRIES)
    }

    /// Finds the queue, or creates it. Between the one and the other somebody else may do the opposite: then again.
    fn declare(&mut self, number: u16, spec: QueueSpec, no_wait: bool, tries: u32) -> Result<(), AmqpError> {
        if tries == 0 {
            let text = format!("queue '{}' comes and goes", spec.name);
            return Err(AmqpError::new(ReplyCode::ResourceError, text));
        }
        let (broker, declared) = (self.broker.clone(), Declared::of(&spec.labels));
        if let Some(queue) = self.catalog.queue(&self.namespace, &spec.name).cloned() {
            self.registry.check_access(&queue, self.id)?;
            self.check_equivalent(&queue, &declared)?;
            self.registry.touch(queue.id);
            let ready = async move {
                match ready_in(&broker, queue.id).await {
                    // It is about to go from the catalog, too.
                    Err(error) if error.code == ReplyCode::NotFound => Ok((queue.id, None)),
                    ready => Ok((queue.id, Some(ready?))),
                }
            };
            self.operate(number, QueueDeclare::ID, ready, move |session, (id, ready)| match ready {
                Some(ready) => {
                    session.declared_queue(number, id.into(), &spec.name, ready, no_wait);
                    Ok(())
                }
                None => session.create(number, spec, no_wait, tries - 1),
            });
            return Ok(());
        }
        self.create(number, spec, no_wait, tries)
    }

    fn create(&mut self, number: u16, spec: QueueSpec, no_wait: bool, tries: u32) -> Result<(), AmqpError> {
        let is_own = Declared::of(&spec.labels).exclusive;
        let mut creating = Creating {
            pending: Some(self.broker.create_queue(spec.clone())),
            created: None,
            broker: self.broker.clone(),
            is_own,
        };
        let registry = Arc::clone(&self.registry);
        let created = async move {
            let id = match (&mut creating).await {
                Err(ChangeError::Exists(_)) => return Ok(None),
                created => created?,
            };
            // Policies may have changed meanwhile.
            registry.settle_queue(id).await?;
            creating.is_handed_over();
            Ok(Some(id))
        };
        self.operate(number, QueueDeclare::ID, created, move |session, created| {
            // Another connection was faster: the queue is as it says.
            let Some(id) = created else { return session.declare(number, spec, no_wait, tries - 1) };
            if Declared::of(&spec.labels).exclusive {
                session.registry.own(id, session.id);
                session.own_queues.push(id);
            }
            session.declared_queue(number, id.into(), &spec.name, 0, no_wait);
            Ok(())
        });
        Ok(())
    }

    pub(super) fn declared_queue(
        &mut self,
        number: u16,
        source: Source,
        name: &str,
        message_count: u32,
        no_wait: bool,
    ) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.last_queue = Some(name.to_owned());
        }
        if !no_wait {
            let consumer_count = self.registry.consumers(source);
            let queue = ShortStr::cut(name);
            QueueDeclareOk { queue, message_count, consumer_count }.write(&mut self.said, number);
        }
    }

    fn queue_spec(&self, name: &str, method: &QueueDeclare<'_>) -> Result<QueueSpec, AmqpError> {
        let declared = declared_by(method);
        let lasts = method.durable && !method.exclusive;
        let own = arguments::settings(name, self.vhost(), method.arguments)?;
        let (settings, labels) = self.registry.policies.declare_queue(
            &self.catalog,
            (&self.namespace, name),
            method.arguments,
            (own, declared.labels()),
        );
        Ok(QueueSpec {
            namespace: self.namespace.clone(),
            durability: match lasts {
                false => Some(Durability::Os),
                // Those keep what is transient like all else. Source: RabbitMQ documentation, "Quorum Queues".
                true if is_quorum(method.arguments) => Some(Durability::Sync),
                true => None,
            },
            labels,
            ..QueueSpec::new(name, settings)
        })
    }

    /// # Errors
    /// `PreconditionFailed` if the queue was declared otherwise, as RabbitMQ words it.
    fn check_equivalent(&self, queue: &Queue, wanted: &Declared) -> Result<(), AmqpError> {
        let is = Declared::of(&queue.labels);
        let what = format!("queue '{}' in vhost '{}'", queue.name, self.vhost());
        if wanted.exclusive != is.exclusive {
            return Err(crate::registry::locked(queue));
        }
        let flags =
            [("durable", wanted.durable, is.durable), ("auto_delete", wanted.auto_delete, is.auto_delete)];
        for (name, received, current) in flags {
            if received != current {
                return Err(inequivalent(name, &what, &format!("'{received}'"), &format!("'{current}'")));
            }
        }
        for name in COMPARED {
            let (received, current) = (wanted.table().get(name), is.table().get(name));
            check_argument(name, &what, received, current)?;
        }
        Ok(())
    }

    /// Where a binding to a queue or stream leads, and its name.
    fn destination(&mut self, number: u16, name: ShortStr<'_>) -> Result<(Destination, String), AmqpError> {
        if let Some(topic) = self.stream_named(number, name)? {
            return Ok((Destination::Topic(topic.id), topic.name.clone()));
        }
        let queue = self.queue_named(number, name)?;
        Ok((Destination::Queue(queue.id), queue.name.clone()))
    }

    pub(super) fn bind_queue(&mut self, number: u16, method: &QueueBind<'_>) -> Result<(), AmqpError> {
        let (destination, name) = self.destination(number, method.queue)?;
        let exchange = self.exchange_to_bind(method.exchange)?;
        let key = bound_key(method.queue, method.routing_key, &name);
        let spec = binding(&exchange, destination, key, method.arguments)?;
        let no_wait = method.no_wait;
        let binding = self.broker.bind(spec);
        let bound = async move { Ok(binding.await?) };
        self.operate(number, QueueBind::ID, bound, move |session, _| {
            if !no_wait {
                QueueBindOk {}.write(&mut session.said, number);
            }
            Ok(())
        });
        Ok(())
    }

    pub(super) fn unbind_queue(&mut self, number: u16, method: &QueueUnbind<'_>) -> Result<(), AmqpError> {
        let found = match self.destination(number, method.queue) {
            Err(error) if error.code == ReplyCode::NotFound && !method.queue.is_empty() => None,
            found => Some(found?),
        };
        let (Some((destination, name)), Some(exchange)) = (found, self.exchange_to_unbind(method.exchange)?)
        else {
            QueueUnbindOk {}.write(&mut self.said, number);
            return Ok(());
        };
        let key = bound_key(method.queue, method.routing_key, &name);
        let spec = binding(&exchange, destination, key, method.arguments)?;
        let unbound = unbind(self.broker.clone(), exchange, spec);
        self.operate(number, QueueUnbind::ID, unbound, move |session, ()| {
            QueueUnbindOk {}.write(&mut session.said, number);
            Ok(())
        });
        Ok(())
    }

    pub(super) fn purge_queue(&mut self, number: u16, method: &QueuePurge<'_>) -> Result<(), AmqpError> {
        self.refuse_stream(number, method.queue, "queue.purge")?;
        let queue = self.queue_named(number, method.queue)?;
        let (broker, no_wait) = (self.broker.clone(), method.no_wait);
        let purging = async move {
            let ready = ready_in(&broker, queue.id).await?;
            broker.purge_unheld(queue.id).await?;
            Ok(ready)
        };
        self.operate(number, QueuePurge::ID, purging, move |session, message_count| {
            if !no_wait {
                QueuePurgeOk { message_count }.write(&mut session.said, number);
            }
            Ok(())
        });
        Ok(())
    }

    pub(super) fn delete_queue(&mut self, number: u16, method: &QueueDelete<'_>) -> Result<(), AmqpError> {
        if let Some(topic) = self.stream_named(number, method.queue)? {
            return self.delete_stream(number, method, &topic);
        }
        let no_wait = method.no_wait;
        let answer = move |session: &mut Self, message_count| {
            if !no_wait {
                QueueDeleteOk { message_count }.write(&mut session.said, number);
            }
        };
        let queue = match self.queue_named(number, method.queue) {
            Ok(queue) => queue,
            // What is not there need not be deleted. Source: RabbitMQ documentation, "AMQP 0-9-1 compliance".
            Err(error) if error.code == ReplyCode::NotFound && !method.queue.is_empty() => {
                answer(self, 0);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let what = format!("queue '{}' in vhost '{}'", queue.name, self.vhost());
        if method.if_unused && self.registry.consumers(queue.id.into()) > 0 {
            return Err(AmqpError::precondition(format_args!("{what} in use")));
        }
        let (broker, if_empty) = (self.broker.clone(), method.if_empty);
        let id = queue.id;
        let deleting = async move {
            let depth = broker.depth(id).await?;
            // What is in flight does not count. Source: RabbitMQ 3.10, observed.
            if if_empty && depth.available + depth.delayed > 0 {
                return Err(AmqpError::precondition(format_args!("{what} not empty")));
            }
            delete(&broker, id).await?;
            Ok(u32::try_from(depth.available).unwrap_or(u32::MAX))
        };
        self.operate(number, QueueDelete::ID, deleting, move |session, ready| {
            session.registry.disown(id.into());
            session.own_queues.retain(|own| *own != id);
            answer(session, ready);
            Ok(())
        });
        Ok(())
    }

    /// Deletes what belongs to this connection; what a crash keeps is deleted at the next start.
    pub(super) fn delete_own_queues(&mut self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let own = std::mem::take(&mut self.own_queues);
        own.iter().for_each(|id| self.registry.disown((*id).into()));
        let deleting: Vec<_> = own.into_iter().map(|id| delete(&self.broker, id)).collect();
        async move {
            for deleted in deleting {
                // Nobody is left to hear of it: the broker stops.
                let _ = deleted.await;
            }
        }
    }
}

/// # Errors
/// `AccessRefused` for a name that only the server gives out.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), AmqpError> {
    if !name.starts_with(RESERVED) {
        return Ok(());
    }
    Err(AmqpError::refused(format_args!("{what} name '{name}' contains reserved prefix '{RESERVED}*'")))
}

/// An empty key with an empty queue name is the name of the queue. Source: AMQP 0-9-1, `queue.bind`, field `routing-key`.
fn bound_key(named: ShortStr<'_>, key: ShortStr<'_>, queue: &str) -> Bytes {
    if named.is_empty() && key.is_empty() {
        return Bytes::copy_from_slice(queue.as_bytes());
    }
    Bytes::copy_from_slice(key.as_bytes())
}

/// A queue on its way. One that is its connection's own is deleted again if that ends before it hears of it: nobody else could.
struct Creating {
    pending: Option<Pending<Result<QueueId, ChangeError>>>,
    /// It is there, and not yet what it is to be.
    created: Option<QueueId>,
    broker: Session,
    is_own: bool,
}

impl Creating {
    fn is_handed_over(&mut self) {
        self.created = None;
    }
}

impl Future for Creating {
    type Output = Result<QueueId, ChangeError>;

    fn poll(mut self: Pin<&mut Self>, waiting: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &mut self.pending else { return Poll::Pending };
        let created = ready!(Pin::new(pending).poll(waiting));
        self.pending = None;
        self.created = created.as_ref().ok().copied();
        Poll::Ready(created)
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        let broker = self.broker.clone();
        if let Some(pending) = self.pending.take() {
            super::go_on_with(async move { delete(&broker, pending.await?).await });
        } else if let Some(id) = self.created {
            super::go_on_with(delete(&broker, id));
        }
    }
}

fn is_quorum(arguments: RawTable<'_>) -> bool {
    arguments.get("x-queue-type").and_then(ValueRef::as_str) == Some("quorum")
}

/// What a declaration says of a queue.
fn declared_by(method: &QueueDeclare<'_>) -> Declared {
    Declared {
        durable: method.durable,
        exclusive: method.exclusive,
        auto_delete: method.auto_delete,
        internal: false,
        delayed: false,
        arguments: method.arguments.as_bytes().to_vec(),
    }
}

/// Deletes a queue, and the exchanges that go with their last binding. It is on its way before it is waited for.
pub(crate) fn delete(
    broker: &Session,
    id: QueueId,
) -> impl Future<Output = Result<(), AmqpError>> + Send + 'static + use<> {
    let sources = sources_of(&broker.catalog(), Destination::Queue(id));
    let (deleting, broker) = (broker.delete_queue(id), broker.clone());
    async move {
        match deleting.await {
            Ok(()) | Err(ChangeError::NotFound(_)) => delete_if_unused(&broker, sources).await,
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) async fn unbind(
    broker: Session,
    exchange: Arc<Exchange>,
    spec: BindingSpec,
) -> Result<(), AmqpError> {
    // That it was not there is no error. Source: RabbitMQ documentation, "AMQP 0-9-1 compliance".
    broker.unbind(spec).await?;
    delete_if_unused(&broker, vec![exchange]).await
}

pub(super) fn inequivalent(name: &str, what: &str, received: &str, current: &str) -> AmqpError {
    AmqpError::precondition(format_args!(
        "inequivalent arg '{name}' for {what}: received {received} but current is {current}"
    ))
}

/// # Errors
/// `PreconditionFailed` unless both are the same. Types are told where they differ, as RabbitMQ does it.
pub(super) fn check_argument(
    name: &str,
    what: &str,
    received: Option<ValueRef<'_>>,
    current: Option<ValueRef<'_>>,
) -> Result<(), AmqpError> {
    let plain = |value: Option<ValueRef<'_>>| match (value?.as_integer(), value?.as_str()) {
        (Some(number), _) => Some((true, format!("'{number}'"))),
        (None, text) => text.map(|text| (false, format!("'{text}'"))),
    };
    if shown(received) == shown(current) {
        return Ok(());
    }
    Err(match (plain(received), plain(current)) {
        (Some((is_number, received)), Some((was_number, current))) if is_number == was_number => {
            inequivalent(name, what, &received, &current)
        }
        _ => inequivalent(name, what, &shown(received), &shown(current)),
    })
}

/// An argument as RabbitMQ shows it.
fn shown(value: Option<ValueRef<'_>>) -> String {
    let Some(value) = value else { return "none".to_owned() };
    if let Some(number) = value.as_integer() {
        return format!("the value '{number}' of type 'long'");
    }
    match (value.as_str(), value.as_bool()) {
        (Some(text), _) => format!("the value '{text}' of type 'longstr'"),
        (None, Some(is)) => format!("the value '{is}' of type 'bool'"),
        (None, None) => format!("the value '{value:?}'"),
    }
}
