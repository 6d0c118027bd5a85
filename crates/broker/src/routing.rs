//! Exchanges and bindings: from an address to the topics that take the record.
//!
//! Place: beside the catalog, which holds them. A frontend resolves the address of what it publishes against the catalog that it
//! sees and hands the topics over with the record; so a binding holds for every publish after the answer to the one who made it, and
//! a publish sees each binding or not at all. What is compiled for looking up is compiled when first needed after a change.
//! Source: AMQP 0-9-1 specification, 2.1.2 and 3.1; RabbitMQ documentation, "Exchange to Exchange Bindings", "Alternate Exchanges".

mod compiled;
mod filter;
mod resolve;
mod rules;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use duolog_record::Timestamp;

pub(crate) use self::compiled::{Compiled, weight};
pub use self::filter::{Filter, Match};
pub use self::resolve::Router;
pub use self::rules::{Rules, RulesError, RulesOn, Seen};
use crate::catalog::DEFAULT_NAMESPACE;
use crate::{Labels, QueueId, TopicId};

/// Identity of an exchange; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Identity of a binding; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub u64);

/// How an exchange compares what is published with its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// The key of the binding is that of the record.
    Direct,
    /// All bindings whose filter takes the record.
    Fanout,
    /// The key of the binding is a pattern of tokens between dots: `*` is one, `#` any or none.
    Topic,
    /// The filter of the binding alone.
    Headers,
    /// One of the bindings, always the same for the same key, so that each destination gets a share. The key of a binding is
    /// its weight. Source: RabbitMQ consistent hash exchange plugin.
    ConsistentHash,
}

/// What a consistent-hash exchange goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The key.
    #[default]
    Key,
    /// The value of this header; records without it are one share.
    Header(Bytes),
}

/// A named routing point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Identity.
    pub id: ExchangeId,
    /// Namespace.
    pub namespace: String,
    /// Name, unique in its namespace among exchanges.
    pub name: String,
    /// How it compares.
    pub kind: ExchangeKind,
    /// What it goes by if it hashes.
    pub hash_on: HashOn,
    /// The exchange (by name, same namespace) that gets what no binding of this one takes; a missing one takes nothing.
    pub alternate: Option<String>,
    /// When it was declared.
    pub created_at: Timestamp,
    /// Opaque settings of frontends.
    pub labels: Labels,
}

/// An exchange to declare.
#[derive(Clone, Debug)]
pub struct ExchangeSpec {
    /// Namespace.
    pub namespace: String,
    /// Name: 1 to `limits::NAME_BYTES` bytes.
    pub name: String,
    /// How it compares.
    pub kind: ExchangeKind,
    /// What it goes by if it hashes.
    pub hash_on: HashOn,
    /// As in [`Exchange`].
    pub alternate: Option<String>,
    /// Opaque settings.
    pub labels: Labels,
}

impl ExchangeSpec {
    /// An exchange in the default namespace.
    #[must_use]
    pub fn new(name: &str, kind: ExchangeKind) -> Self {
        Self {
            namespace: DEFAULT_NAMESPACE.to_owned(),
            name: name.to_owned(),
            kind,
            hash_on: HashOn::Key,
            alternate: None,
            labels: Labels::new(),
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// To the topic that a queue reads.
    Queue(QueueId),
    /// To a topic.
    Topic(TopicId),
    /// To what the other exchange finds.
    Exchange(ExchangeId),
}

/// What a binding is, besides its identity: two that are the same in all of it are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingSpec {
    /// From where.
    pub source: ExchangeId,
    /// To where.
    pub destination: Destination,
    /// What the exchange compares the record's key with, at most `limits::BINDING_KEY_BYTES` bytes.
    pub key: Bytes,
    /// What the record must have besides.
    pub filter: Filter,
    /// Opaque settings of frontends.
    pub labels: Labels,
}

/// A way from an exchange to where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Identity.
    pub id: BindingId,
    /// All else.
    pub spec: BindingSpec,
}
