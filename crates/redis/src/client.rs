//! [`Client`]: the state of one connection, and how a request becomes a reply behind what came before it.
//!
//! Order: a reply is put behind all that the connection has heard so far; what it has published itself is handed over before that. Only the
//! reply to PUBLISH comes before what the connection hears of its own message, as in Redis since 7.2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use duolog_broker::live::{Cut, Flow, Listener, Message, Pattern, PublishError, Publisher, Tag};
use duolog_net::Budget;
use tracing::{debug, warn};

use crate::codec::{Args, Reply, decimal};
use crate::command::{self, Call, Command};
use crate::error;
use crate::limits::{
    CHANNEL_BYTES, PATTERN_BYTES, QUOTED_BYTES, REPLIES_BYTES, REPLIES_KEPT_BYTES, SUBSCRIPTIONS,
};
use crate::outbox::Outbox;
use crate::registry::Entry;
use crate::server::Server;
use crate::subject::{self, SHARD_PREFIX};
use crate::subscriptions::{Kind, Subscriptions};

/// Which replies a client wants. CLIENT REPLY sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// Not the one to the command after this.
    SkipNext,
    /// Not the one to this command.
    Skip,
}

/// What a connection is held to.
pub struct ClientLimits {
    /// Bytes of the largest argument that it may send.
    pub bulk_bytes_max: usize,
    /// Of memory.
    pub budget: Budget,
}

/// The state of one connection.
pub struct Client {
    /// What it shares with all others.
    pub server: Arc<Server>,
    /// As others see it.
    pub entry: Arc<Entry>,
    /// What it listens to.
    pub subscribed: Subscriptions,
    /// True once it speaks RESP3.
    pub resp3: bool,
    /// See [`Replies`].
    pub replies: Replies,
    /// Nothing more is served; what waits is sent, then the connection is closed.
    pub ending: bool,
    /// Bytes of the largest argument that it may send.
    pub bulk_bytes_max: usize,
    /// Of memory for what it does not take.
    budget: Budget,
    /// Made when it first listens.
    listener: Option<Arc<Listener>>,
    publisher: Publisher,
    /// What is about to be sent.
    pub outbox: Outbox,
    /// Subscribers that keep up are far behind what this connection has published: it holds back for a moment.
    pub paused: bool,
    /// Where a command writes its reply until its place in the order is known.
    scratch: Vec<u8>,
    /// Why it is cut off.
    cut: Option<Cut>,
    /// Commands that are not counted yet.
    served: u64,
    /// Place of the last command in the table.
    last: u32,
}

impl Client {
    /// A connection that has just begun.
    pub fn new(server: Arc<Server>, limits: ClientLimits, peer: SocketAddr, local: SocketAddr) -> Self {
        let ClientLimits { bulk_bytes_max, budget } = limits;
        let entry = server.clients.add(peer, local, server.broker.clock().now());
        Self {
            publisher: server.broker.publisher(None),
            server,
            entry,
            subscribed: Subscriptions::default(),
            resp3: false,
            replies: Replies::On,
            ending: false,
            bulk_bytes_max,
            budget,
            listener: None,
            outbox: Outbox::default(),
            paused: false,
            scratch: Vec::new(),
            cut: None,
            served: 0,
            last: u32::MAX,
        }
    }

    /// Something has come from it.
    pub fn begin_input(&mut self) {
        self.paused = false;
        self.entry.active.store(self.server.broker.clock().now().monotonic.0, Relaxed);
    }

    /// All that has come is served.
    pub fn end_input(&mut self) {
        self.flush();
        self.reserve_replies();
        self.entry.command.store(self.last, Relaxed);
        self.server.counters.commands.fetch_add(std::mem::take(&mut self.served), Relaxed);
        if self.scratch.capacity() > REPLIES_KEPT_BYTES {
            self.scratch = Vec::new();
        }
    }

    /// True while no more may be served: its replies are not taken.
    pub fn is_full(&self) -> bool {
        self.outbox.reply_bytes() >= REPLIES_BYTES
    }

    /// True once enough is sent after [`Self::is_full`].
    pub fn has_room(&self) -> bool {
        self.outbox.reply_bytes() < REPLIES_BYTES / 2
    }

    /// True if no message waits for it, so that what is put into the outbox comes before every message from now on.
    pub fn hears_nothing(&self) -> bool {
        self.listener.as_ref().is_none_or(|listener| listener.is_empty())
    }

