//! Subjects that an operator has captured: requests are answered once the message is durable.
#![allow(clippy::unwrap_used)]

mod common;

use common::Server;
use duolog_broker::live::{Capture, Pattern};
use duolog_broker::{DedupPolicy, TopicPolicy, TopicSpec};
use duolog_record::Offset;

async fn captured(server: &Server, subject: &str) {
    let dedup = Some(DedupPolicy { window_ms: 60_000, per_key: false });
    let policy = TopicPolicy { batch_bytes_max: 10_000, dedup, ..TopicPolicy::default() };
    let spec = TopicSpec::new("orders", 1, policy);
    server.session.create_topic(spec).await.unwrap();
    let capture = Capture { pattern: Pattern::literal(subject.as_bytes()), topic: "orders".into() };
    server.session.live().set_captures(vec![capture]).unwrap();
}

fn values(server: &Server) -> Vec<String> {
    let catalog = server.session.catalog();
    let partition = catalog.topic("default", "orders").unwrap().partitions[0];
    let mut values = Vec::new();
    let visit = |seen: Result<duolog_record::Record, duolog_broker::Gap>| {
        let record = seen.unwrap();
        values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        std::ops::ControlFlow::Continue(())
    };
    server.session.scan(partition, Offset(0), visit).unwrap();
    values
}

#[tokio::test]
async fn a_request_on_a_captured_subject_is_acknowledged_by_the_log() {
    let server = Server::start().await;
    captured(&server, "orders.new").await;
    let mut client = server.client().await;
    client.send("SUB inbox.* 9\r\nPUB orders.new inbox.1 3\r\none\r\nPUB orders.new 3\r\ntwo\r\n").await;
    client.hears("MSG inbox.1 9 27\r\n{\"stream\":\"orders\",\"seq\":1}\r\n").await;
    client.send("PUB orders.new inbox.2 5\r\nthree\r\nPUB other inbox.3 1\r\nx\r\n").await;
    let nobody = "HMSG inbox.3 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
    let stored = "MSG inbox.2 9 27\r\n{\"stream\":\"orders\",\"seq\":3}\r\n";
    client.hears(format!("{nobody}{stored}")).await;
    assert_eq!(values(&server), ["one", "two", "three"]);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_message_id_that_is_known_is_a_duplicate() {
    let server = Server::start().await;
    captured(&server, "orders.new").await;
    let mut client = server.client().await;
    let send = "HPUB orders.new inbox.1 27 30\r\nNATS/1.0\r\nNats-Msg-Id:7\r\n\r\none\r\n";
    client.send(format!("SUB inbox.* 9\r\n{send}{send}")).await;
    client.hears("MSG inbox.1 9 27\r\n{\"stream\":\"orders\",\"seq\":1}\r\n").await;
    client.hears("MSG inbox.1 9 44\r\n{\"stream\":\"orders\",\"seq\":1,\"duplicate\":true}\r\n").await;
    assert_eq!(values(&server), ["one"]);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn one_that_cannot_be_stored_is_told_so_and_others_are_stored() {
    let server = Server::start().await;
    captured(&server, "orders.new").await;
    let mut client = server.client().await;
    let large = "x".repeat(10_001);
    client
        .send(format!(
            "SUB inbox.* 9\r\nPUB orders.new inbox.1 {}\r\n{large}\r\nPUB orders.new inbox.2 3\r\ntwo\r\n",
            large.len()
        ))
        .await;
    let head = client.line().await;
    assert!(head.starts_with("MSG inbox.1 9 "), "{head}");
    let error = client.line().await;
    assert!(error.starts_with("{\"error\":{\"code\":400,\"err_code\":10054,"), "{error}");
    client.hears("MSG inbox.2 9 27\r\n{\"stream\":\"orders\",\"seq\":1}\r\n").await;
    assert_eq!(values(&server), ["two"]);
    assert_eq!(server.session.live().stats().not_captured, 1);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_in_flight_are_each_answered_in_order() {
    let server = Server::start().await;
    captured(&server, "orders.new").await;
    let mut client = server.client().await;
    client.send("SUB inbox.* 9\r\n").await;
    let mut all = String::new();
    for number in 0..20_000 {
        all += &format!("PUB orders.new inbox.{number} 5\r\n{:05}\r\n", number % 100_000);
    }
    let (mut reading, mut writing) = (0, client);
    writing.send(&all).await;
    while reading < 20_000 {
        let head = writing.line().await;
        assert!(head.starts_with(&format!("MSG inbox.{reading} 9 ")), "{head}");
        assert_eq!(writing.line().await, format!("{{\"stream\":\"orders\",\"seq\":{}}}\r\n", reading + 1));
        reading += 1;
    }
    assert_eq!(values(&server).len(), 20_000);
    drop(writing);
    server.stop().await;
}
