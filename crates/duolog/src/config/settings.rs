//! Every setting once: the field is the option (`--data-dir`), the variable (`DUOLOG_DATA_DIR`) and the key (`data_dir`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use duolog_net::OriginRule;
use serde::Deserialize;

use super::values::{
    Acked, CaptureOf, EchoOf, FilePath, HostPort, Listen, LogFormat, OrNone, Origin, Protocol, Size, Span,
};

macro_rules! settings {
    ($( $(#[$meta:meta])* $field:ident: $type:ty = $default:expr, )*) => {
        /// One layer of settings; `None` leaves a setting to the layer below.
        #[derive(Clone, Debug, Default, Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $( $(#[$meta])* pub $field: Option<$type>, )*
        }

        impl Settings {
            /// The keys of the file.
            pub const KEYS: &[&str] = &[$(stringify!($field)),*];

            /// The lowest layer.
            pub fn defaults() -> Self {
                Self { $( $field: $default, )* }
            }

            /// This layer over a lower one.
            pub fn or(self, lower: Self) -> Self {
                Self { $( $field: self.$field.or(lower.$field), )* }
            }

            /// Keys and values as one would write them, for the documentation.
            #[cfg(test)]
            pub fn shown(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$( (stringify!($field), self.$field.as_ref().map(super::shown::Shown::shown)) ),*]
            }
        }
    };
}

