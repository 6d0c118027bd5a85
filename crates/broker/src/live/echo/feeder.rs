//! The thread of the echoes: which partitions it serves, when it rests, and what is new for those who keep up.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use duolog_record::{Offset, PartitionId};
use tracing::warn;

use super::behind::{Behind, CaughtUp};
use super::{Echo, EchoOverflow, Echoes, Wish};
use crate::catalog::DEFAULT_NAMESPACE;
use crate::limits::ECHO_OPEN_BYTES;
use crate::live::bundle::{Packing, Run};
use crate::live::publisher::{Handing, Publisher, Stretch};
use crate::live::{Inner, PACE};
use crate::ready::{Ready, Retry, Ring};
use crate::session::KeptOpen;
use crate::watch::Readable;
use crate::{Gap, Monotonic, Session};

/// How often topics and partitions that have come or gone are noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// One partition under one echo.
pub(super) struct Feed {
    pub(super) partition: PartitionId,
    pub(super) index: u32,
    pub(super) echo: Echo,
    /// The next record to be heard by those who keep up.
    pub(super) next: Offset,
    readable: Option<Readable>,
    behind: Vec<Behind>,
    /// The last read has failed.
    retry: Option<Retry>,
    ring: Arc<Ring>,
}

/// What the thread works with.
pub(super) struct Feeder {
    echoes: Arc<Echoes>,
    pub(super) session: Session,
    pub(super) live: Arc<Inner>,
    pub(super) publisher: Publisher,
    /// By their numbers, which are not used again.
    feeds: HashMap<u64, Feed>,
    feeds_ever: u64,
    /// Those that something has happened to.
    ready: Arc<Ready>,
    /// Those that are looked at from time to time, because not all that they wait for rings.
    attended: BTreeSet<u64>,
    pub(super) kept: KeptOpen,
    /// Of what is wanted and of the catalog, when `feeds` was made.
    seen: (u64, u64),
}

impl Feeder {
    pub(super) fn new(echoes: Arc<Echoes>, session: Session, live: Arc<Inner>) -> Self {
        let publisher = Publisher::new(Arc::clone(&live), Arc::clone(&session.principal), None, None, 0);
        Self {
            echoes,
            session,
            live,
            publisher,
            feeds: HashMap::new(),
            feeds_ever: 0,
            ready: Arc::new(Ready::new(std::thread::current())),
            attended: BTreeSet::new(),
            kept: KeptOpen::new(ECHO_OPEN_BYTES),
            seen: (0, 0),
        }
    }

    /// Serves, in turns, those partitions that something has happened to: the others cost nothing.
    pub(super) fn run(&mut self) {
        let mut ready = Vec::new();
        let mut attended_at = self.now();
        while !self.echoes.thread.is_ending() {
            self.look();
            self.ready.take(&mut ready);
            if ready.is_empty() {
                // Whoever broke off within a batch is ready: nobody has use for those that are open.
                self.kept.clear();
                std::thread::park_timeout(self.rest());
                self.ready.take(&mut ready);
            }
            if ready.is_empty() || self.now().0.saturating_sub(attended_at.0) >= micros(LOOK_EVERY) {
                attended_at = self.now();
                self.attended
                    .iter()
                    .filter_map(|number| self.feeds.get(number))
                    .for_each(|it| it.ring.ring());
            }
            for number in ready.drain(..) {
                // One that is no longer wanted is not there.
                if let Some(mut feed) = self.feeds.remove(&number) {
                    self.serve(&mut feed);
                    self.feeds.insert(number, feed);
                }
            }
        }
    }

    fn serve(&mut self, feed: &mut Feed) {
        self.live.counts.echo_turns.fetch_add(1, Ordering::Relaxed);
        // Whatever happens from now on rings again.
        feed.ring.answer();
        let waker = Waker::from(Arc::clone(&feed.ring));
        if self.turn(feed, &mut Context::from_waker(&waker)) {
            feed.ring.ring();
        }
        let is_attended = feed.retry.is_some() || !feed.behind.is_empty();
        let number = feed.ring.number();
        if is_attended {
            self.attended.insert(number)
        } else {
            self.attended.remove(&number)
        };
    }

