//! ListOffsets: the ends of a partition, and positions by time.
//! Source: KIP-79, KIP-734 (-3), KIP-405 (-4), KIP-1005 (-5), KIP-1023 (-6).

use duolog_broker::Session;
use duolog_record::{PartitionId, Timestamp};

use super::lookup::{self, TopicRef, check_epoch};
use super::{Client, blocking};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::error::of_fetch;

/// What the negative times mean.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A position: timestamp, offset, epoch; each -1 if there is none.
type Position = (i64, i64, i32);
const NONE: Position = (-1, -1, -1);

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let version = header.api_version;
    let may_read_disk = |time: i64| time >= 0 || time == MAX_TIMESTAMP;
    let blocks = request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|partition| may_read_disk(partition.timestamp));
    if !blocks {
        return list(&client.session, version, request);
    }
    let session = client.session.clone();
    blocking(move || list(&session, version, request)).await
}

fn list(session: &Session, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let catalog = session.catalog();
    let topics = request.topics.into_iter().map(|topic| {
        let found = TopicRef::Name(&topic.name).find(&catalog);
        let answer = |asked: &ListOffsetsPartition| {
            let position = found
                .and_then(|topic| lookup::partition(topic, asked.partition_index))
                .and_then(|partition| position(session, version, partition, asked));
            let code = position.err().unwrap_or(ErrorCode::None);
            let (timestamp, offset, leader_epoch) = position.unwrap_or(NONE);
            let partition_index = asked.partition_index;
            let error_code = code.code();
            ListOffsetsPartitionResponse { partition_index, error_code, timestamp, offset, leader_epoch }
        };
        let partitions = topic.partitions.iter().map(answer).collect();
        ListOffsetsTopicResponse { name: topic.name, partitions }
    });
    ListOffsetsResponse { throttle_time_ms: 0, topics: topics.collect() }
}

fn position(
    session: &Session,
    version: i16,
    partition: PartitionId,
    asked: &ListOffsetsPartition,
) -> Result<Position, ErrorCode> {
    check_epoch(session, partition, asked.current_leader_epoch)?;
    let bounds = session.bounds(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let epoch = session.leader_epoch(partition);
    let found = match asked.timestamp {
        LATEST => return Ok((-1, bounds.end.0.cast_signed(), epoch)),
        EARLIEST => return Ok((-1, bounds.start.0.cast_signed(), epoch)),
        EARLIEST_LOCAL if version >= 8 => return Ok((-1, bounds.start.0.cast_signed(), epoch)),
        // There is no tier below this one.
        LATEST_TIERED if version >= 9 => return Ok(NONE),
        EARLIEST_PENDING_UPLOAD if version >= 11 => return Ok(NONE),
        MAX_TIMESTAMP if version >= 7 => session.offset_of_max_timestamp(partition),
        at if at >= 0 => session.offset_at(partition, Timestamp(at)),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    match found {
        Ok(Some(found)) => Ok((found.timestamp.0, found.offset.0.cast_signed(), found.leader_epoch)),
        Ok(None) => Ok(NONE),
        Err(error) => Err(of_fetch(&error)),
    }
}
