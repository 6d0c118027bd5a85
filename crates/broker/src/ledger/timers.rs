//! Deadlines of leases and delays over all partitions, and how many records are under which hold.

use std::collections::BTreeSet;

use super::partition::Live;
use crate::Monotonic;

/// A record by the index of its partition and its offset.
pub(super) type RecordAt = (u32, u64);

/// What the live states of all records add up to.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: BTreeSet<(Monotonic, RecordAt)>,
    leased: u32,
    delayed: u32,
    moving: u32,
}

impl Timers {
    /// A record takes on a state.
    pub(super) fn enter(&mut self, at: RecordAt, live: Live) {
        match live {
            Live::Ready => {}
            Live::Leased { until, .. } => {
                self.leased += 1;
                self.deadlines.insert((until, at));
            }
            Live::Delayed { until } => {
                self.delayed += 1;
                self.deadlines.insert((until, at));
            }
            Live::Moving => self.moving += 1,
        }
    }

    /// A record is no longer in a state that it took on.
    pub(super) fn leave(&mut self, at: RecordAt, live: Live) {
        match live {
            Live::Ready => {}
            Live::Leased { until, .. } => {
                self.leased -= 1;
                self.deadlines.remove(&(until, at));
            }
            Live::Delayed { until } => {
                self.delayed -= 1;
                self.deadlines.remove(&(until, at));
            }
            Live::Moving => self.moving -= 1,
        }
    }

    /// The first record whose deadline is not after `now`.
    pub(super) fn due(&self, now: Monotonic) -> Option<RecordAt> {
        self.deadlines.first().filter(|(until, _)| *until <= now).map(|&(_, at)| at)
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|&(until, _)| until)
    }

    /// Records under lease.
    pub(super) fn leased(&self) -> u32 {
        self.leased
    }

    /// Records under a delay.
    pub(super) fn delayed(&self) -> u32 {
        self.delayed
    }

    /// Records on the way to the dead-letter queue.
    pub(super) fn moving(&self) -> u32 {
        self.moving
    }
}
