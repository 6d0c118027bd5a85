//! What the connections share: who consumes from which queue, whose a queue is, and the names that the server makes up.
//!
//! Invariant: nothing here outlives the process, and nothing durable depends on it: queues that belong to a connection or do not
//! last are marked by labels, and go when the broker starts.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Wake;

use duolog_broker::errors::{AppendError, ChangeError};
use duolog_broker::{Monotonic, Queue, QueueId, Session, Standing, TopicId};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::AmqpOptions;
use crate::codec::ReplyCode;
use crate::error::AmqpError;
use crate::labels;
use crate::policies::Policies;
use crate::replies::Addresses;
use crate::vhosts;

/// What is consumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A queue.
    Queue(QueueId),
    /// A topic, as a stream.
    Stream(TopicId),
}

impl From<QueueId> for Source {
    fn from(id: QueueId) -> Self {
        Self::Queue(id)
    }
}

impl From<TopicId> for Source {
    fn from(id: TopicId) -> Self {
        Self::Stream(id)
    }
}

/// Identity of a connection within the process.
pub(crate) type ConnectionId = u64;

/// See the module.
pub(crate) struct Registry {
    broker: Session,
    options: AmqpOptions,
    next: AtomicU64,
    uses: Mutex<HashMap<Source, Use>>,
    expiring: Mutex<HashMap<QueueId, Expiring>>,
    pub(crate) policies: Policies,
    /// How often something could not be made what policies say, since everything was.
    behind: AtomicU64,
    pub(crate) counts: Counts,
    /// Who can be answered directly.
    pub(crate) addresses: Addresses,
    /// There is too little room on the disk for publishers to go on.
    disk_is_low: AtomicBool,
    /// Of each connection.
    bells: Mutex<HashMap<ConnectionId, Arc<Bell>>>,
}

/// Wakes a connection, so that it looks at what concerns its client.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    pub(crate) waker: AtomicWaker,
    /// A queue that it consumes from has gone.
    pub(crate) queue_gone: AtomicBool,
    /// The numbers of the channels that are open.
    channels: Mutex<BTreeSet<u16>>,
    /// Who it is, once it is open.
    connected: OnceLock<Connected>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.waker.wake();
    }
}

impl Bell {
    /// The connection is open.
    pub(crate) fn open(&self, connected: Connected) {
        // It is opened once.
        let _ = self.connected.set(connected);
    }

    /// A channel is open.
    pub(crate) fn open_channel(&self, number: u16) {
        self.channels.lock().insert(number);
    }

    /// It is no more.
    pub(crate) fn close_channel(&self, number: u16) {
        self.channels.lock().remove(&number);
    }
}

/// A connection that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The client's address.
    pub peer: SocketAddr,
    /// The name that it gave.
    pub user: String,
    /// Its virtual host.
    pub vhost: String,
    /// The numbers of the channels that are open, ascending.
    pub channels: Vec<u16>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consuming {
    /// From where.
    pub source: Source,
    /// The number of its channel.
    pub channel: u16,
    /// Its name there.
    pub tag: String,
    /// It acknowledges.
    pub ack_required: bool,
    /// It wants to be the only one.
    pub exclusive: bool,
    /// Most deliveries that it holds; 0 is no limit.
    pub prefetch: u16,
    /// Those of a higher one go first.
    pub priority: i64,
    /// Whether it is its turn.
    pub state: ConsumerState,
}

/// What a consumer does, as far as its queue lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerState {
    /// It consumes with all others.
    Up,
    /// It is the one that is active.
    SingleActive,
    /// It waits for its turn.
    Waiting,
}

/// A queue that goes when nobody uses it.
#[derive(Clone, Copy, Debug)]
struct Expiring {
    after_ms: u64,
    used_at: Monotonic,
}

/// What metrics are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections now.
    pub connections: u64,
    /// Connections that began.
    pub connections_total: u64,
    /// Messages that clients published, those that no queue took included.
    pub messages_in: u64,
    /// Messages written to clients.
    pub messages_out: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    connections: AtomicU64,
    connections_total: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
}

/// One who consumes.
#[derive(Debug)]
struct Consumer {
    connection: ConnectionId,
    consuming: Consuming,
    is_single: bool,
    standing: Weak<Standing>,
}

impl Consumer {
    fn seen(&self) -> Consuming {
        let is_active = || self.standing.upgrade().is_some_and(|it| it.is_active());
        let state = match self.is_single {
            false => ConsumerState::Up,
            true if is_active() => ConsumerState::SingleActive,
            true => ConsumerState::Waiting,
        };
        Consuming { state, ..self.consuming.clone() }
    }
}

/// Who uses a queue.
#[derive(Debug, Default)]
struct Use {
    /// Whose it is, if it is exclusive.
    owner: Option<ConnectionId>,
    /// Oldest first.
    consumers: Vec<Consumer>,
    /// One of them wants to be the only one.
    is_taken: bool,
}

