//! Whether the client is still there: asked now and then, and given up when it does not answer.
//!
//! One that sends something between two PINGs is there, and is asked only until it has answered once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use duolog_broker::Monotonic;
use tokio::time::{Sleep, sleep};

use crate::limits::{FIRST_PING, PINGS_OUT_MAX};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It has been heard of.
    Nothing,
    /// To ask it.
    Ping,
    /// It has not answered.
    Stale,
}

#[derive(Debug)]
pub(super) struct Pinger {
    next: Pin<Box<Sleep>>,
    interval: Duration,
    unanswered: u32,
    has_answered: bool,
    was_heard: bool,
    /// When it was asked last.
    asked: Option<Monotonic>,
}

impl Pinger {
    /// The first PING comes a little later for some than for others: `id` spreads them.
    pub(super) fn new(interval: Duration, id: u64) -> Self {
        let first = interval.min(FIRST_PING);
        let spread = first / 5 * u32::try_from(id % 64).unwrap_or(0) / 64;
        Self {
            next: Box::pin(sleep(first + spread)),
            interval,
            unanswered: 0,
            has_answered: false,
            was_heard: false,
            asked: None,
        }
    }

    /// Ready when a time has come; waits for the next one then.
    pub(super) fn poll(&mut self, waiting: &mut Context<'_>) -> Poll<Due> {
        ready!(self.next.as_mut().poll(waiting));
        self.next.set(sleep(self.interval));
        let was_heard = std::mem::take(&mut self.was_heard);
        Poll::Ready(if was_heard && self.has_answered {
            Due::Nothing
        } else if self.unanswered >= PINGS_OUT_MAX {
            Due::Stale
        } else {
            Due::Ping
        })
    }

    pub(super) fn pinged(&mut self, now: Monotonic) {
        self.unanswered += 1;
        self.asked = Some(now);
    }

    /// Something has come.
    pub(super) fn hear(&mut self) {
        self.was_heard = true;
    }

    /// The answer has come: how long it took, microseconds, if it was asked for.
    pub(super) fn pong(&mut self, now: Monotonic) -> Option<u64> {
        self.unanswered = 0;
        self.has_answered = true;
        self.asked.take().map(|asked| now.0.saturating_sub(asked.0))
    }
}
