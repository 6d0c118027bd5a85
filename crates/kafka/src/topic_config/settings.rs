//! Every topic setting of Kafka 4.2, and our own, by name.
//!
//! What a setting does here is said in its documentation, which clients can ask for; docs/kafka.md says the same by kind.

use super::{Check, Kind, Setting};

/// Largest batch that fits a commit, bytes. Source: `duolog_broker::limits::GROUP_BYTES`.
const BATCH_BYTES: i64 = duolog_broker::limits::GROUP_BYTES as i64;

/// Longest window of deduplication, milliseconds. Source: `duolog_broker::limits::DEDUP_WINDOW_MS`.
const DEDUP_WINDOW_MS: i64 = duolog_broker::limits::DEDUP_WINDOW_MS as i64;

const SEGMENTS: &str = "Accepted and kept, without effect: the log is not cut into segments per partition, and retention does not depend on it.";
const SYNCS: &str = "Accepted and kept, without effect: what is acknowledged is synced; duolog.durability says otherwise per topic.";
const COMPACTION: &str = "Accepted and kept, without effect: there is no compaction.";
const RECOMPRESSION: &str =
    "Accepted and kept, without effect: the broker stores batches as the producer compressed them.";
const REPLICATION: &str = "Accepted and kept, without effect: there is one copy, on this broker.";
const TIERS: &str = "Accepted and kept, without effect: there is no remote storage.";
const TIMES: &str = "Accepted and kept, without effect: the broker takes the producer's timestamps as they are; retention counts from the time of append.";

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    documentation: &'static str,
) -> Setting {
    Setting { name, kind, default: Some(default), check, of_broker: None, documentation }
}

impl Setting {
    /// With the broker's setting that topics follow.
    const fn follows(mut self, of_broker: &'static str) -> Self {
        self.of_broker = Some(of_broker);
        self
    }

    /// Not set unless somebody sets it.
    const fn optional(mut self) -> Self {
        self.default = None;
        self
    }
}

const fn at_least(least: i64) -> Check {
    Check::Between(least, i64::MAX)
}

