//! Delivery policies: how often and when a failed delivery to an `http` or `https` endpoint is tried again.
//!
//! That of a topic stands below its subscriptions' own, member by member, unless it says that it cannot be overridden. The phases are: retries
//! without delay, with the least delay, with a delay that grows, with the longest delay.
//! Source: SNS Developer Guide, "Amazon SNS message delivery retries". The curves between the least and the longest delay are drawn there,
//! not written down; docs/sns.md has ours.

use serde::{Deserialize, Serialize};

use super::SnsError;
use crate::limits::{POLICY_BYTES, SNS_RETRIES, SNS_RETRY_DELAY_S, SNS_RETRY_TOTAL_S};

/// What is said if nobody says anything.
pub(super) const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";
const CONTENT_TYPES: [&str; 12] = [
    "application/atom+xml",
    "application/json",
    "application/octet-stream",
    "application/soap+xml",
    "application/x-www-form-urlencoded",
    "application/xhtml+xml",
    "application/xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/plain",
    "text/xml",
];

/// How delays grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Backoff {
    #[default]
    Linear,
    Arithmetic,
    Geometric,
    Exponential,
}

/// Retries as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RetryIn {
    min_delay_target: Option<u32>,
    max_delay_target: Option<u32>,
    num_retries: Option<u32>,
    num_max_delay_retries: Option<u32>,
    num_no_delay_retries: Option<u32>,
    num_min_delay_retries: Option<u32>,
    backoff_function: Option<Backoff>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThrottleIn {
    max_receives_per_second: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestIn {
    header_content_type: Option<String>,
}

/// Of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfSubscription {
    healthy_retry_policy: Option<RetryIn>,
    throttle_policy: Option<ThrottleIn>,
    request_policy: Option<RequestIn>,
    // Once was; the service takes and ignores it.
    #[serde(rename = "sicklyRetryPolicy")]
    _sickly: Option<serde_json::Value>,
    #[serde(rename = "guaranteed")]
    _guaranteed: Option<serde_json::Value>,
}

/// Of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTopic {
    http: Option<OfTopicHttp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfTopicHttp {
    default_healthy_retry_policy: Option<RetryIn>,
    default_throttle_policy: Option<ThrottleIn>,
    default_request_policy: Option<RequestIn>,
    disable_subscription_overrides: Option<bool>,
    #[serde(rename = "defaultSicklyRetryPolicy")]
    _sickly: Option<serde_json::Value>,
}

/// Retries in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Retry {
    min_delay_target: u32,
    max_delay_target: u32,
    num_retries: u32,
    num_max_delay_retries: u32,
    num_no_delay_retries: u32,
    num_min_delay_retries: u32,
    backoff_function: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            min_delay_target: 20,
            max_delay_target: 20,
            num_retries: 3,
            num_max_delay_retries: 0,
            num_no_delay_retries: 0,
            num_min_delay_retries: 0,
            backoff_function: Backoff::Linear,
        }
    }
}

/// A policy in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliveryPolicy {
    retry: Retry,
    /// Requests to begin in a second, at most.
    pub per_second: Option<u32>,
    content_type: Option<String>,
    is_final: bool,
}

impl Retry {
    fn under(self, over: Option<RetryIn>) -> Self {
        let over = over.unwrap_or_default();
        Self {
            min_delay_target: over.min_delay_target.unwrap_or(self.min_delay_target),
            max_delay_target: over.max_delay_target.unwrap_or(self.max_delay_target),
            num_retries: over.num_retries.unwrap_or(self.num_retries),
            num_max_delay_retries: over.num_max_delay_retries.unwrap_or(self.num_max_delay_retries),
            num_no_delay_retries: over.num_no_delay_retries.unwrap_or(self.num_no_delay_retries),
            num_min_delay_retries: over.num_min_delay_retries.unwrap_or(self.num_min_delay_retries),
            backoff_function: over.backoff_function.unwrap_or(self.backoff_function),
        }
    }

    /// How long to wait before the retry with this number, from 1; `None` if there is no such.
    fn delay_ms(&self, number: u32) -> Option<u64> {
        if number == 0 || number > self.num_retries {
            return None;
        }
        let (least, most) = (f64::from(self.min_delay_target), f64::from(self.max_delay_target));
        let before = self.num_no_delay_retries.saturating_add(self.num_min_delay_retries);
        let last = self.num_retries.saturating_sub(self.num_max_delay_retries);
        let seconds = match number {
            number if number <= self.num_no_delay_retries => 0.0,
            number if number <= before => least,
            number if number > last => most,
            number => self.grown(number - before, last - before, least, most),
        };
        // At most an hour, and never negative.
        Some((seconds * 1000.0).round() as u64)
    }

