//! The wire format, sans-io: bytes to messages and back, at every version the broker speaks.
//!
//! Each message is declared once in `messages/` with the versions of each field; `message.rs` derives both directions.
//! Invariant: decoding never panics, allocates only in proportion to bytes that are there, and collects at most
//! [`limits::DECODED_BYTES`](crate::limits::DECODED_BYTES). Adding a message: declare it, add its row to `api.rs`, and
//! the oracle test compares it with another implementation.
//! Source: Kafka protocol guide; KIP-482 (flexible versions, tagged fields).

pub mod api;
mod decoder;
mod encoder;
pub mod header;
mod message;
pub mod messages;
mod wire;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use api::{Api, ApiKey};
pub use decoder::{DecodeError, Decoder};
pub use encoder::{Encoder, Frame};
pub use header::{RequestHeader, decode_body, decode_response, encode_request, encode_response};
pub use wire::{Nullable, RecordParts, StampedBody, Wire};
