//! What a declaration said that the broker itself does not interpret: labels of queues, exchanges and bindings.
//!
//! What has none of them was declared elsewhere: it is durable, of nobody, and stays.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::routing::Exchange;
use duolog_broker::{Labels, Queue};

use crate::codec::{RawTable, ValueRef};
use crate::limits::QUEUE_MESSAGE_BYTES;
use crate::policies::{Definition, IN_FORCE};

/// What the names of all of them begin with.
const PREFIX: &str = "amqp.";
const TRANSIENT: &str = "amqp.transient";
const EXCLUSIVE: &str = "amqp.exclusive";
const AUTO_DELETE: &str = "amqp.auto-delete";
const INTERNAL: &str = "amqp.internal";
const DELAYED: &str = "amqp.delayed";
/// The argument of a queue. Source: RabbitMQ documentation, "Single Active Consumer".
pub(crate) const SINGLE_ACTIVE: &str = "x-single-active-consumer";
const ARGUMENTS: &str = "amqp.arguments";
/// A stream whose topic was there before it.
pub(crate) const TAKEN: &str = "amqp.taken";
/// What a stream has for its type. Source: RabbitMQ documentation, "Streams".
pub(crate) const STREAM: &str = "stream";

/// The flags of a declaration and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// It outlives the broker.
    pub durable: bool,
    /// It is its connection's own.
    pub exclusive: bool,
    /// It goes with its last user.
    pub auto_delete: bool,
    /// An exchange that nobody publishes to.
    pub internal: bool,
    /// An exchange that delays what says so.
    pub delayed: bool,
    /// The table, encoded, without its size.
    pub arguments: Vec<u8>,
}

impl Declared {
    pub(crate) fn labels(&self) -> Labels {
        let flags = [
            (TRANSIENT, !self.durable),
            (EXCLUSIVE, self.exclusive),
            (AUTO_DELETE, self.auto_delete),
            (INTERNAL, self.internal),
            (DELAYED, self.delayed),
        ];
        let mut labels: Labels = flags
            .into_iter()
            .filter(|it| it.1)
            .map(|(name, _)| (name.to_owned(), "true".to_owned()))
            .collect();
        if !self.arguments.is_empty() {
            labels.insert(ARGUMENTS.to_owned(), STANDARD.encode(&self.arguments));
        }
        labels
    }

    /// What the labels of a queue, an exchange or a binding say.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        Self {
            durable: !labels.contains_key(TRANSIENT),
            exclusive: labels.contains_key(EXCLUSIVE),
            auto_delete: labels.contains_key(AUTO_DELETE),
            internal: labels.contains_key(INTERNAL),
            delayed: labels.contains_key(DELAYED),
            arguments: labels.get(ARGUMENTS).and_then(|it| STANDARD.decode(it).ok()).unwrap_or_default(),
        }
    }

    /// What a declaration has said, or this frontend has noted of it.
    pub(crate) fn is_label(name: &str) -> bool {
        [TRANSIENT, EXCLUSIVE, AUTO_DELETE, INTERNAL, DELAYED, ARGUMENTS, TAKEN, IN_FORCE].contains(&name)
    }

    /// Without use for how many milliseconds a queue goes, by its arguments.
    fn expires_ms(&self) -> Option<u64> {
        self.table().get("x-expires")?.as_integer()?.try_into().ok()
    }

    /// The arguments; none if somebody has put nonsense into the label.
    #[must_use]
    pub fn table(&self) -> RawTable<'_> {
        RawTable::new(&self.arguments).unwrap_or_default()
    }
}

/// True for a queue that was declared here. A declaration that says nothing leaves no label, but its queue takes larger messages than
/// those of other protocols do.
pub(crate) fn is_ours(queue: &Queue) -> bool {
    queue.policy.message_bytes_max == QUEUE_MESSAGE_BYTES
        || queue.labels.range(PREFIX.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(PREFIX))
}

/// Without use for how many milliseconds a queue goes: the lesser of what its arguments and the policies say.
pub(crate) fn expires_ms(queue: &Queue) -> Option<u64> {
    let by_policy = Definition::of_label(queue.labels.get(IN_FORCE)).expires_ms();
    [Declared::of(&queue.labels).expires_ms(), by_policy].into_iter().flatten().min()
}

pub(crate) fn is_exclusive(queue: &Queue) -> bool {
    queue.labels.contains_key(EXCLUSIVE)
}

/// One of its consumers is active at a time.
pub(crate) fn is_single_active(queue: &Queue) -> bool {
    let declared = Declared::of(&queue.labels);
    declared.table().get(SINGLE_ACTIVE).and_then(ValueRef::as_bool) == Some(true)
}

pub(crate) fn is_auto_delete(labels: &Labels) -> bool {
    labels.contains_key(AUTO_DELETE)
}

pub(crate) fn is_internal(exchange: &Exchange) -> bool {
    exchange.labels.contains_key(INTERNAL)
}

pub(crate) fn is_delayed(exchange: &Exchange) -> bool {
    exchange.labels.contains_key(DELAYED)
}

/// It does not outlive the broker.
pub(crate) fn is_transient(labels: &Labels) -> bool {
    labels.contains_key(TRANSIENT) || labels.contains_key(EXCLUSIVE)
}
