//! Each property alone, all of them, and what are none.
#![allow(clippy::unwrap_used)]

use proptest::option;
use proptest::prelude::*;

use super::Properties;
use crate::codec::table::tests::table;
use crate::codec::{Malformed, RawTable, ShortStr};

#[test]
fn no_properties_are_two_zeros() {
    assert_eq!(Properties::decode(Properties::NONE), Ok(Properties::default()));
    let mut out = Vec::new();
    Properties::default().encode(&mut out);
    assert_eq!(out, Properties::NONE);
}

#[test]
fn properties_stand_in_the_order_of_their_flags() {
    let bytes = b"\xb8\x40\x04text\0\0\0\x04\x01kt\x01\x02\x09\0\0\0\0\0\0\0\x07";
    let properties = Properties::decode(bytes).unwrap();
    assert_eq!(properties.content_type, ShortStr::new("text"));
    assert_eq!(properties.headers, RawTable::new(b"\x01kt\x01").ok());
    assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(9)));
    assert_eq!((properties.timestamp, properties.kind), (Some(7), None));
    for end in 0..bytes.len() {
        assert_eq!(Properties::decode(&bytes[..end]), Err(Malformed::CutShort), "cut at {end}");
    }
    assert_eq!(Properties::decode(&[&bytes[..], b"xy"].concat()), Err(Malformed::TooLong(2)));
}

#[test]
fn flags_do_not_go_on() {
    assert_eq!(Properties::decode(&[0, 1, 0, 0]), Err(Malformed::PropertyFlags));
    // A flag of no property, as RabbitMQ does.
    assert_eq!(Properties::decode(&[0, 2]), Ok(Properties::default()));
}

#[test]
fn headers_are_walked() {
    assert_eq!(Properties::decode(b"\x20\0\0\0\0\x02\x01k"), Err(Malformed::CutShort));
    assert_eq!(Properties::decode(b"\x20\0\0\0\0\x02\0z"), Err(Malformed::ValueType(b'z')));
}

proptest! {
    #[test]
    fn properties_are_read_as_they_were_written(
        texts in proptest::array::uniform10(option::of("\\PC{0,20}")),
        numbers: (Option<u8>, Option<u8>, Option<u64>),
        headers in option::of(table()),
    ) {
        let headers = headers.map(|headers| headers.encode());
        let text = |index: usize| texts[index].as_ref().map(|text| ShortStr::cut(text));
        let properties = Properties {
            content_type: text(0), content_encoding: text(1), correlation_id: text(2), reply_to: text(3),
            expiration: text(4), message_id: text(5), kind: text(6), user_id: text(7), app_id: text(8),
            cluster_id: text(9), headers: headers.as_ref().map(|headers| headers.as_raw()),
            delivery_mode: numbers.0, priority: numbers.1, timestamp: numbers.2,
        };
        let mut out = Vec::new();
        properties.encode(&mut out);
        prop_assert_eq!(Properties::decode(&out), Ok(properties));
        for end in 0..out.len() {
            prop_assert!(Properties::decode(&out[..end]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_properties_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Properties::decode(&bytes);
    }
}