    /// True once it is cut off.
    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Serves one request.
    pub fn serve(&mut self, args: Args<'_>) {
        self.served += 1;
        if self.replies == Replies::On && args.len() == 3 && args.is(0, "publish") && !self.is_restricted() {
            self.last = command::publish_index();
            return self.publish_plainly(args);
        }
        match command::find(args) {
            Ok((index, command)) => {
                self.last = index;
                self.entry.command.store(index, Relaxed);
                if self.is_restricted() && !command.has(command::WHILE_SUBSCRIBED) {
                    let refusal = restricted(command);
                    self.answer(|reply| reply.error(&refusal));
                } else {
                    self.run(command, args);
                }
            }
            // What a browser sends is no mistyped command: somebody has it speak to us.
            Err(_) if args.is(0, "post") || args.is(0, "host:") => {
                warn!(peer = %self.entry.peer, "a web browser's request: it may be an attack by a page; closed");
                self.ending = true;
            }
            Err(refusal) => self.answer(|reply| reply.error(&refusal)),
        }
        self.replies = match self.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            other => other,
        };
    }

    /// True if it speaks RESP2 and listens: all that comes is then a message, so hardly a command may be given.
    fn is_restricted(&self) -> bool {
        !self.resp3 && self.subscribed.len() > 0
    }

    /// PUBLISH, without a detour: it is what comes a million times a second.
    fn publish_plainly(&mut self, args: Args<'_>) {
        match self.publish(args.get(1), args.get(2)) {
            Ok(heard) => self.put_with(|out| {
                out.push(b':');
                decimal(out, heard);
                out.extend_from_slice(b"\r\n");
            }),
            Err(refusal) => self.answer(|reply| reply.error(refusal)),
        }
    }

    /// Publishes to a channel: how many hear it, or an error's text.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Result<u64, &'static [u8]> {
        if channel.starts_with(SHARD_PREFIX) {
            return Err(error::RESERVED_CHANNEL);
        }
        self.publish_subject(channel, payload)
    }

    /// Publishes to a shard channel.
    pub fn publish_shard(&mut self, channel: &[u8], payload: &[u8]) -> Result<u64, &'static [u8]> {
        self.publish_subject(&subject::of_shard(channel), payload)
    }

    fn publish_subject(&mut self, subject: &[u8], payload: &[u8]) -> Result<u64, &'static [u8]> {
        let message = Message { subject, reply: b"", headers: b"", payload };
        let refused = |error: PublishError| error::of_publish(&error).as_bytes();
        self.publisher.publish(message).map_err(refused)
    }

    /// Runs a command and puts its reply in its place.
    fn run(&mut self, command: &Command, args: Args<'_>) {
        let Some(run) = command.run else { return };
        if self.listener.is_some() && !command.has(command::PUBSUB) {
            self.flush();
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let resp3 = self.resp3;
        let mut call = Call { client: self, args, reply: Reply::new(&mut scratch, resp3), goes_first: false };
        run(&mut call);
        let goes_first = call.goes_first;
        let wanted = match self.replies {
            Replies::On | Replies::SkipNext => true,
            Replies::Off | Replies::Skip => command.has(command::PUSHES),
        };
        if wanted && goes_first {
            self.outbox.reply(|out| out.extend_from_slice(&scratch));
        } else if wanted {
            self.put(&scratch);
        }
        self.reserve_replies();
        if self.resp3 != resp3 {
            self.outbox.switch(self.resp3);
        }
        self.scratch = scratch;
    }

    /// Room in the memory budget for replies that are not taken. Without any the connection ends: it waits for its peer, not for
    /// memory.
    fn reserve_replies(&mut self) {
        if self.outbox.reserve(&self.budget).is_err() {
            debug!(peer = %self.entry.peer, "no memory for replies that are not taken: closed");
            self.ending = true;
        }
    }

    /// A reply that is no command's own.
    pub fn answer(&mut self, write: impl FnOnce(&mut Reply<'_>)) {
        if self.listener.is_some() {
            self.flush();
        }
        if matches!(self.replies, Replies::On | Replies::SkipNext) {
            let resp3 = self.resp3;
            self.put_with(|out| write(&mut Reply::new(out, resp3)));
        }
    }

    /// Puts a reply behind all that was heard so far.
    pub fn put(&mut self, reply: &[u8]) {
        self.put_with(|out| out.extend_from_slice(reply));
    }

    fn put_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match &self.listener {
            Some(listener) if !listener.is_empty() => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                listener.say(&bytes);
                self.outbox.said(bytes.len());
            }
            Some(_) | None => self.outbox.reply(write),
        }
    }

    /// From now on it speaks RESP3, or no longer.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
        self.entry.resp3.store(resp3, Relaxed);
    }

    /// Hands over what was published.
    fn flush(&mut self) {
        match self.publisher.flush() {
            Flow::On => {}
            Flow::Pause => self.paused = true,
            // Whoever captures waits in any case.
            Flow::Hold => {}
        }
    }

    /// True while messages of its own are on their way to the disk: its replies wait for that, and it is not served meanwhile.
    pub fn is_capturing(&self) -> bool {
        self.publisher.is_capturing()
    }

    /// Ready when all that was captured is durable. If some could not be stored, the replies that said otherwise are not sent, and
    /// the connection ends with an error in their place.
    pub fn poll_captured(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        while self.publisher.is_capturing() {
            for captured in ready!(self.publisher.poll_captured(waiting)) {
                if let Err(error) = captured.place
                    && !self.ending
                {
                    let (id, peer) = (self.entry.id, self.entry.peer);
                    warn!(id, %peer, topic = %captured.topic, %error, "message is not captured: its publisher is told and ended");
                    self.outbox.withdraw(error::not_captured(&captured.topic, &error));
                    self.ending = true;
                }
            }
        }
        Poll::Ready(())
    }

    /// Ready when whom it waits for has moved on.
    pub fn poll_pace(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        self.publisher.poll_pace(waiting)
    }

    /// Takes what is next of what waits for it; pending while that is nothing.
    pub fn poll_take(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        let Some(listener) = &self.listener else { return Poll::Pending };
        if let Err(cut) = ready!(listener.poll_take(waiting, self.outbox.pieces())) {
            self.cut_off(cut);
        }
        Poll::Ready(())
    }

    /// Ready when it is to end whatever it still takes.
    pub fn poll_cut(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if self.entry.is_killed() {
            return Poll::Ready(());
        }
        let Some(listener) = &self.listener else { return Poll::Pending };
        let cut = ready!(listener.poll_cut(waiting));
        self.cut_off(cut);
        Poll::Ready(())
    }

    /// Ends it, without a word as Redis does; counted and logged once.
    fn cut_off(&mut self, cut: Cut) {
        self.ending = true;
        if self.cut.replace(cut).is_some() {
            return;
        }
        let (id, peer) = (self.entry.id, self.entry.peer);
        match cut {
            Cut::Overflow { .. } | Cut::Memory { .. } => {
                self.server.counters.cut.fetch_add(1, Relaxed);
                warn!(id, %peer, %cut, "subscriber is cut off");
            }
            Cut::Ended => {}
        }
    }

    /// Whether it may begin to listen, as far as can be told before.
    ///
    /// # Errors
    /// The text of the error.
    pub fn may_subscribe(&self, kind: Kind, name: &[u8]) -> Result<(), &'static [u8]> {
        let bytes_max = match kind {
            Kind::Channel | Kind::Shard => CHANNEL_BYTES,
            Kind::Pattern => PATTERN_BYTES,
        };
        if kind == Kind::Channel && name.starts_with(SHARD_PREFIX) {
            Err(error::RESERVED_CHANNEL)
        } else if name.len() > bytes_max {
            Err(error::LONG_CHANNEL)
        } else if self.subscribed.len() >= SUBSCRIPTIONS {
            Err(error::TOO_MANY)
        } else {
            Ok(())
        }
    }

    /// Begins to listen, if it does not yet.
    ///
    /// # Errors
    /// The text of the error.
    pub fn subscribe(&mut self, kind: Kind, name: &[u8]) -> Result<(), &'static [u8]> {
        if self.subscribed.of(kind).contains_key(name) {
            return Ok(());
        }
        self.may_subscribe(kind, name)?;
        let pattern = match kind {
            Kind::Channel => Pattern::literal(name),
            Kind::Pattern => Pattern::glob(name),
            Kind::Shard => Pattern::literal(&subject::of_shard(name)),
        };
        // Of a channel every message has the name.
        let text = if kind == Kind::Pattern { name.into() } else { Box::default() };
        if !self.server.keep_name(name.len()) {
            return Err(error::TOO_MANY);
        }
        let subscribed = self.listener().subscribe(pattern, None, Tag { kind: kind.tag(), text });
        let subscription = subscribed.map_err(|error| {
            self.server.forget_names(name.len());
            error::of_subscribe(&error).as_bytes()
        })?;
        self.subscribed.of_mut(kind).insert(name.into(), subscription);
        self.show_subscriptions();
        Ok(())
    }

    /// Listens no more; a name that it does not listen to is no error.
    pub fn unsubscribe(&mut self, kind: Kind, name: &[u8]) {
        if let Some(subscription) = self.subscribed.of_mut(kind).remove(name) {
            self.listener().unsubscribe(&subscription);
            self.server.forget_names(name.len());
            self.show_subscriptions();
        }
    }

    /// Listens to nothing more.
    pub fn unsubscribe_all(&mut self) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for (name, subscription) in std::mem::take(self.subscribed.of_mut(kind)) {
                self.listener().unsubscribe(&subscription);
                self.server.forget_names(name.len());
            }
        }
        self.show_subscriptions();
    }

    /// Made when it is first needed.
    fn listener(&mut self) -> Arc<Listener> {
        if let Some(listener) = &self.listener {
            return Arc::clone(listener);
        }
        // What was published without it must not be heard by it.
        self.flush();
        let listener = Arc::new(self.server.broker.listen(self.server.listener_options()));
        self.entry.set_listener(Arc::downgrade(&listener));
        self.publisher = self.server.broker.publisher(Some(&listener));
        self.listener.insert(listener).clone()
    }

    fn show_subscriptions(&self) {
        self.entry.channels.store(self.subscribed.of(Kind::Channel).len(), Relaxed);
        self.entry.patterns.store(self.subscribed.of(Kind::Pattern).len(), Relaxed);
        self.entry.shards.store(self.subscribed.of(Kind::Shard).len(), Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.server.clients.remove(self.entry.id);
        self.server.forget_names(self.subscribed.name_bytes());
    }
}

/// What a subscriber of RESP2 is told about any other command.
fn restricted(command: &Command) -> Vec<u8> {
    let name = &command.name[..command.name.len().min(QUOTED_BYTES)];
    format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )
    .into_bytes()
}
