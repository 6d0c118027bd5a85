//! Channels as subjects of the broker: a channel is the subject of its name, and shard channels lie apart.

use duolog_broker::live::APART;

/// Kinds of subscriptions, as their tags carry them.
pub const CHANNEL: u32 = 0;
/// See [`CHANNEL`].
pub const PATTERN: u32 = 1;
/// See [`CHANNEL`].
pub const SHARD: u32 = 2;

/// What stands before the name of a shard channel in its subject: patterns do not hear such subjects, and no other protocol can
/// write them.
pub const SHARD_PREFIX: &[u8] = APART;

/// True for the subject of a channel, false for that of a shard channel.
pub fn is_channel(subject: &[u8]) -> bool {
    !subject.starts_with(SHARD_PREFIX)
}

/// The subject of a shard channel.
pub fn of_shard(channel: &[u8]) -> Vec<u8> {
    [SHARD_PREFIX, channel].concat()
}
