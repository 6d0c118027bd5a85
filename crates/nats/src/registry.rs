//! Who is connected, and what is known of each: for operators, and for the limit on connections.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use duolog_broker::Session;
use duolog_broker::live::{Listener, PendingSize, Subscription, Tag};
use duolog_net::{Carrier, Connection};
use duolog_record::Timestamp;
use parking_lot::Mutex;

use crate::NatsOptions;
use crate::codec::Connect;

/// Messages and their bytes, one way.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn add(&self, other: &Self) {
        let (messages, bytes) = other.read();
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What a client said about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) lang: String,
    pub(crate) version: String,
}

/// One connection, as others see it. Its session alone changes it.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) carrier: Carrier,
    pub(crate) start: Timestamp,
    pub(crate) about: Mutex<About>,
    /// By the client's names for them.
    pub(crate) subscriptions: Mutex<HashMap<Box<[u8]>, Arc<Subscription>>>,
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    listener: OnceLock<Weak<Listener>>,
    /// Milliseconds since the epoch.
    last_activity: AtomicI64,
    /// Of the last PING, microseconds; 0 before.
    rtt_us: AtomicU64,
}

impl Client {
    pub(crate) fn is_active(&self, now: Timestamp) {
        self.last_activity.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn last_activity(&self) -> Timestamp {
        Timestamp(self.last_activity.load(Ordering::Relaxed))
    }

    pub(crate) fn took(&self, rtt_us: u64) {
        self.rtt_us.store(rtt_us, Ordering::Relaxed);
    }

    pub(crate) fn rtt_us(&self) -> u64 {
        self.rtt_us.load(Ordering::Relaxed)
    }

    pub(crate) fn listens(&self, listener: &Arc<Listener>) {
        // There is one, once.
        let _ = self.listener.set(Arc::downgrade(listener));
    }

    pub(crate) fn pending(&self) -> PendingSize {
        self.listener.get().and_then(Weak::upgrade).map(|it| it.pending()).unwrap_or_default()
    }

    pub(crate) fn introduces_itself(&self, connect: &Connect) {
        let Connect { name, lang, version, .. } = connect.clone();
        *self.about.lock() = About { name, lang, version };
    }

    /// A subscription has had all that it asked for; its name may already be another's.
    pub(crate) fn forget(&self, subscription: &Arc<Subscription>) {
        let sid = sid_and_blanks(subscription).trim_ascii();
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.get(sid).is_some_and(|known| Arc::ptr_eq(known, subscription)) {
            subscriptions.remove(sid);
        }
    }
}

/// What is kept with a subscription: the client's name for it between two blanks, as messages have it, and the subject.
pub(crate) fn tag(sid: &[u8], subject: &[u8]) -> Tag {
    let text = [b" ", sid, b" ", subject].concat();
    // Both are parts of one line.
    Tag { kind: u32::try_from(sid.len() + 2).unwrap_or(u32::MAX), text: text.into() }
}

/// The client's name for a subscription, between two blanks.
pub(crate) fn sid_and_blanks(subscription: &Subscription) -> &[u8] {
    let Tag { kind, text } = subscription.tag();
    text.get(..*kind as usize).unwrap_or_default()
}

/// The subject of a subscription as it was asked for.
pub(crate) fn subject_of(subscription: &Subscription) -> &[u8] {
    let Tag { kind, text } = subscription.tag();
    text.get(*kind as usize..).unwrap_or_default()
}

/// What has been counted since the start, of connections that are gone too.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) stale_connections: AtomicU64,
    received: Traffic,
    sent: Traffic,
}

/// All connections of a frontend.
pub(crate) struct Registry {
    broker: Session,
    options: NatsOptions,
    server_id: String,
    start: Timestamp,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    pub(crate) counts: Counts,
}

impl Registry {
    pub(crate) fn new(broker: Session, options: NatsOptions) -> Self {
        Self {
            server_id: server_id(options.seed),
            start: broker.now(),
            broker,
            options,
            clients: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn broker(&self) -> &Session {
        &self.broker
    }

    pub(crate) fn options(&self) -> &NatsOptions {
        &self.options
    }

    pub(crate) fn server_id(&self) -> &str {
        &self.server_id
    }

    pub(crate) fn start(&self) -> Timestamp {
        self.start
    }

    /// A new connection, and whether there is room for it.
    pub(crate) fn enter(&self, connection: &Connection) -> (Arc<Client>, bool) {
        let now = self.broker.now();
        let client = Arc::new(Client {
            id: self.counts.connections.fetch_add(1, Ordering::Relaxed) + 1,
            peer: connection.peer(),
            local: connection.local(),
            carrier: connection.carrier(),
            start: now,
            about: Mutex::default(),
            subscriptions: Mutex::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            listener: OnceLock::new(),
            last_activity: AtomicI64::new(now.0),
            rtt_us: AtomicU64::new(0),
        });
        let mut clients = self.clients.lock();
        let has_room = clients.len() < self.options.connections_max;
        if has_room {
            clients.insert(client.id, Arc::clone(&client));
        }
        (client, has_room)
    }

    pub(crate) fn leave(&self, client: &Client) {
        if self.clients.lock().remove(&client.id).is_some() {
            self.counts.received.add(&client.received);
            self.counts.sent.add(&client.sent);
        }
    }

    /// Those that are connected, by number.
    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// One of them.
    pub(crate) fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.lock().get(&id).cloned()
    }

    /// Messages and bytes received, and sent, since the start.
    pub(crate) fn traffic(&self) -> ((u64, u64), (u64, u64)) {
        // Under the lock, so that nobody who leaves meanwhile is counted twice or not at all.
        let clients = self.clients.lock();
        let sum = |(messages, bytes): (u64, u64), traffic: &Traffic| {
            let (more, more_bytes) = traffic.read();
            (messages + more, bytes + more_bytes)
        };
        let received = clients.values().fold(self.counts.received.read(), |all, it| sum(all, &it.received));
        let sent = clients.values().fold(self.counts.sent.read(), |all, it| sum(all, &it.sent));
        (received, sent)
    }
}

/// 56 characters as the peer's: an N and base32.
fn server_id(seed: u64) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut state = seed;
    let mut next = || {
        // SplitMix64. Source: Steele, Lea, Flood 2014.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        char::from(ALPHABET[(mixed >> 59) as usize])
    };
    std::iter::once('N').chain(std::iter::repeat_with(&mut next).take(55)).collect()
}
