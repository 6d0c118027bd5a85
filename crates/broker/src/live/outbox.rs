//! The outbox in which messages wait for one listener, and what it is held to.
//!
//! Invariant: an outbox never holds more than its listener allows, in bytes, in messages and in time, nor more than all
//! together leave free; whoever is over it is cut off, or loses messages if it asked for that. Publishers never wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::Inner;
use super::bundle::{Bundle, Packing, Run, Waiting};
use crate::Monotonic;
use crate::limits::{LIVE_HELD_FREE_BYTES, LIVE_LAG_BYTES, LIVE_RUN_BYTES, LIVE_TAKE_BYTES};

/// What a listener is held to, and what it hears.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// Bytes of all messages that wait for it.
    pub bytes_max: usize,
    /// How many messages may wait for it.
    pub messages_max: usize,
    /// A lower limit that may be passed for a while.
    pub soft: Option<SoftLimit>,
    /// What happens at a limit.
    pub overflow: Overflow,
    /// Whether it hears what its own publisher publishes.
    pub own: bool,
    /// Subjects that its protocol can write down; others it never hears.
    pub carries: fn(&[u8]) -> bool,
}

/// A lower limit that may be passed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftLimit {
    /// Bytes that wait.
    pub bytes: usize,
    /// How long it may be so many or more, milliseconds.
    pub ms: u64,
}

/// What happens when more would wait for a listener than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is cut off and told why.
    Cut,
    /// What comes is not kept, and counted.
    DropNewest,
    /// What has waited longest goes, and is counted.
    DropOldest,
}

/// Why a listener hears nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// More waited for it than may.
    #[error("a slow consumer: {messages} messages of {bytes} bytes would have waited for it")]
    Overflow {
        /// That would have waited.
        bytes: usize,
        /// That would have waited.
        messages: usize,
    },
    /// All listeners together held more than may be.
    #[error("a slow consumer when memory for all was short: {bytes} bytes would have waited for it")]
    Memory {
        /// That would have waited for this one.
        bytes: usize,
    },
    /// Somebody ended it.
    #[error("ended by an operator")]
    Ended,
}

/// How much waits for a listener, what is on its way to the socket included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingSize {
    /// Bytes.
    pub bytes: usize,
    /// Messages.
    pub messages: usize,
}

/// Where messages wait for one listener.
#[derive(Debug)]
pub(super) struct Outbox {
    options: ListenerOptions,
    queue: Mutex<Queue>,
    /// Something waits, or it is cut.
    is_due: AtomicBool,
    is_cut: AtomicBool,
    /// Counts what is taken out: whoever moves on keeps up.
    taken: AtomicU64,
    /// What `taken` was when a publisher last waited in vain.
    stalled_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    runs: VecDeque<Waiting>,
    waiting: PendingSize,
    /// Taken out and not known to be sent.
    leaving: PendingSize,
    /// Memory of the bundles that the runs keep alive, as far as they are not one another's.
    held: usize,
    soft_since: Option<Monotonic>,
    dropped: u64,
    cut: Option<Cut>,
    waker: Option<Waker>,
    pacing: Vec<Waker>,
}

/// What came of handing a run over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handed {
    pub(super) messages: u64,
    pub(super) dropped: u64,
    pub(super) cut: bool,
    /// Not all of it fitted: `messages` of it, from the first, were taken.
    pub(super) is_refused: bool,
    /// The subscription has had all that it asked for.
    pub(super) is_over: bool,
    /// It keeps up, but much waits.
    pub(super) lags: bool,
}

impl Outbox {
    pub(super) fn new(options: ListenerOptions) -> Self {
        Self {
            options,
            queue: Mutex::default(),
            is_due: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            taken: AtomicU64::new(1),
            stalled_at: AtomicU64::new(0),
        }
    }

