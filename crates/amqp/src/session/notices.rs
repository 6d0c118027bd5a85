//! What a client hears without having asked: that it is held up as a publisher, that a queue or the virtual host has gone.
//!
//! Source: RabbitMQ documentation, "Blocked Connection Notifications": only who publishes is told, and with which words; "Consumer
//! Cancel Notification".

use std::sync::atomic::Ordering;
use std::task::Context;

use duolog_broker::catalog::DEFAULT_NAMESPACE;

use super::AmqpSession;
use super::consume::Consumer;
use crate::codec::method::{BasicPublish, ConnectionBlocked, ConnectionUnblocked};
use crate::codec::{MethodId, ReplyCode, ShortStr};
use crate::error::AmqpError;
use crate::vhosts;

impl AmqpSession {
    /// Tells of what has changed.
    pub(super) fn tell_of_changes(&mut self, waiting: &mut Context<'_>) {
        self.bell.waker.register(waiting.waker());
        self.look_at_vhost();
        if self.bell.queue_gone.swap(false, Ordering::AcqRel) {
            self.look_at_queues();
        }
        if !self.hears_blocked || !self.has_published || self.stage != super::Stage::Running {
            return;
        }
        let reason = match (self.registry.is_disk_low(), self.waits_for_memory()) {
            (true, _) => Some("low on disk"),
            (false, true) => Some("low on memory"),
            (false, false) => None,
        };
        if reason.is_some() == self.is_blocked {
            return;
        }
        self.is_blocked = reason.is_some();
        match reason {
            Some(reason) => {
                ConnectionBlocked { reason: ShortStr::cut(reason) }.write(&mut self.said, 0);
            }
            None => ConnectionUnblocked {}.write(&mut self.said, 0),
        }
    }

    /// Cancels the consumers of queues that have gone: those that have no credit are not told of it by the broker.
    pub(super) fn look_at_queues(&mut self) {
        let catalog = self.broker.catalog();
        let is_gone = |it: &Consumer| catalog.queue_by_id(it.queue.id).is_none();
        let gone: Vec<u64> =
            self.consumers.iter().filter(|(_, it)| is_gone(it)).map(|(serial, _)| *serial).collect();
        let gone = gone.into_iter().chain(self.readers_left_behind());
        gone.collect::<Vec<_>>().into_iter().for_each(|serial| self.cancel_by_server(serial));
    }

    /// Closes the connection if its virtual host is deleted.
    fn look_at_vhost(&mut self) {
        if self.stage != super::Stage::Running
            || self.namespace == DEFAULT_NAMESPACE
            || vhosts::is_there(&self.broker.catalog(), &self.namespace)
        {
            return;
        }
        let text = format!("vhost '{}' is down", self.namespace);
        self.fail(0, MethodId::NONE, &AmqpError::new(ReplyCode::ConnectionForced, text));
    }

    /// A large message waits until there is room for it.
    fn waits_for_memory(&self) -> bool {
        self.operation.as_ref().is_some_and(|it| it.method == BasicPublish::ID)
    }
}
