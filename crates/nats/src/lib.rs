//! The NATS protocol, core: publish, subscribe, queue groups, request and reply.
//!
//! Place: floor 3, over the broker's live channels: nothing here is stored. Sessions are state machines that
//! `duolog_net::talk` drives. docs/nats.md says what is supported and what is not.

pub mod codec;
mod error;
mod frontend;
pub mod limits;
mod monitor;
mod options;
mod registry;
mod session;
pub mod subject;

pub use error::ClientError;
pub use frontend::NatsFrontend;
pub use monitor::{Conn, Connz, ConnzOptions, Healthz, Sub, Subsz, SubszOptions, Totals, Varz};
pub use options::NatsOptions;

/// The version of nats-server whose core protocol this is: clients tell by it what they may use.
pub const VERSION: &str = "2.10.0";
