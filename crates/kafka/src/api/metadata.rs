//! Metadata: who serves what. Source: KIP-4 (auto-creation), KIP-516 (topic ids), KIP-430 (authorized operations).

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::{Action, Catalog, Labels, Topic, TopicId, TopicSpec};

use super::lookup::{is_topic_name, topic_named, topics};
use super::{Client, operations};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::error::of_change;
use crate::topic_config::default_policy;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: MetadataRequest,
) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => header.api_version == 0 && topics.is_empty(),
    };
    let asked = request.topics.unwrap_or_default();
    let refused = if request.allow_auto_topic_creation && client.options.auto_create {
        create_missing(client, &asked).await
    } else {
        Vec::new()
    };
    let catalog = client.session.catalog();
    let with_operations = request.include_topic_authorized_operations;
    let topics = if all {
        let visible = |topic: &&_| may_describe(client, topic);
        topics(&catalog)
            .map(AsRef::as_ref)
            .filter(visible)
            .map(|topic| describe(client, topic, with_operations))
            .collect()
    } else {
        let answer =
            |asked: &MetadataRequestTopic| answer(client, &catalog, asked, &refused, with_operations);
        asked.iter().map(answer).collect()
    };
    let (host, port) = client.advertised();
    let node_id = client.options.node_id;
    MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id, host, port, rack: None }],
        cluster_id: Some(client.options.cluster_id.clone()),
        controller_id: node_id,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::of_cluster(client)
        } else {
            i32::MIN
        },
        ..Default::default()
    }
}

fn may_describe(client: &Client, topic: &Topic) -> bool {
    client.session.may(Action::Describe, &topic.name)
}

/// Creates the topics that are named and do not exist; gives those that could not be created, and why.
async fn create_missing(client: &Client, asked: &[MetadataRequestTopic]) -> Vec<(String, ChangeError)> {
    let catalog = client.session.catalog();
    let mut pending = Vec::new();
    for name in asked.iter().filter_map(|topic| topic.name.as_ref()) {
        if is_topic_name(name) && topic_named(&catalog, name).is_none() {
            let spec = TopicSpec {
                namespace: DEFAULT_NAMESPACE.to_owned(),
                name: name.clone(),
                partitions: client.options.default_partitions,
                policy: default_policy(&client.options),
                labels: Labels::new(),
            };
            pending.push((name.clone(), client.session.create_topic(spec)));
        }
    }
    let mut refused = Vec::new();
    for (name, created) in pending {
        match created.await {
            // Somebody else was faster: just as well.
            Ok(_) | Err(ChangeError::Exists(_)) => {}
            Err(error) => refused.push((name, error)),
        }
    }
    refused
}

fn answer(
    client: &Client,
    catalog: &Catalog,
    asked: &MetadataRequestTopic,
    refused: &[(String, ChangeError)],
    with_operations: bool,
) -> MetadataResponseTopic {
    let failed = |code: ErrorCode| MetadataResponseTopic {
        error_code: code.code(),
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        ..Default::default()
    };
    let (found, missing) = match &asked.name {
        Some(name) if !is_topic_name(name) => return failed(ErrorCode::InvalidTopic),
        Some(name) => (topic_named(catalog, name), ErrorCode::UnknownTopicOrPartition),
        None => (catalog.topic_by_id(TopicId(asked.topic_id)), ErrorCode::UnknownTopicId),
    };
    match found {
        Some(topic) if may_describe(client, topic) => describe(client, topic, with_operations),
        // By id it is not even told that it exists.
        Some(_) if asked.name.is_some() => failed(ErrorCode::TopicAuthorizationFailed),
        Some(_) => failed(missing),
        None => {
            let refusal = refused.iter().find(|(name, _)| Some(name) == asked.name.as_ref());
            failed(refusal.map_or(missing, |(_, error)| of_change(error)))
        }
    }
}

fn describe(client: &Client, topic: &Topic, with_operations: bool) -> MetadataResponseTopic {
    let node = client.options.node_id;
    let partition = |(index, partition)| MetadataResponsePartition {
        error_code: 0,
        partition_index: index,
        leader_id: node,
        leader_epoch: client.session.leader_epoch(partition),
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        offline_replicas: Vec::new(),
    };
    MetadataResponseTopic {
        error_code: 0,
        name: Some(topic.name.clone()),
        topic_id: topic.id.0,
        is_internal: false,
        partitions: (0..).zip(topic.partitions.iter().copied()).map(partition).collect(),
        topic_authorized_operations: if with_operations {
            operations::of_topic(client, &topic.name)
        } else {
            i32::MIN
        },
    }
}
