//! Versions, order, silence: what holds for every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duolog_kafka::codec::messages::*;
use duolog_kafka::codec::{ApiKey, encode_request};
use duolog_record::Offset;
use duolog_storage::MemoryLog;
use tokio::io::AsyncWriteExt;

use crate::common::{Server, Settings, batch, fetch, produce, within};

fn introduce(name: &str) -> ApiVersionsRequest {
    ApiVersionsRequest { client_software_name: name.to_owned(), client_software_version: "1.0".to_owned() }
}

#[tokio::test]
async fn every_version_of_api_versions_names_every_api() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for version in 0..=4 {
        let response = client.ask(version, &introduce("some-client")).await;
        assert_eq!(response.error_code, 0);
        let keys: Vec<i16> = response.api_keys.iter().map(|api| api.api_key).collect();
        assert!(keys.is_sorted());
        let produce = response.api_keys.iter().find(|api| api.api_key == ApiKey::Produce as i16).unwrap();
        // Older librdkafka stops compressing if it sees another least version.
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_told_what_to_ask_instead() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut frame = encode_request(4, 9, Some("test"), &introduce("future")).to_bytes().to_vec();
    frame[6..8].copy_from_slice(&99_i16.to_be_bytes());
    client.stream.write_all(&frame).await.unwrap();
    let answer = client.frame().await;
    let (correlation_id, response) =
        duolog_kafka::codec::decode_response::<ApiVersionsRequest>(0, answer).unwrap();
    assert_eq!((correlation_id, response.error_code), (9, 35));
    assert_eq!(response.api_keys, [ApiVersion { api_key: 18, min_version: 0, max_version: 4 }]);
    // The connection lives on, so that the client can.
    assert_eq!(client.ask(3, &introduce("future")).await.error_code, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_client_without_a_proper_name_is_told_so() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for name in ["", "-x", "x-", "a b", "ü"] {
        assert_eq!(client.ask(3, &introduce(name)).await.error_code, 42, "{name:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_version_of_anything_else_closes_the_connection() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut frame = encode_request(13, 1, None, &MetadataRequest::default()).to_bytes().to_vec();
    frame[6..8].copy_from_slice(&14_i16.to_be_bytes());
    client.stream.write_all(&frame).await.unwrap();
    assert!(client.is_closed().await);
    server.stop().await;
}

#[tokio::test]
async fn many_requests_at_once_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let count = 500;
    let (read, mut write) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        for id in 0..count {
            let request = produce("t", &[(0, batch(&[format!("{id}").as_bytes()]))], -1);
            write.write_all(&encode_request(9, id, None, &request).to_bytes()).await.unwrap();
        }
        write
    });
    let mut read = tokio::io::BufReader::new(read);
    for id in 0..count {
        use tokio::io::AsyncReadExt;
        let size = read.read_u32().await.unwrap();
        let mut frame = vec![0; size as usize];
        read.read_exact(&mut frame).await.unwrap();
        let (correlation_id, response) =
            duolog_kafka::codec::decode_response::<ProduceRequest>(9, frame.into()).unwrap();
        assert_eq!(correlation_id, id);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(id)));
    }
    drop(sending.await.unwrap());
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_behind_a_slow_request_is_begun_at_once_and_answered_after_it() {
    let server = Server::with(Settings { log: MemoryLog::manual(), ..Settings::default() }).await;
    // The disk: it works while the gate is open.
    let (gate, over) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let disk = std::thread::spawn({
        let (log, gate, over) = (server.log.clone(), gate.clone(), over.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                if !gate.load(Ordering::Relaxed) || !log.pump() {
                    std::thread::yield_now();
                }
            }
        }
    });
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;

    gate.store(false, Ordering::Relaxed);
    client.send(9, &produce("t", &[(0, batch(&[b"first"]))], -1)).await;
    client.send(12, &MetadataRequest::default()).await;
    client.send(9, &produce("t", &[(0, batch(&[b"second"]))], -1)).await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(50), client.stream.peek(&mut byte)).await;
    assert!(early.is_err(), "nothing is answered before the first is durable");
    gate.store(true, Ordering::Relaxed);
    let first = client.receive::<ProduceRequest>(9, 2).await;
    assert_eq!(first.responses[0].partition_responses[0].base_offset, 0);
    assert_eq!(client.receive::<MetadataRequest>(12, 1).await.topics.len(), 1);
    let second = client.receive::<ProduceRequest>(9, 0).await;
    assert_eq!(second.responses[0].partition_responses[0].base_offset, 1);
    server.stop().await;
    over.store(true, Ordering::Relaxed);
    disk.join().unwrap();
}

#[tokio::test]
async fn without_acknowledgement_success_is_silent_and_failure_closes() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    client.send(9, &produce("t", &[(0, batch(&[b"x"]))], 0)).await;
    // The next answer belongs to the next request.
    assert_eq!(client.ask(12, &MetadataRequest::default()).await.topics.len(), 1);
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 1);
    client.send(9, &produce("t", &[(7, batch(&[b"x"]))], 0)).await;
    assert!(client.is_closed().await);
    server.stop().await;
}

#[tokio::test]
async fn shutdown_ends_a_waiting_fetch_with_its_answer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 1, &[]).await;
    let request = FetchRequest { max_wait_ms: 600_000, ..fetch("t", &[(0, 0)]) };
    client.create("other", 1, &[]).await;
    let other = server.session.catalog().topic("default", "other").unwrap().partitions[0];
    client.send(12, &request).await;
    // The fetch is being served once the request behind it has been begun, which its effect shows.
    client.send(9, &produce("other", &[(0, batch(&[b"x"]))], -1)).await;
    within(server.session.readable(&[(other, Offset(0))])).await;
    server.shutdown.begin();
    let answer = client.receive::<FetchRequest>(12, 1).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    server.stop().await;
}
