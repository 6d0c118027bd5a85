//! Archives of ordered topics: for how long the log of a topic keeps what is published, beyond what it needs itself.
//!
//! Source: SNS Developer Guide, "Amazon SNS message archiving for FIFO topic owners".

use duolog_broker::Labels;
use duolog_broker::routing::Exchange;
use duolog_record::Timestamp;
use serde::Deserialize;

use super::{SnsError, attributes, envelope};
use crate::limits::SNS_ARCHIVE_DAYS;

/// The attribute of a topic.
pub(super) const POLICY: &str = "ArchivePolicy";
/// Since when it has one, milliseconds since 1970.
const SINCE: &str = "aws.sns.archive-since";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PolicyIn {
    message_retention_period: Option<Days>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Days {
    Number(u64),
    Text(String),
}

/// The days that a policy names; `None` if it is the one that switches the archive off.
fn days(text: &str) -> Result<Option<u64>, SnsError> {
    let wrong = |why: String| SnsError::invalid_because(POLICY, why);
    let Some(policy) = attributes::policy::<PolicyIn>(POLICY, text)? else { return Ok(None) };
    let days = match policy.message_retention_period {
        None => return Ok(None),
        Some(Days::Number(days)) => Some(days),
        Some(Days::Text(text)) => text.parse().ok(),
    };
    let (least, most) = SNS_ARCHIVE_DAYS;
    match days.filter(|days| (least..=most).contains(days)) {
        Some(days) => Ok(Some(days)),
        None => Err(wrong(format!("MessageRetentionPeriod must be from {least} to {most} days"))),
    }
}

/// Checks a policy.
pub(super) fn check(text: &str) -> Result<(), SnsError> {
    days(text).map(drop)
}

/// Sets a policy that was checked; what was archived under one before counts on.
pub(super) fn set(labels: &mut Labels, text: &str, now: Timestamp) {
    let is_on = days(text).is_ok_and(|days| days.is_some());
    attributes::set(labels, POLICY, if is_on { text } else { "" });
    match is_on {
        true => drop(labels.entry(SINCE.to_owned()).or_insert_with(|| now.0.to_string())),
        false => drop(labels.remove(SINCE)),
    }
}

/// How long a topic archives, milliseconds, if it does.
pub(super) fn retention_ms(topic: &Exchange) -> Option<u64> {
    days(attributes::get(&topic.labels, POLICY)?).ok()?.map(|days| days * DAY_MS)
}

/// From when on there are messages in the archive, if there is one.
pub(super) fn beginning(topic: &Exchange, now: Timestamp) -> Option<Timestamp> {
    let kept = i64::try_from(retention_ms(topic)?).unwrap_or(i64::MAX);
    let since: i64 = topic.labels.get(SINCE).and_then(|since| since.parse().ok()).unwrap_or(now.0);
    Some(Timestamp(since.max(now.0.saturating_sub(kept))))
}

/// The same as the topic shows it.
pub(super) fn beginning_shown(topic: &Exchange, now: Timestamp) -> Option<String> {
    beginning(topic, now).map(envelope::shown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_policy_names_days() {
        for (text, expected) in [
            ("", None),
            ("{}", None),
            (r#"{"MessageRetentionPeriod":"30"}"#, Some(30)),
            (r#"{"MessageRetentionPeriod":1}"#, Some(1)),
            (r#"{"MessageRetentionPeriod":"365"}"#, Some(365)),
        ] {
            assert_eq!(days(text).unwrap(), expected, "{text}");
        }
        for text in [
            "30",
            "[",
            r#"{"MessageRetentionPeriod":0}"#,
            r#"{"MessageRetentionPeriod":"366"}"#,
            r#"{"MessageRetentionPeriod":-1}"#,
            r#"{"MessageRetentionPeriod":"x"}"#,
            r#"{"Days":1}"#,
        ] {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
