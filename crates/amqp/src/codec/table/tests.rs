//! Every type of value, nesting, and what is no table.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::{RawTable, Scalar, Table, Value, ValueRef};
use crate::codec::{LongStr, Malformed, ShortString};
use crate::limits::TABLE_DEPTH;

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Bool),
        any::<i8>().prop_map(Scalar::Byte),
        any::<u8>().prop_map(Scalar::UnsignedByte),
        any::<i16>().prop_map(Scalar::Short),
        any::<u16>().prop_map(Scalar::UnsignedShort),
        any::<i32>().prop_map(Scalar::Int),
        any::<u32>().prop_map(Scalar::UnsignedInt),
        any::<i64>().prop_map(Scalar::Long),
        any::<i64>().prop_map(Scalar::LongL),
        any::<f32>().prop_map(Scalar::Float),
        any::<f64>().prop_map(Scalar::Double),
        any::<u64>().prop_map(Scalar::Timestamp),
        any::<(u8, u32)>().prop_map(|(scale, number)| Scalar::Decimal { scale, number }),
        Just(Scalar::Void),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = || vec(any::<u8>(), 0..20).prop_map(Vec::into_boxed_slice);
    let leaf = prop_oneof![
        3 => scalar().prop_map(Value::Scalar),
        1 => bytes().prop_map(Value::String),
        1 => bytes().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((name(), inner), 0..4).prop_map(|entries| Value::Table(Table(entries))),
        ]
    })
}

fn name() -> impl Strategy<Value = ShortString> {
    vec(any::<u8>(), 0..12).prop_map(|bytes| ShortString::new(bytes).unwrap())
}

/// Tables of all types of values.
pub(in crate::codec) fn table() -> impl Strategy<Value = Table> {
    vec((name(), value()), 0..6).prop_map(Table)
}

#[track_caller]
fn check(value: &[u8], expected: Scalar, integer: Option<i64>) {
    let bytes = [b"\x01k", value].concat();
    let table = RawTable::new(&bytes).unwrap();
    assert_eq!(table.get("k"), Some(ValueRef::Scalar(expected)));
    assert_eq!(table.get("k").unwrap().as_integer(), integer);
    assert_eq!(table.get("k").unwrap().letter(), value[0]);
    assert_eq!(table.to_table().encode().as_raw().as_bytes(), bytes);
    for end in 1..bytes.len() {
        assert_eq!(RawTable::new(&bytes[..end]), Err(Malformed::CutShort), "cut at {end}");
    }
}

#[test]
fn each_scalar_has_its_letter_width_and_sign() {
    check(b"t\x01", Scalar::Bool(true), None);
    check(b"t\x00", Scalar::Bool(false), None);
    check(b"b\xff", Scalar::Byte(-1), Some(-1));
    check(b"B\xff", Scalar::UnsignedByte(255), Some(255));
    check(b"s\xff\xfe", Scalar::Short(-2), Some(-2));
    check(b"u\xff\xfe", Scalar::UnsignedShort(65534), Some(65534));
    check(b"I\xff\xff\xff\xfe", Scalar::Int(-2), Some(-2));
    check(b"i\xff\xff\xff\xfe", Scalar::UnsignedInt(u32::MAX - 1), Some(4_294_967_294));
    check(b"l\xff\xff\xff\xff\xff\xff\xff\xfe", Scalar::Long(-2), Some(-2));
    check(b"L\xff\xff\xff\xff\xff\xff\xff\xfe", Scalar::LongL(-2), Some(-2));
    check(b"f\x3f\xc0\0\0", Scalar::Float(1.5), None);
    check(b"d\xbf\xf8\0\0\0\0\0\0", Scalar::Double(-1.5), None);
    check(b"D\x02\0\0\x01\x3a", Scalar::Decimal { scale: 2, number: 314 }, None);
    check(b"T\0\0\0\0\x6a\x0d\x2f\x80", Scalar::Timestamp(0x6a0d_2f80), None);
    check(b"V", Scalar::Void, None);
}

#[test]
fn what_is_no_number_keeps_its_bits() {
    let bytes = b"\x01ff\xff\xa0\0\x01\x01dd\x7f\xf0\0\0\0\0\0\x01";
    assert_eq!(RawTable::new(bytes).unwrap().to_table().encode().as_raw().as_bytes(), bytes);
}

#[test]
fn any_octet_but_zero_is_true() {
    let table = RawTable::new(b"\x01kt\x02").unwrap();
    assert_eq!(table.get("k").unwrap().as_bool(), Some(true));
}

