//! Echoes: what is appended to a topic, by any protocol, is heard on a subject.
//!
//! One thread reads the end of every echoed partition, as a consumer would, and is the only one that publishes what it reads: so
//! what a listener hears of a partition comes in order and once. A listener with too much before it is cut off, as always; or,
//! where the operator said so, it is left out from then on and served from the log, from the record where it was left, until
//! it has come as far as the others. What was captured on the very subject that it would be echoed on is left out: it was
//! heard when it was published.

mod ready;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use duolog_record::{Offset, PartitionId, Record};
use parking_lot::Mutex;
use tracing::{error, warn};

use self::ready::{Ready, Retry, Ring};
use super::bundle::{Packing, Run};
use super::outbox::Outbox;
use super::publisher::{Handing, Publisher, Stretch};
use super::{Inner, Message, Subscription, Template};
use crate::catalog::DEFAULT_NAMESPACE;
use crate::errors::FetchError;
use crate::headers::{BODY, HEADER_BASE64, SUBJECT};
use crate::limits::{
    ECHO_LOOK_BYTES, ECHO_OPEN_BYTES, ECHO_RECORD_BYTES, ECHO_TURN_BYTES, LIVE_SUBJECT_BYTES,
};
use crate::session::KeptOpen;
use crate::watch::Readable;
use crate::{Gap, Monotonic, Session};

/// How often topics and partitions that have come or gone are noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is appended to `topic` is heard on `subject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Where its records are heard.
    pub subject: Template,
    /// What happens to a listener that has too much before it.
    pub overflow: EchoOverflow,
}

/// What happens to a listener of an echo that has too much before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EchoOverflow {
    /// What it asked for when it connected: it is cut off, or loses messages.
    #[default]
    AsAlways,
    /// It gets the rest from the log, in order and once, as fast as it takes it. A group's members are never served so: the
    /// others are there for that.
    CatchUp,
}

/// The thread and what it is to do.
pub(crate) struct Echoes {
    wanted: Mutex<Wanted>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_ending: AtomicBool,
}

/// An echo, and where the partitions ended when it was asked for: what is appended from then on is heard.
#[derive(Clone)]
struct Wish {
    echo: Echo,
    ends: HashMap<PartitionId, Offset>,
}

#[derive(Default)]
struct Wanted {
    wishes: Arc<[Wish]>,
    changes: u64,
    wake: Option<Thread>,
}

impl Echoes {
    pub(crate) fn new() -> Self {
        Self { wanted: Mutex::default(), thread: Mutex::default(), is_ending: AtomicBool::new(false) }
    }

    /// What is echoed.
    pub(crate) fn get(&self) -> Vec<Echo> {
        self.wanted.lock().wishes.iter().map(|wish| wish.echo.clone()).collect()
    }

    /// Echoes these from now on, in place of those before. `session` is the broker's own.
    pub(super) fn set(self: &Arc<Self>, echoes: Vec<Echo>, session: &Session, live: &Arc<Inner>) {
        let is_any = !echoes.is_empty();
        {
            let mut wanted = self.wanted.lock();
            wanted.wishes = wishes(&wanted.wishes, echoes, |topic| ends(session, topic));
            wanted.changes += 1;
            if let Some(thread) = &wanted.wake {
                thread.unpark();
            }
        }
        let mut thread = self.thread.lock();
        if !is_any || thread.is_some() || self.is_ending.load(Ordering::Acquire) {
            return;
        }
        let (echoes, session, live) = (Arc::clone(self), session.clone(), Arc::clone(live));
        let feed = move || Feeder::new(echoes, session, live).run();
        match std::thread::Builder::new().name("echo".to_owned()).spawn(feed) {
            Ok(started) => {
                self.wanted.lock().wake = Some(started.thread().clone());
                *thread = Some(started);
            }
            Err(error) => error!(%error, "no thread for echoes: nothing is echoed"),
        }
    }

    /// Ends the thread, and waits for it.
    pub(crate) fn stop(&self) {
        self.is_ending.store(true, Ordering::Release);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            if thread.join().is_err() {
                error!("the thread of echoes has panicked");
            }
        }
    }
}

