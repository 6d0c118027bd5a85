//! What one connection listens to.

use std::collections::HashMap;
use std::sync::Arc;

use duolog_broker::live::Subscription;

use crate::subject::{CHANNEL, PATTERN, SHARD};

/// Kinds of what one can listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl Kind {
    /// As tags carry it.
    pub fn tag(self) -> u32 {
        match self {
            Self::Channel => CHANNEL,
            Self::Pattern => PATTERN,
            Self::Shard => SHARD,
        }
    }

    /// First word of the confirmation of a beginning.
    pub fn begun(self) -> &'static [u8] {
        match self {
            Self::Channel => b"subscribe",
            Self::Pattern => b"psubscribe",
            Self::Shard => b"ssubscribe",
        }
    }

    /// First word of the confirmation of an end.
    pub fn ended(self) -> &'static [u8] {
        match self {
            Self::Channel => b"unsubscribe",
            Self::Pattern => b"punsubscribe",
            Self::Shard => b"sunsubscribe",
        }
    }
}

/// By kind and name.
#[derive(Default)]
pub struct Subscriptions {
    channels: HashMap<Box<[u8]>, Arc<Subscription>>,
    patterns: HashMap<Box<[u8]>, Arc<Subscription>>,
    shards: HashMap<Box<[u8]>, Arc<Subscription>>,
}

impl Subscriptions {
    /// Those of a kind.
    pub fn of(&self, kind: Kind) -> &HashMap<Box<[u8]>, Arc<Subscription>> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    /// The same, to change.
    pub fn of_mut(&mut self, kind: Kind) -> &mut HashMap<Box<[u8]>, Arc<Subscription>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// The number that confirmations tell: channels and patterns together, shard channels for themselves.
    pub fn told(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    /// Bytes of all names.
    pub fn name_bytes(&self) -> usize {
        let all = [&self.channels, &self.patterns, &self.shards];
        all.into_iter().flat_map(HashMap::keys).map(|name| name.len()).sum()
    }

    /// All of them.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }
}
