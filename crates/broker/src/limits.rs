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
/// Settled runs above the floors of one queue: at the cap only records leased before are leased again. Bounds memory.
pub const LEDGER_RUNS: usize = 65_536;
/// Records of one queue that are leased, delayed or waiting for another attempt: at the cap only they are leased.
pub const LEDGER_RECORDS: usize = 262_144;
/// Batches of one partition that a queue looks ahead.
pub const LEDGER_WINDOW_SPANS: usize = 1_024;
/// The same for all partitions of a queue together; each may have `LEDGER_WINDOW_SPANS_MIN` nevertheless.
pub const LEDGER_WINDOW_SPANS_QUEUE: usize = 65_536;
/// Batches that each partition may look ahead, however many partitions there are.
pub const LEDGER_WINDOW_SPANS_MIN: usize = 16;
/// Records that one lease call may hand over to the dead-letter queue: bounds one commit.
pub const LEDGER_DEAD_PER_LEASE: usize = 1_000;
/// Parts of one change or snapshot piece of a ledger: bounds one state record to about half a MiB.
pub const LEDGER_CHANGE_PARTS: usize = 16_384;
