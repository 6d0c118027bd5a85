//! DescribeProducers: the idempotent producers that are known of a partition, for admin tools that look for one that
//! hangs. None has a transaction open: there are none. Source: KIP-664.

use std::collections::HashSet;

use duolog_broker::{Action, KnownProducer};
use duolog_record::PartitionId;

use super::Client;
use super::lookup::{self, TopicRef};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicRequest, DescribeProducersTopicResponse, ProducerState,
};
use crate::error::of_cursor;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    // Each partition once: a short request for the same one again and again would have a long answer.
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(of_topic(client, topic, &mut seen).await);
    }
    DescribeProducersResponse { throttle_time_ms: 0, topics }
}

async fn of_topic(
    client: &Client,
    asked: DescribeProducersTopicRequest,
    seen: &mut HashSet<PartitionId>,
) -> DescribeProducersTopicResponse {
    let catalog = client.session.catalog();
    let found = match client.session.may(Action::Consume, &asked.name) {
        true => TopicRef::Name(&asked.name).find(&catalog),
        false => Err(ErrorCode::TopicAuthorizationFailed),
    };
    let mut partitions = Vec::with_capacity(asked.partition_indexes.len());
    for partition_index in asked.partition_indexes {
        let known = match found.and_then(|topic| lookup::partition(topic, partition_index)) {
            Ok(partition) if !seen.insert(partition) => Err(ErrorCode::InvalidRequest),
            Ok(partition) => client.session.producers(partition).await.map_err(|error| of_cursor(&error)),
            Err(code) => Err(code),
        };
        let error_code = known.as_ref().err().map_or(ErrorCode::None, |code| *code).code();
        let active_producers = known.unwrap_or_default().into_iter().map(of_producer).collect();
        partitions.push(DescribeProducersPartitionResponse {
            partition_index,
            error_code,
            error_message: None,
            active_producers,
        });
    }
    DescribeProducersTopicResponse { name: asked.name, partitions }
}

fn of_producer(known: KnownProducer) -> ProducerState {
    ProducerState {
        producer_id: known.id,
        producer_epoch: i32::from(known.epoch),
        last_sequence: known.last_sequence,
        last_timestamp: known.used_at.0,
        ..Default::default()
    }
}
