//! What answers hold is paid for before it is read.

use std::task::Poll;

use duolog_net::Reservation;
use duolog_record::BatchBuilder;

use super::*;
use crate::api::{IntoReply, fetch};
use crate::codec::ApiKey;

const BATCH_BYTES: usize = 1_000_000;

/// A fetch of one byte, which a whole batch answers.
fn request(topic: &Topic) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 1, ..Default::default() };
    let topic = FetchTopic { topic: topic.name.clone(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes: 1, min_bytes: 1, session_epoch: -1, topics: vec![topic], ..Default::default() }
}

/// Takes all but `left` bytes.
fn take(budget: &Budget, left: usize) -> Reservation {
    let mut all = budget.try_reserve(Budget::largest(budget.bytes_max()) - left).unwrap().unwrap();
    // What is for small ones goes first.
    for _ in 0..budget.bytes_max() / 8 / 1024 {
        all.merge(budget.try_reserve(1024).unwrap().unwrap());
    }
    all
}

#[tokio::test]
async fn a_batch_larger_than_what_was_asked_for_waits_until_it_can_be_paid_for() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp(1), None, Some(&vec![7; BATCH_BYTES]), &[]);
    bench.client.session.append(topic.partitions[0], builder.build()).await.unwrap();
    let budget = bench.client.budget.clone();
    let header = RequestHeader { api_version: 12, ..Default::default() };
    let taken = take(&budget, 100 << 10);
    let mut fetching = std::pin::pin!(fetch::handle(&bench.client, &header, request(&topic)));
    let polled = std::future::poll_fn(|cx| Poll::Ready(fetching.as_mut().poll(cx).is_ready())).await;
    assert!(!polled, "a MB does not fit into 100 KiB");
    drop(taken);
    let reply = fetching.await.into_reply(ApiKey::Fetch, &header);
    assert!(budget.used_bytes() >= BATCH_BYTES);
    assert_eq!(reply.unpaid_bytes(), 0);
    drop(reply);
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_has_paid_for_says_so_until_somebody_has() {
    let bench = Bench::new();
    let response = MetadataResponse { cluster_id: Some("c".repeat(5_000)), ..Default::default() };
    let header = RequestHeader { api_version: 2, ..Default::default() };
    let reply = response.into_reply(ApiKey::Metadata, &header);
    assert!(reply.unpaid_bytes() > 5_000);
    let memory = bench.client.budget.try_reserve(reply.unpaid_bytes()).unwrap().unwrap();
    let reply = reply.paid(memory);
    assert_eq!(reply.unpaid_bytes(), 0);
    assert!(bench.client.budget.used_bytes() > 5_000);
    drop(reply);
    assert_eq!(bench.client.budget.used_bytes(), 0);
}
