//! Commands about connections and the server, over real sockets.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, Server, words};

/// A field of a line of CLIENT LIST.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {line}")).trim_end()
}

async fn info(client: &mut Client) -> String {
    client.text("CLIENT INFO").await
}

#[tokio::test]
async fn a_client_names_itself_and_others_see_it() {
    let server = Server::start().await;
    let (mut one, mut other) = (server.client().await, server.client().await);
    one.ask("CLIENT GETNAME", "$-1|").await;
    one.ask("CLIENT SETNAME worker", "+OK|").await;
    one.ask("CLIENT GETNAME", "$6|worker|").await;
    one.ask("CLIENT SETINFO LIB-NAME some-lib", "+OK|").await;
    one.ask("CLIENT SETINFO lib-ver 1.2", "+OK|").await;
    one.ask("CLIENT NO-EVICT ON", "+OK|").await;
    one.ask("CLIENT NO-TOUCH on", "+OK|").await;
    one.ask("SELECT 3", "+OK|").await;
    one.ask("SUBSCRIBE a b", "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|").await;
    server.clock.advance(7_000);
    let list = other.text("CLIENT LIST TYPE pubsub").await;
    let line = list.lines().next().unwrap();
    for (name, value) in [
        ("name", "worker"),
        ("lib-name", "some-lib"),
        ("lib-ver", "1.2"),
        ("flags", "PeT"),
        ("db", "3"),
        ("sub", "2"),
        ("psub", "0"),
        ("age", "7"),
        ("idle", "7"),
        ("resp", "2"),
        ("cmd", "subscribe"),
        ("user", "default"),
        ("laddr", &server.address.to_string()),
    ] {
        assert_eq!(field(line, name), value, "{name}");
    }
    one.ask("RESET", "+RESET|").await;
    one.ask("CLIENT GETNAME", "$-1|").await;
    assert_eq!(field(&info(&mut one).await, "flags"), "N");
    assert_eq!(field(&info(&mut one).await, "cmd"), "client|info");
    server.stop().await;
}

