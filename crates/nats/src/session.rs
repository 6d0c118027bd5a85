//! One connection: bytes in, bytes out, nothing that waits.
//!
//! What is published goes to the broker's publisher as slices of the input and is flushed once per input. What the connection
//! itself has to say (`+OK`, `PONG`, `-ERR`) goes behind what it has been sent before, through the listener's outbox, so
//! that a PONG proves that all before it has been heard; until it listens to anything, it is written as it comes.
//! Adding a command: its arm in `commands.rs`, its form in `codec/parser.rs`.

mod captures;
mod commands;
mod output;
mod pinger;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use duolog_broker::Session;
use duolog_broker::live::{Cut, Flow, Listener, ListenerOptions, Overflow, PACE, Publisher, Waiting};
use duolog_net::{Input, Next, Talk, Then};
use tokio::time::{Sleep, sleep};

use self::output::Counted;
use self::pinger::Pinger;
use crate::codec::{Connect, Info, Parser, Step};
use crate::limits::{PENDING_MESSAGES, REPLIES_BYTES};
use crate::registry::{Client, Registry};
use crate::{ClientError, subject};

/// The header by which a message that is sent twice is stored once. Source: JetStream, message deduplication.
const MESSAGE_ID: &[u8] = b"Nats-Msg-Id";

/// One connection's state.
pub(crate) struct NatsSession {
    registry: Arc<Registry>,
    client: Arc<Client>,
    parser: Parser,
    connect: Connect,
    publisher: Publisher,
    /// From the first subscription on: whether it hears itself is said before.
    listener: Option<Arc<Listener>>,
    /// Published and not yet flushed.
    is_unflushed: bool,
    /// The publisher asked to hold back for a moment.
    is_paused: bool,
    /// The publisher asked to hold back until what is captured is durable.
    is_held: bool,
    /// What it has to say itself and has not yet been put behind what waits.
    replies: Vec<u8>,
    /// Taken from the listener, the first one written up to `written` messages.
    waiting: VecDeque<Waiting>,
    written: usize,
    pinger: Pinger,
    /// The server goes; the time until it closes by itself.
    lame_duck: Option<Pin<Box<Sleep>>>,
    /// The last words; nothing is read any more.
    ending: Option<Vec<u8>>,
    received: Counted,
    sent: Counted,
}

/// Captured messages are told apart as JetStream does it.
fn publisher(broker: &Session, own: Option<&Listener>) -> Publisher {
    let mut publisher = broker.publisher(own);
    publisher.name_idempotency_header(MESSAGE_ID);
    publisher
}

impl NatsSession {
    /// A session that begins with INFO; one that there is no room for ends with it.
    pub(crate) fn new(registry: Arc<Registry>, client: Arc<Client>, has_room: bool) -> Self {
        let options = registry.options();
        let interval = options.ping_interval;
        let mut session = Self {
            parser: Parser::new(options.payload_bytes_max),
            connect: Connect::default(),
            publisher: publisher(registry.broker(), None),
            listener: None,
            is_unflushed: false,
            is_paused: false,
            is_held: false,
            replies: Vec::new(),
            waiting: VecDeque::new(),
            written: 0,
            pinger: Pinger::new(interval, client.id),
            lame_duck: None,
            ending: (!has_room).then(|| ClientError::MaximumConnections.line()),
            received: Counted::default(),
            sent: Counted::default(),
            registry,
            client,
        };
        session.replies = session.info(false).line();
        session
    }

