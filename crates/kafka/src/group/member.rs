//! One member of a group.

use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::Monotonic;

use super::{JoinAsk, JoinedMember, Protocol, Token, limits};

/// A member: who it is, what it offers, what it has been given and what it waits for.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: u64,
    pub(super) rebalance_timeout_ms: u64,
    pub(super) protocols: Vec<Protocol>,
    /// From the leader of the current generation.
    pub(super) assignment: Bytes,
    /// The join that waits for the others.
    pub(super) join: Option<Token>,
    /// The sync that waits for the leader.
    pub(super) sync: Option<Token>,
    /// It has never been in a generation: its join alone does not keep it alive.
    pub(super) newcomer: bool,
    /// It was told of the current generation and has not asked for its assignment.
    pub(super) owes_sync: bool,
    /// When it is taken for dead.
    pub(super) expires_at: Monotonic,
    /// Place in the order of arrival: a new leader is the earliest.
    pub(super) arrival: u64,
}

impl Member {
    pub(super) fn new(id: Arc<str>, ask: JoinAsk, arrival: u64, expires_at: Monotonic) -> Self {
        Self {
            id,
            instance_id: ask.instance_id,
            client_id: ask.client_id,
            client_host: ask.client_host,
            session_timeout_ms: ask.session_timeout_ms,
            rebalance_timeout_ms: ask.rebalance_timeout_ms,
            protocols: ask.protocols,
            assignment: Bytes::new(),
            join: None,
            sync: None,
            newcomer: true,
            owes_sync: false,
            expires_at,
            arrival,
        }
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|own| &*own.name == protocol)
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|own| &*own.name == protocol)
            .map(|own| own.metadata.clone())
            .unwrap_or_default()
    }

    /// What it costs, bytes.
    pub(super) fn footprint(&self) -> usize {
        limits::MEMBER_OVERHEAD_BYTES
            + self.id.len()
            + self.instance_id.as_deref().map_or(0, str::len)
            + self.client_id.len()
            + self.client_host.len()
            + protocols_bytes(&self.protocols)
            + self.assignment.len()
    }

    /// A waiting request shows that it lives, except a newcomer's: whoever gave up an unanswered first join comes back
    /// as somebody else, and the old one must go some day.
    pub(super) fn is_alive(&self, now: Monotonic) -> bool {
        (!self.newcomer && (self.join.is_some() || self.sync.is_some())) || now < self.expires_at
    }

    /// As the leader sees it.
    pub(super) fn seen_by_leader(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }
}

/// Bytes of what is offered.
pub(super) fn protocols_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}
