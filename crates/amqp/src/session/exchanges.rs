//! Class `exchange`: declared, bound to one another, deleted.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{
    BindingSpec, Destination, Exchange, ExchangeKind, ExchangeSpec, Filter, HashOn, Match,
};
use duolog_broker::{Catalog, Labels, Session};

use super::AmqpSession;
use super::delayed::{DELAYED, DELAYED_TYPE};
use super::queues::{check_argument, check_name, inequivalent, unbind};
use crate::codec::method::{
    ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk,
    ExchangeUnbind, ExchangeUnbindOk,
};
use crate::codec::{RawTable, ReplyCode, ShortStr, ValueRef};
use crate::convert::{self, Copying};
use crate::error::AmqpError;
use crate::labels::{self, Declared};

const ALTERNATE: &str = "alternate-exchange";

fn kind_of(name: &str) -> Option<ExchangeKind> {
    Some(match name {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "topic" => ExchangeKind::Topic,
        "headers" => ExchangeKind::Headers,
        "x-consistent-hash" => ExchangeKind::ConsistentHash,
        _ => return None,
    })
}

/// The type of an exchange, as it was declared.
fn type_of(kind: ExchangeKind, is_delayed: bool) -> &'static str {
    if is_delayed { DELAYED } else { kind_name(kind) }
}

/// The type of an exchange, as AMQP names it.
#[must_use]
pub fn exchange_type(exchange: &Exchange) -> &'static str {
    type_of(exchange.kind, labels::is_delayed(exchange))
}

/// How an exchange routes that a method declares.
fn kind_by(method: &ExchangeDeclare<'_>) -> Result<ExchangeKind, AmqpError> {
    let name = method.kind.as_str().unwrap_or_default();
    if name != DELAYED {
        return kind_of(name).ok_or_else(|| {
            AmqpError::new(ReplyCode::CommandInvalid, format_args!("unknown exchange type '{name}'"))
        });
    }
    let argument = method.arguments.get(DELAYED_TYPE).and_then(ValueRef::as_str);
    argument.and_then(kind_of).ok_or_else(|| {
        let text = format!("Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type");
        AmqpError::precondition(text)
    })
}

fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Headers => "headers",
        ExchangeKind::ConsistentHash => "x-consistent-hash",
    }
}

impl AmqpSession {
    pub(super) fn no_exchange(&self, name: &str) -> AmqpError {
        AmqpError::not_found(format_args!("no exchange '{name}' in vhost '{}'", self.vhost()))
    }

    fn exchange_named(&self, name: ShortStr<'_>) -> Result<Arc<Exchange>, AmqpError> {
        let name = name.as_str().unwrap_or_default();
        self.catalog.exchange(&self.namespace, name).cloned().ok_or_else(|| self.no_exchange(name))
    }

    /// The same; the default exchange has its bindings by itself.
    pub(super) fn exchange_to_bind(&self, name: ShortStr<'_>) -> Result<Arc<Exchange>, AmqpError> {
        if name.is_empty() {
            return Err(AmqpError::refused("operation not permitted on the default exchange"));
        }
        self.exchange_named(name)
    }

