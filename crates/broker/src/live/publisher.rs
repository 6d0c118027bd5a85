//! One connection's way into the live channels: finds who hears, packs what they hear, hands it over in bundles.
//!
//! A subject is looked up once and remembered until anybody's subscriptions change; consecutive messages for the same
//! listeners are one run. So the cost per message is a copy of its bytes, and locks are taken per bundle and listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::bundle::{Bundle, Message, Packing, Run};
use super::listener::Outbox;
use super::{Inner, Pattern, Subscription};
use crate::limits::{LIVE_BUNDLE_BYTES, LIVE_KNOWN_BYTES, LIVE_KNOWN_SUBJECTS, LIVE_SUBJECT_BYTES};
use crate::{Action, Principal};

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
}

/// Who hears a subject, as far as this publisher is concerned.
#[derive(Default)]
struct Known {
    plain: Vec<Arc<Subscription>>,
    groups: Vec<Vec<Arc<Subscription>>>,
    is_denied: bool,
}

impl Known {
    fn count(&self) -> u64 {
        (self.plain.len() + self.groups.len()) as u64
    }
}

/// Messages of the packing for the same listeners.
struct Stretch {
    known: Arc<Known>,
    from: u32,
    to: u32,
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
    pace: Option<(Arc<Outbox>, u64)>,
}

impl Publisher {
    pub(super) fn new(
        live: Arc<Inner>,
        principal: Arc<Principal>,
        own: Option<Arc<Outbox>>,
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
            pace: None,
        }
    }

    /// Publishes; heard after the next flush. Answers how many hear it: subscriptions, and one for each group.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(&mut self, message: Message<'_>) -> Result<u64, PublishError> {
        if message.subject.len() > LIVE_SUBJECT_BYTES || message.reply.len() > LIVE_SUBJECT_BYTES {
            return Err(PublishError::TooLong);
        }
        let generation = self.live.generation();
        if generation != self.generation {
            self.forget(generation);
        }
        let known = match &self.last {
            Some((subject, known)) if **subject == *message.subject => known,
            _ => {
                let known = self.look_up(message.subject);
                let (_, known) = self.last.insert((message.subject.into(), known));
                known
            }
        };
        if known.is_denied {
            return Err(PublishError::Denied);
        }
        self.published += 1;
        let count = known.count();
        if count == 0 {
            return Ok(0);
        }
        let at = self.packing.len();
        self.packing.add(message);
        if known.groups.is_empty() {
            match self.stretches.last_mut() {
                Some(last) if last.to == at && Arc::ptr_eq(&last.known, known) => last.to += 1,
                _ => self.stretches.push(Stretch { known: Arc::clone(known), from: at, to: at + 1 }),
            }
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
        if let Some((outbox, taken)) = self.pace.take()
            && outbox.taken() == taken
        {
            outbox.stalled(taken);
        }
        self.hand_over();
        if self.pace.is_some() { Flow::Pause } else { Flow::On }
    }

    /// After [`Flow::Pause`]: ready when the listener has moved on. The caller waits no longer than [`PACE`].
    pub fn poll_pace(&mut self, waiting: &mut Context<'_>) -> Poll<()> {
        if let Some((outbox, taken)) = &self.pace {
            ready!(outbox.poll_moved(*taken, waiting));
            self.pace = None;
        }
        Poll::Ready(())
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
        Known { plain: found.plain, groups, is_denied: false }
    }

    /// One member of each group, by turns from a place of chance; everybody else as always.
    fn choose(&mut self, known: &Arc<Known>, at: u32) {
        if !known.plain.is_empty() {
            let plain = Arc::clone(known);
            self.stretches.push(Stretch { known: plain, from: at, to: at + 1 });
        }
        for members in &known.groups {
            self.turn = self.turn.wrapping_add(1);
            let place = (self.turn % members.len() as u64) as usize;
            // One that is cut is about to leave: the next in turn.
            let member = members[place..].iter().chain(&members[..place]).find(|it| !it.is_gone());
            self.chosen.push((Arc::clone(member.unwrap_or(&members[place])), at));
        }
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
                handing.hand(&self.live, &member, &bundle, at, at + 1);
            }
            for subscription in &known.plain {
                handing.hand(&self.live, subscription, &bundle, from, to);
            }
        }
        for (member, at) in chosen {
            handing.hand(&self.live, &member, &bundle, at, at + 1);
        }
        self.live.count(std::mem::take(&mut self.published), &handing);
        if !handing.over.is_empty() {
            self.live.change(|space| {
                handing.over.iter().for_each(|subscription| {
                    space.remove(subscription);
                })
            });
        }
        if self.pace.is_none() {
            self.pace = handing.lags.map(|outbox| (Arc::clone(&outbox), outbox.taken()));
        }
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
    fn hand(&mut self, live: &Inner, to: &Arc<Subscription>, bundle: &Arc<Bundle>, from: u32, until: u32) {
        let run = Run { subscription: Arc::clone(to), bundle: Arc::clone(bundle), from, to: until };
        let handed = to.outbox().push(run, live);
        self.delivered += handed.messages;
        self.dropped += handed.dropped;
        self.cut += u64::from(handed.cut);
        if handed.is_over {
            self.over.push(Arc::clone(to));
        }
        if handed.lags && self.lags.is_none() {
            self.lags = Some(Arc::clone(to.outbox()));
        }
    }
}
