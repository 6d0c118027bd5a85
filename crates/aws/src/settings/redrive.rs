//! Where messages go that were received too often, and which queues may send theirs here.
//!
//! Source: SQS API Reference, SetQueueAttributes, `RedrivePolicy` and `RedriveAllowPolicy`.

use std::borrow::Cow;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Catalog, DeadLetter, Queue, QueuePolicy};
use serde::{Deserialize, Serialize};

use super::{Echo, Settings, is_fifo};
use crate::codec::arn;
use crate::error::SqsError;
use crate::limits::{RECEIVE_COUNT, REDRIVE_SOURCES};

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

/// Sets the redrive policy of the queue `name`; an empty value removes it.
///
/// # Errors
/// `InvalidParameterValue`.
pub(super) fn set(
    policy: &mut QueuePolicy,
    catalog: &Catalog,
    name: &str,
    value: &str,
) -> Result<(), SqsError> {
    if value.is_empty() {
        policy.dead_letter = None;
        policy.attempts_max = None;
        return Ok(());
    }
    let invalid = |reason: &str| SqsError::invalid_value(value, "RedrivePolicy", reason);
    let wanted: RedriveIn<'_> =
        serde_json::from_str(value).map_err(|_| invalid("Redrive policy is not a valid JSON map."))?;
    let target = wanted.dead_letter_target_arn.ok_or_else(|| {
        invalid("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
    })?;
    let target = arn::queue_name(&target).ok_or_else(|| invalid("Invalid value for deadLetterTargetArn."))?;
    let count = match wanted.max_receive_count {
        Some(Count::Number(count)) => Some(count),
        Some(Count::Text(text)) => Some(text.parse().unwrap_or(-1)),
        None => None,
    };
    let count = count
        .ok_or_else(|| invalid("Redrive policy does not contain mandatory attribute: maxReceiveCount."))?;
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
    if is_fifo(target) != is_fifo(name) {
        return Err(invalid("Dead-letter queue must be same type of queue as the source."));
    }
    if !allows_source(queue, name) {
        return Err(invalid("The dead-letter queue's RedriveAllowPolicy does not allow this source queue."));
    }
    policy.dead_letter = Some(DeadLetter::Queue(target.to_owned()));
    policy.attempts_max = u32::try_from(count).ok();
    Ok(())
}

/// The redrive policy as it is written back.
pub(super) fn get(policy: &QueuePolicy, echo: Echo<'_>) -> Option<String> {
    let target = policy.dead_letter.as_ref()?.queue()?;
    let policy = RedriveOut {
        dead_letter_target_arn: arn::of_queue(echo.region, echo.account, target),
        max_receive_count: policy.attempts_max?,
    };
    serde_json::to_string(&policy).ok()
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

/// Checks a redrive allow policy.
///
/// # Errors
/// `InvalidParameterValue`.
pub(super) fn check_allow(value: &str) -> Result<(), SqsError> {
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
