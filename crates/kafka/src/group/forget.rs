//! Forgetting some offsets of a group because somebody asks for it. Source: KIP-496.
//!
//! Invariant: what a member is subscribed to keeps its offset, whatever the group is doing.

use std::collections::BTreeSet;

use bytes::Bytes;
use duolog_broker::Session;
use duolog_record::PartitionId;

use super::coordinator::Coordinator;
use super::groups::{Groups, OffsetsError};
use super::{GroupError, protocol};

impl Groups {
    /// Forgets the offsets of a group in these partitions of topics, but for topics that it is subscribed to; gives those.
    ///
    /// # Errors
    /// `NotFound` if there is no such group, `NonEmpty` if what its members read cannot be known; or the broker's refusal.
    pub async fn forget_some(
        &self,
        session: &Session,
        group: &str,
        asked: Vec<(&str, PartitionId)>,
    ) -> Result<BTreeSet<Bytes>, OffsetsError> {
        let has_offsets = !session.cursors(group).await?.is_empty();
        let (subscribed, forgotten) = {
            let core = self.core.lock();
            let subscribed = match core.coordinator.subscribed(group) {
                None if !has_offsets => return Err(GroupError::NotFound.into()),
                None => BTreeSet::new(),
                Some(subscribed) => subscribed?,
            };
            let may_go = |topic: &str| !subscribed.contains(topic.as_bytes());
            let asked = asked.into_iter().filter(|(topic, _)| may_go(topic));
            let partitions: Vec<PartitionId> = asked.map(|(_, partition)| partition).collect();
            let forgotten = (!partitions.is_empty()).then(|| session.forget_cursors(group, Some(partitions)));
            (subscribed, forgotten)
        };
        if let Some(forgotten) = forgotten {
            // Whether there were any does not matter: now there are none.
            forgotten.await?;
        }
        Ok(subscribed)
    }
}

impl Coordinator {
    /// The topics that members of a group are subscribed to; `None` if there is no such group here.
    ///
    /// # Errors
    /// `NonEmpty` if a member is no consumer, or what it sent cannot be read.
    fn subscribed(&self, group: &str) -> Option<Result<BTreeSet<Bytes>, GroupError>> {
        let found = self.groups.get(group)?;
        let mut topics = BTreeSet::new();
        let is_of_consumers = found.protocol_type.as_deref() == Some(protocol::CONSUMER);
        for offered in found.members.values().flat_map(|member| &member.protocols) {
            match protocol::subscribed_topics(&offered.metadata) {
                Some(more) if is_of_consumers => topics.extend(more),
                _ => return Some(Err(GroupError::NonEmpty)),
            }
        }
        Some(Ok(topics))
    }
}
