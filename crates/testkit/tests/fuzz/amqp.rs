//! Frames of AMQP 0-9-1, and what lies in them.

use duolog_amqp::codec::client::{ServerMethod, write_publish};
use duolog_amqp::codec::method::{
    BasicDeliver, BasicPublish, ConnectionStartOk, ConnectionTuneOk, QueueDeclare,
};
use duolog_amqp::codec::{
    ContentHeader, FrameKind, LongStr, Method, Properties, RawTable, Scalar, ShortStr, Table, TableBytes,
    Value, parse_frame, parse_protocol_header, sasl, write_deliver,
};
use duolog_testkit::fuzz::Target;

pub const FRAMES: Target = Target { name: "amqp-frames", seeds: frames, run: frame };
pub const METHODS: Target = Target { name: "amqp-methods", seeds: methods, run: method };
pub const TABLES: Target = Target { name: "amqp-tables", seeds: tables, run: table };
pub const PROPERTIES: Target = Target { name: "amqp-properties", seeds: properties, run: property };

const FRAME_MAX: u32 = 4096;

/// A value of each type, nested.
fn mixed() -> TableBytes {
    let numbers = [
        Scalar::Bool(true),
        Scalar::Byte(-1),
        Scalar::UnsignedByte(1),
        Scalar::Short(-1),
        Scalar::UnsignedShort(1),
        Scalar::Int(-1),
        Scalar::UnsignedInt(1),
        Scalar::Long(-1),
        Scalar::LongL(-1),
        Scalar::Float(1.5),
        Scalar::Double(1.5),
        Scalar::Timestamp(1),
        Scalar::Decimal { scale: 2, number: 314 },
        Scalar::Void,
    ];
    Table::default()
        .with("LOGIN", "guest")
        .with("PASSWORD", "guest")
        .with("x", Value::Bytes([0, 1].into()))
        .with("numbers", numbers.map(Value::Scalar).to_vec())
        .with("x-death", vec![Value::from(Table::default().with("count", 1_i64).with("queue", "q"))])
        .encode()
}

fn message() -> Vec<u8> {
    let headers = mixed();
    let mut out = Vec::new();
    Properties {
        content_type: ShortStr::new("text/plain"),
        headers: Some(headers.as_raw()),
        delivery_mode: Some(2),
        expiration: ShortStr::new("60000"),
        timestamp: Some(7),
        cluster_id: ShortStr::new(""),
        ..Properties::default()
    }
    .encode(&mut out);
    out
}

fn frames() -> Vec<Vec<u8>> {
    let (arguments, properties) = (mixed(), message());
    let (mut opening, mut declaring, mut publishing, mut delivering) =
        (b"AMQP\0\0\x09\x01".to_vec(), Vec::new(), Vec::new(), Vec::new());
    let response = LongStr(b"\0guest\0guest");
    ConnectionStartOk { client_properties: arguments.as_raw(), response, ..ConnectionStartOk::default() }
        .write(&mut opening, 0);
    ConnectionTuneOk { channel_max: 7, frame_max: FRAME_MAX, heartbeat: 60 }.write(&mut opening, 0);
    QueueDeclare { arguments: arguments.as_raw(), ..QueueDeclare::default() }.write(&mut declaring, 1);
    let publish =
        BasicPublish { routing_key: ShortStr::cut("key"), mandatory: true, ..BasicPublish::default() };
    write_publish(&mut publishing, 1, &publish, &properties, &[7; 5000], FRAME_MAX);
    let deliver =
        BasicDeliver { consumer_tag: ShortStr::cut("tag"), delivery_tag: 1, ..BasicDeliver::default() };
    write_deliver(&mut delivering, 1, &deliver, Properties::NONE, b"hello", FRAME_MAX);
    vec![opening, declaring, publishing, delivering]
}

