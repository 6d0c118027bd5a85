//! Headers of contents, and bodies in pieces.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{ContentError, ContentHeader, write_content, write_deliver};
use crate::codec::client::ServerMethod;
use crate::codec::method::BasicDeliver;
use crate::codec::{FrameKind, Properties, ReplyCode, ShortStr, parse_frame};

#[test]
fn a_header_is_of_class_60_and_weighs_nothing() {
    let header = b"\0\x3c\0\0\0\0\0\0\0\0\x01\0\x10\0\x02";
    let decoded = ContentHeader::decode(header).unwrap();
    assert_eq!(decoded, ContentHeader { body_size: 256, properties: b"\x10\0\x02" });
    for end in 0..12 {
        assert_eq!(ContentHeader::decode(&header[..end]), Err(ContentError::CutShort(end)));
    }
    assert_eq!(ContentHeader::decode(b"\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0"), Err(ContentError::Class(10)));
    assert_eq!(ContentHeader::decode(b"\0\x3c\0\x07\0\0\0\0\0\0\0\0\0\0"), Err(ContentError::Weight(7)));
    assert_eq!(ContentError::Class(10).reply_code(), ReplyCode::UnexpectedFrame);
    assert_eq!(ContentError::CutShort(3).reply_code(), ReplyCode::FrameError);
}

/// Sizes of the body frames of a body of this size.
fn pieces(body: usize, frame_max: u32) -> Vec<usize> {
    let mut out = Vec::new();
    write_content(&mut out, 3, Properties::NONE, &vec![7; body], frame_max);
    let (mut rest, mut sizes) = (&out[..], Vec::new());
    while let Some((frame, used)) = parse_frame(rest, frame_max.max(4096)).unwrap() {
        assert!(used <= frame_max.max(4096) as usize, "no frame is larger than agreed on");
        assert_eq!(frame.channel, 3);
        match frame.kind {
            FrameKind::Header(header) => {
                let header = ContentHeader::decode(header).unwrap();
                assert_eq!((header.body_size, header.properties), (body as u64, Properties::NONE));
            }
            FrameKind::Body(piece) => sizes.push(piece.len()),
            other => panic!("{other:?}"),
        }
        rest = &rest[used..];
    }
    assert!(rest.is_empty());
    sizes
}

#[test]
fn a_body_is_split_at_what_was_agreed_on() {
    assert!(pieces(0, 4096).is_empty());
    assert_eq!(pieces(4088, 4096), [4088]);
    assert_eq!(pieces(4089, 4096), [4088, 1]);
    assert_eq!(pieces(10_000, 4100), [4092, 4092, 1816]);
    // Less than this cannot be agreed on.
    assert_eq!(pieces(5000, 0), [4088, 912]);
}

proptest! {
    #[test]
    fn a_delivery_is_a_method_a_header_and_a_body(
        tags in ("\\PC{0,30}", any::<u64>(), any::<bool>()), names in ("\\PC{0,30}", "\\PC{0,90}"),
        body in proptest::collection::vec(any::<u8>(), 0..9000),
    ) {
        let deliver = BasicDeliver {
            consumer_tag: ShortStr::cut(&tags.0), delivery_tag: tags.1, redelivered: tags.2,
            exchange: ShortStr::cut(&names.0), routing_key: ShortStr::cut(&names.1),
        };
        let mut out = Vec::new();
        write_deliver(&mut out, 1, &deliver, Properties::NONE, &body, 4096);
        let (frame, used) = parse_frame(&out, 4096).unwrap().unwrap();
        let FrameKind::Method(payload) = frame.kind else { panic!("a method comes first") };
        prop_assert_eq!(ServerMethod::decode(payload), Ok(ServerMethod::BasicDeliver(deliver)));
        let mut content = Vec::new();
        write_content(&mut content, 1, Properties::NONE, &body, 4096);
        prop_assert_eq!(&out[used..], content);
    }

    #[test]
    fn any_bytes_are_a_header_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(header) = ContentHeader::decode(&bytes) {
            prop_assert_eq!(header.properties.len(), bytes.len() - 12);
        }
    }
}
