//! One connection's way into the live channels: finds who hears, packs what they hear, hands it over in bundles.
//!
//! A subject is looked up once and remembered until anybody's subscriptions change; consecutive messages for the same
//! listeners are one run. So the cost per message is a copy of its bytes, and locks are taken per bundle and listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::bundle::{Bundle, Message, Packing, Run};
use super::capture::{Captured, Captures};
use super::outbox::Outbox;
use super::{Inner, Pattern, Subscription};
use crate::limits::{LIVE_BUNDLE_BYTES, LIVE_KNOWN_BYTES, LIVE_KNOWN_SUBJECTS, LIVE_SUBJECT_BYTES};
use crate::{Action, Principal, Session};

/// How long a publisher holds back at most for listeners that keep up but have much before them.
pub const PACE: Duration = Duration::from_millis(2);

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The principal may not publish there.
    #[error("not permitted")]
    Denied,
    /// Subject or reply are longer than a message's may be.
    #[error("the subject is longer than {LIVE_SUBJECT_BYTES} bytes")]
    TooLong,
}

/// Whether a publisher should go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// It should.
    On,
    /// It should take no more for a moment, until `poll_pace` is ready or [`PACE`] is over: a listener that keeps up has much
    /// before it. Never for one that does not move.
    Pause,
    /// It should take no more until `poll_pace` is ready: as many captured messages as may be are on their way to the disk.
    Hold,
}

/// Who hears a subject, as far as this publisher is concerned.
#[derive(Default)]
pub(super) struct Known {
    plain: Vec<Arc<Subscription>>,
    groups: Vec<Vec<Arc<Subscription>>>,
    /// Topics that keep what is published here.
    captures: Vec<Arc<str>>,
    /// A listener hears it more than once: then each message is a stretch of its own, so that it hears the first twice before
    /// it hears the second.
    overlaps: bool,
    is_denied: bool,
}

impl Known {
    pub(super) fn plain(&self) -> &[Arc<Subscription>] {
        &self.plain
    }

    pub(super) fn groups(&self) -> &[Vec<Arc<Subscription>>] {
        &self.groups
    }

    pub(super) fn listeners(&self) -> u64 {
        (self.plain.len() + self.groups.len()) as u64
    }
}

/// Messages of a packing for the same listeners.
pub(super) struct Stretch {
    pub(super) known: Arc<Known>,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Stretch {
    /// Adds the message at `at` to the last of `all`, or to one of its own.
    pub(super) fn add(all: &mut Vec<Self>, known: &Arc<Known>, at: u32) {
        match all.last_mut() {
            Some(last) if last.to == at && !known.overlaps && Arc::ptr_eq(&last.known, known) => last.to += 1,
            _ => all.push(Self { known: Arc::clone(known), from: at, to: at + 1 }),
        }
    }
}

/// One connection's way into the live channels.
pub struct Publisher {
    live: Arc<Inner>,
    principal: Arc<Principal>,
    /// The outbox of the same connection.
    own: Option<Arc<Outbox>>,
    /// What the changes of all subscriptions were counted at when `known` was true.
    generation: u64,
    known: HashMap<Box<[u8]>, Arc<Known>>,
    known_bytes: usize,
    last: Option<(Box<[u8]>, Arc<Known>)>,
    packing: Packing,
    stretches: Vec<Stretch>,
    /// For members of groups, who are chosen message by message.
    chosen: Vec<(Arc<Subscription>, u32)>,
    turn: u64,
    published: u64,
    /// Appends what is captured; without one nothing is.
    session: Option<Session>,
    captures: Captures,
    /// Whom to hold back for, and what it had taken out when that was found.
    pace: Option<(Arc<Outbox>, u64)>,
    /// The caller has been told to.
    is_holding_back: bool,
    /// The caller has been told to hold: it has no time of its own after which it goes on.
    is_held: bool,
}

impl Publisher {
    pub(super) fn new(
        live: Arc<Inner>,
        principal: Arc<Principal>,
        own: Option<Arc<Outbox>>,
        session: Option<Session>,
        turn: u64,
    ) -> Self {
        Self {
            live,
            principal,
            own,
            generation: 0,
            known: HashMap::new(),
            known_bytes: 0,
            last: None,
            packing: Packing::default(),
            stretches: Vec::new(),
            chosen: Vec::new(),
            turn,
            published: 0,
            session,
            captures: Captures::default(),
            pace: None,
            is_holding_back: false,
            is_held: false,
        }
    }

    /// Publishes; heard after the next flush. Answers how many hear it: subscriptions, one for each group, and one for each topic
    /// that captures it.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(&mut self, message: Message<'_>) -> Result<u64, PublishError> {
        self.publish_as(message, true)
    }

