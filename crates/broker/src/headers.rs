//! The headers that the broker writes into records that it moves. Their values are text.

/// A key by which a record that is sent twice is stored once, on a topic that deduplicates.
pub const IDEMPOTENCY_KEY: &str = "duolog-idempotency-key";
/// Where the record was first appended: topic id (32 hexadecimal digits), index of the partition and offset, with `/`
/// between. Written by the first move and kept by later ones, so that an identity derived from it stays the same.
pub const ORIGIN: &str = "duolog-origin";
/// Where a captured record was published: those who listen there have heard it already.
pub const SUBJECT: &str = "duolog-subject";
/// Where a header that a line cannot hold is echoed: name and value, both base64, with a blank between.
pub const HEADER_BASE64: &str = "duolog-header-base64";
/// What is to be known of an echoed body: `null`, if the record has none.
pub const BODY: &str = "duolog-body";
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
