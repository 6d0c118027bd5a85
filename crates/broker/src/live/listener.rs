//! One connection's end of the live channels: its subscriptions, and what it does with its outbox.
//!
//! Invariant: a subscription that has ended is handed nothing more, whoever looked it up before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::bundle::Waiting;
use super::outbox::{Cut, Outbox, PendingSize};
use super::{Inner, Pattern};
use crate::limits::{LIVE_LEAVES_PER_TURN, LIVE_SUBSCRIPTIONS};
use crate::{Action, Principal};

/// What a frontend keeps with a subscription to tell it from others of the same connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// The frontend's own.
    pub kind: u32,
    /// The frontend's own.
    pub text: Box<[u8]>,
}

/// Why a subscription is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The principal may not listen there.
    #[error("not permitted")]
    Denied,
    /// There are as many as may be, or the pattern is too long.
    #[error("over the limit of subscriptions, or of a pattern's length")]
    OverLimit,
}

/// What a listener listens to.
#[derive(Debug)]
pub struct Subscription {
    tag: Tag,
    pattern: Pattern,
    group: Option<Box<[u8]>>,
    outbox: Arc<Outbox>,
    /// Messages handed over since its beginning; changed under the outbox's lock.
    pub(super) delivered: AtomicU64,
    /// Messages after which it is over.
    pub(super) limit: AtomicU64,
    /// Changed under the outbox's lock.
    pub(super) is_closed: AtomicBool,
    /// Its place in the list that it is in; changed under the space's lock.
    pub(super) slot: AtomicUsize,
}

impl Subscription {
    /// What the frontend keeps with it.
    #[must_use]
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// What it names.
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The group whose members share what is heard.
    #[must_use]
    pub fn group(&self) -> Option<&[u8]> {
        self.group.as_deref()
    }

    /// Messages since its beginning.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// True once it has had as many messages as were asked for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.delivered() >= self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// True if it hears nothing any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed) || self.outbox.is_cut()
    }
}

/// One connection's end of the live channels. Dropping it ends its subscriptions.
pub struct Listener {
    pub(super) live: Arc<Inner>,
    pub(super) principal: Arc<Principal>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) subscriptions: Mutex<Subscriptions>,
}

/// What a listener listens to, and some of what it did.
#[derive(Default)]
pub(super) struct Subscriptions {
    all: Vec<Arc<Subscription>>,
    /// Of `all`, those that were ended by hand.
    ended: usize,
}

impl Subscriptions {
    /// Those that have ended are let go when the list would grow, and when half of them have: a constant share each.
    fn sweep(&mut self) {
        self.all.retain(|known| !known.is_closed.load(Ordering::Relaxed));
        self.ended = 0;
        if self.all.capacity() > 64 {
            self.all.shrink_to(self.all.len() * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.all.capacity()
    }
}

/// Ends a listener from another connection.
#[derive(Clone, Debug)]
pub struct Ender(Arc<Outbox>);

impl Ender {
    /// Ends it: its connection is told.
    pub fn end(&self) {
        self.0.end(Cut::Ended);
    }
}

impl Listener {
    /// Listens to what `pattern` names; the members of a group share it. `tag` comes with what is heard.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe(
        &self,
        pattern: Pattern,
        group: Option<&[u8]>,
        tag: Tag,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        if !self.live.may(&self.principal, Action::Consume, &pattern) {
            return Err(SubscribeError::Denied);
        }
        let subscription = Arc::new(Subscription {
            tag,
            pattern,
            group: group.map(Into::into),
            outbox: Arc::clone(&self.outbox),
            delivered: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            is_closed: AtomicBool::new(false),
            slot: AtomicUsize::new(0),
        });
        if subscription.pattern.is_too_long() {
            return Err(SubscribeError::OverLimit);
        }
        self.live.change(|space| {
            if space.len() >= LIVE_SUBSCRIPTIONS {
                return Err(SubscribeError::OverLimit);
            }
            space.insert(&subscription);
            Ok(())
        })?;
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.all.len() == subscriptions.all.capacity() {
            subscriptions.sweep();
        }
        subscriptions.all.push(Arc::clone(&subscription));
        Ok(subscription)
    }

    /// Ends a subscription; what waits for it already is still heard.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        self.outbox.between(|| subscription.is_closed.store(true, Ordering::Relaxed));
        self.live.change(|space| space.remove(subscription));
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.ended += 1;
        if 2 * subscriptions.ended > subscriptions.all.len() {
            subscriptions.sweep();
        }
    }

    /// Ends a subscription once it has had `messages` messages, counted from its beginning; at once if it has.
    pub fn unsubscribe_after(&self, subscription: &Arc<Subscription>, messages: u64) {
        let is_over = self.outbox.between(|| {
            subscription.limit.store(messages, Ordering::Relaxed);
            subscription.is_over()
        });
        if is_over {
            self.unsubscribe(subscription);
        }
    }

    /// Has the connection itself say something, behind what waits. Over a limit the listener is cut, whatever it asked for:
    /// answers are not dropped.
    pub fn say(&self, bytes: &[u8]) {
        self.outbox.say(bytes, &self.live);
    }

    /// True if nothing waits for it and it is not cut.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Moves some of what waits, oldest first, to `into`: about `limits::LIVE_TAKE_BYTES`, and at least one piece. Asked for when what was
    /// taken before has been written: that counts as sent from now on. False if nothing waits.
    ///
    /// # Errors
    /// See [`Cut`].
    pub fn take(&self, into: &mut VecDeque<Waiting>) -> Result<bool, Cut> {
        self.outbox.take(into)
    }

    /// The same; pending while nothing waits.
    ///
    /// # Errors
    /// See [`Cut`].
    pub fn poll_take(
        &self,
        waiting: &mut Context<'_>,
        into: &mut VecDeque<Waiting>,
    ) -> Poll<Result<(), Cut>> {
        self.outbox.poll_take(waiting, into)
    }

    /// Ready once it is cut.
    pub fn poll_cut(&self, waiting: &mut Context<'_>) -> Poll<Cut> {
        self.outbox.poll_cut(waiting)
    }

    /// Ends it; for others, see [`Self::ender`].
    pub fn cut(&self) {
        self.outbox.end(Cut::Ended);
    }

    /// With which others may end it.
    #[must_use]
    pub fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.outbox))
    }

    /// How much waits for it.
    #[must_use]
    pub fn pending(&self) -> PendingSize {
        self.outbox.pending()
    }

    /// Messages that it did not get because it was slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing waits for nobody.
        self.outbox.end(Cut::Ended);
        let subscriptions = std::mem::take(&mut self.subscriptions.lock().all);
        for some in subscriptions.chunks(LIVE_LEAVES_PER_TURN) {
            self.live.change(|space| {
                some.iter().for_each(|subscription| {
                    space.remove(subscription);
                })
            });
        }
        self.live.listener_gone();
    }
}
