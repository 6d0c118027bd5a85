//! OffsetDelete: some offsets of a group forgotten; those of topics that it is subscribed to are not. Source: KIP-496.

use duolog_broker::Action;
use duolog_record::PartitionId;

use super::Client;
use super::lookup::{self, TopicRef};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::error::of_offsets;

/// A topic and what was found of its partitions.
type Found = (OffsetDeleteRequestTopic, Vec<Result<PartitionId, ErrorCode>>);

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    if !client.session.may(Action::Consume, &request.group_id) {
        return failed(ErrorCode::GroupAuthorizationFailed);
    }
    let found = find(client, request.topics);
    let asked = found.iter().flat_map(|(topic, partitions)| {
        partitions.iter().flatten().map(|&partition| (topic.name.as_str(), partition))
    });
    let subscribed = client.groups.forget_some(&client.session, &request.group_id, asked.collect()).await;
    let subscribed = match subscribed {
        Ok(subscribed) => subscribed,
        Err(error) => return failed(of_offsets(&error)),
    };
    let topics = found.into_iter().map(|(topic, partitions)| {
        let is_subscribed = subscribed.contains(topic.name.as_bytes());
        let answers = topic.partitions.iter().zip(partitions).map(|(asked, found)| {
            let code = match found {
                Err(code) => code,
                Ok(_) if is_subscribed => ErrorCode::GroupSubscribedToTopic,
                Ok(_) => ErrorCode::None,
            };
            OffsetDeleteResponsePartition { partition_index: asked.partition_index, error_code: code.code() }
        });
        OffsetDeleteResponseTopic { partitions: answers.collect(), name: topic.name }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

fn find(client: &Client, topics: Vec<OffsetDeleteRequestTopic>) -> Vec<Found> {
    let catalog = client.session.catalog();
    let find = |topic: OffsetDeleteRequestTopic| {
        let found = match client.session.may(Action::Consume, &topic.name) {
            true => TopicRef::Name(&topic.name).find(&catalog),
            false => Err(ErrorCode::TopicAuthorizationFailed),
        };
        let partition = |asked: &OffsetDeleteRequestPartition| {
            found.and_then(|topic| lookup::partition(topic, asked.partition_index))
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        (topic, partitions)
    };
    topics.into_iter().map(find).collect()
}

fn failed(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: code.code(), ..Default::default() }
}
