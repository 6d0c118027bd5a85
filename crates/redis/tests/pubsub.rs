//! Publish and subscribe over real sockets: what is heard, in which form, in which order, and what becomes of those who are slow.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, Server, request, shown, words};
use duolog_broker::live::{ListenerOptions, Message, Overflow, Pattern, Tag};
use duolog_net::Limits;
use duolog_redis::RedisOptions;
use tokio::io::AsyncWriteExt;

async fn resp3(server: &Server) -> Client {
    let mut client = server.client().await;
    client.say("HELLO 3").await;
    let greeting = client.through("$7|modules|*0|").await;
    assert!(
        greeting.starts_with("%7|$6|server|$5|redis|$7|version|$5|7.4.0|$5|proto|:3|$2|id|:"),
        "{greeting}"
    );
    client
}

#[tokio::test]
async fn everybody_who_listens_hears_and_the_publisher_is_told_how_many() {
    let server = Server::start().await;
    let (mut one, mut other, mut publisher) =
        (server.client().await, resp3(&server).await, server.client().await);
    publisher.ask("PUBLISH news nobody", ":0|").await;
    one.ask("SUBSCRIBE news", "*3|$9|subscribe|$4|news|:1|").await;
    other.ask("PSUBSCRIBE n?ws *", ">3|$10|psubscribe|$4|n?ws|:1|>3|$10|psubscribe|$1|*|:2|").await;
    publisher.ask("PUBLISH news hello", ":3|").await;
    one.expect("*3|$7|message|$4|news|$5|hello|").await;
    // Patterns are matched in no order.
    let by = |pattern: &str| format!(">4|$8|pmessage|${}|{pattern}|$4|news|$5|hello|", pattern.len());
    let both = other.bytes(by("n?ws").replace('|', "..").len() + by("*").replace('|', "..").len()).await;
    let both = shown(&both);
    assert!(both == by("n?ws") + &by("*") || both == by("*") + &by("n?ws"), "{both}");
    one.ask("UNSUBSCRIBE", "*3|$11|unsubscribe|$4|news|:0|").await;
    publisher.ask("PUBLISH news again", ":2|").await;
    one.ask("PING", "+PONG|").await;
    server.stop().await;
}

#[tokio::test]
async fn any_bytes_are_a_channel_and_a_message() {
    let server = Server::start().await;
    let (mut listener, mut publisher) = (server.client().await, server.client().await);
    let channel: Vec<u8> = (0..=255).collect();
    let payload = b"\r\n\0\xff".repeat(100_000);
    listener.send(&request(&[b"SUBSCRIBE", &channel, b""])).await;
    let confirmed = [
        b"*3\r\n$9\r\nsubscribe\r\n$256\r\n",
        &channel[..],
        b"\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$0\r\n\r\n:2\r\n",
    ]
    .concat();
    assert_eq!(listener.bytes(confirmed.len()).await, confirmed);
    publisher.send(&request(&[b"PUBLISH", &channel, &payload])).await;
    publisher.expect(":1|").await;
    let expected =
        [b"*3\r\n$7\r\nmessage\r\n$256\r\n", &channel[..], b"\r\n$400000\r\n", &payload, b"\r\n"].concat();
    assert!(listener.bytes(expected.len()).await == expected);
    publisher.send(&request(&[b"PUBLISH", b"", b""])).await;
    publisher.expect(":1|").await;
    listener.expect("*3|$7|message|$0||$0||").await;
    server.stop().await;
}

