//! A leased record becomes a message.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::{Catalog, Leased, Published, headers};
use duolog_record::{Header, Offset, Record};

use super::{
    BODY_ATTRIBUTE, KEY_ATTRIBUTE, NULL_TYPE, OVERFLOW_ATTRIBUTE, RESERVED_PREFIX, TRACE_HEADER, TYPE_PREFIX,
};
use crate::codec::response::{self, Ascii, Base64, Map, Message};
use crate::codec::rules::{is_attribute_name, is_attribute_type, is_group_id, legal_text};
use crate::codec::{arn, message_id, receipt};
use crate::limits::MESSAGE_ATTRIBUTES;
use crate::md5;
use crate::sns::{self, envelope};

/// What sequence numbers begin with, so that all are equally long.
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;

/// What all messages of a receive have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The queue's topic.
    pub topic: u128,
    /// Echoed in ARNs.
    pub region: &'a str,
    /// Echoed in ARNs and as the sender.
    pub account: &'a str,
    /// The queue is a FIFO queue.
    pub fifo: bool,
    /// How the client called us.
    pub host: &'a str,
    /// The queue's name.
    pub queue: &'a str,
    /// What there is.
    pub catalog: &'a Catalog,
}

/// Which attributes a receive asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted<'a> {
    all: bool,
    names: Vec<&'a str>,
    prefixes: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Reads the names: `All` or `.*`, `prefix.*`, or a name.
    pub fn new(names: impl Iterator<Item = &'a str>) -> Self {
        let mut wanted = Self::default();
        for name in names {
            match name.strip_suffix(".*") {
                Some("") => wanted.all = true,
                Some(prefix) => wanted.prefixes.push(prefix),
                None if name == "All" => wanted.all = true,
                None => wanted.names.push(name),
            }
        }
        wanted
    }

    /// Only what is ours and asked for by name.
    fn but_reserved(&self) -> Self {
        let is_own = |name: &&&str| name.starts_with(RESERVED_PREFIX);
        Self {
            all: false,
            names: self.names.iter().filter(is_own).copied().collect(),
            prefixes: self.prefixes.iter().filter(is_own).copied().collect(),
        }
    }

    fn takes(&self, name: &str) -> bool {
        self.all || self.names_it(name)
    }

    /// As `takes`, but `All` does not do.
    fn names_it(&self, name: &str) -> bool {
        self.names.contains(&name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// Which system attributes a receive asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemNames(u16);

impl SystemNames {
    const NAMES: [&'static str; 9] = [
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
        "MessageGroupId",
        "AWSTraceHeader",
        "DeadLetterQueueSourceArn",
        // Of FIFO queues alone.
        "SequenceNumber",
        "MessageDeduplicationId",
    ];

    /// Adds a name; false if there is none such.
    pub fn add(&mut self, name: &str) -> bool {
        if name == "All" {
            self.0 = u16::MAX;
            return true;
        }
        let index = Self::NAMES.iter().position(|known| *known == name);
        if let Some(index) = index {
            self.0 |= 1 << index;
        }
        index.is_some()
    }

    fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }
}

/// The id of the message at this place.
pub(crate) fn message_id_of(topic: u128, partition_index: u32, offset: Offset) -> Ascii<36> {
    let mut text = [0; 36];
    message_id::of_place(topic, partition_index, offset).as_hyphenated().encode_lower(&mut text);
    Ascii::new(text)
}

/// The number of a FIFO queue's message at this offset: 20 digits, rising within a group.
pub(crate) fn sequence_number(offset: Offset) -> Ascii<20> {
    let number = SEQUENCE_BASE.saturating_add(offset.0).to_string();
    let mut text = [b'0'; 20];
    // The base makes it twenty digits, as many as the largest 64-bit number has.
    text.copy_from_slice(number.as_bytes());
    Ascii::new(text)
}

/// The message of a leased record.
pub(crate) fn message<'a>(
    context: Context<'_>,
    leased: &'a Leased,
    wanted: &Wanted<'_>,
    system: SystemNames,
) -> Message<'a> {
    let record = &leased.record;
    let (body, message_attributes) = match envelope_of(context, record) {
        // It holds the attributes; our own headers stay within reach.
        Some(envelope) => (Cow::Owned(envelope), attributes_of(record, None, &wanted.but_reserved())),
        None => {
            let (body, form) = body_of(record);
            (body, attributes_of(record, form, wanted))
        }
    };
    let md5_of_attributes = if message_attributes.is_empty() { None } else { digest(&message_attributes) };
    Message {
        message_id: carried_id(record)
            .unwrap_or_else(|| message_id_of(context.topic, leased.partition_index, record.offset)),
        receipt_handle: receipt::encode(leased.id),
        md5_of_body: md5::of_body(body.as_bytes()),
        body,
        attributes: system_attributes(context, leased, system),
        md5_of_attributes,
        message_attributes,
    }
}

