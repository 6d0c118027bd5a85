//! Fetch: limits, waiting, positions that are not there.

use std::time::Duration;

use bytes::Bytes;
use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;
use duolog_record::Codec;

use crate::common::{Server, batch, batch_with, fetch, produce, records, values, within};

#[tokio::test]
async fn every_version_reads_what_was_stored() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let topic_id = client.create("t", 1, &[]).await.topic_id;
    client.produce("t", 0, batch(&[b"a", b"b"])).await;
    client.produce("t", 0, batch(&[b"c"])).await;
    for version in 4..=18 {
        let mut request = fetch("t", &[(0, 0)]);
        request.topics[0].topic_id = topic_id;
        request.isolation_level = i8::from(version % 2 == 0);
        let response = client.ask(version, &request).await;
        assert_eq!((response.error_code, response.session_id), (0, 0));
        let data = &response.responses[0].partitions[0];
        assert_eq!(values(data), [&b"a"[..], b"b", b"c"].map(Bytes::from_static));
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 3));
        assert_eq!(data.aborted_transactions.is_some(), version % 2 == 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn offsets_and_epochs_are_stamped_on_what_is_stored() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    for _ in 0..3 {
        client.produce("t", 0, batch(&[b"a", b"b"])).await;
    }
    let offsets: Vec<u64> =
        records(&client.fetch("t", 0, 0).await).iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    // From the middle of a batch the whole batch comes.
    assert_eq!(records(&client.fetch("t", 0, 3).await)[0].offset.0, 2);
    assert!(client.fetch("t", 0, 6).await.records.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_fetch_waits_for_enough_or_for_its_time() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut producer = server.client().await;
    client.create("t", 2, &[]).await;
    let request = FetchRequest { max_wait_ms: 60_000, ..fetch("t", &[(0, 0), (1, 0)]) };
    client.send(12, &request).await;
    producer.produce("t", 1, batch(&[b"x"])).await;
    let response = client.receive::<FetchRequest>(12, 0).await;
    assert_eq!(values(&response.responses[0].partitions[1]), ["x"]);

    // Three batches are needed for this many bytes.
    let request = FetchRequest { max_wait_ms: 60_000, min_bytes: 6_000, ..fetch("t", &[(0, 0), (1, 1)]) };
    client.send(12, &request).await;
    for partition in [0, 1, 0] {
        producer.produce("t", partition, batch(&[&[b'x'; 2_000]])).await;
    }
    let response = client.receive::<FetchRequest>(12, 0).await;
    let counts: Vec<usize> =
        response.responses[0].partitions.iter().map(|data| records(data).len()).collect();
    assert_eq!(counts, [2, 1]);

    let request = FetchRequest { max_wait_ms: 30, ..fetch("t", &[(0, 2)]) };
    let response = within(client.ask(12, &request)).await;
    assert!(response.responses[0].partitions[0].records.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn limits_hold_but_for_the_first_batch() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    for partition in [0, 0, 0, 1] {
        client.produce("t", partition, batch(&[&[b'x'; 10_000]])).await;
    }
    let counts = async |client: &mut crate::common::Client, total, each| {
        let mut request = FetchRequest { max_bytes: total, ..fetch("t", &[(0, 0), (1, 0)]) };
        request.topics[0].partitions.iter_mut().for_each(|it| it.partition_max_bytes = each);
        let response = client.ask(12, &request).await;
        response.responses[0].partitions.iter().map(|data| records(data).len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(&mut client, 1 << 20, 1 << 20).await, [3, 1]);
    assert_eq!(counts(&mut client, 1 << 20, 25_000).await, [2, 1]);
    assert_eq!(counts(&mut client, 25_000, 1 << 20).await, [2, 0]);
    assert_eq!(counts(&mut client, 10, 1 << 20).await, [1, 0]);
    assert_eq!(counts(&mut client, 1 << 20, 10).await, [1, 0]);
    assert_eq!(counts(&mut client, 0, 0).await, [1, 0]);
    server.stop().await;
}

#[tokio::test]
async fn positions_that_are_not_there_are_told() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let topic_id = client.create("t", 1, &[]).await.topic_id;
    client.produce("t", 0, batch(&[b"x"])).await;
    for offset in [2, 99, -1, i64::MIN, i64::MAX] {
        let code = client.fetch("t", 0, offset).await.error_code;
        assert_eq!(code, ErrorCode::OffsetOutOfRange.code(), "{offset}");
    }
    assert_eq!(client.fetch("t", 1, 0).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(client.fetch("u", 0, 0).await.error_code, ErrorCode::UnknownTopicOrPartition.code());
    let mut by_id = fetch("t", &[(0, 0)]);
    by_id.topics[0].topic_id = topic_id + 1;
    let response = client.ask(13, &by_id).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    server.stop().await;
}

#[tokio::test]
async fn an_epoch_from_the_past_or_the_future_is_fenced() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let code = async |client: &mut crate::common::Client, epoch| {
        let mut request = fetch("t", &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        client.ask(12, &request).await.responses[0].partitions[0].error_code
    };
    assert_eq!(code(&mut client, -1).await, 0);
    assert_eq!(code(&mut client, 0).await, 0);
    assert_eq!(code(&mut client, 1).await, ErrorCode::UnknownLeaderEpoch.code());
    server.stop().await;
}

#[tokio::test]
async fn a_client_too_old_for_zstd_is_told() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch_with(&[b"x"], Codec::Zstd, None)).await;
    let code = async |client: &mut crate::common::Client, version| {
        client.ask(version, &fetch("t", &[(0, 0)])).await.responses[0].partitions[0].error_code
    };
    assert_eq!(code(&mut client, 9).await, ErrorCode::UnsupportedCompressionType.code());
    assert_eq!(code(&mut client, 10).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_topic_deleted_under_a_waiting_fetch_ends_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut admin = server.client().await;
    client.create("t", 1, &[]).await;
    let request = FetchRequest { max_wait_ms: 60_000, ..fetch("t", &[(0, 0)]) };
    client.send(12, &request).await;
    let delete = DeleteTopicsRequest { topic_names: vec!["t".to_owned()], ..Default::default() };
    assert_eq!(admin.ask(5, &delete).await.responses[0].error_code, 0);
    let response = client.receive::<FetchRequest>(12, 0).await;
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    server.stop().await;
}

#[tokio::test]
async fn a_consumer_keeps_up_with_a_producer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut producer = server.client().await;
    client.create("t", 1, &[]).await;
    let producing = tokio::spawn(async move {
        for id in 0..200_u32 {
            let request = produce("t", &[(0, batch(&[&id.to_be_bytes()]))], -1);
            producer.ask(9, &request).await;
        }
    });
    let mut next = 0;
    while next < 200 {
        let request = FetchRequest { max_wait_ms: 10_000, ..fetch("t", &[(0, next)]) };
        let response = within(client.ask(12, &request)).await;
        for value in values(&response.responses[0].partitions[0]) {
            assert_eq!(value[..], (next as u32).to_be_bytes());
            next += 1;
        }
    }
    tokio::time::timeout(Duration::from_secs(20), producing).await.unwrap().unwrap();
    server.stop().await;
}
