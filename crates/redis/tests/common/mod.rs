//! A broker on a log in memory behind a real socket, and a client that sends bytes and reads replies.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use duolog_broker::{Broker, BrokerOptions, Now, Permissive, Principal, Session};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_record::Timestamp;
use duolog_redis::{RedisFrontend, RedisOptions};
use duolog_storage::MemoryLog;
use duolog_testkit::ManualClock;
pub use duolog_testkit::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Where the clock of tests begins, milliseconds.
pub const NOON: i64 = 1_750_000_000_000;

pub struct Server {
    pub address: SocketAddr,
    pub session: Session,
    pub budget: Budget,
    pub clock: Arc<ManualClock>,
    pub frontend: Arc<RedisFrontend>,
    pub shutdown: Shutdown,
    broker: Broker,
    listening: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(RedisOptions::default(), Limits::default()).await
    }

    pub async fn with(options: RedisOptions, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::at(Now { wall: Timestamp(NOON), ..Now::default() }));
        let broker_options = BrokerOptions { retention_check_ms: 1_000_000, ..BrokerOptions::default() };
        let log = Arc::new(MemoryLog::new());
        let broker = Broker::start(log, clock.clone(), Arc::new(Permissive), broker_options).unwrap();
        let session = broker.session(Principal::anonymous());
        let frontend = Arc::new(RedisFrontend::new(session.clone(), options));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let (budget, shutdown) = (Budget::new(256 << 20), Shutdown::new());
        let context = Context { budget: budget.clone(), shutdown: shutdown.clone(), limits };
        let listening = tokio::spawn(listener.run(Arc::clone(&frontend), context));
        Self { address, session, budget, clock, frontend, shutdown, broker, listening }
    }

    pub async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Waits until `holds`.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        within(async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Everything ends, and nothing holds memory or listens any more.
    pub async fn stop(self) {
        self.shutdown.begin();
        within(self.listening).await.unwrap();
        assert_eq!(self.budget.used_bytes(), 0, "memory is still reserved");
        let live = self.session.live().stats();
        assert_eq!((live.listeners, live.subscriptions, live.bytes), (0, 0, 0), "something still listens");
        assert_eq!(self.frontend.stats().connections, 0);
        self.broker.stop();
    }
}

/// A request as an array of bulk strings.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// The same, of words between spaces.
pub fn words(line: &str) -> Vec<u8> {
    request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a command without waiting for its reply.
    pub async fn say(&mut self, line: &str) {
        self.send(&words(line)).await;
    }

    /// Exactly these bytes come next; line ends are written as `|`.
    pub async fn expect(&mut self, expected: &str) {
        let expected = expected.replace('|', "\r\n").into_bytes();
        let got = self.bytes(expected.len()).await;
        assert_eq!(shown(&got), shown(&expected));
    }

    /// So many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        within(async {
            while self.read.len() < count {
                if self.stream.read_buf(&mut self.read).await.unwrap() == 0 {
                    panic!("closed after {:?}", shown(&self.read));
                }
            }
        })
        .await;
        self.read.drain(..count).collect()
    }

    /// All that comes up to `end`; line ends are written as `|`.
    pub async fn through(&mut self, end: &str) -> String {
        let end = end.replace('|', "\r\n").into_bytes();
        let mut looked = 0_usize;
        loop {
            let from = looked.saturating_sub(end.len());
            if let Some(found) = self.read[from..].windows(end.len()).position(|window| window == end) {
                return shown(&self.bytes(from + found + end.len()).await);
            }
            looked = self.read.len();
            let more = within(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(more > 0, "closed after {:?}", shown(&self.read));
        }
    }

    /// Sends a command; these bytes are the answer.
    pub async fn ask(&mut self, line: &str, expected: &str) {
        self.say(line).await;
        self.expect(expected).await;
    }

    /// Sends a command; the whole answer, which must be a bulk or a verbatim string.
    pub async fn text(&mut self, line: &str) -> String {
        self.say(line).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n") {
            head.extend(self.bytes(1).await);
        }
        let length: usize = String::from_utf8_lossy(&head[1..head.len() - 2]).parse().unwrap();
        String::from_utf8(self.bytes(length + 2).await).unwrap()
    }

    /// The connection is closed, and nothing else comes before.
    pub async fn expect_closed(&mut self) {
        let rest = self.rest().await;
        assert_eq!(shown(&rest), "");
    }

    /// All that comes before the connection is closed.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        // A reset is a close, too: the broker may leave bytes unread.
        let _ = within(self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Nothing has come that was not asked for: an answer to PING is next.
    pub async fn expect_nothing(&mut self) {
        self.ask("ECHO nothing", "$7|nothing|").await;
    }
}

pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "|")
}
