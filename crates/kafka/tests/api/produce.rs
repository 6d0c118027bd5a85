//! Produce: what is stored, and what is refused with which code.

use bytes::Bytes;
use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;
use duolog_record::{BatchBuilder, Codec, Producer, Timestamp};

use crate::common::{NOON, Server, batch, batch_with, produce, records, values};

#[tokio::test]
async fn every_version_stores_by_name_or_by_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let topic_id = client.create("t", 1, &[]).await.topic_id;
    for version in 3..=13 {
        let mut request = produce("t", &[(0, batch(&[b"a", b"b"]))], -1);
        request.topic_data[0].topic_id = topic_id;
        let response = client.ask(version, &request).await;
        let topic = &response.responses[0];
        if version == 13 {
            assert_eq!(topic.topic_id, topic_id);
        } else {
            assert_eq!(topic.name, "t");
        }
        let partition = &topic.partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(version - 3) * 2));
    }
    server.stop().await;
}

#[tokio::test]
async fn several_partitions_are_answered_one_by_one() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    let request = produce("t", &[(1, batch(&[b"x"])), (5, batch(&[b"y"])), (0, batch(&[b"z"]))], 1);
    let response = client.ask(11, &request).await;
    let codes: Vec<(i32, i16)> =
        response.responses[0].partition_responses.iter().map(|it| (it.index, it.error_code)).collect();
    assert_eq!(codes, [(1, 0), (5, ErrorCode::UnknownTopicOrPartition.code()), (0, 0)]);
    server.stop().await;
}

#[tokio::test]
async fn every_codec_is_stored_as_it_came() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    for (offset, codec) in
        [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate()
    {
        let sent = batch_with(&[&[b'x'; 2000]], codec, None);
        assert_eq!(client.produce("t", 0, sent.clone()).await.error_code, 0);
        let data = client.fetch("t", 0, offset as i64).await;
        assert_eq!(data.records.0[0].body, sent.slice(16..), "{codec:?}");
        assert_eq!(values(&data), [Bytes::from(vec![b'x'; 2000])]);
    }
    server.stop().await;
}

/// A batch with something wrong in it.
fn broken(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = batch(&[b"value"]).to_vec();
    change(&mut bytes);
    bytes.into()
}

fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    broken(|bytes| {
        change(bytes);
        let crc = duolog_record::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    })
}

