//! OffsetFetch: where groups stand: some partitions or all, of one group or (from version 8) of many.
//!
//! What was never committed, or lies in a topic that does not exist, is answered with offset -1 and no error, as clients
//! expect. There are no transactions, so every committed offset is stable and `require_stable` is always kept.
//! Source: KIP-447, KIP-516 (topic ids from version 10), KIP-709.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use duolog_broker::{Action, Catalog, Cursor, Topic};
use duolog_record::PartitionId;

use super::Client;
use super::lookup::{self, TopicRef};
use crate::codec::RequestHeader;
use crate::codec::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::error::of_cursor;
use crate::{ErrorCode, limits};

/// From this version on a failure of the whole group has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;
/// From this version on a request names many groups.
const MANY_FROM: i16 = 8;
/// From this version on topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let mut left = limits::OFFSETS_PER_RESPONSE;
    if header.api_version >= MANY_FROM {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(group_offsets(client, header.api_version, group, &mut left).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = one_group(request);
    let group = group_offsets(client, header.api_version, group, &mut left).await;
    let before_group_errors = header.api_version < GROUP_ERROR_FROM;
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions,
    };
    let mut topics: Vec<_> = group.topics.into_iter().map(topic).collect();
    if before_group_errors {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code =
                if group.error_code == 0 { partition.error_code } else { group.error_code };
        }
    } else if group.error_code != 0 {
        topics.clear();
    }
    OffsetFetchResponse { topics, error_code: group.error_code, ..Default::default() }
}

/// A request of before version 8 in the words of version 8.
fn one_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topic = |topic: crate::codec::messages::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name,
        topic_id: 0,
        partition_indexes: topic.partition_indexes,
    };
    OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| topics.into_iter().map(topic).collect()),
        ..Default::default()
    }
}

async fn group_offsets(
    client: &Client,
    version: i16,
    asked: OffsetFetchRequestGroup,
    left: &mut usize,
) -> OffsetFetchResponseGroup {
    let cursors = match client.session.cursors(&asked.group_id).await {
        Ok(cursors) => cursors,
        Err(error) => return failed(asked, of_cursor(&error)),
    };
    let count = match &asked.topics {
        Some(topics) => topics.iter().map(|topic| topic.partition_indexes.len()).sum(),
        None => cursors.len(),
    };
    let Some(rest) = left.checked_sub(count) else { return failed(asked, ErrorCode::InvalidRequest) };
    *left = rest;
    let catalog = client.session.catalog();
    let cursors: HashMap<PartitionId, Cursor> = cursors.into_iter().collect();
    let topics = match asked.topics {
        Some(topics) => {
            topics.into_iter().map(|topic| some_of(client, &catalog, version, topic, &cursors)).collect()
        }
        None => all_of(client, &catalog, &cursors),
    };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: ErrorCode::None.code() }
}

/// The partitions asked for, in the order of the request.
fn some_of(
    client: &Client,
    catalog: &Catalog,
    version: i16,
    asked: OffsetFetchRequestTopics,
    cursors: &HashMap<PartitionId, Cursor>,
) -> OffsetFetchResponseTopics {
    let found = match TopicRef::at(version, TOPIC_IDS_FROM, &asked.name, asked.topic_id).find(catalog) {
        Ok(topic) if client.session.may(Action::Describe, &topic.name) => Ok(Some(topic)),
        Ok(_) => Err(ErrorCode::TopicAuthorizationFailed),
        Err(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Err(error) => Err(error),
    };
    let partition = |&index: &i32| match found {
        Ok(topic) => {
            let id = topic.and_then(|topic| lookup::partition(topic, index).ok());
            place(index, id.and_then(|id| cursors.get(&id)), ErrorCode::None)
        }
        Err(error) => place(index, None, error),
    };
    let partitions = asked.partition_indexes.iter().map(partition).collect();
    OffsetFetchResponseTopics { name: asked.name, topic_id: asked.topic_id, partitions }
}

/// Every partition with an offset, by topic name and index. What may not be seen is left out.
fn all_of(
    client: &Client,
    catalog: &Catalog,
    cursors: &HashMap<PartitionId, Cursor>,
) -> Vec<OffsetFetchResponseTopics> {
    let topics: BTreeMap<&str, &Arc<Topic>> = cursors
        .keys()
        .filter_map(|partition| catalog.topic_of(*partition))
        .filter(|topic| lookup::is_listed(topic))
        .map(|topic| (&*topic.name, topic))
        .collect();
    topics
        .into_iter()
        .filter(|(name, _)| client.session.may(Action::Describe, name))
        .map(|(_, topic)| all_in(topic, cursors))
        .collect()
}

fn all_in(topic: &Topic, cursors: &HashMap<PartitionId, Cursor>) -> OffsetFetchResponseTopics {
    let indexed = (0..).zip(&topic.partitions);
    let partitions = indexed
        .filter_map(|(index, id)| Some(place(index, Some(cursors.get(id)?), ErrorCode::None)))
        .collect();
    OffsetFetchResponseTopics { name: topic.name.clone(), topic_id: topic.id.0, partitions }
}

/// The whole group failed. The partitions carry the error for the versions that have no other place for it.
fn failed(asked: OffsetFetchRequestGroup, error: ErrorCode) -> OffsetFetchResponseGroup {
    let topic = |topic: OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|&index| place(index, None, error)).collect(),
    };
    let topics = asked.topics.unwrap_or_default().into_iter().map(topic).collect();
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: error.code() }
}

fn place(index: i32, cursor: Option<&Cursor>, error: ErrorCode) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: index,
        committed_offset: cursor.map_or(-1, |cursor| i64::try_from(cursor.offset.0).unwrap_or(i64::MAX)),
        committed_leader_epoch: cursor.map_or(-1, |cursor| cursor.leader_epoch),
        metadata: Some(cursor.map(|cursor| cursor.metadata.clone()).unwrap_or_default()),
        error_code: error.code(),
    }
}
