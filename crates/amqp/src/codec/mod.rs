//! Bytes to frames, methods and properties, and back. No I/O, no clock; never panics; every length is checked against the bytes
//! that are there before anything is made of it.
//!
//! ```text
//! "AMQP" 0 0 9 1                                        what a client begins with
//! type:8 channel:16 size:32 payload 0xCE                a frame                       frame.rs
//!   1: class:16 method:16 arguments                     a method                      method.rs
//!   2: class:16 weight:16 body-size:64 properties       the header of a content       content.rs, properties.rs
//!   3: bytes                                            a piece of its body           content.rs
//!   8: nothing                                          a heartbeat
//! ```
//!
//! Decoding borrows from the frame and allocates nothing; encoding appends whole frames to a buffer. All numbers are big-endian.
//! Source: AMQP 0-9-1, sections 2.3 and 4.2; RabbitMQ where that is silent or RabbitMQ differs (errata, `amqp-0-9-1-errata`).

pub mod client;
mod content;
mod frame;
mod malformed;
pub mod method;
mod properties;
mod reply;
pub mod sasl;
mod strings;
mod table;
mod wire;

pub use content::{ContentError, ContentHeader, write_content, write_deliver, write_with_content};
pub use frame::{END, body_beginning, parse_frame, parse_protocol_header, write_heartbeat};
pub use frame::{Frame, FrameError, FrameKind, PROTOCOL_HEADER, ProtocolError};
pub use malformed::Malformed;
pub use method::{Arguments, Method, MethodError, MethodId};
pub use properties::Properties;
pub use reply::ReplyCode;
pub use strings::{LongStr, ShortStr, ShortString};
pub(crate) use table::is_nested;
pub use table::{RawArray, RawTable, Scalar, Table, TableBytes, Value, ValueRef};

#[cfg(test)]
mod golden;
