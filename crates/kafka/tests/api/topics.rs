//! Topics: made, seen, described, deleted.

use duolog_kafka::codec::messages::*;
use duolog_kafka::{ErrorCode, KafkaOptions};

use crate::common::{Server, Settings};

fn named(name: &str) -> MetadataRequest {
    MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.to_owned()), topic_id: 0 }]),
        ..Default::default()
    }
}

#[tokio::test]
async fn metadata_names_the_broker_as_the_client_reached_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let topic_id = client.create("t", 2, &[]).await.topic_id;
    for version in 0..=13 {
        let response = client.ask(version, &MetadataRequest::default()).await;
        let broker = &response.brokers[0];
        assert_eq!((broker.host.as_str(), broker.port), ("127.0.0.1", server.address.port().into()));
        let topic = &response.topics[0];
        assert_eq!((topic.name.as_deref(), topic.partitions.len()), (Some("t"), 2));
        assert_eq!(topic.partitions[1].isr_nodes, [1]);
        if version >= 10 {
            assert_eq!(topic.topic_id, topic_id);
        }
    }
    // Empty is none, but for the first version, which knew no null.
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(client.ask(1, &none).await.topics.len(), 0);
    assert_eq!(client.ask(0, &none).await.topics.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_advertised_address_wins() {
    let options =
        KafkaOptions { advertised: Some(("broker.example".to_owned(), 19092)), ..Default::default() };
    let server = Server::with(Settings { options, ..Default::default() }).await;
    let mut client = server.client().await;
    let response = client.ask(9, &MetadataRequest::default()).await;
    assert_eq!((response.brokers[0].host.as_str(), response.brokers[0].port), ("broker.example", 19092));
    let cluster = client.ask(1, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await;
    assert_eq!(cluster.brokers[0].host, "broker.example");
    let controllers = client.ask(1, &DescribeClusterRequest { endpoint_type: 2, ..Default::default() }).await;
    assert_eq!(controllers.error_code, ErrorCode::UnsupportedEndpointType.code());
    server.stop().await;
}

#[tokio::test]
async fn a_topic_is_made_on_first_use_if_client_and_broker_allow_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let made = client.ask(9, &named("fresh")).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    let not_allowed = MetadataRequest { allow_auto_topic_creation: false, ..named("other") };
    let code = client.ask(9, &not_allowed).await.topics[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
    for name in ["", ".", "..", "a b", "ü", &"x".repeat(250)] {
        let code = client.ask(9, &named(name)).await.topics[0].error_code;
        assert_eq!(code, ErrorCode::InvalidTopic.code(), "{name:?}");
    }
    server.stop().await;

    let options = KafkaOptions { auto_create: false, ..Default::default() };
    let server = Server::with(Settings { options, ..Default::default() }).await;
    let mut client = server.client().await;
    let code = client.ask(9, &named("fresh")).await.topics[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
    server.stop().await;
}

#[tokio::test]
async fn a_topic_is_found_by_its_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let topic_id = client.create("t", 1, &[]).await.topic_id;
    let ask = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: None, topic_id }]),
        ..Default::default()
    };
    assert_eq!(client.ask(12, &ask(topic_id)).await.topics[0].name.as_deref(), Some("t"));
    let code = client.ask(12, &ask(1)).await.topics[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId.code());
    server.stop().await;
}