#[test]
fn strings_arrays_and_tables_have_their_size_before_them() {
    let bytes = b"\x01SS\0\0\0\x02hi\x01xx\0\0\0\x01\0\x01AA\0\0\0\x03t\x01V\x01FF\0\0\0\x04\x01ab\x05";
    let table = RawTable::new(bytes).unwrap();
    assert_eq!(table.get("S").unwrap().as_str(), Some("hi"));
    assert_eq!(table.get("x"), Some(ValueRef::Bytes(LongStr(b"\0"))));
    let Some(ValueRef::Array(array)) = table.get("A") else { panic!() };
    assert_eq!(array.iter().collect::<Vec<_>>(), [Scalar::Bool(true), Scalar::Void].map(ValueRef::Scalar));
    assert_eq!(table.get("F").unwrap().as_table().unwrap().get("a").unwrap().as_integer(), Some(5));
    let built = Table::default()
        .with("S", "hi")
        .with("x", Value::Bytes([0].into()))
        .with("A", vec![Value::from(true), Value::from(Scalar::Void)])
        .with("F", Table::default().with("a", Scalar::Byte(5)));
    assert_eq!(table.to_table(), built);
    assert_eq!(built.encode().as_raw(), table);
}

#[test]
fn of_a_name_that_comes_twice_the_first_counts_and_both_are_kept() {
    let twice = Table::default().with("k", 1).with("k", 2);
    assert_eq!(twice.get("k").and_then(Value::as_integer), Some(1));
    let encoded = twice.encode();
    assert_eq!(encoded.as_raw().get("k").unwrap().as_integer(), Some(1));
    assert_eq!(encoded.as_raw().to_table(), twice);
}

#[test]
fn what_is_no_table_is_refused_for_what_it_is() {
    for letter in [b'U', b'z', 0] {
        assert_eq!(RawTable::new(&[0, letter]), Err(Malformed::ValueType(letter)));
    }
    assert_eq!(RawTable::new(b"\x05k"), Err(Malformed::CutShort));
    assert_eq!(RawTable::new(b"\x01kS\xff\xff\xff\xffx"), Err(Malformed::CutShort));
    assert_eq!(RawTable::new(b"\x01kF\0\0\0\x02\x01a"), Err(Malformed::CutShort));
    assert_eq!(RawTable::new(b"\x01kA\0\0\0\x01z"), Err(Malformed::ValueType(b'z')));
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| {
        let innermost = Table::default().with("k", 1);
        (1..depth).fold(innermost, |inner, level| match level % 2 {
            0 => Table::default().with("t", inner),
            _ => Table::default().with("t", vec![Value::from(inner)]),
        })
    };
    // Every other table lies in an array, which counts, too.
    let depth = (TABLE_DEPTH / 3) * 2;
    let checked = |table: Table| RawTable::new(table.encode().as_raw().as_bytes()).map(|_| ());
    assert_eq!(checked(nested(depth)), Ok(()));
    assert_eq!(checked(nested(depth + 3)), Err(Malformed::Depth));
    let tables = |depth| (1..depth).fold(Table::default(), |inner, _| Table::default().with("t", inner));
    assert_eq!(checked(tables(TABLE_DEPTH)), Ok(()));
    assert_eq!(checked(tables(TABLE_DEPTH + 1)), Err(Malformed::Depth));
}

proptest! {
    #[test]
    fn a_table_is_read_as_it_was_written(table in table()) {
        let encoded = table.encode();
        let raw = RawTable::new(encoded.as_raw().as_bytes()).unwrap();
        let again = raw.to_table();
        // Bytes and not values: a NaN is no other.
        prop_assert_eq!(again.encode(), encoded.clone());
        prop_assert_eq!(again.0.len(), table.0.len());
        for (name, _) in &table.0 {
            let name = name.as_str().unwrap_or("k");
            prop_assert_eq!(raw.get(name).map(|value| value.letter()).is_some(), table.get(name).is_some());
        }
    }

    #[test]
    fn a_table_cut_short_is_refused_or_has_fewer_entries(table in table(), end: prop::sample::Index) {
        let encoded = table.encode();
        let bytes = encoded.as_raw().as_bytes();
        let end = if bytes.is_empty() { 0 } else { end.index(bytes.len()) };
        if let Ok(cut) = RawTable::new(&bytes[..end]) {
            prop_assert!(end == 0 || cut.iter().count() < table.0.len());
        }
    }

    #[test]
    fn any_bytes_are_a_table_or_not(bytes in vec(prop_oneof![any::<u8>(), Just(0), Just(b'A'), Just(b'F')], 0..200)) {
        if let Ok(table) = RawTable::new(&bytes) {
            prop_assert_eq!(table.to_table().encode().as_raw().as_bytes().len(), bytes.len());
        }
    }
}
