//! Settings set, deleted, appended to, replaced; what then holds and what decides it.
#![allow(clippy::unwrap_used)]

use duolog_broker::{Keep, Labels, Topic, TopicId, TopicPolicy};
use duolog_record::Timestamp;

use super::policy::{default_policy, policy};
use super::*;

fn topic(policy: TopicPolicy, labels: Labels) -> Topic {
    Topic {
        id: TopicId(1),
        namespace: "default".to_owned(),
        name: "t".to_owned(),
        partitions: Vec::new(),
        policy,
        made_by_queue: false,
        created_at: Timestamp(0),
        labels,
    }
}

fn made_by_queue() -> Topic {
    let policy = TopicPolicy {
        keep: Keep::UntilSettled { after: 3 },
        retention_ms: None,
        ..default_policy(&KafkaOptions::default())
    };
    Topic { made_by_queue: true, ..topic(policy, Labels::new()) }
}

fn plain() -> Topic {
    topic(default_policy(&KafkaOptions::default()), Labels::new())
}

/// The topic after these changes.
fn after(topic: &Topic, changes: &[(&str, Change)]) -> Result<Topic, ConfigError> {
    let (policy, labels) = changed(topic, &KafkaOptions::default(), changes.iter().copied())?;
    Ok(Topic { policy, labels, ..topic.clone() })
}

fn shown(topic: &Topic, name: &str) -> (Option<String>, ConfigSource) {
    let first = find(name).unwrap().synonyms(topic, &KafkaOptions::default()).remove(0);
    (first.value, first.source)
}

fn value(value: &str, source: ConfigSource) -> (Option<String>, ConfigSource) {
    (Some(value.to_owned()), source)
}

#[test]
fn settings_are_in_order_and_their_defaults_pass_their_own_checks() {
    assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
    for setting in SETTINGS {
        assert_eq!(
            setting.default.map_or(Ok(()), |default| setting.check(default)),
            Ok(()),
            "{}",
            setting.name
        );
        assert!(!setting.documentation.is_empty());
    }
}

#[test]
fn what_is_set_decides_and_what_is_deleted_follows_the_default_again() {
    let set = after(
        &plain(),
        &[
            ("retention.ms", Change::Set("1000")),
            ("max.message.bytes", Change::Set("2000")),
            ("message.timestamp.type", Change::Set("LogAppendTime")),
            ("segment.ms", Change::Set("5")),
            ("duolog.durability", Change::Set("os")),
        ],
    )
    .unwrap();
    assert_eq!(set.policy.retention_ms, Some(1000));
    assert_eq!(set.policy.batch_bytes_max, 2000);
    assert_eq!(set.policy.timestamps, duolog_record::TimestampType::Append);
    assert_eq!(shown(&set, "segment.ms"), value("5", ConfigSource::Topic));
    assert_eq!(shown(&set, "duolog.durability"), value("os", ConfigSource::Topic));

    let names =
        ["retention.ms", "max.message.bytes", "message.timestamp.type", "segment.ms", "duolog.durability"];
    let back = after(&set, &names.map(|name| (name, Change::Delete))).unwrap();
    assert_eq!(back, plain());
    assert_eq!(shown(&back, "duolog.durability"), (None, ConfigSource::Default));
}

#[test]
fn what_another_door_has_changed_since_is_shown_as_it_holds() {
    let changes = [
        ("duolog.dedup.window.ms", Change::Set("1000")),
        ("duolog.durability", Change::Set("os")),
        ("retention.ms", Change::Set("5")),
    ];
    let mut topic = after(&plain(), &changes).unwrap();
    topic.policy.dedup = Some(duolog_broker::DedupPolicy { window_ms: 2000, per_key: true });
    topic.policy.durability = None;
    topic.policy.retention_ms = None;
    assert_eq!(shown(&topic, "duolog.dedup.window.ms"), value("2000", ConfigSource::Topic));
    assert_eq!(shown(&topic, "duolog.durability"), (None, ConfigSource::Default));
    assert_eq!(shown(&topic, "retention.ms"), value("-1", ConfigSource::Topic));
    topic.policy.dedup = None;
    assert_eq!(shown(&topic, "duolog.dedup.window.ms"), value("0", ConfigSource::Default));
    // A change of something else leaves it so.
    let later = after(&topic, &[("segment.ms", Change::Set("5"))]).unwrap();
    assert_eq!(later.policy, topic.policy);
    // What says the default in so many words is set all the same.
    let said = after(&plain(), &[("duolog.dedup.window.ms", Change::Set("0"))]).unwrap();
    assert_eq!(shown(&said, "duolog.dedup.window.ms"), value("0", ConfigSource::Topic));
}

