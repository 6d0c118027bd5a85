//! The limits of this frontend, each with its unit and its reason.

/// Arguments of one request. Redis has taken so many since its beginning.
pub const ARGUMENTS: usize = 1 << 20;
/// Arguments for which a connection keeps room from one request to the next.
pub const ARGUMENTS_KEPT: usize = 256;
/// Bytes of an inline command, and of a line with a number. Source: Redis `PROTO_INLINE_MAX_SIZE`.
pub const LINE_BYTES: usize = 64 << 10;
/// Bytes of a request beside its largest argument: names of a command's other arguments.
pub const REQUEST_OVERHEAD_BYTES: usize = 1 << 20;
/// Bytes of one argument at the most, whatever operators allow. Source: Redis `proto-max-bulk-len`.
pub const BULK_BYTES: usize = 512 << 20;
/// Bytes of replies that a client has not taken, above which no more of its requests are served.
pub const REPLIES_BYTES: usize = 1 << 20;
/// Bytes of such replies that need no room in the memory budget: few clients have more.
pub const REPLIES_FREE_BYTES: usize = 64 << 10;
/// Bytes for replies that a connection keeps from one input to the next.
pub const REPLIES_KEPT_BYTES: usize = 4 << 10;
/// Bytes of what a client called that an error quotes. Source: Redis 7.0.
pub const QUOTED_BYTES: usize = 128;
/// Bytes of a connection's name, and of its library's name and version: every CLIENT LIST shows them.
pub const NAME_BYTES: usize = 1 << 10;
/// Numbered databases. Source: the default of Redis.
pub const DATABASES: i64 = 16;
/// Channels, patterns and shard channels that one connection listens to.
pub const SUBSCRIPTIONS: usize = 1_000_000;
/// Bytes of a channel's name: as many as a subject may have, what marks a shard channel aside.
pub const CHANNEL_BYTES: usize = duolog_broker::limits::LIVE_SUBJECT_BYTES - duolog_broker::live::APART.len();
/// Bytes of a pattern: every channel is held against it.
pub const PATTERN_BYTES: usize = duolog_broker::limits::GLOB_BYTES;
/// Bytes of the names of channels and patterns that all connections together listen to: each is kept about four times.
pub const NAMES_BYTES: usize = 64 << 20;
