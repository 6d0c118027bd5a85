//! Heartbeats both ways, the time for the handshake, and that for the last words.
//!
//! Source: AMQP 0-9-1, 4.2.7; RabbitMQ documentation, "Detecting Dead TCP Connections with Heartbeats".

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::{AmqpSession, Stage};
use crate::codec::method::BasicPublish;
use crate::codec::{ReplyCode, write_heartbeat};
use crate::error::AmqpError;
use crate::limits::{BODY_PATIENCE, CLOSE_OK};

/// Looks in one interval: one of each two has nothing to say.
const LOOKS: u32 = 2;
/// Intervals without a word after which a client is gone.
const PATIENCE: u32 = 2;
/// How often deliveries are looked at that nobody acknowledges, where there are no heartbeats.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// What a session waits for by time.
pub(super) struct Timers {
    /// The handshake or the last words are overdue then.
    deadline: Option<Pin<Box<Sleep>>>,
    look: Option<Pin<Box<Sleep>>>,
    /// Agreed on; zero is none.
    heartbeat: Duration,
    has_said: bool,
    /// Looks since the client was heard.
    silent: u32,
}

impl Timers {
    pub(super) fn new(handshake: Duration) -> Self {
        let deadline = Some(Box::pin(sleep(handshake)));
        Self { deadline, look: None, heartbeat: Duration::ZERO, has_said: false, silent: 0 }
    }

    /// The connection is open.
    pub(super) fn opened(&mut self) {
        self.deadline = None;
    }

    /// The heartbeat is agreed on.
    pub(super) fn begin(&mut self, heartbeat_s: u16) {
        self.heartbeat = Duration::from_secs(heartbeat_s.into());
        self.look = Some(Box::pin(sleep(self.interval())));
    }

    pub(super) fn await_close_ok(&mut self) {
        self.look = None;
        self.deadline = Some(Box::pin(sleep(CLOSE_OK)));
    }

    pub(super) fn hear(&mut self) {
        self.silent = 0;
    }

    pub(super) fn say(&mut self) {
        self.has_said = true;
    }

    fn interval(&self) -> Duration {
        if self.heartbeat.is_zero() { IDLE_LOOK } else { self.heartbeat / LOOKS }
    }

    fn poll_look(&mut self, waiting: &mut Context<'_>) -> bool {
        let Some(look) = &mut self.look else { return false };
        if look.as_mut().poll(waiting).is_pending() {
            return false;
        }
        self.look = Some(Box::pin(sleep(self.interval())));
        true
    }

    fn is_overdue(&mut self, waiting: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(waiting).is_ready())
    }
}

impl AmqpSession {
    pub(super) fn poll_timers(&mut self, waiting: &mut Context<'_>) {
        if self.timers.is_overdue(waiting) {
            self.timers.deadline = None;
            self.stage = Stage::Over;
        }
        while self.timers.poll_look(waiting) {
            self.look_at_heartbeats();
            self.look_at_unacknowledged();
            self.look_at_bodies();
            // Another protocol may have deleted them.
            self.look_at_queues();
        }
    }

    fn look_at_heartbeats(&mut self) {
        if self.timers.heartbeat.is_zero() {
            return;
        }
        // What it does not read says nothing about the client.
        self.timers.silent = if self.is_held() { 0 } else { self.timers.silent + 1 };
        if self.timers.silent > LOOKS * PATIENCE {
            tracing::info!(connection = self.id, peer = %self.peer, "missed heartbeats from client");
            self.leave_behind();
            self.stage = Stage::Over;
        } else if !std::mem::take(&mut self.timers.has_said) {
            write_heartbeat(&mut self.said);
        }
    }

    /// Closes the connection of a client that began a large message and sends no more of it: memory is held for it.
    fn look_at_bodies(&mut self) {
        let now = self.broker.clock().now().monotonic;
        let is_stuck = |it: &super::Channel| it.publishing.as_ref().is_some_and(|it| it.is_stuck(now));
        if let Some(number) = self.channels.values().find(|it| is_stuck(it)).map(|it| it.number) {
            let text = format!("nothing of a message's body has come for {} s", BODY_PATIENCE.as_secs());
            self.fail(number, BasicPublish::ID, &AmqpError::new(ReplyCode::ResourceError, text));
        }
    }

    /// Closes channels whose deliveries nobody acknowledges in time.
    fn look_at_unacknowledged(&mut self) {
        let timeout = self.registry.options().consumer_timeout;
        let now = self.broker.clock().now().monotonic;
        let is_late = |since: duolog_broker::Monotonic| Duration::from_millis(now.ms_since(since)) > timeout;
        let late: Vec<u16> = self
            .channels
            .values()
            .filter(|channel| channel.oldest_unacknowledged().is_some_and(is_late))
            .map(|channel| channel.number)
            .collect();
        for channel in late {
            let text = format!(
                "delivery acknowledgement on channel {channel} timed out. Timeout value used: {} ms. This timeout value can be \
                 configured, see consumers doc guide to learn more",
                timeout.as_millis()
            );
            self.fail(channel, crate::codec::MethodId::NONE, &AmqpError::precondition(text));
        }
    }
}
