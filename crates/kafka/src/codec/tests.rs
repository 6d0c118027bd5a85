//! What the oracle cannot see: limits, refusals, and arrays that promise more than they hold.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::messages::{FetchRequest, MetadataRequest, MetadataRequestTopic};
use super::{ApiKey, DecodeError, Decoder, Encoder, Wire, decode_body};

fn decode<T: Wire>(bytes: &[u8], version: i16, flexible: bool) -> Result<T, DecodeError> {
    decode_body(&mut Decoder::new(Bytes::copy_from_slice(bytes), version, flexible))
}

#[test]
fn keys_and_windows_agree_with_themselves() {
    assert!(ApiKey::ALL.is_sorted_by_key(|api| *api as i16));
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::of(*api as i16), Some(*api));
        assert!(!api.versions().is_empty());
    }
    assert_eq!(ApiKey::of(-1), None);
    assert_eq!(ApiKey::of(i16::MAX), None);
}

#[test]
fn an_array_that_promises_more_than_the_frame_holds_is_refused_before_it_is_allocated() {
    let count = i32::MAX.to_be_bytes();
    let refused = decode::<Vec<i32>>(&count, 0, false);
    assert_eq!(refused, Err(DecodeError::Count { count: i32::MAX.into(), left: 0 }));
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(matches!(decode::<Vec<i32>>(&compact, 0, true), Err(DecodeError::Count { .. })));
}

#[test]
fn small_elements_that_decode_to_large_ones_are_counted() {
    // One byte each on the wire, a whole structure each in memory.
    let mut bytes = 4_000_000_i32.to_be_bytes().to_vec();
    bytes.resize(4_000_004 * 2, 0);
    let refused = decode::<Vec<Option<Vec<String>>>>(&bytes, 1, true);
    assert!(refused.is_err());
    let mut topics = Vec::new();
    topics.extend_from_slice(&2_000_000_i32.to_be_bytes());
    topics.resize(8 << 20, 0);
    assert_eq!(decode::<MetadataRequest>(&topics, 4, false).err(), Some(DecodeError::TooMuch));
}

#[test]
fn lengths_below_null_are_refused() {
    assert_eq!(decode::<String>(&[0xff, 0xfe], 0, false), Err(DecodeError::Length(-2)));
    assert_eq!(decode::<Vec<i8>>(&(-2_i32).to_be_bytes(), 0, false), Err(DecodeError::Length(-2)));
    assert_eq!(decode::<String>(&[0xff, 0xff], 0, false), Err(DecodeError::Null));
    assert_eq!(decode::<Option<String>>(&[0xff, 0xff], 0, false), Ok(None));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_eq!(decode::<String>(&[0, 2, 0xc3, 0x28], 0, false), Err(DecodeError::NotUtf8));
}

#[test]
fn an_endless_variable_length_integer_is_refused() {
    assert_eq!(decode::<String>(&[0xff; 10], 0, true), Err(DecodeError::Varint));
}

#[test]
fn a_tag_that_we_do_not_know_is_skipped() {
    let topic = MetadataRequestTopic { topic_id: 7, name: Some("t".to_owned()) };
    let mut to = Encoder::new(12, true);
    topic.encode(&mut to);
    let mut bytes = to.finish().to_bytes().slice(4..).to_vec();
    // One tagged field, number 99, three bytes.
    bytes.pop();
    bytes.extend_from_slice(&[1, 99, 3, 1, 2, 3]);
    assert_eq!(decode::<MetadataRequestTopic>(&bytes, 12, true), Ok(topic));
}

#[test]
fn a_frame_cut_anywhere_is_an_error_and_never_a_panic() {
    use super::oracle::{Sample, Source};
    for seed in 0..50 {
        let value = FetchRequest::sample(&mut Source::new(seed), 18);
        let mut to = Encoder::new(18, true);
        value.encode(&mut to);
        let bytes = to.finish().to_bytes().slice(4..);
        for end in 0..bytes.len() {
            assert!(decode::<FetchRequest>(&bytes[..end], 18, true).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    let read = decode::<MetadataRequest>(&[0, 0, 0, 0, 1, 0, 0], 13, true).unwrap();
    assert_eq!((read.topics, read.allow_auto_topic_creation), (None, false));
}
