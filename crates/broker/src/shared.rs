//! What sessions look at without asking the shard's thread: the catalog and who waits to read.
//!
//! The core publishes here what has become durable, before it answers those who wait for it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Catalog;
use crate::decoded::DecodedCache;
use crate::room::Room;

use crate::watch::Watch;

/// Published by the core, read by everybody.
#[derive(Default)]
pub struct Shared {
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) watch: Watch,
    pub(crate) decoded: DecodedCache,
    pub(crate) room: Room,
}

impl Shared {
    /// What exists, durable.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }
}
