//! The values that settings take, each with one text form for option, variable and file.

use duolog_broker::live::{Pattern, Template};
use duolog_broker::when::{LENGTHS, in_units};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use duolog_net::OriginRule;
use duolog_storage::Durability;
use serde::{Deserialize, Deserializer, de};

use super::ConfigError;

/// A protocol with a listener of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Kafka protocol.
    Kafka,
    /// SQS.
    Aws,
    /// AMQP 0-9-1.
    Amqp,
    /// The Redis protocol.
    Redis,
    /// The NATS protocol.
    Nats,
    /// The NATS protocol within WebSockets.
    NatsWs,
    /// Health, metrics and the API under the command line.
    Admin,
}

impl Protocol {
    /// Those that exist.
    pub const ALL: &[Self] =
        &[Self::Kafka, Self::Aws, Self::Amqp, Self::Nats, Self::NatsWs, Self::Redis, Self::Admin];
    /// Those that are opened if nothing is said, in this order.
    pub const STANDARD: &[Self] = &[Self::Kafka, Self::Aws, Self::Amqp, Self::Nats, Self::Redis, Self::Admin];

    /// The name in options and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Aws => "aws",
            Self::Amqp => "amqp",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::NatsWs => "nats-ws",
            Self::Admin => "admin",
        }
    }

    /// The port that clients expect.
    pub fn port(self) -> u16 {
        match self {
            Self::Kafka => 9092,
            Self::Aws => 4566,
            Self::Amqp => 5672,
            Self::Redis => 6379,
            Self::Nats => 4222,
            // There is none; it is the one of most examples.
            Self::NatsWs => 8080,
            Self::Admin => 9600,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One listener: `PROTOCOL=ADDR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where; port 0 is a free one.
    pub address: SocketAddr,
}

impl Listen {
    /// On loopback, at the port that clients expect.
    pub fn standard(protocol: Protocol) -> Self {
        Self { protocol, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), protocol.port()) }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not PROTOCOL=ADDR, as in admin=127.0.0.1:9600"))?;
        let protocol = Protocol::ALL.iter().find(|protocol| protocol.name() == name).ok_or_else(|| {
            let names: Vec<_> = Protocol::ALL.iter().map(|protocol| protocol.name()).collect();
            format!("no listener speaks {name:?}; there are {}", names.join(", "))
        })?;
        let address =
            address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(|| {
                format!("{address:?} is not HOST:PORT, as in 127.0.0.1:{}", protocol.port())
            })?;
        Ok(Self { protocol: *protocol, address })
    }
}

/// Where clients are told to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST:PORT, as in broker.example.com:9092");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A subject whose messages a topic keeps: `SUBJECT=TOPIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOf {
    /// Subject, with wildcards or without.
    pub subject: String,
    /// Topic.
    pub topic: String,
}

impl FromStr for CaptureOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.rsplit_once('=').filter(|(_, topic)| !topic.is_empty());
        let (subject, topic) =
            pair.ok_or_else(|| format!("{text:?} is not SUBJECT=TOPIC, as in orders.>=orders"))?;
        subject.parse::<Pattern>().map_err(|error| format!("{subject:?}: {error}"))?;
        Ok(Self { subject: subject.to_owned(), topic: topic.to_owned() })
    }
}

/// A topic whose records are heard on a subject: `TOPIC=SUBJECT`, and ` catch-up` behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoOf {
    /// Topic.
    pub topic: String,
    /// Subject, with places to fill or without.
    pub subject: String,
    /// Whether slow listeners are served from the log.
    pub catch_up: bool,
}

impl FromStr for EchoOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, catch_up) = match text.strip_suffix(" catch-up") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let pair = text.split_once('=').filter(|(topic, _)| !topic.is_empty());
        let (topic, subject) =
            pair.ok_or_else(|| format!("{text:?} is not TOPIC=SUBJECT, as in orders=orders.{{key}}"))?;
        subject.parse::<Template>().map_err(|error| format!("{subject:?}: {error}"))?;
        if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("{subject:?}: a subject has no blanks; behind it may stand ` catch-up`"));
        }
        Ok(Self { topic: topic.to_owned(), subject: subject.to_owned(), catch_up })
    }
}

/// Web pages that may open a WebSocket: `same`, `any`, or an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub OriginRule);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// Bytes: `1048576`, `64KiB`, `256MiB`, `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

pub(super) const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl Size {
    /// As a length in memory.
    pub fn bytes(self) -> Result<usize, ConfigError> {
        usize::try_from(self.0)
            .map_err(|_| ConfigError(format!("{} bytes are too many for this machine", self.0)))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        in_units(text, SIZES)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size, as in 1048576, 64KiB or 1GiB"))
    }
}

/// A length of time: `250ms`, `30s`, `5m`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// In milliseconds.
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        in_units(text, LENGTHS)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is not a time with a unit, as in 250ms, 30s, 5m, 2h or 7d"))
    }
}

/// A value, or `none` for what has no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

impl<T: FromStr<Err = String>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value))).map_err(|error| format!("{error}, or none"))
    }
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.is_empty() {
            true => Err("a file has a name".to_owned()),
            false => Ok(Self(PathBuf::from(text))),
        }
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// On stable storage.
    Sync,
    /// Handed to the operating system.
    Os,
}

impl Acked {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Os => "os",
        }
    }
}

impl FromStr for Acked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            _ => Err(format!("{text:?} is neither sync nor os")),
        }
    }
}

impl From<Acked> for Durability {
    fn from(acked: Acked) -> Self {
        match acked {
            Acked::Sync => Self::Sync,
            Acked::Os => Self::Os,
        }
    }
}

/// Shape of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }
}

/// In the file a value is a string in the same form, or a bare number where that is enough.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

fn from_scalar<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = match Scalar::deserialize(from)? {
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => text,
    };
    text.parse().map_err(de::Error::custom)
}

macro_rules! from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from_scalar(from)
            }
        }
    )*};
}

from_text!(
    CaptureOf,
    EchoOf,
    Listen,
    Origin,
    OrNone<FilePath>,
    OrNone<HostPort>,
    Size,
    Span,
    Acked,
    LogFormat,
    OrNone<Size>,
    OrNone<Span>
);
