//! One connection: bytes in, bytes out, nothing that waits.
//!
//! Frames are taken one by one. What is published is gathered and handed to the broker once per input; what needs the broker's answer
//! (a declaration, a `basic.get`) is an *operation*: one at a time, and no input is taken until it is over, so that a client
//! finds its methods done in its order. Deliveries come from leases on their way, one for each consumer that has credit.
//! Adding a method: its arm in `frames.rs`, its doing in the file of its class.

mod channel;
mod consume;
mod delayed;
pub(crate) mod exchanges;
mod frames;
mod handshake;
mod notices;
mod publish;
pub(crate) mod queues;
mod reading;
mod replies;
mod settle;
pub(crate) mod streams;
mod timers;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::routing::Router;
use duolog_broker::{Catalog, LeaseId, Outcome, QueueId, Session, Standing};
use duolog_net::{Budget, Input, Next, Talk, Then};
use futures_util::stream::FuturesUnordered;

use self::channel::Channel;
use self::consume::{Consumer, Leasing, Ready};
use self::publish::{Gathered, InFlight};
use self::reading::{Reader, Reading};
use self::timers::Timers;
use crate::codec::method::{BasicCancel, ChannelClose, ConnectionClose};
use crate::codec::{MethodId, ReplyCode};
use crate::convert::Scratch;
use crate::error::AmqpError;
use crate::limits::{CHANNELS, FRAME_INITIAL_BYTES, FRAME_MAX_BYTES, PUBLISH_BYTES_IN_FLIGHT, SAID_BYTES};
use crate::registry::{Bell, ConnectionId, Registry};
use crate::replies::Mailbox;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client has said nothing yet.
    Protocol,
    /// It is to say who it is.
    Start,
    /// It is to agree to the limits.
    Tune,
    /// It is to name the virtual host.
    Open,
    Running,
    /// The server has closed it and waits for the client to know.
    Closing,
    /// All is said.
    Over,
}

/// What is done to the session when an operation is over.
type Change = Box<dyn FnOnce(&mut AmqpSession) -> Result<(), AmqpError> + Send>;

/// What has to be waited for before the next method.
struct Operation {
    channel: u16,
    method: MethodId,
    /// What was published before is to be seen by it.
    follows_published: bool,
    future: Pin<Box<dyn Future<Output = Result<Change, AmqpError>> + Send>>,
}

/// One connection's state.
pub(crate) struct AmqpSession {
    registry: Arc<Registry>,
    broker: Session,
    budget: Budget,
    peer: SocketAddr,
    id: ConnectionId,
    stage: Stage,
    frame_max: u32,
    channels_max: u16,
    user: Box<[u8]>,
    /// It wants to hear when a queue under a consumer goes.
    hears_cancels: bool,
    /// It wants to hear when it is held up.
    hears_blocked: bool,
    has_published: bool,
    /// It was told that it is held up.
    is_blocked: bool,
    /// For changes of what it may be told.
    bell: Arc<Bell>,
    namespace: String,
    channels: BTreeMap<u16, Channel>,
    /// Channels and consumers that there were.
    serials: u64,
    consumers: HashMap<u64, Consumer>,
    /// Consumers of streams.
    readers: HashMap<u64, Reader>,
    reading: FuturesUnordered<Reading>,
    /// Of these, who may have credit for what was read.
    flowing: BTreeSet<u64>,
    /// Of these, who has little read ahead.
    hungry: BTreeSet<u64>,
    /// Of a large body's frame that has not come whole: the channel, and how much of it is still to come.
    partial: Option<(u16, usize)>,
    /// As of the last input.
    catalog: Arc<Catalog>,
    router: Router,
    gathered: Gathered,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    leasing: FuturesUnordered<Leasing>,
    ready: VecDeque<Ready>,
    ready_bytes: usize,
    settles: BTreeMap<QueueId, Vec<(LeaseId, Outcome)>>,
    /// Consumers that may have credit now.
    wanting: BTreeSet<u64>,
    /// Channels whose consumers share a prefetch and may have credit now.
    sharing: BTreeSet<u16>,
    /// Consumers that have credit once some of what is ready is written.
    waiting_for_room: BTreeSet<u64>,
    /// Consumers that wait to be the active one of their queue.
    benched: BTreeSet<u64>,
    /// Of consumers that have gone: the next one's turn comes once what they held is handed back.
    leaving: Vec<Arc<Standing>>,
    /// Exclusive queues that were declared here.
    own_queues: Vec<QueueId>,
    operation: Option<Operation>,
    /// Direct replies to its channels.
    mailbox: Arc<Mailbox>,
    said: Vec<u8>,
    timers: Timers,
    scratch: Scratch,
}

