//! What no client should send. Each row: the connection gets exactly what nats-server answers and is closed or stays open as
//! there, the memory comes back, and a client beside it is served as if nothing were.
#![allow(clippy::unwrap_used)]

mod common;

use common::{QUIET, Server};

const PEDANTIC: &str = "CONNECT {\"verbose\":false,\"pedantic\":true,\"headers\":true}\r\n";
const VERBOSE: &str = "CONNECT {\"verbose\":true,\"pedantic\":false,\"headers\":true}\r\n";

const UNKNOWN: &str = "-ERR 'Unknown Protocol Operation'\r\n";
const LINE: &str = "-ERR 'maximum control line exceeded'\r\n";
const PAYLOAD: &str = "-ERR 'Maximum Payload Violation'\r\n";
const SUBJECT: &str = "-ERR 'Invalid Subject'\r\n";
const PUBLISH: &str = "-ERR 'Invalid Publish Subject'\r\n";

/// What comes of a row.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Closed,
    Open,
}
use Then::{Closed, Open};

type Row = (&'static str, Vec<u8>, &'static str, Then);

/// After a quiet CONNECT.
fn quiet(name: &'static str, text: impl AsRef<[u8]>, expected: &'static str, then: Then) -> Row {
    (name, [QUIET.as_bytes(), text.as_ref()].concat(), expected, then)
}

fn first(name: &'static str, text: impl AsRef<[u8]>, expected: &'static str, then: Then) -> Row {
    (name, text.as_ref().to_vec(), expected, then)
}

/// What is no command, or no argument of one.
fn commands() -> Vec<Row> {
    let long = "a".repeat(5000);
    vec![
        first("a byte that begins nothing", "G", UNKNOWN, Closed),
        first("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", UNKNOWN, Closed),
        first("HTTP POST", "POST /topics HTTP/1.1\r\n\r\n", UNKNOWN, Closed),
        first("a TLS hello", [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], UNKNOWN, Closed),
        first("Redis", "*1\r\n$4\r\nPING\r\n", UNKNOWN, Closed),
        first("Kafka", [0, 0, 0, 20, 0, 18, 0, 3], UNKNOWN, Closed),
        first("zeros", [0; 64], UNKNOWN, Closed),
        quiet("an empty line", "\r\n", UNKNOWN, Closed),
        quiet("a line end alone", "\n", UNKNOWN, Closed),
        quiet("a blank before a verb", " PING\r\n", UNKNOWN, Closed),
        quiet("a verb that goes on", "PUBa 1\r\n", UNKNOWN, Closed),
        quiet("another verb that goes on", "SUBa 1 2\r\n", UNKNOWN, Closed),
        quiet("half a verb", "CONNEC {}\r\n", UNKNOWN, Closed),
        quiet("what a server says", "MSG a 1 1\r\nx\r\n", UNKNOWN, Closed),
        quiet("what a server says with headers", "HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n", UNKNOWN, Closed),
        quiet("what routes say", "RS+ a b\r\n", UNKNOWN, Closed),
        quiet("what leaves say", "LS+ a b\r\n", UNKNOWN, Closed),
        quiet("what accounts say", "A+ a b\r\n", UNKNOWN, Closed),
        quiet("a consent that is none", "+NO\r\n", UNKNOWN, Closed),
        quiet("a complaint", "-ERR 'x'\r\n", "", Closed),
        quiet("a complaint about nothing", "-ERR\r\n", UNKNOWN, Closed),
        quiet("a complaint that is too long", format!("-ERR {long}\r\n"), LINE, Closed),
        quiet("an INFO that is none", "INFO x\r\n", "", Closed),
        quiet("an INFO that is too long", format!("INFO {long}\r\n"), LINE, Closed),
        quiet("an INFO", "INFO {\"x\":1}\r\n", "", Open),
        quiet("a PING with something behind it", "PING and more\r\n", "PONG\r\n", Open),
        quiet("an answer to no question", "PONG\r\n+OK\r\n", "", Open),
    ]
}

