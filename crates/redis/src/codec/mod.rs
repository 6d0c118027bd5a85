//! Bytes to requests, replies to bytes. No I/O, no clock; never panics; every length is checked against its cap first.
//!
//! Requests are arrays of bulk strings, or inline commands. Replies are RESP2 or RESP3, as the connection has chosen.
//! Source: the RESP protocol specification; the behaviour of Redis 7.0 where that is silent.

mod args;
mod inline;
mod number;
mod push;
mod reply;
mod request;

pub use args::Args;
pub use number::{decimal, integer};
pub use push::{PushKind, push_head, push_payload};
pub use reply::Reply;
pub use request::{Malformed, Parser};
