//! Frames to bytes and back, without I/O.
//!
//! The payloads of data frames, text or binary, are one stream of bytes, however it is cut. They are unmasked where they were read, so
//! that the length of a frame bounds nothing and costs nothing: only a header that has not come whole and a control frame, 125 bytes
//! at most, are kept. Source: RFC 6455, section 5; tungstenite parses the headers.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Bytes of the longest header of a frame.
const HEADER_BYTES: usize = 14;
/// Bytes that a control frame may carry.
const CONTROL_BYTES: u64 = 125;

/// What a peer must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Violation {
    #[error("a frame is not masked")]
    NotMasked,
    #[error("a frame has bits of an extension that was not agreed on")]
    Extension,
    #[error("a frame has an opcode that does not exist")]
    Opcode,
    #[error("a frame is longer than a frame can be")]
    Length,
    #[error("a control frame is longer than 125 bytes or has more than one part")]
    Control,
    #[error("a part of a message has none before it")]
    NothingToContinue,
    #[error("a message begins before the one before it has ended")]
    NotContinued,
    #[error("a close frame has no status that may be sent")]
    CloseStatus,
    #[error("a close frame has a reason that is no text")]
    CloseReason,
}

impl Violation {
    /// The status that the peer is told.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotMasked
            | Self::Extension
            | Self::Opcode
            | Self::Length
            | Self::Control
            | Self::NothingToContinue
            | Self::NotContinued
            | Self::CloseStatus => CloseCode::Protocol.into(),
            Self::CloseReason => CloseCode::Invalid.into(),
        }
    }
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closes, with the status that it gave.
    Closed(Option<u16>),
    /// It is not understood any more.
    Broken(Violation),
}

/// The reading side of a server's connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Of a header that has not come whole.
    head: [u8; HEADER_BYTES],
    head_bytes: usize,
    /// The frame whose payload comes next.
    frame: Option<Frame>,
    /// A message has begun and not ended.
    is_within: bool,
    /// Payload of a control frame, so far.
    control: Vec<u8>,
    pong: Option<Vec<u8>>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    left: u64,
    mask: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

impl Decoder {
    /// Takes the next bytes of the peer and moves the payload among them to the front, unmasked; gives its length. What was before
    /// the end, or before a violation, counts.
    pub fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut data) = (0, 0);
        while self.ended.is_none() {
            let Some(mut frame) = self.frame else {
                if at == bytes.len() {
                    break;
                }
                match self.header(&bytes[at..]) {
                    Ok(used) => at += used,
                    Err(violation) => self.ended = Some(Ended::Broken(violation)),
                }
                continue;
            };
            let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len() - at);
            if length == 0 && frame.left > 0 {
                break;
            }
            let part = &mut bytes[at..at + length];
            frame.mask = unmask(part, frame.mask);
            frame.left -= length as u64;
            if frame.kind == Kind::Data {
                bytes.copy_within(at..at + length, data);
                data += length;
            } else {
                self.control.extend_from_slice(part);
            }
            at += length;
            self.frame = (frame.left > 0).then_some(frame);
            if self.frame.is_none() {
                self.end_frame(frame.kind);
            }
        }
        data
    }

    /// The last ping that has not been answered, to be sent back: RFC 6455 asks for no more than that one.
    pub fn take_pong(&mut self) -> Option<Vec<u8>> {
        self.pong.take()
    }

    /// Why nothing more comes, if so.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Reads a header, which may have begun before `bytes`. Bytes used; all of them while it is not whole.
    fn header(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let before = self.head_bytes;
        let more = (HEADER_BYTES - before).min(bytes.len());
        let all = before + more;
        self.head[before..all].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.head[..all]);
        // All that it finds wrong by itself is the opcode.
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation::Opcode)? else {
            self.head_bytes = all;
            return Ok(more);
        };
        let used = usize::try_from(cursor.position()).unwrap_or(all);
        self.head_bytes = 0;
        self.frame = Some(self.begin_frame(&header, length)?);
        Ok(used.saturating_sub(before))
    }

    fn begin_frame(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, Violation> {
        let &FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        let mask = mask.ok_or(Violation::NotMasked)?;
        if rsv1 || rsv2 || rsv3 {
            return Err(Violation::Extension);
        }
        if length > i64::MAX.cast_unsigned() {
            return Err(Violation::Length);
        }
        let kind = match opcode {
            OpCode::Data(Data::Continue) if !self.is_within => return Err(Violation::NothingToContinue),
            OpCode::Data(Data::Text | Data::Binary) if self.is_within => return Err(Violation::NotContinued),
            OpCode::Data(Data::Continue | Data::Text | Data::Binary) => {
                self.is_within = !is_final;
                Kind::Data
            }
            OpCode::Control(_) if !is_final || length > CONTROL_BYTES => return Err(Violation::Control),
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Violation::Opcode);
            }
        };
        Ok(Frame { kind, left: length, mask })
    }

    fn end_frame(&mut self, kind: Kind) {
        let control = std::mem::take(&mut self.control);
        match kind {
            Kind::Data | Kind::Pong => {}
            Kind::Ping => self.pong = Some(control),
            Kind::Close => {
                self.ended = Some(match close_status(&control) {
                    Ok(status) => Ended::Closed(status),
                    Err(violation) => Ended::Broken(violation),
                });
            }
        }
    }
}

fn close_status(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((status, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseStatus) };
    };
    let status = u16::from_be_bytes(*status);
    if !CloseCode::from(status).is_allowed() {
        return Err(Violation::CloseStatus);
    }
    std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
    Ok(Some(status))
}

/// Unmasks a piece of a payload; gives the mask as it stands for the next piece.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    let mut turned = mask;
    turned.rotate_left(bytes.len() % mask.len());
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    turned
}

/// Appends the header of a frame of a server with `length` bytes behind it.
pub(super) fn head(out: &mut Vec<u8>, opcode: OpCode, length: usize) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Into memory: it cannot fail.
    let _ = header.format(length as u64, out);
}

/// Appends a control frame. `payload` is cut where it is longer than it may be.
pub(super) fn control(out: &mut Vec<u8>, opcode: Control, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES as usize)];
    head(out, OpCode::Control(opcode), payload.len());
    out.extend_from_slice(payload);
}

#[cfg(test)]
pub(super) mod tests;
