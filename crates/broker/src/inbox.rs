//! The one way into a thread: many put in, one takes out everything that is there.
//!
//! Taking all at once costs one lock for many inputs, and nobody spins: an idle thread sleeps on the condition.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

struct Contents<T> {
    waiting: Vec<T>,
    closed: bool,
    nudged: bool,
}

/// A line of inputs for one thread.
pub(crate) struct Inbox<T> {
    contents: Mutex<Contents<T>>,
    filled: Condvar,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        let contents = Contents { waiting: Vec::new(), closed: false, nudged: false };
        Self { contents: Mutex::new(contents), filled: Condvar::new() }
    }

    /// Puts one in; gives it back if nobody takes any more.
    pub(crate) fn put(&self, input: T) -> Result<(), T> {
        {
            let mut contents = self.contents.lock();
            if contents.closed {
                return Err(input);
            }
            contents.waiting.push(input);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Wakes the thread with nothing to take.
    pub(crate) fn nudge(&self) {
        self.contents.lock().nudged = true;
        self.filled.notify_one();
    }

    /// Swaps everything that waits into `taken` (which is empty), sleeping until there is something, a nudge, the
    /// closing, or `wait` (for ever if `None`) is over. False once it is closed and empty.
    pub(crate) fn take(&self, taken: &mut Vec<T>, wait: Option<Duration>) -> bool {
        let mut contents = self.contents.lock();
        if contents.waiting.is_empty() && !contents.closed && !contents.nudged {
            match wait {
                Some(wait) => drop(self.filled.wait_for(&mut contents, wait)),
                None => self.filled.wait(&mut contents),
            }
        }
        contents.nudged = false;
        std::mem::swap(&mut contents.waiting, taken);
        !contents.closed || !taken.is_empty()
    }

    /// Nobody puts anything in any more.
    pub(crate) fn close(&self) {
        self.contents.lock().closed = true;
        self.filled.notify_all();
    }
}
