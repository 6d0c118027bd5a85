//! DeleteRecords, OffsetForLeaderEpoch, DescribeLogDirs: what is in the partitions.

use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch};

fn delete(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partitions = partitions
        .iter()
        .map(|&(partition_index, offset)| DeleteRecordsPartition { partition_index, offset })
        .collect();
    let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 }
}

async fn deleted(client: &mut Client, version: i16, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let answer = client.ask(version, &delete(topic, &[(partition, offset)])).await;
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[tokio::test]
async fn records_are_deleted_below_an_offset_and_to_the_end() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    for _ in 0..5 {
        client.produce("t", 0, batch(&[b"a", b"b"])).await;
    }
    assert_eq!(deleted(&mut client, 0, "t", 0, 3).await, (0, 3));
    assert_eq!(deleted(&mut client, 1, "t", 0, 2).await, (0, 3), "never back");
    assert_eq!(client.fetch("t", 0, 2).await.error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(client.fetch("t", 0, 3).await.log_start_offset, 3);
    assert_eq!(deleted(&mut client, 2, "t", 0, -1).await, (0, 10));
    assert_eq!(deleted(&mut client, 2, "t", 1, -1).await, (0, 0), "nothing was there");
    let placed = client.produce("t", 0, batch(&[b"c"])).await;
    assert_eq!(placed.base_offset, 10, "offsets go on");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_deleted_is_told_by_partition() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&[b"a"])).await;
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    for (topic, partition, offset, code) in [
        ("t", 0, 2, out_of_range),
        ("t", 0, i64::MAX, out_of_range),
        ("t", 0, -2, out_of_range),
        ("t", 0, i64::MIN, out_of_range),
        ("t", 1, 0, unknown),
        ("t", -1, 0, unknown),
        ("u", 0, 0, unknown),
    ] {
        assert_eq!(
            deleted(&mut client, 2, topic, partition, offset).await,
            (code, -1),
            "{topic} {partition}"
        );
    }
    assert_eq!(client.fetch("t", 0, 0).await.error_code, 0, "it is still there");
    server.stop().await;
}

fn epoch(topic: &str, partition: i32, current: i32, asked: i32) -> OffsetForLeaderEpochRequest {
    let partition =
        OffsetForLeaderPartition { partition, current_leader_epoch: current, leader_epoch: asked };
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![partition] };
    OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
}

#[tokio::test]
async fn the_end_of_an_epoch_is_told_at_every_version() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&[b"a", b"b"])).await;
    let current =
        server.session.leader_epoch(server.session.catalog().topic("default", "t").unwrap().partitions[0]);
    let table = [
        (("t", 0, -1, current), (0, current, 2)),
        (("t", 0, current, current), (0, current, 2)),
        (("t", 0, -1, current + 1), (0, -1, -1)),
        (("t", 0, -1, -1), (0, -1, -1)),
        (("t", 0, current + 1, current), (ErrorCode::UnknownLeaderEpoch.code(), -1, -1)),
        (("t", 1, -1, current), (ErrorCode::UnknownTopicOrPartition.code(), -1, -1)),
        (("u", 0, -1, current), (ErrorCode::UnknownTopicOrPartition.code(), -1, -1)),
    ];
    for version in 2..=4 {
        for ((topic, partition, believed, asked), expected) in table {
            let answer = client.ask(version, &epoch(topic, partition, believed, asked)).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.leader_epoch, found.end_offset), expected, "v{version}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn sizes_on_disk_are_told_by_partition() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("a", 2, &[]).await;
    client.create("b", 1, &[]).await;
    client.produce("a", 1, batch(&[&[7; 1000]])).await;
    for version in 1..=4 {
        let all = client.ask(version, &DescribeLogDirsRequest { topics: None }).await;
        assert_eq!((all.error_code, all.results.len()), (0, 1));
        let names: Vec<&str> = all.results[0].topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let sizes: Vec<i64> =
            all.results[0].topics[0].partitions.iter().map(|it| it.partition_size).collect();
        assert_eq!(sizes[0], 0);
        assert!((1000..1200).contains(&sizes[1]), "{sizes:?}");
    }
    let asked = |topic: &str, partitions: &[i32]| DescribableLogDirTopic {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
    };
    let some = DescribeLogDirsRequest { topics: Some(vec![asked("a", &[1, 5, -1]), asked("u", &[0])]) };
    let some = client.ask(4, &some).await.results.remove(0).topics;
    assert_eq!((some.len(), some[0].partitions.len()), (1, 1), "what does not exist is left out");
    assert_eq!(some[0].partitions[0].partition_index, 1);
    server.stop().await;
}
