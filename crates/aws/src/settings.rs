//! A queue's attributes in the service's words, and the policy and labels that they are to the broker.
//!
//! Adding an attribute: a row in `READABLE`, an arm in `set` and one in `get`. Those that the broker does not interpret
//! are labels, kept as they were sent. Source: SQS API Reference, SetQueueAttributes, GetQueueAttributes.

mod redrive;
#[cfg(test)]
mod tests;

use duolog_broker::{Backoff, Catalog, DedupPolicy, Labels, Order, Queue, QueuePolicy};

use crate::codec::request::QueueAttributes;
use crate::error::{ErrorCode, SqsError};
use crate::limits::{
    DEDUP_WINDOW_MS, DELAY_S, IN_FLIGHT, KEY_ID_BYTES, MESSAGE_BYTES, MESSAGE_BYTES_SETTING_MIN, NAMES,
    POLICY_BYTES, RETENTION_S, VISIBILITY_S, WAIT_S,
};

/// Prefix of labels that are attributes.
const LABEL_PREFIX: &str = "aws.attribute.";
/// Default retention, seconds: four days.
const RETENTION_DEFAULT_S: u64 = 345_600;

/// All attributes that can be asked for, the counts excepted.
pub(crate) const READABLE: [&str; 18] = [
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
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// Attributes of FIFO queues alone.
const FIFO_ONLY: [&str; 4] =
    ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];

/// Whose region and account ARNs are written with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo<'a> {
    /// Region.
    pub region: &'a str,
    /// Account.
    pub account: &'a str,
}

/// True if a queue of this name is a FIFO queue.
pub(crate) fn is_fifo(name: &str) -> bool {
    name.ends_with(".fifo")
}

/// What a queue is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the broker interprets.
    pub policy: QueuePolicy,
    /// What it keeps for us.
    pub labels: Labels,
    /// It is a FIFO queue.
    pub fifo: bool,
}

impl Settings {
    /// Those of a new queue.
    pub fn new(name: &str) -> Self {
        let fifo = is_fifo(name);
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
                // Without groups this is oldest first.
                order: if fifo { Order::ByKey } else { Order::Fair },
                backoff: Backoff::None,
                ..QueuePolicy::default()
            },
            labels: Labels::new(),
            fifo,
        }
    }
}

impl From<&Queue> for Settings {
    fn from(queue: &Queue) -> Self {
        Self { policy: queue.policy.clone(), labels: queue.labels.clone(), fifo: is_fifo(&queue.name) }
    }
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
                ErrorCode::InvalidAttributeName,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE \
                 or SQS SSE.",
            ));
        }
        attributes
            .kept
            .iter()
            .try_for_each(|(attribute, value)| self.set(catalog, name, attribute, value))?;
        if self.label("FifoThroughputLimit") == Some("perMessageGroupId")
            && self.label("DeduplicationScope") != Some("messageGroup")
        {
            return Err(SqsError::new(
                ErrorCode::InvalidAttributeValue,
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
            ));
        }
        Ok(())
    }

    /// How long before it enters the queue a message waits that does not say, seconds.
    pub fn delay_s(&self) -> u64 {
        self.label("DelaySeconds").and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The body stands for a deduplication id where there is none.
    pub fn is_content_based(&self) -> bool {
        self.label("ContentBasedDeduplication") == Some("true")
    }

    /// How the topic of the queue deduplicates, if it is a FIFO queue.
    pub fn dedup(&self) -> Option<DedupPolicy> {
        let per_key = self.label("DeduplicationScope") == Some("messageGroup");
        self.fifo.then_some(DedupPolicy { window_ms: DEDUP_WINDOW_MS, per_key })
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
                let delay_s = seconds((0, DELAY_S))?;
                if self.fifo {
                    // The queue's own, so that what waits keeps its order when this is changed.
                    self.policy.delay_ms = delay_s * 1000;
                } else {
                    // What a message is sent with that does not say otherwise.
                    let text = delay_s.to_string();
                    self.set_label(attribute, if delay_s == 0 { "" } else { &text });
                }
            }
            "RedrivePolicy" => redrive::set(&mut self.policy, catalog, name, value)?,
            kept => {
                check_kept(kept, value, self.fifo)?;
                self.set_label(kept, value);
                self.exclude_other_key(kept, value);
            }
        }
        Ok(())
    }

    /// Of the two ways of encryption that a queue can name, the other is forgotten.
    fn exclude_other_key(&mut self, attribute: &str, value: &str) {
        match (attribute, value) {
            ("KmsMasterKeyId", key) if !key.is_empty() => self.set_label("SqsManagedSseEnabled", "false"),
            ("SqsManagedSseEnabled", "true") => {
                self.set_label("KmsMasterKeyId", "");
                self.set_label("KmsDataKeyReusePeriodSeconds", "");
            }
            _ => {}
        }
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
            "DelaySeconds" => seconds(self.policy.delay_ms.max(self.delay_s() * 1000)),
            "ReceiveMessageWaitTimeSeconds" => seconds(self.policy.receive_wait_ms),
            "RedrivePolicy" => redrive::get(&self.policy, echo),
            label => {
                let default = match label {
                    "SqsManagedSseEnabled" => Some("true"),
                    "FifoQueue" if self.fifo => Some("true"),
                    "ContentBasedDeduplication" if self.fifo => Some("false"),
                    "DeduplicationScope" if self.fifo => Some("queue"),
                    "FifoThroughputLimit" if self.fifo => Some("perQueue"),
                    "KmsDataKeyReusePeriodSeconds" if self.label("KmsMasterKeyId").is_some() => Some("300"),
                    _ => None,
                };
                self.label(label).or(default).map(str::to_owned)
            }
        }
    }
}

/// Checks an attribute that is kept as it was sent.
fn check_kept(attribute: &str, value: &str, fifo: bool) -> Result<(), SqsError> {
    let is_map = || matches!(serde_json::from_str(value), Ok(serde_json::Value::Object(_)));
    let is_valid = match attribute {
        "RedriveAllowPolicy" if value.is_empty() => true,
        "RedriveAllowPolicy" => return redrive::check_allow(value),
        "Policy" => value.is_empty() || (value.len() <= POLICY_BYTES && is_map()),
        "KmsMasterKeyId" => value.len() <= KEY_ID_BYTES,
        "KmsDataKeyReusePeriodSeconds" => return integer(attribute, value, (60, 86_400)).map(drop),
        "SqsManagedSseEnabled" => matches!(value, "true" | "false"),
        only if FIFO_ONLY.contains(&only) && !fifo => {
            let message = format!("You can specify the {only} only when FifoQueue is set to true.");
            return Err(SqsError::new(ErrorCode::InvalidAttributeName, message));
        }
        "FifoQueue" => value == "true",
        "ContentBasedDeduplication" => matches!(value, "true" | "false"),
        "DeduplicationScope" => matches!(value, "queue" | "messageGroup"),
        "FifoThroughputLimit" => matches!(value, "perQueue" | "perMessageGroupId"),
        unknown => return Err(unknown_attribute(unknown)),
    };
    if is_valid { Ok(()) } else { Err(invalid_attribute(attribute)) }
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