/// All frames, whole and in pieces: the same, and the same end.
fn frame(bytes: &[u8]) {
    fn read(bytes: &[u8], step: usize) -> (usize, usize, bool) {
        let (mut used, mut shown, mut frames) = (0, 0, 0);
        while shown < bytes.len() {
            shown = bytes.len().min(shown + step);
            loop {
                match parse_frame(&bytes[used..shown], FRAME_MAX) {
                    Ok(Some((_, length))) => (used, frames) = (used + length, frames + 1),
                    Ok(None) => break,
                    Err(_) => return (used, frames, true),
                }
                assert!(used <= shown, "a frame is as long as it is");
            }
        }
        (used, frames, false)
    }
    let begin = parse_protocol_header(bytes).ok().flatten().unwrap_or_default();
    let bytes = &bytes[begin..];
    let whole = read(bytes, bytes.len());
    assert_eq!(read(bytes, 1), whole, "byte by byte");
    assert_eq!(read(bytes, 100), whole, "in pieces");
    let mut rest = bytes;
    while let Ok(Some((frame, length))) = parse_frame(rest, FRAME_MAX) {
        match frame.kind {
            FrameKind::Method(payload) => method(payload),
            FrameKind::Header(payload) => {
                if let Ok(header) = ContentHeader::decode(payload) {
                    property(header.properties);
                }
            }
            FrameKind::Body(_) | FrameKind::Heartbeat => (),
        }
        rest = &rest[length..];
    }
}

/// Payloads of the method frames above, and of each method with arguments of zeros.
fn methods() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for stream in frames() {
        let mut rest = &stream[parse_protocol_header(&stream).ok().flatten().unwrap_or_default()..];
        while let Ok(Some((frame, length))) = parse_frame(rest, FRAME_MAX) {
            if let FrameKind::Method(payload) = frame.kind {
                seeds.push(payload.to_vec());
            }
            rest = &rest[length..];
        }
    }
    for (class, last) in [(10, 71), (20, 41), (30, 11), (40, 51), (50, 51), (60, 120), (85, 11), (90, 31)] {
        for id in (10..=last).filter(|id| id % 10 < 3) {
            seeds.push([&[0, class, 0, id][..], &[0; 16]].concat());
        }
    }
    seeds
}

/// What is decoded is written as it was, but for bits that mean nothing.
fn method(payload: &[u8]) {
    let mut out = Vec::new();
    match (Method::decode(payload), ServerMethod::decode(payload)) {
        (Ok(method), _) => method.write(&mut out, 1),
        (_, Ok(method)) => method.write(&mut out, 1),
        (Err(refused), Err(_)) => {
            let text = refused.reply_code().text(refused);
            assert!(text.as_str().is_some_and(|text| text.starts_with(refused.reply_code().name())));
            return;
        }
    }
    assert_eq!(out.len(), payload.len() + 8, "as long as it was");
    if let (Ok(Some((frame, _))), Ok(method)) = (parse_frame(&out, u32::MAX), Method::decode(payload)) {
        let FrameKind::Method(again) = frame.kind else { panic!("a method is a method") };
        assert_eq!(Method::decode(again), Ok(method), "and means the same");
    }
}

fn tables() -> Vec<Vec<u8>> {
    let nested = (0..20).fold(Table::default(), |inner, _| Table::default().with("t", inner));
    [mixed(), nested.encode()].map(|table| table.as_raw().as_bytes().to_vec()).to_vec()
}

/// What is a table is one once it has been copied, and of the same size.
fn table(bytes: &[u8]) {
    let credentials = sasl::amqplain(bytes);
    let _ = sasl::plain(bytes);
    let Ok(raw) = RawTable::new(bytes) else {
        assert!(credentials.is_err(), "no table, no name");
        return;
    };
    let table = raw.to_table();
    assert_eq!(table.0.len(), raw.iter().count());
    let encoded = table.encode();
    assert_eq!(encoded.as_raw().as_bytes().len(), bytes.len(), "as long as it was");
    let again = RawTable::new(encoded.as_raw().as_bytes()).expect("well-formed").to_table();
    assert_eq!(again.encode(), encoded, "and the same from then on");
    for (name, value) in raw.iter() {
        if let Some(name) = name.as_str() {
            assert!(raw.get(name).is_some() && table.get(name).is_some());
        }
        let _ = (value.as_integer(), value.as_str(), format!("{value:?}"));
    }
}

fn properties() -> Vec<Vec<u8>> {
    vec![Properties::NONE.to_vec(), message(), [&[0xff, 0xfc][..], &[0; 40]].concat()]
}

fn property(bytes: &[u8]) {
    let Ok(properties) = Properties::decode(bytes) else { return };
    let mut out = Vec::new();
    properties.encode(&mut out);
    assert_eq!(out[2..], bytes[2..], "written as they were read");
    assert_eq!(Properties::decode(&out), Ok(properties));
    if let Some(headers) = properties.headers {
        table(headers.as_bytes());
    }
}
