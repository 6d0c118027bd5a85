//! Who consumes from a queue for as long as it is there, and whom the others wait for.
//!
//! A receiver in line is there for one answer; between two of them nothing in the line tells that it will be back. A *standing*
//! does: while one of a higher priority has credit, receivers of lower ones wait, though it may be on its way back to the
//! line; and of those who stand for a queue singly, only one is active at a time.
//!
//! Invariant: of the single ones of a queue exactly one is active, if there is any; it stays so until it leaves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use super::Core;
use crate::{Now, QueueId};

/// What the core and a consumer know of each other.
pub struct Stand {
    priority: i64,
    number: u64,
    is_single: bool,
    is_active: AtomicBool,
    has_credit: AtomicBool,
    /// Somebody of a lower priority waits for its credit to be used up.
    is_waited_for: AtomicBool,
    woken: Waker,
}

impl Stand {
    /// `number` is another for each; `woken` once it becomes active.
    #[must_use]
    pub fn new(priority: i64, number: u64, is_single: bool, woken: Waker) -> Self {
        Self {
            priority,
            number,
            is_single,
            is_active: AtomicBool::new(!is_single),
            has_credit: AtomicBool::new(false),
            is_waited_for: AtomicBool::new(false),
            woken,
        }
    }

    pub(crate) fn priority(&self) -> i64 {
        self.priority
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Acquire)
    }

    pub(crate) fn gain_credit(&self) {
        self.has_credit.store(true, Ordering::SeqCst);
    }

    /// True if somebody waits for that: the queue is to look again.
    pub(crate) fn lose_credit(&self) -> bool {
        self.has_credit.store(false, Ordering::SeqCst);
        self.is_waited_for.swap(false, Ordering::SeqCst)
    }

    /// Those below wait for it. Says so first and looks then, so that it is seen by one of the two sides.
    fn goes_first(&self) -> bool {
        if !self.has_credit.load(Ordering::SeqCst) {
            return false;
        }
        self.is_waited_for.store(true, Ordering::SeqCst);
        self.has_credit.load(Ordering::SeqCst)
    }

    fn activate(&self) {
        self.is_active.store(true, Ordering::Release);
        self.woken.wake_by_ref();
    }

    fn rank(&self) -> Rank {
        (Reverse(self.priority), self.number)
    }
}

/// Who goes first: the higher priority, then who came first.
type Rank = (Reverse<i64>, u64);

/// Of one queue.
#[derive(Default)]
pub(super) struct Standings {
    by_rank: BTreeMap<Rank, Arc<Stand>>,
}

impl Standings {
    fn join(&mut self, stand: Arc<Stand>) {
        self.by_rank.insert(stand.rank(), Arc::clone(&stand));
        if stand.is_single && !self.has_active_single() {
            stand.activate();
        }
    }

    fn leave(&mut self, stand: &Stand) {
        self.by_rank.remove(&stand.rank());
        if stand.is_single
            && !self.has_active_single()
            && let Some(next) = self.by_rank.values().find(|it| it.is_single)
        {
            next.activate();
        }
    }

    fn has_active_single(&self) -> bool {
        self.by_rank.values().any(|it| it.is_single && it.is_active())
    }

    /// Somebody of a higher priority would take what comes.
    pub(super) fn go_before(&self, priority: i64) -> bool {
        self.by_rank.range(..(Reverse(priority), 0)).any(|(_, stand)| stand.goes_first())
    }
}

impl Core {
    /// One comes to stay. If the queue is gone, its first receive tells.
    pub(super) fn join(&mut self, queue: QueueId, stand: Arc<Stand>) {
        if let Some(state) = self.queues.get_mut(queue) {
            state.standings.join(stand);
        }
    }

    /// One goes.
    pub(super) fn leave(&mut self, now: Now, queue: QueueId, stand: &Stand) {
        if let Some(state) = self.queues.get_mut(queue) {
            state.standings.leave(stand);
            self.settle_down(now, queue);
        }
    }
}
