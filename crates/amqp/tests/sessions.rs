//! What happens when much comes at once, or things go in a bad moment.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Client, Server, Stage, declare, read};
use duolog_amqp::AmqpOptions;
use duolog_amqp::codec::client::{ServerMethod, write_publish};
use duolog_amqp::codec::method::*;
use duolog_amqp::codec::{Properties, ShortStr, Table, Value};
use duolog_storage::LogError;

const FRAME_MAX: u32 = common::FRAME_MAX;

fn short(text: &str) -> ShortStr<'_> {
    ShortStr::cut(text)
}

fn published(exchange: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let (exchange, routing_key) = (short(exchange), short(key));
    let publish = BasicPublish { exchange, routing_key, ..BasicPublish::default() };
    let mut out = Vec::new();
    write_publish(&mut out, 1, &publish, Properties::NONE, body, FRAME_MAX);
    out
}

/// Writes methods on channel 1, and reads as many answers.
macro_rules! call {
    ($client:expr, $($method:expr),* $(,)?) => {{
        $(
            let mut out = Vec::new();
            $method.write(&mut out, 1);
            $client.send(out).await;
            let (_, answer) = $client.method().await.expect("the connection ends");
            assert!(!matches!(read(&answer), ServerMethod::ChannelClose(_) | ServerMethod::ConnectionClose(_)), "{:?}", read(&answer));
        )*
    }};
}

/// How many messages are in a queue, ready to be delivered.
async fn ready(client: &mut Client, queue: &str) -> u32 {
    let mut out = Vec::new();
    QueueDeclare { passive: true, ..declare(queue) }.write(&mut out, 1);
    client.send(out).await;
    let (_, payload) = client.method().await.unwrap();
    match read(&payload) {
        ServerMethod::QueueDeclareOk(it) => it.message_count,
        other => panic!("{other:?}"),
    }
}

