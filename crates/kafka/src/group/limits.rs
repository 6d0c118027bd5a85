//! The limits of consumer groups, each with its unit and its reason.

/// Groups with members, or that had some and still have offsets; a group that only commits costs nothing here.
pub const GROUPS: usize = 100_000;
/// Bytes that the members of all groups may occupy: ids, metadata, assignments, fixed cost.
pub const BYTES_TOTAL: usize = 64 << 20;
/// Members of one group, whatever is configured: a rebalance answers the leader with all of them.
pub const MEMBERS_PER_GROUP: usize = 5_000;
/// Member ids of one group given out and not used yet.
pub const PENDING_PER_GROUP: usize = 5_000;
/// Members named by one leave request: bounds one answer.
pub const LEAVES_PER_REQUEST: usize = 10_000;
/// Protocols (assignors) that one member offers.
pub const PROTOCOLS_PER_MEMBER: usize = 64;
/// Bytes of metadata that one member offers, over all its protocols.
pub const MEMBER_METADATA_BYTES: usize = 1 << 20;
/// Bytes of assignments that a leader hands over, over all members.
pub const ASSIGNMENT_BYTES: usize = 8 << 20;
/// Bytes of a group id, instance id, client id or host name that a group keeps.
pub const NAME_BYTES: usize = 32_767;
/// Topics looked at in one member's subscription.
pub const SUBSCRIBED_TOPICS: usize = 100_000;
/// What a member costs besides its strings and metadata: map nodes, timers.
pub const MEMBER_OVERHEAD_BYTES: usize = 512;
/// How long a newcomer's first join may wait: it has no id to send heartbeats with. Source: Kafka, five minutes.
pub const NEWCOMER_JOIN_MS: u64 = 5 * 60 * 1000;
/// Longest rebalance timeout that is honoured, milliseconds: a day; a longer one is cut.
pub const REBALANCE_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;
/// Shortest time between two attempts to close a round to which nobody came: a rebalance timeout of 0 must not spin.
pub const REBALANCE_RETRY_MS: u64 = 1_000;
/// Looks at all offsets of a group at a time: each may be as large as `duolog_broker::limits::CURSORS_BYTES`, and is paid
/// for only once its size is known.
pub const LOOKS_AT_A_TIME: usize = 4;
