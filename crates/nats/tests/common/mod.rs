//! A broker on a log in memory behind a real socket, and a client that sends bytes and compares bytes.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use duolog_broker::{Broker, BrokerOptions, Now, Permissive, Principal, Session};
use duolog_nats::{NatsFrontend, NatsOptions};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_record::Timestamp;
use duolog_storage::MemoryLog;
use duolog_testkit::ManualClock;
pub use duolog_testkit::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Where the clock of tests begins, milliseconds.
pub const NOON: i64 = 1_750_000_000_000;
/// What a client of today says first, but for its name.
pub const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";

pub struct Server {
    pub address: SocketAddr,
    pub frontend: Arc<NatsFrontend>,
    pub session: Session,
    pub budget: Budget,
    pub shutdown: Shutdown,
    pub clock: Arc<ManualClock>,
    broker: Broker,
    listening: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(NatsOptions { lame_duck: Duration::ZERO, ..NatsOptions::default() }).await
    }

    pub async fn with(options: NatsOptions) -> Self {
        let clock = Arc::new(ManualClock::at(Now { wall: Timestamp(NOON), ..Now::default() }));
        let log = Arc::new(MemoryLog::new());
        let broker_options =
            BrokerOptions { seed: 1, retention_check_ms: 1_000_000, ..BrokerOptions::default() };
        let broker = Broker::start(log, clock.clone(), Arc::new(Permissive), broker_options).unwrap();
        let session = broker.session(Principal::anonymous());
        let frontend = Arc::new(NatsFrontend::new(session.clone(), options));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let (budget, shutdown) = (Budget::new(64 << 20), Shutdown::new());
        let context =
            Context { budget: budget.clone(), shutdown: shutdown.clone(), limits: Limits::default() };
        let listening = tokio::spawn(listener.run(Arc::clone(&frontend), context));
        Self { address, frontend, session, budget, shutdown, clock, broker, listening }
    }

    /// A connection that has read INFO.
    pub async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut client = Client { stream, unread: Vec::new(), info: String::new() };
        client.info = client.line().await;
        assert!(client.info.starts_with("INFO {"), "{}", client.info);
        client
    }

    /// The same, quiet and with headers.
    pub async fn client(&self) -> Client {
        let mut client = self.connect().await;
        client.send(QUIET).await;
        client
    }

    /// Everything ends, and nothing holds memory any more.
    pub async fn stop(self) {
        self.shutdown.begin();
        within(self.listening).await.unwrap();
        assert_eq!(self.budget.used_bytes(), 0, "memory is still reserved");
        assert_eq!(self.session.live().stats().subscriptions, 0, "somebody still listens");
        assert_eq!(self.frontend.totals().connections, 0, "somebody is still known");
        self.broker.stop();
    }
}

pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
    pub info: String,
}

impl Client {
    pub async fn send(&mut self, text: impl AsRef<[u8]>) {
        within(self.stream.write_all(text.as_ref())).await.unwrap();
    }

    async fn more(&mut self) -> usize {
        within(self.stream.read_buf(&mut self.unread)).await.unwrap_or(0)
    }

    /// The next line, with its end.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.drain(..=end).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(self.more().await > 0, "the connection ends: {}", self.unread.escape_ascii());
        }
    }

    /// Exactly this comes next.
    #[track_caller]
    pub fn hears(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let expected = expected.as_ref();
            while self.unread.len() < expected.len() && self.more().await > 0 {}
            let length = expected.len().min(self.unread.len());
            let heard: Vec<u8> = self.unread.drain(..length).collect();
            assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{at}");
        }
    }

    /// All before has been dealt with, and nothing has come of it but what was expected.
    #[track_caller]
    pub fn settles(&mut self) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            self.send("PING\r\n").await;
            let line = self.line().await;
            assert_eq!(line, "PONG\r\n", "{at}");
            assert!(self.unread.is_empty(), "{at}: {}", self.unread.escape_ascii());
        }
    }

    /// What comes until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.unread)
    }
}