/// What is wanted from now on. What was wanted before is heard from where it was asked for: the thread may not have begun with it.
fn wishes(
    before: &[Wish],
    echoes: Vec<Echo>,
    ends: impl Fn(&str) -> HashMap<PartitionId, Offset>,
) -> Arc<[Wish]> {
    let wish = |echo: Echo| match before.iter().find(|wish| wish.echo == echo) {
        Some(known) => known.clone(),
        None => Wish { ends: ends(&echo.topic), echo },
    };
    echoes.into_iter().map(wish).collect()
}

/// Where the partitions of a topic end now; none if there is no such topic.
fn ends(session: &Session, topic: &str) -> HashMap<PartitionId, Offset> {
    let catalog = session.catalog();
    let Some(topic) = catalog.topic(DEFAULT_NAMESPACE, topic) else { return HashMap::new() };
    topic.partitions.iter().filter_map(|it| Some((*it, session.bounds(*it)?.end))).collect()
}

/// One partition under one echo.
struct Feed {
    partition: PartitionId,
    index: u32,
    echo: Echo,
    /// The next record to be heard by those who keep up.
    next: Offset,
    readable: Option<Readable>,
    behind: Vec<Behind>,
    /// The last read has failed.
    retry: Option<Retry>,
    ring: Arc<Ring>,
}

/// A subscription that is served from the log.
struct Behind {
    subscription: Arc<Subscription>,
    next: Offset,
    /// What its outbox had taken when it was full.
    taken: u64,
    /// The last read for it has failed.
    retry: Option<Retry>,
}

/// What the thread works with.
struct Feeder {
    echoes: Arc<Echoes>,
    session: Session,
    live: Arc<Inner>,
    publisher: Publisher,
    /// By their numbers, which are not used again.
    feeds: HashMap<u64, Feed>,
    feeds_ever: u64,
    /// Those that something has happened to.
    ready: Arc<Ready>,
    /// Those that are looked at from time to time, because not all that they wait for rings.
    attended: BTreeSet<u64>,
    kept: KeptOpen,
    /// Of what is wanted and of the catalog, when `feeds` was made.
    seen: (u64, u64),
}

