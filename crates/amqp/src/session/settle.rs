//! Deliveries taken back: acknowledged, rejected, or given up with their channel.
//!
//! Settlements are gathered by queue and handed over once per input. Nobody waits for them: AMQP answers no acknowledgement, and
//! what is lost of them with a crash is delivered again.

use std::collections::BTreeMap;

use duolog_broker::Outcome;

use super::AmqpSession;
use super::channel::Unacknowledged;
use crate::codec::method::BasicRecoverOk;
use crate::error::AmqpError;

impl AmqpSession {
    /// With others of its queue, if it is of one.
    pub(super) fn settle(&mut self, it: &Unacknowledged, outcome: Outcome) {
        if let Some(lease) = it.lease {
            self.settles.entry(lease.queue).or_default().push((lease, outcome));
        }
    }

    pub(super) fn flush_settles(&mut self) {
        for (queue, outcomes) in std::mem::take(&mut self.settles) {
            drop(self.broker.settle(queue, outcomes));
        }
        self.leaving.clear();
    }

    /// `basic.ack`, `basic.nack`, `basic.reject`.
    pub(super) fn acknowledge(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) -> Result<(), AmqpError> {
        if outcome != Outcome::Ack {
            self.check_given_back(number, tag, multiple)?;
        }
        let channel = self.channel(number)?;
        let taken = if multiple {
            // Looked at before anything is taken: what is refused stays with the channel.
            let is_known =
                tag < channel.next_delivery && channel.unacknowledged.range(..=tag).next().is_some();
            if tag != 0 && !is_known {
                return Err(unknown(tag));
            }
            let rest = if tag == 0 {
                BTreeMap::new()
            } else {
                channel.unacknowledged.split_off(&tag.saturating_add(1))
            };
            std::mem::replace(&mut channel.unacknowledged, rest)
        } else {
            let taken = channel.unacknowledged.remove(&tag).ok_or_else(|| unknown(tag))?;
            self.settle_or_hold(number, tag, taken, outcome);
            return Ok(());
        };
        for (tag, it) in taken {
            self.settle_or_hold(number, tag, it, outcome);
        }
        Ok(())
    }

    /// # Errors
    /// `NotImplemented` if one of them is of a stream, to which nothing goes back. Source: RabbitMQ 3.10, observed.
    fn check_given_back(&mut self, number: u16, tag: u64, multiple: bool) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        let first = if multiple { 0 } else { tag };
        let last = if multiple && tag == 0 { u64::MAX } else { tag };
        let mut of_streams = channel.unacknowledged.range(first..=last).filter(|(_, it)| it.lease.is_none());
        let Some(serial) = of_streams.next().and_then(|(_, it)| it.consumer) else { return Ok(()) };
        let name = self.readers.get(&serial).map_or("", |it| it.topic.name.as_str());
        Err(AmqpError::not_implemented(format_args!(
            "basic.nack and basic.reject not supported by stream queues queue '{name}' in vhost '{}'",
            self.vhost()
        )))
    }

    /// At once, or with the transaction of the channel.
    fn settle_or_hold(&mut self, number: u16, tag: u64, it: Unacknowledged, outcome: Outcome) {
        let transaction = self.channels.get_mut(&number).and_then(|it| it.transaction.as_deref_mut());
        match transaction {
            Some(transaction) => transaction.settle(tag, it, outcome),
            None => self.settle_one(number, &it, outcome),
        }
    }

    fn settle_one(&mut self, number: u16, it: &Unacknowledged, outcome: Outcome) {
        self.settle(it, outcome);
        self.credit(it, number);
    }

    /// `basic.recover`: all go back to their places.
    pub(super) fn recover(&mut self, number: u16, requeue: bool, answer: bool) -> Result<(), AmqpError> {
        if !requeue {
            return Err(AmqpError::not_implemented("requeue=false"));
        }
        let taken = std::mem::take(&mut self.channel(number)?.unacknowledged);
        for it in taken.values() {
            self.settle_one(number, it, Outcome::Release { after_ms: 0 });
        }
        if answer {
            BasicRecoverOk {}.write(&mut self.said, number);
        }
        Ok(())
    }
}

fn unknown(tag: u64) -> AmqpError {
    AmqpError::precondition(format_args!("unknown delivery tag {tag}"))
}
