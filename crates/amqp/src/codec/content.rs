//! Contents: a method that has one is followed by a header frame and by frames with its body.
//!
//! ```text
//! header frame:  class:16 (60)  weight:16 (0)  body-size:64  properties
//! body frames:   no larger than agreed on; none if the body is empty
//! ```
//! Source: AMQP 0-9-1, 4.2.6; RabbitMQ `rabbit_command_assembler:process`.

use super::frame::{write_body, write_header};
use super::method::{Arguments, BASIC, BasicDeliver};
use super::wire::{Field, Reader};
use super::{Malformed, ReplyCode};
use crate::limits::{FRAME_MIN_BYTES, FRAME_OVERHEAD_BYTES};

/// Bytes of a header frame beside its properties.
const HEADER_BYTES: usize = 12 + FRAME_OVERHEAD_BYTES as usize;
/// Bytes of the frame of a method with content at the most: three short strings and a few numbers.
const METHOD_BYTES: usize = 1024;

/// The header of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Bytes of the body that follows, as the client says.
    pub body_size: u64,
    /// Flags and properties, encoded: [`super::Properties::decode`]. They may be delivered as they are once that has been done.
    pub properties: &'a [u8],
}

/// Why a payload is no header of a content. Always an error of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Too small for one.
    #[error("content header of {0} bytes")]
    CutShort(usize),
    /// Of another class than the method before it.
    #[error("expected content header for class {BASIC}, got one for class {0} instead")]
    Class(u16),
    /// With a weight, for which there is no use.
    #[error("content header with the weight {0}")]
    Weight(u16),
}

impl ContentError {
    /// What the connection is closed with.
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        match self {
            Self::CutShort(_) => ReplyCode::FrameError,
            Self::Class(_) | Self::Weight(_) => ReplyCode::UnexpectedFrame,
        }
    }
}

impl<'a> ContentHeader<'a> {
    /// The header of the payload of a header frame. What is in the properties is not looked at.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, ContentError> {
        let cut_short = |_: Malformed| ContentError::CutShort(payload.len());
        let mut from = Reader::new(payload);
        let class = u16::read(&mut from).map_err(cut_short)?;
        let weight = u16::read(&mut from).map_err(cut_short)?;
        let body_size = u64::read(&mut from).map_err(cut_short)?;
        if class != BASIC {
            return Err(ContentError::Class(class));
        }
        if weight != 0 {
            return Err(ContentError::Weight(weight));
        }
        Ok(Self { body_size, properties: &payload[12..] })
    }
}

/// Bytes of a body in one frame.
fn piece_bytes(frame_max: u32) -> usize {
    (frame_max.max(FRAME_MIN_BYTES) - FRAME_OVERHEAD_BYTES) as usize
}

/// Appends the header frame and the body frames of a message with these encoded properties.
///
/// `frame_max` is in bytes, what is around a payload included; below 4096 it is 4096.
pub fn write_content(out: &mut Vec<u8>, channel: u16, properties: &[u8], body: &[u8], frame_max: u32) {
    write_header(out, channel, |out| {
        let [c0, c1] = BASIC.to_be_bytes();
        out.extend_from_slice(&[c0, c1, 0, 0]);
        out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        out.extend_from_slice(properties);
    });
    body.chunks(piece_bytes(frame_max)).for_each(|piece| write_body(out, channel, piece));
}

/// Appends a method and its content, growing `out` once at the most.
pub fn write_with_content<'a>(
    out: &mut Vec<u8>,
    channel: u16,
    method: &impl Arguments<'a>,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    let pieces = body.len().div_ceil(piece_bytes(frame_max));
    let around = METHOD_BYTES + HEADER_BYTES + pieces * FRAME_OVERHEAD_BYTES as usize;
    out.reserve(around + properties.len() + body.len());
    method.write(out, channel);
    write_content(out, channel, properties, body, frame_max);
}

/// Appends a delivery: what the server writes most.
pub fn write_deliver(
    out: &mut Vec<u8>,
    channel: u16,
    deliver: &BasicDeliver<'_>,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    write_with_content(out, channel, deliver, properties, body, frame_max);
}

#[cfg(test)]
mod tests;
