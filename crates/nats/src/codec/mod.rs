//! Bytes to commands and back. No I/O, no clock, never panics.
//!
//! Source: NATS documentation, "Client Protocol"; what that leaves open was seen on nats-server 2.9.

mod connect;
mod encode;
mod info;
mod parser;

pub use connect::{Connect, NotUnderstood};
pub use encode::{HEADER_VERSION, NO_RESPONDERS, message, message_bytes};
pub use info::Info;
pub use parser::{Command, ParseError, Parser, Publish, Step};
