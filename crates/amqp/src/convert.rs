//! A message becomes a record and the other way round: the only place that knows how.
//!
//! The body is the value, the routing key the key, a header of the table a header. A value that is no long string has its type beside it,
//! in the header `duolog-type.NAME` that SQS attributes have as well. Properties and the exchange are headers `duolog-amqp-...`.
//! docs/mapping.md has the table.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use duolog_broker::deaths::{Death, Deaths};
use duolog_broker::{Leased, headers};
use duolog_record::{Header, Offset, Record};

use crate::codec::{LongStr, Properties, RawTable, Scalar, ShortStr, ValueRef, is_nested};
use crate::limits::SHORT_STRING_BYTES;

/// What the headers of properties begin with.
const PREFIX: &str = "duolog-amqp-";
/// Names of the properties behind that, in the order of the wire.
const EXCHANGE: &[u8] = headers::EXCHANGE.as_bytes();
/// There was a table of headers with nothing in it.
const EMPTY_TABLE: &[u8] = b"duolog-amqp-headers";
/// What stands before the name of a header whose value has a type.
pub(crate) const TYPE_PREFIX: &[u8] = b"duolog-type.";
/// Where what no table can hold is found: names that are too long or repeated.
const OVERFLOW: &[u8] = b"duolog-overflow";
/// Where a message stands in its stream. Source: RabbitMQ documentation, "Streams".
const STREAM_OFFSET: &[u8] = b"x-stream-offset";

/// What is at least as large is worth the rest of the input that it came with.
const SHARED_BYTES: usize = 32 << 10;

/// Makes `Bytes` of what was borrowed from an input.
pub(crate) trait Keep {
    fn keep(&self, bytes: &[u8]) -> Bytes;
}

/// Slices of what is shared already.
impl Keep for Bytes {
    fn keep(&self, bytes: &[u8]) -> Bytes {
        self.slice_ref(bytes)
    }
}

/// Copies.
pub(crate) struct Copying;

impl Keep for Copying {
    fn keep(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }
}

/// Bytes that may outlive their input for long: small ones do not keep all of it.
pub(crate) fn apart(bytes: &Bytes) -> Bytes {
    if bytes.len() < SHARED_BYTES { Copying.keep(bytes) } else { bytes.clone() }
}

macro_rules! property_headers {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// The headers of the properties that are short strings.
        fn push_texts(properties: &Properties<'_>, keep: &impl Keep, out: &mut Vec<Header>) {
            $(if let Some(text) = properties.$field {
                let key = Bytes::from_static(concat!("duolog-amqp-", $name).as_bytes());
                out.push(Header { key, value: Some(keep.keep(text.as_bytes())) });
            })*
        }

        /// Sets the property that a header stands for.
        fn set_text<'a>(properties: &mut Properties<'a>, name: &[u8], value: &'a [u8]) {
            match name {
                $(name if name == $name.as_bytes() => properties.$field = ShortStr::new(value),)*
                _ => {}
            }
        }
    };
}

property_headers! {
    content_type = "content-type",
    content_encoding = "content-encoding",
    correlation_id = "correlation-id",
    reply_to = "reply-to",
    message_id = "message-id",
    kind = "type",
    user_id = "user-id",
    app_id = "app-id",
    cluster_id = "cluster-id",
}

/// The headers of a record that a message becomes.
pub(crate) fn record_headers(
    properties: &Properties<'_>,
    exchange: ShortStr<'_>,
    keep: &impl Keep,
) -> Vec<Header> {
    let mut out = Vec::new();
    if let Some(table) = properties.headers {
        for (name, value) in table.iter() {
            push_value(name, value, keep, &mut out);
        }
        // Clients look into the table without asking whether there is one.
        if table.is_empty() {
            out.push(Header { key: Bytes::from_static(EMPTY_TABLE), value: Some(Bytes::new()) });
        }
    }
    push_texts(properties, keep, &mut out);
    if let Some(ttl) = properties.expiration {
        let value = Some(keep.keep(ttl.as_bytes()));
        out.push(Header { key: Bytes::from_static(headers::TTL.as_bytes()), value });
    }
    let numbers = [
        ("duolog-amqp-delivery-mode", properties.delivery_mode.map(u64::from)),
        (headers::PRIORITY, properties.priority.map(u64::from)),
        ("duolog-amqp-timestamp", properties.timestamp),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            out.push(Header { key: Bytes::from_static(name.as_bytes()), value: Some(decimal(number)) });
        }
    }
    if !exchange.is_empty() {
        let value = Some(keep.keep(exchange.as_bytes()));
        out.push(Header { key: Bytes::from_static(EXCHANGE), value });
    }
    out
}