    /// The same for an answer that the broker itself gives: it is not captured.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn answer(&mut self, message: Message<'_>) -> Result<u64, PublishError> {
        self.publish_as(message, false)
    }

    fn publish_as(&mut self, message: Message<'_>, may_be_captured: bool) -> Result<u64, PublishError> {
        if message.subject.len() > LIVE_SUBJECT_BYTES || message.reply.len() > LIVE_SUBJECT_BYTES {
            return Err(PublishError::TooLong);
        }
        self.know(message.subject);
        let (_, known) = self.last.as_ref().expect("it is known now");
        if known.is_denied {
            return Err(PublishError::Denied);
        }
        self.published += 1;
        let listeners = known.listeners();
        let count = listeners + if may_be_captured { known.captures.len() as u64 } else { 0 };
        if may_be_captured && let Some(session) = &self.session {
            for topic in &known.captures {
                self.captures.add(session, topic, message);
            }
        }
        if listeners == 0 {
            return Ok(count);
        }
        let at = self.packing.len();
        self.packing.add(message);
        if known.groups.is_empty() {
            Stretch::add(&mut self.stretches, known, at);
        } else {
            let known = Arc::clone(known);
            self.choose(&known, at);
        }
        if self.packing.bytes() >= LIVE_BUNDLE_BYTES {
            self.hand_over();
        }
        Ok(count)
    }

    /// Publishes to the same connection's own listener alone. Answers how many of its subscriptions hear it.
    pub fn publish_to_own(&mut self, message: Message<'_>) -> u64 {
        let Some(own) = self.own.clone() else { return 0 };
        if message.subject.len() > LIVE_SUBJECT_BYTES || message.reply.len() > LIVE_SUBJECT_BYTES {
            return 0;
        }
        let found = self.live.find(message.subject);
        let members = found.groups.into_iter().flat_map(|(_, members)| members);
        let plain: Vec<_> =
            found.plain.into_iter().chain(members).filter(|it| Arc::ptr_eq(it.outbox(), &own)).collect();
        let count = plain.len() as u64;
        if count > 0 {
            let at = self.packing.len();
            self.packing.add(message);
            let known = Arc::new(Known { plain, ..Known::default() });
            self.stretches.push(Stretch { known, from: at, to: at + 1 });
        }
        count
    }

    /// Hands what was published to the listeners.
    pub fn flush(&mut self) -> Flow {
        // Only one that has been waited for has been waited for in vain: a bundle that filled up before this may lag, too.
        if std::mem::take(&mut self.is_holding_back)
            && let Some((outbox, taken)) = self.pace.take()
            && outbox.taken() == taken
        {
            outbox.stalled(taken);
        }
        self.hand_over();
        if let Some(session) = &self.session {
            self.captures.hand_over(session);
        }
        self.is_holding_back = self.pace.is_some();
        match self.pace {
            _ if self.captures.is_full() => {
                self.is_held = true;
                Flow::Hold
            }
            Some(_) => Flow::Pause,
            None => Flow::On,
        }
    }

    /// The header whose value is the idempotency key of a captured message.
    pub fn name_idempotency_header(&mut self, name: &'static [u8]) {
        self.captures.name_idempotency_header(name);
    }

    /// True while captured messages are on their way.
    #[must_use]
    pub fn is_capturing(&self) -> bool {
        !self.captures.is_empty()
    }

    /// What became of the oldest captured messages, in the order of publishing; pending while none is known. Whoever captures polls
    /// it, and is woken.
    pub fn poll_captured(&mut self, waiting: &mut Context<'_>) -> Poll<Vec<Captured>> {
        let captured = ready!(self.captures.poll(waiting));
        self.live.count_captured(&captured);
        Poll::Ready(captured)
    }

    /// After [`Flow::Pause`]: ready when the listener has moved on; the caller waits no longer than [`PACE`]. After [`Flow::Hold`]: ready when
    /// `poll_captured`, which has to be polled as well, has told of enough.
    pub fn poll_pace(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if self.captures.is_full() {
            return Poll::Pending;
        }
        // That was the moment for listeners, too: without an end of its own it would last until they move.
        if std::mem::take(&mut self.is_held) {
            return Poll::Ready(());
        }
        if let Some((outbox, taken)) = &self.pace {
            ready!(outbox.poll_moved(*taken, waiting));
            self.pace = None;
        }
        Poll::Ready(())
    }

    /// Who hears a subject.
    pub(super) fn known(&mut self, subject: &[u8]) -> Arc<Known> {
        self.know(subject);
        self.last.as_ref().map(|(_, known)| Arc::clone(known)).unwrap_or_default()
    }

    /// Sees to it that `last` is about this subject.
    fn know(&mut self, subject: &[u8]) {
        let generation = self.live.generation();
        if generation != self.generation {
            self.forget(generation);
        }
        if self.last.as_ref().is_some_and(|(last, _)| **last == *subject) {
            return;
        }
        let known = self.look_up(subject);
        self.last = Some((subject.into(), known));
    }

    /// Subscriptions have changed.
    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.known.clear();
        self.known_bytes = 0;
        self.last = None;
    }

    fn look_up(&mut self, subject: &[u8]) -> Arc<Known> {
        if let Some(known) = self.known.get(subject) {
            return Arc::clone(known);
        }
        let known = Arc::new(self.find(subject));
        let bytes = subject.len() + size_of::<Known>() + size_of::<usize>() * known.plain.len();
        if self.known.len() >= LIVE_KNOWN_SUBJECTS || self.known_bytes + bytes > LIVE_KNOWN_BYTES {
            self.known = HashMap::new();
            self.known_bytes = 0;
        }
        self.known_bytes += bytes;
        self.known.insert(subject.into(), Arc::clone(&known));
        known
    }

    fn find(&self, subject: &[u8]) -> Known {
        if !self.live.may(&self.principal, Action::Produce, &Pattern::literal(subject)) {
            return Known { is_denied: true, ..Known::default() };
        }
        let hears = |subscription: &Arc<Subscription>| {
            let options = subscription.outbox().options();
            let is_own = self.own.as_ref().is_some_and(|own| Arc::ptr_eq(own, subscription.outbox()));
            (options.carries)(subject) && (options.own || !is_own)
        };
        let mut found = self.live.find(subject);
        found.plain.retain(hears);
        let mut groups: Vec<_> = found.groups.into_iter().map(|(_, members)| members).collect();
        groups.iter_mut().for_each(|members| members.retain(hears));
        groups.retain(|members| !members.is_empty());
        let captures = if self.session.is_some() { self.live.captured(subject) } else { Vec::new() };
        let mut outboxes: Vec<_> =
            found.plain.iter().map(|subscription| Arc::as_ptr(subscription.outbox()).addr()).collect();
        outboxes.sort_unstable();
        let overlaps = outboxes.windows(2).any(|pair| pair[0] == pair[1]);
        Known { plain: found.plain, groups, captures, overlaps, is_denied: false }
    }

    /// One member of each group, by turns from a place of chance; everybody else as always.
    fn choose(&mut self, known: &Arc<Known>, at: u32) {
        if !known.plain.is_empty() {
            let plain = Arc::clone(known);
            self.stretches.push(Stretch { known: plain, from: at, to: at + 1 });
        }
        for members in &known.groups {
            let member = self.choose_of(members);
            self.chosen.push((member, at));
        }
    }

    /// A member of a group, by turns.
    pub(super) fn choose_of(&mut self, members: &[Arc<Subscription>]) -> Arc<Subscription> {
        self.turn = self.turn.wrapping_add(1);
        let place = (self.turn % members.len() as u64) as usize;
        // One that is cut is about to leave: the next in turn.
        let member = members[place..].iter().chain(&members[..place]).find(|it| !it.is_gone());
        Arc::clone(member.unwrap_or(&members[place]))
    }

    fn hand_over(&mut self) {
        if self.packing.is_empty() {
            if self.published > 0 {
                self.live.count_published(std::mem::take(&mut self.published));
            }
            return;
        }
        let bundle = self.packing.seal(&self.live.memory);
        let mut handing = Handing::default();
        let mut chosen = std::mem::take(&mut self.chosen).into_iter().peekable();
        for Stretch { known, from, to } in std::mem::take(&mut self.stretches) {
            // In the order of publishing, whoever hears it.
            while let Some((member, at)) = chosen.next_if(|(_, at)| *at < from) {
                handing.hand(&self.live, run(member, &bundle, at, at + 1), false);
            }
            for subscription in &known.plain {
                handing.hand(&self.live, run(Arc::clone(subscription), &bundle, from, to), false);
            }
        }
        for (member, at) in chosen {
            handing.hand(&self.live, run(member, &bundle, at, at + 1), false);
        }
        let published = std::mem::take(&mut self.published);
        let lags = self.finish(published, handing);
        if self.pace.is_none() {
            self.pace = lags.map(|outbox| (Arc::clone(&outbox), outbox.taken()));
        }
    }

    /// Counts what was handed over and sees to subscriptions that are over. Gives a listener that keeps up but has much before it.
    pub(super) fn finish(&self, published: u64, handing: Handing) -> Option<Arc<Outbox>> {
        self.live.count(published, &handing);
        if !handing.over.is_empty() {
            self.live.change(|space| {
                handing.over.iter().for_each(|subscription| {
                    space.remove(subscription);
                });
            });
        }
        handing.lags
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// What came of handing a bundle over.
#[derive(Default)]
pub(super) struct Handing {
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) cut: u64,
    over: Vec<Arc<Subscription>>,
    lags: Option<Arc<Outbox>>,
}

impl Handing {
    /// Hands a run over. With `may_refuse`, what does not fit is left to the caller: `Some` says how many messages fitted.
    pub(super) fn hand(&mut self, live: &Inner, run: Run, may_refuse: bool) -> Option<u64> {
        let to = Arc::clone(&run.subscription);
        let handed = to.outbox().push(run, live, may_refuse);
        self.delivered += handed.messages;
        self.dropped += handed.dropped;
        self.cut += u64::from(handed.cut);
        if handed.is_over {
            self.over.push(Arc::clone(&to));
        }
        if handed.lags && self.lags.is_none() {
            self.lags = Some(Arc::clone(to.outbox()));
        }
        handed.is_refused.then_some(handed.messages)
    }
}

fn run(subscription: Arc<Subscription>, bundle: &Arc<Bundle>, from: u32, to: u32) -> Run {
    Run { subscription, bundle: Arc::clone(bundle), from, to }
}
