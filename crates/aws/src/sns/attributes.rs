//! Attributes of topics and subscriptions that are kept as labels: which there are, and what they may be.
//!
//! Source: SNS API Reference, SetTopicAttributes, SetSubscriptionAttributes.

use std::fmt::Display;

use duolog_broker::Labels;
use serde::Deserialize;

use super::{SnsError, archive, delivery_policy, shown};
use crate::codec::arn;
use crate::limits::{KEY_ID_BYTES, POLICY_BYTES, SNS_DISPLAY_NAME_CHARS};

/// Prefix of labels that are attributes.
const PREFIX: &str = "aws.sns.attribute.";

/// An attribute that is set.
pub(super) fn get<'a>(labels: &'a Labels, name: &str) -> Option<&'a str> {
    labels.get(&format!("{PREFIX}{name}")).map(String::as_str)
}

/// Sets an attribute; an empty one is not kept.
pub(super) fn set(labels: &mut Labels, name: &str, value: &str) {
    let key = format!("{PREFIX}{name}");
    if value.is_empty() {
        labels.remove(&key);
    } else {
        labels.insert(key, value.to_owned());
    }
}

/// All that are set.
pub(super) fn all(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
}

/// Parsed it takes many times its length, so that is looked at first.
pub(super) fn is_json_map(value: &str) -> bool {
    value.len() <= POLICY_BYTES && matches!(serde_json::from_str(value), Ok(serde_json::Value::Object(_)))
}

/// Reads a policy that is JSON; `None` if it is empty.
pub(super) fn policy<'t, T: Deserialize<'t>>(name: &str, text: &'t str) -> Result<Option<T>, SnsError> {
    let wrong = |why: &dyn Display| SnsError::invalid_because(name, why);
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > POLICY_BYTES {
        return Err(wrong(&"it is longer than 20 KiB"));
    }
    serde_json::from_str(text).map(Some).map_err(|error| wrong(&error))
}

fn wrong(name: &str, value: &str) -> SnsError {
    SnsError::invalid_because(name, format_args!("{} is not a value that it may have", shown(value)))
}

/// Checks an attribute of a topic.
pub(super) fn check_of_topic(name: &str, value: &str, fifo: bool) -> Result<(), SnsError> {
    let is_feedback = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| {
            matches!(rest, "SuccessFeedbackRoleArn" | "FailureFeedbackRoleArn" | "SuccessFeedbackSampleRate")
        })
    };
    let is_valid = match name {
        "DisplayName" => value.chars().count() <= SNS_DISPLAY_NAME_CHARS,
        "Policy" => value.is_empty() || is_json_map(value),
        "DeliveryPolicy" if value.is_empty() => true,
        "DeliveryPolicy" => return delivery_policy::check_of_topic(value),
        "KmsMasterKeyId" => value.len() <= KEY_ID_BYTES,
        "TracingConfig" => matches!(value, "PassThrough" | "Active"),
        "SignatureVersion" => matches!(value, "1" | "2"),
        "ContentBasedDeduplication" if fifo => matches!(value, "true" | "false"),
        archive::POLICY if fifo => return archive::check(value),
        "FifoThroughputScope" if fifo => matches!(value, "Topic" | "MessageGroup"),
        name if name.ends_with("SampleRate")
            && ["HTTP", "Lambda", "SQS", "Application", "Firehose"].into_iter().any(is_feedback) =>
        {
            value.parse().is_ok_and(|rate: u8| rate <= 100)
        }
        _ if ["HTTP", "Lambda", "SQS", "Application", "Firehose"].into_iter().any(is_feedback) => {
            value.len() <= KEY_ID_BYTES
        }
        _ => return Err(SnsError::invalid("Invalid parameter: AttributeName")),
    };
    if is_valid { Ok(()) } else { Err(wrong(name, value)) }
}

/// Checks an attribute of a subscription that is kept as it is; filter policies are the broker's.
pub(super) fn check_of_subscription(name: &str, value: &str) -> Result<(), SnsError> {
    let is_valid = match name {
        "RawMessageDelivery" => matches!(value, "true" | "false"),
        "DeliveryPolicy" if value.is_empty() => true,
        "DeliveryPolicy" => return delivery_policy::check_of_subscription(value),
        "SubscriptionRoleArn" => value.len() <= KEY_ID_BYTES,
        "RedrivePolicy" if value.is_empty() => true,
        "RedrivePolicy" => return check_redrive(value),
        _ => return Err(SnsError::invalid("Invalid parameter: AttributeName")),
    };
    if is_valid { Ok(()) } else { Err(wrong(name, value)) }
}

fn check_redrive(value: &str) -> Result<(), SnsError> {
    let wrong = |reason: &str| Err(SnsError::invalid_because("RedrivePolicy", reason));
    if value.len() > POLICY_BYTES {
        return wrong("it is longer than 20 KiB");
    }
    let Ok(policy) = serde_json::from_str::<serde_json::Value>(value) else {
        return wrong("failed to parse JSON.");
    };
    match policy.get("deadLetterTargetArn").and_then(serde_json::Value::as_str) {
        Some(target) if arn::queue_name(target).is_some() => Ok(()),
        Some(_) => wrong("deadLetterTargetArn is an invalid arn"),
        None => wrong("policy does not contain deadLetterTargetArn"),
    }
}

/// The name of the queue in a redrive policy that was checked.
pub(super) fn dead_letter_queue(policy: &str) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    arn::queue_name(policy.get("deadLetterTargetArn")?.as_str()?).map(str::to_owned)
}
