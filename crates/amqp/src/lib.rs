//! AMQP 0-9-1 as RabbitMQ speaks it: exchanges, bindings, and queues that are the broker's own.
//!
//! Place: floor 3. A connection is a state machine that `duolog_net::talk` drives; what is published is routed by the broker's
//! catalog and appended by its core; a consumer is one who waits in a queue's line again and again, and whose leases end with
//! its connection. docs/amqp.md says what is supported and what is not.

mod arguments;
mod call;
pub mod codec;
mod convert;
mod error;
mod frontend;
mod labels;
pub mod limits;
mod options;
mod policies;
mod registry;
mod replies;
mod session;
mod vhosts;

pub use call::{Answer, CALLER_FRAME_BYTES, Caller, Refused};
pub use frontend::AmqpFrontend;
pub use labels::Declared;
pub use options::AmqpOptions;
pub use policies::{ApplyTo, Definition, InForce, Policy, PolicyKind};
pub use registry::{Connected, ConsumerState, Consuming, Source, Totals};
pub use session::exchanges::exchange_type;
pub use session::streams::is_stream;
pub use vhosts::{namespace_of, vhost_of};

/// The version of RabbitMQ that server properties tell: libraries decide by it what they may use.
pub const RABBITMQ_VERSION: &str = "3.13.7";
