//! The arguments of a queue's declaration, as settings of the broker.
//!
//! Adding one: its field in [`settings`], its name in `COMPARED` of `session/queues.rs`, its row in docs/amqp.md.
//! Source: RabbitMQ documentation, "Queues", "Optional Arguments"; RabbitMQ 3.10, observed, for what is refused.

use bytes::Bytes;
use duolog_broker::{DeadLetter, Overflow, QueuePolicy};

use crate::codec::{RawTable, ValueRef};
use crate::error::AmqpError;
use crate::labels::SINGLE_ACTIVE;
use crate::limits::{QUEUE_EXPIRES_MS, QUEUE_MESSAGE_BYTES};

/// What happens to messages that are too many.
pub(crate) const OVERFLOWS: [&str; 3] = ["drop-head", "reject-publish", "reject-publish-dlx"];
/// How sure dead letters are to arrive: here always at least once.
pub(crate) const STRATEGIES: [&str; 2] = ["at-most-once", "at-least-once"];
/// Arguments of streams, which other queues have not.
const OF_STREAMS: [&str; 4] =
    ["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-stream-offset"];

/// What is to become of messages that are too many, by its name.
pub(crate) fn overflow_of(name: &str) -> Option<Overflow> {
    match name {
        "drop-head" => Some(Overflow::DropHead),
        "reject-publish" => Some(Overflow::Reject),
        "reject-publish-dlx" => Some(Overflow::RejectDeadLetter),
        _ => None,
    }
}

/// A time to live: 0 is a millisecond.
pub(crate) fn ttl_of(ms: u64) -> u64 {
    ms.max(1)
}

/// How often a message may be delivered, by how often it may be delivered again.
pub(crate) fn attempts_of(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1)
}

/// The arguments of the queue that is declared.
struct Reading<'a> {
    queue: &'a str,
    vhost: &'a str,
    arguments: RawTable<'a>,
}

impl<'a> Reading<'a> {
    fn invalid(&self, argument: &str, why: &str) -> AmqpError {
        let (queue, vhost) = (self.queue, self.vhost);
        AmqpError::precondition(format_args!(
            "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}': {why}"
        ))
    }

    fn whole(&self, argument: &str) -> Result<Option<u64>, AmqpError> {
        match self.arguments.get(argument) {
            None => Ok(None),
            Some(value) => match value.as_integer().map(u64::try_from) {
                Some(Ok(number)) => Ok(Some(number)),
                Some(Err(_)) => Err(self.invalid(argument, "it is negative")),
                None => Err(self.invalid(argument, "it is no whole number")),
            },
        }
    }

    /// A text; the empty one where it is none.
    fn text(&self, argument: &str) -> Option<&'a str> {
        self.arguments.get(argument).map(|value| value.as_str().unwrap_or_default())
    }

    fn check_supported(&self) -> Result<(), AmqpError> {
        for argument in OF_STREAMS {
            if self.arguments.get(argument).is_some() {
                return Err(self.invalid(argument, "it is of queues of type stream"));
            }
        }
        if self.arguments.get(SINGLE_ACTIVE).is_some_and(|value| value.as_bool().is_none()) {
            return Err(self.invalid(SINGLE_ACTIVE, "it is true or false"));
        }
        match self.text("x-queue-type") {
            None | Some("classic" | "quorum") => Ok(()),
            Some(_) => {
                Err(self.invalid("x-queue-type", "there are queues of type classic, quorum and stream"))
            }
        }
    }

    fn check_expiry(&self) -> Result<(), AmqpError> {
        if matches!(self.whole("x-expires")?, None | Some(1..=QUEUE_EXPIRES_MS)) {
            return Ok(());
        }
        let why = format!("it is a number of milliseconds from 1 to {QUEUE_EXPIRES_MS}");
        Err(self.invalid("x-expires", &why))
    }

    fn dead_letter(&self) -> Result<Option<DeadLetter>, AmqpError> {
        if self.text("x-dead-letter-strategy").is_some_and(|it| !STRATEGIES.contains(&it)) {
            return Err(self.invalid("x-dead-letter-strategy", "it is at-most-once or at-least-once"));
        }
        let exchange = self.text("x-dead-letter-exchange");
        let key = self.arguments.get("x-dead-letter-routing-key").and_then(ValueRef::as_str);
        if exchange.is_none() && key.is_some() {
            return Err(self.invalid("x-dead-letter-routing-key", "there is no x-dead-letter-exchange"));
        }
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        Ok(exchange.map(|name| DeadLetter::Exchange { name: name.to_owned(), key }))
    }

    fn overflow(&self) -> Result<Overflow, AmqpError> {
        let Some(name) = self.text("x-overflow") else { return Ok(Overflow::DropHead) };
        let why = "it is drop-head, reject-publish or reject-publish-dlx";
        overflow_of(name).ok_or_else(|| self.invalid("x-overflow", why))
    }

    fn priority_max(&self) -> Result<Option<u8>, AmqpError> {
        let most = self.whole("x-max-priority")?.filter(|most| *most > 0);
        let most = most.map(u8::try_from).transpose();
        most.map_err(|_| self.invalid("x-max-priority", "it is at most 255"))
    }
}

/// What the arguments of a declaration ask for.
///
/// # Errors
/// `PreconditionFailed`, with what is wrong.
pub(crate) fn settings(queue: &str, vhost: &str, arguments: RawTable<'_>) -> Result<QueuePolicy, AmqpError> {
    let given = Reading { queue, vhost, arguments };
    given.check_supported()?;
    given.check_expiry()?;
    Ok(QueuePolicy {
        message_ttl_ms: given.whole("x-message-ttl")?.map(ttl_of),
        attempts_max: given.whole("x-delivery-limit")?.map(attempts_of),
        dead_letter: given.dead_letter()?,
        overflow: given.overflow()?,
        priority_max: given.priority_max()?,
        length_max: given.whole("x-max-length")?,
        length_bytes_max: given.whole("x-max-length-bytes")?,
        message_bytes_max: QUEUE_MESSAGE_BYTES,
        ..QueuePolicy::default()
    })
}
