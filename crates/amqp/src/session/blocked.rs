//! `connection.blocked`: a publisher that wants to know hears that it is held up, and when it may go on.
//!
//! Source: RabbitMQ documentation, "Blocked Connection Notifications": only who publishes is told, and with which words.

use std::task::Context;

use super::AmqpSession;
use crate::codec::ShortStr;
use crate::codec::method::{BasicPublish, ConnectionBlocked, ConnectionUnblocked};

impl AmqpSession {
    /// Tells of what has changed.
    pub(super) fn tell_of_alarms(&mut self, waiting: &mut Context<'_>) {
        if !self.hears_blocked || !self.has_published || self.stage != super::Stage::Running {
            return;
        }
        self.waker.register(waiting.waker());
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

    /// A large message waits until there is room for it.
    fn waits_for_memory(&self) -> bool {
        self.operation.as_ref().is_some_and(|it| it.method == BasicPublish::ID)
    }
}
