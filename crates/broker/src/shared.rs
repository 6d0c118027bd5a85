//! What sessions look at without asking the shard: the catalog and who waits to read.
//!
//! The core publishes here what has become durable, before it answers those who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::ahead::Ahead;
use crate::decoded::DecodedCache;
use crate::limits::WRITE_GAP_MOST_US;
use crate::room::Room;
use crate::{Catalog, Monotonic};

use crate::watch::Watch;

/// Published by the core, read by everybody.
#[derive(Default)]
pub struct Shared {
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) watch: Watch,
    pub(crate) decoded: DecodedCache,
    pub(crate) ahead: Ahead,
    pub(crate) room: Room,
    /// When the last commit became durable, microseconds of the monotonic clock; zero if none did.
    written_at: AtomicU64,
    /// [`Written::gap_us`].
    write_gap_us: AtomicU64,
    /// [`Written::is_going_on`].
    is_writing: AtomicBool,
}

/// When the log was last written, and how often it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// When the last commit became durable.
    pub at: Monotonic,
    /// How far apart commits have been lately, at the most, microseconds: a longer one counts at once and is forgotten
    /// by a sixty-fourth with each that follows. At most 125,000: a longer one tells no more.
    pub gap_us: u64,
    /// A commit is on its way to the disk.
    pub is_going_on: bool,
}

impl Shared {
    /// The last commits; `None` if none became durable since the start.
    pub(crate) fn written(&self) -> Option<Written> {
        match self.written_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Written {
                at: Monotonic(at),
                gap_us: self.write_gap_us.load(Ordering::Relaxed),
                is_going_on: self.is_writing.load(Ordering::Relaxed),
            }),
        }
    }

    /// Called by whoever drives the shard, one at a time.
    pub(crate) fn note_written(&self, at: Monotonic) {
        let gap_us = at.0.saturating_sub(self.written_at.swap(at.0, Ordering::Relaxed));
        let known_us = self.write_gap_us.load(Ordering::Relaxed);
        let gap_us = gap_us.min(WRITE_GAP_MOST_US).max(known_us - known_us / 64);
        self.write_gap_us.store(gap_us, Ordering::Relaxed);
    }

    /// The same: whether a commit is on its way to the disk.
    pub(crate) fn note_writing(&self, is_going_on: bool) {
        self.is_writing.store(is_going_on, Ordering::Relaxed);
    }

    /// What exists, durable.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn how_far_apart_commits_are_is_learnt_at_once_and_forgotten_little_by_little() {
        let shared = Shared::default();
        assert_eq!(shared.written(), None);
        let gap_after = |at| {
            shared.note_written(Monotonic(at));
            let written = shared.written().unwrap();
            assert_eq!(written.at, Monotonic(at));
            written.gap_us
        };
        assert_eq!([80_000, 80_100, 80_200].map(gap_after), [80_000, 78_750, 77_520]);
        let (_, settled) = (0..1000).fold((80_200, 0), |(at, _), _| (at + 100, gap_after(at + 100)));
        assert_eq!(settled, 100);
        assert_eq!(gap_after(200_000), 19_800);
        assert_eq!(gap_after(3_600_000_000), 125_000, "an hour of rest is no promise of another");
        let is_going_on = |it: &Shared| it.written().unwrap().is_going_on;
        assert!(!is_going_on(&shared));
        shared.note_writing(true);
        assert!(is_going_on(&shared));
    }
}