    /// The delay of step `step` of `steps`, from 1: the first is the least, the last the longest.
    fn grown(&self, step: u32, steps: u32, least: f64, most: f64) -> f64 {
        if steps <= 1 {
            return least;
        }
        let (done, all) = (f64::from(step - 1), f64::from(steps - 1));
        let part = done / all;
        match self.backoff_function {
            Backoff::Linear => least + (most - least) * part,
            Backoff::Arithmetic => least + (most - least) * (done * (done + 1.0)) / (all * (all + 1.0)),
            Backoff::Geometric => least * (most / least).powf(part),
            Backoff::Exponential => least + (most - least) * (done.exp2() - 1.0) / (all.exp2() - 1.0),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(1..=SNS_RETRY_DELAY_S).contains(&self.min_delay_target)
            || self.max_delay_target > SNS_RETRY_DELAY_S
        {
            return Err("minDelayTarget and maxDelayTarget must be from 1 to 3600");
        }
        if self.min_delay_target > self.max_delay_target {
            return Err("minDelayTarget must not be more than maxDelayTarget");
        }
        if self.num_retries > SNS_RETRIES {
            return Err("numRetries must be from 0 to 100");
        }
        let phases = [self.num_no_delay_retries, self.num_min_delay_retries, self.num_max_delay_retries];
        if phases.iter().map(|retries| u64::from(*retries)).sum::<u64>() > u64::from(self.num_retries) {
            return Err("the retries of the phases must not be more than numRetries together");
        }
        let total: u64 = (1..=self.num_retries).filter_map(|number| self.delay_ms(number)).sum();
        match total > SNS_RETRY_TOTAL_S * 1000 {
            true => Err("all retries together must not take longer than 3600 seconds"),
            false => Ok(()),
        }
    }
}

impl DeliveryPolicy {
    /// What holds for a topic; nothing was set, or what was checked when it was set.
    pub fn of_topic(text: Option<&str>) -> Self {
        let parsed = text.and_then(|text| serde_json::from_str::<OfTopic>(text).ok());
        let http = parsed.and_then(|it| it.http).unwrap_or_default();
        Self::default().under_topic(http)
    }

    /// What holds for a subscription of the topic.
    pub fn of_subscription(topic: Option<&str>, own: Option<&str>) -> Self {
        let topic = Self::of_topic(topic);
        let own = own.and_then(|text| serde_json::from_str::<OfSubscription>(text).ok());
        match own.filter(|_| !topic.is_final) {
            Some(own) => topic.under(own.healthy_retry_policy, own.throttle_policy, own.request_policy),
            None => topic,
        }
    }

    fn under_topic(self, http: OfTopicHttp) -> Self {
        let is_final = http.disable_subscription_overrides.unwrap_or(false);
        let of = self.under(
            http.default_healthy_retry_policy,
            http.default_throttle_policy,
            http.default_request_policy,
        );
        Self { is_final, ..of }
    }

    fn under(self, retry: Option<RetryIn>, throttle: Option<ThrottleIn>, request: Option<RequestIn>) -> Self {
        Self {
            retry: self.retry.under(retry),
            per_second: throttle.and_then(|it| it.max_receives_per_second).or(self.per_second),
            content_type: request.and_then(|it| it.header_content_type).or(self.content_type),
            is_final: self.is_final,
        }
    }

    /// How long a message that has been tried so often waits, milliseconds; `None` if it is given up.
    pub fn wait_ms(&self, attempts: u32) -> Option<u64> {
        self.retry.delay_ms(attempts)
    }

    /// The header `Content-Type`.
    pub fn content_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or(CONTENT_TYPE)
    }

    /// As a topic shows it.
    pub fn shown_of_topic(&self) -> String {
        let mut http = serde_json::json!({
            "defaultHealthyRetryPolicy": self.retry,
            "disableSubscriptionOverrides": self.is_final,
            "defaultRequestPolicy": {"headerContentType": self.content_type()},
        });
        if let Some(per_second) = self.per_second {
            http["defaultThrottlePolicy"] = serde_json::json!({"maxReceivesPerSecond": per_second});
        }
        serde_json::json!({"http": http}).to_string()
    }

    /// As a subscription shows it.
    pub fn shown_of_subscription(&self) -> String {
        let throttle = self.per_second.map(|it| serde_json::json!({"maxReceivesPerSecond": it}));
        serde_json::json!({
            "healthyRetryPolicy": self.retry,
            "throttlePolicy": throttle,
            "requestPolicy": {"headerContentType": self.content_type()},
            "sicklyRetryPolicy": null,
            "guaranteed": false,
        })
        .to_string()
    }

    fn check(&self) -> Result<(), &'static str> {
        self.retry.check()?;
        if self.per_second == Some(0) {
            return Err("maxReceivesPerSecond must be at least 1");
        }
        let bare = self.content_type().split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let is_header = hyper::header::HeaderValue::from_str(self.content_type()).is_ok();
        match is_header && CONTENT_TYPES.contains(&bare.as_str()) {
            true => Ok(()),
            false => Err("headerContentType is none of those that there are"),
        }
    }
}