    /// The same; from what is not there nothing leads anywhere. Source: RabbitMQ documentation, "AMQP 0-9-1 compliance".
    pub(super) fn exchange_to_unbind(&self, name: ShortStr<'_>) -> Result<Option<Arc<Exchange>>, AmqpError> {
        match self.exchange_to_bind(name) {
            Err(error) if error.code == ReplyCode::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    pub(super) fn declare_exchange(
        &mut self,
        number: u16,
        method: &ExchangeDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let name = method.exchange.as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(AmqpError::refused("operation not permitted on the default exchange"));
        }
        if method.passive {
            self.exchange_named(method.exchange)?;
            self.declared_exchange(number, method.no_wait);
            return Ok(());
        }
        let kind = kind_by(method)?;
        if let Some(exchange) = self.catalog.exchange(&self.namespace, name).cloned() {
            self.check_same(&exchange, kind, &declared_by(method))?;
            self.declared_exchange(number, method.no_wait);
            return Ok(());
        }
        check_name("exchange", name)?;
        let spec = self.exchange_spec(name, kind, method)?;
        let (name, declared, no_wait) = (name.to_owned(), declared_by(method), method.no_wait);
        let (creating, registry) = (self.broker.create_exchange(spec), Arc::clone(&self.registry));
        let created = async move {
            match creating.await {
                Ok(id) => {
                    // Policies may have changed meanwhile.
                    registry.settle_exchange(id).await?;
                    Ok(true)
                }
                Err(ChangeError::Exists(_)) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        self.operate(number, ExchangeDeclare::ID, created, move |session, is_new| {
            // Another connection was faster, if it is not new.
            if !is_new && let Some(exchange) = session.catalog.exchange(&session.namespace, &name) {
                session.check_same(exchange, kind, &declared)?;
            }
            session.declared_exchange(number, no_wait);
            Ok(())
        });
        Ok(())
    }

    fn declared_exchange(&mut self, number: u16, no_wait: bool) {
        if !no_wait {
            ExchangeDeclareOk {}.write(&mut self.said, number);
        }
    }

    fn exchange_spec(
        &self,
        name: &str,
        kind: ExchangeKind,
        method: &ExchangeDeclare<'_>,
    ) -> Result<ExchangeSpec, AmqpError> {
        let alternate = match method.arguments.get(ALTERNATE) {
            None => None,
            Some(value) => Some(value.as_str().ok_or_else(|| {
                let text = format!(
                    "invalid arg '{ALTERNATE}' for exchange '{name}' in vhost '{}': it is no string",
                    self.vhost()
                );
                AmqpError::precondition(text)
            })?),
        };
        if method.arguments.get("hash-property").is_some() {
            return Err(AmqpError::unsupported("exchange argument 'hash-property'"));
        }
        let hash_header = method.arguments.get("hash-header").and_then(ValueRef::as_str);
        let own = (alternate.map(str::to_owned), declared_by(method).labels());
        let (alternate, labels) =
            self.registry.policies.declare_exchange(&self.catalog, (&self.namespace, name), own);
        Ok(ExchangeSpec {
            namespace: self.namespace.clone(),
            alternate,
            hash_on: hash_header
                .map_or(HashOn::Key, |name| HashOn::Header(Bytes::copy_from_slice(name.as_bytes()))),
            labels,
            ..ExchangeSpec::new(name, kind)
        })
    }

    fn check_same(
        &self,
        exchange: &Exchange,
        kind: ExchangeKind,
        wanted: &Declared,
    ) -> Result<(), AmqpError> {
        let is = Declared::of(&exchange.labels);
        let what = format!("exchange '{}' in vhost '{}'", exchange.name, self.vhost());
        let types = [
            ("type", type_of(kind, wanted.delayed), type_of(exchange.kind, is.delayed)),
            (DELAYED_TYPE, kind_name(kind), kind_name(exchange.kind)),
        ];
        for (name, received, current) in types {
            if received != current {
                return Err(inequivalent(name, &what, &format!("'{received}'"), &format!("'{current}'")));
            }
        }
        let flags = [
            ("durable", wanted.durable, is.durable),
            ("auto_delete", wanted.auto_delete, is.auto_delete),
            ("internal", wanted.internal, is.internal),
        ];
        for (name, received, current) in flags {
            if received != current {
                return Err(inequivalent(name, &what, &format!("'{received}'"), &format!("'{current}'")));
            }
        }
        let (received, current) = (wanted.table().get(ALTERNATE), is.table().get(ALTERNATE));
        check_argument(ALTERNATE, &what, received, current)
    }

    pub(super) fn delete_exchange(
        &mut self,
        number: u16,
        method: &ExchangeDelete<'_>,
    ) -> Result<(), AmqpError> {
        let name = method.exchange.as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(AmqpError::refused("operation not permitted on the default exchange"));
        }
        check_name("exchange", name)?;
        let no_wait = method.no_wait;
        let answer = move |session: &mut Self| {
            if !no_wait {
                ExchangeDeleteOk {}.write(&mut session.said, number);
            }
        };
        let Ok(exchange) = self.exchange_named(method.exchange) else {
            // What is not there need not be deleted. Source: RabbitMQ documentation, "AMQP 0-9-1 compliance".
            answer(self);
            return Ok(());
        };
        let what = format!("exchange '{name}' in vhost '{}'", self.vhost());
        let (broker, if_unused) = (self.broker.clone(), method.if_unused);
        let deleting = async move {
            let sources = sources_of(&broker.catalog(), Destination::Exchange(exchange.id));
            match broker.delete_exchange(exchange.id, if_unused).await {
                Ok(()) | Err(ChangeError::NotFound(_)) => delete_if_unused(&broker, sources).await,
                Err(ChangeError::InUse(_)) => Err(AmqpError::precondition(format_args!("{what} in use"))),
                Err(error) => Err(error.into()),
            }
        };
        self.operate(number, ExchangeDelete::ID, deleting, move |session, ()| {
            answer(session);
            Ok(())
        });
        Ok(())
    }

    pub(super) fn bind_exchange(&mut self, number: u16, method: &ExchangeBind<'_>) -> Result<(), AmqpError> {
        let destination = self.exchange_to_bind(method.destination)?;
        let source = self.exchange_to_bind(method.source)?;
        let key = Bytes::copy_from_slice(method.routing_key.as_bytes());
        let spec = binding(&source, Destination::Exchange(destination.id), key, method.arguments)?;
        let (binding, no_wait) = (self.broker.bind(spec), method.no_wait);
        let bound = async move { Ok(binding.await?) };
        self.operate(number, ExchangeBind::ID, bound, move |session, _| {
            if !no_wait {
                ExchangeBindOk {}.write(&mut session.said, number);
            }
            Ok(())
        });
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        number: u16,
        method: &ExchangeUnbind<'_>,
    ) -> Result<(), AmqpError> {
        let (destination, source) =
            (self.exchange_to_unbind(method.destination)?, self.exchange_to_unbind(method.source)?);
        let no_wait = method.no_wait;
        let (Some(destination), Some(source)) = (destination, source) else {
            if !no_wait {
                ExchangeUnbindOk {}.write(&mut self.said, number);
            }
            return Ok(());
        };
        let key = Bytes::copy_from_slice(method.routing_key.as_bytes());
        let spec = binding(&source, Destination::Exchange(destination.id), key, method.arguments)?;
        let unbound = unbind(self.broker.clone(), source, spec);
        self.operate(number, ExchangeUnbind::ID, unbound, move |session, ()| {
            if !no_wait {
                ExchangeUnbindOk {}.write(&mut session.said, number);
            }
            Ok(())
        });
        Ok(())
    }
}

/// What a declaration says of an exchange.
fn declared_by(method: &ExchangeDeclare<'_>) -> Declared {
    Declared {
        durable: method.durable,
        exclusive: false,
        auto_delete: method.auto_delete,
        internal: method.internal,
        delayed: method.kind == DELAYED,
        arguments: method.arguments.as_bytes().to_vec(),
    }
}

/// A binding as a method asks for it. Its arguments are part of what it is.
pub(super) fn binding(
    source: &Exchange,
    destination: Destination,
    key: Bytes,
    arguments: RawTable<'_>,
) -> Result<BindingSpec, AmqpError> {
    let filter = match source.kind {
        ExchangeKind::Headers => filter(arguments)?,
        ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic | ExchangeKind::ConsistentHash => {
            Filter::All
        }
    };
    let declared =
        Declared { durable: true, arguments: arguments.as_bytes().to_vec(), ..Declared::default() };
    let labels = if arguments.is_empty() { Labels::new() } else { declared.labels() };
    Ok(BindingSpec { source: source.id, destination, key, filter, labels })
}

/// Source: RabbitMQ documentation, "Headers exchange": names that begin with `x-` do not count unless `x-match` says so.
fn filter(arguments: RawTable<'_>) -> Result<Filter, AmqpError> {
    let mode = arguments.get("x-match").map(|value| value.as_str().unwrap_or_default());
    let (is_every, with_x) = match mode {
        None | Some("all") => (true, false),
        Some("any") => (false, false),
        Some("all-with-x") => (true, true),
        Some("any-with-x") => (false, true),
        Some(other) => {
            let text =
                format!("Invalid x-match field value {other}; expected all, any, all-with-x, or any-with-x");
            return Err(AmqpError::precondition(text));
        }
    };
    let matches = arguments
        .iter()
        .filter(|(name, _)| *name != "x-match" && (with_x || !name.as_bytes().starts_with(b"x-")))
        .map(|(name, value)| Match {
            name: Bytes::copy_from_slice(name.as_bytes()),
            value: convert::header_value(value, &Copying).0,
        })
        .collect();
    Ok(if is_every { Filter::Every(matches) } else { Filter::Some(matches) })
}

/// The exchanges from which something leads here.
pub(super) fn sources_of(catalog: &Catalog, destination: Destination) -> Vec<Arc<Exchange>> {
    let sources = catalog.bindings_to(destination).filter_map(|it| catalog.exchange_by_id(it.spec.source));
    sources.cloned().collect()
}

/// Deletes those that were to go with their last binding.
pub(super) async fn delete_if_unused(
    broker: &Session,
    exchanges: Vec<Arc<Exchange>>,
) -> Result<(), AmqpError> {
    let mut exchanges: Vec<_> =
        exchanges.into_iter().filter(|it| labels::is_auto_delete(&it.labels)).collect();
    while let Some(exchange) = exchanges.pop() {
        let sources = sources_of(&broker.catalog(), Destination::Exchange(exchange.id));
        match broker.delete_exchange(exchange.id, true).await {
            Ok(()) => exchanges.extend(sources.into_iter().filter(|it| labels::is_auto_delete(&it.labels))),
            Err(ChangeError::InUse(_) | ChangeError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
