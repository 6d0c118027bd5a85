//! Round trips and what does not fit.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use duolog_broker::{Catalog, LeaseId, Leased, NewRecord, QueueId};
use duolog_record::{Header, Offset, PartitionId, Record, Timestamp};
use serde_json::{Value, json};

use super::*;

fn leased(record: NewRecord) -> Leased {
    let id = LeaseId {
        queue: QueueId(1),
        partition: PartitionId(2),
        offset: Offset(3),
        incarnation: 4,
        attempt: 5,
    };
    let record = Record {
        offset: Offset(3),
        timestamp: Timestamp(1_700_000_000_000),
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    Leased { id, partition_index: 0, attempts: 5, first_leased_at: Timestamp(1_700_000_000_001), record }
}

fn received(record: NewRecord, names: &[&str], system: &[&str]) -> Value {
    received_from(false, record, names, system)
}

fn received_from(fifo: bool, record: NewRecord, names: &[&str], system: &[&str]) -> Value {
    let mut flags = SystemNames::default();
    for name in system {
        assert!(flags.add(name), "{name}");
    }
    let catalog = Catalog::default();
    let context = Context {
        topic: 1 << 100,
        region: "eu-central-1",
        account: "000000000000",
        fifo,
        host: "h",
        queue: "q",
        catalog: &catalog,
    };
    let leased = leased(record);
    let message = message(context, &leased, &Wanted::new(names.iter().copied()), flags);
    serde_json::to_value(&message).unwrap()
}

fn header(key: impl AsRef<[u8]>, value: Option<&[u8]>) -> Header {
    Header { key: Bytes::copy_from_slice(key.as_ref()), value: value.map(Bytes::copy_from_slice) }
}

fn attribute(name: &str, data_type: &str, value: &'static [u8]) -> Attribute {
    Attribute {
        name: Bytes::copy_from_slice(name.as_bytes()),
        data_type: data_type.to_owned(),
        value: Bytes::from_static(value),
    }
}

fn with_headers(headers: Vec<Header>) -> NewRecord {
    NewRecord { value: Some(Bytes::from_static(b"v")), headers, ..NewRecord::default() }
}

#[test]
fn a_message_comes_back_as_it_was_sent() {
    let attributes = [
        attribute("s", "String", b"text"),
        attribute("n", "Number.int", b"42"),
        attribute("b", "Binary", b"text too"),
        attribute("c", "Binary.gif", b"\x00\xff"),
    ];
    let trace = Some(Bytes::from_static(b"Root=1-5759e988"));
    let sent = new_record("hällo".into(), Some("group".into()), &attributes, trace, None, None);
    assert_eq!(sent.key.as_deref(), Some(&b"group"[..]));
    let message = received(sent, &["All"], &["All"]);
    assert_eq!(message["Body"], "hällo");
    assert_eq!(
        message["MessageAttributes"],
        json!({
            "s": {"DataType": "String", "StringValue": "text"},
            "n": {"DataType": "Number.int", "StringValue": "42"},
            "b": {"DataType": "Binary", "BinaryValue": "dGV4dCB0b28="},
            "c": {"DataType": "Binary.gif", "BinaryValue": "AP8="},
        })
    );
    assert_eq!(
        message["Attributes"],
        json!({
            "SenderId": "000000000000",
            "SentTimestamp": "1700000000000",
            "ApproximateReceiveCount": "5",
            "ApproximateFirstReceiveTimestamp": "1700000000001",
            "MessageGroupId": "group",
            "AWSTraceHeader": "Root=1-5759e988",
        })
    );
}

#[test]
fn nothing_is_returned_that_was_not_asked_for() {
    let sent = new_record("x".into(), None, &[attribute("s", "String", b"text")], None, None, None);
    let message = received(sent, &[], &[]);
    for absent in ["Attributes", "MessageAttributes", "MD5OfMessageAttributes"] {
        assert_eq!(message.get(absent), None);
    }
}

#[test]
fn attributes_are_picked_by_name_and_prefix() {
    let names = ["General", "Hello", "Help.Me"];
    let headers: Vec<Header> = names.iter().map(|name| header(name, Some(b"x"))).collect();
    let picked = |names: &[&str]| -> Vec<String> {
        let message = received(with_headers(headers.clone()), names, &[]);
        message["MessageAttributes"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    assert_eq!(picked(&["Hel.*"]), ["Hello", "Help.Me"]);
    assert_eq!(picked(&["Hello", "missing"]), ["Hello"]);
    assert_eq!(picked(&[".*"]), names);
    assert_eq!(picked(&["All"]), names);
    assert_eq!(picked(&["hello"]), [""; 0]);
}

#[test]
fn an_illegal_body_is_marked_unasked() {
    let binary = NewRecord { value: Some(Bytes::from_static(b"\x00\xff")), ..NewRecord::default() };
    let message = received(binary, &[], &[]);
    assert_eq!(message["Body"], "AP8=");
    assert_eq!(
        message["MessageAttributes"],
        json!({"duolog.body": {"DataType": "String", "StringValue": "base64"}})
    );
    let null = received(NewRecord::default(), &[], &[]);
    assert_eq!((null["Body"].as_str(), null["MessageAttributes"]["duolog.body"]["StringValue"].as_str()), {
        (Some(""), Some("null"))
    });
    let empty = NewRecord { value: Some(Bytes::new()), ..NewRecord::default() };
    assert_eq!(received(empty, &[], &[]).get("MessageAttributes"), None);
}

#[test]
fn a_key_that_is_no_group_arrives_as_an_attribute() {
    for (key, shown) in [
        (&b"\xff"[..], json!({"DataType": "Binary", "BinaryValue": "/w=="})),
        (b"two words", json!({"DataType": "String", "StringValue": "two words"})),
        (b"", json!({"DataType": "String", "StringValue": ""})),
    ] {
        let record = NewRecord { key: Some(Bytes::from_static(key)), ..with_headers(Vec::new()) };
        let message = received(record, &["All"], &["MessageGroupId"]);
        assert_eq!(message["MessageAttributes"]["duolog.key"], shown);
        assert_eq!(message.get("Attributes"), None);
    }
}

#[test]
fn headers_keep_their_kind_and_nulls_are_marked() {
    let headers = vec![header("text", Some(b"abc")), header("bytes", Some(b"\xff")), header("null", None)];
    let message = received(with_headers(headers), &["All"], &[]);
    assert_eq!(
        message["MessageAttributes"],
        json!({
            "text": {"DataType": "String", "StringValue": "abc"},
            "bytes": {"DataType": "Binary", "BinaryValue": "/w=="},
            "null": {"DataType": "String.null", "StringValue": ""},
        })
    );
}

#[test]
fn what_does_not_fit_is_folded() {
    let mut headers: Vec<Header> = (0..11).map(|i| header(format!("h{i}"), Some(b"x"))).collect();
    headers.push(header("h0", Some(b"again")));
    headers.push(header("bad name", Some(b"\x00")));
    headers.push(header(b"\xff", None));
    let message = received(with_headers(headers), &["All"], &[]);
    let attributes = message["MessageAttributes"].as_object().unwrap();
    assert_eq!(attributes.len(), 10);
    assert_eq!(attributes["duolog.overflow"]["DataType"], "String.json");
    let folded: Value =
        serde_json::from_str(attributes["duolog.overflow"]["StringValue"].as_str().unwrap()).unwrap();
    assert_eq!(
        folded,
        json!([
            {"Name": "h9", "StringValue": "x", "DataType": "String"},
            {"Name": "h10", "StringValue": "x", "DataType": "String"},
            {"Name": "h0", "StringValue": "again", "DataType": "String"},
            {"Name": "bad name", "BinaryValue": "AA==", "DataType": "Binary"},
            {"NameBinary": "/w==", "StringValue": "", "DataType": "String.null"},
        ])
    );
}

#[test]
fn asking_by_name_reaches_what_all_would_fold() {
    let headers: Vec<Header> = (0..30).map(|i| header(format!("h{i}"), Some(b"x"))).collect();
    let message = received(with_headers(headers), &["h29"], &[]);
    assert_eq!(message["MessageAttributes"], json!({"h29": {"DataType": "String", "StringValue": "x"}}));
}

#[test]
fn our_headers_are_shown_to_those_who_name_them() {
    let headers = vec![
        header("duolog-origin", Some(b"9abc4def812345678123456789abcdef/3/77")),
        header("duolog-dead-source", Some(b"orders")),
        header("duolog-dead-reason", Some(b"attempts")),
    ];
    let message = received(with_headers(headers.clone()), &["All"], &["DeadLetterQueueSourceArn"]);
    let first = message_id_of(0x9abc_4def_8123_4567_8123_4567_89ab_cdef, 3, Offset(77));
    assert_eq!(message["MessageId"], first.as_str());
    assert_eq!(
        message["Attributes"]["DeadLetterQueueSourceArn"],
        "arn:aws:sqs:eu-central-1:000000000000:orders"
    );
    assert_eq!(message.get("MessageAttributes"), None);
    let message = received(with_headers(headers), &["duolog-.*"], &[]);
    assert_eq!(message["MessageAttributes"].as_object().unwrap().len(), 3);
}

#[test]
fn an_origin_that_is_none_is_not_believed() {
    let own = received(with_headers(Vec::new()), &[], &[])["MessageId"].clone();
    for origin in [&b""[..], b"/", b"x/1/2", b"1/2", b"1/-1/2", b"1/1/99999999999999999999", b"\xff"] {
        let message = received(with_headers(vec![header("duolog-origin", Some(origin))]), &[], &[]);
        assert_eq!(message["MessageId"], own);
    }
}

mod any_record {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::rules::is_attribute_name;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            "[a-z]{0,8}".prop_map(|text| Bytes::from(text.into_bytes())),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
        ]
    }

    fn name() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            4 => "[ab.]{1,3}".prop_map(|text| Bytes::from(text.into_bytes())),
            1 => "duolog[-.][a-z]{1,6}(\\.[ab])?".prop_map(|text| Bytes::from(text.into_bytes())),
            1 => Just(Bytes::from_static(b"duolog-type.a")),
            1 => bytes(),
        ]
    }

    proptest! {
        /// No record panics or breaks a limit, and each legal header is reached by its name.
        #[test]
        fn becomes_a_message(
            key in proptest::option::of(bytes()),
            value in proptest::option::of(bytes()),
            headers in proptest::collection::vec((name(), proptest::option::of(bytes())), 0..20),
        ) {
            let headers: Vec<Header> =
                headers.into_iter().map(|(key, value)| Header { key, value }).collect();
            let record = NewRecord { key, value, headers: headers.clone(), ..NewRecord::default() };
            let message = received(record.clone(), &["All", "duolog-.*"], &["All"]);
            let count = message["MessageAttributes"].as_object().map_or(0, serde_json::Map::len);
            prop_assert!(count <= 10);
            prop_assert_eq!(message.get("MD5OfMessageAttributes").is_some(), count > 0);
            for header in &headers {
                let Ok(name) = std::str::from_utf8(&header.key) else { continue };
                if is_attribute_name(name) && !name.starts_with("duolog.") {
                    let message = received(record.clone(), &[name], &[]);
                    prop_assert!(message["MessageAttributes"].get(name).is_some(), "{}", name);
                }
            }
        }

        /// What is sent is what is received.
        #[test]
        fn comes_from_a_message(
            body in "[\\x20-\\x7e\\n\u{e4}\u{10000}]{1,20}",
            values in proptest::collection::btree_map(
                "[ab]{1,3}", ("String|Number|Binary|Binary\\.x|String\\.y", "[0-9]{1,5}"), 0..10),
        ) {
            let attributes: Vec<Attribute> = values
                .iter()
                .map(|(name, (data_type, value))| Attribute {
                    name: Bytes::copy_from_slice(name.as_bytes()),
                    data_type: data_type.clone(),
                    value: Bytes::copy_from_slice(value.as_bytes()),
                })
                .collect();
            let sent = new_record(Bytes::from(body.clone().into_bytes()), None, &attributes, None, None, None);
            let message = received(sent, &["All"], &[]);
            prop_assert_eq!(message["Body"].as_str(), Some(&*body));
            for (name, (data_type, value)) in &values {
                let got = &message["MessageAttributes"][name.as_str()];
                prop_assert_eq!(got["DataType"].as_str(), Some(&**data_type));
                let field = if data_type.starts_with("Binary") { "BinaryValue" } else { "StringValue" };
                prop_assert!(got[field].is_string(), "{} {}", data_type, value);
            }
        }
    }
}

#[test]
fn a_fifo_message_has_its_number_and_deduplication_id() {
    let sent = new_record("x".into(), Some("g".into()), &[], None, Some("once".into()), Some(5_000));
    assert_eq!((sent.idempotency_key.as_deref(), sent.delay_ms), (Some(&b"once"[..]), Some(5_000)));
    let message = received_from(true, sent, &["All"], &["All"]);
    assert_eq!(message["Attributes"]["MessageDeduplicationId"], "once");
    assert_eq!(message["Attributes"]["SequenceNumber"], "10000000000000000003");
    assert_eq!(message["MessageAttributes"], Value::Null);
    // One that was delayed keeps the number that its sender was told.
    let place = format!("{:032x}/{}/9", 1_u128 << 100, u32::MAX);
    let delayed = with_headers(vec![header("duolog-origin", Some(place.as_bytes()))]);
    let delayed = received_from(true, delayed, &[], &["All"]);
    assert_eq!(delayed["Attributes"]["SequenceNumber"], "10000000000000000009");
    assert_eq!(sequence_number(Offset(u64::MAX)).as_str().len(), 20);
}
