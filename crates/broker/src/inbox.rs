//! The one way into a thread: many put in, one takes out everything that is there.
//!
//! Taking all at once costs one lock for many inputs, and nobody spins: an idle thread sleeps on the condition.

use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

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

    /// Puts one in and wakes the thread; gives it back if nobody takes any more.
    pub(crate) fn put(&self, input: T) -> Result<(), T> {
        self.leave(input)?;
        self.filled.notify_one();
        Ok(())
    }

    /// The same without waking the thread: for whoever takes it out again, or sees to it that somebody does.
    pub(crate) fn leave(&self, input: T) -> Result<(), T> {
        let mut contents = self.contents.lock();
        if contents.closed {
            return Err(input);
        }
        contents.waiting.push(input);
        Ok(())
    }

    /// Swaps everything that waits into `taken` (which is empty).
    pub(crate) fn take_now(&self, taken: &mut Vec<T>) {
        std::mem::swap(&mut self.contents.lock().waiting, taken);
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.contents.lock().waiting.is_empty()
    }

    /// Sleeps until there is something to take, a nudge, the closing, or `wait` (for ever if `None`) is over. False once it
    /// is closed and empty.
    pub(crate) fn sleep(&self, wait: Option<Duration>) -> bool {
        let mut contents = self.contents.lock();
        self.sleep_on(&mut contents, wait);
        !contents.closed || !contents.waiting.is_empty()
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
        self.sleep_on(&mut contents, wait);
        std::mem::swap(&mut contents.waiting, taken);
        !contents.closed || !taken.is_empty()
    }

    fn sleep_on(&self, contents: &mut MutexGuard<'_, Contents<T>>, wait: Option<Duration>) {
        if contents.waiting.is_empty() && !contents.closed && !contents.nudged {
            match wait {
                Some(wait) => drop(self.filled.wait_for(contents, wait)),
                None => self.filled.wait(contents),
            }
        }
        contents.nudged = false;
    }

    /// Nobody puts anything in any more.
    pub(crate) fn close(&self) {
        self.contents.lock().closed = true;
        self.filled.notify_all();
    }
}
