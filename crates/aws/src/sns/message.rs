//! One message to publish: checked against the service's rules.
//!
//! Source: SNS API Reference, Publish; SNS Developer Guide, "Message attributes".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use duolog_broker::routing::Exchange;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::topic::is_ordered;
use super::{Params, SnsCode, SnsError, attributes, shown};
use crate::codec::rules;
use crate::convert::{Attribute, RESERVED_PREFIX};
use crate::limits::{SNS_ATTRIBUTES, SNS_MESSAGE_BYTES, SNS_SUBJECT_CHARS};

/// Bodies by protocol.
type BodiesOf = Vec<(&'static str, Bytes)>;

/// A message that may be published.
#[derive(Debug)]
pub(super) struct Message {
    /// For whom there is no other.
    pub body: Bytes,
    /// For protocols that have one of their own.
    others: BodiesOf,
    pub subject: Option<String>,
    pub attributes: Vec<Attribute>,
    /// Which order it belongs to.
    pub group: Option<Bytes>,
    pub dedup_id: Option<Bytes>,
    /// What counts against the limits.
    pub bytes: usize,
}

impl Message {
    /// Reads a message, or an entry of a batch.
    pub fn read(params: Params<'_>, topic: &Exchange) -> Result<Self, SnsError> {
        let text = params.get("Message").ok_or_else(|| SnsError::missing("Message"))?;
        if text.is_empty() {
            return Err(SnsError::invalid("Invalid parameter: Empty message"));
        }
        let subject = params.get("Subject").map(checked_subject).transpose()?;
        let attributes = attributes_of(params)?;
        let bytes = text.len() + attributes.iter().map(bytes_of).sum::<usize>();
        if bytes > SNS_MESSAGE_BYTES {
            return Err(SnsError::invalid("Invalid parameter: Message too long"));
        }
        let (body, others) = bodies(text, params.get("MessageStructure"))?;
        let group = params.get("MessageGroupId").map(|id| checked_id("MessageGroupId", id)).transpose()?;
        let dedup_id = dedup_id(params, topic, &body)?;
        if is_ordered(topic) && group.is_none() {
            return Err(SnsError::invalid(
                "Invalid parameter: The MessageGroupId parameter is required for FIFO topics",
            ));
        }
        Ok(Self { body, others, subject, attributes, group, dedup_id, bytes })
    }

    /// The body for who is subscribed by a protocol; `None` is others than SNS has subscribed.
    pub fn body_for(&self, protocol: Option<&str>) -> &Bytes {
        let own = self.others.iter().find(|(its, _)| Some(*its) == protocol);
        own.map_or(&self.body, |(_, body)| body)
    }
}

fn checked_subject(subject: &str) -> Result<String, SnsError> {
    let is_legal = !subject.is_empty()
        && subject.chars().count() <= SNS_SUBJECT_CHARS
        && !subject.chars().any(char::is_control)
        && !subject.starts_with(char::is_whitespace);
    match is_legal {
        true => Ok(subject.to_owned()),
        false => Err(SnsError::invalid("Invalid parameter: Subject")),
    }
}

/// Protocols that a message is delivered by.
const DELIVERED: [&str; 3] = ["sqs", "http", "https"];

/// The message for all, and those for protocols that have their own.
fn bodies(text: &str, structure: Option<&str>) -> Result<(Bytes, BodiesOf), SnsError> {
    let wrong = |what: &str| SnsError::invalid(format!("Invalid parameter: Message Structure - {what}"));
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match structure {
        None | Some("") => Ok((bytes(text), Vec::new())),
        Some("json") => {
            let parsed =
                serde_json::from_str(text).map_err(|_| wrong("JSON message body failed to parse"))?;
            let Value::Object(map) = parsed else { return Err(wrong("JSON message body failed to parse")) };
            let of = |protocol: &str| map.get(protocol).and_then(Value::as_str);
            let default = of("default").ok_or_else(|| wrong("No default entry in JSON message body"))?;
            let own = DELIVERED.into_iter().filter_map(|protocol| Some((protocol, of(protocol)?)));
            let own: Vec<_> = own.collect();
            if default.is_empty() || own.iter().any(|(_, text)| text.is_empty()) {
                return Err(SnsError::invalid("Invalid parameter: Empty message"));
            }
            Ok((bytes(default), own.into_iter().map(|(protocol, text)| (protocol, bytes(text))).collect()))
        }
        Some(other) => {
            Err(SnsError::invalid_because("MessageStructure", format_args!("Invalid value {}", shown(other))))
        }
    }
}

fn checked_id(parameter: &str, id: &str) -> Result<Bytes, SnsError> {
    match rules::is_group_id(id) {
        true => Ok(Bytes::copy_from_slice(id.as_bytes())),
        false => Err(SnsError::invalid_because(
            parameter,
            "it can only include alphanumeric and punctuation characters, 1 to 128 in length",
        )),
    }
}

fn dedup_id(params: Params<'_>, topic: &Exchange, body: &[u8]) -> Result<Option<Bytes>, SnsError> {
    let by_content = attributes::get(&topic.labels, "ContentBasedDeduplication") == Some("true");
    match params.get("MessageDeduplicationId") {
        Some(_) if !is_ordered(topic) => Err(SnsError::invalid_because(
            "MessageDeduplicationId",
            "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
        )),
        Some(id) => checked_id("MessageDeduplicationId", id).map(Some),
        None if !is_ordered(topic) => Ok(None),
        None if by_content => {
            let digest = Sha256::digest(body);
            Ok(Some(Bytes::from(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())))
        }
        None => Err(SnsError::invalid(
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
             provided explicitly",
        )),
    }
}

fn attributes_of(params: Params<'_>) -> Result<Vec<Attribute>, SnsError> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for entry in params.entries("MessageAttributes") {
        let attribute = attribute_of(entry)?;
        if attributes.iter().any(|known| known.name == attribute.name) {
            return Err(SnsError::invalid_because("MessageAttributes", "a name stands twice"));
        }
        attributes.push(attribute);
        if attributes.len() > SNS_ATTRIBUTES {
            let reason = format!("a message has at most {SNS_ATTRIBUTES} attributes");
            return Err(SnsError::invalid_because("MessageAttributes", reason));
        }
    }
    Ok(attributes)
}