    /// How long nothing happens by itself.
    fn rest(&self) -> Duration {
        let now = self.now();
        let of = |feed: &Feed| {
            let behind = feed.behind.iter().filter_map(|one| one.retry.as_ref());
            feed.retry.iter().chain(behind).map(|retry| retry.left(now)).min()
        };
        let feeds = self.attended.iter().filter_map(|number| self.feeds.get(number));
        feeds.filter_map(of).min().map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))
    }

    pub(super) fn now(&self) -> Monotonic {
        self.session.clock().now().monotonic
    }

    /// Makes the feeds anew if what is wanted has changed, or what exists. A partition that came after its echo was asked for is
    /// heard from its beginning.
    fn look(&mut self) {
        let (wishes, changes) = {
            let wanted = self.echoes.wanted.lock();
            (Arc::clone(&wanted.wishes), wanted.changes)
        };
        let catalog = self.session.catalog();
        if self.seen == (changes, catalog.version) {
            return;
        }
        self.seen = (changes, catalog.version);
        let mut old: HashMap<PartitionId, Vec<Feed>> = HashMap::new();
        for (_, feed) in self.feeds.drain() {
            old.entry(feed.partition).or_default().push(feed);
        }
        for Wish { echo, ends } in wishes.iter() {
            let Some(topic) = catalog.topic(DEFAULT_NAMESPACE, &echo.topic) else { continue };
            for (index, &partition) in topic.partitions.iter().enumerate() {
                let same = old.get_mut(&partition).and_then(|feeds| {
                    let at = feeds.iter().position(|feed| feed.echo == *echo)?;
                    Some(feeds.swap_remove(at))
                });
                if let Some(feed) = same {
                    self.feeds.insert(feed.ring.number(), feed);
                    continue;
                }
                let start = || self.session.bounds(partition).unwrap_or_default().start;
                self.feeds_ever += 1;
                let ring = Ring::new(self.feeds_ever, Arc::clone(&self.ready));
                ring.ring();
                let feed = Feed {
                    partition,
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                    echo: echo.clone(),
                    next: ends.get(&partition).copied().unwrap_or_else(start),
                    readable: None,
                    behind: Vec::new(),
                    retry: None,
                    ring,
                };
                self.feeds.insert(self.feeds_ever, feed);
            }
        }
        self.attended.retain(|number| self.feeds.contains_key(number));
    }

    /// Serves a partition for a while. True if there may be more to do at once.
    fn turn(&mut self, feed: &mut Feed, waiting: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        let mut behind = std::mem::take(&mut feed.behind);
        behind.retain_mut(|one| match self.catch_up(feed, one, waiting) {
            CaughtUp::Moved => {
                has_moved = true;
                true
            }
            CaughtUp::Waits => true,
            CaughtUp::Over => false,
        });
        // Those that fell behind while others were served come last.
        behind.append(&mut feed.behind);
        feed.behind = behind;
        has_moved | self.go_on(feed, waiting)
    }

    /// What is new, to those who keep up.
    fn go_on(&mut self, feed: &mut Feed, waiting: &mut Context<'_>) -> bool {
        if let Some(readable) = &mut feed.readable
            && std::pin::Pin::new(readable).poll(waiting).is_pending()
        {
            return false;
        }
        feed.readable = None;
        if feed.retry.as_ref().is_some_and(|retry| !retry.is_due(self.now())) {
            return false;
        }
        let failed_before = feed.retry.take();
        // A partition that is gone goes with the next look.
        let Some(bounds) = self.session.bounds(feed.partition) else { return false };
        feed.next = feed.next.max(bounds.start);
        if feed.next >= bounds.end {
            let mut readable = self.session.readable(&[(feed.partition, feed.next)]);
            let is_ready = std::pin::Pin::new(&mut readable).poll(waiting).is_ready();
            feed.readable = Some(readable);
            return is_ready;
        }
        if self.live.space.read().len() == 0 {
            feed.next = bounds.end;
            return true;
        }
        let mut packing = Packing::default();
        let mut offsets = Vec::new();
        let mut stretches: Vec<Stretch> = Vec::new();
        let read = self.read(feed, feed.next, |publisher, offset, message| {
            let known = publisher.known(message.subject);
            if known.listeners() > 0 {
                let at = packing.len();
                packing.add(message);
                offsets.push(offset);
                Stretch::add(&mut stretches, &known, at);
            }
            packing.bytes()
        });
        feed.next = read.next;
        self.hand_over(feed, &mut packing, &offsets, stretches, waiting);
        if let Some(Gap { offsets, error }) = read.gap {
            warn!(topic = %feed.echo.topic, partition = feed.index, until = offsets.end.0, %error,
                "damaged records are not echoed");
            let lost = offsets.end.0.saturating_sub(offsets.start.0);
            self.live.counts.echo_lost.fetch_add(lost, Ordering::Relaxed);
            feed.next = feed.next.max(offsets.end);
        }
        let Some(error) = read.error else { return true };
        let retry = Retry::after(failed_before, self.now());
        warn!(topic = %feed.echo.topic, partition = feed.index, %error, wait_ms = retry.wait_ms(),
            "records cannot be read and are read again later");
        feed.retry = Some(retry);
        false
    }

    fn hand_over(
        &mut self,
        feed: &mut Feed,
        packing: &mut Packing,
        offsets: &[Offset],
        stretches: Vec<Stretch>,
        waiting: &mut Context<'_>,
    ) {
        if packing.is_empty() {
            return;
        }
        let published = u64::from(packing.len());
        let bundle = packing.seal(&self.live.memory);
        let mut handing = Handing::default();
        for Stretch { known, from, to } in stretches {
            for subscription in known.plain() {
                if feed.behind.iter().any(|one| Arc::ptr_eq(&one.subscription, subscription)) {
                    continue;
                }
                let may_catch_up = feed.echo.overflow == EchoOverflow::CatchUp;
                let run =
                    Run { subscription: Arc::clone(subscription), bundle: Arc::clone(&bundle), from, to };
                if let Some(fitted) = handing.hand(&self.live, run, may_catch_up) {
                    let taken = subscription.outbox().taken();
                    let next = offsets[from as usize + fitted as usize];
                    let subscription = Arc::clone(subscription);
                    feed.behind.push(Behind { subscription, next, taken, retry: None });
                }
            }
            for members in known.groups() {
                for at in from..to {
                    let member = self.publisher.choose_of(members);
                    let run = Run { subscription: member, bundle: Arc::clone(&bundle), from: at, to: at + 1 };
                    handing.hand(&self.live, run, false);
                }
            }
        }
        let lags = self.publisher.finish(published, handing);
        // The log keeps the rest: those who keep up are not to be overrun.
        if let Some(outbox) = lags {
            let taken = outbox.taken();
            if outbox.poll_moved(taken, waiting).is_pending() {
                std::thread::park_timeout(PACE);
                if outbox.taken() == taken {
                    outbox.stalled(taken);
                }
            }
        }
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
