//! Produce: batches into partitions. Source: KIP-98, KIP-467 (messages of errors), KIP-516 (topic ids).
//!
//! All partitions of a request are appended before the first is awaited: they share a commit.

use std::time::Duration;

use bytes::Bytes;
use duolog_broker::errors::AppendError;
use duolog_broker::{Appended, Catalog, Pending};
use duolog_record::{Batch, BatchError, Codec};

use super::lookup::{self, TopicRef};
use super::{Client, Held, IntoReply, Reply};
use crate::ErrorCode;
use crate::codec::messages::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::codec::{ApiKey, RequestHeader, encode_response};
use crate::error::{of_append, of_batch};

/// Where the magic stands in every record format. Source: KIP-98.
const MAGIC_AT: usize = 16;

/// A response, unless the client asked for none.
pub(super) struct Produced {
    response: ProduceResponse,
    acks: i16,
}

impl IntoReply for Produced {
    fn into_reply(self, api: ApiKey, header: &RequestHeader) -> Reply {
        if self.acks != 0 {
            let frame = encode_response(api, header.api_version, header.correlation_id, &self.response);
            return Reply::Frame(frame, Held::default());
        }
        let mut partitions = self.response.responses.iter().flat_map(|topic| &topic.partition_responses);
        if partitions.any(|partition| partition.error_code != 0) { Reply::Close } else { Reply::Silent }
    }
}

/// A refusal of one partition.
struct Refused {
    code: ErrorCode,
    message: Option<String>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl Refused {
    fn new(code: ErrorCode, message: &str) -> Self {
        Self { code, message: Some(message.to_owned()) }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        Self::new(of_batch(&error), &error.to_string())
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        Self::new(of_append(&error), &error.to_string())
    }
}

type Append = Result<Pending<Result<Appended, AppendError>>, Refused>;

pub(super) async fn handle(client: &Client, header: &RequestHeader, request: ProduceRequest) -> Produced {
    let version = header.api_version;
    let refusal = refusal_of(&request);
    let mut topics = Vec::with_capacity(request.topic_data.len());
    {
        let catalog = client.session.catalog();
        for topic in request.topic_data {
            let named = TopicRef::at(version, 13, &topic.name, topic.topic_id);
            let begun: Vec<(i32, Append)> = topic
                .partition_data
                .into_iter()
                .map(|data| {
                    let index = data.index;
                    let append = match &refusal {
                        Some((code, message)) => Err(Refused::new(*code, message)),
                        None => append(client, &catalog, version, named, data),
                    };
                    (index, append)
                })
                .collect();
            topics.push((topic.name, topic.topic_id, begun));
        }
    }
    let deadline = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    let mut deadline = std::pin::pin!(tokio::time::sleep(deadline));
    let mut response = ProduceResponse::default();
    for (name, topic_id, begun) in topics {
        let mut partition_responses = Vec::with_capacity(begun.len());
        for (index, append) in begun {
            let done = match append {
                Err(refused) => Err(refused),
                Ok(pending) => tokio::select! {
                    biased;
                    done = pending => done.map_err(Refused::from),
                    // Without acknowledgement nobody waits, and what was queued keeps its memory until it is stored.
                    () = &mut deadline, if request.acks != 0 => Err(Refused::new(
                        ErrorCode::RequestTimedOut,
                        "not durable within the request's timeout; it may become so later",
                    )),
                },
            };
            partition_responses.push(answer(index, done));
        }
        response.responses.push(TopicProduceResponse { name, topic_id, partition_responses });
    }
    Produced { response, acks: request.acks }
}

/// Why nothing of the request may be stored.
fn refusal_of(request: &ProduceRequest) -> Option<(ErrorCode, &'static str)> {
    if !(-1..=1).contains(&request.acks) {
        return Some((ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1 (all)"));
    }
    request.transactional_id.as_ref().map(|_| {
        (
            ErrorCode::TransactionalIdAuthorizationFailed,
            "transactions are not supported; unset transactional.id",
        )
    })
}

fn append(
    client: &Client,
    catalog: &Catalog,
    version: i16,
    topic: TopicRef<'_>,
    data: PartitionProduceData,
) -> Append {
    let partition = lookup::partition(topic.find(catalog)?, data.index)?;
    let batch = batch(data.records.unwrap_or_default(), version)?;
    Ok(client.session.append(partition, batch))
}

/// The one batch of a partition, its checksum checked.
fn batch(mut records: Bytes, version: i16) -> Result<Batch, Refused> {
    // Formats 0 and 1 are shorter than a header of format 2.
    if let Some(magic @ 0..=1) = records.get(MAGIC_AT) {
        return Err(BatchError::BadMagic(*magic as i8).into());
    }
    if records.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidRecord, "no batch for the partition"));
    }
    let batch = Batch::split_checked(&mut records)?;
    if !records.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidRecord, "more than one batch for the partition"));
    }
    if batch.header().codec == Codec::Zstd && version < 7 {
        let message = "zstd needs version 7 of Produce";
        return Err(Refused::new(ErrorCode::UnsupportedCompressionType, message));
    }
    Ok(batch)
}

fn answer(index: i32, done: Result<Appended, Refused>) -> PartitionProduceResponse {
    match done {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base.0.cast_signed(),
            log_append_time_ms: appended.append_time.map_or(-1, |time| time.0),
            log_start_offset: appended.log_start.0.cast_signed(),
            ..Default::default()
        },
        Err(refused) => PartitionProduceResponse {
            index,
            error_code: refused.code.code(),
            base_offset: -1,
            error_message: refused.message,
            ..Default::default()
        },
    }
}