fn decimal(number: u64) -> Bytes {
    match number {
        1 => Bytes::from_static(b"1"),
        2 => Bytes::from_static(b"2"),
        number => number.to_string().into(),
    }
}

fn push_value(name: ShortStr<'_>, value: ValueRef<'_>, keep: &impl Keep, out: &mut Vec<Header>) {
    let key = keep.keep(name.as_bytes());
    let (value, kind) = header_value(value, keep);
    if let Some(kind) = kind {
        let typed = [TYPE_PREFIX, name.as_bytes()].concat();
        out.push(Header { key: typed.into(), value: Some(Bytes::from_static(kind.as_bytes())) });
    }
    out.push(Header { key, value });
}

/// The value of a header, as those of records are: text where it is a number. Long strings have no type.
pub(crate) fn header_value(value: ValueRef<'_>, keep: &impl Keep) -> (Option<Bytes>, Option<&'static str>) {
    let typed = |text: String, kind| (Some(Bytes::from(text)), Some(kind));
    match value {
        ValueRef::String(LongStr(text)) => (Some(keep.keep(text)), None),
        ValueRef::Bytes(LongStr(bytes)) => (Some(keep.keep(bytes)), Some("Binary")),
        ValueRef::Array(array) => (Some(keep.keep(array.as_bytes())), Some("Binary.amqp-array")),
        ValueRef::Table(table) => (Some(keep.keep(table.as_bytes())), Some("Binary.amqp-table")),
        ValueRef::Scalar(scalar) => match scalar {
            Scalar::Void => (None, None),
            Scalar::Bool(it) => typed(it.to_string(), "String.boolean"),
            Scalar::Byte(it) => typed(it.to_string(), "Number.int8"),
            Scalar::UnsignedByte(it) => typed(it.to_string(), "Number.uint8"),
            Scalar::Short(it) => typed(it.to_string(), "Number.int16"),
            Scalar::UnsignedShort(it) => typed(it.to_string(), "Number.uint16"),
            Scalar::Int(it) => typed(it.to_string(), "Number.int32"),
            Scalar::UnsignedInt(it) => typed(it.to_string(), "Number.uint32"),
            Scalar::Long(it) => typed(it.to_string(), "Number.int64"),
            Scalar::LongL(it) => typed(it.to_string(), "Number.int64L"),
            Scalar::Float(it) => typed(it.to_string(), "Number.float"),
            Scalar::Double(it) => typed(it.to_string(), "Number.double"),
            Scalar::Timestamp(it) => typed(it.to_string(), "Number.timestamp"),
            Scalar::Decimal { scale, number } => typed(decimal_text(scale, number), "Number.decimal"),
        },
    }
}

/// With as many digits behind the point as the scale says.
fn decimal_text(scale: u8, number: u32) -> String {
    let digits = format!("{number:0>width$}", width = usize::from(scale) + 1);
    let (whole, part) = digits.split_at(digits.len() - usize::from(scale));
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}

fn decimal_of(text: &str) -> Option<(u8, u32)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let number = format!("{whole}{part}").parse().ok()?;
    Some((u8::try_from(part.len()).ok()?, number))
}

/// A header that stands for something else: no message may bring one along.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    let one =
        [headers::TTL, headers::PRIORITY, headers::EXCHANGE, headers::DEAD_HISTORY, headers::DEAD_EXCHANGE];
    name.starts_with(PREFIX.as_bytes())
        || name.starts_with(TYPE_PREFIX)
        || one.iter().any(|it| name == it.as_bytes())
}

/// Buffers that deliveries are put together in.
#[derive(Default)]
pub(crate) struct Scratch {
    table: Vec<u8>,
    /// Flags and properties, encoded.
    pub(crate) properties: Vec<u8>,
}