settings! {
    /// Directory of the log; created if it is not there
    #[arg(long, env = "DUOLOG_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf = Some(PathBuf::from("./duolog-data")),

    /// Listener to open, again for more; with it exactly those named. Port 0 takes a free one
    #[arg(long, env = "DUOLOG_LISTEN", value_name = "PROTOCOL=ADDR", value_delimiter = ',')]
    listen: Vec<Listen> = Some(Protocol::STANDARD.iter().map(|&protocol| Listen::standard(protocol)).collect()),

    /// Allow listeners that other machines can reach
    #[arg(long, env = "DUOLOG_ALLOW_REMOTE", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    allow_remote: bool = Some(false),

    /// What an acknowledgement means: `sync` on stable storage, `os` handed to the operating system
    #[arg(long, env = "DUOLOG_DURABILITY", value_name = "sync|os")]
    durability: Acked = Some(Acked::Sync),

    /// Bytes of one file of the log; three of them are reserved on disk at least
    #[arg(long, env = "DUOLOG_FILE_BYTES", value_name = "SIZE")]
    file_bytes: Size = Some(Size(64 << 20)),

    /// Recent records kept in memory for those who read along
    #[arg(long, env = "DUOLOG_CACHE_BYTES", value_name = "SIZE")]
    cache_bytes: Size = Some(Size(32 << 20)),

    /// Bytes that the buffers of all connections may take together
    #[arg(long, env = "DUOLOG_MEMORY_BUDGET", value_name = "SIZE")]
    memory_budget: Size = Some(Size(256 << 20)),

    /// Bytes that may wait for the subscribers of live channels together; the nearer to it, the less may wait for one
    #[arg(long, env = "DUOLOG_LIVE_BYTES_MAX", value_name = "SIZE")]
    live_bytes_max: Size = Some(Size(256 << 20)),

    /// Subject (`*` one token, `>` the rest) whose messages are also appended to a topic, which is made if it is not there; again for more
    #[arg(long, env = "DUOLOG_CAPTURE", value_name = "SUBJECT=TOPIC", value_delimiter = ',')]
    capture: Vec<CaptureOf> = Some(Vec::new()),

    /// Topic whose new records are heard on a subject, which may have `{key}`, `{topic}` and `{partition}` in it; with ` catch-up` behind it
    /// slow listeners get the rest from the log and are not cut off; again for more
    #[arg(long, env = "DUOLOG_ECHO", value_name = "TOPIC=SUBJECT", value_delimiter = ',')]
    echo: Vec<EchoOf> = Some(Vec::new()),

    /// Bytes a second that Kafka consumers far behind read from the disk together while others write; `none` is no limit
    #[arg(long, env = "DUOLOG_CATCH_UP_BYTES_PER_SECOND", value_name = "SIZE|none")]
    catch_up_bytes_per_second: OrNone<Size> = Some(OrNone(Some(Size(256 << 20)))),

    /// Connections per listener at a time; more wait
    #[arg(long, env = "DUOLOG_CONNECTIONS_MAX", value_name = "N")]
    connections_max: u32 = Some(20_000),

    /// Largest request of a client
    #[arg(long, env = "DUOLOG_REQUEST_BYTES_MAX", value_name = "SIZE")]
    request_bytes_max: Size = Some(Size(100 << 20)),

    /// How long a client may take to send a request that it began, or to read a MiB of an answer
    #[arg(long, env = "DUOLOG_REQUEST_TIMEOUT", value_name = "TIME")]
    request_timeout: Span = Some(Span(Duration::from_secs(30))),

    /// How long a connection may be without a request
    #[arg(long, env = "DUOLOG_IDLE_TIMEOUT", value_name = "TIME")]
    idle_timeout: Span = Some(Span(Duration::from_secs(600))),

    /// Partitions of a topic whose creator does not say
    #[arg(long, env = "DUOLOG_DEFAULT_PARTITIONS", value_name = "N")]
    default_partitions: u32 = Some(1),

    /// Age past which records of such a topic go; `none` keeps them
    #[arg(long, env = "DUOLOG_DEFAULT_RETENTION", value_name = "TIME|none")]
    default_retention: OrNone<Span> = Some(OrNone(Some(Span(Duration::from_secs(7 * 24 * 60 * 60))))),

    /// Bytes per partition past which the oldest records of such a topic go; `none` is no limit
    #[arg(long, env = "DUOLOG_DEFAULT_RETENTION_BYTES", value_name = "SIZE|none")]
    default_retention_bytes: OrNone<Size> = Some(OrNone(None)),

    /// Largest batch of such a topic
    #[arg(long, env = "DUOLOG_DEFAULT_BATCH_BYTES_MAX", value_name = "SIZE")]
    default_batch_bytes_max: Size = Some(Size(1_048_588)),

    /// Where Kafka clients are told to connect; `none` names the address that they reached
    #[arg(long, env = "DUOLOG_KAFKA_ADVERTISED", value_name = "HOST:PORT|none")]
    kafka_advertised: OrNone<HostPort> = Some(OrNone(None)),

    /// Create a topic when a Kafka client names one that does not exist
    #[arg(long, env = "DUOLOG_KAFKA_AUTO_CREATE", value_name = "BOOL")]
    kafka_auto_create: bool = Some(true),

    /// How long a new consumer group waits for more members
    #[arg(long, env = "DUOLOG_KAFKA_REBALANCE_DELAY", value_name = "TIME")]
    kafka_rebalance_delay: Span = Some(Span(Duration::from_secs(3))),

    /// How long the offsets of a group without members are kept
    #[arg(long, env = "DUOLOG_KAFKA_OFFSETS_RETENTION", value_name = "TIME")]
    kafka_offsets_retention: Span = Some(Span(Duration::from_secs(7 * 24 * 60 * 60))),

    /// Host and port of SQS queue URLs; `none` follows the host that the request names
    #[arg(long, env = "DUOLOG_AWS_ADVERTISED", value_name = "HOST:PORT|none")]
    aws_advertised: OrNone<HostPort> = Some(OrNone(None)),

    /// Let SNS deliver to `http` and `https` endpoints at private addresses, too: loopback, internal networks, what clouds tell their machines
    #[arg(long, env = "DUOLOG_SNS_PRIVATE_ENDPOINTS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    sns_private_endpoints: bool = Some(false),

    /// PEM file with certification authorities that `https` endpoints are believed by beside those that Mozilla trusts
    #[arg(long, env = "DUOLOG_SNS_CA_FILE", value_name = "FILE|none")]
    sns_ca_file: OrNone<FilePath> = Some(OrNone(None)),

    /// Bytes that may wait for a Redis subscriber; with more it is cut off
    #[arg(long, env = "DUOLOG_REDIS_PUBSUB_BUFFER_HARD", value_name = "SIZE|none")]
    redis_pubsub_buffer_hard: OrNone<Size> = Some(OrNone(Some(Size(32 << 20)))),

    /// Bytes that may wait for a Redis subscriber for the soft time at most
    #[arg(long, env = "DUOLOG_REDIS_PUBSUB_BUFFER_SOFT", value_name = "SIZE|none")]
    redis_pubsub_buffer_soft: OrNone<Size> = Some(OrNone(Some(Size(8 << 20)))),

    /// How long more than the soft number of bytes may wait for a Redis subscriber
    #[arg(long, env = "DUOLOG_REDIS_PUBSUB_SOFT_TIME", value_name = "TIME")]
    redis_pubsub_soft_time: Span = Some(Span(Duration::from_secs(60))),
    /// Largest message of a NATS client, header block included
    #[arg(long, env = "DUOLOG_NATS_MAX_PAYLOAD", value_name = "SIZE")]
    nats_max_payload: Size = Some(Size(1 << 20)),

    /// Bytes that may wait for a NATS client; with more it is cut off
    #[arg(long, env = "DUOLOG_NATS_PENDING_BYTES_MAX", value_name = "SIZE")]
    nats_pending_bytes_max: Size = Some(Size(64 << 20)),

    /// How long a NATS client may take nothing of what is sent to it
    #[arg(long, env = "DUOLOG_NATS_WRITE_DEADLINE", value_name = "TIME")]
    nats_write_deadline: Span = Some(Span(Duration::from_secs(10))),

    /// How often a NATS client that is silent is asked whether it is there; the third time in vain it is cut off
    #[arg(long, env = "DUOLOG_NATS_PING_INTERVAL", value_name = "TIME")]
    nats_ping_interval: Span = Some(Span(Duration::from_secs(120))),

    /// Web pages that may open a WebSocket at the `nats-ws` listener: `same` for those of the host and port that they connect to, `any`, or an
    /// origin as in `https://app.example.com`; again for more
    #[arg(long, env = "DUOLOG_NATS_WS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    nats_ws_origins: Vec<Origin> = Some(vec![Origin(OriginRule::Same)]),

    /// How often retention is applied
    #[arg(long, env = "DUOLOG_RETENTION_CHECK", value_name = "TIME")]
    retention_check: Span = Some(Span(Duration::from_secs(30))),

    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or per module as in `duolog_broker=debug,info`
    #[arg(long, env = "DUOLOG_LOG_LEVEL", value_name = "LEVEL")]
    log_level: String = Some("info".to_owned()),

    /// Shape of the log on standard error: `text` or `json`
    #[arg(long, env = "DUOLOG_LOG_FORMAT", value_name = "text|json")]
    log_format: LogFormat = Some(LogFormat::Text),
}