impl AmqpSession {
    pub(crate) fn new(registry: Arc<Registry>, budget: Budget, peer: SocketAddr) -> Self {
        let broker = registry.broker().clone();
        let bell = Arc::default();
        Self {
            id: registry.enter(&bell),
            catalog: broker.catalog(),
            timers: Timers::new(registry.options().handshake),
            broker,
            budget,
            peer,
            stage: Stage::Protocol,
            frame_max: FRAME_INITIAL_BYTES,
            channels_max: CHANNELS,
            user: Box::default(),
            hears_cancels: false,
            hears_blocked: false,
            has_published: false,
            is_blocked: false,
            bell,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            channels: BTreeMap::new(),
            serials: 0,
            consumers: HashMap::new(),
            readers: HashMap::new(),
            reading: FuturesUnordered::new(),
            flowing: BTreeSet::new(),
            hungry: BTreeSet::new(),
            partial: None,
            router: Router::default(),
            gathered: Gathered::default(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            leasing: FuturesUnordered::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            settles: BTreeMap::new(),
            wanting: BTreeSet::new(),
            sharing: BTreeSet::new(),
            waiting_for_room: BTreeSet::new(),
            benched: BTreeSet::new(),
            leaving: Vec::new(),
            own_queues: Vec::new(),
            operation: None,
            mailbox: Arc::default(),
            said: Vec::new(),
            scratch: Scratch::default(),
            registry,
        }
    }

    /// Goes on as if a client had opened the connection and channel 1: for what is asked for within the process.
    pub(crate) fn begin_inside(&mut self, namespace: &str) {
        namespace.clone_into(&mut self.namespace);
        self.frame_max = FRAME_MAX_BYTES;
        self.stage = Stage::Running;
        self.timers.opened();
        let serial = self.next_serial();
        self.channels.insert(1, Channel::new(1, serial));
    }

    fn vhost(&self) -> &str {
        crate::vhost_of(&self.namespace)
    }

    fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// Waits for the broker before the next method is taken; then `done`, on behalf of `method`. What was published before is
    /// durable by then, and so in the queues.
    fn operate<T: Send + 'static>(
        &mut self,
        channel: u16,
        method: MethodId,
        future: impl Future<Output = Result<T, AmqpError>> + Send + 'static,
        done: impl FnOnce(&mut Self, T) -> Result<(), AmqpError> + Send + 'static,
    ) {
        self.flush();
        self.wait_for(channel, method, true, future, done);
    }

