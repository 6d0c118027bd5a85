//! The broker's settings under the names that Kafka gives them. Source: Kafka documentation, "Broker configs".

use crate::KafkaOptions;
use crate::topic_config::Kind;

/// Name, type and value of each.
pub(super) fn of(options: &KafkaOptions) -> Vec<(&'static str, Kind, String)> {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    vec![
        ("auto.create.topics.enable", Kind::Boolean, options.auto_create.to_string()),
        ("broker.id", Kind::Int, options.node_id.to_string()),
        ("compression.type", Kind::Text, "producer".to_owned()),
        ("default.replication.factor", Kind::Int, "1".to_owned()),
        ("delete.topic.enable", Kind::Boolean, "true".to_owned()),
        ("fetch.max.bytes", Kind::Int, options.fetch_bytes_max.to_string()),
        (
            "group.initial.rebalance.delay.ms",
            Kind::Int,
            options.initial_rebalance_delay.as_millis().to_string(),
        ),
        ("log.cleanup.policy", Kind::List, "delete".to_owned()),
        ("log.message.timestamp.type", Kind::Text, "CreateTime".to_owned()),
        ("log.retention.bytes", Kind::Long, limit(options.retention_bytes)),
        ("log.retention.ms", Kind::Long, limit(options.retention_ms)),
        ("message.max.bytes", Kind::Int, options.message_bytes_max.to_string()),
        ("min.insync.replicas", Kind::Int, "1".to_owned()),
        ("node.id", Kind::Int, options.node_id.to_string()),
        ("num.partitions", Kind::Int, options.default_partitions.to_string()),
        ("offsets.retention.minutes", Kind::Int, (options.offsets_retention.as_secs() / 60).to_string()),
    ]
}
