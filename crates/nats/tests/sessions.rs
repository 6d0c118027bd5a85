//! What clients do all day, over real sockets, bytes compared.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{QUIET, Server, within};
use duolog_nats::{ConnzOptions, NatsOptions, SubszOptions};

const VERBOSE: &str = "CONNECT {\"verbose\":true,\"pedantic\":false,\"headers\":true}\r\n";
const NOBODY: &str = "16 16\r\nNATS/1.0 503\r\n\r\n\r\n";

#[tokio::test]
async fn the_server_introduces_itself() {
    let server = Server::start().await;
    let client = server.connect().await;
    let info: serde_json::Value = serde_json::from_str(&client.info["INFO ".len()..]).unwrap();
    assert_eq!(info["proto"], 1);
    assert_eq!(info["headers"], true);
    assert_eq!(info["jetstream"], false);
    assert_eq!(info["auth_required"], false);
    assert_eq!(info["max_payload"], 1 << 20);
    assert_eq!(info["client_id"], 1);
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert_eq!(info["port"], server.address.port());
    assert!(info["version"].as_str().unwrap().starts_with("2.10."));
    assert_eq!(info["server_id"].as_str().unwrap().len(), 56);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_message_reaches_all_who_listen() {
    let server = Server::start().await;
    let (mut one, mut two, mut from) = (server.client().await, server.client().await, server.client().await);
    one.send("SUB orders.* 1\r\nSUB orders.> 2\r\n").await;
    two.send("SUB orders.new a1\r\nSUB other 2\r\n").await;
    one.settles().await;
    two.settles().await;
    from.send("PUB orders.new 5\r\nhello\r\npub orders.a.b r 0\r\n\r\n").await;
    from.settles().await;
    let mut lines = Vec::new();
    for _ in 0..6 {
        lines.push(one.line().await);
    }
    lines.sort();
    let mut expected = vec![
        "MSG orders.new 1 5\r\n",
        "hello\r\n",
        "MSG orders.new 2 5\r\n",
        "hello\r\n",
        "MSG orders.a.b 2 r 0\r\n",
        "\r\n",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    two.hears("MSG orders.new a1 5\r\nhello\r\n").await;
    two.settles().await;
    drop((one, two, from));
    server.stop().await;
}

#[tokio::test]
async fn a_group_shares_and_everybody_else_hears_all() {
    let server = Server::start().await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut member = server.client().await;
        member.send("SUB work crew 1\r\nSUB done 2\r\n").await;
        member.settles().await;
        members.push(member);
    }
    let mut from = server.client().await;
    from.send("SUB work 9\r\n").await;
    for _ in 0..300 {
        from.send("PUB work 1\r\nx\r\n").await;
    }
    from.hears("MSG work 9 1\r\nx\r\n".repeat(300)).await;
    from.send("PUB done 0\r\n\r\n").await;
    from.settles().await;
    let mut counts = Vec::new();
    for member in &mut members {
        let mut count = 0;
        while member.line().await == "MSG work 1 1\r\n" {
            member.hears("x\r\n").await;
            count += 1;
        }
        counts.push(count);
    }
    assert_eq!(counts.iter().sum::<u32>(), 300, "{counts:?}");
    assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
    drop((members, from));
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_answered_by_whoever_listens_and_by_nobody_else() {
    let server = Server::start().await;
    let (mut service, mut client) = (server.client().await, server.client().await);
    client.send("SUB _INBOX.x.* 1\r\n").await;
    client.send("PUB time _INBOX.x.1 0\r\n\r\n").await;
    client.hears(format!("HMSG _INBOX.x.1 1 {NOBODY}")).await;
    client.send("HPUB $JS.API.INFO _INBOX.x.2 12 12\r\nNATS/1.0\r\n\r\n\r\n").await;
    client.hears(format!("HMSG _INBOX.x.2 1 {NOBODY}")).await;
    service.send("SUB time q 1\r\n").await;
    service.settles().await;
    client.send("PUB time _INBOX.x.3 0\r\n\r\n").await;
    service.hears("MSG time 1 _INBOX.x.3 0\r\n\r\n").await;
    service.send("PUB _INBOX.x.3 4\r\nnoon\r\n").await;
    client.hears("MSG _INBOX.x.3 1 4\r\nnoon\r\n").await;
    client.settles().await;
    // Who did not ask for it is told nothing.
    let mut old = server.connect().await;
    old.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB r 1\r\nPUB nobody r 0\r\n\r\n").await;
    old.settles().await;
    drop((service, client, old));
    server.stop().await;
}

#[tokio::test]
async fn headers_go_to_those_who_understand_them() {
    let server = Server::start().await;
    let (mut new, mut old) = (server.client().await, server.connect().await);
    new.send("SUB h 1\r\n").await;
    old.send("CONNECT {\"verbose\":false}\r\nSUB h 1\r\n").await;
    old.settles().await;
    new.send("HPUB h r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n").await;
    new.hears("HMSG h 1 r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n").await;
    old.hears("MSG h 1 r 2\r\nhi\r\n").await;
    new.send("HPUB h 12 12\r\nNATS/1.0\r\n\r\n\r\n").await;
    new.hears("HMSG h 1 12 12\r\nNATS/1.0\r\n\r\n\r\n").await;
    old.hears("MSG h 1 0\r\n\r\n").await;
    drop((new, old));
    server.stop().await;
}

#[tokio::test]
async fn a_verbose_client_hears_of_each_command_in_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send([VERBOSE, "SUB a 1\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\nUNSUB 1\r\nPING\r\n"].concat()).await;
    let expected = "+OK\r\n+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n+OK\r\nMSG a 1 1\r\ny\r\n+OK\r\nPONG\r\n";
    client.hears(expected).await;
    // As is one that has not said anything.
    let mut silent = server.connect().await;
    silent.send("PUB a 1\r\nx\r\nSUB a 1\r\n").await;
    silent.hears("+OK\r\n+OK\r\n").await;
    drop((client, silent));
    server.stop().await;
}

#[tokio::test]
async fn without_echo_one_hears_others_alone() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.connect().await, server.client().await);
    client.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n").await;
    client.settles().await;
    other.send("PUB a 1\r\ny\r\n").await;
    client.hears("MSG a 1 1\r\ny\r\n").await;
    drop((client, other));
    server.stop().await;
}