#[tokio::test]
async fn each_name_is_confirmed_with_the_number_listened_to() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client
        .ask("SUBSCRIBE a b a", "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|*3|$9|subscribe|$1|a|:2|")
        .await;
    client.ask("PSUBSCRIBE a*", "*3|$10|psubscribe|$2|a*|:3|").await;
    client.ask("SSUBSCRIBE s", "*3|$10|ssubscribe|$1|s|:1|").await;
    client.ask("UNSUBSCRIBE a x", "*3|$11|unsubscribe|$1|a|:2|*3|$11|unsubscribe|$1|x|:2|").await;
    client.ask("UNSUBSCRIBE", "*3|$11|unsubscribe|$1|b|:1|").await;
    client.ask("UNSUBSCRIBE", "*3|$11|unsubscribe|$-1|:1|").await;
    client.ask("PUNSUBSCRIBE", "*3|$12|punsubscribe|$2|a*|:0|").await;
    client.ask("SUNSUBSCRIBE", "*3|$12|sunsubscribe|$1|s|:0|").await;
    client.ask("SUNSUBSCRIBE", "*3|$12|sunsubscribe|$-1|:0|").await;
    client.ask("GET x", "-ERR unknown command 'GET', with args beginning with: 'x' |").await;
    server.stop().await;
}

#[tokio::test]
async fn shard_channels_lie_apart() {
    let server = Server::start().await;
    let (mut all, mut shard, mut asker) = (resp3(&server).await, resp3(&server).await, server.client().await);
    all.ask("PSUBSCRIBE *", ">3|$10|psubscribe|$1|*|:1|").await;
    all.ask("SUBSCRIBE a", ">3|$9|subscribe|$1|a|:2|").await;
    shard.ask("SSUBSCRIBE a", ">3|$10|ssubscribe|$1|a|:1|").await;
    asker.ask("SPUBLISH a one", ":1|").await;
    shard.expect(">3|$8|smessage|$1|a|$3|one|").await;
    asker.ask("PUBLISH a two", ":2|").await;
    shard.expect_nothing().await;
    asker.ask("PUBSUB CHANNELS", "*1|$1|a|").await;
    asker.ask("PUBSUB CHANNELS b*", "*0|").await;
    asker.ask("PUBSUB SHARDCHANNELS", "*1|$1|a|").await;
    asker.ask("PUBSUB NUMSUB a b", "*4|$1|a|:1|$1|b|:0|").await;
    asker.ask("PUBSUB SHARDNUMSUB a", "*2|$1|a|:1|").await;
    asker.ask("PUBSUB NUMPAT", ":1|").await;
    server.stop().await;
}

