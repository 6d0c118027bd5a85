//! What sessions look at without asking the shard: the catalog and who waits to read.
//!
//! The core publishes here what has become durable, before it answers those who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::decoded::DecodedCache;
use crate::room::Room;
use crate::{Catalog, Monotonic};

use crate::watch::Watch;

/// Published by the core, read by everybody.
#[derive(Default)]
pub struct Shared {
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) watch: Watch,
    pub(crate) decoded: DecodedCache,
    pub(crate) room: Room,
    /// When the last commit became durable, microseconds of the monotonic clock; zero if none did.
    written_at: AtomicU64,
}

impl Shared {
    /// When the last commit became durable; `None` if none did since the start.
    pub(crate) fn written_at(&self) -> Option<Monotonic> {
        match self.written_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Monotonic(at)),
        }
    }

    pub(crate) fn note_written(&self, at: Monotonic) {
        self.written_at.store(at.0, Ordering::Relaxed);
    }

    /// What exists, durable.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }
}