#[tokio::test]
async fn a_subscription_ends_after_as_many_messages_as_asked_for() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let publish = "PUB a 1\r\nx\r\n";
    client.send(["SUB a 1\r\nUNSUB 1 2\r\n", &publish.repeat(4)].concat()).await;
    client.hears("MSG a 1 1\r\nx\r\n".repeat(2)).await;
    client.settles().await;
    // The name is free again; a number that is reached already ends it at once.
    client.send(["SUB a 1\r\n", &publish.repeat(3), "UNSUB 1 2\r\n", &publish.repeat(2)].concat()).await;
    client.hears("MSG a 1 1\r\nx\r\n".repeat(3)).await;
    client.settles().await;
    client.send(["SUB a 2\r\nUNSUB 2 1\r\nUNSUB 2 3\r\n", &publish.repeat(5)].concat()).await;
    client.hears("MSG a 2 1\r\nx\r\n".repeat(3)).await;
    client.settles().await;
    // Of a group, the other one goes on.
    client.send("SUB g q 1\r\nUNSUB 1 1\r\nSUB g q 2\r\nUNSUB 2 2\r\n").await;
    client.send("PUB g 0\r\n\r\n".repeat(5)).await;
    let mut heard = 0;
    while client.line().await.starts_with("MSG g ") {
        client.hears("\r\n").await;
        heard += 1;
        if heard == 3 {
            break;
        }
    }
    client.settles().await;
    assert_eq!(server.frontend.subsz(&SubszOptions::default()).num_subscriptions, 0);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn large_messages_come_whole_however_they_are_sent() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send("SUB big 1\r\n").await;
    let payload = "0123456789abcdef".repeat(1 << 16);
    let message = format!("PUB big 1048576\r\n{payload}\r\n");
    let (head, tail) = message.split_at(500_000);
    client.send(head).await;
    client.send(tail).await;
    client.hears(format!("MSG big 1 1048576\r\n{payload}\r\n")).await;
    client.settles().await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server =
        Server::with(NatsOptions { connections_max: 1, lame_duck: Duration::ZERO, ..NatsOptions::default() })
            .await;
    let mut first = server.client().await;
    let mut second = server.connect().await;
    assert_eq!(second.rest().await, b"-ERR 'maximum connections exceeded'\r\n");
    first.settles().await;
    drop(first);
    within(async {
        while server.frontend.totals().connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut third = server.client().await;
    third.settles().await;
    drop(third);
    server.stop().await;
}

#[tokio::test]
async fn a_subscription_too_many_is_refused_and_nothing_else() {
    let options =
        NatsOptions { subscriptions_max: Some(2), lame_duck: Duration::ZERO, ..NatsOptions::default() };
    let server = Server::with(options).await;
    let mut client = server.client().await;
    client.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nUNSUB 1\r\nSUB d 4\r\nPUB d 0\r\n\r\n").await;
    client.hears("-ERR 'maximum subscriptions exceeded'\r\nMSG d 4 0\r\n\r\n").await;
    client.settles().await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn one_who_does_not_answer_is_given_up() {
    let options = NatsOptions { ping_interval: Duration::from_millis(100), ..NatsOptions::default() };
    let server = Server::with(options).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.rest().await, b"PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    assert_eq!(server.frontend.totals().stale_connections, 1);
    // Who answers stays.
    let mut client = server.connect().await;
    for _ in 0..5 {
        client.hears("PING\r\n").await;
        client.send("PONG\r\n").await;
    }
    drop(client);
    server.stop().await;
}

/// Publishes to somebody who reads nothing until that one is cut off; a third hears all.
#[tokio::test]
async fn one_who_is_slow_is_cut_off_and_told_why() {
    let options =
        NatsOptions { pending_bytes_max: 1 << 20, lame_duck: Duration::ZERO, ..NatsOptions::default() };
    let server = Server::with(options).await;
    let (mut slow, mut healthy, mut from) =
        (server.client().await, server.client().await, server.client().await);
    slow.send("SUB flood 1\r\n").await;
    slow.settles().await;
    healthy.send("SUB flood 1\r\n").await;
    healthy.settles().await;
    let payload = "x".repeat(100_000);
    let mut sent = 0;
    while server.frontend.totals().slow_consumers == 0 {
        from.send(format!("PUB flood 100000\r\n{payload}\r\n")).await;
        healthy.hears(format!("MSG flood 1 100000\r\n{payload}\r\n")).await;
        sent += 1;
        assert!(sent < 1000, "nobody is cut off");
    }
    let heard = slow.rest().await;
    assert!(heard.len() < sent * payload.len());
    assert!(heard.ends_with(b"\r\n-ERR 'Slow Consumer'\r\n"), "{}", heard[heard.len() - 50..].escape_ascii());
    healthy.settles().await;
    drop((healthy, from));
    server.stop().await;
}

/// One who reads nothing, and whose time is not over, keeps nobody from publishing for more than a moment.
#[tokio::test]
async fn one_who_does_not_move_holds_nobody_up() {
    let options = NatsOptions { write_deadline: Duration::from_secs(3600), ..NatsOptions::default() };
    let server = Server::with(options).await;
    let (mut slow, mut from) = (server.client().await, server.client().await);
    slow.send("SUB flood 1\r\n").await;
    slow.settles().await;
    let messages = format!("PUB flood 1000\r\n{}\r\n", "x".repeat(1000)).repeat(1000);
    for _ in 0..20 {
        from.send(&messages).await;
    }
    from.settles().await;
    assert_eq!(server.frontend.totals().slow_consumers, 0);
    drop((slow, from));
    server.stop().await;
}

#[tokio::test]
async fn one_who_takes_nothing_for_too_long_is_cut_off() {
    let options = NatsOptions { write_deadline: Duration::from_millis(50), ..NatsOptions::default() };
    let server = Server::with(options).await;
    let (mut slow, mut from) = (server.client().await, server.client().await);
    slow.send("SUB flood 1\r\n").await;
    slow.settles().await;
    let message = format!("PUB flood 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    within(async {
        while server.frontend.totals().slow_consumers == 0 {
            from.send(&message).await;
        }
    })
    .await;
    slow.rest().await;
    drop((slow, from));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_says_so_to_those_who_understand_it() {
    let server =
        Server::with(NatsOptions { lame_duck: Duration::from_millis(700), ..NatsOptions::default() }).await;
    let (mut new, mut old, mut drained) =
        (server.client().await, server.connect().await, server.client().await);
    old.send("CONNECT {\"verbose\":false,\"protocol\":0}\r\n").await;
    for client in [&mut new, &mut old, &mut drained] {
        client.send("SUB a 1\r\n").await;
        client.settles().await;
    }
    server.shutdown.begin();
    assert_eq!(old.rest().await, b"");
    let info = drained.line().await;
    assert!(info.starts_with("INFO {") && info.contains("\"ldm\":true"), "{info}");
    // It still serves.
    drained.send("PUB a 2\r\nhi\r\n").await;
    drained.hears("MSG a 1 2\r\nhi\r\n").await;
    drop(drained);
    assert!(new.line().await.contains("\"ldm\":true"));
    new.hears("MSG a 1 2\r\nhi\r\n").await;
    assert_eq!(new.rest().await, b"");
    server.stop().await;
}

#[tokio::test]
async fn a_subject_of_another_protocol_that_has_no_form_here_is_not_heard() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send("SUB > 1\r\n").await;
    client.settles().await;
    let mut other = server.session.publisher(None);
    for subject in [&b"a b"[..], b"a\r\nb", b"", b"a..b", b"fine"] {
        let message = duolog_broker::live::Message { subject, reply: b"", headers: b"", payload: b"x" };
        other.publish(message).unwrap();
    }
    let _ = other.flush();
    client.hears("MSG fine 1 1\r\nx\r\n").await;
    client.settles().await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn operators_see_who_is_there() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let about = QUIET.replace('}', ",\"name\":\"n\",\"lang\":\"rust\",\"version\":\"1\"}");
    client.send([&about, "SUB a.> q 7\r\nSUB b 8\r\nPUB a.b 3\r\nabc\r\nPUB c 1\r\nx\r\n"].concat()).await;
    client.hears("MSG a.b 7 3\r\nabc\r\n").await;
    client.settles().await;
    let varz = serde_json::to_value(server.frontend.varz()).unwrap();
    assert_eq!((&varz["connections"], &varz["subscriptions"]), (&1.into(), &2.into()));
    assert_eq!((&varz["in_msgs"], &varz["in_bytes"]), (&2.into(), &4.into()));
    assert_eq!((&varz["out_msgs"], &varz["out_bytes"]), (&1.into(), &3.into()));
    assert_eq!(varz["start"], "2025-06-15T15:06:40Z");
    assert_eq!(varz["ping_interval"], 120_000_000_000_u64);
    let options = ConnzOptions { subs: Some("detail".to_owned()), ..ConnzOptions::default() };
    let connz = serde_json::to_value(server.frontend.connz(&options)).unwrap();
    let conn = &connz["connections"][0];
    assert_eq!((&conn["cid"], &conn["name"], &conn["lang"]), (&1.into(), &"n".into(), &"rust".into()));
    assert_eq!(conn["subscriptions"], 2);
    let mut details: Vec<String> =
        conn["subscriptions_list_detail"].as_array().unwrap().iter().map(ToString::to_string).collect();
    details.sort();
    assert_eq!(
        details,
        [
            r#"{"cid":1,"msgs":0,"sid":"8","subject":"b"}"#,
            r#"{"cid":1,"msgs":1,"qgroup":"q","sid":"7","subject":"a.>"}"#,
        ]
    );
    let options = ConnzOptions { cid: Some(9), ..ConnzOptions::default() };
    assert_eq!(server.frontend.connz(&options).total, 0);
    let subsz =
        server.frontend.subsz(&SubszOptions { subs: Some("1".to_owned()), ..SubszOptions::default() });
    assert_eq!(subsz.subscriptions_list.unwrap().len(), 2);
    assert_eq!(server.frontend.healthz().status, "ok");
    drop(client);
    server.stop().await;
}