/// Where a message came from, as a delivery says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) exchange: ShortStr<'a>,
    pub(crate) routing_key: ShortStr<'a>,
}

/// A record that is delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered<'a> {
    pub(crate) record: &'a Record,
    /// How many times it was leased, this one included; 1 of a stream.
    pub(crate) attempts: u32,
    /// Its offset, if it is read from a stream.
    pub(crate) stream_offset: Option<Offset>,
}

impl<'a> From<&'a Leased> for Delivered<'a> {
    fn from(leased: &'a Leased) -> Self {
        Self { record: &leased.record, attempts: leased.attempts, stream_offset: None }
    }
}

/// Puts the properties of a message into `scratch`; gives its address. A record that no exchange has routed seems to come
/// through the default exchange.
pub(crate) fn message<'a>(delivered: Delivered<'a>, queue: &'a str, scratch: &mut Scratch) -> Address<'a> {
    let record = delivered.record;
    scratch.table.clear();
    scratch.properties.clear();
    let mut address = Address { exchange: ShortStr::EMPTY, routing_key: ShortStr::cut(queue) };
    if let Some(key) = record.key.as_deref().and_then(ShortStr::new) {
        address.routing_key = key;
    }
    let mut properties = Properties::default();
    let mut has_table = false;
    let mut overflow = Vec::new();
    let (types, mut seen) = (types_of(record), Seen::new(&record.headers));
    for (index, header) in record.headers.iter().enumerate() {
        if let Some(name) = property_of(&header.key) {
            has_table |= header.key == EMPTY_TABLE;
            set_property(&mut properties, &mut address, name, header.value.as_deref().unwrap_or_default());
        } else if !header.key.starts_with(TYPE_PREFIX) && !is_made(delivered, &header.key) {
            has_table = true;
            if header.key.len() > SHORT_STRING_BYTES || seen.has(index) {
                overflow.push(header);
            } else {
                write_entry(&mut scratch.table, header, types.get(&*header.key).copied());
            }
        }
    }
    if is_dead_letter(record) && header_of(record, headers::DEAD_EXCHANGE).is_none() {
        // It came here by the name of the queue. Where it was published is told by `x-death`.
        address = Address { exchange: ShortStr::EMPTY, routing_key: ShortStr::cut(queue) };
    }
    has_table |= write_made(&mut scratch.table, delivered, &overflow);
    if has_table {
        // It has just been written entry by entry.
        properties.headers = RawTable::new(&scratch.table).ok();
    }
    properties.encode(&mut scratch.properties);
    address
}

/// The types of headers, by their names.
fn types_of(record: &Record) -> HashMap<&[u8], &[u8]> {
    let typed = |header: &'_ Header| header.key.starts_with(TYPE_PREFIX);
    let headers = record.headers.iter().filter(|header| typed(header));
    headers.map(|it| (&it.key[TYPE_PREFIX.len()..], it.value.as_deref().unwrap_or_default())).collect()
}

/// Which headers have a name that came before: looked for among a few, remembered of many.
struct Seen<'a> {
    headers: &'a [Header],
    names: Option<HashSet<&'a [u8]>>,
}

impl<'a> Seen<'a> {
    /// So many are looked through.
    const FEW: usize = 32;

    fn new(headers: &'a [Header]) -> Self {
        Self { headers, names: (headers.len() > Self::FEW).then(HashSet::new) }
    }

    fn has(&mut self, index: usize) -> bool {
        let name = &self.headers[index].key;
        match &mut self.names {
            Some(names) => !names.insert(name),
            None => self.headers[..index].iter().any(|it| it.key == *name),
        }
    }
}

/// True for a header that the broker writes itself: what a message brings along of that name is of an earlier delivery.
fn is_made(delivered: Delivered<'_>, name: &[u8]) -> bool {
    match name {
        // Where a delayed message waited is nothing to its receiver.
        name if name == headers::ORIGIN.as_bytes() => !is_dead_letter(delivered.record),
        b"x-delivery-count" => delivered.attempts > 1,
        STREAM_OFFSET => delivered.stream_offset.is_some(),
        name if name == b"x-death" || name.starts_with(b"x-first-death-") => is_dead_letter(delivered.record),
        name => [headers::DEAD_HISTORY, headers::DEAD_EXCHANGE].iter().any(|it| name == it.as_bytes()),
    }
}

