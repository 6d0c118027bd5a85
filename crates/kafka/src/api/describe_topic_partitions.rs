//! DescribeTopicPartitions: topics and their partitions, page by page in the order of names. Source: KIP-966.

use std::collections::BTreeSet;

use duolog_broker::{Action, Catalog, Topic};

use super::lookup::{is_topic_name, topic_named, topics};
use super::{Client, operations};
use crate::codec::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, TopicPartitionCursor,
};
use crate::codec::{Nullable, RequestHeader};
use crate::{ErrorCode, limits};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let catalog = client.session.catalog();
    let from = request.cursor.0.unwrap_or_default();
    let asked = names(client, &catalog, &request.topics.into_iter().map(|it| it.name).collect::<Vec<_>>());
    let most = limits::DESCRIBED_PARTITIONS;
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or_default().clamp(1, most);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in asked.range(from.topic_name.clone()..) {
        let first = if *name == from.topic_name { from.partition_index } else { 0 };
        let first = usize::try_from(first).unwrap_or_default();
        if left == 0 {
            response.next_cursor = cursor(name, first);
            break;
        }
        let topic = match find(client, &catalog, name) {
            Ok(topic) => topic,
            Err(code) => {
                response.topics.push(DescribeTopicPartitionsResponseTopic {
                    error_code: code.code(),
                    name: Some(name.clone()),
                    ..Default::default()
                });
                // So that a page of names that do not exist ends, too.
                left -= 1;
                continue;
            }
        };
        let shown = describe(client, topic, first, left);
        let next = first + shown.partitions.len();
        left = left.saturating_sub(shown.partitions.len());
        response.topics.push(shown);
        if next < topic.partitions.len() {
            response.next_cursor = cursor(name, next);
            break;
        }
    }
    response
}

/// The names asked for; none is all that the client may see.
fn names(client: &Client, catalog: &Catalog, asked: &[String]) -> BTreeSet<String> {
    if !asked.is_empty() {
        return asked.iter().cloned().collect();
    }
    let visible = topics(catalog).filter(|topic| client.session.may(Action::Describe, &topic.name));
    visible.map(|topic| topic.name.clone()).collect()
}

fn find<'a>(client: &Client, catalog: &'a Catalog, name: &str) -> Result<&'a Topic, ErrorCode> {
    if !is_topic_name(name) {
        return Err(ErrorCode::InvalidTopic);
    }
    if !client.session.may(Action::Describe, name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    topic_named(catalog, name).map(AsRef::as_ref).ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn cursor(topic: &str, partition: usize) -> Nullable<TopicPartitionCursor> {
    let partition_index = i32::try_from(partition).unwrap_or(i32::MAX);
    Nullable(Some(TopicPartitionCursor { topic_name: topic.to_owned(), partition_index }))
}

fn describe(
    client: &Client,
    topic: &Topic,
    first: usize,
    most: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let node = client.options.node_id;
    let partition = |(partition_index, &partition)| DescribeTopicPartitionsResponsePartition {
        error_code: 0,
        partition_index,
        leader_id: node,
        leader_epoch: client.session.leader_epoch(partition),
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    };
    let numbered = (0..).zip(&topic.partitions).skip(first).take(most);
    DescribeTopicPartitionsResponseTopic {
        error_code: 0,
        name: Some(topic.name.clone()),
        topic_id: topic.id.0,
        is_internal: false,
        partitions: numbered.map(partition).collect(),
        topic_authorized_operations: operations::of_topic(client, &topic.name),
    }
}
