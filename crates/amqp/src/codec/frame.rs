//! Frames, and the header that comes before the first.
//!
//! ```text
//! type:8  channel:16  size:32  payload:size  0xCE
//! ```
//! A frame that has not come whole is left to the caller and shown again with more behind it: its head says how much that is,
//! so nothing is looked at twice but seven bytes. After an error nothing more can be understood.
//! Source: AMQP 0-9-1, 4.2.2 and 4.2.3; RabbitMQ `rabbit_reader:handle_input`, `rabbit_command_assembler:analyze_frame`.

use super::ReplyCode;
use crate::limits::FRAME_OVERHEAD_BYTES;

/// What a client begins with, and what a server answers to any other beginning.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The header of 0-9: RabbitMQ takes it for 0-9-1, and so do old clients.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\0\x09";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// The octet that a frame ends with.
pub const END: u8 = 0xCE;
const HEAD_BYTES: usize = 7;

/// A client that begins otherwise: it is answered [`PROTOCOL_HEADER`] and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// AMQP, but not this version of it.
    #[error("version {0}.{1}.{2}.{3} of AMQP is not supported")]
    Version(u8, u8, u8, u8),
    /// HTTP.
    #[error("this is not HTTP")]
    Http,
    /// TLS.
    #[error("this is not TLS")]
    Tls,
    /// Something else.
    #[error("this is not AMQP")]
    Other,
}

/// How many bytes the protocol header at the front of `bytes` takes; `None` if it has not come whole.
///
/// # Errors
/// [`ProtocolError`], at the first byte that cannot be the header's.
pub fn parse_protocol_header(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    const NAME: &[u8] = b"AMQP";
    let name = bytes.len().min(NAME.len());
    if bytes[..name] != NAME[..name] {
        return Err(match bytes {
            [b'G', ..] => ProtocolError::Http,
            [0x16, ..] => ProtocolError::Tls,
            _ => ProtocolError::Other,
        });
    }
    match bytes.first_chunk() {
        None => Ok(None),
        Some(&(PROTOCOL_HEADER | PROTOCOL_HEADER_0_9)) => Ok(Some(PROTOCOL_HEADER.len())),
        Some(&[_, _, _, _, id, major, minor, revision]) => {
            Err(ProtocolError::Version(id, major, minor, revision))
        }
    }
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// On which channel; 0 is the connection itself.
    pub channel: u16,
    /// What it is, and its payload.
    pub kind: FrameKind<'a>,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind<'a> {
    /// A method: [`super::Method::decode`].
    Method(&'a [u8]),
    /// The header of a content: [`super::ContentHeader::decode`].
    Header(&'a [u8]),
    /// A piece of its body.
    Body(&'a [u8]),
    /// A sign of life; on channel 0, and empty.
    Heartbeat,
}

/// Why there is no frame. Always an error of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than agreed on.
    #[error("frame of {size} bytes, at most {max} were agreed on")]
    TooLarge {
        /// Bytes of its payload.
        size: u32,
        /// Bytes that the payload of a frame may have.
        max: u32,
    },
    /// No frame has this type.
    #[error("frame of the unknown type {0}")]
    Type(u8),
    /// It does not end where it should.
    #[error("frame ends in {0}, not in 206")]
    End(u8),
    /// A heartbeat that says something.
    #[error("heartbeat with a payload of {0} bytes")]
    HeartbeatPayload(u32),
    /// A heartbeat on a channel.
    #[error("heartbeat on channel {0}")]
    HeartbeatChannel(u16),
}

impl FrameError {
    /// What the connection is closed with.
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        match self {
            Self::TooLarge { .. } | Self::Type(_) | Self::End(_) | Self::HeartbeatPayload(_) => {
                ReplyCode::FrameError
            }
            Self::HeartbeatChannel(_) => ReplyCode::UnexpectedFrame,
        }
    }
}

/// The frame at the front of `bytes` and how many of them it takes; `None` if it has not come whole.
///
/// `frame_max` is in bytes, what is around the payload included; 0 is not "any size" here. A payload may be larger than that by
/// what is around it: so many clients are wrong about it that RabbitMQ lets them.
///
/// # Errors
/// [`FrameError`]: a frame that is too large or of no type as soon as its first seven bytes are there.
pub fn parse_frame(bytes: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((&[kind, c0, c1, s0, s1, s2, s3], rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let (channel, size) = (u16::from_be_bytes([c0, c1]), u32::from_be_bytes([s0, s1, s2, s3]));
    if size > frame_max {
        return Err(FrameError::TooLarge { size, max: frame_max.saturating_sub(FRAME_OVERHEAD_BYTES) });
    }
    let make = match (kind, channel, size) {
        (METHOD, _, _) => FrameKind::Method,
        (HEADER, _, _) => FrameKind::Header,
        (BODY, _, _) => FrameKind::Body,
        (HEARTBEAT, 0, 0) => |_| FrameKind::Heartbeat,
        (HEARTBEAT, channel, 0) => return Err(FrameError::HeartbeatChannel(channel)),
        (HEARTBEAT, _, size) => return Err(FrameError::HeartbeatPayload(size)),
        (kind, _, _) => return Err(FrameError::Type(kind)),
    };
    let Some((payload, behind)) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size))
    else {
        return Ok(None);
    };
    match behind.first() {
        None => Ok(None),
        Some(&END) => Ok(Some((Frame { channel, kind: make(payload) }, HEAD_BYTES + payload.len() + 1))),
        Some(&other) => Err(FrameError::End(other)),
    }
}

/// The channel and the size of the payload, and the bytes before it, of a body frame that has begun: for who takes the payload as
/// it comes. Behind it stands [`END`]. Whether it may be so large is for [`parse_frame`] to say before.
#[must_use]
pub fn body_beginning(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let &[BODY, c0, c1, s0, s1, s2, s3] = bytes.first_chunk::<HEAD_BYTES>()? else { return None };
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).ok()?;
    Some((u16::from_be_bytes([c0, c1]), size, HEAD_BYTES))
}

/// What stands around a payload that `fill` appends.
fn write_frame(out: &mut Vec<u8>, kind: u8, channel: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[kind, c0, c1, 0, 0, 0, 0]);
    let begin = out.len();
    fill(out);
    // Fits: nothing of 4 GiB is ever in a frame.
    let size = (out.len() - begin) as u32;
    out[begin - 4..begin].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// Appends a method frame whose payload `fill` appends.
pub(super) fn write_method(out: &mut Vec<u8>, channel: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    write_frame(out, METHOD, channel, fill);
}

/// Appends a content header frame whose payload `fill` appends.
pub(super) fn write_header(out: &mut Vec<u8>, channel: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    write_frame(out, HEADER, channel, fill);
}

/// Appends a body frame.
pub(super) fn write_body(out: &mut Vec<u8>, channel: u16, piece: &[u8]) {
    write_frame(out, BODY, channel, |out| out.extend_from_slice(piece));
}

/// Appends a heartbeat.
pub fn write_heartbeat(out: &mut Vec<u8>) {
    write_frame(out, HEARTBEAT, 0, |_| ());
}

#[cfg(test)]
mod tests;
