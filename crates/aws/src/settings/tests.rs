//! What is set is read back; what may not be set is refused.
#![allow(clippy::unwrap_used)]

use super::*;
use duolog_broker::DeadLetter;

const ECHO: Echo<'_> = Echo { region: "us-east-1", account: "000000000000" };

fn set(settings: &mut Settings, attribute: &str, value: &str) -> Result<(), SqsError> {
    settings.set(&Catalog::default(), "q", attribute, value)
}

#[test]
fn what_is_set_is_read_back() {
    let mut settings = Settings::new("q");
    for (attribute, value) in [
        ("VisibilityTimeout", "0"),
        ("MaximumMessageSize", "1024"),
        ("MessageRetentionPeriod", "60"),
        ("DelaySeconds", "900"),
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
    let mut settings = Settings::new("q");
    set(&mut settings, "KmsMasterKeyId", "alias/x").unwrap();
    assert_eq!(settings.get(ECHO, "SqsManagedSseEnabled").as_deref(), Some("false"));
    assert_eq!(settings.get(ECHO, "KmsDataKeyReusePeriodSeconds").as_deref(), Some("300"));
    set(&mut settings, "SqsManagedSseEnabled", "true").unwrap();
    assert_eq!(settings.get(ECHO, "KmsMasterKeyId"), None);
    let both = r#"{"Attributes":{"KmsMasterKeyId":"k","SqsManagedSseEnabled":"true"}}"#;
    let both: crate::codec::request::SetQueueAttributes<'_> = serde_json::from_str(both).unwrap();
    let error = settings.set_all(&Catalog::default(), "q", &both.attributes).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidAttributeName);
}

#[test]
fn defaults_are_those_of_the_service() {
    let settings = Settings::new("q");
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
    let mut settings = Settings::new("q");
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
}

#[test]
fn a_redrive_policy_needs_a_target_and_a_count() {
    let mut settings = Settings::new("q");
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
    settings.policy.dead_letter = Some(DeadLetter::Queue("dead".to_owned()));
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
    let mut settings = Settings::new("q");
    let by_queue = r#"{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:a:b:q"]}"#;
    set(&mut settings, "RedriveAllowPolicy", by_queue).unwrap();
    for policy in ["{}", "x", r#"{"redrivePermission":"byQueue"}"#, r#"{"redrivePermission":"some"}"#] {
        let error = set(&mut settings, "RedriveAllowPolicy", policy).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidParameterValue, "{policy}");
    }
}

#[test]
fn a_fifo_queue_has_attributes_of_its_own() {
    let mut settings = Settings::new("q.fifo");
    for (attribute, default, other) in [
        ("FifoQueue", "true", "true"),
        ("ContentBasedDeduplication", "false", "true"),
        ("DeduplicationScope", "queue", "messageGroup"),
        ("FifoThroughputLimit", "perQueue", "perMessageGroupId"),
    ] {
        assert_eq!(settings.get(ECHO, attribute).as_deref(), Some(default));
        set(&mut settings, attribute, other).unwrap();
        assert_eq!(settings.get(ECHO, attribute).as_deref(), Some(other));
        let error = set(&mut settings, attribute, "nonsense").unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidAttributeValue);
        let error = set(&mut Settings::new("q"), attribute, other).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidAttributeName, "{attribute}");
    }
    assert_eq!(settings.dedup().unwrap().window_ms, 300_000);
    assert!(settings.dedup().unwrap().per_key && settings.is_content_based());
    assert_eq!(settings.policy.order, Order::ByKey);
    let limit = r#"{"Attributes":{"FifoThroughputLimit":"perMessageGroupId"}}"#;
    let limit: crate::codec::request::SetQueueAttributes<'_> = serde_json::from_str(limit).unwrap();
    let mut settings = Settings::new("q.fifo");
    let error = settings.set_all(&Catalog::default(), "q.fifo", &limit.attributes).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidAttributeValue);
}
