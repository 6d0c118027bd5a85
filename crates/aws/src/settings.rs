//! A queue's attributes in the service's words, and the policy and labels that they are to the broker.
//!
//! Adding an attribute: a row in `READABLE`, an arm in `set` and one in `get`. Those that the broker does not interpret
//! are labels, kept as they were sent. Source: SQS API Reference, SetQueueAttributes, GetQueueAttributes.

use std::borrow::Cow;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Backoff, Catalog, Labels, Order, Queue, QueuePolicy};
use serde::{Deserialize, Serialize};

use crate::codec::arn;
use crate::codec::request::QueueAttributes;
use crate::error::{ErrorCode, SqsError};
use crate::limits::{
    DELAY_S, IN_FLIGHT, KEY_ID_BYTES, MESSAGE_BYTES, MESSAGE_BYTES_SETTING_MIN, NAMES, POLICY_BYTES,
    RECEIVE_COUNT, REDRIVE_SOURCES, RETENTION_S, VISIBILITY_S, WAIT_S,
};

/// Prefix of labels that are attributes.
const LABEL_PREFIX: &str = "aws.attribute.";
/// Default retention, seconds: four days.
const RETENTION_DEFAULT_S: u64 = 345_600;

/// All attributes that can be asked for, the counts excepted.
pub(crate) const READABLE: [&str; 14] = [
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];

/// Attributes of FIFO queues alone.
pub(crate) const FIFO_ONLY: [&str; 4] =
    ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];

/// Whose region and account ARNs are written with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo<'a> {
    /// Region.
    pub region: &'a str,
    /// Account.
    pub account: &'a str,
}

/// What a queue is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the broker interprets.
    pub policy: QueuePolicy,
    /// What it keeps for us.
    pub labels: Labels,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: QueuePolicy {
                visibility_timeout_ms: 30_000,
                attempts_max: None,
                dead_letter: None,
                receive_wait_ms: 0,
                message_ttl_ms: Some(RETENTION_DEFAULT_S * 1000),
                in_flight_max: IN_FLIGHT,
                delay_ms: 0,
                message_bytes_max: MESSAGE_BYTES as u32,
                order: Order::Standard,
                backoff: Backoff::None,
            },
            labels: Labels::new(),
        }
    }
}

impl From<&Queue> for Settings {
    fn from(queue: &Queue) -> Self {
        Self { policy: queue.policy.clone(), labels: queue.labels.clone() }
    }
}

/// A redrive policy as it is written back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedriveOut {
    dead_letter_target_arn: String,
    max_receive_count: u32,
}

/// A redrive policy as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedriveIn<'a> {
    #[serde(borrow)]
    dead_letter_target_arn: Option<Cow<'a, str>>,
    max_receive_count: Option<Count>,
}

/// Tools write the count as a number or as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(i64),
    Text(String),
}

/// Who may use a queue as dead-letter target.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedriveAllow {
    redrive_permission: Option<String>,
    #[serde(default)]
    source_queue_arns: Vec<String>,
}

impl Settings {
    /// Sets all attributes of a request.
    ///
    /// # Errors
    /// As [`Self::set`], and if they exclude one another; nothing is set then that counts.
    pub fn set_all(
        &mut self,
        catalog: &Catalog,
        name: &str,
        attributes: &QueueAttributes<'_>,
    ) -> Result<(), SqsError> {
        if attributes.count > NAMES {
            return Err(SqsError::invalid("The request has too many attributes."));
        }
        let has = |name: &str, value: &dyn Fn(&str) -> bool| {
            attributes.kept.iter().any(|(attribute, set)| attribute.as_str() == name && value(set))
        };
        if has("KmsMasterKeyId", &|key| !key.is_empty()) && has("SqsManagedSseEnabled", &|on| on == "true") {
            return Err(SqsError::new(
                ErrorCode::InvalidAttributeValue,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE \
                 or SQS SSE.",
            ));
        }
        attributes.kept.iter().try_for_each(|(attribute, value)| self.set(catalog, name, attribute, value))
    }

