//! A broker in memory behind a real socket, and the plainest of clients.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duolog_aws::{AwsFrontend, AwsOptions};
use duolog_broker::{Broker, BrokerOptions, Clock, Monotonic, Now, Permissive, Principal, Session};
use duolog_net::{Budget, Context, Limits, Listener, Shutdown};
use duolog_record::Timestamp;
use duolog_storage::{Durability, MemoryLog};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Now { monotonic: Monotonic(self.0.elapsed().as_micros() as u64), wall: Timestamp(wall as i64) }
    }
}

/// Bytes of the server's budget.
pub const BUDGET: usize = 64 << 20;

pub struct Server {
    pub address: SocketAddr,
    pub budget: Budget,
    pub broker: Broker,
    pub shutdown: Shutdown,
    pub listening: JoinHandle<()>,
}

impl Server {
    pub fn start() -> Self {
        let limits = Limits {
            request_timeout: Duration::from_millis(700),
            idle_timeout: Duration::from_secs(5),
            ..Limits::default()
        };
        Self::start_with(limits, AwsOptions::default())
    }

    pub fn start_with(limits: Limits, options: AwsOptions) -> Self {
        let broker = Broker::start(
            Arc::new(MemoryLog::new()),
            Arc::new(SystemClock(Instant::now())),
            Arc::new(Permissive),
            BrokerOptions { durability: Durability::Sync, seed: 1, retention_check_ms: 60_000 },
        )
        .unwrap();
        let frontend = Arc::new(AwsFrontend::new(broker.session(Principal::anonymous()), options));
        let (budget, shutdown) = (Budget::new(BUDGET), Shutdown::new());
        let context = Context { budget: budget.clone(), shutdown: shutdown.clone(), limits };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.address();
        let listening = tokio::spawn(listener.run(frontend, context));
        Self { address, budget, broker, shutdown, listening }
    }

    pub fn session(&self) -> Session {
        self.broker.session(Principal::anonymous())
    }

    pub async fn client(&self) -> Client {
        Client::connect(TcpStream::connect(self.address).await.unwrap())
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code that SDKs show.
    pub fn code(&self) -> &str {
        self.header("x-amzn-query-error").and_then(|value| value.split(';').next()).unwrap_or("")
    }
}

/// A connection that is kept.
pub struct Client {
    pub stream: TcpStream,
    left: Vec<u8>,
}

/// The bytes of an action's request.
pub fn request(action: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: sqs.test:4566\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Client {
    /// A client on an open connection.
    pub fn connect(stream: TcpStream) -> Self {
        Self { stream, left: Vec::new() }
    }

    /// Calls an action that must work.
    pub async fn call(&mut self, action: &str, body: Value) -> Value {
        let reply = self.raw(&request(action, &body.to_string())).await.expect("an answer");
        assert_eq!(reply.status, 200, "{action}: {}", String::from_utf8_lossy(&reply.body));
        reply.json()
    }

    /// Calls an action that must fail; answers the code that SDKs show.
    pub async fn fails(&mut self, action: &str, body: Value) -> String {
        let reply = self.raw(&request(action, &body.to_string())).await.expect("an answer");
        assert_ne!(reply.status, 200, "{action} {body}");
        reply.code().to_owned()
    }

    /// Sends bytes and reads one response; `None` if the server closed without one.
    pub async fn raw(&mut self, bytes: &[u8]) -> Option<Reply> {
        // The server may close before it has taken all.
        let _ = self.stream.write_all(bytes).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.parse() {
                return Some(reply);
            }
            match self.stream.read_buf(&mut self.left).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn parse(&mut self) -> Option<Reply> {
        let end = self.left.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.left[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut reply = Reply { status, head, body: Vec::new() };
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        if self.left.len() < end + 4 + length {
            return None;
        }
        reply.body = self.left[end + 4..end + 4 + length].to_vec();
        self.left.drain(..end + 4 + length);
        Some(reply)
    }
}
