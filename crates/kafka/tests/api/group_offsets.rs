//! OffsetDelete: some offsets of a group forgotten.

use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch};
use crate::groups::{commit, id_of, join, sync};

fn delete(group: &str, topics: &[(&str, i32)]) -> OffsetDeleteRequest {
    let topics = topics.iter().map(|&(name, partition_index)| OffsetDeleteRequestTopic {
        name: name.to_owned(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index }],
    });
    OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.collect() }
}

/// The code of the whole, and of each partition.
async fn deleted(client: &mut Client, group: &str, topics: &[(&str, i32)]) -> (i16, Vec<i16>) {
    let answer = client.ask(0, &delete(group, topics)).await;
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code);
    (answer.error_code, codes.collect())
}

async fn committed(client: &mut Client, group: &str, topic: &str) -> i64 {
    let request = OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic { name: topic.to_owned(), partition_indexes: vec![0] }]),
        ..Default::default()
    };
    client.ask(5, &request).await.topics[0].partitions[0].committed_offset
}

#[tokio::test]
async fn offsets_of_a_group_without_members_are_forgotten() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for topic in ["a", "b"] {
        client.create(topic, 1, &[]).await;
        client.produce(topic, 0, batch(&[b"x"])).await;
        client.ask(8, &commit("g", "", -1, topic, 1)).await;
    }
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let all = [("a", 0), ("a", 1), ("u", 0)];
    assert_eq!(deleted(&mut client, "g", &all).await, (0, vec![0, unknown, unknown]));
    assert_eq!((committed(&mut client, "g", "a").await, committed(&mut client, "g", "b").await), (-1, 1));
    assert_eq!(deleted(&mut client, "g", &[("a", 0)]).await, (0, vec![0]), "once more is no error");
    let nobody = (ErrorCode::GroupIdNotFound.code(), Vec::new());
    assert_eq!(deleted(&mut client, "nobody", &[("a", 0)]).await, nobody);
    assert_eq!(deleted(&mut client, "g", &[]).await, (0, Vec::new()));
    server.stop().await;
}

#[tokio::test]
async fn offsets_of_topics_that_a_member_reads_stay() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for topic in ["read", "other"] {
        client.create(topic, 1, &[]).await;
        client.ask(8, &commit("g", "", -1, topic, 0)).await;
    }
    let subscription = b"\0\x01\0\0\0\x01\0\x04read\xff\xff\xff\xff";
    let member = id_of(&mut client, "g").await;
    let mut asked = join("g", &member);
    asked.protocols[0].metadata = subscription.to_vec().into();
    let placed = client.ask(9, &asked).await;
    client.ask(5, &sync("g", &member, placed.generation_id, &[(&member, "all")])).await;
    let subscribed = ErrorCode::GroupSubscribedToTopic.code();
    let both = [("read", 0), ("other", 0)];
    assert_eq!(deleted(&mut client, "g", &both).await, (0, vec![subscribed, 0]));
    assert_eq!(
        (committed(&mut client, "g", "read").await, committed(&mut client, "g", "other").await),
        (0, -1)
    );

    // A group whose subscription cannot be read is left alone.
    client.ask(8, &commit("h", "", -1, "other", 0)).await;
    let member = id_of(&mut client, "h").await;
    client.ask(9, &join("h", &member)).await;
    let busy = (ErrorCode::NonEmptyGroup.code(), Vec::new());
    assert_eq!(deleted(&mut client, "h", &[("other", 0)]).await, busy);
    server.stop().await;
}
