//! What operators ask of the cluster: more partitions, pages of topics, quotas, leaders, reassignments.

use duolog_broker::{Order, QueuePolicy, QueueSpec};
use duolog_kafka::ErrorCode;
use duolog_kafka::codec::Nullable;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch};

fn grow(topics: &[(&str, i32)]) -> CreatePartitionsRequest {
    let topics = topics.iter().map(|&(name, count)| CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: None,
    });
    CreatePartitionsRequest { topics: topics.collect(), timeout_ms: 10_000, validate_only: false }
}

async fn partitions_of(client: &mut Client, topic: &str) -> usize {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(topic.to_owned()), topic_id: 0 }]),
        ..Default::default()
    };
    client.ask(9, &request).await.topics[0].partitions.len()
}

#[tokio::test]
async fn a_topic_grows_and_its_new_partitions_are_used() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&[b"before"])).await;
    for (version, count) in (0..=3).zip(2..) {
        let answer = client.ask(version, &grow(&[("t", count)])).await;
        assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
        assert_eq!(partitions_of(&mut client, "t").await, count.cast_unsigned() as usize);
    }
    assert_eq!(client.produce("t", 4, batch(&[b"new"])).await.error_code, 0);
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 1);
    server.stop().await;
}

#[tokio::test]
async fn growth_that_cannot_be_is_refused_with_one_answer_per_topic() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    client.create("u", 2, &[]).await;
    let assigned = |brokers: &[&[i32]]| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".to_owned(),
            count: 3,
            assignments: Some(
                brokers.iter().map(|ids| CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect(),
            ),
        }],
        ..grow(&[])
    };
    let table = [
        (grow(&[("t", 2)]), ErrorCode::InvalidPartitions),
        (grow(&[("t", 1)]), ErrorCode::InvalidPartitions),
        (grow(&[("t", 0)]), ErrorCode::InvalidPartitions),
        (grow(&[("t", i32::MIN)]), ErrorCode::InvalidPartitions),
        (grow(&[("t", i32::MAX)]), ErrorCode::InvalidPartitions),
        (grow(&[("nope", 3)]), ErrorCode::UnknownTopicOrPartition),
        (grow(&[("a b", 3)]), ErrorCode::UnknownTopicOrPartition),
        (assigned(&[&[1], &[1]]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[&[2]]), ErrorCode::InvalidReplicaAssignment),
        (assigned(&[]), ErrorCode::InvalidReplicaAssignment),
    ];
    for (request, code) in table {
        let answer = client.ask(3, &request).await;
        assert_eq!((answer.results.len(), answer.results[0].error_code), (1, code.code()), "{request:?}");
        assert!(answer.results[0].error_message.is_some());
    }
    let checked = CreatePartitionsRequest { validate_only: true, ..grow(&[("t", 5)]) };
    assert_eq!(client.ask(3, &checked).await.results[0].error_code, 0);
    let twice = client.ask(3, &grow(&[("t", 5), ("u", 4), ("t", 6)])).await;
    let codes: Vec<i16> = twice.results.iter().map(|it| it.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes, [invalid, 0, invalid]);
    assert_eq!((partitions_of(&mut client, "t").await, partitions_of(&mut client, "u").await), (2, 4));
    server.stop().await;
}

/// A queue on a topic.
fn queue_on(topic: &str, order: Order) -> QueueSpec {
    let policy = QueuePolicy { order, ..QueuePolicy::default() };
    QueueSpec { topic: Some(topic.to_owned()), ..QueueSpec::new(&format!("worked-{topic}"), policy) }
}

