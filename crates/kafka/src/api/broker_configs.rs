//! The broker's settings under the names that Kafka gives them: shown, and changed only in the broker's own configuration.
//! Source: Kafka documentation, "Broker configs".

use super::configs::Config;
use crate::KafkaOptions;
use crate::group::GroupConfig;
use crate::topic_config::{ConfigSource, Kind, Synonym};

/// Every setting that has a meaning here.
pub(super) fn of(options: &KafkaOptions) -> impl Iterator<Item = Config> {
    let defaults = rows(&KafkaOptions::default());
    rows(options).into_iter().zip(defaults).map(|(row, default)| {
        let (name, kind, value, documentation) = row;
        let configured = (value != default.2).then_some((value, ConfigSource::Static));
        let all = configured.into_iter().chain([(default.2, ConfigSource::Default)]);
        let synonyms = all.map(|(value, source)| Synonym { name, value: Some(value), source }).collect();
        Config { name, kind, is_read_only: true, synonyms, documentation }
    })
}

type Row = (&'static str, Kind, String, &'static str);

/// All, by name.
fn rows(options: &KafkaOptions) -> Vec<Row> {
    let mut all = [of_the_broker(options), of_topics(options), of_groups(options)].concat();
    all.sort_by_key(|(name, ..)| *name);
    all
}

fn of_the_broker(options: &KafkaOptions) -> Vec<Row> {
    vec![
        ("broker.id", Kind::Int, options.node_id.to_string(), "This broker's id."),
        (
            "fetch.max.bytes",
            Kind::Int,
            options.fetch_bytes_max.to_string(),
            "Most bytes of records in one answer to a fetch.",
        ),
        ("node.id", Kind::Int, options.node_id.to_string(), "This broker's id."),
    ]
}

/// What holds for topics that do not say.
fn of_topics(options: &KafkaOptions) -> Vec<Row> {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    let fixed = |value: &str| value.to_owned();
    vec![
        (
            "auto.create.topics.enable",
            Kind::Boolean,
            options.auto_create.to_string(),
            "A topic is made when a client names one that does not exist: --kafka-auto-create.",
        ),
        ("compression.type", Kind::Text, fixed("producer"), "Batches are stored as the producer sent them."),
        ("default.replication.factor", Kind::Int, fixed("1"), "There is one copy, on this broker."),
        ("delete.topic.enable", Kind::Boolean, fixed("true"), "Topics can be deleted."),
        ("log.cleanup.policy", Kind::List, fixed("delete"), "Only delete: there is no compaction."),
        (
            "log.message.timestamp.type",
            Kind::Text,
            fixed("CreateTime"),
            "Whose time records carry if their topic does not say.",
        ),
        (
            "log.retention.bytes",
            Kind::Long,
            limit(options.retention_bytes),
            "Bytes per partition past which the oldest records go if their topic does not say: --default-retention-bytes.",
        ),
        (
            "log.retention.ms",
            Kind::Long,
            limit(options.retention_ms),
            "Age past which records go if their topic does not say: --default-retention.",
        ),
        (
            "message.max.bytes",
            Kind::Int,
            options.message_bytes_max.to_string(),
            "Largest batch of a topic that does not say: --default-batch-bytes-max.",
        ),
        ("min.insync.replicas", Kind::Int, fixed("1"), "There is one copy, on this broker."),
        (
            "num.partitions",
            Kind::Int,
            options.default_partitions.to_string(),
            "Partitions of a topic whose creator does not say: --default-partitions.",
        ),
    ]
}

fn of_groups(options: &KafkaOptions) -> Vec<Row> {
    let groups = GroupConfig::from(options);
    vec![
        (
            "group.initial.rebalance.delay.ms",
            Kind::Int,
            groups.initial_rebalance_delay_ms.to_string(),
            "How long a new group waits for more members: --kafka-rebalance-delay.",
        ),
        (
            "group.max.session.timeout.ms",
            Kind::Int,
            groups.session_timeout_ms_max.to_string(),
            "Longest session timeout of a member; fixed.",
        ),
        ("group.max.size", Kind::Int, groups.members_max.to_string(), "Members of one group; fixed."),
        (
            "group.min.session.timeout.ms",
            Kind::Int,
            groups.session_timeout_ms_min.to_string(),
            "Shortest session timeout of a member; fixed.",
        ),
        (
            "offset.metadata.max.bytes",
            Kind::Int,
            duolog_broker::limits::CURSOR_METADATA_BYTES.to_string(),
            "Bytes of metadata of one committed offset; fixed.",
        ),
        (
            "offsets.retention.check.interval.ms",
            Kind::Long,
            groups.offsets_check_interval_ms.to_string(),
            "How often expired offsets are looked for; fixed.",
        ),
        (
            "offsets.retention.minutes",
            Kind::Int,
            (groups.offsets_retention_ms / 60_000).to_string(),
            "How long offsets of a group without members are kept: --kafka-offsets-retention.",
        ),
    ]
}
