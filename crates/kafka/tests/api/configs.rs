//! Settings of topics: changed, replaced, described, refused.

use std::collections::BTreeSet;

use duolog_broker::TopicPolicy;
use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn incremental(name: &str, changes: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let configs = changes.iter().map(|&(name, config_operation, value)| IncrementalAlterableConfig {
        name: name.to_owned(),
        config_operation,
        value: value.map(str::to_owned),
    });
    let resource = IncrementalAlterConfigsResource {
        resource_type: 2,
        resource_name: name.to_owned(),
        configs: configs.collect(),
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn replacing(name: &str, set: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    let configs = set
        .iter()
        .map(|&(name, value)| AlterableConfig { name: name.to_owned(), value: value.map(str::to_owned) });
    let resource =
        AlterConfigsResource { resource_type: 2, resource_name: name.to_owned(), configs: configs.collect() };
    AlterConfigsRequest { resources: vec![resource], validate_only: false }
}

async fn describe(client: &mut Client, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    client.ask(4, &request).await.results.remove(0).configs
}

async fn value(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let all = describe(client, topic).await;
    let found = all.into_iter().find(|config| config.name == name).unwrap();
    (found.value.unwrap_or_default(), found.config_source)
}

#[tokio::test]
async fn of_changes_through_two_doors_at_the_same_time_none_is_undone() {
    const ROUNDS: i64 = 50;
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let session = server.session.clone();
    let topic = move || session.catalog().topic("default", "t").unwrap().clone();
    let (session, seen) = (server.session.clone(), topic.clone());
    let other_door = tokio::spawn(async move {
        for round in 1..=ROUNDS {
            loop {
                let known = seen();
                let last = (round > 1).then(|| (round - 1).cast_unsigned());
                assert_eq!(known.policy.retention_bytes, last, "the last change holds");
                let policy =
                    TopicPolicy { retention_bytes: Some(round.cast_unsigned()), ..known.policy.clone() };
                if session.set_topic(&known, policy, known.labels.clone()).await.unwrap() {
                    break;
                }
            }
        }
    });
    for round in 1..=ROUNDS {
        let ask = incremental("t", &[("retention.ms", SET, Some(&round.to_string()))]);
        assert_eq!(client.ask(1, &ask).await.responses[0].error_code, 0);
        assert_eq!(topic().policy.retention_ms, Some(round.cast_unsigned()), "the last change holds");
    }
    other_door.await.unwrap();
    let last = Some(ROUNDS.cast_unsigned());
    assert_eq!((topic().policy.retention_ms, topic().policy.retention_bytes), (last, last));
    server.stop().await;
}

#[tokio::test]
async fn settings_change_one_by_one_and_take_effect() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[("segment.ms", "7")]).await;
    for version in 0..=1 {
        let request =
            incremental("t", &[("max.message.bytes", SET, Some("200")), ("segment.ms", DELETE, None)]);
        let response = client.ask(version, &request).await;
        assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
        assert_eq!(value(&mut client, "t", "max.message.bytes").await, ("200".to_owned(), 1));
        assert_eq!(value(&mut client, "t", "segment.ms").await, ("604800000".to_owned(), 5));
    }
    let code = client.produce("t", 0, batch(&[&[7; 500]])).await.error_code;
    assert_eq!(code, ErrorCode::MessageTooLarge.code());
    client.ask(1, &incremental("t", &[("max.message.bytes", DELETE, None)])).await;
    assert_eq!(client.produce("t", 0, batch(&[&[7; 500]])).await.error_code, 0);
    server.stop().await;
}

