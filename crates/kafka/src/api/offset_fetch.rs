//! OffsetFetch: where groups stand: some partitions or all, of one group or (from version 8) of many.
//!
//! What was never committed, or lies in a topic that does not exist, is answered with offset -1 and no error, as clients
//! expect. There are no transactions, so every committed offset is stable and `require_stable` is always kept.
//! Source: KIP-447, KIP-516 (topic ids from version 10), KIP-709.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use duolog_broker::{Action, Catalog, Cursor, GroupCursors, Topic};
use duolog_net::Reservation;
use duolog_record::PartitionId;

use super::lookup::{self, TopicRef};
use super::{Client, IntoReply, Reply};
use crate::codec::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::codec::{ApiKey, RequestHeader, encode_response};
use crate::error::of_cursor;
use crate::{ErrorCode, limits};

/// From this version on a failure of the whole group has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;
/// From this version on a request names many groups.
const MANY_FROM: i16 = 8;
/// From this version on topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;

/// A response and the memory that it holds.
pub(super) struct Offsets {
    pub(super) response: OffsetFetchResponse,
    reserved: Reservation,
}

impl IntoReply for Offsets {
    fn into_reply(self, api: ApiKey, header: &RequestHeader) -> Reply {
        let frame = encode_response(api, header.api_version, header.correlation_id, &self.response);
        Reply::Frame(frame, self.reserved.into())
    }
}

/// What one answer may cost, and what has been reserved of it.
struct Purse {
    left: usize,
    reserved: Reservation,
}

pub(super) async fn handle(client: &Client, header: &RequestHeader, request: OffsetFetchRequest) -> Offsets {
    let mut purse = Purse { left: limits::OFFSETS_BYTES, reserved: Reservation::default() };
    let response = answer(client, header.api_version, request, &mut purse).await;
    Offsets { response, reserved: purse.reserved }
}

async fn answer(
    client: &Client,
    version: i16,
    request: OffsetFetchRequest,
    purse: &mut Purse,
) -> OffsetFetchResponse {
    if version >= MANY_FROM {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(group_offsets(client, version, group, purse).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = group_offsets(client, version, one_group(request), purse).await;
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions,
    };
    // Up to version 1 the partitions carry the error of the group; later the group does, and they would be taken for good.
    let failed = group.error_code != 0 && version >= GROUP_ERROR_FROM;
    let topics = if failed { Vec::new() } else { group.topics.into_iter().map(topic).collect() };
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
    purse: &mut Purse,
) -> OffsetFetchResponseGroup {
    let _turn = client.groups.look_in_turn().await;
    let cursors = match client.session.cursors(&asked.group_id).await {
        Ok(cursors) => cursors,
        Err(error) => return failed(asked, of_cursor(&error)),
    };
    if let Err(error) = purse.pay(client, &asked, &cursors) {
        return failed(asked, error);
    }
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

impl Purse {
    /// Reserves what the group's part of the answer will cost.
    ///
    /// # Errors
    /// `InvalidRequest` if more was asked for than one answer may hold; `CoordinatorLoadInProgress`, upon which clients
    /// ask again, if the memory is not free now.
    fn pay(
        &mut self,
        client: &Client,
        asked: &OffsetFetchRequestGroup,
        cursors: &GroupCursors,
    ) -> Result<(), ErrorCode> {
        let count = match &asked.topics {
            Some(topics) => topics.iter().map(|topic| topic.partition_indexes.len()).sum(),
            None => cursors.len(),
        };
        let metadata: usize = cursors.iter().map(|(_, cursor)| cursor.metadata.len()).sum();
        let cost = count.saturating_mul(limits::OFFSET_OVERHEAD_BYTES).saturating_add(2 * metadata);
        self.left = self.left.checked_sub(cost).ok_or(ErrorCode::InvalidRequest)?;
        let reserved = client.budget.try_reserve(cost).map_err(|_| ErrorCode::InvalidRequest)?;
        self.reserved.merge(reserved.ok_or(ErrorCode::CoordinatorLoadInProgress)?);
        Ok(())
    }
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

/// The whole group failed. The partitions carry the error too, for versions that have no other place for it.
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
