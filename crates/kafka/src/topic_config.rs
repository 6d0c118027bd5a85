//! The settings of topics: which exist, what each may be, and what of it the broker keeps as its policy.
//!
//! Settings that have no meaning here (how Kafka cuts and indexes its files) are accepted, kept and shown, so that tools
//! go on working; settings whose promise would be broken are refused. What a client has set is kept as labels.
//! Source: Kafka documentation, "Topic configs". Adding a setting: a row in `SETTINGS`, and `policy` if it decides.

use duolog_broker::{Keep, Labels, Topic, TopicPolicy};
use duolog_record::TimestampType;
use duolog_storage::Durability;

use crate::KafkaOptions;

/// Labels that hold what a client has set begin with this.
const LABEL: &str = "kafka:";
/// Largest batch that fits a commit, bytes. Source: `duolog_broker::limits::GROUP_BYTES`.
const BATCH_BYTES: i64 = duolog_broker::limits::GROUP_BYTES as i64;

/// The type of a setting, as DescribeConfigs numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
enum Check {
    /// Any value of the type.
    Any,
    /// A whole number in these bounds.
    Between(i64, i64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Only this, because nothing else is done here: why.
    Only(&'static str, &'static str),
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// Unless the broker's options say otherwise.
    default: &'static str,
    check: Check,
    pub documentation: &'static str,
}

const NO_EFFECT: &str = "Accepted for compatibility; has no effect.";

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    documentation: &'static str,
) -> Setting {
    Setting { name, kind, default, check, documentation }
}

const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    setting(name, kind, default, Check::Any, NO_EFFECT)
}

/// Every setting of a topic, by name.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "cleanup.policy",
        Kind::List,
        "delete",
        Check::Only("delete", "compaction is not supported; only \"delete\" is"),
        "What happens to old records; only delete.",
    ),
    setting(
        "compression.type",
        Kind::Text,
        "producer",
        Check::Only(
            "producer",
            "batches are stored as the producer sent them; only \"producer\" is supported",
        ),
        "Batches are stored as sent.",
    ),
    inert("delete.retention.ms", Kind::Long, "86400000"),
    setting(
        "duolog.durability",
        Kind::Text,
        "",
        Check::OneOf(&["sync", "os"]),
        "sync: acknowledged when on stable storage; os: when handed to the system. Without it, as the broker.",
    ),
    inert("file.delete.delay.ms", Kind::Long, "60000"),
    inert("flush.messages", Kind::Long, "9223372036854775807"),
    inert("flush.ms", Kind::Long, "9223372036854775807"),
    inert("follower.replication.throttled.replicas", Kind::List, ""),
    inert("index.interval.bytes", Kind::Int, "4096"),
    inert("leader.replication.throttled.replicas", Kind::List, ""),
    inert("local.retention.bytes", Kind::Long, "-2"),
    inert("local.retention.ms", Kind::Long, "-2"),
    inert("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    setting(
        "max.message.bytes",
        Kind::Int,
        "1048588",
        Check::Between(1, BATCH_BYTES),
        "Largest batch, bytes, compressed as it is.",
    ),
    inert("message.timestamp.after.max.ms", Kind::Long, "9223372036854775807"),
    inert("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807"),
    setting(
        "message.timestamp.type",
        Kind::Text,
        "CreateTime",
        Check::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose time the records carry.",
    ),
    inert("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    inert("min.compaction.lag.ms", Kind::Long, "0"),
    inert("min.insync.replicas", Kind::Int, "1"),
    inert("preallocate", Kind::Boolean, "false"),
    setting(
        "remote.storage.enable",
        Kind::Boolean,
        "false",
        Check::Only("false", "there is no remote storage"),
        NO_EFFECT,
    ),
    setting(
        "retention.bytes",
        Kind::Long,
        "-1",
        Check::Between(-1, i64::MAX),
        "Bytes per partition past which the oldest records go; -1 is no limit.",
    ),
    setting(
        "retention.ms",
        Kind::Long,
        "604800000",
        Check::Between(-1, i64::MAX),
        "Age past which records go, by the broker's time of append; -1 keeps them.",
    ),
    inert("segment.bytes", Kind::Int, "1073741824"),
    inert("segment.index.bytes", Kind::Int, "10485760"),
    inert("segment.jitter.ms", Kind::Long, "0"),
    inert("segment.ms", Kind::Long, "604800000"),
    inert("unclean.leader.election.enable", Kind::Boolean, "false"),
];

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// No such setting.
    #[error("unknown topic config name: {0}")]
    Unknown(String),
    /// Twice in one request.
    #[error("{0} is given twice")]
    Twice(String),
    /// A value that cannot be.
    #[error("invalid value {value:?} for {name}: {why}")]
    Value {
        /// The setting.
        name: &'static str,
        /// As sent.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// # Errors
    /// `Value`, naming what is wrong.
    fn check(&self, value: &str) -> Result<(), ConfigError> {
        let wrong = |why: String| Err(ConfigError::Value { name: self.name, value: value.to_owned(), why });
        let fits = match self.kind {
            Kind::Boolean => matches!(value, "true" | "false"),
            Kind::Int => value.parse::<i32>().is_ok(),
            Kind::Long => value.parse::<i64>().is_ok(),
            Kind::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Text | Kind::List => true,
        };
        if !fits {
            return wrong(format!("it must be {}", self.kind.article()));
        }
        match self.check {
            Check::Any => Ok(()),
            Check::Between(least, most) => match value.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => wrong(format!("it must be between {least} and {most}")),
            },
            Check::OneOf(known) if known.contains(&value) => Ok(()),
            Check::OneOf(known) => wrong(format!("it must be one of {}", known.join(", "))),
            Check::Only(known, _) if known == value => Ok(()),
            Check::Only(_, why) => wrong(why.to_owned()),
        }
    }

    /// What holds for a topic that does not set it.
    pub fn default(&self, options: &KafkaOptions) -> Option<String> {
        let or_none = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        Some(match self.name {
            "retention.ms" => or_none(options.retention_ms),
            "retention.bytes" => or_none(options.retention_bytes),
            "max.message.bytes" => options.message_bytes_max.to_string(),
            "duolog.durability" => return None,
            _ => self.default.to_owned(),
        })
    }

    /// What a client has set on a topic, or the policy says although no client has set it; `None` is the default.
    pub fn set_on(&self, topic: &Topic, options: &KafkaOptions) -> Option<String> {
        let set = topic.labels.get(&format!("{LABEL}{}", self.name)).cloned();
        let now = self.of_policy(&topic.policy);
        match (set, now) {
            (Some(set), _) => Some(set),
            // Another protocol or the command line has made the topic: show what holds.
            (None, Some(now)) if Some(&now) != self.default(options).as_ref() => Some(now),
            (None, _) => None,
        }
    }

    fn of_policy(&self, policy: &TopicPolicy) -> Option<String> {
        let or_none = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        match self.name {
            "retention.ms" => Some(or_none(policy.retention_ms)),
            "retention.bytes" => Some(or_none(policy.retention_bytes)),
            "max.message.bytes" => Some(policy.batch_bytes_max.to_string()),
            "message.timestamp.type" => Some(match policy.timestamps {
                TimestampType::Create => "CreateTime".to_owned(),
                TimestampType::Append => "LogAppendTime".to_owned(),
            }),
            "duolog.durability" => policy.durability.map(|durability| match durability {
                Durability::Sync => "sync".to_owned(),
                Durability::Os => "os".to_owned(),
            }),
            _ => None,
        }
    }
}