    fn info(&self, lame_duck: bool) -> Info<'_> {
        let (registry, client) = (&self.registry, &self.client);
        Info {
            server_id: registry.server_id().into(),
            server_name: registry.options().server_name.as_str().into(),
            version: crate::VERSION.into(),
            proto: 1,
            host: client.local.ip().to_string().into(),
            port: client.local.port(),
            headers: true,
            max_payload: registry.options().payload_bytes_max,
            jetstream: false,
            auth_required: false,
            client_id: client.id,
            client_ip: client.peer.ip().to_string().into(),
            lame_duck,
        }
    }

    /// The end at which it listens.
    fn listener(&mut self) -> Arc<Listener> {
        if let Some(listener) = &self.listener {
            return Arc::clone(listener);
        }
        self.flush();
        let broker = self.registry.broker();
        let listener = Arc::new(broker.listen(ListenerOptions {
            bytes_max: self.registry.options().pending_bytes_max,
            messages_max: PENDING_MESSAGES,
            soft: None,
            overflow: Overflow::Cut,
            own: self.connect.echo,
            carries: subject::is_carried,
        }));
        self.publisher = publisher(broker, Some(&listener));
        self.client.listens(&listener);
        self.listener = Some(Arc::clone(&listener));
        listener
    }

    /// Says something, behind what has been published before.
    fn say(&mut self, text: &[u8]) {
        if self.listener.is_some() {
            self.flush();
        }
        self.replies.extend_from_slice(text);
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.is_unflushed) {
            match self.publisher.flush() {
                Flow::On => {}
                Flow::Pause => self.is_paused = true,
                Flow::Hold => self.is_held = true,
            }
        }
    }

    /// Puts what it has to say behind what waits for it, and before what is published next.
    fn hand_replies(&mut self) {
        if let Some(listener) = &self.listener
            && !self.replies.is_empty()
        {
            listener.say(&self.replies);
            self.replies.clear();
        }
    }

    /// Ends with an error's text, if it has one, behind all that waits; nothing new is heard.
    fn end_with(&mut self, error: &ClientError) {
        tracing::debug!(client = self.client.id, peer = %self.client.peer, ?error, "connection is ended");
        self.flush();
        self.hand_replies();
        self.ending.get_or_insert_with(|| error.line());
        if let Some(listener) = &self.listener {
            for (_, subscription) in self.client.subscriptions.lock().drain() {
                listener.unsubscribe(&subscription);
            }
        }
    }

    fn cut(&mut self, cut: Cut) {
        match cut {
            Cut::Overflow { .. } | Cut::Memory { .. } => {
                if self.ending.is_none() {
                    self.registry.counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(client = self.client.id, peer = %self.client.peer, reason = %cut, "client is cut off");
                }
                self.end_with(&ClientError::SlowConsumer);
            }
            Cut::Ended => {
                self.ending.get_or_insert_default();
            }
        }
    }

    /// What was counted becomes visible to others.
    fn publish_counts(&mut self) {
        self.received.add_to(&self.client.received);
        self.sent.add_to(&self.client.sent);
    }
}

impl Talk for NatsSession {
    fn input(&mut self, bytes: &[u8]) -> Input {
        self.pinger.hear();
        self.client.is_active(self.registry.broker().now());
        // Whoever it held back for has moved on, or has had its time.
        self.is_paused = false;
        let mut used = 0;
        let next = loop {
            if self.is_paused {
                break Next::Pause(PACE);
            }
            if self.is_held || self.replies.len() > REPLIES_BYTES {
                break Next::Wait;
            }
            match self.parser.next(&bytes[used..]) {
                Step::Command(command, length) => {
                    used += length;
                    if let Err(error) = self.obey(command) {
                        if error.closes() {
                            self.end_with(&error);
                            break Next::End;
                        }
                        self.say(&error.line());
                    }
                }
                Step::More(length) => {
                    used += length;
                    break Next::More;
                }
                Step::Wrong(error) => {
                    self.end_with(&error.into());
                    break Next::End;
                }
            }
        };
        self.flush();
        self.hand_replies();
        self.publish_counts();
        let next = match next {
            Next::More | Next::Pause(_) if self.is_held => Next::Wait,
            Next::More if self.is_paused => Next::Pause(PACE),
            next => next,
        };
        Input { used, next }
    }

    fn poll_output(&mut self, waiting: &mut Context<'_>, out: &mut Vec<u8>, room: usize) -> Poll<Then> {
        self.poll_timers(waiting);
        self.poll_captured(waiting);
        let said = self.poll_write(waiting, out, room);
        self.publish_counts();
        said
    }

    fn poll_resume(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if self.replies.len() > REPLIES_BYTES {
            // Written by the same task, which looks here again afterwards.
            return Poll::Pending;
        }
        let resumed = self.publisher.poll_pace(waiting);
        if resumed.is_ready() {
            self.is_paused = false;
            self.is_held = false;
        }
        resumed
    }

    fn poll_cut(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        let Some(listener) = &self.listener else { return Poll::Pending };
        listener.poll_cut(waiting).map(|cut| self.cut(cut))
    }

    fn shutdown(&mut self) {
        // Without a word to those who do not know this one: any text would keep them from connecting again.
        if self.connect.protocol >= 1 {
            let info = self.info(true).line();
            self.say(&info);
            self.hand_replies();
            self.lame_duck = Some(Box::pin(sleep(self.registry.options().lame_duck)));
        } else {
            self.ending.get_or_insert_default();
        }
    }

    fn overdue(&mut self) {
        self.registry.counts.slow_consumers.fetch_add(1, Ordering::Relaxed);
        tracing::info!(client = self.client.id, peer = %self.client.peer, "client takes nothing and is cut off");
    }
}

impl Drop for NatsSession {
    fn drop(&mut self) {
        self.publish_counts();
        self.registry.leave(&self.client);
    }
}
