//! The receivers that wait for records of one queue, by priority, then first come first served, and the way to one receiver.
//!
//! Invariant: a record is leased to a receiver that takes it, or the lease is undone: a receiver that has gone before
//! the answer is skipped, one that goes after it gives the leases back by dropping [`Granted`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::errors::LeaseError;
use crate::ledger::Grant;
use crate::limits::WAITERS_PER_QUEUE;
use crate::{AttemptId, LeaseId, Monotonic, QueueId};

/// Takes back leases that nobody received.
pub trait GiveBack: Send + Sync {
    /// These leases are to be as if they had never been.
    fn give_back(&self, leases: Vec<LeaseId>);
}

/// What a receiver is granted. Dropped before [`Self::accept`], it goes back to the queue.
pub struct Granted {
    queue: QueueId,
    grants: Vec<Grant>,
    home: Option<Arc<dyn GiveBack>>,
}

impl Granted {
    /// What was leased; the records of one partition stand together, oldest first.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The receiver has them.
    pub fn accept(mut self) {
        self.grants = Vec::new();
    }

    /// The handle of one grant.
    #[must_use]
    pub fn id(&self, grant: &Grant) -> LeaseId {
        lease_id(self.queue, grant)
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(home) = self.home.take()
            && !self.grants.is_empty()
        {
            home.give_back(self.grants.iter().map(|grant| lease_id(self.queue, grant)).collect());
        }
    }
}

/// The handle of a grant.
pub(super) fn lease_id(queue: QueueId, grant: &Grant) -> LeaseId {
    LeaseId {
        queue,
        partition: grant.partition,
        offset: grant.offset,
        incarnation: grant.incarnation,
        attempt: grant.attempt,
    }
}

/// The way to a receiver.
pub struct LeaseReply {
    answer: oneshot::Sender<Result<Granted, LeaseError>>,
    home: Option<Arc<dyn GiveBack>>,
}

impl LeaseReply {
    /// `home` takes back what the receiver drops; without one it is lost until its visibility is over.
    #[must_use]
    pub fn new(home: Option<Arc<dyn GiveBack>>) -> (Self, oneshot::Receiver<Result<Granted, LeaseError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer, home }, receiver)
    }

    /// The receiver waits no longer.
    fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Gives it what was leased; the grants come back if it has gone.
    pub(super) fn grant(self, queue: QueueId, grants: Vec<Grant>) -> Result<(), Vec<Grant>> {
        let Self { answer, home } = self;
        match answer.send(Ok(Granted { queue, grants, home })) {
            Ok(()) => Ok(()),
            Err(Ok(mut granted)) => Err(std::mem::take(&mut granted.grants)),
            Err(Err(_)) => Err(Vec::new()),
        }
    }

    /// Nothing was there.
    pub(super) fn nothing(self, queue: QueueId) {
        // A receiver that has gone needs no answer.
        let _ = self.grant(queue, Vec::new());
    }

    pub(super) fn refuse(self, error: LeaseError) {
        // A receiver that has gone needs no answer.
        let _ = self.answer.send(Err(error));
    }
}

/// One receiver.
pub(super) struct Waiter {
    pub(super) priority: i64,
    pub(super) count: u32,
    pub(super) visibility_ms: Option<u64>,
    pub(super) bound: bool,
    /// It asked not to wait: at the cap it hears so.
    pub(super) is_hasty: bool,
    pub(super) deadline: Monotonic,
    pub(super) attempt: Option<Box<AttemptId>>,
    pub(super) reply: LeaseReply,
}

/// Where one stands: its priority, then the order of arrival.
type Place = (Reverse<i64>, u64);

/// The receivers of one queue.
#[derive(Default)]
pub(super) struct Line {
    waiters: BTreeMap<Place, Waiter>,
    deadlines: BTreeSet<(Monotonic, Place)>,
    next: u64,
}

impl Line {
    /// Puts one at the end of its priority; gives it back if the line is too long.
    pub(super) fn push(&mut self, waiter: Waiter) -> Result<(), Waiter> {
        if self.waiters.len() >= WAITERS_PER_QUEUE {
            self.sweep();
        }
        if self.waiters.len() >= WAITERS_PER_QUEUE {
            return Err(waiter);
        }
        self.insert((Reverse(waiter.priority), self.next), waiter);
        self.next += 1;
        Ok(())
    }

    /// Puts one back that was taken out as the first.
    pub(super) fn push_first(&mut self, waiter: Waiter) {
        let first = self.waiters.first_key_value().map_or(self.next, |(&(_, number), _)| number);
        self.insert((Reverse(waiter.priority), first.saturating_sub(1)), waiter);
    }

    /// The first that still waits.
    pub(super) fn first(&mut self) -> Option<&Waiter> {
        while let Some((&place, first)) = self.waiters.first_key_value()
            && first.reply.is_gone()
        {
            self.remove(place);
        }
        self.waiters.first_key_value().map(|(_, first)| first)
    }

    pub(super) fn pop_first(&mut self) -> Option<Waiter> {
        let (&place, _) = self.waiters.first_key_value()?;
        self.remove(place)
    }

    /// Takes out one who has waited long enough.
    pub(super) fn pop_due(&mut self, now: Monotonic) -> Option<Waiter> {
        let &(deadline, place) = self.deadlines.first()?;
        if deadline <= now { self.remove(place) } else { None }
    }

    /// When the next has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        self.deadlines.clear();
        std::mem::take(&mut self.waiters).into_values()
    }

    /// Number of receivers, those that have gone unnoticed included.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    fn insert(&mut self, place: Place, waiter: Waiter) {
        self.deadlines.insert((waiter.deadline, place));
        self.waiters.insert(place, waiter);
    }

    fn remove(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.waiters.remove(&place)?;
        self.deadlines.remove(&(waiter.deadline, place));
        Some(waiter)
    }

    /// Takes out those that have gone.
    fn sweep(&mut self) {
        let gone: Vec<Place> =
            self.waiters.iter().filter(|(_, it)| it.reply.is_gone()).map(|(&place, _)| place).collect();
        for place in gone {
            self.remove(place);
        }
    }
}
