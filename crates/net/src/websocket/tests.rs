//! Over real sockets: a frontend that sends back what comes, behind a WebSocket.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::frames::tests::frame;
use super::{OriginRule, OverWebSocket};
use crate::{Budget, Carrier, Connection, Context, Frontend, Limits, Listener, Shutdown};

/// Sends back what comes; at `!` it ends by itself, at `+` it says a mebibyte more.
struct Echo;

impl Frontend for Echo {
    fn protocol(&self) -> &'static str {
        "echo"
    }

    async fn serve(self: Arc<Self>, mut connection: Connection, context: Context) {
        assert_eq!(connection.carrier(), Carrier::WebSocket);
        let mut bytes = vec![0; 1 << 20];
        loop {
            let length = tokio::select! {
                read = connection.read(&mut bytes) => read.unwrap_or(0),
                () = context.shutdown.begun() => 0,
            };
            let said = &bytes[..length];
            let more: &[u8] = if said.ends_with(b"+") { &[b'.'; 1 << 20] } else { b"" };
            if length == 0
                || connection.write_all(said).await.is_err()
                || connection.write_all(more).await.is_err()
            {
                break;
            }
            if said.ends_with(b"!") {
                break;
            }
        }
        let _ = connection.shutdown().await;
    }
}

struct Server {
    address: std::net::SocketAddr,
    context: Context,
    running: JoinHandle<()>,
}

impl Server {
    fn start(origins: Vec<OriginRule>, limits: Limits) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let context = Context { budget: Budget::new(16 << 20), shutdown: Shutdown::new(), limits };
        let frontend = Arc::new(OverWebSocket::new(Arc::new(Echo), "echo-ws", origins));
        let running = tokio::spawn(listener.run(frontend, context.clone()));
        Self { address, context, running }
    }

    fn usual() -> Self {
        Self::start(vec![OriginRule::Same], Limits::default())
    }

    /// What is answered to `request`, up to the end or the first `expected` bytes behind the head.
    async fn ask(&self, request: &[u8]) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        (stream, String::from_utf8(head).unwrap())
    }

    async fn open(&self) -> TcpStream {
        let (stream, head) = self.ask(&request(&[])).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }

    async fn stop(self) {
        self.context.shutdown.begin();
        self.running.await.unwrap();
        assert_eq!(self.context.budget.used_bytes(), 0);
    }
}

