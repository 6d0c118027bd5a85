//! What all connections share: the broker's session, the settings, the registry and the counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use duolog_broker::live::{ListenerOptions, Overflow, SoftLimit};
use duolog_broker::{Now, Session};

use crate::RedisOptions;
use crate::limits::NAMES_BYTES;
use crate::registry::Registry;

/// Counts since the start, or since CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Connections that exist now.
    pub connections: usize,
    /// Connections that ever began.
    pub connections_begun: u64,
    /// Commands served.
    pub commands: u64,
    /// Subscribers cut off because too much waited for them.
    pub subscribers_cut: u64,
}

/// Counters behind [`RedisStats`].
#[derive(Default)]
pub struct Counters {
    /// Counted once per input, not per command.
    pub commands: AtomicU64,
    /// See [`RedisStats::subscribers_cut`].
    pub cut: AtomicU64,
    /// Connections before the last CONFIG RESETSTAT.
    pub begun_before: AtomicU64,
}

/// What may wait for a subscriber; CONFIG SET changes it for those who come.
pub struct Buffers {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_ms: AtomicU64,
}

/// One reading of [`Buffers`]. Nought is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// At any time.
    pub hard_bytes: usize,
    /// For longer than `soft_ms`.
    pub soft_bytes: usize,
    /// See `soft_bytes`.
    pub soft_ms: u64,
}

/// One per frontend.
pub struct Server {
    /// Of the principal that connections act as.
    pub broker: Session,
    /// As it was started.
    pub options: RedisOptions,
    /// All connections.
    pub clients: Registry,
    /// See [`Counters`].
    pub counters: Counters,
    /// See [`Buffers`].
    pub buffers: Buffers,
    /// Bytes of the names that all connections listen to.
    pub names: AtomicUsize,
    /// When it began.
    pub since: Now,
}

impl Server {
    /// Begins now.
    pub fn new(broker: Session, options: RedisOptions) -> Self {
        let buffers = Buffers {
            hard_bytes: AtomicUsize::new(options.buffer_hard_bytes),
            soft_bytes: AtomicUsize::new(options.buffer_soft_bytes),
            soft_ms: AtomicU64::new(options.buffer_soft_ms),
        };
        let since = broker.clock().now();
        Self {
            broker,
            options,
            clients: Registry::default(),
            counters: Counters::default(),
            buffers,
            names: AtomicUsize::new(0),
            since,
        }
    }

    /// See [`RedisStats`].
    pub fn stats(&self) -> RedisStats {
        let begun = self.clients.begun();
        RedisStats {
            connections: self.clients.len(),
            connections_begun: begun.saturating_sub(self.counters.begun_before.load(Relaxed)),
            commands: self.counters.commands.load(Relaxed),
            subscribers_cut: self.counters.cut.load(Relaxed),
        }
    }

    /// Forgets what was counted.
    pub fn reset_stats(&self) {
        self.counters.commands.store(0, Relaxed);
        self.counters.cut.store(0, Relaxed);
        self.counters.begun_before.store(self.clients.begun(), Relaxed);
    }

    /// Takes room for a name that somebody begins to listen to; false if there is none.
    pub fn keep_name(&self, bytes: usize) -> bool {
        let fits = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= NAMES_BYTES);
        self.names.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Gives the room of names back.
    pub fn forget_names(&self, bytes: usize) {
        self.names.fetch_sub(bytes, Relaxed);
    }

    /// For a subscriber that begins now.
    pub fn listener_options(&self) -> ListenerOptions {
        let limits = self.buffers.get();
        ListenerOptions {
            bytes_max: if limits.hard_bytes == 0 { usize::MAX } else { limits.hard_bytes },
            messages_max: usize::MAX,
            soft: (limits.soft_bytes > 0)
                .then_some(SoftLimit { bytes: limits.soft_bytes, ms: limits.soft_ms }),
            overflow: Overflow::Cut,
            own: true,
            carries: |_| true,
        }
    }
}

impl Buffers {
    /// What holds now.
    pub fn get(&self) -> BufferLimits {
        BufferLimits {
            hard_bytes: self.hard_bytes.load(Relaxed),
            soft_bytes: self.soft_bytes.load(Relaxed),
            soft_ms: self.soft_ms.load(Relaxed),
        }
    }

    /// What holds for subscribers that begin later.
    pub fn set(&self, limits: BufferLimits) {
        self.hard_bytes.store(limits.hard_bytes, Relaxed);
        self.soft_bytes.store(limits.soft_bytes, Relaxed);
        self.soft_ms.store(limits.soft_ms, Relaxed);
    }
}
