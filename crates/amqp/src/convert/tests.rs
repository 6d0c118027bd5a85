//! What goes in comes out, and what others wrote is shown as far as AMQP can.
#![allow(clippy::unwrap_used)]

use duolog_broker::{LeaseId, QueueId};
use duolog_record::{PartitionId, Timestamp};

use super::*;
use crate::codec::{ShortString, Table, Value};

fn leased(key: Option<&str>, headers: Vec<Header>, attempts: u32) -> Leased {
    Leased {
        id: LeaseId {
            queue: QueueId(1),
            partition: PartitionId(17),
            offset: Offset(0),
            incarnation: 1,
            attempt: attempts,
        },
        partition_index: 0,
        attempts,
        first_leased_at: Timestamp(0),
        record: Record {
            offset: Offset(0),
            timestamp: Timestamp(0),
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            value: None,
            headers,
        },
    }
}

fn header(key: &str, value: &[u8]) -> Header {
    Header { key: Bytes::copy_from_slice(key.as_bytes()), value: Some(Bytes::copy_from_slice(value)) }
}

/// Table of what a receiver is shown.
fn table_of(leased: &Leased) -> Table {
    let mut scratch = Scratch::default();
    message(leased.into(), "q", &mut scratch);
    Properties::decode(&scratch.properties).unwrap().headers.unwrap_or_default().to_table()
}

fn every_type() -> Table {
    let scalars = [
        Scalar::Bool(true),
        Scalar::Byte(-128),
        Scalar::UnsignedByte(255),
        Scalar::Short(-32_768),
        Scalar::UnsignedShort(65_535),
        Scalar::Int(i32::MIN),
        Scalar::UnsignedInt(u32::MAX),
        Scalar::Long(i64::MIN),
        Scalar::LongL(i64::MAX),
        Scalar::Float(1.1),
        Scalar::Double(-0.1),
        Scalar::Timestamp(1_764_000_000),
        Scalar::Decimal { scale: 2, number: 5 },
        Scalar::Decimal { scale: 0, number: 42 },
        Scalar::Void,
    ];
    let mut table = Table::default();
    for (index, scalar) in scalars.into_iter().enumerate() {
        table.0.push((ShortString::cut(&format!("scalar-{index}")), Value::Scalar(scalar)));
    }
    let nested = Table::default().with("inner", Value::Array(vec![Value::from(1), Value::from("two")]));
    table
        .with("text", "ä text")
        .with("no text", Value::String(Box::new([0, 255])))
        .with("bytes", Value::Bytes(Box::new([0, 1, 255])))
        .with("array", Value::Array(vec![Value::from(true), Value::Table(nested.clone())]))
        .with("table", Value::Table(nested))
}

#[test]
fn properties_and_every_type_of_header_come_back() {
    let table = every_type().encode();
    let short = |text| ShortStr::new(text);
    let properties = Properties {
        content_type: short("application/json"),
        content_encoding: short("gzip"),
        headers: Some(table.as_raw()),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: short("c"),
        reply_to: short("r"),
        expiration: short("60000"),
        message_id: short("m"),
        timestamp: Some(u64::MAX),
        kind: short("t"),
        user_id: short("guest"),
        app_id: short("a"),
        cluster_id: short(""),
    };
    let headers = record_headers(&properties, ShortStr::cut("orders"), &Copying);
    let leased = leased(Some("order.created"), headers, 1);
    let mut scratch = Scratch::default();
    let address = message((&leased).into(), "q", &mut scratch);
    assert_eq!(
        (address.exchange, address.routing_key),
        (ShortStr::cut("orders"), ShortStr::cut("order.created"))
    );
    let back = Properties::decode(&scratch.properties).unwrap();
    assert_eq!(back.headers.unwrap().to_table(), every_type());
    assert_eq!(Properties { headers: None, ..back }, Properties { headers: None, ..properties });
}

#[test]
fn without_properties_there_are_none() {
    let headers = record_headers(&Properties::default(), ShortStr::EMPTY, &Copying);
    assert!(headers.is_empty());
    let leased = leased(None, headers, 1);
    let mut scratch = Scratch::default();
    let address = message((&leased).into(), "work", &mut scratch);
    assert_eq!(address, Address { exchange: ShortStr::EMPTY, routing_key: ShortStr::cut("work") });
    assert_eq!(scratch.properties, Properties::NONE);
}

#[test]
fn what_others_wrote_is_shown() {
    let headers = vec![
        header("trace", b"\xff"),
        Header { key: Bytes::from_static(b"none"), value: None },
        header("duolog-type.count", b"Number"),
        header("count", b"42"),
        header("duolog-type.broken", b"Number.int8"),
        header("broken", b"300"),
        header("duolog-type.blob", b"Binary.gif"),
        header("blob", b"GIF"),
        header("duolog-amqp-content-type", b"text/plain"),
        header("duolog-priority", b"high"),
    ];
    let leased = leased(Some(&"k".repeat(256)), headers, 3);
    let shown = table_of(&leased);
    let expected = Table::default()
        .with("trace", Value::String(Box::new([0xff])))
        .with("none", Scalar::Void)
        .with("count", 42_i64)
        .with("broken", "300")
        .with("blob", Value::Bytes(Box::from(*b"GIF")))
        .with("x-delivery-count", 2_i64);
    assert_eq!(shown, expected);
    let mut scratch = Scratch::default();
    // A key that is too long for a routing key is not cut.
    assert_eq!(message((&leased).into(), "work", &mut scratch).routing_key, ShortStr::cut("work"));
    let properties = Properties::decode(&scratch.properties).unwrap();
    assert_eq!((properties.content_type, properties.priority), (ShortStr::new("text/plain"), None));
}

#[test]
fn what_no_table_holds_is_folded() {
    let long = "n".repeat(256);
    let leased = leased(None, vec![header("a", b"1"), header("a", b"2"), header(&long, b"3")], 1);
    let shown = table_of(&leased);
    assert_eq!(shown.get("a"), Some(&Value::from("1")));
    let folded = |name: &str, value: &str| {
        Value::Table(
            Table::default().with("name", Value::String(name.as_bytes().into())).with("value", value),
        )
    };
    let overflow = Value::Array(vec![folded("a", "2"), folded(&long, "3")]);
    assert_eq!(shown.get("duolog-overflow"), Some(&overflow));
}

#[test]
fn a_dead_letter_tells_its_story() {
    let headers = vec![
        header("duolog-dead-reason", b"attempts"),
        header("duolog-dead-source", b"work"),
        header("duolog-dead-last-time", b"1764000000123"),
        header("duolog-exchange", b"orders"),
    ];
    let shown = table_of(&leased(Some("created"), headers, 1));
    let death = Table::default()
        .with("count", 1_i64)
        .with("reason", "delivery_limit")
        .with("queue", "work")
        .with("time", Scalar::Timestamp(1_764_000_000))
        .with("exchange", "orders")
        .with("routing-keys", Value::Array(vec![Value::from("created")]));
    assert_eq!(shown.get("x-death"), Some(&Value::Array(vec![Value::Table(death)])));
    assert_eq!(shown.get("x-first-death-queue"), Some(&Value::from("work")));
}

#[test]
fn nonsense_that_claims_to_be_nested_is_text() {
    let leased =
        leased(None, vec![header("duolog-type.t", b"Binary.amqp-table"), header("t", b"\x05oops")], 1);
    assert_eq!(table_of(&leased).get("t"), Some(&Value::String(Box::from(*b"\x05oops"))));
}