/// A request for a WebSocket with some headers replaced, or left out where they are empty.
fn request(instead: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        ("Host", "here:80"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let of = |name: &str| instead.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let mut text = format!("{} HTTP/1.1\r\n", of("").unwrap_or("GET /any/path?at=all"));
    let own = instead.iter().filter(|(name, _)| !name.is_empty() && usual.iter().all(|(it, _)| it != name));
    let all = usual.iter().map(|(name, value)| (*name, of(name).unwrap_or(value))).chain(own.copied());
    for (name, value) in all.filter(|(_, value)| !value.is_empty()) {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

async fn hears(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert!(bytes == expected, "{}", bytes[..bytes.len().min(200)].escape_ascii());
}

/// What comes until the end, which comes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn the_answer_is_that_of_the_standard_and_offers_no_extension() {
    let server = Server::usual();
    let asked =
        request(&[("Sec-WebSocket-Extensions", "permessage-deflate"), ("Sec-WebSocket-Protocol", "any")]);
    let (_stream, head) = server.ask(&asked).await;
    let mut lines: Vec<String> = head.lines().map(str::to_lowercase).collect();
    lines.sort();
    // The key and its answer are the example of RFC 6455.
    let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
    assert_eq!(
        lines,
        ["", "connection: upgrade", "http/1.1 101 switching protocols", accept, "upgrade: websocket"]
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_request_for_it_is_told_so() {
    let server = Server::usual();
    let cookie = "c".repeat(20_000);
    let early = [request(&[]), frame(0x82, b"x")].concat();
    for (asked, status) in [
        (request(&[("", "POST /")]), "405"),
        (request(&[("Upgrade", "")]), "400"),
        (request(&[("Upgrade", "h2c")]), "400"),
        (request(&[("Connection", "close")]), "400"),
        (request(&[("Sec-WebSocket-Version", "8")]), "400"),
        (request(&[("Sec-WebSocket-Version", "")]), "400"),
        (request(&[("Sec-WebSocket-Key", "")]), "400"),
        (request(&[("Sec-WebSocket-Key", "short")]), "400"),
        (request(&[("Host", "")]), "400"),
        (request(&[("Origin", "http://elsewhere")]), "403"),
        (request(&[("Origin", "null")]), "403"),
        (request(&[("Cookie", &cookie)]), "431"),
        (b"GET / HTTP/1.0\r\nHost: here\r\n\r\n".to_vec(), "400"),
        (b"CONNECT {}\r\n\r\n".to_vec(), "400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "400"),
        (early, "400"),
    ] {
        let (_, head) = server.ask(&asked).await;
        let shown = asked[..asked.len().min(300)].escape_ascii();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {head}");
        assert!(head.contains("Sec-WebSocket-Version: 13\r\n"), "{head}");
    }
    let (mut stream, _) = server.ask(&request(&[("Origin", "http://elsewhere")])).await;
    assert!(String::from_utf8(rest(&mut stream).await).unwrap().contains("http://elsewhere"));
    server.stop().await;
}

#[tokio::test]
async fn pages_connect_from_where_they_may() {
    let rules = ["same", "https://app.example.com"].map(|it| it.parse().unwrap());
    let server = Server::start(rules.to_vec(), Limits::default());
    for origin in ["http://here", "http://here:80", "https://app.example.com"] {
        let (_, head) = server.ask(&request(&[("Origin", origin)])).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{origin}: {head}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let limits = Limits { request_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(vec![OriginRule::Any], limits);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    server.stop().await;
}

#[tokio::test]
async fn bytes_go_both_ways_and_pings_are_answered() {
    let server = Server::usual();
    let mut stream = server.open().await;
    stream.write_all(&frame(0x82, b"one")).await.unwrap();
    hears(&mut stream, b"\x82\x03one").await;
    stream.write_all(&frame(0x89, b"there?")).await.unwrap();
    hears(&mut stream, b"\x8a\x06there?").await;
    // A ping within a message, behind data of the same read.
    let parts = [frame(0x01, b"tw"), frame(0x89, b""), frame(0x80, b"o")].concat();
    stream.write_all(&parts).await.unwrap();
    let mut heard = vec![0; 2 + 5];
    stream.read_exact(&mut heard).await.unwrap();
    if heard != b"\x8a\x00\x82\x03two" {
        // The read was cut in two: each part is sent back by itself.
        assert!(heard.starts_with(b"\x82\x02tw"), "{}", heard.escape_ascii());
        assert_eq!(rest_of(&mut stream, 4).await.len(), 4);
    }
    stream.write_all(&frame(0x88, b"\x03\xe8bye")).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"\x88\x02\x03\xe8");
    server.stop().await;
}

async fn rest_of(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_large_payload_comes_in_frames_that_clients_take_also_when_they_take_little() {
    let server = Server::usual();
    let stream = server.open().await;
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(&frame(0x82, b"+")).await.unwrap();
    let (mut data, mut pongs) = (0, 0);
    while data < 1 + (1 << 20) {
        let first = reading.read_u8().await.unwrap();
        let length = match reading.read_u8().await.unwrap() {
            126 => u64::from(reading.read_u16().await.unwrap()),
            127 => reading.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        assert!(length <= 128 << 10, "a frame of {length} bytes");
        let mut payload = vec![0; length as usize];
        reading.read_exact(&mut payload).await.unwrap();
        match first {
            0x82 => data += payload.len(),
            0x8a => pongs += 1,
            other => panic!("a frame of kind {other}"),
        }
    }
    writing.write_all(&frame(0x89, b"after")).await.unwrap();
    assert_eq!((reading.read_u8().await.unwrap(), pongs), (0x8a, 0));
    drop((reading, writing));
    server.stop().await;
}

#[tokio::test]
async fn whoever_breaks_the_rules_is_told_and_gets_what_was_said_before() {
    let server = Server::usual();
    let mut stream = server.open().await;
    stream.write_all(&[frame(0x82, b"one"), b"\x82\x03two".to_vec()].concat()).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"\x82\x03one\x88\x17\x03\xeaa frame is not masked");
    let mut stream = server.open().await;
    stream.write_all(&frame(0x82, b"end!")).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"\x82\x04end!\x88\x02\x03\xf0");
    let mut stream = server.open().await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"\x88\x02\x03\xe8");
    server.stop().await;
}

#[tokio::test]
async fn the_end_of_the_server_is_said() {
    let server = Server::usual();
    let mut stream = server.open().await;
    stream.write_all(&frame(0x82, b"one")).await.unwrap();
    hears(&mut stream, b"\x82\x03one").await;
    let waits = TcpStream::connect(server.address).await.unwrap();
    let hearing = async { rest(&mut stream).await };
    let (heard, ()) = tokio::join!(hearing, server.stop());
    assert_eq!(heard, b"\x88\x11\x03\xe9the server ends");
    drop(waits);
}