/// The property that a header stands for.
fn property_of(header: &[u8]) -> Option<&[u8]> {
    match header {
        it if it == headers::EXCHANGE.as_bytes() => Some(b"exchange"),
        it if it == headers::PRIORITY.as_bytes() => Some(b"priority"),
        it if it == headers::TTL.as_bytes() => Some(b"expiration"),
        it => it.strip_prefix(PREFIX.as_bytes()),
    }
}

fn set_property<'p, 'a: 'p>(
    properties: &mut Properties<'p>,
    address: &mut Address<'a>,
    name: &[u8],
    value: &'a [u8],
) {
    let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
    let small = || number().and_then(|number| u8::try_from(number).ok());
    match name {
        b"exchange" => address.exchange = ShortStr::new(value).unwrap_or_default(),
        b"delivery-mode" => properties.delivery_mode = small(),
        b"priority" => properties.priority = small(),
        b"expiration" => properties.expiration = ShortStr::new(value),
        b"timestamp" => properties.timestamp = number(),
        name => set_text(properties, name, value),
    }
}

/// What the broker adds: how often it was delivered before, why it was dead-lettered, what fits nowhere else.
fn write_made(out: &mut Vec<u8>, delivered: Delivered<'_>, overflow: &[&Header]) -> bool {
    let before = out.len();
    if delivered.attempts > 1 {
        write_name(out, b"x-delivery-count");
        write_scalar(out, b'l', &i64::from(delivered.attempts - 1).to_be_bytes());
    }
    if let Some(offset) = delivered.stream_offset {
        write_name(out, STREAM_OFFSET);
        write_scalar(out, b'l', &offset.0.to_be_bytes());
    }
    if let Some(deaths) = deaths_of(delivered.record) {
        write_deaths(out, &deaths);
    }
    if !overflow.is_empty() {
        write_name(out, OVERFLOW);
        out.push(b'A');
        write_sized(out, |out| {
            for header in overflow {
                out.push(b'F');
                write_sized(out, |out| {
                    write_name(out, b"name");
                    write_text(out, &header.key);
                    write_name(out, b"value");
                    write_text(out, header.value.as_deref().unwrap_or_default());
                });
            }
        });
    }
    out.len() > before
}

fn is_dead_letter(record: &Record) -> bool {
    header_of(record, headers::DEAD_REASON).is_some()
}

fn header_of<'a>(record: &'a Record, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().find(|it| it.key == name.as_bytes()).and_then(|it| it.value.as_deref())
}

/// Why and how often a message was dead-lettered. What an earlier version moved tells of the last time only.
fn deaths_of(record: &Record) -> Option<Deaths> {
    let text = |name| header_of(record, name).map(String::from_utf8_lossy);
    let reason = text(headers::DEAD_REASON)?.into_owned();
    if let Some(deaths) = Deaths::of(&record.headers) {
        return Some(deaths);
    }
    let queue = text(headers::DEAD_SOURCE)?.into_owned();
    let exchange = text(headers::EXCHANGE).unwrap_or_default().into_owned();
    let time = text(headers::DEAD_LAST_TIME).and_then(|it| it.parse().ok()).unwrap_or_default();
    let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
    let first = (reason.clone(), queue.clone(), exchange.clone());
    Some(Deaths { first, all: vec![Death { reason, queue, count: 1, time, exchange, key, ttl_ms: None }] })
}

/// A reason as RabbitMQ calls it.
fn reason_name(reason: &str) -> &[u8] {
    match reason {
        "attempts" => b"delivery_limit",
        reason => reason.as_bytes(),
    }
}

/// Source: RabbitMQ documentation, "Dead Letter Exchanges": effects on messages.
fn write_deaths(out: &mut Vec<u8>, deaths: &Deaths) {
    write_name(out, b"x-death");
    out.push(b'A');
    write_sized(out, |out| deaths.all.iter().for_each(|death| write_death(out, death)));
    let (reason, queue, exchange) = &deaths.first;
    let first = [
        (&b"x-first-death-exchange"[..], exchange.as_bytes()),
        (b"x-first-death-queue", queue.as_bytes()),
        (b"x-first-death-reason", reason_name(reason)),
    ];
    for (name, value) in first {
        write_name(out, name);
        write_text(out, value);
    }
}

