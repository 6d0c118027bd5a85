//! Refusals as Redis words them; those of the broker by a match without a wildcard arm.

use duolog_broker::errors::AppendError;
use duolog_broker::live::{PublishError, SubscribeError};

/// A user that may not.
const NO_PERMISSION: &str = "NOPERM this user has no permissions to access the channel";

/// An error's text. Most are fixed.
pub fn of_publish(error: &PublishError) -> &'static str {
    match error {
        PublishError::Denied => NO_PERMISSION,
        PublishError::TooLong => "ERR channel name is too long",
    }
}

/// See [`of_publish`].
pub fn of_subscribe(error: &SubscribeError) -> &'static str {
    match error {
        SubscribeError::Denied => NO_PERMISSION,
        SubscribeError::OverLimit => "ERR too many subscriptions, or a pattern that is too long",
    }
}

/// A captured message that could not be stored.
pub fn not_captured(topic: &str, error: &AppendError) -> Vec<u8> {
    format!("ERR a captured message is not stored in topic '{topic}': {error}; the connection ends")
        .into_bytes()
}

/// A command that does not take so many arguments.
pub fn arity(name: &str) -> Vec<u8> {
    format!("ERR wrong number of arguments for '{name}' command").into_bytes()
}

/// A container that has no such subcommand.
pub fn subcommand(container: &str, named: &[u8]) -> Vec<u8> {
    let shown = &named[..named.len().min(crate::limits::QUOTED_BYTES)];
    let container = container.to_ascii_uppercase();
    [b"ERR unknown subcommand '", shown, b"'. Try ", container.as_bytes(), b" HELP."].concat()
}

/// A subcommand of variable length that got too many arguments.
pub fn subcommand_arguments(container: &str, named: &[u8]) -> Vec<u8> {
    let shown = &named[..named.len().min(crate::limits::QUOTED_BYTES)];
    let container = container.to_ascii_uppercase();
    [
        b"ERR unknown subcommand or wrong number of arguments for '",
        shown,
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ]
    .concat()
}

/// Arguments that do not follow a command's syntax.
pub const SYNTAX: &[u8] = b"ERR syntax error";
/// An argument that is no whole number, or one that is too large.
pub const NOT_INTEGER: &[u8] = b"ERR value is not an integer or out of range";
/// The password, given to the only user there is, who has none.
pub const NO_PASSWORD: &[u8] = b"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
/// Another user.
pub const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
/// A name with spaces in it.
pub const CLIENT_NAME: &[u8] = b"ERR Client names cannot contain spaces, newlines or special characters.";
/// Everything about clusters.
pub const NO_CLUSTER: &[u8] = b"ERR This instance has cluster support disabled";
/// A channel whose name begins as those of shard channels do inside.
pub const RESERVED_CHANNEL: &[u8] = b"ERR channel names cannot begin with the bytes 0A FF";
/// A channel whose name is too long to keep.
pub const LONG_CHANNEL: &[u8] = b"ERR channel name is too long";
/// A connection that listens to very much already.
pub const TOO_MANY: &[u8] = b"ERR too many subscriptions";
