//! Direct reply-to on a connection: who asks, who answers.
//!
//! Source: RabbitMQ documentation, "Direct Reply-to"; `rabbit_channel` for what fails how.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use bytes::Bytes;

use super::AmqpSession;
use crate::codec::method::{BasicConsume, BasicConsumeOk, BasicDeliver, QueueDeclare, QueueDeclareOk};
use crate::codec::{Properties, ShortStr, ShortString, write_deliver};
use crate::error::AmqpError;
use crate::replies::{ADDRESSES, REPLY_TO};

/// A channel that can be answered.
pub(super) struct Replies {
    pub(super) tag: ShortString,
    /// Where its answers are sent.
    address: String,
}

/// True for the queue that is none, and for the addresses of those who consume from it.
pub(super) fn is_reply_to(queue: ShortStr<'_>) -> bool {
    queue == REPLY_TO || queue.as_bytes().starts_with(ADDRESSES.as_bytes())
}

impl AmqpSession {
    pub(super) fn consume_replies(
        &mut self,
        number: u16,
        method: &BasicConsume<'_>,
        tag: ShortString,
    ) -> Result<(), AmqpError> {
        if !method.no_ack {
            return Err(AmqpError::precondition("reply consumer cannot acknowledge"));
        }
        let address = self.registry.new_name(ADDRESSES);
        let mailbox = Arc::clone(&self.mailbox);
        let channel = self.channel(number)?;
        if channel.replies.is_some() {
            return Err(AmqpError::precondition("reply consumer already set"));
        }
        let it = (number, channel.serial);
        channel.replies = Some(Replies { tag: tag.clone(), address: address.clone() });
        self.registry.addresses.enter(&address, &mailbox, it);
        if !method.no_wait {
            BasicConsumeOk { consumer_tag: tag.as_short() }.write(&mut self.said, number);
        }
        Ok(())
    }

    /// The channel is answered no more.
    pub(super) fn leave_replies(&mut self, number: u16) {
        let replies = self.channels.get_mut(&number).and_then(|it| it.replies.take());
        if let Some(replies) = replies {
            self.registry.addresses.leave(&replies.address);
        }
    }

    /// `queue.declare` of an address tells whether somebody waits there.
    pub(super) fn declare_replies(
        &mut self,
        number: u16,
        method: &QueueDeclare<'_>,
    ) -> Result<(), AmqpError> {
        if method.queue != REPLY_TO && !self.registry.addresses.is_known(method.queue.as_bytes()) {
            let name = String::from_utf8_lossy(method.queue.as_bytes());
            return Err(AmqpError::not_found(format_args!("no queue '{name}' in vhost '{}'", self.vhost())));
        }
        self.channel(number)?;
        if !method.no_wait {
            let (message_count, consumer_count) = (0, 1);
            QueueDeclareOk { queue: method.queue, message_count, consumer_count }
                .write(&mut self.said, number);
        }
        Ok(())
    }

    /// The properties of a message whose sender wants to be answered directly, with its address in them; `None` of any other.
    ///
    /// # Errors
    /// `PreconditionFailed` if the channel does not listen.
    pub(super) fn with_address(
        &mut self,
        number: u16,
        properties: &Properties<'_>,
    ) -> Result<Option<Bytes>, AmqpError> {
        if properties.reply_to.is_none_or(|to| to != REPLY_TO) {
            return Ok(None);
        }
        let Some(replies) = &self.channel(number)?.replies else {
            return Err(AmqpError::precondition("fast reply consumer does not exist"));
        };
        let mut encoded = Vec::new();
        Properties { reply_to: Some(ShortStr::cut(&replies.address)), ..*properties }.encode(&mut encoded);
        Ok(Some(encoded.into()))
    }

    /// Writes answers that have come, as far as there is room.
    pub(super) fn write_replies(&mut self, waiting: &mut Context<'_>, out: &mut Vec<u8>, room: usize) {
        let mut written = 0;
        while out.len() < room
            && let Some(reply) = self.mailbox.take(waiting)
        {
            let asker = self.channels.get_mut(&reply.channel).filter(|it| it.serial == reply.serial);
            let Some(channel) = asker.filter(|it| !it.is_closing) else { continue };
            let Some(tag) = channel.replies.as_ref().map(|it| it.tag.clone()) else { continue };
            let deliver = BasicDeliver {
                consumer_tag: tag.as_short(),
                delivery_tag: channel.deliver(None),
                redelivered: false,
                exchange: ShortStr::new(&reply.exchange).unwrap_or_default(),
                routing_key: ShortStr::new(&reply.key).unwrap_or_default(),
            };
            write_deliver(out, channel.number, &deliver, &reply.properties, &reply.body, self.frame_max);
            written += 1;
        }
        if written > 0 {
            self.registry.counts.messages_out.fetch_add(written, Ordering::Relaxed);
        }
    }
}