/// The value as text, and how it was changed.
fn body_of(record: &Record) -> (Cow<'_, str>, Option<&'static str>) {
    let Some(value) = &record.value else { return (Cow::Borrowed(""), Some("null")) };
    match legal_text(value) {
        Some(text) => (Cow::Borrowed(text), None),
        None => (Cow::Owned(STANDARD.encode(value)), Some("base64")),
    }
}

/// What a message that was published to a topic is wrapped in, unless it is delivered as it is.
fn envelope_of(context: Context<'_>, record: &Record) -> Option<String> {
    let first = origin(record).map_or(context.topic, |(topic, ..)| topic);
    let queue = header(record, headers::DEAD_SOURCE).unwrap_or(context.queue);
    let receiver = envelope::Receiver { host: context.host, catalog: context.catalog, queue, topic: first };
    envelope::of(record, receiver)
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let header = record.headers.iter().find(|header| header.key == name.as_bytes())?;
    legal_text(header.value.as_ref()?)
}

/// The id of a record that was moved here: that of the place where it was first appended, which the broker wrote down
/// as `TOPIC/PARTITION INDEX/OFFSET` with the topic in hex.
fn carried_id(record: &Record) -> Option<Ascii<36>> {
    let (topic, index, offset) = origin(record)?;
    Some(message_id_of(topic, index, offset))
}

fn origin(record: &Record) -> Option<(u128, u32, Offset)> {
    let mut place = header(record, headers::ORIGIN)?.split('/');
    let topic = u128::from_str_radix(place.next()?, 16).ok()?;
    Some((topic, place.next()?.parse().ok()?, Offset(place.next()?.parse().ok()?)))
}

/// The offset that a FIFO queue's message is numbered by: where its sender was told that it is.
fn numbered_by(context: Context<'_>, record: &Record) -> Offset {
    match origin(record) {
        Some((topic, Published::DELAYED, offset)) if topic == context.topic => offset,
        Some(_) | None => record.offset,
    }
}

/// The key as a group's id, if it is one.
fn group_of(record: &Record) -> Option<&str> {
    std::str::from_utf8(record.key.as_ref()?).ok().filter(|key| is_group_id(key))
}

fn system_attributes(context: Context<'_>, leased: &Leased, wanted: SystemNames) -> Map<'static, String> {
    let record = &leased.record;
    let mut pairs = Vec::new();
    for (index, name) in SystemNames::NAMES.iter().enumerate().filter(|(index, _)| wanted.has(*index)) {
        let value = match index {
            0 => Some(context.account.to_owned()),
            1 => Some(record.timestamp.0.to_string()),
            2 => Some(leased.attempts.to_string()),
            3 => Some(leased.first_leased_at.0.to_string()),
            4 => group_of(record).map(str::to_owned),
            5 => header(record, TRACE_HEADER).map(str::to_owned),
            // What an endpoint of SNS did not take comes from no queue that clients know.
            6 => header(record, headers::DEAD_SOURCE)
                .filter(|queue| sns::subscription_of_queue(queue).is_none())
                .map(|queue| arn::of_queue(context.region, context.account, queue)),
            7 if context.fifo => Some(sequence_number(numbered_by(context, record)).as_str().to_owned()),
            8 if context.fifo => header(record, headers::IDEMPOTENCY_KEY).map(str::to_owned),
            _ => None,
        };
        if let Some(value) = value {
            pairs.push((Cow::Borrowed(*name), value));
        }
    }
    Map(pairs)
}

/// What stands for a header that is no attribute of its own.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Folded<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_binary: Option<Base64<'a>>,
    #[serde(flatten)]
    attribute: response::Attribute<'a>,
}

