//! Live channels: who listens now hears what is published now; nothing is stored.
//!
//! Place: beside the shard, which it does not pass: finding and handing over run on the threads of the connections.
//! Invariants: a publisher's messages reach a listener in the order of publishing; a listener that is slow never slows a
//! publisher, nor its peers, by more than a moment while it moves, and not at all when it does not; what all hold together
//! is bounded, and the nearer it comes to the bound the less a single one may hold.

mod bundle;
mod capture;
mod echo;
mod listener;
mod outbox;
mod pattern;
mod publisher;
mod space;
mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use self::bundle::{Message, Run, Waiting};
pub use self::capture::{Capture, Captured, CapturedAt};
pub use self::echo::{Echo, EchoOverflow};
pub use self::listener::{Ender, Listener, SubscribeError, Subscription, Tag};
pub use self::outbox::{Cut, ListenerOptions, Overflow, PendingSize, SoftLimit};
pub use self::pattern::{APART, BadPattern, Pattern, SEPARATOR, Token};
pub use self::publisher::{Flow, PACE, PublishError, Publisher};
pub use self::template::{BadTemplate, Template};

pub(crate) use self::echo::Echoes;

use self::bundle::Memory;
use self::outbox::Outbox;
use self::publisher::Handing;
use self::space::{Found, Space};
use crate::limits::CAPTURES;
use crate::principal::authorize;
use crate::seed::Seed;
use crate::{Action, Authorizer, Clock, Principal, Session};

/// The subjects of a broker and who listens to them. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

/// What listeners and publishers share.
struct Inner {
    space: RwLock<Space>,
    /// Counts the changes of `space`.
    generation: AtomicU64,
    captures: RwLock<Arc<[Capture]>>,
    echoes: Arc<Echoes>,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    authorizer: Arc<dyn Authorizer>,
    counts: Counts,
    seed: u64,
}

#[derive(Default)]
struct Counts {
    listeners: AtomicU64,
    /// Ever.
    publishers: AtomicU64,
    published: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    cut: AtomicU64,
    captured: AtomicU64,
    not_captured: AtomicU64,
    echo_lost: AtomicU64,
    echo_turns: AtomicU64,
}

/// A look at the live channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Connections that may listen.
    pub listeners: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Bytes that wait for listeners, those that several wait for once.
    pub bytes: u64,
    /// Messages since the start.
    pub published: u64,
    /// Messages handed to listeners since the start.
    pub delivered: u64,
    /// Messages that slow listeners lost, having asked for that.
    pub dropped: u64,
    /// Listeners that were cut off because they were slow.
    pub cut: u64,
    /// Messages that were appended to a topic.
    pub captured: u64,
    /// Messages that should have been, and could not.
    pub not_captured: u64,
    /// Offsets whose records were not echoed, because what is stored of them is damaged.
    pub echo_lost: u64,
    /// Times that an echoed partition was looked at.
    pub echo_turns: u64,
}