#[tokio::test]
async fn what_is_no_batch_is_refused_by_its_fault() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[("max.message.bytes", "2000")]).await;
    let old = |magic: u8| {
        let mut message = vec![0; 34];
        message[16] = magic;
        Bytes::from(message)
    };
    let mut two = batch(&[b"a"]).to_vec();
    two.extend_from_slice(&batch(&[b"b"]));
    let transactional = {
        let mut builder =
            BatchBuilder::new().producer(Producer { id: 1, epoch: 0, base_sequence: 0 }).transactional(true);
        builder.push(Timestamp(NOON), None, Some(b"x"), &[]);
        builder.build().bytes().clone()
    };
    let table = [
        ("empty", Bytes::new(), ErrorCode::InvalidRecord),
        ("two batches", two.into(), ErrorCode::InvalidRecord),
        ("format 0", old(0), ErrorCode::UnsupportedForMessageFormat),
        ("format 1", old(1), ErrorCode::UnsupportedForMessageFormat),
        ("format 3", broken(|b| b[16] = 3), ErrorCode::UnsupportedForMessageFormat),
        ("a flipped bit", broken(|b| b[65] ^= 1), ErrorCode::CorruptMessage),
        ("cut short", broken(|b| b.truncate(62)), ErrorCode::CorruptMessage),
        ("shorter than a header", broken(|b| b.truncate(30)), ErrorCode::CorruptMessage),
        (
            "a huge length",
            broken(|b| b[8..12].copy_from_slice(&i32::MAX.to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        ("a negative length", broken(|b| b[8] = 0x80), ErrorCode::InvalidRecord),
        ("an unknown codec", resealed(|b| b[22] = 7), ErrorCode::InvalidRecord),
        ("more records than offsets", resealed(|b| b[60] = 9), ErrorCode::InvalidRecord),
        ("no records", resealed(|b| b[60] = 0), ErrorCode::InvalidRecord),
        ("a control batch", resealed(|b| b[22] = 0x20), ErrorCode::InvalidRecord),
        ("too large", batch(&[&[0; 3000]]), ErrorCode::MessageTooLarge),
        ("transactional", transactional, ErrorCode::TransactionalIdAuthorizationFailed),
    ];
    for (what, bytes, code) in table {
        let answer = client.produce("t", 0, bytes).await;
        assert_eq!(answer.error_code, code.code(), "{what}: {:?}", answer.error_message);
        assert_eq!(answer.base_offset, -1, "{what}");
        assert!(answer.error_message.is_some(), "{what}");
    }
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 0);
    server.stop().await;
}

#[tokio::test]
async fn the_request_itself_may_be_refused() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let good = produce("t", &[(0, batch(&[b"x"]))], -1);
    let code = async |client: &mut crate::common::Client, version, request: &ProduceRequest| {
        client.ask(version, request).await.responses[0].partition_responses[0].error_code
    };
    let acks = ProduceRequest { acks: 2, ..good.clone() };
    assert_eq!(code(&mut client, 9, &acks).await, ErrorCode::InvalidRequiredAcks.code());
    let transaction = ProduceRequest { transactional_id: Some("t".to_owned()), ..good.clone() };
    assert_eq!(
        code(&mut client, 9, &transaction).await,
        ErrorCode::TransactionalIdAuthorizationFailed.code()
    );
    let mut unknown = good.clone();
    unknown.topic_data[0].name = "nobody".to_owned();
    assert_eq!(code(&mut client, 9, &unknown).await, ErrorCode::UnknownTopicOrPartition.code());
    unknown.topic_data[0].topic_id = 99;
    assert_eq!(code(&mut client, 13, &unknown).await, ErrorCode::UnknownTopicId.code());
    let zstd = produce("t", &[(0, batch_with(&[b"x"], Codec::Zstd, None))], -1);
    assert_eq!(code(&mut client, 6, &zstd).await, ErrorCode::UnsupportedCompressionType.code());
    assert_eq!(code(&mut client, 7, &zstd).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn an_idempotent_producer_stores_each_batch_once_and_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let init = client.ask(4, &InitProducerIdRequest::default()).await;
    assert_eq!((init.error_code, init.producer_epoch), (0, 0));
    let other = client.ask(4, &InitProducerIdRequest::default()).await;
    assert_ne!(init.producer_id, other.producer_id);
    let sent = |epoch, base_sequence| {
        let producer = Producer { id: init.producer_id, epoch, base_sequence };
        batch_with(&[b"a", b"b"], Codec::None, Some(producer))
    };
    assert_eq!(client.produce("t", 0, sent(0, 0)).await.base_offset, 0);
    assert_eq!(client.produce("t", 0, sent(0, 2)).await.base_offset, 2);
    let again = client.produce("t", 0, sent(0, 0)).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0), "as if it had been stored now");
    let gap = client.produce("t", 0, sent(0, 6)).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(client.produce("t", 0, sent(1, 0)).await.base_offset, 4);
    let fenced = client.produce("t", 0, sent(0, 4)).await;
    assert_eq!(fenced.error_code, ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 6);
    let transactional =
        InitProducerIdRequest { transactional_id: Some("t".to_owned()), ..Default::default() };
    let refused = client.ask(4, &transactional).await;
    assert_eq!(refused.error_code, ErrorCode::TransactionalIdAuthorizationFailed.code());
    server.stop().await;
}

#[tokio::test]
async fn the_producers_of_a_partition_are_told() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    for (id, epoch, base_sequence) in [(9, 0, 0), (4, 2, 0), (9, 0, 3)] {
        let producer = Producer { id, epoch, base_sequence };
        let sent = batch_with(&[b"a", b"b", b"c"], Codec::None, Some(producer));
        assert_eq!(client.produce("t", 0, sent).await.error_code, 0);
        server.clock.advance(1_000);
    }
    let topic = |name: &str, partition_indexes: Vec<i32>| DescribeProducersTopicRequest {
        name: name.to_owned(),
        partition_indexes,
    };
    let asked = DescribeProducersRequest { topics: vec![topic("t", vec![0, 1, 2, 0]), topic("u", vec![0])] };
    let told = client.ask(0, &asked).await.topics;
    let codes: Vec<i16> = told.iter().flat_map(|it| &it.partitions).map(|it| it.error_code).collect();
    let (unknown, again) = (ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::InvalidRequest.code());
    assert_eq!(codes, [0, 0, unknown, again, unknown]);
    let known = |producer_id, producer_epoch, last_sequence, last_timestamp| ProducerState {
        producer_id,
        producer_epoch,
        last_sequence,
        last_timestamp,
        coordinator_epoch: 0,
        current_txn_start_offset: -1,
    };
    assert_eq!(
        told[0].partitions[0].active_producers,
        [known(4, 2, 2, NOON + 1_000), known(9, 0, 5, NOON + 2_000)]
    );
    assert!(told[0].partitions[1].active_producers.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_topic_may_stamp_the_brokers_time() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(5), None, Some(b"x"), &[]);
    let answer = client.produce("t", 0, builder.build().bytes().clone()).await;
    assert_eq!(answer.log_append_time_ms, NOON);
    assert_eq!(records(&client.fetch("t", 0, 0).await)[0].timestamp, Timestamp(NOON));
    client.create("u", 1, &[]).await;
    assert_eq!(client.produce("u", 0, batch(&[b"x"])).await.log_append_time_ms, -1);
    server.stop().await;
}
