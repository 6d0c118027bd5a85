//! What a thread that serves many has to do, and when those that have failed are to try again: for echoes and forwards.
//!
//! Invariant: no ring is lost. Whoever is served is answered before, so what happens meanwhile puts it into the line again; it
//! stands there once, however often it is rung.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::error;

use crate::Monotonic;
use crate::limits::{RETRY_MS, RETRY_MS_MAX};

/// A thread that starts when it first has something to do, and is woken when there is more.
#[derive(Default)]
pub(crate) struct LazyThread {
    thread: Mutex<Option<JoinHandle<()>>>,
    is_ending: AtomicBool,
}

impl LazyThread {
    pub(crate) fn is_running(&self) -> bool {
        self.thread.lock().is_some()
    }

    /// Wakes it; the first call starts it.
    pub(crate) fn wake(&self, name: &'static str, run: impl FnOnce() + Send + 'static) {
        let mut thread = self.thread.lock();
        if let Some(running) = &*thread {
            return running.thread().unpark();
        }
        if self.is_ending() {
            return;
        }
        match std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            Ok(started) => *thread = Some(started),
            Err(error) => error!(%error, name, "no thread: what it is for does not happen"),
        }
    }

    /// True once it is to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Ends it, and waits for it.
    pub(crate) fn stop(&self) {
        self.is_ending.store(true, Ordering::Release);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            thread.thread().unpark();
            if thread.join().is_err() {
                error!(name, "a thread has panicked");
            }
        }
    }
}

/// Those that were rung, in that order.
pub(crate) struct Ready {
    line: Mutex<Vec<u64>>,
    /// Serves them.
    thread: Thread,
}

impl Ready {
    pub(crate) fn new(thread: Thread) -> Self {
        Self { line: Mutex::default(), thread }
    }

    /// Puts those that stand in line into `into`, which is empty.
    pub(crate) fn take(&self, into: &mut Vec<u64>) {
        std::mem::swap(into, &mut *self.line.lock());
    }
}

/// The place of one in the line.
pub(crate) struct Ring {
    number: u64,
    is_rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Ring {
    pub(crate) fn new(number: u64, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { number, is_rung: AtomicBool::new(false), ready })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// It has something to do.
    pub(crate) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.ready.line.lock().push(self.number);
            self.ready.thread.unpark();
        }
    }

    /// It is about to be served.
    pub(crate) fn answer(&self) {
        self.is_rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// When something that has failed is tried again: each time it fails anew twice as late, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    due: Monotonic,
    wait_ms: u64,
}

impl Retry {
    /// After a failure at `now`, and `before` if the one before it failed, too.
    pub(crate) fn after(before: Option<Self>, now: Monotonic) -> Self {
        let wait_ms = before.map_or(RETRY_MS, |it| (it.wait_ms * 2).min(RETRY_MS_MAX));
        Self { due: Monotonic(now.0 + wait_ms * 1000), wait_ms }
    }

    pub(crate) fn wait_ms(self) -> u64 {
        self.wait_ms
    }

    pub(crate) fn is_due(self, now: Monotonic) -> bool {
        now >= self.due
    }

    /// Until it is due.
    pub(crate) fn left(self, now: Monotonic) -> Duration {
        Duration::from_micros(self.due.0.saturating_sub(now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stands_in_line_once_and_again_after_it_was_answered() {
        let ready = Arc::new(Ready::new(std::thread::current()));
        let (one, two) = (Ring::new(1, Arc::clone(&ready)), Ring::new(2, Arc::clone(&ready)));
        let mut line = Vec::new();
        [&two, &one, &two].iter().for_each(|it| it.ring());
        ready.take(&mut line);
        assert_eq!(line, [2, 1]);
        line.clear();
        two.answer();
        [&two, &one].iter().for_each(|it| it.ring());
        ready.take(&mut line);
        assert_eq!(line, [2]);
    }

    #[test]
    fn waiting_doubles_up_to_its_bound() {
        let mut retry = Retry::after(None, Monotonic(5));
        assert_eq!(retry.left(Monotonic(5)), Duration::from_millis(RETRY_MS));
        assert!(!retry.is_due(Monotonic(5)) && retry.is_due(Monotonic(5 + RETRY_MS * 1000)));
        let mut waits = Vec::new();
        for _ in 0..8 {
            retry = Retry::after(Some(retry), Monotonic(0));
            waits.push(retry.wait_ms());
        }
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    }
}
