//! Fetch sessions over a real socket: only what has changed is named, either way.

use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch, fetch, values};

fn in_session(id: i32, epoch: i32, topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let mut request = FetchRequest { session_id: id, session_epoch: epoch, ..fetch(topic, partitions) };
    request.topics.retain(|topic| !topic.partitions.is_empty());
    request
}

/// Partitions that are answered.
fn answered(response: &FetchResponse) -> Vec<i32> {
    response.responses.iter().flat_map(|topic| &topic.partitions).map(|it| it.partition_index).collect()
}

async fn ask(client: &mut Client, request: FetchRequest) -> FetchResponse {
    let response = client.ask(12, &request).await;
    assert_eq!(response.error_code, 0);
    response
}

#[tokio::test]
async fn only_what_has_changed_is_answered() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.create("t", 100, &[]).await;
    let all: Vec<(i32, i64)> = (0..100).map(|index| (index, 0)).collect();
    let first = ask(&mut client, in_session(0, 0, "t", &all)).await;
    assert_eq!(answered(&first).len(), 100, "the first answer names all");
    let id = first.session_id;
    assert_ne!(id, 0);
    let quiet = ask(&mut client, in_session(id, 1, "t", &[])).await;
    assert_eq!((quiet.session_id, answered(&quiet)), (id, Vec::new()));

    other.produce("t", 42, batch(&[b"new"])).await;
    let woken = ask(&mut client, in_session(id, 2, "t", &[])).await;
    assert_eq!(answered(&woken), [42]);
    assert_eq!(values(&woken.responses[0].partitions[0]), [&b"new"[..]]);
    // Not taken over: the same again. Then it has moved on, and there is nothing.
    assert_eq!(answered(&ask(&mut client, in_session(id, 3, "t", &[])).await), [42]);
    assert_eq!(answered(&ask(&mut client, in_session(id, 4, "t", &[(42, 1)])).await), []);

    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".to_owned(),
            partitions: vec![DeleteRecordsPartition { partition_index: 42, offset: -1 }],
        }],
        timeout_ms: 1000,
    };
    other.ask(2, &request).await;
    let news = ask(&mut client, in_session(id, 5, "t", &[])).await;
    assert_eq!(news.responses[0].partitions[0].log_start_offset, 1, "a new start is news");
    assert_eq!(answered(&ask(&mut client, in_session(id, 6, "t", &[])).await), []);
    server.stop().await;
}

#[tokio::test]
async fn an_error_is_told_until_it_is_over() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.create("t", 2, &[]).await;
    let id = ask(&mut client, in_session(0, 0, "t", &[(0, 0), (1, 99)])).await.session_id;
    for epoch in 1..3 {
        let response = ask(&mut client, in_session(id, epoch, "t", &[])).await;
        let told = &response.responses[0].partitions[0];
        assert_eq!((told.partition_index, told.error_code), (1, ErrorCode::OffsetOutOfRange.code()));
    }
    let over = ask(&mut client, in_session(id, 3, "t", &[(1, 0)])).await;
    assert_eq!((answered(&over), over.responses[0].partitions[0].error_code), (vec![1], 0));
    assert_eq!(answered(&ask(&mut client, in_session(id, 4, "t", &[])).await), []);
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_is_not_this_connections_is_not_found() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.create("t", 1, &[]).await;
    let id = ask(&mut client, in_session(0, 0, "t", &[(0, 0)])).await.session_id;
    let code = async |client: &mut Client, request: FetchRequest| client.ask(12, &request).await.error_code;
    let not_found = ErrorCode::FetchSessionIdNotFound.code();
    assert_eq!(code(&mut other, in_session(id, 1, "t", &[])).await, not_found);
    assert_eq!(code(&mut client, in_session(id + 1, 1, "t", &[])).await, not_found);
    let epoch = ErrorCode::InvalidFetchSessionEpoch.code();
    assert_eq!(code(&mut client, in_session(id, 2, "t", &[])).await, epoch);
    assert_eq!(code(&mut client, in_session(id, 1, "t", &[])).await, 0, "it is still there");
    // Ended by the client, and answered whole.
    assert_eq!(answered(&ask(&mut client, in_session(id, -1, "t", &[(0, 0)])).await), [0]);
    assert_eq!(code(&mut client, in_session(id, 2, "t", &[])).await, not_found);
    server.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_of_a_session_is_woken() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.create("t", 10, &[]).await;
    let all: Vec<(i32, i64)> = (0..10).map(|index| (index, 0)).collect();
    let id = ask(&mut client, in_session(0, 0, "t", &all)).await.session_id;
    let waiting = FetchRequest { max_wait_ms: 15_000, ..in_session(id, 1, "t", &[]) };
    client.send(12, &waiting).await;
    other.produce("t", 7, batch(&[b"x"])).await;
    assert_eq!(answered(&client.receive::<FetchRequest>(12, 0).await), [7]);
    server.stop().await;
}