impl Kind {
    fn article(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Text => "text",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::List => "a list",
        }
    }
}

/// The policy of a topic that sets nothing.
pub(crate) fn default_policy(options: &KafkaOptions) -> TopicPolicy {
    TopicPolicy {
        keep: Keep::Retention,
        retention_ms: options.retention_ms,
        retention_bytes: options.retention_bytes,
        batch_bytes_max: options.message_bytes_max,
        timestamps: TimestampType::Create,
        durability: None,
        dedup: None,
    }
}

/// Policy and labels of a topic that sets these; a null value is the default.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn policy<'a>(
    options: &KafkaOptions,
    set: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(TopicPolicy, Labels), ConfigError> {
    let mut policy = default_policy(options);
    let mut labels = Labels::new();
    for (name, value) in set {
        let setting = find(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
        let Some(value) = value else { continue };
        setting.check(value)?;
        if labels.insert(format!("{LABEL}{name}"), value.to_owned()).is_some() {
            return Err(ConfigError::Twice(name.to_owned()));
        }
        // Checked above: what does not parse is -1, no limit.
        let limit = value.parse::<u64>().ok();
        match name {
            "retention.ms" => policy.retention_ms = limit,
            "retention.bytes" => policy.retention_bytes = limit,
            "max.message.bytes" => {
                policy.batch_bytes_max = value.parse().unwrap_or(policy.batch_bytes_max);
            }
            "message.timestamp.type" if value == "LogAppendTime" => policy.timestamps = TimestampType::Append,
            "duolog.durability" if value == "os" => policy.durability = Some(Durability::Os),
            "duolog.durability" => policy.durability = Some(Durability::Sync),
            _ => {}
        }
    }
    Ok((policy, labels))
}