    /// Sets one attribute of the queue `name`.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, `InvalidParameterValue`, `UnsupportedOperation`.
    pub fn set(
        &mut self,
        catalog: &Catalog,
        name: &str,
        attribute: &str,
        value: &str,
    ) -> Result<(), SqsError> {
        let seconds = |range| integer(attribute, value, range);
        match attribute {
            "VisibilityTimeout" => {
                self.policy.visibility_timeout_ms = seconds((0, VISIBILITY_S))? * 1000;
            }
            "MaximumMessageSize" => {
                let range = (MESSAGE_BYTES_SETTING_MIN as i64, MESSAGE_BYTES as i64);
                self.policy.message_bytes_max =
                    u32::try_from(seconds(range)?).expect("the range fits 32 bits");
            }
            "MessageRetentionPeriod" => self.policy.message_ttl_ms = Some(seconds(RETENTION_S)? * 1000),
            "ReceiveMessageWaitTimeSeconds" => self.policy.receive_wait_ms = seconds((0, WAIT_S))? * 1000,
            "DelaySeconds" => {
                if seconds((0, DELAY_S))? != 0 {
                    let message = "DelaySeconds other than 0 is not supported yet.";
                    return Err(SqsError::new(ErrorCode::InvalidAttributeValue, message));
                }
            }
            "RedrivePolicy" => self.set_redrive(catalog, name, value)?,
            "RedriveAllowPolicy" => {
                if !value.is_empty() {
                    check_redrive_allow(value)?;
                }
                self.set_label(attribute, value);
            }
            "Policy" => {
                let is_map = || matches!(serde_json::from_str(value), Ok(serde_json::Value::Object(_)));
                if !value.is_empty() && (value.len() > POLICY_BYTES || !is_map()) {
                    return Err(invalid_attribute(attribute));
                }
                self.set_label(attribute, value);
            }
            "KmsMasterKeyId" => {
                if value.len() > KEY_ID_BYTES {
                    return Err(invalid_attribute(attribute));
                }
                self.set_label(attribute, value);
                if !value.is_empty() {
                    self.set_label("SqsManagedSseEnabled", "false");
                }
            }
            "KmsDataKeyReusePeriodSeconds" => {
                seconds((60, 86_400))?;
                self.set_label(attribute, value);
            }
            "SqsManagedSseEnabled" => {
                if !matches!(value, "true" | "false") {
                    return Err(invalid_attribute(attribute));
                }
                self.set_label(attribute, value);
                if value == "true" {
                    self.set_label("KmsMasterKeyId", "");
                    self.set_label("KmsDataKeyReusePeriodSeconds", "");
                }
            }
            "FifoQueue" if value == "true" => return Err(no_fifo()),
            fifo if FIFO_ONLY.contains(&fifo) => {
                let message = format!("You can specify the {fifo} only when FifoQueue is set to true.");
                return Err(SqsError::new(ErrorCode::InvalidAttributeName, message));
            }
            unknown => return Err(unknown_attribute(unknown)),
        }
        Ok(())
    }

    /// An attribute that is kept as it was sent.
    pub fn label(&self, attribute: &str) -> Option<&str> {
        self.labels.get(&format!("{LABEL_PREFIX}{attribute}")).map(String::as_str)
    }

    /// Keeps an attribute as it is; an empty one is not kept.
    pub fn set_label(&mut self, attribute: &str, value: &str) {
        let key = format!("{LABEL_PREFIX}{attribute}");
        if value.is_empty() {
            self.labels.remove(&key);
        } else {
            self.labels.insert(key, value.to_owned());
        }
    }

