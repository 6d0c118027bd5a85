//! From the names and ids of the wire to the broker's partitions.

use std::sync::Arc;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Catalog, Session, Topic, TopicId};
use duolog_record::PartitionId;

use crate::ErrorCode;

/// Topics are named up to some version of an api, and identified from then on.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicRef<'a> {
    Name(&'a str),
    Id(u128),
}

impl<'a> TopicRef<'a> {
    /// By id from version `ids_from` on.
    pub fn at(version: i16, ids_from: i16, name: &'a str, id: u128) -> Self {
        if version >= ids_from { Self::Id(id) } else { Self::Name(name) }
    }

    /// The topic, or the code that says that there is none.
    pub fn find(self, catalog: &Catalog) -> Result<&Arc<Topic>, ErrorCode> {
        match self {
            Self::Name(name) => topic_named(catalog, name).ok_or(ErrorCode::UnknownTopicOrPartition),
            Self::Id(id) => catalog
                .topic_by_id(TopicId(id))
                .filter(|topic| is_listed(topic))
                .ok_or(ErrorCode::UnknownTopicId),
        }
    }
}

/// The topic of this name, if the protocol can name it.
pub(super) fn topic_named<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Arc<Topic>> {
    catalog.topic(DEFAULT_NAMESPACE, name).filter(|topic| is_listed(topic))
}

/// All topics that the protocol can name.
pub(super) fn topics(catalog: &Catalog) -> impl Iterator<Item = &Arc<Topic>> {
    catalog.topics(DEFAULT_NAMESPACE).filter(|topic| is_listed(topic))
}

/// True if the protocol can name it.
pub(super) fn is_listed(topic: &Topic) -> bool {
    topic.namespace == DEFAULT_NAMESPACE && is_topic_name(&topic.name)
}

/// What Kafka takes for a topic's name.
pub(super) fn is_topic_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A topic's partition by its index on the wire.
pub(super) fn partition(topic: &Topic, index: i32) -> Result<PartitionId, ErrorCode> {
    let found = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    found.copied().ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Compares the epoch that a client believes in with the partition's; -1 does not say. Source: KIP-320.
pub(super) fn check_epoch(session: &Session, partition: PartitionId, believed: i32) -> Result<(), ErrorCode> {
    let epoch = session.leader_epoch(partition);
    match believed {
        ..0 => Ok(()),
        older if older < epoch => Err(ErrorCode::FencedLeaderEpoch),
        newer if newer > epoch => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}