#[tokio::test]
async fn a_topic_that_cannot_be_is_refused_with_the_reason() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("taken", 1, &[]).await;
    let topic = |name: &str, partitions, replication| CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: replication,
        ..Default::default()
    };
    let with = |name: &str, value: Option<&str>| CreatableTopic {
        configs: vec![CreatableTopicConfig { name: name.to_owned(), value: value.map(str::to_owned) }],
        ..topic("c", 1, 1)
    };
    let assigned = |brokers: &[&[i32]]| CreatableTopic {
        assignments: (0..)
            .zip(brokers)
            .map(|(partition_index, brokers)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..topic("a", -1, -1)
    };
    let table = [
        (topic("ok", 3, 1), ErrorCode::None),
        (topic("defaults", -1, -1), ErrorCode::None),
        (topic("taken", 1, 1), ErrorCode::TopicAlreadyExists),
        (topic("a b", 1, 1), ErrorCode::InvalidTopic),
        (topic("", 1, 1), ErrorCode::InvalidTopic),
        (topic("x", 0, 1), ErrorCode::InvalidPartitions),
        (topic("x", -2, 1), ErrorCode::InvalidPartitions),
        (topic("x", i32::MAX, 1), ErrorCode::InvalidPartitions),
        (topic("x", 1, 2), ErrorCode::InvalidReplicationFactor),
        (topic("x", 1, 0), ErrorCode::InvalidReplicationFactor),
        (with("cleanup.policy", Some("compact")), ErrorCode::InvalidConfig),
        (with("retention.ms", Some("soon")), ErrorCode::InvalidConfig),
        (with("retention.ms", Some("-2")), ErrorCode::InvalidConfig),
        (with("max.message.bytes", Some("999999999")), ErrorCode::InvalidConfig),
        (with("message.timestamp.type", Some("Never")), ErrorCode::InvalidConfig),
        (with("duolog.durability", Some("maybe")), ErrorCode::InvalidConfig),
        (with("no.such.thing", Some("1")), ErrorCode::InvalidConfig),
        (with("segment.bytes", Some("1048576")), ErrorCode::None),
        (with("retention.ms", None), ErrorCode::None),
        (assigned(&[&[1], &[1]]), ErrorCode::None),
        (assigned(&[&[1], &[2]]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[&[]]), ErrorCode::InvalidReplicaAssignment),
    ];
    for (topic, code) in table {
        let request =
            CreateTopicsRequest { topics: vec![topic.clone()], validate_only: true, ..Default::default() };
        let response = client.ask(6, &request).await;
        let result = &response.topics[0];
        assert_eq!(result.error_code, code.code(), "{topic:?}: {:?}", result.error_message);
        assert_eq!(result.error_message.is_some(), code != ErrorCode::None);
    }
    let both = CreateTopicsRequest { topics: vec![topic("d", 1, 1); 2], ..Default::default() };
    let codes: Vec<i16> = client.ask(6, &both).await.topics.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(); 2]);
    let all = client.ask(9, &MetadataRequest::default()).await;
    assert_eq!(all.topics.len(), 1, "nothing but the first was made");
    server.stop().await;
}

#[tokio::test]
async fn settings_are_kept_and_described() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let created = client.create("t", 2, &[("retention.ms", "12345678"), ("duolog.durability", "os")]).await;
    assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
    let of = |name: &str, resource_type| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    for version in 1..=4 {
        let response = client.ask(version, &of("t", 2)).await;
        let value = |name: &str| {
            let config = response.results[0].configs.iter().find(|it| it.name == name).unwrap();
            (config.value.as_deref().unwrap_or_default().to_owned(), config.config_source)
        };
        assert_eq!(value("retention.ms"), ("12345678".to_owned(), 1));
        assert_eq!(value("duolog.durability"), ("os".to_owned(), 1));
        assert_eq!(value("cleanup.policy"), ("delete".to_owned(), 5));
        assert_eq!(value("retention.bytes"), ("-1".to_owned(), 5));
    }
    let mut some = of("t", 2);
    some.resources[0].configuration_keys = Some(vec!["retention.ms".to_owned(), "unknown".to_owned()]);
    assert_eq!(client.ask(4, &some).await.results[0].configs.len(), 1);
    let broker = client.ask(4, &of("1", 4)).await;
    assert!(broker.results[0].configs.iter().any(|it| it.name == "num.partitions"));
    let code = async |client: &mut crate::common::Client, name, kind| {
        client.ask(4, &of(name, kind)).await.results[0].error_code
    };
    assert_eq!(code(&mut client, "u", 2).await, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(code(&mut client, "2", 4).await, ErrorCode::InvalidRequest.code());
    assert_eq!(code(&mut client, "x", 99).await, ErrorCode::InvalidRequest.code());
    server.stop().await;
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("a", 1, &[]).await;
    let b = client.create("b", 1, &[]).await.topic_id;
    let by_name =
        DeleteTopicsRequest { topic_names: vec!["a".to_owned(), "x".to_owned()], ..Default::default() };
    let codes: Vec<i16> = client.ask(5, &by_name).await.responses.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    let id = |topic_id| DeleteTopicState { name: None, topic_id };
    let by_id = DeleteTopicsRequest { topics: vec![id(b), id(1)], ..Default::default() };
    let response = client.ask(6, &by_id).await;
    assert_eq!((response.responses[0].error_code, response.responses[0].name.as_deref()), (0, Some("b")));
    assert_eq!(response.responses[1].error_code, ErrorCode::UnknownTopicId.code());
    assert_eq!(client.ask(9, &MetadataRequest::default()).await.topics.len(), 0);
    server.stop().await;
}
