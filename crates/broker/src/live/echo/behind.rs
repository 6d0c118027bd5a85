//! Those who are served from the log, because too much waited for them, until they have come as far as the others.

use std::sync::Arc;
use std::task::Context;

use duolog_record::Offset;
use tracing::warn;

use super::feeder::{Feed, Feeder};
use crate::live::Subscription;
use crate::live::bundle::{Packing, Run};
use crate::live::outbox::Outbox;
use crate::live::publisher::Handing;
use crate::ready::Retry;

/// A subscription that is served from the log.
pub(super) struct Behind {
    pub(super) subscription: Arc<Subscription>,
    pub(super) next: Offset,
    /// What its outbox had taken when it was full.
    pub(super) taken: u64,
    /// The last read for it has failed.
    pub(super) retry: Option<Retry>,
}

/// What came of serving one that is behind.
pub(super) enum CaughtUp {
    Moved,
    Waits,
    Over,
}

impl Feeder {
    /// The next records from the log for one that is behind.
    pub(super) fn catch_up(&mut self, feed: &Feed, one: &mut Behind, waiting: &mut Context<'_>) -> CaughtUp {
        if let Some(not_now) = self.is_held_up(feed, one, waiting) {
            return not_now;
        }
        let mut packing = Packing::default();
        let mut offsets = Vec::new();
        let until = feed.next;
        let outbox = Arc::clone(one.subscription.outbox());
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
        // What comes before the damage is handed over first.
        if packing.is_empty() {
            if let Some(gap) = read.gap.filter(|gap| gap.offsets.start < until) {
                let error = gap.error;
                warn!(topic = %feed.echo.topic, %error, "records for a slow listener are damaged: it is cut off");
                self.end_slow(&outbox);
                return CaughtUp::Over;
            }
            if let Some(error) = read.error {
                let retry = Retry::after(one.retry.take(), self.now());
                warn!(topic = %feed.echo.topic, %error, wait_ms = retry.wait_ms(),
                    "records for a slow listener cannot be read and are read again later");
                one.retry = Some(retry);
                return CaughtUp::Waits;
            }
        }
        one.retry = None;
        if packing.is_empty() {
            one.next = read.next.min(until);
            return CaughtUp::Moved;
        }
        self.hand_on(feed, one, packing, &offsets, read.next.min(until), waiting)
    }

    /// What comes of it if there is nothing to read for it now.
    fn is_held_up(&self, feed: &Feed, one: &mut Behind, waiting: &mut Context<'_>) -> Option<CaughtUp> {
        if one.subscription.is_gone() || one.next >= feed.next {
            return Some(CaughtUp::Over);
        }
        if one.retry.as_ref().is_some_and(|retry| !retry.is_due(self.now())) {
            return Some(CaughtUp::Waits);
        }
        let outbox = one.subscription.outbox();
        if !outbox.has_room() && outbox.poll_moved(one.taken, waiting).is_pending() {
            return Some(CaughtUp::Waits);
        }
        one.taken = outbox.taken();
        if self.session.bounds(feed.partition).is_none_or(|bounds| bounds.start > one.next) {
            warn!(topic = %feed.echo.topic, "records went before a slow listener had caught up: it is cut off");
            self.end_slow(outbox);
            return Some(CaughtUp::Over);
        }
        None
    }

    /// Hands on what was read from these offsets, as much as fits; `next` is where it goes on when all did.
    fn hand_on(
        &mut self,
        feed: &Feed,
        one: &mut Behind,
        mut packing: Packing,
        offsets: &[Offset],
        next: Offset,
        waiting: &mut Context<'_>,
    ) -> CaughtUp {
        let to = packing.len();
        let bundle = packing.seal(&self.live.memory);
        let mut handing = Handing::default();
        let run = Run { subscription: Arc::clone(&one.subscription), bundle, from: 0, to };
        let fitted = handing.hand(&self.live, run, true);
        self.publisher.finish(0, handing);
        let Some(fitted) = fitted else {
            one.next = next;
            return CaughtUp::Moved;
        };
        let outbox = one.subscription.outbox();
        if fitted == 0 && outbox.is_clear() {
            warn!(topic = %feed.echo.topic, "a record is larger than a listener may have before it: it is cut off");
            self.end_slow(outbox);
            return CaughtUp::Over;
        }
        one.next = offsets[fitted as usize];
        // Unless something was taken meanwhile, it is tried again when something is.
        let is_waiting = fitted == 0 && outbox.poll_moved(one.taken, waiting).is_pending();
        if is_waiting { CaughtUp::Waits } else { CaughtUp::Moved }
    }

    fn end_slow(&self, outbox: &Outbox) {
        self.live.count_cut();
        outbox.end_slow();
    }
}