impl Live {
    /// Without anybody; all outboxes together hold about `bytes_max` bytes at most.
    #[must_use]
    pub fn new(bytes_max: usize, clock: Arc<dyn Clock>, authorizer: Arc<dyn Authorizer>, seed: u64) -> Self {
        let inner = Inner {
            space: RwLock::default(),
            generation: AtomicU64::new(1),
            captures: RwLock::new(Arc::new([])),
            echoes: Arc::new(Echoes::new()),
            memory: Arc::new(Memory::new(bytes_max)),
            clock,
            authorizer,
            counts: Counts::default(),
            seed,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A connection's end; see [`crate::Session::listen`].
    pub(crate) fn listen(&self, principal: Arc<Principal>, options: ListenerOptions) -> Listener {
        self.inner.counts.listeners.fetch_add(1, Ordering::Relaxed);
        Listener {
            live: Arc::clone(&self.inner),
            principal,
            outbox: Arc::new(Outbox::new(options)),
            subscriptions: Mutex::default(),
        }
    }

    /// A connection's way in; see [`crate::Session::publisher`].
    pub(crate) fn publisher(
        &self,
        principal: Arc<Principal>,
        own: Option<&Listener>,
        session: Option<Session>,
    ) -> Publisher {
        let turn = self.inner.counts.publishers.fetch_add(1, Ordering::Relaxed);
        let turn = Seed::new(self.inner.seed, turn).next();
        let own = own.map(|own| Arc::clone(&own.outbox));
        Publisher::new(Arc::clone(&self.inner), principal, own, session, turn)
    }

    /// Which subjects are captured from now on, in place of those before.
    ///
    /// # Errors
    /// `OverLimit` above `limits::CAPTURES`, or if a pattern is too long.
    pub fn set_captures(&self, captures: Vec<Capture>) -> Result<(), SubscribeError> {
        if captures.len() > CAPTURES || captures.iter().any(|capture| capture.pattern.is_too_long()) {
            return Err(SubscribeError::OverLimit);
        }
        *self.inner.captures.write() = captures.into();
        self.inner.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// See [`crate::Broker::set_echoes`].
    pub(crate) fn set_echoes(&self, echoes: Vec<Echo>, session: &Session) {
        self.inner.echoes.set(echoes, session, &self.inner);
    }

    /// Ends what runs for the live channels.
    pub(crate) fn stop(&self) {
        self.inner.echoes.stop();
    }

    /// What is echoed.
    #[must_use]
    pub fn echoes(&self) -> Vec<Echo> {
        self.inner.echoes.get()
    }

    /// What is captured.
    #[must_use]
    pub fn captures(&self) -> Arc<[Capture]> {
        Arc::clone(&self.inner.captures.read())
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> LiveStats {
        let counts = &self.inner.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LiveStats {
            listeners: read(&counts.listeners),
            subscriptions: self.inner.space.read().len() as u64,
            bytes: self.inner.memory.used() as u64,
            published: read(&counts.published),
            delivered: read(&counts.delivered),
            dropped: read(&counts.dropped),
            cut: read(&counts.cut),
            captured: read(&counts.captured),
            not_captured: read(&counts.not_captured),
            echo_lost: read(&counts.echo_lost),
            echo_turns: read(&counts.echo_turns),
        }
    }

    /// Each subject that is listened to by its own name, and by how many.
    pub fn literals(&self, each: &mut dyn FnMut(&[u8], u64)) {
        self.inner.space.read().each_literal(&mut |subject, count| each(subject, count as u64));
    }

    /// How many listen to a subject by its own name.
    #[must_use]
    pub fn count(&self, subject: &[u8]) -> u64 {
        self.inner.space.read().count(subject) as u64
    }

    /// How many different globs are listened to.
    #[must_use]
    pub fn globs(&self) -> u64 {
        self.inner.space.read().globs() as u64
    }
}

impl Inner {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Changes who listens; publishers look up anew.
    fn change<R>(&self, change: impl FnOnce(&mut Space) -> R) -> R {
        let mut space = self.space.write();
        let result = change(&mut space);
        self.generation.fetch_add(1, Ordering::Release);
        result
    }

    fn find(&self, subject: &[u8]) -> Found {
        self.space.read().find(subject)
    }

    /// The topics that keep what is published on a subject, each once.
    fn captured(&self, subject: &[u8]) -> Vec<Arc<str>> {
        let captures = Arc::clone(&self.captures.read());
        let mut topics: Vec<Arc<str>> = Vec::new();
        for capture in captures.iter().filter(|capture| capture.pattern.matches(subject)) {
            if !topics.contains(&capture.topic) {
                topics.push(Arc::clone(&capture.topic));
            }
        }
        topics
    }

    fn may(&self, principal: &Principal, action: Action, pattern: &Pattern) -> bool {
        authorize(&*self.authorizer, principal, action, &pattern.resource()).is_some()
    }

    fn count_published(&self, published: u64) {
        self.counts.published.fetch_add(published, Ordering::Relaxed);
    }

    fn count(&self, published: u64, handing: &Handing) {
        self.count_published(published);
        self.counts.delivered.fetch_add(handing.delivered, Ordering::Relaxed);
        self.counts.dropped.fetch_add(handing.dropped, Ordering::Relaxed);
        self.counts.cut.fetch_add(handing.cut, Ordering::Relaxed);
    }

    fn count_captured(&self, captured: &[Captured]) {
        let stored = captured.iter().filter(|one| one.place.is_ok()).count();
        self.counts.captured.fetch_add(stored as u64, Ordering::Relaxed);
        self.counts.not_captured.fetch_add((captured.len() - stored) as u64, Ordering::Relaxed);
    }

    fn count_cut(&self) {
        self.counts.cut.fetch_add(1, Ordering::Relaxed);
    }

    fn listener_gone(&self) {
        self.counts.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