    pub(super) fn options(&self) -> &ListenerOptions {
        &self.options
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// True if there is room for more than one that is served from the log gets at a time.
    pub(super) fn has_room(&self) -> bool {
        let pending = self.pending();
        pending.bytes <= self.options.bytes_max / 2 && pending.messages <= self.options.messages_max / 2
    }

    /// True if nothing waits and nothing is on its way to the socket: what has no room now never has.
    pub(super) fn is_clear(&self) -> bool {
        let pending = self.pending();
        (pending.bytes, pending.messages) == (0, 0)
    }

    /// Cuts it off as one that is too slow.
    pub(super) fn end_slow(&self) {
        let PendingSize { bytes, messages } = self.pending();
        self.end(Cut::Overflow { bytes, messages });
    }

    /// A publisher has waited for it in vain: none does until it moves on.
    pub(super) fn stalled(&self, taken: u64) {
        self.stalled_at.store(taken, Ordering::Relaxed);
    }

    /// Ready when something has been taken out since `taken`, or it is cut.
    pub(super) fn poll_moved(&self, taken: u64, waiting: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if self.taken() != taken || queue.cut.is_some() {
            return Poll::Ready(());
        }
        if !queue.pacing.iter().any(|waker| waker.will_wake(waiting.waker())) {
            queue.pacing.push(waiting.waker().clone());
        }
        Poll::Pending
    }

    /// Takes a run for one of its subscriptions, or what may be of it.
    pub(super) fn push(&self, mut run: Run, live: &Inner, may_refuse: bool) -> Handed {
        let mut handed = Handed::default();
        let mut queue = self.queue.lock();
        let subscription = Arc::clone(&run.subscription);
        if queue.cut.is_some() || subscription.is_closed.load(Ordering::Relaxed) {
            return handed;
        }
        let delivered = subscription.delivered.load(Ordering::Relaxed);
        if may_refuse && !queue.fits(&run, &self.options, live) {
            let whole = run.to;
            run.to = queue.fitting(&run, &self.options, live);
            // Memory that others give back meanwhile may have made room for all of it.
            handed.is_refused = run.to < whole;
        }
        let left = subscription.limit.load(Ordering::Relaxed).saturating_sub(delivered);
        if left <= run.len() as u64 && !(handed.is_refused && run.is_empty()) {
            run.to = run.from + u32::try_from(left).unwrap_or(u32::MAX);
            handed.is_over = true;
            subscription.is_closed.store(true, Ordering::Relaxed);
        }
        if run.is_empty() {
            return handed;
        }
        let offered = run.len() as u64;
        let dropped_before = queue.dropped;
        if !queue.fits(&run, &self.options, live) {
            queue.overflow(&mut run, &self.options, live);
        }
        handed.dropped = queue.dropped - dropped_before;
        handed.messages = run.len() as u64;
        // What is dropped has been used up as well: a number that was asked for counts what was sent to it.
        subscription.delivered.store(delivered + offered, Ordering::Relaxed);
        handed.cut = queue.cut.is_some();
        if handed.cut {
            self.is_cut.store(true, Ordering::Relaxed);
        }
        if !handed.cut && !run.is_empty() {
            queue.put(run, live);
            handed.lags = queue.waiting.bytes > LIVE_LAG_BYTES
                && self.stalled_at.load(Ordering::Relaxed) != self.taken();
        }
        let waker =
            if self.is_due.swap(true, Ordering::AcqRel) && !handed.cut { None } else { queue.waker.take() };
        let pacing = if handed.cut { std::mem::take(&mut queue.pacing) } else { Vec::new() };
        drop(queue);
        waker.into_iter().chain(pacing).for_each(Waker::wake);
        handed
    }

    /// Puts what the connection itself says behind what waits; over a limit it is cut.
    pub(super) fn say(&self, bytes: &[u8], live: &Inner) {
        let mut queue = self.queue.lock();
        if queue.cut.is_some() {
            return;
        }
        let PendingSize { bytes: pending, messages } = queue.pending();
        if pending + bytes.len() > self.options.bytes_max {
            drop(queue);
            live.count_cut();
            return self.end(Cut::Overflow { bytes: pending, messages });
        }
        queue.put_own(bytes);
        self.is_due.store(true, Ordering::Release);
    }

    pub(super) fn take(&self, into: &mut VecDeque<Waiting>) -> Result<bool, Cut> {
        self.take_locked(&mut self.queue.lock(), into)
    }

    /// The same; pending while nothing waits.
    pub(super) fn poll_take(
        &self,
        waiting: &mut Context<'_>,
        into: &mut VecDeque<Waiting>,
    ) -> Poll<Result<(), Cut>> {
        let mut queue = self.queue.lock();
        match self.take_locked(&mut queue, into) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                queue.wait(waiting);
                Poll::Pending
            }
            Err(cut) => Poll::Ready(Err(cut)),
        }
    }

    /// Ready once it is cut.
    pub(super) fn poll_cut(&self, waiting: &mut Context<'_>) -> Poll<Cut> {
        let mut queue = self.queue.lock();
        if let Some(cut) = queue.cut {
            return Poll::Ready(cut);
        }
        queue.wait(waiting);
        Poll::Pending
    }

    /// True if nothing waits and it is not cut.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_due.load(Ordering::Acquire)
    }

    /// True once it is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// How much waits.
    pub(super) fn pending(&self) -> PendingSize {
        self.queue.lock().pending()
    }

    /// Messages that were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }

    /// Does something to a subscription while nothing is handed over to it.
    pub(super) fn between<R>(&self, change: impl FnOnce() -> R) -> R {
        let _queue = self.queue.lock();
        change()
    }

    fn take_locked(&self, queue: &mut Queue, into: &mut VecDeque<Waiting>) -> Result<bool, Cut> {
        if let Some(cut) = queue.cut {
            return Err(cut);
        }
        let sent = std::mem::take(&mut queue.leaving);
        while queue.leaving.bytes < LIVE_TAKE_BYTES
            && let Some(next) = queue.pop()
        {
            queue.leaving.bytes += next.bytes();
            queue.leaving.messages += next.messages();
            into.push_back(next);
        }
        if queue.leaving.bytes == 0 {
            self.is_due.store(false, Ordering::Release);
            // What has been sent makes room as well as what is taken out.
            if sent.bytes > 0 {
                self.has_moved(queue);
            }
            return Ok(false);
        }
        if queue.runs.is_empty() {
            self.is_due.store(false, Ordering::Release);
            if queue.runs.capacity() > 64 {
                queue.runs = VecDeque::new();
            }
        }
        self.has_moved(queue);
        Ok(true)
    }

    /// Tells those who wait for it to move.
    fn has_moved(&self, queue: &mut Queue) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        queue.pacing.drain(..).for_each(Waker::wake);
    }

    /// Ends it; nothing more is heard.
    pub(super) fn end(&self, cut: Cut) {
        let mut queue = self.queue.lock();
        queue.cut(cut);
        self.is_cut.store(true, Ordering::Relaxed);
        self.is_due.store(true, Ordering::Release);
        let wakers: Vec<Waker> = queue.waker.take().into_iter().chain(queue.pacing.drain(..)).collect();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Queue {
    fn pending(&self) -> PendingSize {
        PendingSize {
            bytes: self.waiting.bytes + self.leaving.bytes,
            messages: self.waiting.messages + self.leaving.messages,
        }
    }

    /// True if the run may wait here.
    fn fits(&mut self, run: &Run, options: &ListenerOptions, live: &Inner) -> bool {
        let PendingSize { bytes, messages } = self.pending();
        let bytes = bytes + run.bytes() + LIVE_RUN_BYTES;
        if bytes > options.bytes_max || messages + run.len() > options.messages_max {
            return false;
        }
        // Who has little is not who memory is short for.
        if bytes > live.memory.free() && !self.runs.is_empty() {
            return false;
        }
        match options.soft {
            Some(soft) if bytes > soft.bytes => {
                let now = live.clock.now().monotonic;
                let since = *self.soft_since.get_or_insert(now);
                now.ms_since(since) < soft.ms
            }
            Some(_) | None => {
                self.soft_since = None;
                true
            }
        }
    }

    /// Does what the listener asked for when a run does not fit: what is left of the run does.
    fn overflow(&mut self, run: &mut Run, options: &ListenerOptions, live: &Inner) {
        match options.overflow {
            Overflow::Cut => {
                let PendingSize { bytes, messages } = self.pending();
                let is_memory =
                    bytes + run.bytes() <= options.bytes_max && bytes + run.bytes() > live.memory.free();
                let (bytes, messages) = (bytes + run.bytes(), messages + run.len());
                self.cut(if is_memory { Cut::Memory { bytes } } else { Cut::Overflow { bytes, messages } });
                run.to = run.from;
            }
            Overflow::DropNewest => {
                let fitting = self.fitting(run, options, live);
                self.dropped += u64::from(run.to - fitting);
                run.to = fitting;
            }
            Overflow::DropOldest => {
                while !self.fits(run, options, live) {
                    self.dropped += 1;
                    if self.drop_oldest() {
                        continue;
                    }
                    // It alone is too much: the end of it is the newest.
                    run.from += 1;
                    if run.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// Up to where a run fits.
    fn fitting(&mut self, run: &Run, options: &ListenerOptions, live: &Inner) -> u32 {
        let mut part = run.clone();
        let soft_since = self.soft_since;
        let (mut fitting, mut too_many) = (run.from, run.to + 1);
        while fitting + 1 < too_many {
            part.to = fitting.midpoint(too_many);
            // A small part, tried, is no end of the time above the soft limit.
            self.soft_since = soft_since;
            if self.fits(&part, options, live) {
                fitting = part.to;
            } else {
                too_many = part.to;
            }
        }
        fitting
    }

    fn put(&mut self, run: Run, live: &Inner) {
        self.waiting.bytes += run.bytes();
        self.waiting.messages += run.len();
        if let Some(Waiting::Run(last)) = self.runs.back_mut()
            && Arc::ptr_eq(&last.bundle, &run.bundle)
        {
            if last.to == run.from && Arc::ptr_eq(&last.subscription, &run.subscription) {
                last.to = run.to;
                return;
            }
        } else {
            self.held += run.bundle.held_bytes();
        }
        self.waiting.bytes += LIVE_RUN_BYTES;
        self.runs.push_back(Waiting::Run(run));
        // A few small messages out of many large bundles would hold all of those: they get a bundle of their own.
        if self.held > 4 * self.waiting.bytes + LIVE_HELD_FREE_BYTES {
            self.repack(live);
        }
    }

    fn put_own(&mut self, bytes: &[u8]) {
        self.waiting.bytes += bytes.len();
        if let Some(Waiting::Own(last)) = self.runs.back_mut() {
            last.extend_from_slice(bytes);
            return;
        }
        self.waiting.bytes += LIVE_RUN_BYTES;
        self.runs.push_back(Waiting::Own(bytes.to_vec()));
    }

    fn pop(&mut self) -> Option<Waiting> {
        let next = self.runs.pop_front()?;
        self.gone(&next, self.runs.front().is_some_and(|behind| shares_bundle(&next, behind)));
        Some(next)
    }

    /// Lets the oldest message go; false if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(at) = self.runs.iter().position(|it| matches!(it, Waiting::Run(_))) else { return false };
        if let Some(Waiting::Run(run)) = self.runs.get_mut(at)
            && run.len() > 1
        {
            self.waiting.bytes -= run.bundle.bytes_of(run.from, run.from + 1);
            self.waiting.messages -= 1;
            run.from += 1;
        } else if let Some(oldest) = self.runs.remove(at) {
            self.gone(&oldest, self.runs.get(at).is_some_and(|behind| shares_bundle(&oldest, behind)));
        }
        true
    }

    fn gone(&mut self, gone: &Waiting, is_still_held: bool) {
        self.waiting.bytes -= gone.bytes();
        self.waiting.messages -= gone.messages();
        if let Waiting::Run(run) = gone
            && !is_still_held
        {
            self.held = self.held.saturating_sub(run.bundle.held_bytes());
        }
    }

    fn repack(&mut self, live: &Inner) {
        let mut packing = Packing::default();
        let mut places = Vec::with_capacity(self.runs.len());
        for run in self.runs.iter().filter_map(Waiting::run) {
            let from = packing.len();
            (0..run.len()).for_each(|index| packing.add(run.get(index)));
            places.push((from, packing.len()));
        }
        let bundle: Arc<Bundle> = packing.seal(&live.memory);
        self.held = bundle.held_bytes();
        for (run, (from, to)) in self.runs.iter_mut().filter_map(Waiting::run_mut).zip(places) {
            (run.bundle, run.from, run.to) = (Arc::clone(&bundle), from, to);
        }
    }

    fn wait(&mut self, waiting: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(waiting.waker())) {
            self.waker = Some(waiting.waker().clone());
        }
    }

    fn cut(&mut self, cut: Cut) {
        self.cut.get_or_insert(cut);
        self.runs = VecDeque::new();
        self.waiting = PendingSize::default();
        self.held = 0;
    }
}

fn shares_bundle(one: &Waiting, other: &Waiting) -> bool {
    match (one, other) {
        (Waiting::Run(one), Waiting::Run(other)) => Arc::ptr_eq(&one.bundle, &other.bundle),
        (Waiting::Run(_) | Waiting::Own(_), _) => false,
    }
}