fn connects() -> Vec<Row> {
    let proto = "-ERR 'invalid client protocol'\r\n";
    let headers = "-ERR 'no responders requires headers support'\r\n";
    let denied = "-ERR 'Authorization Violation'\r\n";
    vec![
        first("CONNECT with nothing", "CONNECT\r\n", "", Closed),
        first("CONNECT with no JSON", "CONNECT {a}\r\n", "", Closed),
        first("CONNECT with an array", "CONNECT []\r\n", "", Closed),
        first("CONNECT with something behind", "CONNECT {} x\r\n", "", Closed),
        first("CONNECT that is not UTF-8", b"CONNECT {\"name\":\"\xff\"}\r\n", "", Closed),
        first("CONNECT nested without end", format!("CONNECT {}\r\n", "[".repeat(4000)), "", Closed),
        first("a flag that is a text", "CONNECT {\"verbose\":\"no\"}\r\n", "", Closed),
        first("a protocol that is a fraction", "CONNECT {\"protocol\":1.5}\r\n", "", Closed),
        first("a protocol of the future", "CONNECT {\"protocol\":2}\r\n", proto, Closed),
        first("a negative protocol", "CONNECT {\"protocol\":-1}\r\n", proto, Closed),
        first("no responders without headers", "CONNECT {\"no_responders\":true}\r\n", headers, Closed),
        first("an account", "CONNECT {\"account\":\"a\"}\r\n", denied, Closed),
        first(
            "a name without end",
            format!("CONNECT {{\"name\":\"{}\"}}\r\n", "x".repeat(5000)),
            LINE,
            Closed,
        ),
        first("CONNECT with null", "CONNECT null\r\n", "+OK\r\n", Open),
        first("CONNECT twice", [VERBOSE, VERBOSE].concat(), "+OK\r\n+OK\r\n", Open),
        first(
            "users where there are none",
            "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\n",
            "",
            Open,
        ),
    ]
}

fn messages() -> Vec<Row> {
    let long = "a".repeat(5000);
    vec![
        quiet("PUB with nothing", "PUB\r\n", UNKNOWN, Closed),
        quiet("PUB with a blank", "PUB \r\n", "", Closed),
        quiet("PUB without a size", "PUB a\r\n", "", Closed),
        quiet("PUB with too much", "PUB a b c 1\r\nx\r\n", "", Closed),
        quiet("a size that is no number", "PUB a x\r\nx\r\n", "", Closed),
        quiet("a negative size", "PUB a -1\r\nx\r\n", "", Closed),
        quiet("a size with a sign", "PUB a +1\r\nx\r\n", "", Closed),
        quiet("a size of ten digits", "PUB a 0000000001\r\nx\r\n", "", Closed),
        quiet("a size of twenty digits", "PUB a 99999999999999999999\r\nx\r\n", "", Closed),
        quiet("a size of nine nines", "PUB a 999999999\r\n", PAYLOAD, Closed),
        quiet("a size just above the limit", "PUB a 1048577\r\n", PAYLOAD, Closed),
        quiet("a payload longer than its size", "PUB a 1\r\nxyz\r\n", UNKNOWN, Closed),
        quiet("a payload shorter than its size", "PUB a 3\r\nx\r\nPING\r\n", UNKNOWN, Closed),
        quiet("a payload that ends in LF", "PUB a 1\r\nx\n", UNKNOWN, Closed),
        quiet("a subject that is too long", format!("PUB {long} 0\r\n\r\n"), LINE, Closed),
        quiet("a line without end", format!("PUB {}", "a".repeat(4097)), LINE, Closed),
        quiet("HPUB with nothing", "HPUB\r\n", UNKNOWN, Closed),
        quiet("HPUB with one size", "HPUB a 12\r\nNATS/1.0\r\n\r\n\r\n", "", Closed),
        quiet("HPUB with too much", "HPUB a b c 12 12\r\nNATS/1.0\r\n\r\n\r\n", "", Closed),
        quiet("headers larger than all", "HPUB a 13 12\r\nNATS/1.0\r\n\r\n\r\n", "", Closed),
        quiet("a header size that is no number", "HPUB a x 12\r\n", "", Closed),
        quiet("a message with headers that is too large", "HPUB a 12 1048577\r\n", PAYLOAD, Closed),
        first("headers before CONNECT", "HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n", "", Closed),
        quiet("an empty subject's token", "SUB > 1\r\nPUB a..b 1\r\nx\r\n", "", Open),
        quiet("a wildcard as a subject", "SUB a.* 1\r\nPUB a.> 1\r\nx\r\n", "MSG a.> 1 1\r\nx\r\n", Open),
        quiet("a header block of size 0", "SUB a 1\r\nHPUB a 0 1\r\nx\r\n", "MSG a 1 1\r\nx\r\n", Open),
        // The peer passes on what is no header block; here other protocols hear it too.
        quiet("headers that are none", "HPUB a 4 5\r\nabcdx\r\n", "-ERR 'Invalid Headers'\r\n", Open),
        quiet("headers without end", "HPUB a 10 11\r\nNATS/1.0\r\nx\r\n", "-ERR 'Invalid Headers'\r\n", Open),
        first("pedantic: a wildcard", [PEDANTIC, "PUB a.* 1\r\nx\r\n"].concat(), PUBLISH, Open),
        first("pedantic: an empty token", [PEDANTIC, "PUB a. 1\r\nx\r\n"].concat(), PUBLISH, Open),
        first(
            "pedantic from the beginning",
            "PUB .a 1\r\nx\r\n",
            "-ERR 'Invalid Publish Subject'\r\n+OK\r\n",
            Open,
        ),
    ]
}