    fn wait_for<T: Send + 'static>(
        &mut self,
        channel: u16,
        method: MethodId,
        follows_published: bool,
        future: impl Future<Output = Result<T, AmqpError>> + Send + 'static,
        done: impl FnOnce(&mut Self, T) -> Result<(), AmqpError> + Send + 'static,
    ) {
        let future = Box::pin(async move {
            let value = future.await?;
            Ok(Box::new(move |session: &mut Self| done(session, value)) as Change)
        });
        self.operation = Some(Operation { channel, method, follows_published, future });
    }

    /// Goes on with the operation, if there is one.
    fn poll_operation(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        self.poll_published(waiting);
        while let Some(operation) = &mut self.operation {
            if operation.follows_published && !self.in_flight.is_empty() {
                return Poll::Pending;
            }
            let Poll::Ready(result) = operation.future.as_mut().poll(waiting) else { return Poll::Pending };
            let (channel, method) = (operation.channel, operation.method);
            self.operation = None;
            self.catalog = self.broker.catalog();
            if let Err(error) = result.and_then(|change| change(self)) {
                self.fail(channel, method, &error);
            }
        }
        Poll::Ready(())
    }

    /// Closes what the error closes.
    fn fail(&mut self, channel: u16, method: MethodId, error: &AmqpError) {
        let method = error.method.unwrap_or(method);
        tracing::debug!(connection = self.id, peer = %self.peer, channel, %error, "AMQP exception");
        let (reply_code, text) = (error.code.number(), error.code.text(&error.text));
        let reply_text = text.as_short();
        if channel == 0 || error.code.closes_connection() || !self.channels.contains_key(&channel) {
            if self.stage == Stage::Over || self.stage == Stage::Closing {
                return;
            }
            self.flush();
            self.leave_behind();
            ConnectionClose { reply_code, reply_text, method }.write(&mut self.said, 0);
            self.stage = Stage::Closing;
            self.timers.await_close_ok();
        } else {
            self.flush();
            self.leave_channel(channel);
            ChannelClose { reply_code, reply_text, method }.write(&mut self.said, channel);
            if let Some(it) = self.channels.get_mut(&channel) {
                it.is_closing = true;
            }
        }
    }

    /// Hands over what was gathered, and asks for what may be delivered.
    fn flush(&mut self) {
        self.flush_published();
        self.flush_settles();
        self.ask_for_all();
    }

    /// No input is taken for now.
    fn is_held(&self) -> bool {
        self.operation.is_some()
            || self.said.len() > SAID_BYTES
            || self.in_flight_bytes > PUBLISH_BYTES_IN_FLIGHT
    }

    /// Ends all channels, and what belongs to the connection; what comes back waits until that is deleted.
    fn leave_all(&mut self) -> impl Future<Output = Result<(), AmqpError>> + Send + 'static + use<> {
        let channels: Vec<u16> = self.channels.keys().copied().collect();
        channels.into_iter().for_each(|channel| self.leave_channel(channel));
        let deleting = self.delete_own_queues();
        async move {
            deleting.await;
            Ok(())
        }
    }

    /// The same where nobody is left who would wait for it.
    fn leave_behind(&mut self) {
        let left = self.leave_all();
        go_on_with(left);
    }

    /// A queue under a consumer is gone.
    fn cancel_by_server(&mut self, serial: u64) {
        let consumer = self.consumers.get(&serial).map(|it| (it.channel, it.tag.clone()));
        let reader = || self.readers.get(&serial).map(|it| (it.channel, it.tag.clone()));
        let Some((channel, tag)) = consumer.or_else(reader) else { return };
        self.remove_consumer(serial);
        if self.hears_cancels {
            BasicCancel { consumer_tag: tag.as_short(), no_wait: true }.write(&mut self.said, channel);
        }
    }
}

impl Stage {
    /// As RabbitMQ names it.
    fn name(self) -> &'static str {
        match self {
            Self::Protocol => "pre_init",
            Self::Start => "starting",
            Self::Tune => "tuning",
            Self::Open => "opening",
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Over => "closed",
        }
    }
}

impl Talk for AmqpSession {
    fn input(&mut self, bytes: &[u8]) -> Input {
        self.timers.hear();
        self.catalog = self.broker.catalog();
        let (used, next) = self.take_frames(bytes);
        self.flush();
        let next = if next == Next::More && self.is_held() { Next::Wait } else { next };
        Input { used, next }
    }

    fn poll_output(&mut self, waiting: &mut Context<'_>, out: &mut Vec<u8>, room: usize) -> Poll<Then> {
        self.poll_timers(waiting);
        // Its answer goes out with the rest.
        let _ = self.poll_operation(waiting);
        self.poll_leases(waiting);
        self.poll_reading(waiting);
        self.tell_of_changes(waiting);
        out.append(&mut self.said);
        if self.stage == Stage::Over {
            return Poll::Ready(Then::End);
        }
        self.write_replies(waiting, out, room);
        self.write_read(out, room / 2);
        self.write_deliveries(out, room);
        self.flush();
        if !out.is_empty() {
            self.timers.say();
        }
        // What was flushed may be ready at once, and nobody would be woken for it.
        if out.is_empty() { Poll::Pending } else { Poll::Ready(Then::Sent) }
    }

    fn poll_resume(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        let _ = self.poll_operation(waiting);
        if self.is_held() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn is_waiting(&self) -> bool {
        self.stage != Stage::Over && (!self.in_flight.is_empty() || self.operation.is_some())
    }

    fn shutdown(&mut self) {
        match self.stage {
            Stage::Protocol | Stage::Start => self.stage = Stage::Over,
            Stage::Closing | Stage::Over => {}
            Stage::Tune | Stage::Open | Stage::Running => {
                let error = AmqpError::new(
                    ReplyCode::ConnectionForced,
                    "broker forced connection closure with reason 'shutdown'",
                );
                self.fail(0, MethodId::NONE, &error);
            }
        }
    }

    fn overdue(&mut self) {
        tracing::info!(connection = self.id, peer = %self.peer, "client takes nothing and is cut off");
    }
}

impl Drop for AmqpSession {
    fn drop(&mut self) {
        self.flush();
        self.leave_behind();
        self.registry.exit(self.id);
    }
}

/// Does something to its end, though its connection may end before.
fn go_on_with(future: impl Future<Output = Result<(), AmqpError>> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
    }
}