fn attributes_of<'a>(
    record: &'a Record,
    form: Option<&'static str>,
    wanted: &Wanted<'_>,
) -> Map<'a, response::Attribute<'a>> {
    let mut pairs: Vec<(Cow<'a, str>, response::Attribute<'a>)> = Vec::new();
    let mut folded = Vec::new();
    if let Some(form) = form {
        pairs.push((BODY_ATTRIBUTE.into(), text("String", form)));
    }
    if let Some(key) = &record.key
        && group_of(record).is_none()
        && wanted.takes(KEY_ATTRIBUTE)
    {
        pairs.push((KEY_ATTRIBUTE.into(), untyped(key)));
    }
    let mut seen = HashSet::new();
    for header in &record.headers {
        let name = std::str::from_utf8(&header.key).ok();
        if let Some(name) = name.filter(|name| name.starts_with(RESERVED_PREFIX)) {
            if wanted.names_it(name) && is_attribute_name(name) && seen.insert(name) {
                pairs.push((name.into(), value_of(record, name, header)));
            }
            continue;
        }
        let made = [BODY_ATTRIBUTE, KEY_ATTRIBUTE, OVERFLOW_ATTRIBUTE];
        let own = name.filter(|name| is_attribute_name(name) && !made.contains(name) && seen.insert(*name));
        if let Some(name) = own {
            if wanted.takes(name) {
                pairs.push((name.into(), value_of(record, name, header)));
            }
        } else if wanted.takes(OVERFLOW_ATTRIBUTE) {
            folded.push(Folded {
                name,
                name_binary: name.is_none().then_some(Base64(&header.key)),
                attribute: value_of(record, name.unwrap_or(""), header),
            });
        }
    }
    fold(pairs, folded)
}

/// Moves what exceeds the limit into the overflow.
fn fold<'a>(
    mut pairs: Vec<(Cow<'a, str>, response::Attribute<'a>)>,
    folded: Vec<Folded<'a>>,
) -> Map<'a, response::Attribute<'a>> {
    if folded.is_empty() && pairs.len() <= MESSAGE_ATTRIBUTES {
        return Map(pairs);
    }
    let rest = pairs.split_off(pairs.len().min(MESSAGE_ATTRIBUTES - 1));
    let rest: Vec<Folded<'_>> = rest
        .iter()
        .map(|(name, attribute)| Folded { name: Some(name), name_binary: None, attribute: attribute.clone() })
        .chain(folded)
        .collect();
    let json = serde_json::to_string(&rest).expect("made of strings alone");
    let overflow = response::Attribute {
        string_value: Some(json.into()),
        binary_value: None,
        data_type: "String.json".into(),
    };
    pairs.push((OVERFLOW_ATTRIBUTE.into(), overflow));
    Map(pairs)
}

/// The header's value in the type that was sent with it, if that still fits.
fn value_of<'a>(record: &'a Record, name: &str, header: &'a Header) -> response::Attribute<'a> {
    let Some(value) = &header.value else { return text(NULL_TYPE, "") };
    let typed = record.headers.iter().find(|typed| {
        let key = typed.key.strip_prefix(TYPE_PREFIX.as_bytes());
        key == Some(name.as_bytes())
    });
    let data_type = typed
        .and_then(|typed| std::str::from_utf8(typed.value.as_ref()?).ok())
        .filter(|data_type| is_attribute_type(data_type));
    match data_type {
        Some(data_type) if data_type.starts_with("Binary") => binary(data_type, value),
        Some(data_type) => legal_text(value).map_or_else(|| untyped(value), |value| text(data_type, value)),
        None => untyped(value),
    }
}

fn untyped(value: &[u8]) -> response::Attribute<'_> {
    legal_text(value).map_or_else(|| binary("Binary", value), |value| text("String", value))
}

fn text<'a>(data_type: &'a str, value: &'a str) -> response::Attribute<'a> {
    response::Attribute { string_value: Some(value.into()), binary_value: None, data_type: data_type.into() }
}

fn binary<'a>(data_type: &'a str, value: &'a [u8]) -> response::Attribute<'a> {
    response::Attribute { string_value: None, binary_value: Some(Base64(value)), data_type: data_type.into() }
}

fn digest(attributes: &Map<'_, response::Attribute<'_>>) -> Option<Ascii<32>> {
    let mut hashed: Vec<md5::Hashed<'_>> = attributes
        .0
        .iter()
        .map(|(name, attribute)| md5::Hashed {
            name,
            data_type: &attribute.data_type,
            value: match (&attribute.string_value, &attribute.binary_value) {
                (Some(text), _) => text.as_bytes(),
                (None, Some(binary)) => binary.0,
                (None, None) => &[],
            },
        })
        .collect();
    md5::of_attributes(&mut hashed)
}
