//! Whole streams, in every cut.

use super::{Decoder, Ended, Violation, unmask};

/// A frame of a client: the first byte as it is, the payload masked.
pub(in crate::websocket) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x5a, 0x01, 0xff, 0x80];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What comes of `bytes`, given in pieces of `size`.
fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, Option<Vec<u8>>, Option<Ended>) {
    let mut decoder = Decoder::default();
    let mut data = Vec::new();
    for piece in bytes.chunks(size) {
        let mut piece = piece.to_vec();
        let length = decoder.decode(&mut piece);
        data.extend_from_slice(&piece[..length]);
    }
    (data, decoder.take_pong(), decoder.ended())
}

#[track_caller]
fn check(frames: &[Vec<u8>], data: &[u8], pong: Option<&[u8]>, ended: Option<Ended>) {
    let bytes = frames.concat();
    for size in (1..20).chain([bytes.len().max(1)]) {
        let decoded = decode(&bytes, size);
        assert!(decoded.0 == data, "in pieces of {size}: {:?}", decoded.0.escape_ascii().to_string());
        assert_eq!((decoded.1.as_deref(), decoded.2), (pong, ended), "in pieces of {size}");
    }
}

#[test]
fn data_is_one_stream_however_it_is_framed() {
    let long = vec![b'x'; 70_000];
    check(&[frame(0x82, b"PING\r\n")], b"PING\r\n", None, None);
    check(&[frame(0x81, b"text")], b"text", None, None);
    check(&[frame(0x82, b""), frame(0x82, b"a"), frame(0x82, b"bc")], b"abc", None, None);
    check(&[frame(0x02, b"a"), frame(0x00, b""), frame(0x80, b"bc")], b"abc", None, None);
    check(&[frame(0x82, &long[..200]), frame(0x82, &long[200..])], &long, None, None);
}

#[test]
fn control_frames_come_between() {
    check(
        &[frame(0x89, b"one"), frame(0x02, b"a"), frame(0x89, b"two"), frame(0x80, b"b")],
        b"ab",
        Some(b"two"),
        None,
    );
    check(&[frame(0x8a, b"unasked"), frame(0x82, b"a")], b"a", None, None);
    check(&[frame(0x89, &[7; 125])], b"", Some(&[7; 125]), None);
}

#[test]
fn the_end_is_the_end() {
    let closed = |status| Some(Ended::Closed(status));
    check(&[frame(0x82, b"a"), frame(0x88, b""), frame(0x82, b"b")], b"a", None, closed(None));
    check(&[frame(0x88, b"\x03\xe8bye")], b"", None, closed(Some(1000)));
    check(&[frame(0x88, b"\x0f\xa0")], b"", None, closed(Some(4000)));
}

#[test]
fn what_is_wrong_ends_it_behind_what_was_right() {
    let before = frame(0x82, b"a");
    for (bytes, violation) in [
        (b"\x82\x01b".to_vec(), Violation::NotMasked),
        (frame(0xc2, b"b"), Violation::Extension),
        (frame(0xa2, b"b"), Violation::Extension),
        (frame(0x92, b"b"), Violation::Extension),
        (frame(0x83, b"b"), Violation::Opcode),
        (frame(0x8b, b"b"), Violation::Opcode),
        (frame(0x80, b"b"), Violation::NothingToContinue),
        ([frame(0x02, b""), frame(0x82, b"b")].concat(), Violation::NotContinued),
        (frame(0x89, &[0; 126]), Violation::Control),
        (frame(0x09, b"b"), Violation::Control),
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01mask".to_vec(), Violation::Length),
        (frame(0x88, b"\x03"), Violation::CloseStatus),
        (frame(0x88, b"\x03\xed"), Violation::CloseStatus),
        (frame(0x88, b"\x00\x00"), Violation::CloseStatus),
        (frame(0x88, b"\x03\xe8\xff"), Violation::CloseReason),
    ] {
        check(&[before.clone(), bytes, frame(0x82, b"c")], b"a", None, Some(Ended::Broken(violation)));
    }
}

#[test]
fn a_frame_of_any_length_keeps_nothing() {
    let mut decoder = Decoder::default();
    let mut head = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec();
    assert_eq!(decoder.decode(&mut head), 0);
    for _ in 0..3 {
        assert_eq!(decoder.decode(&mut [1; 1000]), 1000);
    }
    assert_eq!(decoder.ended(), None);
    assert_eq!((decoder.control.capacity(), decoder.head_bytes), (0, 0));
}

#[test]
fn a_mask_goes_on_where_it_was() {
    let mask = [1, 2, 3, 4];
    for cut in 0..30 {
        let mut bytes = [0; 30];
        let (first, second) = bytes.split_at_mut(cut);
        let turned = unmask(first, mask);
        unmask(second, turned);
        assert!(bytes.iter().zip(mask.iter().cycle()).all(|(byte, mask)| byte == mask), "{cut}: {bytes:?}");
    }
}