/// Every setting of a topic, by name.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "cleanup.policy",
        Kind::List,
        "delete",
        Check::Only("delete", "compaction is not supported; only \"delete\" is"),
        "What happens to old records. Only delete: compaction is not supported and is refused.",
    )
    .follows("log.cleanup.policy"),
    setting("compression.gzip.level", Kind::Int, "-1", Check::Between(-1, 9), RECOMPRESSION)
        .follows("compression.gzip.level"),
    setting("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17), RECOMPRESSION)
        .follows("compression.lz4.level"),
    setting(
        "compression.type",
        Kind::Text,
        "producer",
        Check::Only(
            "producer",
            "batches are stored as the producer sent them; only \"producer\" is supported",
        ),
        "Batches are stored as the producer sent them. Only producer; recompression is refused.",
    )
    .follows("compression.type"),
    setting("compression.zstd.level", Kind::Int, "3", Check::Between(-131_072, 22), RECOMPRESSION)
        .follows("compression.zstd.level"),
    setting("delete.retention.ms", Kind::Long, "86400000", at_least(0), COMPACTION)
        .follows("log.cleaner.delete.retention.ms"),
    setting(
        "duolog.dedup.window.ms",
        Kind::Long,
        "0",
        Check::Between(0, DEDUP_WINDOW_MS),
        "How long a record with the header duolog-idempotency-key is not stored again; 0 stores every record.",
    ),
    setting(
        "duolog.durability",
        Kind::Text,
        "",
        Check::OneOf(&["sync", "os"]),
        "What an acknowledgement means. sync: on stable storage; os: handed to the system. Without it, as the broker.",
    )
    .optional(),
    setting("file.delete.delay.ms", Kind::Long, "60000", at_least(0), SEGMENTS)
        .follows("log.segment.delete.delay.ms"),
    setting("flush.messages", Kind::Long, "9223372036854775807", at_least(1), SYNCS)
        .follows("log.flush.interval.messages"),
    setting("flush.ms", Kind::Long, "9223372036854775807", at_least(0), SYNCS)
        .follows("log.flush.interval.ms"),
    setting("follower.replication.throttled.replicas", Kind::List, "", Check::Any, REPLICATION),
    setting("index.interval.bytes", Kind::Int, "4096", at_least(0), SEGMENTS)
        .follows("log.index.interval.bytes"),
    setting("leader.replication.throttled.replicas", Kind::List, "", Check::Any, REPLICATION),
    setting("local.retention.bytes", Kind::Long, "-2", at_least(-2), TIERS)
        .follows("log.local.retention.bytes"),
    setting("local.retention.ms", Kind::Long, "-2", at_least(-2), TIERS).follows("log.local.retention.ms"),
    setting("max.compaction.lag.ms", Kind::Long, "9223372036854775807", at_least(1), COMPACTION)
        .follows("log.cleaner.max.compaction.lag.ms"),
    setting(
        "max.message.bytes",
        Kind::Int,
        "1048588",
        Check::Between(1, BATCH_BYTES),
        "Largest batch as sent, compressed if it is, bytes; above it MESSAGE_TOO_LARGE. At most 16777216.",
    )
    .follows("message.max.bytes"),
    setting("message.timestamp.after.max.ms", Kind::Long, "9223372036854775807", at_least(0), TIMES)
        .follows("log.message.timestamp.after.max.ms"),
    setting("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", at_least(0), TIMES)
        .follows("log.message.timestamp.before.max.ms"),
    setting(
        "message.timestamp.type",
        Kind::Text,
        "CreateTime",
        Check::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose time new records carry: CreateTime, the producer's, or LogAppendTime, the broker's.",
    )
    .follows("log.message.timestamp.type"),
    setting("min.cleanable.dirty.ratio", Kind::Double, "0.5", Check::Ratio, COMPACTION)
        .follows("log.cleaner.min.cleanable.ratio"),
    setting("min.compaction.lag.ms", Kind::Long, "0", at_least(0), COMPACTION)
        .follows("log.cleaner.min.compaction.lag.ms"),
    setting(
        "min.insync.replicas",
        Kind::Int,
        "1",
        at_least(1),
        "Accepted and kept, without effect: there is one copy, and what is acknowledged is on this broker's disk.",
    )
    .follows("min.insync.replicas"),
    setting("preallocate", Kind::Boolean, "false", Check::Any, SEGMENTS).follows("log.preallocate"),
    setting("remote.log.copy.disable", Kind::Boolean, "false", Check::Any, TIERS),
    setting("remote.log.delete.on.disable", Kind::Boolean, "false", Check::Any, TIERS),
    setting(
        "remote.storage.enable",
        Kind::Boolean,
        "false",
        Check::Only("false", "there is no remote storage"),
        "Only false: there is no remote storage, and true is refused.",
    ),
    setting(
        "retention.bytes",
        Kind::Long,
        "-1",
        at_least(-1),
        "Bytes per partition past which the oldest records go; -1 is no limit. What a queue holds unsettled stays. Set on a topic that a queue made, it is kept by retention instead of until settled.",
    )
    .follows("log.retention.bytes"),
    setting(
        "retention.ms",
        Kind::Long,
        "604800000",
        at_least(-1),
        "Age past which records go, by the broker's time of append; -1 keeps them. What a queue holds unsettled stays. Set on a topic that a queue made, it is kept by retention instead of until settled.",
    )
    .follows("log.retention.ms"),
    setting("segment.bytes", Kind::Int, "1073741824", at_least(1), SEGMENTS).follows("log.segment.bytes"),
    setting("segment.index.bytes", Kind::Int, "10485760", at_least(4), SEGMENTS)
        .follows("log.index.size.max.bytes"),
    setting("segment.jitter.ms", Kind::Long, "0", at_least(0), SEGMENTS).follows("log.roll.jitter.ms"),
    setting("segment.ms", Kind::Long, "604800000", at_least(1), SEGMENTS).follows("log.roll.ms"),
    setting("unclean.leader.election.enable", Kind::Boolean, "false", Check::Any, REPLICATION)
        .follows("unclean.leader.election.enable"),
];
