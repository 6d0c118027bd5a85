//! The configuration of `serve`: option over `DUOLOG_*` variable over configuration file over default.
//!
//! Adding a setting: a field in `settings.rs` (option, variable and key follow from its name), its default there, its use
//! in [`Config`], and the row that the test of docs/configuration.md asks for.

mod file;
mod settings;
#[cfg(test)]
mod shown;
mod values;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use duolog_broker::TopicPolicy;
use duolog_broker::limits::{GROUP_BYTES, PARTITIONS_PER_TOPIC};
use duolog_net::{Budget, OriginRule};
use duolog_storage::Durability;

pub use self::settings::Settings;
pub use self::values::{Acked, CaptureOf, EchoOf, HostPort, Listen, LogFormat, OrNone, Protocol, Size, Span};

/// One read of a publisher must fit many times over.
const LIVE_BYTES_MIN: usize = 1 << 20;
/// Largest message of a NATS client. Source: nats-server, which refuses a larger `max_payload`.
const NATS_PAYLOAD_MAX: usize = 64 << 20;
/// Smallest file: below, sealing costs more than writing.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// Largest file: the one that is not sealed is read through at start.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// What stands behind `duolog serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Configuration file, TOML
    #[arg(long, env = "DUOLOG_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings themselves.
    #[command(flatten)]
    pub settings: Settings,
}

/// What is wrong with the configuration, and what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Settings of a topic whose creator does not say.
#[derive(Clone, Copy, Debug)]
pub struct TopicDefaults {
    /// Number of partitions.
    pub partitions: u32,
    /// Age past which records go, milliseconds.
    pub retention_ms: Option<u64>,
    /// Bytes per partition past which the oldest go.
    pub retention_bytes: Option<u64>,
    /// Largest batch, bytes.
    pub batch_bytes_max: u32,
}

impl TopicDefaults {
    /// The policy of such a topic.
    pub fn policy(&self) -> TopicPolicy {
        TopicPolicy {
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            batch_bytes_max: self.batch_bytes_max,
            ..TopicPolicy::default()
        }
    }
}

/// What only the Kafka frontend needs to know.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Where clients are told to connect.
    pub advertised: Option<HostPort>,
    /// Create topics on first use.
    pub auto_create: bool,
    /// Wait of a new group.
    pub rebalance_delay: Duration,
    /// What consumers that are far behind may read a second while others write.
    pub catch_up_bytes_per_second: Option<u64>,
    /// How long offsets of empty groups are kept.
    pub offsets_retention: Duration,
}

/// What only the Redis frontend needs to know: what may wait for a subscriber, noughts for no limit.
#[derive(Clone, Copy, Debug)]
pub struct RedisSettings {
    /// At any time, bytes.
    pub buffer_hard: usize,
    /// For `soft_time` at most, bytes.
    pub buffer_soft: usize,
    /// See `buffer_soft`.
    pub soft_time: Duration,
}

/// What only the NATS frontend needs to know.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// Bytes of a message.
    pub max_payload: usize,
    /// Bytes that may wait for a client.
    pub pending_bytes_max: usize,
    /// How long a client may take nothing.
    pub write_deadline: Duration,
    /// How often a client is asked whether it is there.
    pub ping_interval: Duration,
    /// Web pages that may open a WebSocket.
    pub ws_origins: Vec<OriginRule>,
}