fn subscriptions() -> Vec<Row> {
    let long = "a".repeat(5000);
    vec![
        quiet("SUB with nothing", "SUB\r\n", UNKNOWN, Closed),
        quiet("SUB without a name", "SUB a\r\n", "", Closed),
        quiet("SUB with too much", "SUB a b c d\r\n", "", Closed),
        quiet("SUB that is too long", format!("SUB {long} 1\r\n"), LINE, Closed),
        quiet("an empty token", "SUB a..b 1\r\n", SUBJECT, Open),
        quiet("a dot at the end", "SUB a. 1\r\n", SUBJECT, Open),
        quiet("a dot at the beginning", "SUB .a 1\r\n", SUBJECT, Open),
        quiet("something behind the rest", "SUB a.>.b 1\r\n", SUBJECT, Open),
        quiet("the rest at the beginning", "SUB >.a 1\r\n", SUBJECT, Open),
        quiet("a name twice", "SUB a 1\r\nSUB b..c 1\r\nPUB a 1\r\nx\r\n", "MSG a 1 1\r\nx\r\n", Open),
        quiet("UNSUB with nothing", "UNSUB\r\n", UNKNOWN, Closed),
        quiet("UNSUB with a blank", "UNSUB \r\n", "", Closed),
        quiet("UNSUB with too much", "UNSUB 1 2 3\r\n", "", Closed),
        quiet("UNSUB that is too long", format!("UNSUB {long}\r\n"), LINE, Closed),
        quiet("UNSUB of what is not there", "UNSUB 77\r\n", "", Open),
        quiet("UNSUB after no number", "SUB a 1\r\nUNSUB 1 x\r\nPUB a 1\r\nx\r\n", "", Open),
        quiet("UNSUB after less than none", "SUB a 1\r\nUNSUB 1 -5\r\nPUB a 1\r\nx\r\n", "", Open),
        quiet("a queue with wildcards", "SUB a q.*.> 1\r\nPUB a 1\r\nx\r\n", "MSG a 1 1\r\nx\r\n", Open),
        quiet(
            "what was published before nonsense is heard before its answer",
            "SUB a 1\r\nPUB a 1\r\nx\r\nFOO\r\nPUB a 1\r\ny\r\n",
            "MSG a 1 1\r\nx\r\n-ERR 'Unknown Protocol Operation'\r\n",
            Closed,
        ),
        first(
            "verbose: what fails is not confirmed",
            [VERBOSE, "SUB a..b 1\r\nUNSUB 9\r\n"].concat(),
            "+OK\r\n-ERR 'Invalid Subject'\r\n+OK\r\n",
            Open,
        ),
    ]
}

#[tokio::test]
async fn every_bad_input_is_answered_as_the_peer_answers_it() {
    let server = Server::start().await;
    let mut witness = server.client().await;
    witness.send("SUB witness 1\r\n").await;
    let rows = [commands(), connects(), messages(), subscriptions()].concat();
    assert!(rows.len() >= 80);
    for (name, text, expected, then) in rows {
        let mut client = server.connect().await;
        client.send(&text).await;
        if then == Open {
            client.send("PING\r\n").await;
        }
        let expected = [expected.as_bytes(), if then == Open { b"PONG\r\n" } else { b"" }].concat();
        if then == Closed {
            let heard = client.rest().await;
            assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
        } else {
            eprintln!("{name}");
            client.hears(&expected).await;
            client.settles().await;
        }
        witness.send("PUB witness 2\r\nok\r\n").await;
        witness.hears("MSG witness 1 2\r\nok\r\n").await;
    }
    drop(witness);
    server.stop().await;
}

/// Split anywhere, it means the same.
#[tokio::test]
async fn bad_input_that_drips_is_answered_the_same() {
    let server = Server::start().await;
    for (name, text, expected, then) in [commands(), messages()].concat() {
        if text.len() > 300 {
            continue;
        }
        let mut client = server.connect().await;
        for byte in &text {
            // Closed early: the rest goes nowhere.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[*byte]).await;
            tokio::task::yield_now().await;
        }
        if then == Open {
            eprintln!("{name}");
            client.hears(expected).await;
            client.settles().await;
        } else {
            // Its text may be lost where bytes were sent to a closed connection.
            client.rest().await;
        }
    }
    server.stop().await;
}
