//! Methods there and back, and what is none. That they mean what others say is seen in `golden.rs`.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::codec::client::ServerMethod;
use crate::codec::table::tests::table;
use crate::codec::{FrameKind, parse_frame};

/// The payload of the frame that was written.
fn payload(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    let (frame, used) = parse_frame(&out, u32::MAX).unwrap().unwrap();
    assert_eq!((frame.channel, used), (9, out.len()));
    let FrameKind::Method(payload) = frame.kind else { panic!("{frame:?}") };
    payload.to_vec()
}

#[test]
fn a_queue_declaration_byte_by_byte() {
    let bytes = b"\0\x32\0\x0a\0\0\x01q\x06\0\0\0\x04\x01kt\x01";
    let declare = QueueDeclare {
        queue: ShortStr::new("q").unwrap(),
        durable: true,
        exclusive: true,
        arguments: RawTable::new(b"\x01kt\x01").unwrap(),
        ..QueueDeclare::default()
    };
    assert_eq!(Method::decode(bytes), Ok(Method::QueueDeclare(declare)));
    assert_eq!(payload(|out| declare.write(out, 9)), bytes);
}

#[test]
fn a_close_names_the_method_to_blame() {
    let close = ChannelClose {
        reply_code: ReplyCode::NotFound.number(),
        reply_text: ShortStr::new("NOT_FOUND").unwrap(),
        method: QueueDeclare::ID,
    };
    let bytes = b"\0\x14\0\x28\x01\x94\x09NOT_FOUND\0\x32\0\x0a";
    assert_eq!(payload(|out| close.write(out, 9)), bytes);
    assert_eq!(ServerMethod::decode(bytes), Ok(ServerMethod::ChannelClose(close)));
}

#[test]
fn each_method_goes_there_and_back() {
    for method in Method::samples() {
        let bytes = payload(|out| method.write(out, 9));
        assert_eq!(Method::decode(&bytes), Ok(method));
        is_cut_short_everywhere(&bytes, |cut| Method::decode(cut).map(|_| ()));
    }
    for method in ServerMethod::samples() {
        let bytes = payload(|out| method.write(out, 9));
        assert_eq!(ServerMethod::decode(&bytes), Ok(method));
        is_cut_short_everywhere(&bytes, |cut| ServerMethod::decode(cut).map(|_| ()));
    }
}

fn is_cut_short_everywhere(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<(), MethodError>) {
    for end in 0..4 {
        assert_eq!(decode(&bytes[..end]), Err(MethodError::CutShort(end)));
    }
    let method = split(bytes).unwrap().0;
    for end in 4..bytes.len() {
        let malformed = Malformed::CutShort;
        assert_eq!(decode(&bytes[..end]), Err(MethodError::Arguments { method, malformed }));
    }
    let malformed = Malformed::TooLong(1);
    assert_eq!(decode(&[bytes, b"x"].concat()), Err(MethodError::Arguments { method, malformed }));
}

#[test]
fn every_method_has_a_side_that_says_it() {
    let client: Vec<MethodId> = Method::samples().iter().map(Method::id).collect();
    let server: Vec<MethodId> = ServerMethod::samples().iter().map(ServerMethod::id).collect();
    for (id, name) in ALL {
        assert!(client.contains(id) || server.contains(id), "nobody says {name}");
        let bytes = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
        let other_way = Err(MethodError::OtherWay(*id));
        assert_eq!(Method::decode(&bytes).map(|_| ()) == other_way, !client.contains(id), "{name}");
        assert_eq!(ServerMethod::decode(&bytes).map(|_| ()) == other_way, !server.contains(id), "{name}");
    }
    assert_eq!(QueueDeclare::ID.name(), Some("queue.declare"));
    assert_eq!(MethodId::NONE.name(), None);
}

#[test]
fn what_is_no_method_is_refused_for_what_it_is() {
    let refused = |bytes: &[u8]| {
        let error = Method::decode(bytes).unwrap_err();
        (error.reply_code(), error.method(), error.to_string())
    };
    let id = |class, method| MethodId { class, method };
    let (code, method, why) = refused(&[0, 99, 0, 7]);
    assert_eq!((code, method), (ReplyCode::NotImplemented, id(99, 7)));
    assert_eq!(why, "unknown method 7 of class 99");
    assert_eq!(refused(&[0, 50, 0, 12]).0, ReplyCode::NotImplemented);
    let (code, method, why) = refused(&[0, 60, 0, 60]);
    assert_eq!((code, method), (ReplyCode::CommandInvalid, BasicDeliver::ID));
    assert_eq!(why, "method basic.deliver is not to be sent here");
    let (code, method, why) = refused(&[0, 50, 0, 10, 0]);
    assert_eq!((code, method), (ReplyCode::SyntaxError, QueueDeclare::ID));
    assert_eq!(why, "cannot decode queue.declare: cut short");
    assert_eq!(refused(&[0, 60]).0, ReplyCode::FrameError);
}

#[test]
fn names_are_text_but_where_a_content_follows() {
    let error = Method::decode(b"\0\x3c\0\x1e\x01\xff\0").unwrap_err();
    let malformed = Malformed::Utf8;
    assert_eq!(error, MethodError::Arguments { method: BasicCancel::ID, malformed });
    assert_eq!(error.reply_code(), ReplyCode::FrameError);
    let publish = b"\0\x3c\0\x28\0\0\0\x01\xff\0";
    let Ok(Method::BasicPublish(publish)) = Method::decode(publish) else { panic!() };
    assert_eq!((publish.routing_key.as_bytes(), publish.routing_key.as_str()), (&b"\xff"[..], None));
}

#[test]
fn tables_of_arguments_are_walked() {
    let error = Method::decode(b"\0\x32\0\x0a\0\0\0\0\0\0\0\x02\0z").unwrap_err();
    let malformed = Malformed::ValueType(b'z');
    assert_eq!(error, MethodError::Arguments { method: QueueDeclare::ID, malformed });
}

#[test]
fn a_password_is_not_shown() {
    let start = ConnectionStartOk { response: LongStr(b"\0guest\0secret"), ..ConnectionStartOk::default() };
    assert!(!format!("{start:?}").contains("secret"));
}

proptest! {
    #[test]
    fn a_declaration_is_read_as_it_was_written(
        name in "\\PC{0,90}", bits in any::<(bool, bool, bool, bool, bool)>(), arguments in table(),
    ) {
        let arguments = arguments.encode();
        let (passive, durable, exclusive, auto_delete, no_wait) = bits;
        let declare = QueueDeclare {
            ticket: 1, queue: ShortStr::cut(&name), passive, durable, exclusive, auto_delete, no_wait,
            arguments: arguments.as_raw(),
        };
        let bytes = payload(|out| declare.write(out, 9));
        prop_assert_eq!(Method::decode(&bytes), Ok(Method::QueueDeclare(declare)));
    }

    #[test]
    fn any_bytes_are_a_method_or_not(
        known in prop::sample::select(ALL), rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let id = known.0;
        let bytes = [&id.class.to_be_bytes()[..], &id.method.to_be_bytes(), &rest].concat();
        if let Ok(method) = Method::decode(&bytes) {
            prop_assert_eq!(payload(|out| method.write(out, 9)).len(), bytes.len());
        }
        if let Ok(method) = ServerMethod::decode(&bytes) {
            prop_assert_eq!(method.id(), id);
        }
        let _ = (Method::decode(&rest).is_ok(), ServerMethod::decode(&rest).is_ok());
    }
}