#[tokio::test]
async fn a_topic_that_a_queue_works_in_key_order_does_not_grow() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (topic, order) in [("ordered", Order::ByKey), ("fair", Order::Fair), ("plain", Order::Standard)] {
        client.create(topic, 1, &[]).await;
        server.session.create_queue(queue_on(topic, order)).await.unwrap();
    }
    let answer = client.ask(3, &grow(&[("ordered", 2), ("fair", 2), ("plain", 2)])).await;
    let codes: Vec<i16> = answer.results.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::PolicyViolation.code(), 0, 0]);
    let why = answer.results[0].error_message.as_deref().unwrap();
    assert!(why.contains("worked-ordered"), "{why}");
    assert_eq!(partitions_of(&mut client, "ordered").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("a", 3, &[]).await;
    client.create("b", 1, &[]).await;
    client.create("c", 2, &[]).await;
    for page in 1..=7 {
        let mut seen = Vec::new();
        let mut cursor = Nullable(None);
        loop {
            let request =
                DescribeTopicPartitionsRequest { topics: Vec::new(), response_partition_limit: page, cursor };
            let answer = client.ask(0, &request).await;
            let before = seen.len();
            for topic in &answer.topics {
                let name = topic.name.clone().unwrap();
                seen.extend(topic.partitions.iter().map(|it| (name.clone(), it.partition_index)));
            }
            assert!(seen.len() - before <= page.cast_unsigned() as usize);
            cursor = answer.next_cursor;
            if cursor.0.is_none() {
                break;
            }
        }
        let all = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)];
        assert_eq!(seen, all.map(|(name, index)| (name.to_owned(), index)), "pages of {page}");
    }
    let named = |names: &[&str]| DescribeTopicPartitionsRequest {
        topics: names
            .iter()
            .map(|name| DescribeTopicPartitionsRequestTopic { name: (*name).to_owned() })
            .collect(),
        response_partition_limit: i32::MIN,
        cursor: Nullable(Some(TopicPartitionCursor {
            topic_name: "b".to_owned(),
            partition_index: i32::MIN,
        })),
    };
    let answer = client.ask(0, &named(&["a", "b", "zz", "z z"])).await;
    assert_eq!(answer.topics.len(), 1, "at least one, from the cursor on");
    assert_eq!(answer.next_cursor.0.unwrap().topic_name, "z z");
    let mut unknown = named(&["zz", "z z"]);
    unknown.response_partition_limit = 2_000;
    let codes: Vec<i16> = client.ask(0, &unknown).await.topics.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidTopic.code(), ErrorCode::UnknownTopicOrPartition.code()]);
    server.stop().await;
}

#[tokio::test]
async fn there_are_no_quotas_and_none_can_be_set() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let entity = vec![QuotaEntity { entity_type: "user".to_owned(), entity_name: None }];
    let operation = |remove| QuotaOperation { key: "producer_byte_rate".to_owned(), value: 1024.0, remove };
    for version in 0..=1 {
        let described = client.ask(version, &DescribeClientQuotasRequest::default()).await;
        assert_eq!((described.error_code, described.entries), (0, Some(Vec::new())));
        let alteration = |remove| QuotaAlteration { entity: entity.clone(), ops: vec![operation(remove)] };
        let request = AlterClientQuotasRequest {
            entries: vec![alteration(false), alteration(true)],
            validate_only: version == 1,
        };
        let answer = client.ask(version, &request).await;
        let codes: Vec<i16> = answer.entries.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [ErrorCode::InvalidRequest.code(), 0]);
        assert_eq!(answer.entries[0].entity, entity);
        assert!(answer.entries[0].error_message.as_deref().unwrap().contains("not supported"));
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_to_be_elected_or_moved() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    for version in 0..=2 {
        let all = client.ask(version, &ElectLeadersRequest::default()).await;
        assert_eq!((all.error_code, all.replica_election_results.len()), (0, 0));
        let asked = ElectLeadersTopic { topic: "t".to_owned(), partitions: vec![0, 1] };
        let request = ElectLeadersRequest { topic_partitions: Some(vec![asked]), ..Default::default() };
        let some = client.ask(version, &request).await.replica_election_results.remove(0).partition_result;
        let codes: Vec<i16> = some.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [ErrorCode::ElectionNotNeeded.code(), ErrorCode::UnknownTopicOrPartition.code()]);
    }
    let moving = client.ask(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
    server.stop().await;
}

#[tokio::test]
async fn what_has_settings_is_listed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let mut list = async |version, kinds: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec() };
        let answer = client.ask(version, &request).await;
        let listed = answer.config_resources.into_iter().map(|it| (it.resource_type, it.resource_name));
        (answer.error_code, listed.collect::<Vec<_>>())
    };
    let (topic, broker) = ((2, "t".to_owned()), (4, "1".to_owned()));
    assert_eq!(list(0, &[]).await, (0, Vec::new()));
    assert_eq!(list(1, &[]).await, (0, vec![topic.clone(), broker]));
    assert_eq!(list(1, &[2]).await, (0, vec![topic]));
    assert_eq!(list(1, &[16, 32]).await, (0, Vec::new()));
    assert_eq!(list(1, &[2, 77]).await, (ErrorCode::UnsupportedVersion.code(), Vec::new()));
    server.stop().await;
}