    fn set_redrive(&mut self, catalog: &Catalog, name: &str, value: &str) -> Result<(), SqsError> {
        if value.is_empty() {
            self.policy.dead_letter = None;
            self.policy.attempts_max = None;
            return Ok(());
        }
        let invalid = |reason: &str| SqsError::invalid_value(value, "RedrivePolicy", reason);
        let policy: RedriveIn<'_> =
            serde_json::from_str(value).map_err(|_| invalid("Redrive policy is not a valid JSON map."))?;
        let target = policy.dead_letter_target_arn.ok_or_else(|| {
            invalid("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        let target =
            arn::queue_name(&target).ok_or_else(|| invalid("Invalid value for deadLetterTargetArn."))?;
        let count = match policy.max_receive_count {
            Some(Count::Number(count)) => Some(count),
            Some(Count::Text(text)) => Some(text.parse().unwrap_or(-1)),
            None => None,
        };
        let count = count.ok_or_else(|| {
            invalid("Redrive policy does not contain mandatory attribute: maxReceiveCount.")
        })?;
        let (least, most) = RECEIVE_COUNT;
        if !(least..=most).contains(&count) {
            return Err(invalid(&format!(
                "Invalid value for maxReceiveCount: {count}, valid values are from {least} to {most} both inclusive."
            )));
        }
        if target == name {
            return Err(invalid("A queue cannot be its own dead-letter queue."));
        }
        let Some(queue) = catalog.queue(DEFAULT_NAMESPACE, target) else {
            return Err(invalid("Dead letter target does not exist."));
        };
        if !allows_source(queue, name) {
            return Err(invalid(
                "The dead-letter queue's RedriveAllowPolicy does not allow this source queue.",
            ));
        }
        self.policy.dead_letter = Some(target.to_owned());
        self.policy.attempts_max = u32::try_from(count).ok();
        Ok(())
    }

    /// One attribute as it is written back; `None` if it is not set.
    pub fn get(&self, echo: Echo<'_>, attribute: &str) -> Option<String> {
        let seconds = |ms: u64| Some((ms / 1000).to_string());
        match attribute {
            "VisibilityTimeout" => seconds(self.policy.visibility_timeout_ms),
            "MaximumMessageSize" => Some(self.policy.message_bytes_max.to_string()),
            // Without an end, as a queue of another frontend may be: the longest there is.
            "MessageRetentionPeriod" => {
                seconds(self.policy.message_ttl_ms.unwrap_or(RETENTION_S.1.unsigned_abs() * 1000))
            }
            "DelaySeconds" => seconds(self.policy.delay_ms),
            "ReceiveMessageWaitTimeSeconds" => seconds(self.policy.receive_wait_ms),
            "RedrivePolicy" => {
                let target = self.policy.dead_letter.as_ref()?;
                let policy = RedriveOut {
                    dead_letter_target_arn: arn::of_queue(echo.region, echo.account, target),
                    max_receive_count: self.policy.attempts_max?,
                };
                serde_json::to_string(&policy).ok()
            }
            label => {
                let default = match label {
                    "SqsManagedSseEnabled" => Some("true"),
                    "KmsDataKeyReusePeriodSeconds" if self.label("KmsMasterKeyId").is_some() => Some("300"),
                    _ => None,
                };
                self.label(label).or(default).map(str::to_owned)
            }
        }
    }
}

/// True if `queue` may be the dead-letter target of the queue named `source`.
fn allows_source(queue: &Queue, source: &str) -> bool {
    let settings = Settings::from(queue);
    let Some(policy) = settings.label("RedriveAllowPolicy") else { return true };
    let Ok(policy) = serde_json::from_str::<RedriveAllow>(policy) else { return true };
    match policy.redrive_permission.as_deref() {
        Some("denyAll") => false,
        Some("byQueue") => policy.source_queue_arns.iter().any(|arn| arn::queue_name(arn) == Some(source)),
        _ => true,
    }
}

fn check_redrive_allow(value: &str) -> Result<(), SqsError> {
    let invalid = |reason: &str| SqsError::invalid_value(value, "RedriveAllowPolicy", reason);
    let policy: RedriveAllow = serde_json::from_str(value).map_err(|_| {
        invalid("Amazon SQS can't create the redrive allow policy, as it's not a valid JSON map.")
    })?;
    let sources = policy.source_queue_arns.len();
    match policy.redrive_permission.as_deref() {
        Some("allowAll" | "denyAll") if sources == 0 => Ok(()),
        Some("byQueue") if (1..=REDRIVE_SOURCES).contains(&sources) => Ok(()),
        Some("allowAll" | "denyAll" | "byQueue") => Err(invalid(
            "sourceQueueArns must hold 1 to 10 ARNs with redrivePermission byQueue, and none otherwise.",
        )),
        _ => Err(invalid("redrivePermission must be allowAll, denyAll or byQueue.")),
    }
}

fn integer(attribute: &str, value: &str, (least, most): (i64, i64)) -> Result<u64, SqsError> {
    let number: Option<i64> = value.parse().ok();
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(number.unsigned_abs()),
        None => Err(SqsError::new(
            ErrorCode::InvalidAttributeValue,
            format!("Invalid value for the parameter {attribute}. Must be between {least} and {most}."),
        )),
    }
}

fn invalid_attribute(attribute: &str) -> SqsError {
    SqsError::new(ErrorCode::InvalidAttributeValue, format!("Invalid value for the parameter {attribute}."))
}

/// The name is none of an attribute.
pub(crate) fn unknown_attribute(name: &str) -> SqsError {
    let shown: String = name.chars().take(100).collect();
    SqsError::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {shown}."))
}

/// FIFO queues are to come.
pub(crate) fn no_fifo() -> SqsError {
    SqsError::new(
        ErrorCode::UnsupportedOperation,
        "FIFO queues are not supported yet; create a standard queue, whose name does not end in .fifo.",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ECHO: Echo<'_> = Echo { region: "us-east-1", account: "000000000000" };

    fn set(settings: &mut Settings, attribute: &str, value: &str) -> Result<(), SqsError> {
        settings.set(&Catalog::default(), "q", attribute, value)
    }

    #[test]
    fn what_is_set_is_read_back() {
        let mut settings = Settings::default();
        for (attribute, value) in [
            ("VisibilityTimeout", "0"),
            ("MaximumMessageSize", "1024"),
            ("MessageRetentionPeriod", "60"),
            ("DelaySeconds", "0"),
            ("ReceiveMessageWaitTimeSeconds", "20"),
            ("Policy", "{\"Version\":\"2012-10-17\"}"),
            ("RedriveAllowPolicy", "{\"redrivePermission\":\"denyAll\"}"),
            ("KmsMasterKeyId", "alias/x"),
            ("KmsDataKeyReusePeriodSeconds", "60"),
            ("SqsManagedSseEnabled", "false"),
        ] {
            set(&mut settings, attribute, value).unwrap();
            assert_eq!(settings.get(ECHO, attribute).as_deref(), Some(value), "{attribute}");
        }
        set(&mut settings, "Policy", "").unwrap();
        assert_eq!(settings.get(ECHO, "Policy"), None);
    }

    #[test]
    fn one_encryption_excludes_the_other() {
        let mut settings = Settings::default();
        set(&mut settings, "KmsMasterKeyId", "alias/x").unwrap();
        assert_eq!(settings.get(ECHO, "SqsManagedSseEnabled").as_deref(), Some("false"));
        assert_eq!(settings.get(ECHO, "KmsDataKeyReusePeriodSeconds").as_deref(), Some("300"));
        set(&mut settings, "SqsManagedSseEnabled", "true").unwrap();
        assert_eq!(settings.get(ECHO, "KmsMasterKeyId"), None);
        let both = r#"{"Attributes":{"KmsMasterKeyId":"k","SqsManagedSseEnabled":"true"}}"#;
        let both: crate::codec::request::SetQueueAttributes<'_> = serde_json::from_str(both).unwrap();
        let error = settings.set_all(&Catalog::default(), "q", &both.attributes).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidAttributeValue);
    }

    #[test]
    fn defaults_are_those_of_the_service() {
        let settings = Settings::default();
        for (attribute, value) in [
            ("VisibilityTimeout", "30"),
            ("MaximumMessageSize", "1048576"),
            ("MessageRetentionPeriod", "345600"),
            ("DelaySeconds", "0"),
            ("ReceiveMessageWaitTimeSeconds", "0"),
            ("SqsManagedSseEnabled", "true"),
        ] {
            assert_eq!(settings.get(ECHO, attribute).as_deref(), Some(value), "{attribute}");
        }
        assert_eq!(settings.get(ECHO, "RedrivePolicy"), None);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let mut settings = Settings::default();
        for (attribute, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "-1"),
            ("VisibilityTimeout", "x"),
            ("VisibilityTimeout", ""),
            ("MaximumMessageSize", "1023"),
            ("MaximumMessageSize", "1048577"),
            ("MessageRetentionPeriod", "59"),
            ("MessageRetentionPeriod", "99999999999999999999"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("DelaySeconds", "901"),
            ("DelaySeconds", "5"),
            ("SqsManagedSseEnabled", "yes"),
            ("Policy", "{"),
            ("Policy", "[]"),
            ("KmsDataKeyReusePeriodSeconds", "59"),
            ("KmsDataKeyReusePeriodSeconds", "86401"),
        ] {
            let error = set(&mut settings, attribute, value).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidAttributeValue, "{attribute}={value}");
        }
        for attribute in ["QueueArn", "Nonsense", "ApproximateNumberOfMessages", "DeduplicationScope"] {
            let error = set(&mut settings, attribute, "1").unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidAttributeName, "{attribute}");
        }
        assert_eq!(set(&mut settings, "FifoQueue", "true").unwrap_err(), no_fifo());
    }

