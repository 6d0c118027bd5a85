//! CreateTopics. Source: KIP-4, KIP-464 (defaults), KIP-525 (settings in the response), KIP-516 (topic ids).

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::PARTITIONS_PER_TOPIC;
use duolog_broker::{Action, Pending, Topic, TopicId, TopicSpec};

use super::lookup::{is_topic_name, topic_named};
use super::refused::{Refused, refused};
use super::repeated::repeated;
use super::{Client, configs};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::error::{of_change, of_config};
use crate::topic_config;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let twice = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    // All are asked for before the first is awaited: they share a commit.
    let mut begun = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let spec = if twice.contains(topic.name.as_str()) {
            refused(ErrorCode::InvalidRequest, "the topic is named twice in the request")
        } else {
            check(client, topic)
        };
        begun.push((topic.name.clone(), spec.map(|spec| begin(client, spec, request.validate_only))));
    }
    let mut topics = Vec::with_capacity(begun.len());
    for (name, begun) in begun {
        let created = match begun {
            Ok(created) => created.finish(client).await,
            Err(refused) => Err(refused),
        };
        topics.push(answer(name, created));
    }
    CreateTopicsResponse { throttle_time_ms: 0, topics }
}

/// A topic that was checked: asked for, or only to be shown.
enum Begun {
    Asked(Pending<Result<TopicId, ChangeError>>, TopicSpec),
    Shown(TopicSpec),
}

fn begin(client: &Client, spec: TopicSpec, validate_only: bool) -> Begun {
    if validate_only {
        Begun::Shown(spec)
    } else {
        Begun::Asked(client.session.create_topic(spec.clone()), spec)
    }
}

/// What a created topic is told to be.
struct Created {
    id: TopicId,
    partitions: u32,
    configs: Vec<CreatableTopicConfigs>,
}

impl Begun {
    async fn finish(self, client: &Client) -> Result<Created, Refused> {
        let (id, spec) = match self {
            Self::Shown(spec) => (TopicId(0), spec),
            Self::Asked(created, spec) => match created.await {
                Ok(id) => (id, spec),
                Err(error) => return refused(of_change(&error), error.to_string()),
            },
        };
        let topic = Topic {
            id,
            namespace: spec.namespace,
            name: spec.name,
            partitions: Vec::new(),
            policy: spec.policy,
            made_by_queue: false,
            created_at: client.session.now(),
            labels: spec.labels,
        };
        let configs = configs::of_topic(&topic, &client.options)
            .map(|config| CreatableTopicConfigs {
                name: config.name.to_owned(),
                value: config.value().map(str::to_owned),
                read_only: false,
                config_source: config.source() as i8,
                is_sensitive: false,
            })
            .collect();
        Ok(Created { id, partitions: spec.partitions, configs })
    }
}

fn check(client: &Client, topic: &CreatableTopic) -> Result<TopicSpec, Refused> {
    if !is_topic_name(&topic.name) {
        return refused(
            ErrorCode::InvalidTopic,
            "a topic's name has 1 to 249 characters of a-z, A-Z, 0-9, '.', '_' and '-', and is not \".\" or \"..\"",
        );
    }
    if !client.session.may(Action::Manage, &topic.name) {
        return refused(ErrorCode::TopicAuthorizationFailed, "not allowed to create this topic");
    }
    if topic_named(&client.session.catalog(), &topic.name).is_some() {
        return refused(ErrorCode::TopicAlreadyExists, format!("topic {:?} exists already", topic.name));
    }
    let partitions = partitions(client, topic)?;
    let set = topic.configs.iter().map(|config| (config.name.as_str(), config.value.as_deref()));
    let (policy, labels) =
        topic_config::policy(&client.options, set).map_err(|error| (of_config(&error), error.to_string()))?;
    Ok(TopicSpec {
        namespace: DEFAULT_NAMESPACE.to_owned(),
        name: topic.name.clone(),
        partitions,
        policy,
        labels,
    })
}

/// How many partitions, from the count or from an assignment to brokers, of which there is one.
fn partitions(client: &Client, topic: &CreatableTopic) -> Result<u32, Refused> {
    if !topic.assignments.is_empty() {
        return assigned(client, topic);
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        let message = format!(
            "replication factor {} is not possible on one broker; use 1 or -1",
            topic.replication_factor
        );
        return refused(ErrorCode::InvalidReplicationFactor, message);
    }
    match topic.num_partitions {
        -1 => Ok(client.options.default_partitions),
        count if (1..=PARTITIONS_PER_TOPIC.cast_signed()).contains(&count) => Ok(count.cast_unsigned()),
        count => {
            let message =
                format!("{count} partitions are not possible; there are 1 to {PARTITIONS_PER_TOPIC}");
            refused(ErrorCode::InvalidPartitions, message)
        }
    }
}

fn assigned(client: &Client, topic: &CreatableTopic) -> Result<u32, Refused> {
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "with an assignment, partition count and replication factor must be -1";
        return refused(ErrorCode::InvalidRequest, message);
    }
    let mut indexes: Vec<i32> = topic.assignments.iter().map(|it| it.partition_index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..indexes.len().min(i32::MAX as usize) as i32) {
        let message = "the partitions of an assignment must be numbered from 0 without gaps";
        return refused(ErrorCode::InvalidReplicaAssignment, message);
    }
    if topic.assignments.iter().any(|it| it.broker_ids != [client.options.node_id]) {
        let message = format!("partitions can only be assigned to broker {}", client.options.node_id);
        return refused(ErrorCode::InvalidReplicaAssignment, message);
    }
    match u32::try_from(indexes.len()) {
        Ok(count) if count <= PARTITIONS_PER_TOPIC => Ok(count),
        _ => {
            refused(ErrorCode::InvalidPartitions, format!("there are 1 to {PARTITIONS_PER_TOPIC} partitions"))
        }
    }
}

fn answer(name: String, created: Result<Created, Refused>) -> CreatableTopicResult {
    match created {
        Ok(created) => CreatableTopicResult {
            name,
            topic_id: created.id.0,
            num_partitions: created.partitions.cast_signed(),
            replication_factor: 1,
            configs: Some(created.configs),
            ..Default::default()
        },
        Err((code, message)) => CreatableTopicResult {
            name,
            error_code: code.code(),
            error_message: Some(message),
            ..Default::default()
        },
    }
}