/// A complete, checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log lives.
    pub data_dir: PathBuf,
    /// What to open, in order.
    pub listen: Vec<Listen>,
    /// What an acknowledgement means where a topic does not say.
    pub durability: Durability,
    /// Bytes of a file of the log.
    pub file_bytes: u64,
    /// Bytes of recent records kept in memory.
    pub cache_bytes: usize,
    /// Bytes that wait for the listeners of live channels, all together.
    pub live_bytes_max: usize,
    /// Subjects that topics keep.
    pub captures: Vec<CaptureOf>,
    /// Topics that are heard.
    pub echoes: Vec<EchoOf>,
    /// Bytes that buffers of all connections may take together.
    pub memory_budget: usize,
    /// Caps of each listener.
    pub limits: duolog_net::Limits,
    /// Of topics whose creator does not say.
    pub topics: TopicDefaults,
    /// Of the Kafka frontend.
    pub kafka: KafkaSettings,
    /// Where queue URLs point; `None` follows the request.
    pub aws_advertised: Option<HostPort>,
    /// SNS may deliver to private addresses.
    pub sns_private_endpoints: bool,
    /// Certification authorities that endpoints are believed by.
    pub sns_ca_file: Option<PathBuf>,
    /// Of the Redis frontend.
    pub redis: RedisSettings,
    /// Of the NATS frontend.
    pub nats: NatsSettings,
    /// How often retention is applied.
    pub retention_check: Duration,
    /// Filter of what is logged.
    pub log_level: String,
    /// Shape of what is logged.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the file, if one is named, and lays the layers over one another.
    ///
    /// # Errors
    /// `ConfigError` names the setting and what would be right.
    pub fn load(arguments: ServeArgs) -> Result<Self, ConfigError> {
        let file = match &arguments.config {
            Some(path) => file::read(path)?,
            None => Settings::default(),
        };
        Self::of(arguments.settings.or(file).or(Settings::defaults()))
    }

    fn of(settings: Settings) -> Result<Self, ConfigError> {
        // Every setting with a default is there: `defaults` was the lowest layer.
        let missing = |name: &str| ConfigError(format!("{name} is not set"));
        macro_rules! take {
            ($name:ident) => {
                settings.$name.ok_or_else(|| missing(stringify!($name)))?
            };
        }
        let request_bytes_max = take!(request_bytes_max).bytes()?;
        let config = Self {
            data_dir: take!(data_dir),
            listen: take!(listen),
            durability: take!(durability).into(),
            file_bytes: take!(file_bytes).0,
            cache_bytes: take!(cache_bytes).bytes()?,
            memory_budget: take!(memory_budget).bytes()?,
            live_bytes_max: take!(live_bytes_max).bytes()?,
            captures: take!(capture),
            echoes: take!(echo),
            limits: duolog_net::Limits {
                connections_max: take!(connections_max) as usize,
                request_bytes_max,
                request_timeout: take!(request_timeout).0,
                idle_timeout: take!(idle_timeout).0,
            },
            topics: TopicDefaults {
                partitions: take!(default_partitions),
                retention_ms: take!(default_retention).0.map(Span::ms),
                retention_bytes: take!(default_retention_bytes).0.map(|size| size.0),
                batch_bytes_max: batch_bytes(take!(default_batch_bytes_max))?,
            },
            kafka: KafkaSettings {
                advertised: take!(kafka_advertised).0,
                auto_create: take!(kafka_auto_create),
                rebalance_delay: take!(kafka_rebalance_delay).0,
                catch_up_bytes_per_second: take!(catch_up_bytes_per_second).0.map(|size| size.0),
                offsets_retention: take!(kafka_offsets_retention).0,
            },
            aws_advertised: take!(aws_advertised).0,
            sns_private_endpoints: take!(sns_private_endpoints),
            sns_ca_file: take!(sns_ca_file).0.map(|it| it.0),
            redis: RedisSettings {
                buffer_hard: take!(redis_pubsub_buffer_hard).0.map_or(Ok(0), Size::bytes)?,
                buffer_soft: take!(redis_pubsub_buffer_soft).0.map_or(Ok(0), Size::bytes)?,
                soft_time: take!(redis_pubsub_soft_time).0,
            },
            nats: NatsSettings {
                max_payload: take!(nats_max_payload).bytes()?,
                pending_bytes_max: take!(nats_pending_bytes_max).bytes()?,
                write_deadline: take!(nats_write_deadline).0,
                ping_interval: take!(nats_ping_interval).0,
                ws_origins: take!(nats_ws_origins).into_iter().map(|it| it.0).collect(),
            },
            retention_check: take!(retention_check).0,
            log_level: take!(log_level),
            log_format: take!(log_format),
        };
        config.check(take!(allow_remote))?;
        Ok(config)
    }

    fn check(&self, allow_remote: bool) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(ConfigError("listen names no listener; leave it out to open all of them".to_owned()));
        }
        if !(1..=PARTITIONS_PER_TOPIC).contains(&self.topics.partitions) {
            return Err(ConfigError(format!("default_partitions must be 1 to {PARTITIONS_PER_TOPIC}")));
        }
        if self.limits.request_timeout.is_zero() {
            return Err(ConfigError("request_timeout must be more than 0".to_owned()));
        }
        for (index, listen) in self.listen.iter().enumerate() {
            if self.listen[..index].iter().any(|earlier| earlier.protocol == listen.protocol) {
                return Err(ConfigError(format!("listen names {} twice", listen.protocol)));
            }
            if !allow_remote && !is_loopback(listen.address) {
                return Err(ConfigError(format!(
                    "{} would listen on {}, where other machines reach it, and there is neither authentication nor \
                     encryption yet; listen on 127.0.0.1, or say --allow-remote if the network is trusted",
                    listen.protocol, listen.address
                )));
            }
        }
        let largest = Budget::largest(self.memory_budget);
        if largest < self.limits.request_bytes_max {
            return Err(ConfigError(format!(
                "memory_budget ({} bytes) leaves {largest} bytes for one request, and request_bytes_max is {}: such a \
                 request could never be served",
                self.memory_budget, self.limits.request_bytes_max
            )));
        }
        if !(FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&self.file_bytes) {
            return Err(ConfigError("file_bytes must be from 1MiB to 4GiB".to_owned()));
        }
        if self.live_bytes_max < LIVE_BYTES_MIN {
            return Err(ConfigError("live_bytes_max must be at least 1MiB".to_owned()));
        }
        if self.limits.connections_max == 0 {
            return Err(ConfigError("connections_max must be at least 1".to_owned()));
        }
        self.nats.check()?;
        if self.retention_check.is_zero() {
            return Err(ConfigError("retention_check must be longer than nothing".to_owned()));
        }
        Ok(())
    }
}

impl NatsSettings {
    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=NATS_PAYLOAD_MAX).contains(&self.max_payload) {
            return Err(ConfigError("nats_max_payload must be from 1 to 64MiB".to_owned()));
        }
        if self.pending_bytes_max < self.max_payload {
            return Err(ConfigError(
                "nats_pending_bytes_max must be at least nats_max_payload: a message must be able to wait"
                    .to_owned(),
            ));
        }
        if self.write_deadline.is_zero() || self.ping_interval.is_zero() {
            return Err(ConfigError(
                "nats_write_deadline and nats_ping_interval must be longer than nothing".to_owned(),
            ));
        }
        Ok(())
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A batch is written by one commit.
fn batch_bytes(size: Size) -> Result<u32, ConfigError> {
    match u32::try_from(size.0) {
        Ok(bytes @ 1..) if bytes as usize <= GROUP_BYTES => Ok(bytes),
        Ok(_) | Err(_) => Err(ConfigError(
            "default_batch_bytes_max must be from 1 byte to 16MiB, what one commit takes".to_owned(),
        )),
    }
}