fn write_death(out: &mut Vec<u8>, death: &Death) {
    out.push(b'F');
    write_sized(out, |out| {
        write_name(out, b"count");
        write_scalar(out, b'l', &i64::try_from(death.count).unwrap_or(i64::MAX).to_be_bytes());
        for (name, value) in
            [(&b"reason"[..], reason_name(&death.reason)), (b"queue", death.queue.as_bytes())]
        {
            write_name(out, name);
            write_text(out, value);
        }
        write_name(out, b"time");
        write_scalar(out, b'T', &(death.time / 1000).to_be_bytes());
        write_name(out, b"exchange");
        write_text(out, death.exchange.as_bytes());
        write_name(out, b"routing-keys");
        out.push(b'A');
        write_sized(out, |out| write_text(out, death.key.as_bytes()));
        if let Some(ttl_ms) = death.ttl_ms {
            write_name(out, b"original-expiration");
            write_text(out, ttl_ms.to_string().as_bytes());
        }
    });
}

fn write_entry(out: &mut Vec<u8>, header: &Header, kind: Option<&[u8]>) {
    write_name(out, &header.key);
    let Some(value) = &header.value else { return out.push(b'V') };
    if kind.is_none_or(|kind| write_typed(out, kind, value).is_none()) {
        write_text(out, value);
    }
}

/// A value of its type, if it still is one of it.
fn write_typed(out: &mut Vec<u8>, kind: &[u8], value: &[u8]) -> Option<()> {
    fn parsed<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
        std::str::from_utf8(value).ok()?.parse().ok()
    }
    match kind {
        b"String.boolean" => write_scalar(out, b't', &[u8::from(parsed::<bool>(value)?)]),
        b"Number.int8" => write_scalar(out, b'b', &parsed::<i8>(value)?.to_be_bytes()),
        b"Number.uint8" => write_scalar(out, b'B', &parsed::<u8>(value)?.to_be_bytes()),
        b"Number.int16" => write_scalar(out, b's', &parsed::<i16>(value)?.to_be_bytes()),
        b"Number.uint16" => write_scalar(out, b'u', &parsed::<u16>(value)?.to_be_bytes()),
        b"Number.int32" => write_scalar(out, b'I', &parsed::<i32>(value)?.to_be_bytes()),
        b"Number.uint32" => write_scalar(out, b'i', &parsed::<u32>(value)?.to_be_bytes()),
        b"Number.int64L" => write_scalar(out, b'L', &parsed::<i64>(value)?.to_be_bytes()),
        b"Number.float" => write_scalar(out, b'f', &parsed::<f32>(value)?.to_be_bytes()),
        b"Number.double" => write_scalar(out, b'd', &parsed::<f64>(value)?.to_be_bytes()),
        b"Number.timestamp" => write_scalar(out, b'T', &parsed::<u64>(value)?.to_be_bytes()),
        b"Number.decimal" => {
            let (scale, number) = decimal_of(std::str::from_utf8(value).ok()?)?;
            out.extend_from_slice(&[b'D', scale]);
            out.extend_from_slice(&number.to_be_bytes());
        }
        b"Binary.amqp-array" | b"Binary.amqp-table" => {
            let letter = if kind.ends_with(b"array") { b'A' } else { b'F' };
            if !is_nested(letter, value) {
                return None;
            }
            out.push(letter);
            write_sized(out, |out| out.extend_from_slice(value));
        }
        // An attribute of SQS: of the forms that AMQP has, the one that fits.
        kind if kind.starts_with(b"Number") => write_scalar(out, b'l', &parsed::<i64>(value)?.to_be_bytes()),
        kind if kind.starts_with(b"Binary") => {
            out.push(b'x');
            write_sized(out, |out| out.extend_from_slice(value));
        }
        _ => return None,
    }
    Some(())
}

fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    // The caller knows that it fits.
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
}

fn write_scalar(out: &mut Vec<u8>, letter: u8, bytes: &[u8]) {
    out.push(letter);
    out.extend_from_slice(bytes);
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'S');
    write_sized(out, |out| out.extend_from_slice(text));
}

/// With its size before it.
fn write_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let size = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests;
