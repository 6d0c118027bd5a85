//! Settings and the broker's policy: what the one says in the words of the other.
//!
//! Invariant: what a setting says is in the policy the moment it is set; the labels only remember that a client said it.
//! A topic that a queue made is kept until settled; setting a retention on it makes it a topic kept by retention, and
//! taking the last such setting away makes it kept until settled again.

use duolog_broker::{DedupPolicy, Keep, Labels, TopicPolicy};
use duolog_record::TimestampType;
use duolog_storage::Durability;

use super::{ConfigError, find};
use crate::KafkaOptions;

const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const BATCH_BYTES: &str = "max.message.bytes";
const TIMESTAMPS: &str = "message.timestamp.type";
const DURABILITY: &str = "duolog.durability";
const DEDUP_WINDOW: &str = "duolog.dedup.window.ms";

/// The two settings that decide how long records are kept.
pub(super) fn is_retention(name: &str) -> bool {
    matches!(name, RETENTION_MS | RETENTION_BYTES)
}

fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
}

/// The default that the broker's options decide; the outer `None` is a setting that they do not.
#[allow(clippy::option_option)]
pub(super) fn of_options(name: &str, options: &KafkaOptions) -> Option<Option<String>> {
    match name {
        RETENTION_MS => Some(Some(limit(options.retention_ms))),
        RETENTION_BYTES => Some(Some(limit(options.retention_bytes))),
        BATCH_BYTES => Some(Some(options.message_bytes_max.to_string())),
        // As the broker, which is not for this protocol to say.
        DURABILITY => Some(None),
        _ => None,
    }
}

/// What a policy says, as the value of a setting; the outer `None` is a setting that it does not decide.
#[allow(clippy::option_option)]
pub(super) fn of_policy(name: &str, policy: &TopicPolicy) -> Option<Option<String>> {
    let value = match name {
        RETENTION_MS => limit(policy.retention_ms),
        RETENTION_BYTES => limit(policy.retention_bytes),
        BATCH_BYTES => policy.batch_bytes_max.to_string(),
        TIMESTAMPS => match policy.timestamps {
            TimestampType::Create => "CreateTime".to_owned(),
            TimestampType::Append => "LogAppendTime".to_owned(),
        },
        DEDUP_WINDOW => policy.dedup.map_or(0, |dedup| dedup.window_ms).to_string(),
        DURABILITY => {
            return Some(policy.durability.map(|durability| match durability {
                Durability::Sync => "sync".to_owned(),
                Durability::Os => "os".to_owned(),
            }));
        }
        _ => return None,
    };
    Some(Some(value))
}

/// Writes into a policy that a setting follows its default again.
pub(super) fn unsay(policy: &mut TopicPolicy, name: &str, default: Option<&str>) {
    match name {
        // Not the same as the window of 0 that somebody wants: whoever declares a FIFO queue may set another. But a scope
        // that was chosen stays for when a window is set again.
        DEDUP_WINDOW => {
            let scope = policy.dedup.filter(|dedup| dedup.per_key);
            policy.dedup = scope.map(|dedup| DedupPolicy { window_ms: 0, ..dedup });
        }
        _ => apply(policy, name, default),
    }
}

/// Writes a value that was checked into a policy; `None` is nothing said.
pub(super) fn apply(policy: &mut TopicPolicy, name: &str, value: Option<&str>) {
    // Checked before: what does not parse is -1, no limit.
    let limit = || value.and_then(|value| value.parse::<u64>().ok());
    match name {
        RETENTION_MS => policy.retention_ms = limit(),
        RETENTION_BYTES => policy.retention_bytes = limit(),
        BATCH_BYTES => {
            let bytes = value.and_then(|value| value.parse().ok());
            policy.batch_bytes_max = bytes.unwrap_or(policy.batch_bytes_max);
        }
        TIMESTAMPS => {
            policy.timestamps = match value {
                Some("LogAppendTime") => TimestampType::Append,
                _ => TimestampType::Create,
            };
        }
        DEDUP_WINDOW => {
            // The scope is for the command line and other protocols to say.
            let per_key = policy.dedup.is_some_and(|dedup| dedup.per_key);
            let window_ms = value.and_then(|value| value.parse().ok()).unwrap_or(0);
            // Switched off it is remembered: with its scope, and that nobody switches it on unasked.
            let is_said = window_ms > 0 || policy.dedup.is_some();
            policy.dedup = is_said.then_some(DedupPolicy { window_ms, per_key });
        }
        DURABILITY => {
            policy.durability = match value {
                Some("os") => Some(Durability::Os),
                Some("sync") => Some(Durability::Sync),
                _ => None,
            };
        }
        _ => {}
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

/// Policy and labels of a new topic that sets these; a null value is the default.
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
        let setting = find(name)?;
        let Some(value) = value else { continue };
        let value = setting.read(value)?;
        apply(&mut policy, name, Some(&value));
        if labels.insert(setting.label(), value.into_owned()).is_some() {
            return Err(ConfigError::Twice(name.to_owned()));
        }
    }
    Ok((policy, labels))
}
