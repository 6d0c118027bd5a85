//! The Redis protocol over the broker's live channels: connection commands and publish/subscribe.
//!
//! Place: floor 3. A channel is a subject of `duolog_broker::live`; a message is written from the one buffer that all its
//! listeners share. There is no keyspace. docs/redis.md says what is supported and what is not.

mod client;
pub mod codec;
mod command;
mod error;
mod frontend;
pub mod limits;
mod options;
mod outbox;
mod registry;
mod server;
mod session;
mod subject;
mod subscriptions;

pub use frontend::RedisFrontend;
pub use options::RedisOptions;
pub use server::RedisStats;
