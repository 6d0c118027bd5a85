//! A broker on a log in memory behind a real socket, and a client that sends bytes and reads methods.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use duolog_amqp::codec::client::ServerMethod;
use duolog_amqp::codec::method::{
    ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, QueueDeclare,
};
use duolog_amqp::codec::{
    FrameKind, LongStr, PROTOCOL_HEADER, RawTable, ShortStr, Table, Value, parse_frame,
};
use duolog_amqp::{AmqpFrontend, AmqpOptions};
use duolog_broker::{Broker, BrokerOptions, Permissive, Principal, Session};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_storage::MemoryLog;
use duolog_testkit::ManualClock;
pub use duolog_testkit::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A frame that a client of these tests takes.
pub const FRAME_MAX: u32 = 131_072;

pub struct Server {
    pub address: SocketAddr,
    pub session: Session,
    pub budget: Budget,
    pub shutdown: Shutdown,
    pub clock: Arc<ManualClock>,
    pub log: Arc<MemoryLog>,
    broker: Broker,
    listening: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(AmqpOptions::default()).await
    }

    pub async fn with(options: AmqpOptions) -> Self {
        let clock = Arc::new(ManualClock::new());
        let log = Arc::new(MemoryLog::new());
        let broker_options =
            BrokerOptions { seed: 1, retention_check_ms: 1_000_000, ..BrokerOptions::default() };
        let broker = Broker::start(log.clone(), clock.clone(), Arc::new(Permissive), broker_options).unwrap();
        let session = broker.session(Principal::anonymous());
        let frontend = Arc::new(AmqpFrontend::start(session.clone(), options).await.unwrap());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let (budget, shutdown) = (Budget::new(64 << 20), Shutdown::new());
        let context =
            Context { budget: budget.clone(), shutdown: shutdown.clone(), limits: Limits::default() };
        tokio::spawn(Arc::clone(&frontend).run(shutdown.clone()));
        let listening = tokio::spawn(listener.run(frontend, context));
        Self { address, session, budget, shutdown, clock, log, broker, listening }
    }

    /// A connection on which nothing was said.
    pub async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client { stream, unread: Vec::new(), heartbeat: 0, hears_blocked: false }
    }

    /// One that is open, with channel 1 and the queue `q`.
    pub async fn client(&self) -> Client {
        let mut client = self.connect().await;
        client.reach(Stage::Channel).await;
        client
    }

    /// The same; it wants to hear when it is held up.
    pub async fn hearing_client(&self) -> Client {
        let mut client = self.connect().await;
        client.hears_blocked = true;
        client.reach(Stage::Channel).await;
        client
    }

    /// The same with heartbeats each second, and so with a look at what is overdue each half.
    pub async fn beating_client(&self) -> Client {
        let mut client = self.connect().await;
        client.heartbeat = 1;
        client.reach(Stage::Channel).await;
        client
    }

    /// Everything ends, and nothing holds memory any more.
    pub async fn stop(self) {
        self.shutdown.begin();
        within(self.listening).await.unwrap();
        assert_eq!(self.budget.used_bytes(), 0, "memory is still reserved");
        self.broker.stop();
    }
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Stage {
    Connected,
    Started,
    Tuned,
    Agreed,
    Open,
    Channel,
}

/// What the server said: channel, and the payload of a method frame.
pub type Said = (u16, Vec<u8>);

pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
    /// Seconds.
    heartbeat: u16,
    hears_blocked: bool,
}

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have closed in the middle of it.
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
    }

    /// Goes through the handshake.
    pub async fn reach(&mut self, stage: Stage) {
        let mut out = Vec::new();
        if stage >= Stage::Started {
            self.send(PROTOCOL_HEADER).await;
            self.method().await.unwrap();
        }
        if stage >= Stage::Tuned {
            let capabilities = Table::default().with("connection.blocked", self.hears_blocked);
            let properties = Table::default().with("capabilities", Value::Table(capabilities)).encode();
            ConnectionStartOk { client_properties: properties.as_raw(), ..start_ok() }.write(&mut out, 0);
            self.ask(&mut out).await;
        }
        if stage >= Stage::Agreed {
            ConnectionTuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: self.heartbeat }
                .write(&mut out, 0);
        }
        if stage >= Stage::Open {
            ConnectionOpen { virtual_host: ShortStr::cut("/"), ..ConnectionOpen::default() }
                .write(&mut out, 0);
            self.ask(&mut out).await;
        }
        if stage >= Stage::Channel {
            ChannelOpen::default().write(&mut out, 1);
            self.ask(&mut out).await;
            declare("q").write(&mut out, 1);
            self.ask(&mut out).await;
        }
        self.send(&out).await;
    }

    async fn ask(&mut self, out: &mut Vec<u8>) {
        self.send(&*out).await;
        out.clear();
        self.method().await.unwrap();
    }

    /// The next method; heartbeats and contents are passed over. `None` at the end of the connection.
    pub async fn method(&mut self) -> Option<Said> {
        loop {
            match parse_frame(&self.unread, FRAME_MAX).unwrap() {
                Some((frame, length)) => {
                    let said = match frame.kind {
                        FrameKind::Method(payload) => Some((frame.channel, payload.to_vec())),
                        FrameKind::Header(_) | FrameKind::Body(_) | FrameKind::Heartbeat => None,
                    };
                    self.unread.drain(..length);
                    if said.is_some() {
                        return said;
                    }
                }
                None => {
                    let read = within(self.stream.read_buf(&mut self.unread)).await.unwrap_or(0);
                    if read == 0 {
                        return None;
                    }
                }
            }
        }
    }

    /// All that comes until the end of the connection, undecoded.
    pub async fn rest(&mut self) -> Vec<u8> {
        let _ = within(self.stream.read_to_end(&mut self.unread)).await;
        std::mem::take(&mut self.unread)
    }
}

pub fn start_ok() -> ConnectionStartOk<'static> {
    ConnectionStartOk {
        client_properties: RawTable::EMPTY,
        mechanism: ShortStr::cut("PLAIN"),
        response: LongStr(b"\0guest\0guest"),
        locale: ShortStr::cut("en_US"),
    }
}

pub fn declare(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { queue: ShortStr::cut(queue), durable: true, ..QueueDeclare::default() }
}

/// What a payload says.
pub fn read(payload: &[u8]) -> ServerMethod<'_> {
    ServerMethod::decode(payload).unwrap()
}