#[tokio::test]
async fn changes_of_several_clients_do_not_undo_each_other() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    // All are on their way before the first is durable.
    let names =
        ["flush.ms", "flush.messages", "segment.ms", "segment.bytes", "retention.ms", "retention.bytes"];
    let mut clients = Vec::new();
    for name in names {
        let mut other = server.client().await;
        other.send(1, &incremental("t", &[(name, SET, Some("99"))])).await;
        clients.push(other);
    }
    for other in &mut clients {
        assert_eq!(other.receive::<IncrementalAlterConfigsRequest>(1, 0).await.responses[0].error_code, 0);
    }
    for name in names {
        assert_eq!(value(&mut client, "t", name).await, ("99".to_owned(), 1), "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_replacement_forgets_what_it_does_not_name() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[("segment.ms", "7"), ("retention.ms", "5")]).await;
    for version in 0..=2 {
        let request = replacing("t", &[("retention.bytes", Some("1000")), ("flush.ms", None)]);
        assert_eq!(client.ask(version, &request).await.responses[0].error_code, 0);
        assert_eq!(value(&mut client, "t", "segment.ms").await.1, 5);
        assert_eq!(value(&mut client, "t", "retention.ms").await, ("604800000".to_owned(), 5));
        assert_eq!(value(&mut client, "t", "retention.bytes").await, ("1000".to_owned(), 1));
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_only_to_be_checked_is_not_done() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let good = incremental("t", &[("retention.ms", SET, Some("5"))]);
    let good = IncrementalAlterConfigsRequest { validate_only: true, ..good };
    assert_eq!(client.ask(1, &good).await.responses[0].error_code, 0);
    let bad = incremental("t", &[("retention.ms", SET, Some("x"))]);
    let bad = IncrementalAlterConfigsRequest { validate_only: true, ..bad };
    assert_eq!(client.ask(1, &bad).await.responses[0].error_code, ErrorCode::InvalidConfig.code());
    let all = AlterConfigsRequest { validate_only: true, ..replacing("t", &[("retention.ms", Some("6"))]) };
    assert_eq!(client.ask(2, &all).await.responses[0].error_code, 0);
    assert_eq!(value(&mut client, "t", "retention.ms").await, ("604800000".to_owned(), 5));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_with_the_reason_and_changes_nothing() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let topic = |changes: &[(&str, i8, Option<&str>)]| incremental("t", changes).resources.remove(0);
    let of = |resource_type: i8, name: &str| IncrementalAlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs: vec![IncrementalAlterableConfig {
            name: "retention.ms".to_owned(),
            config_operation: SET,
            value: Some("1".to_owned()),
        }],
    };
    let table = [
        (topic(&[("cleanup.policy", SET, Some("compact"))]), ErrorCode::InvalidConfig),
        (topic(&[("cleanup.policy", APPEND, Some("compact"))]), ErrorCode::InvalidConfig),
        (topic(&[("cleanup.policy", SUBTRACT, Some("delete"))]), ErrorCode::InvalidConfig),
        (topic(&[("retention.ms", APPEND, Some("1"))]), ErrorCode::InvalidConfig),
        (topic(&[("no.such.thing", SET, Some("1"))]), ErrorCode::InvalidConfig),
        (topic(&[("no.such.thing", DELETE, None)]), ErrorCode::InvalidConfig),
        // One of two is good: none is done.
        (topic(&[("flush.ms", SET, Some("5")), ("retention.ms", SET, Some("x"))]), ErrorCode::InvalidConfig),
        (topic(&[("flush.ms", SET, None)]), ErrorCode::InvalidRequest),
        (topic(&[("flush.ms", 4, Some("5"))]), ErrorCode::InvalidRequest),
        (topic(&[("flush.ms", SET, Some("5")), ("flush.ms", DELETE, None)]), ErrorCode::InvalidRequest),
        (of(2, "u"), ErrorCode::UnknownTopicOrPartition),
        (of(2, "a b"), ErrorCode::InvalidTopic),
        (of(2, ""), ErrorCode::InvalidTopic),
        (of(4, "1"), ErrorCode::InvalidRequest),
        (of(4, ""), ErrorCode::InvalidRequest),
        (of(8, "1"), ErrorCode::InvalidRequest),
        (of(32, "g"), ErrorCode::InvalidRequest),
        (of(-1, "t"), ErrorCode::InvalidRequest),
    ];
    for (resource, code) in table {
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource.clone()], validate_only: false };
        let response = client.ask(1, &request).await.responses.remove(0);
        assert_eq!(response.error_code, code.code(), "{resource:?}: {:?}", response.error_message);
        assert!(response.error_message.is_some());
        assert_eq!(response.resource_name, resource.resource_name);
    }
    let twice =
        IncrementalAlterConfigsRequest { resources: vec![of(2, "t"), of(2, "t")], validate_only: false };
    let codes: Vec<i16> = client.ask(1, &twice).await.responses.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(); 2]);
    let compact = replacing("t", &[("cleanup.policy", Some("compact"))]);
    assert_eq!(client.ask(2, &compact).await.responses[0].error_code, ErrorCode::InvalidConfig.code());
    assert!(
        describe(&mut client, "t").await.iter().all(|config| config.config_source == 5),
        "nothing was set"
    );
    server.stop().await;
}

/// Source: Kafka 4.2 documentation, "Topic configs".
const TOPIC_SETTINGS_OF_KAFKA: &str = "cleanup.policy compression.gzip.level compression.lz4.level compression.type \
    compression.zstd.level delete.retention.ms file.delete.delay.ms flush.messages flush.ms \
    follower.replication.throttled.replicas index.interval.bytes leader.replication.throttled.replicas \
    local.retention.bytes local.retention.ms max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms \
    message.timestamp.before.max.ms message.timestamp.type min.cleanable.dirty.ratio min.compaction.lag.ms \
    min.insync.replicas preallocate remote.log.copy.disable remote.log.delete.on.disable remote.storage.enable \
    retention.bytes retention.ms segment.bytes segment.index.bytes segment.jitter.ms segment.ms \
    unclean.leader.election.enable";

#[tokio::test]
async fn every_setting_of_a_topic_is_described_whole() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[("retention.ms", "5")]).await;
    let all = describe(&mut client, "t").await;
    let names: BTreeSet<&str> = all.iter().map(|config| config.name.as_str()).collect();
    let expected =
        TOPIC_SETTINGS_OF_KAFKA.split_whitespace().chain(["duolog.dedup.window.ms", "duolog.durability"]);
    assert_eq!(names, expected.collect());
    for config in &all {
        assert!((1..=7).contains(&config.config_type), "{config:?}");
        assert!(config.documentation.as_deref().is_some_and(|text| text.len() > 20), "{config:?}");
        assert_eq!((config.read_only, config.is_sensitive), (false, false));
        assert_eq!(config.synonyms[0].value, config.value, "the first decides");
        assert_eq!(config.synonyms[0].source, config.config_source);
    }
    let retention = all.iter().find(|config| config.name == "retention.ms").unwrap();
    let synonyms: Vec<_> =
        retention.synonyms.iter().map(|it| (it.name.as_str(), it.value.as_deref(), it.source)).collect();
    assert_eq!(synonyms, [("retention.ms", Some("5"), 1), ("log.retention.ms", Some("604800000"), 5)]);
    server.stop().await;
}

#[tokio::test]
async fn the_brokers_settings_are_described_and_read_only() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let all = client.ask(4, &request).await.results.remove(0).configs;
    assert!(all.is_sorted_by_key(|config| config.name.clone()));
    for config in &all {
        assert!(config.read_only && config.value.is_some() && !config.synonyms.is_empty(), "{config:?}");
    }
    let source = |name: &str| all.iter().find(|config| config.name == name).unwrap().config_source;
    // The test's broker was given one, not the other.
    assert_eq!((source("group.initial.rebalance.delay.ms"), source("num.partitions")), (4, 5));
    server.stop().await;
}
