//! What the callers of the log and its writer share: the queue, the view, the counters.
//!
//! Lock order: writer, then view or queue; nobody holds two of the latter. The queue is bounded by its one caller, who
//! has few commits in flight.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::clean::{Cleaned, Signal};
use super::options::Options;
use super::view::View;
use crate::{Commit, Done, LogError};

#[derive(Default)]
struct Queue {
    commits: VecDeque<(Commit, Done)>,
    closed: bool,
    /// The writer sleeps, so that it has to be woken.
    sleeping: bool,
}

/// Counters since opening.
#[derive(Default)]
pub(crate) struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Counters {
    pub(crate) fn wrote(&self, bytes: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.frames), read(&self.bytes), read(&self.syncs))
    }
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) incarnation: u32,
    pub(crate) view: RwLock<View>,
    pub(crate) counters: Counters,
    pub(crate) cleaned: Cleaned,
    pub(crate) clean: Signal,
    /// Set when the log has been closed and the directory given back.
    pub(crate) released: AtomicBool,
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// Why the writer was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Commits wait.
    Commits,
    /// Nothing came for so long.
    Idle,
    /// The log is to be closed, and nothing waits.
    Closed,
}

impl Shared {
    pub(crate) fn new(options: Options, incarnation: u32, view: View) -> Self {
        Self {
            options,
            incarnation,
            view: RwLock::new(view),
            counters: Counters::default(),
            cleaned: Cleaned::default(),
            clean: Signal::default(),
            released: AtomicBool::new(false),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Queues a commit, or answers it if the log has been closed.
    pub(crate) fn push(&self, commit: Commit, done: Done) {
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            done(Err(LogError::Stopped { reason: "the log was closed".to_owned() }));
            return;
        }
        queue.commits.push_back((commit, done));
        let wake = std::mem::replace(&mut queue.sleeping, false);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    pub(crate) fn pop(&self) -> Option<(Commit, Done)> {
        self.queue.lock().commits.pop_front()
    }

    /// A commit that belongs to the next group.
    pub(crate) fn put_back(&self, commit: Commit, done: Done) {
        self.queue.lock().commits.push_front((commit, done));
    }

    /// Number of commits that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().commits.len()
    }

    /// Takes no more commits.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do, at most `idle` if that is given.
    pub(crate) fn wait(&self, idle: Option<Duration>) -> Woken {
        let mut queue = self.queue.lock();
        loop {
            if !queue.commits.is_empty() {
                return Woken::Commits;
            }
            if queue.closed {
                return Woken::Closed;
            }
            queue.sleeping = true;
            match idle {
                None => self.wake.wait(&mut queue),
                Some(idle) => {
                    if self.wake.wait_for(&mut queue, idle).timed_out() && queue.commits.is_empty() {
                        queue.sleeping = false;
                        return Woken::Idle;
                    }
                }
            }
            queue.sleeping = false;
        }
    }
}
