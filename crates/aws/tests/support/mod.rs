//! A broker in memory behind a real socket, and the plainest of clients.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duolog_aws::{AwsFrontend, AwsOptions};
use duolog_broker::{Broker, BrokerOptions, Clock, Monotonic, Now, Permissive, Principal, Session};
use duolog_net::{Budget, Connection, Context, Frontend, Limits, Listener, Shutdown};
use duolog_record::Timestamp;
use duolog_storage::MemoryLog;
use duolog_testkit::ManualClock;
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

/// A frontend whose connections count how often they are woken up.
struct Counted {
    frontend: Arc<AwsFrontend>,
    polls: Arc<AtomicU64>,
}

impl Frontend for Counted {
    fn protocol(&self) -> &'static str {
        self.frontend.protocol()
    }

    async fn serve(self: Arc<Self>, connection: Connection, context: Context) {
        let mut serving = pin!(Arc::clone(&self.frontend).serve(connection, context));
        poll_fn(|cx| {
            self.polls.fetch_add(1, Ordering::Relaxed);
            serving.as_mut().poll(cx)
        })
        .await;
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
    log: Arc<MemoryLog>,
    polls: Arc<AtomicU64>,
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
        Self::run(MemoryLog::new(), Arc::new(SystemClock(Instant::now())), limits, options)
    }

    /// One whose time passes by hand.
    pub fn start_at(clock: &Arc<ManualClock>) -> Self {
        Self::run(MemoryLog::new(), clock.clone(), Limits::default(), AwsOptions::default())
    }

    fn run(log: MemoryLog, clock: Arc<dyn Clock>, limits: Limits, options: AwsOptions) -> Self {
        let log = Arc::new(log);
        let broker = Broker::start(
            log.clone(),
            clock,
            Arc::new(Permissive),
            BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() },
        )
        .unwrap();
        let polls = Arc::new(AtomicU64::new(0));
        let frontend = Arc::new(AwsFrontend::new(broker.session(Principal::anonymous()), options));
        let (budget, shutdown) = (Budget::new(BUDGET), Shutdown::new());
        tokio::spawn(Arc::clone(&frontend).run(shutdown.clone()));
        let frontend = Arc::new(Counted { frontend, polls: polls.clone() });
        let context = Context { budget: budget.clone(), shutdown: shutdown.clone(), limits };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.address();
        let listening = tokio::spawn(listener.run(frontend, context));
        Self { address, budget, broker, shutdown, listening, log, polls }
    }

    /// What is there after the process was killed and started anew: nothing but what was durable at this moment.
    pub async fn killed(self, clock: &Arc<ManualClock>) -> Self {
        let log = self.log.reopen();
        self.shutdown.begin();
        self.listening.await.unwrap();
        Self::run(log, clock.clone(), Limits::default(), AwsOptions::default())
    }

    /// Time passes on the clock that the server was started at.
    pub fn pass_s(&self, clock: &ManualClock, seconds: u64) {
        clock.advance(seconds * 1000);
        self.broker.nudge();
    }

    /// How often connections have been woken up so far, all together.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
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

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The code that SDKs show.
    pub fn code(&self) -> String {
        let json = self.header("x-amzn-query-error").and_then(|value| value.split(';').next());
        json.map_or_else(|| first(&self.text_lossy(), "Code").unwrap_or_default(), str::to_owned)
    }

    fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The text of the first element with this name, entities resolved.
pub fn first(xml: &str, element: &str) -> Option<String> {
    all(xml, element).into_iter().next()
}

/// The texts of all elements with this name.
pub fn all(xml: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let texts = xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#xD;", "\r"), ("&amp;", "&")];
    texts
        .map(|text| entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
        .collect()
}

/// The bytes of a request in the Query protocol.
pub fn form_request(path: &str, parameters: &[(&str, &str)]) -> Vec<u8> {
    let escape = |text: &str| -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
        text.bytes()
            .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    let body = pairs.join("&");
    format!(
        "POST {path} HTTP/1.1\r\nHost: sqs.eu-west-1.test:4566\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
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

    /// Calls an action in the Query protocol that must work; answers the XML.
    pub async fn query(&mut self, path: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let reply = self.query_reply(path, action, parameters).await;
        let text = reply.text();
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/xml")), "{action}: {text}");
        assert!(
            text.contains(&format!(
                "<{action}Response xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"
            )),
            "{text}"
        );
        assert_eq!(first(&text, "RequestId").as_deref(), reply.header("x-amzn-requestid"));
        text
    }

    /// Calls an action in the Query protocol that must fail; answers status and code.
    pub async fn query_fails(
        &mut self,
        path: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> (u16, String) {
        let reply = self.query_reply(path, action, parameters).await;
        let text = reply.text();
        assert!(
            text.contains("<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"),
            "{text}"
        );
        (reply.status, first(&text, "Code").unwrap())
    }

    async fn query_reply(&mut self, path: &str, action: &str, parameters: &[(&str, &str)]) -> Reply {
        let mut all = vec![("Action", action), ("Version", "2012-11-05")];
        all.extend_from_slice(parameters);
        self.raw(&form_request(path, &all)).await.expect("an answer")
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