#[tokio::test]
async fn clients_are_ended_by_what_they_are() {
    let server = Server::start().await;
    let mut killer = server.client().await;
    killer.ask("CLIENT KILL 1.1.1.1:1", "-ERR No such client|").await;
    killer.ask("CLIENT KILL ID 999", ":0|").await;
    let mut by_address = server.client().await;
    by_address.ask("PING", "+PONG|").await;
    let address = by_address.stream.local_addr().unwrap();
    killer.ask(&format!("CLIENT KILL {address}"), "+OK|").await;
    by_address.expect_closed().await;

    let mut by_id = server.client().await;
    let id = field(&info(&mut by_id).await, "id").to_owned();
    killer
        .ask(&format!("CLIENT KILL ID {id} TYPE normal USER default LADDR {}", server.address), ":1|")
        .await;
    by_id.expect_closed().await;

    let mut old = server.client().await;
    old.ask("PING", "+PONG|").await;
    server.clock.advance(10_000);
    let mut young = server.client().await;
    young.ask("PING", "+PONG|").await;
    killer.ask("CLIENT KILL MAXAGE 5", ":1|").await;
    old.expect_closed().await;
    young.ask("PING", "+PONG|").await;
    server.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_waits_is_ended_at_once() {
    let server = Server::start().await;
    let (mut killer, mut waiting) = (server.client().await, server.client().await);
    waiting.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    killer.ask("CLIENT KILL TYPE pubsub SKIPME yes", ":1|").await;
    waiting.expect_closed().await;
    server.until(|server| server.frontend.stats().connections == 1).await;
    killer.ask("PUBLISH a x", ":0|").await;
    killer.ask("CLIENT KILL TYPE normal", ":0|").await;
    // Who ends itself is still told.
    killer.ask("CLIENT KILL SKIPME no", ":1|").await;
    killer.expect_closed().await;
    assert_eq!(server.frontend.stats().subscribers_cut, 0);
    server.stop().await;
}

#[tokio::test]
async fn replies_can_be_switched_off_and_skipped() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (lines, expected) in [
        (&["CLIENT REPLY OFF", "PING", "FOO", "PUBLISH a b", "CLIENT REPLY ON"][..], "+OK|"),
        (&["CLIENT REPLY SKIP", "PING", "ECHO x"], "$1|x|"),
        (&["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "ECHO y"], "$1|y|"),
        (&["CLIENT REPLY SKIP", "CLIENT REPLY ON"], "+OK|"),
        (&["CLIENT REPLY OFF", "RESET", "PING"], "+RESET|+PONG|"),
        (&["CLIENT REPLY SKIP", "RESET", "PING"], "+PONG|"),
        (&["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON", "ECHO z"], "+OK|$1|z|"),
    ] {
        client.send(&lines.iter().flat_map(|line| words(line)).collect::<Vec<_>>()).await;
        client.expect(expected).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_is_greeted_in_the_protocol_it_asks_for() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask("HELLO", "*14|$6|server|$5|redis|$7|version|$5|7.4.0|$5|proto|:2|$2|id|:1|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|").await;
    client.ask("HELLO 3 AUTH default any SETNAME it", "%7|$6|server|$5|redis|$7|version|$5|7.4.0|$5|proto|:3|$2|id|:1|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|").await;
    client.ask("CLIENT GETNAME", "$2|it|").await;
    client
        .ask(
            "HELLO 3 AUTH other any SETNAME no",
            "-WRONGPASS invalid username-password pair or user is disabled.|",
        )
        .await;
    client.ask("CLIENT GETNAME", "$2|it|").await;
    client.ask("CLIENT GETREDIR", ":-1|").await;
    client.ask("CONFIG GET databases", "%1|$9|databases|$2|16|").await;
    client.ask("COMMAND INFO ping foo", "*2|*10|$4|ping|:-1|~1|+fast|:0|:0|:0|~2|+@fast|+@connection|~2|$25|request_policy:all_shards|$29|response_policy:all_succeeded|~0|~0|_|").await;
    client.ask("AUTH default x", "+OK|").await;
    client.ask("AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?|").await;
    client.ask("RESET", "+RESET|").await;
    client.ask("CONFIG GET databases", "*2|$9|databases|$2|16|").await;
    client.ask("QUIT", "+OK|").await;
    client.expect_closed().await;
    server.stop().await;
}

#[tokio::test]
async fn settings_are_told_and_the_bounds_of_subscribers_changed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask("CONFIG GET max* TIMEOUT", "*8|$10|maxclients|$5|10000|$9|maxmemory|$1|0|$16|maxmemory-policy|$10|noeviction|$7|timeout|$1|0|").await;
    client.ask("CONFIG GET nothing", "*0|").await;
    client
        .ask(
            "CONFIG SET timeout 0 save x",
            "-ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config|",
        )
        .await;
    let set = common::request(&[
        b"CONFIG",
        b"SET",
        b"timeout",
        b"0",
        b"client-output-buffer-limit",
        b"pubsub 1mb 512kb 3",
    ]);
    client.send(&set).await;
    client.expect("+OK|").await;
    client
        .ask(
            "CONFIG GET client-output-buffer-limit",
            "*2|$26|client-output-buffer-limit|$64|normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 524288 3|",
        )
        .await;
    client.ask("CONFIG REWRITE", "-ERR The server is running without a config file|").await;
    server.stop().await;
}

#[tokio::test]
async fn info_tells_what_is_true() {
    let server = Server::start().await;
    let (mut client, mut listener) = (server.client().await, server.client().await);
    listener.ask("PSUBSCRIBE a*", "*3|$10|psubscribe|$2|a*|:1|").await;
    listener.ask("SUBSCRIBE b", "*3|$9|subscribe|$1|b|:2|").await;
    server.clock.advance(90_000_000);
    let text = client.text("INFO").await;
    for line in [
        "# Server",
        "redis_version:7.4.0",
        "product:duolog",
        "redis_mode:standalone",
        &format!("tcp_port:{}", server.address.port()),
        "uptime_in_seconds:90000",
        "uptime_in_days:1",
        "connected_clients:2",
        "pubsub_clients:1",
        "maxmemory_policy:noeviction",
        "loading:0",
        "role:master",
        "connected_slaves:0",
        "pubsub_channels:1",
        "pubsub_patterns:1",
        "cluster_enabled:0",
        "# Keyspace",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
    }
    assert_eq!(client.text("INFO nothing").await, "\r\n");
    assert!(client.text("INFO replication").await.starts_with("# Replication\r\nrole:master\r\n"));
    client.ask("CONFIG RESETSTAT", "+OK|").await;
    assert!(client.text("INFO stats").await.contains("total_connections_received:0\r\n"));
    client.ask("TIME", "*2|$10|1750090000|$1|0|").await;
    server.stop().await;
}

#[tokio::test]
async fn a_cluster_is_denied_as_by_a_plain_server() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for line in ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER SHARDS", "READONLY", "READWRITE", "ASKING"] {
        client.ask(line, "-ERR This instance has cluster support disabled|").await;
    }
    client.ask("CLUSTER foo", "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.|").await;
    client
        .ask("SENTINEL masters", "-ERR unknown command 'SENTINEL', with args beginning with: 'masters' |")
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_sends_what_it_owes() {
    let server = Server::start().await;
    let (mut client, mut listener) = (server.client().await, server.client().await);
    listener.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    client.ask("PUBLISH a last", ":1|").await;
    listener.expect("*3|$7|message|$1|a|$4|last|").await;
    server.stop().await;
    client.expect_closed().await;
    listener.expect_closed().await;
}
