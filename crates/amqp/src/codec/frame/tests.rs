//! Frames whole and in pieces, and what is none.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{FrameError, FrameKind, PROTOCOL_HEADER, ProtocolError};
use super::{parse_frame, parse_protocol_header, write_body, write_heartbeat};
use crate::codec::ReplyCode;

#[test]
fn the_protocol_header_is_eight_bytes() {
    assert_eq!(parse_protocol_header(b"AMQP\0\0\x09\x01rest"), Ok(Some(8)));
    // 0-9, as some old clients begin.
    assert_eq!(parse_protocol_header(b"AMQP\x01\x01\0\x09"), Ok(Some(8)));
    for end in 0..PROTOCOL_HEADER.len() {
        assert_eq!(parse_protocol_header(&PROTOCOL_HEADER[..end]), Ok(None));
    }
}

#[test]
fn another_beginning_is_told_apart_at_its_first_wrong_byte() {
    assert_eq!(parse_protocol_header(b"GET / HT"), Err(ProtocolError::Http));
    assert_eq!(parse_protocol_header(b"\x16\x03\x01"), Err(ProtocolError::Tls));
    assert_eq!(parse_protocol_header(b"AMQX"), Err(ProtocolError::Other));
    assert_eq!(parse_protocol_header(b"\0"), Err(ProtocolError::Other));
    assert_eq!(parse_protocol_header(b"AMQP\x03\x01\0\0"), Err(ProtocolError::Version(3, 1, 0, 0)));
    assert_eq!(parse_protocol_header(b"AMQP\0\0\x09\x02"), Err(ProtocolError::Version(0, 0, 9, 2)));
}

#[test]
fn each_type_of_frame_is_known() {
    let kind = |bytes: &'static [u8]| {
        let (frame, used) = parse_frame(bytes, 4096).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        (frame.channel, frame.kind)
    };
    assert_eq!(kind(b"\x01\0\0\0\0\0\x04\0\x0a\0\x33\xCE"), (0, FrameKind::Method(b"\0\x0a\0\x33")));
    assert_eq!(kind(b"\x02\x01\x02\0\0\0\x01x\xCE"), (0x0102, FrameKind::Header(b"x")));
    assert_eq!(kind(b"\x03\xff\xff\0\0\0\0\xCE"), (0xffff, FrameKind::Body(b"")));
    assert_eq!(kind(b"\x08\0\0\0\0\0\0\xCE"), (0, FrameKind::Heartbeat));
}

#[test]
fn a_heartbeat_is_eight_bytes() {
    let mut out = Vec::new();
    write_heartbeat(&mut out);
    assert_eq!(out, b"\x08\0\0\0\0\0\0\xCE");
}

#[test]
fn what_is_no_frame_is_refused_for_what_it_is() {
    let refused = |bytes: &[u8]| parse_frame(bytes, 4096).unwrap_err();
    assert_eq!(refused(b"\x03\0\x01\0\0\x10\x01"), FrameError::TooLarge { size: 4097, max: 4088 });
    assert_eq!(refused(b"\x01\0\0\xff\xff\xff\xff"), FrameError::TooLarge { size: u32::MAX, max: 4088 });
    assert_eq!(refused(b"\x04\0\0\0\0\0\x05"), FrameError::Type(4));
    assert_eq!(refused(b"\x03\0\x01\0\0\0\x01xy"), FrameError::End(b'y'));
    assert_eq!(refused(b"\x08\0\x01\0\0\0\0"), FrameError::HeartbeatChannel(1));
    assert_eq!(refused(b"\x08\0\0\0\0\0\x01"), FrameError::HeartbeatPayload(1));
    assert_eq!(FrameError::HeartbeatChannel(1).reply_code(), ReplyCode::UnexpectedFrame);
    assert_eq!(FrameError::End(0).reply_code(), ReplyCode::FrameError);
}

#[test]
fn a_payload_may_be_too_large_by_what_is_around_it() {
    for (size, fits) in [(4088, true), (4096, true), (4097, false)] {
        let mut out = Vec::new();
        write_body(&mut out, 1, &vec![0; size]);
        assert_eq!(parse_frame(&out, 4096).is_ok(), fits, "{size}");
    }
}

proptest! {
    #[test]
    fn a_frame_that_has_not_come_whole_is_waited_for(channel: u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        write_body(&mut out, channel, &body);
        for end in 0..out.len() {
            prop_assert_eq!(parse_frame(&out[..end], 4096), Ok(None));
        }
        out.extend_from_slice(b"more");
        let (frame, used) = parse_frame(&out, 4096).unwrap().unwrap();
        prop_assert_eq!((frame.channel, frame.kind, used), (channel, FrameKind::Body(&body), out.len() - 4));
    }

    #[test]
    fn any_bytes_are_a_frame_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..64), frame_max: u32) {
        let _ = parse_protocol_header(&bytes);
        if let Ok(Some((_, used))) = parse_frame(&bytes, frame_max) {
            prop_assert!((8..=bytes.len()).contains(&used));
        }
    }
}