/// Checks the policy of a topic.
pub(super) fn check_of_topic(text: &str) -> Result<(), SnsError> {
    let parsed: OfTopic = read(text)?;
    DeliveryPolicy::default().under_topic(parsed.http.unwrap_or_default()).check().map_err(|why| wrong(&why))
}

/// Checks the policy of a subscription.
pub(super) fn check_of_subscription(text: &str) -> Result<(), SnsError> {
    let own: OfSubscription = read(text)?;
    let policy = DeliveryPolicy::default();
    policy
        .under(own.healthy_retry_policy, own.throttle_policy, own.request_policy)
        .check()
        .map_err(|why| wrong(&why))
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, SnsError> {
    if text.len() > POLICY_BYTES {
        return Err(wrong(&"it is longer than 20 KiB"));
    }
    serde_json::from_str(text).map_err(|error| wrong(&error))
}

fn wrong(why: &dyn std::fmt::Display) -> SnsError {
    SnsError::invalid(format!("Invalid parameter: DeliveryPolicy: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn delays(own: &str) -> Vec<u64> {
        check_of_subscription(own).unwrap();
        let policy = DeliveryPolicy::of_subscription(None, Some(own));
        (1..).map_while(|attempts| policy.wait_ms(attempts)).collect()
    }

    #[test]
    fn phases_follow_one_another() {
        assert_eq!(delays("{}"), [20_000; 3]);
        let of = |function: &str| {
            delays(&format!(
                r#"{{"healthyRetryPolicy":{{"minDelayTarget":1,"maxDelayTarget":16,"numRetries":10,"numNoDelayRetries":1,
                "numMinDelayRetries":2,"numMaxDelayRetries":2,"backoffFunction":"{function}"}}}}"#
            ))
        };
        assert_eq!(of("linear"), [0, 1000, 1000, 1000, 4750, 8500, 12_250, 16_000, 16_000, 16_000]);
        assert_eq!(of("arithmetic"), [0, 1000, 1000, 1000, 2500, 5500, 10_000, 16_000, 16_000, 16_000]);
        assert_eq!(of("geometric"), [0, 1000, 1000, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
        assert_eq!(of("exponential"), [0, 1000, 1000, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
        assert!(delays(r#"{"healthyRetryPolicy":{"numRetries":0}}"#).is_empty());
    }

    #[test]
    fn a_topic_stands_below_its_subscriptions_unless_it_says_otherwise() {
        let topic = r#"{"http":{"defaultHealthyRetryPolicy":{"numRetries":5},"defaultThrottlePolicy":{"maxReceivesPerSecond":7}}}"#;
        let own = r#"{"healthyRetryPolicy":{"numRetries":1},"requestPolicy":{"headerContentType":"application/json"}}"#;
        let policy = DeliveryPolicy::of_subscription(Some(topic), Some(own));
        assert_eq!(
            (policy.retry.num_retries, policy.per_second, policy.content_type()),
            (1, Some(7), "application/json")
        );
        let last = topic.replace("{\"http\":{", "{\"http\":{\"disableSubscriptionOverrides\":true,");
        let policy = DeliveryPolicy::of_subscription(Some(&last), Some(own));
        assert_eq!((policy.retry.num_retries, policy.content_type()), (5, CONTENT_TYPE));
        // What is shown can be set.
        check_of_topic(&policy.shown_of_topic()).unwrap();
        check_of_subscription(&policy.shown_of_subscription()).unwrap();
    }

    #[test]
    fn what_no_policy_may_say_is_refused() {
        for own in [
            "[]",
            "5",
            r#"{"x":1}"#,
            r#"{"healthyRetryPolicy":{"numRetries":101}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":-1}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":"3"}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":0}}"#,
            r#"{"healthyRetryPolicy":{"minDelayTarget":30}}"#,
            r#"{"healthyRetryPolicy":{"maxDelayTarget":3601}}"#,
            r#"{"healthyRetryPolicy":{"numNoDelayRetries":4}}"#,
            r#"{"healthyRetryPolicy":{"numMinDelayRetries":4294967295,"numNoDelayRetries":4294967295}}"#,
            r#"{"healthyRetryPolicy":{"backoffFunction":"cubic"}}"#,
            r#"{"throttlePolicy":{"maxReceivesPerSecond":0}}"#,
            r#"{"healthyRetryPolicy":{"numRetries":100,"maxDelayTarget":100}}"#,
            r#"{"requestPolicy":{"headerContentType":"image/png"}}"#,
            r#"{"requestPolicy":{"headerContentType":"text/plain; a\r\nX: y"}}"#,
        ] {
            assert!(check_of_subscription(own).is_err(), "{own}");
        }
        assert!(check_of_topic(r#"{"healthyRetryPolicy":{}}"#).is_err());
    }
}
