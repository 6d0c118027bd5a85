//! The Kafka protocol over the broker's verbs.
//!
//! Place: floor 3. The stored batch is the wire's batch, so producing checks and appends, and fetching writes stored
//! bytes out; nothing is decoded per record. docs/kafka.md says what is supported and what is not,
//! docs/kafka-groups.md the same of consumer groups.

mod api;
mod catch_up;
pub mod codec;
mod connection;
mod error;
mod frame;
mod frontend;
pub mod group;
pub mod limits;
mod options;
mod topic_config;

pub use error::ErrorCode;
pub use frontend::KafkaFrontend;
pub use options::KafkaOptions;
