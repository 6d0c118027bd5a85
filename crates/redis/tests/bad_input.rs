//! What no client should send. Each row: the connection gets Redis's own error, is closed if Redis would close it, the memory
//! comes back, and a client beside it is served as if nothing were.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, Server, request, shown, words};
use duolog_net::Limits;
use duolog_redis::RedisOptions;
use tokio::io::AsyncWriteExt;

/// What is answered, and whether the connection is closed then.
enum Then {
    Closes(&'static str),
    Answers(&'static str),
}

use Then::{Answers, Closes};

fn well_mixed(count: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

const COUNT: &str = "-ERR Protocol error: invalid multibulk length|";
const LENGTH: &str = "-ERR Protocol error: invalid bulk length|";
const QUOTES: &str = "-ERR Protocol error: unbalanced quotes in request|";
const CANNOT: &str =
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

/// Bytes that are no requests.
fn protocol_table() -> Vec<(&'static str, Vec<u8>, Then)> {
    let long = |head: &str| [head.as_bytes(), &[b'1'; 70_000]].concat();
    vec![
        ("a number of arguments that is none", b"*x\r\n".to_vec(), Closes(COUNT)),
        ("no number of arguments", b"*\r\n".to_vec(), Closes(COUNT)),
        ("a number with a plus", b"*+1\r\n$4\r\nPING\r\n".to_vec(), Closes(COUNT)),
        ("a number with a zero in front", b"*01\r\n$4\r\nPING\r\n".to_vec(), Closes(COUNT)),
        ("a number with a space", b"*1 \r\n$4\r\nPING\r\n".to_vec(), Closes(COUNT)),
        ("a number ended otherwise", b"*1\nx$4\r\nPING\r\n".to_vec(), Closes(COUNT)),
        ("a million and one arguments", b"*1048577\r\n".to_vec(), Closes(COUNT)),
        ("two billion arguments", b"*2147483648\r\n".to_vec(), Closes(COUNT)),
        ("more arguments than a number holds", b"*99999999999999999999\r\n".to_vec(), Closes(COUNT)),
        ("a number that does not end", long("*"), Closes("-ERR Protocol error: too big mbulk count string|")),
        (
            "a length that does not end",
            long("*1\r\n$"),
            Closes("-ERR Protocol error: too big bulk count string|"),
        ),
        (
            "a line that does not end",
            vec![b'a'; 70_000],
            Closes("-ERR Protocol error: too big inline request|"),
        ),
        (
            "an argument of another type",
            b"*1\r\n+PING\r\n".to_vec(),
            Closes("-ERR Protocol error: expected '$', got '+'|"),
        ),
        (
            "an array in an array",
            b"*1\r\n*1\r\n$4\r\nPING\r\n".to_vec(),
            Closes("-ERR Protocol error: expected '$', got '*'|"),
        ),
        (
            "arrays as deep as they come",
            b"*1\r\n".repeat(10_000),
            Closes("-ERR Protocol error: expected '$', got '*'|"),
        ),
        (
            "an empty line for an argument",
            b"*1\r\n\r\n".to_vec(),
            Closes("-ERR Protocol error: expected '$', got ' '|"),
        ),
        (
            "a map for an argument",
            b"*1\r\n%1\r\n".to_vec(),
            Closes("-ERR Protocol error: expected '$', got '%'|"),
        ),
        ("an argument of less than nothing", b"*1\r\n$-1\r\n".to_vec(), Closes(LENGTH)),
        ("a length that is none", b"*1\r\n$x\r\n".to_vec(), Closes(LENGTH)),
        ("a length with a zero in front", b"*1\r\n$04\r\nPING\r\n".to_vec(), Closes(LENGTH)),
        ("a length of minus nothing", b"*1\r\n$-0\r\n".to_vec(), Closes(LENGTH)),
        ("an argument above the limit", b"*1\r\n$1048577\r\n".to_vec(), Closes(LENGTH)),
        ("an argument of four billion", b"*2\r\n$4\r\nECHO\r\n$4294967296\r\n".to_vec(), Closes(LENGTH)),
        ("a quote that is not closed", b"PING \"a\r\n".to_vec(), Closes(QUOTES)),
        ("a single quote that is not closed", b"PING 'a\r\nPING\r\n".to_vec(), Closes(QUOTES)),
        ("text behind a quote", b"PING \"a\"b\r\n".to_vec(), Closes(QUOTES)),
        ("a backslash at the end of a quote", b"PING \"a\\\r\n".to_vec(), Closes(QUOTES)),
        ("HTTP POST", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Closes("")),
        (
            "HTTP GET",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            Closes("-ERR unknown command 'GET', with args beginning with: '/' 'HTTP/1.1' |"),
        ),
        (
            "requests and then none",
            b"PING\r\n*x\r\nPING\r\n".to_vec(),
            Closes("+PONG|-ERR Protocol error: invalid multibulk length|"),
        ),
        ("no arguments", b"*0\r\n*-1\r\n*-9223372036854775808\r\n\r\n\n".to_vec(), Answers("")),
        ("arguments that end otherwise", b"*1\r\n$4\r\nPINGxx".to_vec(), Answers("+PONG|")),
    ]
}

/// Requests that make no sense.
fn command_table() -> Vec<(&'static str, Vec<u8>, Then)> {
    vec![
        ("a map", b"%1\r\n".to_vec(), Answers("-ERR unknown command '%1', with args beginning with: |")),
        (
            "a command without a name",
            request(&[b""]),
            Answers("-ERR unknown command '', with args beginning with: |"),
        ),
        (
            "a name with line ends",
            request(&[b"a\r\nb", b"c\nd"]),
            Answers("-ERR unknown command 'a  b', with args beginning with: 'c d' |"),
        ),
        (
            "a name that is no text",
            request(&[b"\x01\0\x02"]),
            Answers("-ERR unknown command '\u{1}', with args beginning with: |"),
        ),
        (
            "a subcommand that is none",
            request(&[b"CLIENT", b"a\r\nb"]),
            Answers("-ERR unknown subcommand 'a  b'. Try CLIENT HELP.|"),
        ),
        (
            "a container alone",
            words("PUBSUB"),
            Answers("-ERR wrong number of arguments for 'pubsub' command|"),
        ),
        (
            "too few arguments",
            words("PUBLISH a"),
            Answers("-ERR wrong number of arguments for 'publish' command|"),
        ),
        (
            "too many arguments",
            words("PUBLISH a b c"),
            Answers("-ERR wrong number of arguments for 'publish' command|"),
        ),
        (
            "a message to the shard channels' own",
            request(&[b"PUBLISH", b"\n\xffa", b"x"]),
            Answers("-ERR channel names cannot begin with the bytes 0A FF|"),
        ),
        (
            "a channel among the shard channels' own",
            request(&[b"SUBSCRIBE", b"\n\xffa"]),
            Answers("-ERR channel names cannot begin with the bytes 0A FF|"),
        ),
        (
            "a channel that is too long",
            request(&[b"SUBSCRIBE", &[b'a'; 70_000]]),
            Answers("-ERR channel name is too long|"),
        ),
        (
            "a pattern that is too long",
            request(&[b"PSUBSCRIBE", &b"*a".repeat(40_000)]),
            Answers("-ERR channel name is too long|"),
        ),
        (
            "a message to a channel that is too long",
            request(&[b"PUBLISH", &[b'a'; 70_000], b"x"]),
            Answers("-ERR channel name is too long|"),
        ),
        ("a protocol of the future", words("HELLO 4"), Answers("-NOPROTO unsupported protocol version|")),
        (
            "a protocol that is no number",
            words("HELLO x"),
            Answers("-ERR Protocol version is not an integer or out of range|"),
        ),
        (
            "an option of HELLO cut short",
            words("HELLO 3 AUTH default"),
            Answers("-ERR Syntax error in HELLO option 'AUTH'|"),
        ),
        (
            "a name of two words",
            request(&[b"CLIENT", b"SETNAME", b"a b"]),
            Answers("-ERR Client names cannot contain spaces, newlines or special characters.|"),
        ),
        (
            "a name of a megabyte",
            request(&[b"CLIENT", b"SETNAME", &[b'a'; 1 << 20]]),
            Answers("-ERR Client names cannot be longer than 1024 bytes.|"),
        ),
        (
            "a library of two lines",
            request(&[b"CLIENT", b"SETINFO", b"LIB-NAME", b"a\nb"]),
            Answers("-ERR lib-name cannot contain spaces, newlines or special characters.|"),
        ),
        (
            "an attribute that is none",
            words("CLIENT SETINFO foo x"),
            Answers("-ERR Unrecognized option 'foo'|"),
        ),
        ("a database above all", words("SELECT 16"), Answers("-ERR DB index is out of range|")),
        ("a database below all", words("SELECT -1"), Answers("-ERR DB index is out of range|")),
        (
            "a database that is no number",
            words("SELECT x"),
            Answers("-ERR value is not an integer or out of range|"),
        ),
        (
            "a client's id that is none",
            words("CLIENT KILL ID -1"),
            Answers("-ERR client-id should be greater than 0|"),
        ),
        (
            "an option of KILL without a value",
            words("CLIENT KILL ADDR 1.1.1.1:1 LADDR"),
            Answers("-ERR syntax error|"),
        ),
        (
            "a type of client that is none",
            words("CLIENT LIST TYPE foo"),
            Answers("-ERR Unknown client type 'foo'|"),
        ),
        (
            "a setting that is none",
            words("CONFIG SET foo bar"),
            Answers("-ERR Unknown option or number of arguments for CONFIG SET - 'foo'|"),
        ),
        (
            "a setting that cannot be",
            words("CONFIG SET databases 3"),
            Answers(
                "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config|",
            ),
        ),
        (
            "a setting twice",
            words("CONFIG SET timeout 0 timeout 0"),
            Answers("-ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter|"),
        ),
        (
            "a bound that is no size",
            request(&[b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub x 8mb 60"]),
            Answers(
                "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Error in hard, soft or soft_seconds setting in buffer limit configuration.|",
            ),
        ),
        (
            "a reason to unblock that is none",
            words("CLIENT UNBLOCK 1 foo"),
            Answers("-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|"),
        ),
        (
            "keys of a command that is none",
            words("COMMAND GETKEYS foo a"),
            Answers("-ERR Invalid command specified|"),
        ),
        (
            "a pattern of wildcards only",
            request(&[b"PUBSUB", b"CHANNELS", &b"*a".repeat(20_000)]),
            Answers("*0|"),
        ),
    ]
}

/// A client that is served all the while.
async fn serves(client: &mut Client) {
    client.ask("PUBLISH healthy x", ":0|").await;
}

async fn memory_comes_back(server: &Server) {
    server.until(|server| server.budget.used_bytes() == 0).await;
}

fn small() -> Limits {
    Limits { request_bytes_max: 1 << 20, ..Limits::default() }
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_redis_does_or_closed() {
    let server = Server::with(RedisOptions::default(), small()).await;
    let mut healthy = server.client().await;
    let mut table = protocol_table();
    table.extend(command_table());
    assert!(table.len() >= 60, "{}", table.len());
    for (what, bytes, then) in table {
        let mut client = server.client().await;
        // The broker may close before it has read everything.
        let _ = client.stream.write_all(&bytes).await;
        match then {
            Closes(expected) => assert_eq!(shown(&client.rest().await), expected, "{what}"),
            Answers(expected) => {
                client.expect(expected).await;
                client.ask("ECHO alive", "$5|alive|").await;
            }
        }
        serves(&mut healthy).await;
        drop(client);
        memory_comes_back(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_subscriber_of_resp2_may_do_little_else() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    for (line, name) in [
        ("PUBLISH a b", "publish"),
        ("CLIENT LIST", "client|list"),
        ("HELLO 3", "hello"),
        ("ECHO x", "echo"),
        ("CONFIG GET x", "config|get"),
    ] {
        client.say(line).await;
        let expected = format!("-ERR Can't execute '{name}': {CANNOT}\r\n");
        assert_eq!(shown(&client.bytes(expected.len()).await), shown(expected.as_bytes()));
    }
    client.ask("FOO", "-ERR unknown command 'FOO', with args beginning with: |").await;
    client.ask("PING", "*2|$4|pong|$0||").await;
    client.ask("PING x", "*2|$4|pong|$1|x|").await;
    client.ask("RESET", "+RESET|").await;
    client.ask("PING", "+PONG|").await;
    server.stop().await;
}

#[tokio::test]
async fn noise_of_any_kind_ends_or_is_answered() {
    let server = Server::with(RedisOptions::default(), small()).await;
    let mut healthy = server.client().await;
    for seed in 0..16 {
        let mut noise = well_mixed(40_000 + seed * 977);
        noise.drain(..seed);
        noise.extend(b"\r\n");
        let mut client = server.client().await;
        let _ = client.stream.write_all(&noise).await;
        let _ = client.stream.shutdown().await;
        client.rest().await;
        serves(&mut healthy).await;
    }
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_cut_anywhere_holds_nothing_once_the_client_is_gone() {
    let server = Server::start().await;
    let mut listener = server.client().await;
    listener.ask("SUBSCRIBE c", "*3|$9|subscribe|$1|c|:1|").await;
    let whole = words("PUBLISH c hello");
    for end in 0..whole.len() - 2 {
        let mut client = server.client().await;
        client.send(&whole[..end]).await;
        client.stream.shutdown().await.unwrap();
        client.expect_closed().await;
    }
    let mut client = server.client().await;
    client.ask("PUBLISH c whole", ":1|").await;
    listener.expect("*3|$7|message|$1|c|$5|whole|").await;
    drop((client, listener));
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn announcing_much_reserves_only_what_has_come() {
    let server = Server::start().await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut client = server.client().await;
        client.send(b"*2\r\n$4\r\nECHO\r\n$104857600\r\nthe beginning").await;
        client.send(b"").await;
        waiting.push(client);
    }
    let mut healthy = server.client().await;
    for _ in 0..50 {
        serves(&mut healthy).await;
    }
    assert!(server.budget.used_bytes() < 1 << 20, "{}", server.budget.used_bytes());
    drop(waiting);
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_replies_is_served_no_further() {
    let server = Server::start().await;
    let mut deaf = server.client().await;
    let asked = request(&[b"ECHO", &[b'x'; 60_000]]);
    let (mut read, mut write) = deaf.stream.split();
    let mut sent = 0_usize;
    // Until the socket takes no more: then the server reads no more.
    let wrote = async {
        loop {
            let bytes = asked.repeat(4);
            match tokio::time::timeout(std::time::Duration::from_millis(500), write.write_all(&bytes)).await {
                Ok(done) => {
                    done.unwrap();
                    sent += 4;
                    assert!(sent < 4_000, "240 MB were taken from a client that reads nothing");
                }
                Err(_) => return,
            }
        }
    };
    common::within(wrote).await;
    assert!(server.budget.used_bytes() < 4 << 20, "{}", server.budget.used_bytes());
    let mut healthy = server.client().await;
    serves(&mut healthy).await;
    // Once it reads, it gets what it asked for.
    let mut scratch = vec![0; 1 << 20];
    let mut got = 0;
    common::within(async {
        while got < 60_000 * sent {
            let count = tokio::io::AsyncReadExt::read(&mut read, &mut scratch).await.unwrap();
            assert!(count > 0);
            got += count;
        }
    })
    .await;
    drop(deaf);
    memory_comes_back(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_gives_its_memory_back() {
    let options = RedisOptions { buffer_soft_ms: 0, ..RedisOptions::default() };
    let limits = Limits { request_timeout: std::time::Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(options, limits).await;
    let mut deaf = server.client().await;
    deaf.send(&request(&[b"ECHO", &vec![b'x'; 40 << 20]])).await;
    // The reply is larger than what the system takes of it.
    server.until(|server| server.budget.used_bytes() >= 40 << 20).await;
    let mut healthy = server.client().await;
    serves(&mut healthy).await;
    memory_comes_back(&server).await;
    server.until(|server| server.frontend.stats().connections == 1).await;
    serves(&mut healthy).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut deaf = server.client().await;
    deaf.send(&request(&[b"ECHO", &vec![b'x'; 40 << 20]])).await;
    server.until(|server| server.budget.used_bytes() >= 40 << 20).await;
    server.stop().await;
}

#[tokio::test]
async fn names_of_channels_are_bounded_for_all_together() {
    let server = Server::start().await;
    let mut greedy = server.client().await;
    let long = |index: usize| [index.to_string().as_bytes(), &[b'x'; 60_000]].concat();
    let mut refused = 0;
    for index in 0..1_200 {
        greedy.send(&request(&[b"SSUBSCRIBE", &long(index)])).await;
        let first = greedy.bytes(1).await;
        refused += usize::from(first == b"-");
        let end = format!("|:{}|", index + 1);
        greedy.through(if first == b"-" { "ERR too many subscriptions|" } else { &end }).await;
        if refused > 0 {
            break;
        }
    }
    assert_eq!(refused, 1, "72 MB of names were taken");
    let mut other = server.client().await;
    other.send(&request(&[b"SUBSCRIBE", &long(0)])).await;
    other.expect("-ERR too many subscriptions|").await;
    greedy.say("RESET").await;
    greedy.expect("+RESET|").await;
    other.ask("SUBSCRIBE a", "*3|$9|subscribe|$1|a|:1|").await;
    drop(greedy);
    server.stop().await;
}
