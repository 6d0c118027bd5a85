//! DeleteRecords: partitions cut off below an offset, durable when answered. Source: KIP-107.
//!
//! What a queue has not settled is not taken from it: such a partition is answered `POLICY_VIOLATION` and left alone.

use duolog_broker::errors::ChangeError;
use duolog_broker::{Action, Catalog, Pending};
use duolog_record::Offset;

use super::Client;
use super::lookup::{self, TopicRef};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use crate::error::of_change;

/// Everything that is readable now.
const TO_THE_END: i64 = -1;

type Begun = Result<Pending<Result<Offset, ChangeError>>, ErrorCode>;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // All are asked for before the first is awaited: they share a commit.
    let begun: Vec<(String, Vec<(i32, Begun)>)> = {
        let catalog = client.session.catalog();
        let topics = request.topics.into_iter().map(|topic| {
            let begin = |asked: &DeleteRecordsPartition| {
                (asked.partition_index, begin(client, &catalog, &topic.name, asked))
            };
            let partitions = topic.partitions.iter().map(begin).collect();
            (topic.name, partitions)
        });
        topics.collect()
    };
    let mut topics = Vec::with_capacity(begun.len());
    for (name, begun) in begun {
        let mut partitions = Vec::with_capacity(begun.len());
        for (partition_index, begun) in begun {
            let deleted = match begun {
                Ok(pending) => pending.await.map_err(|error| code_of(&name, partition_index, &error)),
                Err(code) => Err(code),
            };
            let (low_watermark, code) = match deleted {
                Ok(start) => (start.0.cast_signed(), ErrorCode::None),
                Err(code) => (-1, code),
            };
            let error_code = code.code();
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse { throttle_time_ms: 0, topics }
}

fn begin(client: &Client, catalog: &Catalog, topic: &str, asked: &DeleteRecordsPartition) -> Begun {
    if !client.session.may(Action::Manage, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let found = TopicRef::Name(topic).find(catalog)?;
    let partition = lookup::partition(found, asked.partition_index)?;
    let end = client.session.bounds(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?.end;
    let start = match asked.offset {
        TO_THE_END => end,
        offset => u64::try_from(offset).map(Offset).map_err(|_| ErrorCode::OffsetOutOfRange)?,
    };
    if start > end {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok(client.session.trim_unneeded(partition, start))
}

/// The answer has no room for words: who refused stands in the log.
fn code_of(topic: &str, partition: i32, error: &ChangeError) -> ErrorCode {
    match error {
        ChangeError::Invalid { .. } => {
            tracing::info!(topic, partition, %error, "records were not deleted");
            ErrorCode::PolicyViolation
        }
        error => of_change(error),
    }
}