#[test]
fn what_is_refused_changes_nothing_and_says_why() {
    let why = |changes: &[(&str, Change)]| after(&plain(), changes).unwrap_err().to_string();
    assert_eq!(why(&[("nope", Change::Delete)]), "unknown topic config name: nope");
    let twice = [("retention.ms", Change::Set("1")), ("retention.ms", Change::Delete)];
    assert_eq!(why(&twice), "retention.ms is given twice");
    let refused = [
        ("retention.ms", "-2"),
        ("retention.ms", ""),
        ("retention.ms", "9223372036854775808"),
        ("max.message.bytes", "0"),
        ("max.message.bytes", "16777217"),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", ""),
        ("compression.type", "zstd"),
        ("remote.storage.enable", "true"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("preallocate", "yes"),
        ("min.insync.replicas", "0"),
        ("message.timestamp.type", "logappendtime"),
    ];
    for (name, value) in refused {
        assert!(
            matches!(after(&plain(), &[(name, Change::Set(value))]), Err(ConfigError::Value { .. })),
            "{name}"
        );
    }
}

#[test]
fn space_around_a_value_and_the_case_of_a_truth_value_do_not_count() {
    for (name, given, kept) in [
        ("retention.ms", " 5000 ", "5000"),
        ("preallocate", "TRUE", "true"),
        ("cleanup.policy", " delete", "delete"),
        ("message.timestamp.type", "LogAppendTime ", "LogAppendTime"),
    ] {
        let topic = after(&plain(), &[(name, Change::Set(given))]).unwrap();
        assert_eq!(shown(&topic, name), value(kept, ConfigSource::Topic));
        let (_, labels) = policy(&KafkaOptions::default(), [(name, Some(given))].into_iter()).unwrap();
        assert_eq!(labels.values().collect::<Vec<_>>(), [kept]);
    }
}

#[test]
fn lists_are_appended_to_and_subtracted_from_and_nothing_else_is() {
    let throttled = "leader.replication.throttled.replicas";
    let some = after(&plain(), &[(throttled, Change::Append("0:1, 1:1"))]).unwrap();
    let more = after(&some, &[(throttled, Change::Append("1:1,2:1"))]).unwrap();
    assert_eq!(shown(&more, throttled), value("0:1,1:1,2:1", ConfigSource::Topic));
    let less = after(&more, &[(throttled, Change::Subtract("1:1,7:7"))]).unwrap();
    assert_eq!(shown(&less, throttled), value("0:1,2:1", ConfigSource::Topic));
    let same = after(&plain(), &[("cleanup.policy", Change::Append("delete"))]).unwrap();
    assert_eq!(shown(&same, "cleanup.policy"), value("delete", ConfigSource::Topic));
    for change in [Change::Append("compact"), Change::Subtract("delete")] {
        assert!(matches!(after(&plain(), &[("cleanup.policy", change)]), Err(ConfigError::Value { .. })));
    }
    let no_list = after(&plain(), &[("retention.ms", Change::Append("1"))]);
    assert_eq!(no_list, Err(ConfigError::NotAList("retention.ms")));
}

#[test]
fn operations_of_the_wire() {
    assert_eq!(Change::of_wire("n", 0, Some("v")), Ok(Change::Set("v")));
    assert_eq!(Change::of_wire("n", 1, None), Ok(Change::Delete));
    assert_eq!(Change::of_wire("n", 2, Some("v")), Ok(Change::Append("v")));
    assert_eq!(Change::of_wire("n", 3, Some("v")), Ok(Change::Subtract("v")));
    assert_eq!(Change::of_wire("n", 0, None), Err(ConfigError::NoValue("n".to_owned())));
    let unknown = ConfigError::Operation { name: "n".to_owned(), operation: -1 };
    assert_eq!(Change::of_wire("n", -1, Some("v")), Err(unknown));
}

#[test]
fn a_replacement_forgets_what_it_does_not_name() {
    let before =
        after(&plain(), &[("retention.ms", Change::Set("1")), ("segment.ms", Change::Set("2"))]).unwrap();
    let set = [("retention.bytes", Some("7")), ("flush.ms", None)];
    let (policy, labels) = replaced(&before, &KafkaOptions::default(), set.into_iter()).unwrap();
    let now = Topic { policy, labels, ..before };
    assert_eq!((now.policy.retention_ms, now.policy.retention_bytes), (plain().policy.retention_ms, Some(7)));
    assert_eq!(now.labels.len(), 1);
    assert_eq!(shown(&now, "segment.ms"), value("604800000", ConfigSource::Default));
}

#[test]
fn a_replacement_leaves_what_is_ours_and_another_door_has_set() {
    let window = "duolog.dedup.window.ms";
    let replaced = |topic: &Topic| {
        let (policy, labels) = replaced(topic, &KafkaOptions::default(), std::iter::empty()).unwrap();
        Topic { policy, labels, ..topic.clone() }
    };
    let by_kafka =
        after(&plain(), &[(window, Change::Set("1000")), ("retention.ms", Change::Set("5"))]).unwrap();
    assert_eq!(replaced(&by_kafka), plain());
    let mut by_queue = by_kafka;
    by_queue.policy.dedup = Some(duolog_broker::DedupPolicy { window_ms: 300_000, per_key: true });
    let left = replaced(&by_queue);
    assert_eq!(left.policy, TopicPolicy { dedup: by_queue.policy.dedup, ..plain().policy });
    assert_eq!(shown(&left, window), value("300000", ConfigSource::Topic));
}

#[test]
fn a_window_of_zero_keeps_its_scope_and_so_does_a_deleted_one() {
    let window = "duolog.dedup.window.ms";
    let mut topic = plain();
    topic.policy.dedup = Some(duolog_broker::DedupPolicy { window_ms: 300_000, per_key: true });
    let off = after(&topic, &[(window, Change::Set("0"))]).unwrap();
    assert_eq!(off.policy.dedup, Some(duolog_broker::DedupPolicy { window_ms: 0, per_key: true }));
    let on = after(&off, &[(window, Change::Set("1000"))]).unwrap();
    assert_eq!(on.policy.dedup, Some(duolog_broker::DedupPolicy { window_ms: 1_000, per_key: true }));
    let deleted = after(&on, &[(window, Change::Delete)]).unwrap();
    assert_eq!(deleted.policy.dedup, off.policy.dedup);
    let of_topic = after(&plain(), &[(window, Change::Set("1000"))]).unwrap();
    assert_eq!(after(&of_topic, &[(window, Change::Delete)]).unwrap().policy.dedup, None);
    assert_eq!(after(&plain(), &[(window, Change::Set("0"))]).unwrap().policy.dedup, None);
}

#[test]
fn labels_of_others_stay() {
    let labels = Labels::from([("aws:tag".to_owned(), "x".to_owned())]);
    let topic = topic(plain().policy, labels.clone());
    let set = after(&topic, &[("segment.ms", Change::Set("5"))]).unwrap();
    assert_eq!(set.labels.len(), 2);
    let (_, kept) = replaced(&set, &KafkaOptions::default(), std::iter::empty()).unwrap();
    assert_eq!(kept, labels);
}

#[test]
fn a_topic_made_by_a_queue_is_kept_by_retention_while_one_is_set() {
    let topic = made_by_queue();
    assert_eq!(shown(&topic, "retention.ms"), value("-1", ConfigSource::Default));
    let other = after(&topic, &[("max.message.bytes", Change::Set("5"))]).unwrap();
    assert_eq!(other.policy.keep, Keep::UntilSettled { after: 3 });
    let kept = after(&topic, &[("retention.bytes", Change::Set("5"))]).unwrap();
    assert_eq!((kept.policy.keep, kept.policy.retention_ms), (Keep::Retention, None));
    let still = after(&kept, &[("retention.ms", Change::Delete)]).unwrap();
    assert_eq!(still.policy.keep, Keep::Retention);
    let back = after(&kept, &[("retention.bytes", Change::Delete)]).unwrap();
    assert_eq!(back.policy.keep, Keep::UntilSettled { after: 3 }, "as it was before");
    assert_eq!(back.labels, topic.labels);
    assert_eq!((back.policy.retention_ms, back.policy.retention_bytes), (None, None));
}

#[test]
fn a_default_that_the_broker_was_given_is_told_from_the_built_in_one() {
    let options = KafkaOptions { retention_ms: Some(5), ..KafkaOptions::default() };
    let topic = topic(default_policy(&options), Labels::new());
    let synonyms = find("retention.ms").unwrap().synonyms(&topic, &options);
    let of =
        |value: &str, source| Synonym { name: "log.retention.ms", value: Some(value.to_owned()), source };
    assert_eq!(synonyms, [of("5", ConfigSource::Static), of("604800000", ConfigSource::Default)]);
    // Made before the broker's default was changed: it goes on as it was made.
    let synonyms = find("retention.ms").unwrap().synonyms(&plain(), &options);
    assert_eq!((synonyms[0].value.as_deref(), synonyms[0].source), (Some("604800000"), ConfigSource::Topic));
    assert_eq!(synonyms.len(), 3);
}
