//! The limits of the broker, each with its unit and its reason.

/// Partitions of one topic: bounds one catalog entry and one create call.
pub const PARTITIONS_PER_TOPIC: u32 = 10_000;
/// Records leased by one call: bounds one answer.
pub const LEASES_MAX: u32 = 1_000;
/// Records of one publish: bounds one command.
pub const PUBLISH_RECORDS: usize = 10_000;
/// Bytes of a cursor's metadata: Source: Kafka `offset.metadata.max.bytes`.
pub const CURSOR_METADATA_BYTES: usize = 4096;
/// Longest visibility timeout, milliseconds: 12 hours. Source: SQS API reference, ChangeMessageVisibility.
pub const VISIBILITY_MS: u64 = 12 * 60 * 60 * 1000;
