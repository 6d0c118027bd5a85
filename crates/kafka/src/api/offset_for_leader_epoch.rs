//! OffsetForLeaderEpoch: where the records of an epoch end, for clients that check their position after a restart of the
//! broker. Source: KIP-101, KIP-320.

use duolog_broker::{Action, Session};
use duolog_record::PartitionId;

use super::lookup::{self, TopicRef, check_epoch};
use super::{Client, blocking};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderPartitionResult, OffsetForLeaderTopic, OffsetForLeaderTopicResult,
};
use crate::error::of_fetch;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let session = client.session.clone();
    // An epoch of the past is looked up in the log.
    let topics =
        blocking(move || request.topics.into_iter().map(|topic| of_topic(&session, topic)).collect());
    OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.await }
}

fn of_topic(session: &Session, topic: OffsetForLeaderTopic) -> OffsetForLeaderTopicResult {
    let catalog = session.catalog();
    let found = match session.may(Action::Describe, &topic.topic) {
        true => TopicRef::Name(&topic.topic).find(&catalog),
        false => Err(ErrorCode::TopicAuthorizationFailed),
    };
    let answer = |asked: &OffsetForLeaderPartition| {
        let end = found
            .and_then(|topic| lookup::partition(topic, asked.partition))
            .and_then(|partition| end_of(session, partition, asked));
        // What has not come has neither epoch nor end.
        let (leader_epoch, end_offset) = end.ok().flatten().unwrap_or((-1, -1));
        let error_code = end.err().unwrap_or(ErrorCode::None).code();
        OffsetForLeaderPartitionResult { error_code, partition: asked.partition, leader_epoch, end_offset }
    };
    let partitions = topic.partitions.iter().map(answer).collect();
    OffsetForLeaderTopicResult { topic: topic.topic, partitions }
}

fn end_of(
    session: &Session,
    partition: PartitionId,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    check_epoch(session, partition, asked.current_leader_epoch)?;
    let end = session.end_of_epoch(partition, asked.leader_epoch).map_err(|error| of_fetch(&error))?;
    Ok(end.map(|it| (it.epoch, it.end.0.cast_signed())))
}
