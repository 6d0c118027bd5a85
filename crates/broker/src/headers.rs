//! The headers that the broker writes into records that it moves, and those that it looks at. Their values are text.

use duolog_record::Header;

/// A key by which a record that is sent twice is stored once, on a topic that deduplicates.
pub const IDEMPOTENCY_KEY: &str = "duolog-idempotency-key";
/// What the header with a value's type begins with, followed by the name of the header that holds the value: `String`, `Number`, `Binary`,
/// each also with more after a dot. Without it a value is a `String`.
pub const TYPE_PREFIX: &str = "duolog-type.";
/// Where the record was first appended: topic id (32 hexadecimal digits), index of the partition and offset, with `/`
/// between. Written by the first move and kept by later ones, so that an identity derived from it stays the same.
pub const ORIGIN: &str = "duolog-origin";
/// Where a captured record was published: those who listen there have heard it already.
pub const SUBJECT: &str = "duolog-subject";
/// Where a header that a line cannot hold is echoed: name and value, both base64, with a blank between.
pub const HEADER_BASE64: &str = "duolog-header-base64";
/// What is to be known of an echoed body: `null`, if the record has none.
pub const BODY: &str = "duolog-body";
/// The time to live in queues that a record brings along, milliseconds. It is looked at where records are published one by one, not in
/// batches that producers have sealed, and not by queues that look at keys.
pub const TTL: &str = "duolog-ttl";
/// The priority of a record in a queue that has priorities: 0 to 255.
pub const PRIORITY: &str = "duolog-priority";
/// A topic that the record was forwarded from, by name; one such header for each, in that order.
pub const FORWARDED_FROM: &str = "duolog-forwarded-from";
/// The exchange that a record was published to.
pub const EXCHANGE: &str = "duolog-exchange";
/// Why it was moved to where the dead go: `attempts`, `rejected`, `malformed`, `expired` or `maxlen`.
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
/// All that is known of this and earlier moves: see [`crate::deaths::Deaths`].
pub const DEAD_HISTORY: &str = "duolog-dead-history";
/// It was moved through an exchange.
pub const DEAD_EXCHANGE: &str = "duolog-dead-exchange";
/// What was rejected goes round as often as it is.
pub(crate) const REASON_REJECTED: &str = "rejected";
/// The time to live that a record brings along, milliseconds.
pub(crate) fn ttl_ms(headers: &[Header]) -> Option<u64> {
    let header = headers.iter().find(|header| header.key == TTL)?;
    std::str::from_utf8(header.value.as_deref()?).ok()?.parse().ok()
}

/// The priority that a record brings along; a higher one than there is counts as the highest.
pub(crate) fn priority(headers: &[Header]) -> Option<u8> {
    let header = headers.iter().find(|header| header.key == PRIORITY)?;
    let number: u64 = std::str::from_utf8(header.value.as_deref()?).ok()?.parse().ok()?;
    Some(u8::try_from(number).unwrap_or(u8::MAX))
}

/// What all headers of a move to a dead-letter queue begin with; a later move replaces them.
pub(crate) const DEAD_PREFIX: &[u8] = b"duolog-dead-";
