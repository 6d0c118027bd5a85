//! Channels that an operator has captured: PUBLISH is answered once the message is durable.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, request, words};
use duolog_broker::live::{Capture, Pattern};
use duolog_broker::{TopicPolicy, TopicSpec};
use duolog_record::Offset;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn captured(server: &Server, channel: &str) {
    let policy = TopicPolicy { batch_bytes_max: 10_000, ..TopicPolicy::default() };
    let spec = TopicSpec::new("orders", 1, policy);
    server.session.create_topic(spec).await.unwrap();
    let capture = Capture { pattern: Pattern::literal(channel.as_bytes()), topic: "orders".into() };
    server.session.live().set_captures(vec![capture]).unwrap();
}

fn stored(server: &Server) -> Vec<String> {
    let catalog = server.session.catalog();
    let partition = catalog.topic("default", "orders").unwrap().partitions[0];
    let mut all = Vec::new();
    let visit = |seen: Result<duolog_record::Record, duolog_broker::Gap>| {
        let record = seen.unwrap();
        let text = |bytes: Option<_>| String::from_utf8(Vec::from(bytes.unwrap_or_default())).unwrap();
        all.push(format!("{} {}", text(record.key), text(record.value)));
        std::ops::ControlFlow::Continue(())
    };
    server.session.scan(partition, Offset(0), visit).unwrap();
    all
}

#[tokio::test]
async fn a_topic_that_captures_counts_as_one_that_hears() {
    let server = Server::start().await;
    captured(&server, "orders").await;
    let (mut one, mut publisher) = (server.client().await, server.client().await);
    one.ask("SUBSCRIBE orders", "*3|$9|subscribe|$6|orders|:1|").await;
    let pipelined =
        [words("PUBLISH orders a"), words("PUBLISH other x"), words("PUBLISH orders b"), words("PING")];
    publisher.send(&pipelined.concat()).await;
    publisher.expect(":2|:0|:2|+PONG|").await;
    assert_eq!(stored(&server), ["orders a", "orders b"]);
    one.expect("*3|$7|message|$6|orders|$1|a|").await;
    drop((one, publisher));
    server.stop().await;
}

#[tokio::test]
async fn who_has_said_all_gets_the_answers_nevertheless() {
    let server = Server::start().await;
    captured(&server, "orders").await;
    for last in ["QUIT", "PING"] {
        let mut publisher = server.client().await;
        publisher.send(&[words("PUBLISH orders a"), words(last)].concat()).await;
        publisher.stream.shutdown().await.unwrap();
        publisher.expect(if last == "QUIT" { ":1|+OK|" } else { ":1|+PONG|" }).await;
    }
    assert_eq!(stored(&server).len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn no_answer_says_that_a_message_is_stored_which_is_not() {
    let server = Server::start().await;
    captured(&server, "orders").await;
    let mut publisher = server.client().await;
    let large = "x".repeat(10_001);
    let pipelined = [words("PUBLISH orders a"), words(&format!("PUBLISH orders {large}")), words("PING")];
    publisher.send(&pipelined.concat()).await;
    let answer = publisher.through("connection ends|").await;
    assert!(answer.starts_with("-ERR a captured message is not stored in topic 'orders': "), "{answer}");
    publisher.expect_closed().await;
    server.stop().await;
}

/// Listeners hold a publisher back for a moment only, also one that waits for the disk.
#[tokio::test]
async fn a_subscriber_that_does_not_move_holds_nobody_up_who_is_captured() {
    let server = Server::start().await;
    captured(&server, "orders").await;
    let (mut deaf, mut publisher) = (server.client().await, server.client().await);
    deaf.ask("SUBSCRIBE orders", "*3|$9|subscribe|$6|orders|:1|").await;
    let messages = request(&[b"PUBLISH", b"orders", &[b'x'; 1_000]]).repeat(1_000);
    for _ in 0..20 {
        let (mut reading, mut writing) = publisher.stream.split();
        let mut replies = vec![0; 4_000];
        let (wrote, read) = tokio::join!(writing.write_all(&messages), reading.read_exact(&mut replies));
        wrote.unwrap();
        read.unwrap();
        assert_eq!(replies, b":2\r\n".repeat(1_000));
    }
    drop((deaf, publisher));
    server.stop().await;
}
