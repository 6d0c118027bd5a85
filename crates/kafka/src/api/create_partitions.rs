//! CreatePartitions: more partitions for a topic; none is ever taken away. Source: KIP-195.

use duolog_broker::catalog::Order;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::PARTITIONS_PER_TOPIC;
use duolog_broker::{Action, Catalog, Pending, Topic};

use super::Client;
use super::lookup::topic_named;
use super::refused::{Refused, refused};
use super::repeated::repeated;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use crate::error::of_change;

/// What was asked for; `None` was only to be checked.
type Begun = Option<Pending<Result<(), ChangeError>>>;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let twice = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    // All are asked for before the first is awaited: they share a commit.
    let begun: Vec<Result<Begun, Refused>> = {
        let catalog = client.session.catalog();
        let begin = |asked: &CreatePartitionsTopic| {
            if twice.contains(asked.name.as_str()) {
                return refused(ErrorCode::InvalidRequest, "the topic is named twice in the request");
            }
            let topic = find(client, &catalog, &asked.name)?;
            let total = check(client, &catalog, topic, asked)?;
            Ok((!request.validate_only).then(|| client.session.add_partitions(topic.id, total)))
        };
        request.topics.iter().map(begin).collect()
    };
    let mut results = Vec::with_capacity(begun.len());
    for (asked, begun) in request.topics.iter().zip(begun) {
        let added = match begun {
            Ok(Some(pending)) => pending.await.map_err(|error| (code_of(&error), error.to_string())),
            Ok(None) => Ok(()),
            Err(refused) => Err(refused),
        };
        let (code, error_message) = match added {
            Ok(()) => (ErrorCode::None, None),
            Err((code, message)) => (code, Some(message)),
        };
        let (name, error_code) = (asked.name.clone(), code.code());
        results.push(CreatePartitionsTopicResult { name, error_code, error_message });
    }
    CreatePartitionsResponse { throttle_time_ms: 0, results }
}

fn find<'a>(client: &Client, catalog: &'a Catalog, name: &str) -> Result<&'a Topic, Refused> {
    if !client.session.may(Action::Manage, name) {
        return refused(ErrorCode::TopicAuthorizationFailed, "not allowed to change this topic");
    }
    match topic_named(catalog, name) {
        Some(topic) => Ok(topic),
        None => refused(ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist")),
    }
}

/// How many partitions the topic is to have, if it may.
fn check(
    client: &Client,
    catalog: &Catalog,
    topic: &Topic,
    asked: &CreatePartitionsTopic,
) -> Result<u32, Refused> {
    let has = topic.partitions.len();
    let total = usize::try_from(asked.count).unwrap_or_default();
    if total <= has || total > PARTITIONS_PER_TOPIC as usize {
        let message = format!(
            "the topic has {has} partitions and can be given more, up to {PARTITIONS_PER_TOPIC}; {} is not possible",
            asked.count
        );
        return refused(ErrorCode::InvalidPartitions, message);
    }
    if let Some(assignments) = &asked.assignments {
        let node = client.options.node_id;
        let is_here = assignments.iter().all(|it| it.broker_ids == [node]);
        if assignments.len() != total - has || !is_here {
            let message =
                format!("an assignment must give each of the {} new partitions broker {node}", total - has);
            return refused(ErrorCode::InvalidReplicaAssignment, message);
        }
    }
    if let Some(queue) = catalog.queues_on(topic.id).find(|queue| queue.policy.order == Order::ByKey) {
        let message = format!(
            "queue {:?} hands out the topic's records in the order of their keys, which more partitions would break",
            queue.name
        );
        return refused(ErrorCode::PolicyViolation, message);
    }
    Ok(asked.count.cast_unsigned())
}

/// What was checked and has changed since.
fn code_of(error: &ChangeError) -> ErrorCode {
    match error {
        ChangeError::Invalid { .. } => ErrorCode::InvalidPartitions,
        error => of_change(error),
    }
}