impl Feeder {
    fn new(echoes: Arc<Echoes>, session: Session, live: Arc<Inner>) -> Self {
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
    fn run(&mut self) {
        let mut ready = Vec::new();
        let mut attended_at = self.now();
        while !self.echoes.is_ending.load(Ordering::Acquire) {
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

    fn now(&self) -> Monotonic {
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
                std::thread::park_timeout(super::PACE);
                if outbox.taken() == taken {
                    outbox.stalled(taken);
                }
            }
        }
    }

    /// The next records from the log for one that is behind.
    fn catch_up(&mut self, feed: &Feed, one: &mut Behind, waiting: &mut Context<'_>) -> CaughtUp {
        if one.subscription.is_gone() {
            return CaughtUp::Over;
        }
        if one.next >= feed.next {
            return CaughtUp::Over;
        }
        if one.retry.as_ref().is_some_and(|retry| !retry.is_due(self.now())) {
            return CaughtUp::Waits;
        }
        let outbox = Arc::clone(one.subscription.outbox());
        if !outbox.has_room() && outbox.poll_moved(one.taken, waiting).is_pending() {
            return CaughtUp::Waits;
        }
        one.taken = outbox.taken();
        if self.session.bounds(feed.partition).is_none_or(|bounds| bounds.start > one.next) {
            warn!(topic = %feed.echo.topic, "records went before a slow listener had caught up: it is cut off");
            self.end_slow(&outbox);
            return CaughtUp::Over;
        }
        let mut packing = Packing::default();
        let mut offsets = Vec::new();
        let until = feed.next;
        let read = self.read(feed, one.next, |_, offset, message| {
            if offset >= until {
                return usize::MAX;
            }
            if one.subscription.pattern().matches(message.subject)
                && (outbox.options().carries)(message.subject)
            {
                offsets.push(offset);
                packing.add(message);
            }
            packing.bytes()
        });
        // What comes before it is handed over first.
        if let Some(gap) = read.gap.filter(|gap| packing.is_empty() && gap.offsets.start < until) {
            let error = gap.error;
            warn!(topic = %feed.echo.topic, %error, "records for a slow listener are damaged: it is cut off");
            self.end_slow(&outbox);
            return CaughtUp::Over;
        }
        if let Some(error) = read.error.filter(|_| packing.is_empty()) {
            let retry = Retry::after(one.retry.take(), self.now());
            warn!(topic = %feed.echo.topic, %error, wait_ms = retry.wait_ms(),
                "records for a slow listener cannot be read and are read again later");
            one.retry = Some(retry);
            return CaughtUp::Waits;
        }
        one.retry = None;
        let next = read.next.min(until);
        if !packing.is_empty() {
            let to = packing.len();
            let bundle = packing.seal(&self.live.memory);
            let mut handing = Handing::default();
            let run = Run { subscription: Arc::clone(&one.subscription), bundle, from: 0, to };
            let fitted = handing.hand(&self.live, run, true);
            self.publisher.finish(0, handing);
            if let Some(fitted) = fitted {
                if fitted == 0 && outbox.is_clear() {
                    warn!(topic = %feed.echo.topic, "a record is larger than a listener may have before it: it is cut off");
                    self.end_slow(&outbox);
                    return CaughtUp::Over;
                }
                one.next = offsets[fitted as usize];
                // Unless something was taken meanwhile, it is tried again when something is.
                let is_waiting = fitted == 0 && outbox.poll_moved(one.taken, waiting).is_pending();
                return if is_waiting { CaughtUp::Waits } else { CaughtUp::Moved };
            }
        }
        one.next = next;
        CaughtUp::Moved
    }

    fn end_slow(&self, outbox: &Outbox) {
        self.live.count_cut();
        outbox.end_slow();
    }

    /// Reads records of a feed and hands each to `visit` as a message; `visit` answers how many bytes it has.
    fn read(
        &mut self,
        feed: &Feed,
        from: Offset,
        mut visit: impl FnMut(&mut Publisher, Offset, Message<'_>) -> usize,
    ) -> ReadTurn {
        let mut turn = ReadTurn { next: from, gap: None, error: None };
        let (mut subject, mut headers) = (Vec::new(), Vec::new());
        let publisher = &mut self.publisher;
        // Before it is read: what comes meanwhile is not to be passed over.
        let end = self.session.bounds(feed.partition).map_or(from, |bounds| bounds.end.max(from));
        // Of all records, heard or not: others wait for this thread.
        let mut looked_at = 0;
        let mut has_broken_off = false;
        let read = self.session.scan_on(feed.partition, from, &mut self.kept, |seen| {
            has_broken_off = true;
            let record = match seen {
                Ok(record) => record,
                Err(gap) => {
                    turn.next = from.max(gap.offsets.start);
                    turn.gap = Some(gap);
                    return ControlFlow::Break(());
                }
            };
            let offset = record.offset;
            feed.echo.subject.fill(&mut subject, &feed.echo.topic, feed.index, record.key.as_deref());
            let mut bytes = 0;
            if subject.len() <= LIVE_SUBJECT_BYTES && !was_heard(&record, &subject) {
                write_headers(&record, &mut headers);
                let payload = record.value.as_deref().unwrap_or_default();
                let message = Message { subject: &subject, reply: b"", headers: &headers, payload };
                bytes = visit(publisher, offset, message);
            }
            if bytes == usize::MAX {
                turn.next = offset;
                return ControlFlow::Break(());
            }
            turn.next = offset.plus(1);
            looked_at += record.value.as_ref().map_or(0, |value| value.len()) + ECHO_RECORD_BYTES;
            if bytes >= ECHO_TURN_BYTES || looked_at >= ECHO_LOOK_BYTES {
                return ControlFlow::Break(());
            }
            has_broken_off = false;
            ControlFlow::Continue(())
        });
        match read {
            // Behind the last record there may be offsets without any.
            Ok(()) if !has_broken_off => turn.next = turn.next.max(end),
            Ok(()) => {}
            Err(error) => turn.error = Some(error),
        }
        turn
    }
}

/// What a read has come to.
struct ReadTurn {
    /// Where it stopped: all below has been visited, or there is nothing.
    next: Offset,
    /// What comes there is damaged.
    gap: Option<Gap>,
    /// What comes there cannot be read now.
    error: Option<FetchError>,
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// What came of serving one that is behind.
enum CaughtUp {
    Moved,
    Waits,
    Over,
}

/// True if a record was captured on the subject that it would be echoed on.
fn was_heard(record: &Record, subject: &[u8]) -> bool {
    // The last is the broker's own: one before it came with the message, from a client that sends on what it has heard.
    let captured = record.headers.iter().rfind(|header| *header.key == *SUBJECT.as_bytes());
    captured.is_some_and(|header| header.value.as_deref() == Some(subject))
}

/// The block of a record's headers, see [`Message::headers`], in place of what `into` held. What a line cannot hold stands in base64
/// under a name that says so.
fn write_headers(record: &Record, into: &mut Vec<u8>) {
    into.clear();
    if record.headers.is_empty() && record.value.is_some() {
        return;
    }
    into.extend_from_slice(b"\r\n");
    for header in &record.headers {
        let value = header.value.as_deref().unwrap_or_default();
        if is_name(&header.key) && is_line(value) {
            line(into, &[&header.key], value);
        } else {
            let name = STANDARD.encode(&header.key);
            let value = STANDARD.encode(value);
            line(into, &[HEADER_BASE64.as_bytes()], format!("{name} {value}").as_bytes());
        }
    }
    if record.value.is_none() {
        line(into, &[BODY.as_bytes()], b"null");
    }
    into.extend_from_slice(b"\r\n");
}

fn line(into: &mut Vec<u8>, name: &[&[u8]], value: &[u8]) {
    name.iter().for_each(|part| into.extend_from_slice(part));
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

fn is_line(value: &[u8]) -> bool {
    let is_trimmed = value.trim_ascii().len() == value.len();
    is_trimmed
        && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        && std::str::from_utf8(value).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use duolog_record::{Header, Offset, PartitionId, Record, Timestamp};

    use super::{Echo, EchoOverflow, was_heard, wishes, write_headers};
    use crate::headers::SUBJECT;

    #[test]
    fn an_echo_that_stays_begins_where_it_was_asked_for() {
        let echo = |topic: &str| {
            let subject = "x".parse().expect("sound");
            Echo { topic: topic.into(), subject, overflow: EchoOverflow::AsAlways }
        };
        let end = |offset: u64| move |_: &str| HashMap::from([(PartitionId(1), Offset(offset))]);
        let first = wishes(&[], vec![echo("a")], end(5));
        let second = wishes(&first, vec![echo("a"), echo("b")], end(9));
        let ends: Vec<_> = second.iter().map(|wish| wish.ends[&PartitionId(1)]).collect();
        assert_eq!(ends, [Offset(5), Offset(9)]);
    }

    #[test]
    fn what_a_client_sends_on_with_its_headers_was_heard_where_it_was_sent() {
        let header = |subject: &'static str| Header {
            key: Bytes::from_static(SUBJECT.as_bytes()),
            value: Some(Bytes::from_static(subject.as_bytes())),
        };
        let headers = vec![header("first"), header("second")];
        let record = Record { offset: Offset(0), timestamp: Timestamp(0), key: None, value: None, headers };
        assert!(was_heard(&record, b"second"));
        assert!(!was_heard(&record, b"first"));
    }

    #[test]
    fn headers_are_lines_or_base64() {
        let header = |key: &'static [u8], value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        };
        let block = |headers: Vec<Header>, value: Option<&'static [u8]>| {
            let value = value.map(Bytes::from_static);
            let record = Record { offset: Offset(0), timestamp: Timestamp(0), key: None, value, headers };
            let mut into = b"old".to_vec();
            write_headers(&record, &mut into);
            String::from_utf8(into).expect("text")
        };
        assert_eq!(block(vec![], Some(b"v")), "");
        assert_eq!(block(vec![], None), "\r\nduolog-body: null\r\n\r\n");
        assert_eq!(
            block(
                vec![header(b"a", Some(b"1")), header(b"b c", Some(b"2")), header(b"d", Some(b"x\r\ny"))],
                Some(b"")
            ),
            "\r\na: 1\r\nduolog-header-base64: YiBj Mg==\r\nduolog-header-base64: ZA== eA0KeQ==\r\n\r\n"
        );
    }
}