    #[test]
    fn a_redrive_policy_needs_a_target_and_a_count() {
        let mut settings = Settings::default();
        let arn = "arn:aws:sqs:us-east-1:000000000000:missing";
        for (policy, reason) in [
            ("[]".to_owned(), "JSON"),
            ("{}".to_owned(), "deadLetterTargetArn"),
            (format!("{{\"deadLetterTargetArn\":\"{arn}\"}}"), "maxReceiveCount"),
            (format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":0}}"), "from 1 to 1000"),
            (format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":\"x\"}}"), "from 1 to 1000"),
            (format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":\"3\"}}"), "does not exist"),
            ("{\"deadLetterTargetArn\":\"q\",\"maxReceiveCount\":3}".to_owned(), "deadLetterTargetArn"),
        ] {
            let error = set(&mut settings, "RedrivePolicy", &policy).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidParameterValue);
            assert!(error.message.contains(reason), "{policy}: {error}");
        }
        settings.policy.dead_letter = Some("dead".to_owned());
        settings.policy.attempts_max = Some(2);
        assert_eq!(
            settings.get(ECHO, "RedrivePolicy").unwrap(),
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":2}"#
        );
        set(&mut settings, "RedrivePolicy", "").unwrap();
        assert_eq!(settings.policy.attempts_max, None);
    }

    #[test]
    fn a_redrive_allow_policy_is_checked() {
        let mut settings = Settings::default();
        let by_queue = r#"{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:a:b:q"]}"#;
        set(&mut settings, "RedriveAllowPolicy", by_queue).unwrap();
        for policy in ["{}", "x", r#"{"redrivePermission":"byQueue"}"#, r#"{"redrivePermission":"some"}"#] {
            let error = set(&mut settings, "RedriveAllowPolicy", policy).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidParameterValue, "{policy}");
        }
    }
}
