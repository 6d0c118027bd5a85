//! What pika 1.4.4 writes for every method that it knows and for properties: the same bytes, and the same meaning.
#![allow(clippy::unwrap_used)]

use super::client::ServerMethod;
use super::{ContentHeader, FrameKind, Method, MethodError, Properties, parse_frame, write_content};

/// A frame in hexadecimal digits, and what it is.
const METHODS: &str = include_str!("golden/methods.txt");
/// Encoded properties, and what they are.
const PROPERTIES: &str = include_str!("golden/properties.txt");

pub fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn lines(text: &'static str) -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(hex, meaning)| (bytes(hex), meaning))
}

#[test]
fn every_method_means_what_pika_says() {
    let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
    for (golden, meaning) in lines(METHODS) {
        let (frame, used) = parse_frame(&golden, 4096).unwrap().unwrap();
        assert_eq!((frame.channel, used), (7, golden.len()));
        let FrameKind::Method(payload) = frame.kind else { panic!("{meaning}") };
        let mut shown = Vec::new();
        if let Some(method) = expected(Method::decode(payload)) {
            shown.push((format!("{method:?}"), written(|out| method.write(out, 7))));
            of_client.push(method.id());
        }
        if let Some(method) = expected(ServerMethod::decode(payload)) {
            shown.push((format!("{method:?}"), written(|out| method.write(out, 7))));
            of_server.push(method.id());
        }
        assert!(!shown.is_empty(), "{meaning}");
        for (ours, again) in shown {
            assert_eq!((ours.as_str(), again), (meaning, golden.clone()));
        }
    }
    assert!(Method::samples().iter().all(|method| of_client.contains(&method.id())));
    assert!(ServerMethod::samples().iter().all(|method| of_server.contains(&method.id())));
}

/// The method, unless only the other side says it.
fn expected<T>(decoded: Result<T, MethodError>) -> Option<T> {
    match decoded {
        Ok(method) => Some(method),
        Err(MethodError::OtherWay(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn properties_mean_what_pika_says() {
    for (golden, meaning) in lines(PROPERTIES) {
        let properties = Properties::decode(&golden).unwrap();
        assert_eq!(format!("{properties:?}"), meaning);
        assert_eq!(written(|out| properties.encode(out)), golden);
        if let Some(headers) = properties.headers {
            assert_eq!(headers.to_table().encode().as_raw(), headers, "a table is written as it was read");
        }
    }
}

#[test]
fn a_content_is_what_pika_writes() {
    let header = bytes("0200070000000f003c000000000000000493e0100002ce");
    let FrameKind::Header(payload) = parse_frame(&header, 4096).unwrap().unwrap().0.kind else { panic!() };
    let decoded = ContentHeader::decode(payload).unwrap();
    assert_eq!(decoded.body_size, 300_000);
    assert_eq!(Properties::decode(decoded.properties).unwrap().delivery_mode, Some(2));

    let golden = bytes("0200070000000f003c00000000000000000003100002ce0300070000000378797ace");
    assert_eq!(written(|out| write_content(out, 7, &[0x10, 0, 2], b"xyz", 4096)), golden);
}