/// Reads confirms until so many messages are acknowledged; a refusal is a failure.
async fn confirmed(client: &mut Client, count: u64) {
    let mut upto = 0;
    while upto < count {
        let (_, payload) = client.method().await.expect("the connection ends");
        match read(&payload) {
            ServerMethod::BasicAck(it) => upto = upto.max(it.delivery_tag),
            other => panic!("{other:?} after {upto}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_to_many_queues_are_all_confirmed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let names: Vec<_> = (0..40).map(|index| format!("q{index}")).collect();
    for name in &names {
        let exchange = short("amq.fanout");
        call!(client, declare(name), QueueBind { queue: short(name), exchange, ..QueueBind::default() });
    }
    call!(client, ConfirmSelect { no_wait: false });
    client.send(published("amq.fanout", "", b"x").repeat(2_000)).await;
    confirmed(&mut client, 2_000).await;
    assert_eq!((ready(&mut client, "q0").await, ready(&mut client, "q39").await), (2_000, 2_000));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_of_many_connections_find_room_in_turn() {
    let server = Server::start().await;
    let body = vec![b'x'; 10 << 20];
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = server.client().await;
        call!(client, ConfirmSelect { no_wait: false });
        clients.push(client);
    }
    // More together than the budget of the server: all begin, then all go on.
    let whole = published("", "q", &body);
    let (first, rest) = whole.split_at(5_000);
    for client in &mut clients {
        client.send(first).await;
    }
    let rest: std::sync::Arc<[u8]> = rest.into();
    let sending: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let rest = std::sync::Arc::clone(&rest);
            tokio::spawn(async move {
                client.send(&*rest).await;
                confirmed(&mut client, 1).await;
            })
        })
        .collect();
    for one in sending {
        one.await.unwrap();
    }
    let mut client = server.client().await;
    assert_eq!(ready(&mut client, "q").await, 12);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_of_too_many_loses_none() {
    let server = Server::start().await;
    let mut client = server.client().await;
    call!(client, ConfirmSelect { no_wait: false });
    client.send(published("", "q", b"x").repeat(5)).await;
    confirmed(&mut client, 5).await;
    for _ in 0..5 {
        call!(client, BasicGet { queue: short("q"), ..BasicGet::default() });
    }
    let mut out = Vec::new();
    BasicAck { delivery_tag: 999, multiple: true }.write(&mut out, 1);
    client.send(out).await;
    let (_, payload) = client.method().await.unwrap();
    assert!(matches!(read(&payload), ServerMethod::ChannelClose(it) if it.reply_code == 406));
    let mut other = server.client().await;
    assert_eq!(ready(&mut other, "q").await, 5);
    drop((client, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_went_with_its_consumer_can_be_declared_again() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for _ in 0..20 {
        call!(
            client,
            QueueDeclare { auto_delete: true, ..declare("short-lived") },
            BasicConsume { queue: short("short-lived"), consumer_tag: short("c"), ..BasicConsume::default() },
            BasicCancel { consumer_tag: short("c"), no_wait: false },
        );
    }
    assert_eq!(ready(&mut client, "q").await, 0);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_whose_connection_ends_keeps_nothing() {
    let server = Server::start().await;
    let mut client = server.client().await;
    call!(client, ConfirmSelect { no_wait: false });
    client.send(published("", "q", b"x").repeat(500)).await;
    confirmed(&mut client, 500).await;
    let mut get = Vec::new();
    BasicGet { queue: short("q"), ..BasicGet::default() }.write(&mut get, 1);
    for _ in 0..30 {
        let mut other = server.client().await;
        other.send(get.repeat(100)).await;
        drop(other);
    }
    common::within(async {
        while ready(&mut client, "q").await < 500 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_declare_the_same_at_once_all_have_it() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(server.client().await);
    }
    for round in 0..30 {
        let (queue, exchange) = (format!("q{round}"), format!("x{round}"));
        let mut out = Vec::new();
        declare(&queue).write(&mut out, 1);
        let kind = short("topic");
        ExchangeDeclare { exchange: short(&exchange), kind, durable: true, ..ExchangeDeclare::default() }
            .write(&mut out, 1);
        for client in &mut clients {
            client.send(&out).await;
        }
        for client in &mut clients {
            let (_, first) = client.method().await.unwrap();
            assert!(matches!(read(&first), ServerMethod::QueueDeclareOk(_)), "{round}: {:?}", read(&first));
            let (_, second) = client.method().await.unwrap();
            assert!(
                matches!(read(&second), ServerMethod::ExchangeDeclareOk(_)),
                "{round}: {:?}",
                read(&second)
            );
        }
    }
    drop(clients);
    server.stop().await;
}

/// The code of the close that comes next.
async fn closed(client: &mut Client) -> u16 {
    let (_, payload) = client.method().await.expect("the connection ends without a word");
    match read(&payload) {
        ServerMethod::ChannelClose(it) => it.reply_code,
        ServerMethod::ConnectionClose(it) => it.reply_code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_cut() {
    let handshake = Duration::from_millis(50);
    let server = Server::with(AmqpOptions { handshake, ..AmqpOptions::default() }).await;
    for stage in [Stage::Connected, Stage::Started, Stage::Tuned, Stage::Agreed] {
        let mut client = server.connect().await;
        client.reach(stage).await;
        assert!(client.method().await.is_none(), "{stage:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_heartbeat_is_cut_and_what_it_held_is_back() {
    let server = Server::start().await;
    let mut other = server.client().await;
    other.send(published("", "q", b"x")).await;
    let mut client = server.beating_client().await;
    call!(client, BasicGet { queue: short("q"), ..BasicGet::default() });
    assert!(client.method().await.is_none());
    assert_eq!(ready(&mut other, "q").await, 1);
    drop((client, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_nobody_acknowledges_closes_its_channel_in_time() {
    let server = Server::start().await;
    let mut client = server.beating_client().await;
    client.send(published("", "q", b"x")).await;
    call!(client, BasicGet { queue: short("q"), ..BasicGet::default() });
    server.clock.advance(30 * 60 * 1000 + 1);
    assert_eq!(closed(&mut client).await, 406);
    let mut other = server.client().await;
    assert_eq!(ready(&mut other, "q").await, 1);
    drop((client, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_of_which_no_more_comes_is_given_up() {
    let server = Server::start().await;
    let mut client = server.beating_client().await;
    client.send(&published("", "q", &vec![b'x'; 1 << 20])[..200_000]).await;
    // The minute begins with what the server has read last, and when that was does not show.
    let minutes = async {
        loop {
            server.clock.advance(60_001);
            tokio::task::yield_now().await;
        }
    };
    let code = tokio::select! {
        code = closed(&mut client) => code,
        () = minutes => unreachable!("they go on for ever"),
    };
    assert_eq!(code, 506);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_nobody_uses_goes_and_one_with_a_consumer_stays() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let arguments = Table::default().with("x-expires", 60_000).encode();
    for name in ["left", "used"] {
        call!(client, QueueDeclare { arguments: arguments.as_raw(), ..declare(name) });
    }
    call!(client, BasicConsume { queue: short("used"), ..BasicConsume::default() });
    server.clock.advance(60_000);
    let is_there = |name: &str| server.session.catalog().queue("default", name).is_some();
    common::within(async {
        while is_there("left") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(is_there("used"));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_queue_does_not_outlive_a_connection_that_ends_at_once() {
    let server = Server::start().await;
    let mut out = Vec::new();
    QueueDeclare { exclusive: true, ..declare("own") }.write(&mut out, 1);
    for _ in 0..50 {
        let mut client = server.client().await;
        client.send(&out).await;
        drop(client);
        // The next one gets it as its own, once the last has left.
        let mut next = server.client().await;
        common::within(async {
            loop {
                next.send(&out).await;
                let (_, payload) = next.method().await.unwrap();
                match read(&payload) {
                    ServerMethod::QueueDeclareOk(_) => break,
                    ServerMethod::ChannelClose(it) if it.reply_code == 405 => {
                        let mut again = Vec::new();
                        ChannelCloseOk {}.write(&mut again, 1);
                        ChannelOpen::default().write(&mut again, 1);
                        next.send(again).await;
                        next.method().await.unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_as_large_as_a_commit_and_no_larger() {
    let server = Server::start().await;
    let mut client = server.client().await;
    call!(client, TxSelect {});
    client.send(published("", "q", &vec![b'x'; 8 << 20])).await;
    client.send(published("", "q", &vec![b'y'; 7 << 20])).await;
    call!(client, TxCommit {});
    assert_eq!(ready(&mut client, "q").await, 2);
    client.send(published("", "q", &vec![b'x'; 8 << 20])).await;
    client.send(published("", "q", &vec![b'y'; 9 << 20])).await;
    let (_, payload) = client.method().await.unwrap();
    match read(&payload) {
        ServerMethod::ChannelClose(it) => {
            assert_eq!((it.reply_code, it.method), (406, BasicPublish::ID));
        }
        other => panic!("{other:?}"),
    }
    drop(client);
    // Who holds nothing of it any more finds the memory free again.
    let mut next = server.client().await;
    assert_eq!(ready(&mut next, "q").await, 2);
    drop(next);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_do_not_wait_for_the_memory_of_one_another() {
    let server = Server::start().await;
    let body = vec![b'x'; 6 << 20];
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = server.client().await;
        call!(client, TxSelect {});
        clients.push(client);
    }
    // Each has a first message in turn, until there is no memory for a second one of all.
    let sending: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let messages = [published("", "q", &body), published("", "q", &body)].concat();
            tokio::spawn(async move {
                client.send(messages).await;
                let mut out = Vec::new();
                TxCommit {}.write(&mut out, 1);
                client.send(out).await;
                let (_, payload) = client.method().await.unwrap();
                match read(&payload) {
                    ServerMethod::TxCommitOk(_) => 2,
                    ServerMethod::ChannelClose(it) => {
                        assert_eq!(it.reply_code, 406);
                        0
                    }
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut stored = 0;
    for one in sending {
        stored += one.await.unwrap();
    }
    let mut client = server.client().await;
    assert_eq!(ready(&mut client, "q").await, stored);
    drop(client);
    server.stop().await;
}

/// What of these comes next: how a publisher is held up, and what is confirmed.
async fn told(client: &mut Client) -> &'static str {
    let (_, payload) = client.method().await.expect("the connection ends");
    match read(&payload) {
        ServerMethod::ConnectionBlocked(it) if it.reason == "low on disk" => "disk",
        ServerMethod::ConnectionBlocked(it) if it.reason == "low on memory" => "memory",
        ServerMethod::ConnectionUnblocked(_) => "on",
        ServerMethod::BasicAck(_) => "ack",
        ServerMethod::BasicNack(_) => "nack",
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_hears_of_a_full_disk() {
    let server = Server::start().await;
    let (mut client, mut deaf) = (server.hearing_client().await, server.client().await);
    let mut idle = server.hearing_client().await;
    for it in [&mut client, &mut deaf] {
        call!(it, ConfirmSelect { no_wait: false });
        it.send(published("", "q", b"x")).await;
        assert_eq!(told(it).await, "ack");
    }
    server.log.fail_next(LogError::DiskFull { bytes: 1, directory: "here".to_owned() });
    deaf.send(published("", "q", b"x")).await;
    assert_eq!(told(&mut deaf).await, "nack");
    assert_eq!((told(&mut client).await, told(&mut client).await), ("disk", "on"));
    server.clock.advance(1_000);
    for it in [&mut client, &mut deaf] {
        it.send(published("", "q", b"x")).await;
        assert_eq!(told(it).await, "ack");
    }
    // Who publishes nothing was told nothing.
    assert_eq!(ready(&mut idle, "q").await, 4);
    drop((client, deaf, idle));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_memory_hears_of_it() {
    let server = Server::start().await;
    let whole = published("", "q", &vec![b'x'; 15 << 20]);
    let (first, rest) = whole.split_at(5_000);
    let mut holding = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.send(first).await;
        holding.push(client);
    }
    common::within(async {
        while server.budget.used_bytes() < 45 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut client = server.hearing_client().await;
    call!(client, ConfirmSelect { no_wait: false });
    client.send(first).await;
    assert_eq!(told(&mut client).await, "memory");
    drop(holding);
    assert_eq!(told(&mut client).await, "on");
    client.send(rest).await;
    assert_eq!(told(&mut client).await, "ack");
    drop(client);
    server.stop().await;
}

/// A message that asks to be delayed.
fn delayed(exchange: &str, body: &[u8], delay: impl Into<Value>) -> Vec<u8> {
    let headers = Table::default().with("x-delay", delay).encode();
    let mut properties = Vec::new();
    Properties { headers: Some(headers.as_raw()), ..Properties::default() }.encode(&mut properties);
    let publish =
        BasicPublish { exchange: short(exchange), routing_key: short("k"), ..BasicPublish::default() };
    let mut out = Vec::new();
    write_publish(&mut out, 1, &publish, &properties, body, FRAME_MAX);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delayed_comes_when_it_is_due_and_not_before() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let arguments = Table::default().with("x-delayed-type", "direct").encode();
    let exchange = ExchangeDeclare {
        exchange: short("later"),
        kind: short("x-delayed-message"),
        durable: true,
        arguments: arguments.as_raw(),
        ..ExchangeDeclare::default()
    };
    let (queue, routing_key) = (short("q"), short("k"));
    call!(
        client,
        exchange,
        exchange,
        QueueBind { queue, exchange: short("later"), routing_key, ..QueueBind::default() },
        ConfirmSelect { no_wait: false },
    );
    let day: i32 = 24 * 60 * 60 * 1000;
    client.send(delayed("later", b"last", 20 * day)).await;
    client.send(delayed("later", b"second", "2000")).await;
    client.send(delayed("later", b"first", 1_000)).await;
    client.send(delayed("later", b"now", 0)).await;
    client.send(delayed("later", b"past", -5_000)).await;
    client.send(delayed("amq.direct", b"nowhere", 5_000)).await;
    confirmed(&mut client, 6).await;
    assert_eq!(ready(&mut client, "q").await, 2);
    for (ms, count) in [(999, 2), (1, 3), (999, 3), (1, 4), (20 * day - 2_001, 4), (1, 5)] {
        server.clock.advance(ms.unsigned_abs().into());
        // Who looks drives the broker, which looks for what is due first.
        common::within(async { while ready(&mut client, "q").await != count {} }).await;
    }
    drop(client);
    server.stop().await;
}
