//! OffsetCommit: a group says where it stands. Answered when durable.
//!
//! A partition that cannot be committed is answered with its own error and does not keep the others from being committed.
//! The retention time that versions 2 to 4 carry is not honoured: see docs/kafka-groups.md.
//! Source: KIP-62, KIP-211, KIP-345, KIP-516 (topic ids from version 10).

use std::sync::Arc;

use duolog_broker::errors::CursorError;
use duolog_broker::limits::CURSOR_METADATA_BYTES;
use duolog_broker::{Action, CursorMove, Topic};
use duolog_record::{Offset, PartitionId};

use super::Client;
use super::lookup::{self, TopicRef};
use crate::codec::RequestHeader;
use crate::codec::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::error::{of_cursor, of_group};
use crate::group::Identity;
use crate::{ErrorCode, limits};

/// From this version on topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;

/// A topic of the request and what becomes of its partitions.
struct Part {
    asked: OffsetCommitRequestTopic,
    topic: Option<Arc<Topic>>,
    /// One code per partition asked for; `None` is still to be committed.
    codes: Vec<Option<ErrorCode>>,
}

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut parts = parts_of(client, header.api_version, std::mem::take(&mut request.topics));
    if client.session.may(Action::Consume, &request.group_id) {
        commit(client, &request, &mut parts).await;
    } else {
        settle(&mut parts, ErrorCode::GroupAuthorizationFailed);
    }
    OffsetCommitResponse { throttle_time_ms: 0, topics: parts.into_iter().map(Part::answer).collect() }
}

/// Commits what is still to be committed. A topic that is deleted meanwhile is taken out and the rest tried again, at most
/// once per topic.
async fn commit(client: &Client, request: &OffsetCommitRequest, parts: &mut [Part]) {
    let who = Identity::new(&*request.member_id, request.group_instance_id.clone());
    let generation = request.generation_id_or_member_epoch;
    loop {
        let moves: Vec<CursorMove> = parts.iter().flat_map(Part::moves).collect();
        if moves.is_empty() {
            return;
        }
        let queued = client.groups.commit(&client.session, &request.group_id, &who, generation, moves);
        let code = match queued {
            Err(error) => of_group(error),
            Ok(pending) => match pending.await {
                Ok(()) => ErrorCode::None,
                Err(CursorError::NotFound(gone)) => {
                    if parts.iter_mut().any(|part| part.lose(gone)) {
                        continue;
                    }
                    ErrorCode::UnknownTopicOrPartition
                }
                Err(error) => of_cursor(&error),
            },
        };
        return settle(parts, code);
    }
}

fn settle(parts: &mut [Part], code: ErrorCode) {
    for open in parts.iter_mut().flat_map(|part| &mut part.codes) {
        open.get_or_insert(code);
    }
}

/// Looks the topics up and refuses what cannot be committed whoever asks.
fn parts_of(client: &Client, version: i16, topics: Vec<OffsetCommitRequestTopic>) -> Vec<Part> {
    let catalog = client.session.catalog();
    let mut metadata_left = limits::COMMIT_METADATA_BYTES;
    let part = |asked: OffsetCommitRequestTopic| {
        let found = TopicRef::at(version, TOPIC_IDS_FROM, &asked.name, asked.topic_id).find(&catalog);
        let found = found.and_then(|topic| match client.session.may(Action::Consume, &topic.name) {
            true => Ok(Arc::clone(topic)),
            false => Err(ErrorCode::TopicAuthorizationFailed),
        });
        let check = |partition: &OffsetCommitRequestPartition| match &found {
            Ok(topic) => check(topic, partition, &mut metadata_left).err(),
            Err(error) => Some(*error),
        };
        let codes = asked.partitions.iter().map(check).collect();
        Part { asked, topic: found.ok(), codes }
    };
    topics.into_iter().map(part).collect()
}

fn check(
    topic: &Topic,
    partition: &OffsetCommitRequestPartition,
    metadata_left: &mut usize,
) -> Result<(), ErrorCode> {
    lookup::partition(topic, partition.partition_index)?;
    // -1 is how "no offset" is answered, so it cannot be one.
    if partition.committed_offset < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let bytes = partition.committed_metadata.as_ref().map_or(0, String::len);
    if bytes > CURSOR_METADATA_BYTES || bytes > *metadata_left {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    *metadata_left -= bytes;
    Ok(())
}

impl Part {
    /// What is still to be committed.
    fn moves(&self) -> impl Iterator<Item = CursorMove> + '_ {
        let open = self.asked.partitions.iter().zip(&self.codes).filter(|(_, code)| code.is_none());
        open.filter_map(|(partition, _)| {
            Some(CursorMove {
                partition: lookup::partition(self.topic.as_ref()?, partition.partition_index).ok()?,
                offset: Offset(u64::try_from(partition.committed_offset).ok()?),
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone().unwrap_or_default(),
            })
        })
    }

    /// The topic is gone, if this partition was one of its, and was to be committed.
    fn lose(&mut self, gone: PartitionId) -> bool {
        if self.topic.take_if(|topic| topic.partitions.contains(&gone)).is_none() {
            return false;
        }
        let mut lost = false;
        for open in self.codes.iter_mut().filter(|code| code.is_none()) {
            *open = Some(ErrorCode::UnknownTopicOrPartition);
            lost = true;
        }
        lost
    }

    fn answer(self) -> OffsetCommitResponseTopic {
        let answers = self.asked.partitions.iter().zip(self.codes);
        let partitions = answers
            .map(|(partition, code)| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.unwrap_or(ErrorCode::None).code(),
            })
            .collect();
        OffsetCommitResponseTopic { name: self.asked.name, topic_id: self.asked.topic_id, partitions }
    }
}