/// What is said of an exclusive queue to all but its connection, and to who declares one as what it is not.
pub(crate) fn locked(queue: &Queue) -> AmqpError {
    let text = format!(
        "cannot obtain exclusive access to locked queue '{}' in vhost '{}'. It could be originally declared on another \
         connection or the exclusive property value does not match that of the original declaration.",
        queue.name,
        crate::vhost_of(&queue.namespace)
    );
    AmqpError::new(ReplyCode::ResourceLocked, text)
}

impl Use {
    fn is_idle(&self) -> bool {
        self.owner.is_none() && self.consumers.is_empty()
    }
}

impl Registry {
    pub(crate) fn new(broker: Session, options: AmqpOptions) -> Self {
        Self {
            broker,
            options,
            next: AtomicU64::new(1),
            uses: Mutex::default(),
            expiring: Mutex::default(),
            policies: Policies::default(),
            behind: AtomicU64::new(0),
            counts: Counts::default(),
            addresses: Addresses::default(),
            disk_is_low: AtomicBool::new(false),
            bells: Mutex::default(),
        }
    }

    pub(crate) fn broker(&self) -> &Session {
        &self.broker
    }

    pub(crate) fn options(&self) -> &AmqpOptions {
        &self.options
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            connections: read(&self.counts.connections),
            connections_total: read(&self.counts.connections_total),
            messages_in: read(&self.counts.messages_in),
            messages_out: read(&self.counts.messages_out),
        }
    }

    /// A connection ends.
    pub(crate) fn exit(&self, id: ConnectionId) {
        self.bells.lock().remove(&id);
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection begins.
    pub(crate) fn enter(&self, bell: &Arc<Bell>) -> ConnectionId {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        self.counts.connections_total.fetch_add(1, Ordering::Relaxed);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.bells.lock().insert(id, Arc::clone(bell));
        id
    }

    pub(crate) fn is_disk_low(&self) -> bool {
        self.disk_is_low.load(Ordering::Acquire)
    }

    /// Tells the connections, if that is news.
    pub(crate) fn set_disk_low(&self, is_low: bool) {
        if self.disk_is_low.swap(is_low, Ordering::AcqRel) != is_low {
            tracing::warn!(is_low, "disk alarm");
            self.wake_all();
        }
    }

    /// Each connection looks at what concerns it.
    pub(crate) fn wake_all(&self) {
        self.bells.lock().values().for_each(|bell| bell.waker.wake());
    }

    /// A message could not be stored.
    pub(crate) fn note_refusal(&self, error: &AppendError) {
        if matches!(error, AppendError::DiskFull) {
            self.set_disk_low(true);
        }
    }

    /// A name that was not made up before, such as `amq.gen-...`.
    pub(crate) fn new_name(&self, prefix: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // A different sequence for each seed, in which no number comes twice.
        let mixed = (number ^ self.options.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{prefix}{:016x}{mixed:016x}", self.options.seed)
    }

    /// The queue belongs to a connection from now on.
    pub(crate) fn own(&self, queue: QueueId, owner: ConnectionId) {
        self.uses.lock().entry(queue.into()).or_default().owner = Some(owner);
    }

    /// # Errors
    /// `ResourceLocked` for an exclusive queue of another connection.
    pub(crate) fn check_access(&self, queue: &Queue, by: ConnectionId) -> Result<(), AmqpError> {
        if !labels::is_exclusive(queue)
            || self.uses.lock().get(&queue.id.into()).and_then(|it| it.owner) == Some(by)
        {
            return Ok(());
        }
        Err(locked(queue))
    }

    /// A consumer comes.
    ///
    /// # Errors
    /// `AccessRefused` if it wants to be the only one and is not, or another does, or one at a time is active anyway.
    pub(crate) fn consume(
        &self,
        queue: &Queue,
        by: ConnectionId,
        consuming: Consuming,
        standing: Weak<Standing>,
    ) -> Result<(), AmqpError> {
        let is_single = labels::is_single_active(queue);
        let mut uses = self.uses.lock();
        let it = uses.entry(queue.id.into()).or_default();
        if it.is_taken || (consuming.exclusive && (is_single || !it.consumers.is_empty())) {
            let vhost = crate::vhost_of(&queue.namespace);
            return Err(AmqpError::refused(format_args!(
                "queue '{}' in vhost '{vhost}' in exclusive use",
                queue.name
            )));
        }
        it.is_taken = consuming.exclusive;
        it.consumers.push(Consumer { connection: by, consuming, is_single, standing });
        Ok(())
    }

    /// A consumer of a stream comes.
    pub(crate) fn read(&self, by: ConnectionId, consuming: Consuming) {
        let consumer = Consumer { connection: by, is_single: false, standing: Weak::new(), consuming };
        self.uses.lock().entry(consumer.consuming.source).or_default().consumers.push(consumer);
    }

    /// A consumer goes; true if it was the last.
    pub(crate) fn leave(&self, source: Source, by: ConnectionId, channel: u16, tag: Option<&str>) -> bool {
        let mut uses = self.uses.lock();
        let Some(it) = uses.get_mut(&source) else { return false };
        let is_it = |it: &Consumer| {
            let consuming = &it.consuming;
            (it.connection, consuming.channel, consuming.tag.as_str())
                == (by, channel, tag.unwrap_or_default())
        };
        if let Some(at) = it.consumers.iter().rposition(is_it) {
            it.consumers.remove(at);
        }
        it.is_taken = false;
        let is_last = it.consumers.is_empty();
        if it.is_idle() {
            uses.remove(&source);
        }
        drop(uses);
        if let Source::Queue(queue) = source {
            self.touch(queue);
        }
        is_last
    }

    /// A queue goes when nobody has used it for as long as its arguments and the policies say; it counts from now if that is news.
    pub(crate) fn renew_expiry(&self, queue: QueueId) {
        let used_at = self.broker.clock().now().monotonic;
        let mut expiring = self.expiring.lock();
        // With the lock held, so that the last who comes here has seen the latest.
        match self.broker.catalog().queue_by_id(queue).and_then(|it| labels::expires_ms(it)) {
            Some(after_ms) => {
                let it = expiring.entry(queue).or_insert(Expiring { after_ms, used_at });
                if it.after_ms != after_ms {
                    *it = Expiring { after_ms, used_at };
                }
            }
            None => drop(expiring.remove(&queue)),
        }
    }

    /// Something could not be made what policies say: it is tried again.
    pub(crate) fn note_behind(&self, namespace: &str, error: &ChangeError) {
        if self.behind.fetch_add(1, Ordering::AcqRel) == 0 {
            tracing::warn!(namespace, %error, "policies cannot be applied to everything yet");
        }
    }

    /// Tries it again.
    pub(crate) async fn catch_up(&self) {
        let behind = self.behind.load(Ordering::Acquire);
        if behind == 0 {
            return;
        }
        for vhost in vhosts::all(&self.broker.catalog()) {
            if self.settle_all(vhosts::namespace_of(&vhost)).await.is_err() {
                return;
            }
        }
        // Unless there is more since.
        let _ = self.behind.compare_exchange(behind, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The queue is used.
    pub(crate) fn touch(&self, queue: QueueId) {
        if let Some(it) = self.expiring.lock().get_mut(&queue) {
            it.used_at = self.broker.clock().now().monotonic;
        }
    }

    /// Queues that have had their time; named again until [`Self::disown`].
    pub(crate) fn expired(&self) -> Vec<QueueId> {
        let now = self.broker.clock().now().monotonic;
        let uses = self.uses.lock();
        let has_consumers =
            |queue: &QueueId| uses.get(&(*queue).into()).is_some_and(|it| !it.consumers.is_empty());
        let expiring = self.expiring.lock();
        let is_over = |it: &Expiring| now.ms_since(it.used_at) >= it.after_ms;
        let expired = expiring.iter().filter(|(queue, it)| !has_consumers(queue) && is_over(it));
        expired.map(|(queue, _)| *queue).collect()
    }

    pub(crate) fn consumers(&self, source: Source) -> u32 {
        let uses = self.uses.lock();
        uses.get(&source).map_or(0, |it| u32::try_from(it.consumers.len()).unwrap_or(u32::MAX))
    }

    /// The connections that are open.
    pub(crate) fn connected(&self) -> Vec<Connected> {
        let bells = self.bells.lock();
        let connected = |bell: &Arc<Bell>| {
            let channels = bell.channels.lock().iter().copied().collect();
            Some(Connected { channels, ..bell.connected.get()?.clone() })
        };
        bells.values().filter_map(connected).collect()
    }

    /// All consumers.
    pub(crate) fn consuming(&self) -> Vec<Consuming> {
        let uses = self.uses.lock();
        uses.values().flat_map(|it| it.consumers.iter().map(Consumer::seen)).collect()
    }

    /// It is gone; its consumers leave by themselves.
    pub(crate) fn disown(&self, source: Source) {
        if let Source::Queue(queue) = source {
            self.expiring.lock().remove(&queue);
        }
        let mut uses = self.uses.lock();
        if let Some(it) = uses.get_mut(&source) {
            it.owner = None;
            let bells = self.bells.lock();
            // Consumers that have no credit would not hear of it.
            for bell in it.consumers.iter().filter_map(|it| bells.get(&it.connection)) {
                bell.queue_gone.store(true, Ordering::Release);
                bell.waker.wake();
            }
            if it.is_idle() {
                uses.remove(&source);
            }
        }
    }
}
