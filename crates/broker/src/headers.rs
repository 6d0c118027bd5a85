//! The headers that the broker writes into records that it moves. Their values are text.

/// A key by which a record that is sent twice is stored once, on a topic that deduplicates.
pub const IDEMPOTENCY_KEY: &str = "duolog-idempotency-key";
/// Where the record was first appended: topic id (32 hexadecimal digits), index of the partition and offset, with `/`
/// between. Written by the first move and kept by later ones, so that an identity derived from it stays the same.
pub const ORIGIN: &str = "duolog-origin";
/// Why it was moved to a dead-letter queue: `attempts`, `rejected` or `malformed`.
pub const DEAD_REASON: &str = "duolog-dead-reason";
/// Name of the queue that it was moved from.
pub const DEAD_SOURCE: &str = "duolog-dead-source";
/// Name of the topic that it was moved from.
pub const DEAD_TOPIC: &str = "duolog-dead-topic";
/// Index of the partition that it was moved from.
pub const DEAD_PARTITION: &str = "duolog-dead-partition";
/// Its offset there.
pub const DEAD_OFFSET: &str = "duolog-dead-offset";
/// How many times it was leased there.
pub const DEAD_ATTEMPTS: &str = "duolog-dead-attempts";
/// When it was first leased there, milliseconds since the epoch.
pub const DEAD_FIRST_TIME: &str = "duolog-dead-first-time";
/// When it was moved, milliseconds since the epoch.
pub const DEAD_LAST_TIME: &str = "duolog-dead-last-time";
/// What all headers of a move to a dead-letter queue begin with; a later move replaces them.
pub(crate) const DEAD_PREFIX: &[u8] = b"duolog-dead-";