fn wrong(message: String) -> SnsError {
    SnsError::new(SnsCode::ParameterValueInvalid, message)
}

fn attribute_of(entry: Params<'_>) -> Result<Attribute, SnsError> {
    let name = entry.get("Name").unwrap_or("");
    if !rules::is_attribute_name(name) || name.starts_with(RESERVED_PREFIX) {
        return Err(wrong(format!(
            "The message attribute name '{}' is invalid: it has 1 to 256 letters, digits, hyphens, underscores or single \
             periods, none at its ends, and does not begin with AWS., Amazon. or {RESERVED_PREFIX}",
            shown(name)
        )));
    }
    let value = entry.below("Value");
    let part = |part: &str| value.and_then(|value| value.get(part));
    let data_type = part("DataType").unwrap_or("");
    if data_type.is_empty() {
        return Err(wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        )));
    }
    if !rules::is_attribute_type(data_type) {
        return Err(wrong(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is \
             Binary, Number, and String."
        )));
    }
    let binary = data_type.starts_with("Binary");
    let value = match (part("StringValue"), part("BinaryValue")) {
        (None, Some(value)) if binary => Bytes::from(
            STANDARD.decode(value).map_err(|_| wrong(format!("The value of '{name}' is not base64.")))?,
        ),
        (Some(value), None) if !binary => Bytes::copy_from_slice(value.as_bytes()),
        (None, None) => Bytes::new(),
        _ => {
            let field = if binary { "Binary" } else { "String" };
            return Err(wrong(format!(
                "The message attribute '{name}' with type '{data_type}' must use field '{field}'."
            )));
        }
    };
    if value.is_empty() {
        return Err(wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{data_type}'."
        )));
    }
    let text = std::str::from_utf8(&value).unwrap_or("");
    if data_type.starts_with("Number") && !rules::is_number(text) {
        return Err(wrong(format!("Could not cast message attribute '{name}' value to number.")));
    }
    if !binary && !rules::is_legal_text(text) {
        return Err(wrong(format!(
            "The value of message attribute '{name}' has characters that are not allowed."
        )));
    }
    let name = Bytes::copy_from_slice(name.as_bytes());
    Ok(Attribute { name, data_type: data_type.to_owned(), value })
}

fn bytes_of(attribute: &Attribute) -> usize {
    attribute.name.len() + attribute.data_type.len() + attribute.value.len()
}
