//! The connections of all listeners: what CLIENT LIST shows of them, and how one ends another.
//!
//! What changes with every input are atomics of the connection's own entry; the lock is taken when a connection begins or
//! ends and when somebody looks at all of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use duolog_broker::live::{Listener, PendingSize};
use duolog_broker::{Monotonic, Now};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// Texts that a client gives itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
}

/// One connection as others see it.
pub struct Entry {
    /// Rising from 1, never given twice.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that it reached.
    pub local: SocketAddr,
    /// When it began.
    pub since: Monotonic,
    /// When it last sent something, as [`Monotonic`].
    pub active: AtomicU64,
    /// See [`Names`].
    pub names: Mutex<Names>,
    /// Place of its last command in the table.
    pub command: AtomicU32,
    /// Numbered database.
    pub database: AtomicU8,
    /// True once it speaks RESP3.
    pub resp3: AtomicBool,
    /// CLIENT NO-EVICT and CLIENT NO-TOUCH.
    pub no_evict: AtomicBool,
    /// See `no_evict`.
    pub no_touch: AtomicBool,
    /// Channels that it listens to.
    pub channels: AtomicUsize,
    /// Patterns that it listens to.
    pub patterns: AtomicUsize,
    /// Shard channels that it listens to.
    pub shards: AtomicUsize,
    /// What waits for it.
    listener: Mutex<Weak<Listener>>,
    killed: AtomicBool,
    waker: AtomicWaker,
}

impl Entry {
    /// Ends the connection; what it is answered now is sent if it reads on.
    pub fn kill(&self) {
        self.killed.store(true, std::sync::atomic::Ordering::Release);
        self.waker.wake();
    }

    /// True once somebody has ended it.
    pub fn is_killed(&self) -> bool {
        self.killed.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Who is to be woken when somebody ends it.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// True while it listens to something.
    pub fn is_subscriber(&self) -> bool {
        self.channels.load(Relaxed) + self.patterns.load(Relaxed) + self.shards.load(Relaxed) > 0
    }

    /// Where what waits for it can be seen.
    pub fn set_listener(&self, listener: Weak<Listener>) {
        *self.listener.lock() = listener;
    }

    /// How much waits for it.
    pub fn waiting(&self) -> PendingSize {
        let listener = self.listener.lock().upgrade();
        listener.map_or_else(PendingSize::default, |listener| listener.pending())
    }
}

/// All of them.
#[derive(Default)]
pub struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Entry>>>,
    begun: AtomicU64,
}

impl Registry {
    /// Adds a connection that has just begun.
    pub fn add(&self, peer: SocketAddr, local: SocketAddr, now: Now) -> Arc<Entry> {
        let mut clients = self.clients.lock();
        let entry = Arc::new(Entry {
            id: self.begun.fetch_add(1, Relaxed) + 1,
            peer,
            local,
            since: now.monotonic,
            active: AtomicU64::new(now.monotonic.0),
            names: Mutex::default(),
            command: AtomicU32::new(u32::MAX),
            database: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            shards: AtomicUsize::new(0),
            listener: Mutex::default(),
            killed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        clients.insert(entry.id, Arc::clone(&entry));
        entry
    }

    /// Takes out one that has ended.
    pub fn remove(&self, id: u64) {
        self.clients.lock().remove(&id);
    }

    /// Those that exist now, oldest first.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.clients.lock().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.lock().len()
    }

    /// How many there ever were.
    pub fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }
}