#[tokio::test]
async fn replies_and_messages_keep_the_order_in_which_they_came_about() {
    let server = Server::start().await;
    let mut client = resp3(&server).await;
    let lines = ["SUBSCRIBE a", "PUBLISH a 1", "ECHO x", "UNSUBSCRIBE a", "PUBLISH a 2", "PING"];
    client.send(&lines.map(words).concat()).await;
    client
        .expect(
            ">3|$9|subscribe|$1|a|:1|:1|>3|$7|message|$1|a|$1|1|$1|x|>3|$11|unsubscribe|$1|a|:0|:0|+PONG|",
        )
        .await;
    // What another has published before a reply is heard before it, round after round.
    let mut other = server.client().await;
    client.ask("SUBSCRIBE b", ">3|$9|subscribe|$1|b|:1|").await;
    for round in 10..60 {
        other.ask(&format!("PUBLISH b {round}"), ":1|").await;
        client.say("PING").await;
        client.expect(&format!(">3|$7|message|$1|b|$2|{round}|+PONG|")).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_the_protocol_changes_what_comes_after_it_only() {
    let server = Server::start().await;
    let mut client = resp3(&server).await;
    client.ask("SUBSCRIBE a", ">3|$9|subscribe|$1|a|:1|").await;
    client.send(&[words("PUBLISH a 1"), words("HELLO 2")].concat()).await;
    client.expect(":1|>3|$7|message|$1|a|$1|1|*14|$6|server|").await;
    client.through("$7|modules|*0|").await;
    let mut other = server.client().await;
    other.ask("PUBLISH a 2", ":1|").await;
    client.ask("PING", "*3|$7|message|$1|a|$1|2|*2|$4|pong|$0||").await;
    server.stop().await;
}

#[tokio::test]
async fn pipelined_messages_are_all_heard_in_order() {
    let server = Server::start().await;
    let (mut listener, mut publisher) = (server.client().await, server.client().await);
    listener.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    let count = 20_000;
    let sent: Vec<u8> = (0..count).flat_map(|index| words(&format!("PUBLISH a m{index:06}"))).collect();
    let sending = async {
        publisher.send(&sent).await;
        assert_eq!(publisher.bytes(4 * count).await, b":1\r\n".repeat(count));
    };
    let hearing = async {
        for index in 0..count {
            let expected = format!("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$7\r\nm{index:06}\r\n").into_bytes();
            assert_eq!(shown(&listener.bytes(expected.len()).await), shown(&expected));
        }
    };
    tokio::join!(sending, hearing);
    server.stop().await;
}

#[tokio::test]
async fn confirmations_come_though_replies_are_off() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let lines = ["CLIENT REPLY OFF", "PING", "SUBSCRIBE a", "PING", "UNSUBSCRIBE", "CLIENT REPLY ON"];
    client.send(&lines.map(words).concat()).await;
    client.expect("*3|$9|subscribe|$1|a|:1|*3|$11|unsubscribe|$1|a|:0|+OK|").await;
    server.stop().await;
}

/// Fills what may wait for a subscriber that does not read, until it is cut off.
async fn overwhelm(server: &Server, publisher: &mut Client) {
    let message = request(&[b"PUBLISH", b"a", &[b'x'; 100_000]]);
    for _ in 0..2_000 {
        publisher.send(&message).await;
        let heard = publisher.bytes(4).await;
        assert!(heard == b":1\r\n" || heard == b":0\r\n");
        if server.frontend.stats().subscribers_cut > 0 {
            return;
        }
    }
    panic!("200 MB wait for one subscriber");
}

#[tokio::test]
async fn a_subscriber_for_whom_too_much_waits_is_closed_without_a_word_and_nobody_else_notices() {
    let options = RedisOptions { buffer_hard_bytes: 2 << 20, ..RedisOptions::default() };
    let server = Server::with(options, Limits::default()).await;
    let (mut deaf, mut healthy, mut publisher) =
        (server.client().await, server.client().await, server.client().await);
    deaf.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    healthy.ask("SUBSCRIBE b", "*3|$9|subscribe|$1|b|:1|").await;
    overwhelm(&server, &mut publisher).await;
    publisher.ask("PUBLISH b x", ":1|").await;
    healthy.expect("*3|$7|message|$1|b|$1|x|").await;
    // It gets what was on its way, in whole or cut, and then the end.
    let rest = deaf.rest().await;
    assert!(rest.is_empty() || rest.starts_with(b"*3\r\n$7\r\nmessage"), "{}", rest.len());
    server.until(|server| server.frontend.stats().connections == 2).await;
    publisher.ask("PUBLISH a x", ":0|").await;
    let info = publisher.text("INFO stats").await;
    assert!(info.contains("client_output_buffer_limit_disconnections:1\r\n"), "{info}");
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn the_soft_bound_may_be_passed_for_a_while() {
    let options =
        RedisOptions { buffer_soft_bytes: 1 << 20, buffer_soft_ms: 10_000, ..RedisOptions::default() };
    let server = Server::with(options, Limits::default()).await;
    let (mut deaf, mut publisher) = (server.client().await, server.client().await);
    deaf.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    let message = request(&[b"PUBLISH", b"a", &[b'x'; 100_000]]);
    let is_past = |client: &str| {
        let field = client.split("omem=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        field.parse::<usize>().unwrap() > 2 << 20
    };
    let mut sent = 0;
    while !is_past(&publisher.text("CLIENT LIST TYPE pubsub").await) {
        publisher.send(&message).await;
        publisher.expect(":1|").await;
        sent += 1;
        assert!(sent < 1_000, "100 MB are nowhere");
    }
    server.clock.advance(9_000);
    publisher.send(&message).await;
    publisher.expect(":1|").await;
    assert_eq!(server.frontend.stats().subscribers_cut, 0);
    server.clock.advance(2_000);
    publisher.send(&message).await;
    publisher.expect(":1|").await;
    server.until(|server| server.frontend.stats().subscribers_cut == 1).await;
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_only_asks_and_never_reads_is_bounded_too() {
    let options = RedisOptions { buffer_hard_bytes: 1 << 20, ..RedisOptions::default() };
    let server = Server::with(options, Limits::default()).await;
    let (mut deaf, mut publisher) = (resp3(&server).await, server.client().await);
    deaf.ask("SUBSCRIBE a", ">3|$9|subscribe|$1|a|:1|").await;
    let asked = request(&[b"ECHO", &[b'x'; 50_000]]);
    let message = request(&[b"PUBLISH", b"a", &[b'y'; 50_000]]);
    for _ in 0..2_000 {
        if server.frontend.stats().subscribers_cut > 0 || server.frontend.stats().connections < 2 {
            break;
        }
        // Taken as far as the server reads; it may have closed.
        let _ =
            tokio::time::timeout(std::time::Duration::from_millis(20), deaf.stream.write_all(&asked)).await;
        publisher.send(&message).await;
        publisher.bytes(4).await;
    }
    assert_eq!(server.frontend.stats().subscribers_cut, 1);
    drop(deaf);
    server.stop().await;
}

/// Within its bounds one who reads nothing keeps nobody from publishing for more than a moment.
#[tokio::test]
async fn a_subscriber_that_does_not_move_holds_nobody_up() {
    let server = Server::start().await;
    let (mut deaf, mut publisher) = (server.client().await, server.client().await);
    deaf.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    let messages = request(&[b"PUBLISH", b"a", &[b'x'; 1_000]]).repeat(1_000);
    for _ in 0..20 {
        publisher.send(&messages).await;
        assert_eq!(publisher.bytes(4_000).await, b":1\r\n".repeat(1_000));
    }
    assert_eq!(server.frontend.stats().subscribers_cut, 0);
    drop(deaf);
    server.stop().await;
}

#[tokio::test]
async fn channels_are_the_subjects_of_all_protocols() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask("SUBSCRIBE a.b", "*3|$9|subscribe|$3|a.b|:1|").await;
    let mut publisher = server.session.publisher(None);
    let message = Message { subject: b"a.b", reply: b"answers", headers: b"\r\na: b\r\n\r\n", payload: b"x" };
    assert_eq!(publisher.publish(message), Ok(1));
    let _ = publisher.flush();
    client.expect("*3|$7|message|$3|a.b|$1|x|").await;
    let options = ListenerOptions {
        bytes_max: 1 << 20,
        messages_max: 1_000,
        soft: None,
        overflow: Overflow::Cut,
        own: true,
        carries: |_| true,
    };
    let listener = server.session.listen(options);
    let tokens = vec![duolog_broker::live::Token::Rest];
    listener.subscribe(Pattern::tokens(tokens), None, Tag::default()).unwrap();
    client.ask("RESET", "+RESET|").await;
    client.ask("PUBLISH a.b y", ":1|").await;
    client.ask("SPUBLISH a.b y", ":0|").await;
    drop(listener);
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_channels_leave_nothing_behind() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for client in 0..20 {
        let mut it = server.client().await;
        for channel in 0..50 {
            it.ask(
                &format!("SUBSCRIBE c{client:02}{channel:02}"),
                &format!("*3|$9|subscribe|$5|c{client:02}{channel:02}|:{}|", channel + 1),
            )
            .await;
        }
        clients.push(it);
    }
    assert_eq!(server.session.live().stats().subscriptions, 1_000);
    drop(clients);
    server.until(|server| server.session.live().stats().subscriptions == 0).await;
    server.stop().await;
}
