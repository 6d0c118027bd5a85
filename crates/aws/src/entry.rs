//! One message to send: checked against the service's rules, ready to publish.
//!
//! Source: SQS API Reference, SendMessage; SQS Developer Guide, "Amazon SQS message metadata".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use duolog_broker::NewRecord;
use sha2::{Digest, Sha256};

use crate::codec::request::{AttributeValue, AttributeValues, SendMessage};
use crate::codec::response::Ascii;
use crate::codec::rules;
use crate::codec::text::Text;
use crate::convert::{self, Attribute, RESERVED_PREFIX};
use crate::error::{ErrorCode, SqsError};
use crate::limits::{DELAY_S, MESSAGE_ATTRIBUTES};
use crate::md5;
use crate::settings::Settings;

/// A message that may be published.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What is published.
    pub record: NewRecord,
    /// What counts against the limits: body, attributes' names, types and values.
    pub bytes: usize,
    /// What the client will compare.
    pub digests: Digests,
}

/// Digests of what was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digests {
    /// Of the body.
    pub body: Ascii<32>,
    /// Of the attributes, if there are any.
    pub attributes: Option<Ascii<32>>,
    /// Of the system attributes, if there are any.
    pub system_attributes: Option<Ascii<32>>,
}

/// Checks a message for a queue with these settings, but for its size; texts are slices of `request` where they can be.
///
/// # Errors
/// In the service's words.
pub(crate) fn check(
    message: &SendMessage<'_>,
    settings: &Settings,
    request: &Bytes,
) -> Result<Entry, SqsError> {
    let body = message.message_body.as_ref().filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| SqsError::missing("MessageBody"))?;
    if !rules::is_legal_text(body) {
        return Err(illegal_characters());
    }
    let delay_s = delay(message.delay_seconds, settings)?;
    let group = match &message.message_group_id {
        None if settings.fifo => return Err(SqsError::missing("MessageGroupId")),
        None => None,
        Some(group) => Some(checked_id(group, "MessageGroupId")?.to_bytes(request)),
    };
    let dedup_id = dedup_id(message, settings, request)?;
    let attributes = attributes(&message.message_attributes, request)?;
    let trace = trace_header(&message.message_system_attributes, request)?;
    let bytes = body.len() + attributes.iter().map(bytes_of).sum::<usize>();
    let digests = Digests {
        body: md5::of_body(body.as_bytes()),
        attributes: digest(&attributes),
        system_attributes: trace.as_ref().and_then(|trace| digest(std::slice::from_ref(trace))),
    };
    let trace = trace.map(|trace| trace.value);
    let delay_ms = (delay_s != 0).then_some(delay_s * 1000);
    let record = convert::new_record(body.to_bytes(request), group, &attributes, trace, dedup_id, delay_ms);
    Ok(Entry { record, bytes, digests })
}

/// Whether the queue takes messages as large as this.
///
/// # Errors
/// In the service's words.
pub(crate) fn check_size(entry: &Entry, settings: &Settings) -> Result<(), SqsError> {
    let most = settings.policy.message_bytes_max;
    if entry.bytes <= most as usize {
        return Ok(());
    }
    Err(SqsError::invalid(format!(
        "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
    )))
}

/// What every entry of a batch for a FIFO queue has to have: without it the whole batch is refused.
///
/// # Errors
/// In the service's words.
pub(crate) fn check_fifo(message: &SendMessage<'_>, settings: &Settings) -> Result<(), SqsError> {
    if settings.fifo && message.message_group_id.is_none() {
        return Err(SqsError::missing("MessageGroupId"));
    }
    if settings.fifo && message.message_deduplication_id.is_none() && !settings.is_content_based() {
        return Err(no_dedup_id());
    }
    Ok(())
}

fn no_dedup_id() -> SqsError {
    SqsError::invalid(
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
         explicitly",
    )
}

/// How long the message waits, seconds.
fn delay(seconds: Option<i64>, settings: &Settings) -> Result<u64, SqsError> {
    match seconds {
        None => Ok(settings.delay_s()),
        Some(seconds) if settings.fifo && seconds != 0 => Err(SqsError::invalid_value(
            seconds,
            "DelaySeconds",
            "The request include parameter that is not valid for this queue type.",
        )),
        Some(seconds) if (0..=DELAY_S).contains(&seconds) => Ok(seconds.unsigned_abs()),
        Some(seconds) => {
            Err(SqsError::invalid_value(seconds, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900."))
        }
    }
}

/// What tells a message that is sent twice, on a FIFO queue.
fn dedup_id(
    message: &SendMessage<'_>,
    settings: &Settings,
    request: &Bytes,
) -> Result<Option<Bytes>, SqsError> {
    match &message.message_deduplication_id {
        Some(_) if !settings.fifo => Err(SqsError::invalid(
            "The request includes a parameter that is not valid for this queue type: MessageDeduplicationId.",
        )),
        Some(id) => Ok(Some(checked_id(id, "MessageDeduplicationId")?.to_bytes(request))),
        None if !settings.fifo => Ok(None),
        None if settings.is_content_based() => {
            let body = message.message_body.as_deref().unwrap_or("");
            Ok(Some(hex(&Sha256::digest(body.as_bytes()))))
        }
        None => Err(no_dedup_id()),
    }
}

fn hex(bytes: &[u8]) -> Bytes {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

/// An id of a group, of a message to tell twins by, of an attempt.
///
/// # Errors
/// `InvalidParameterValue`.
pub(crate) fn checked_id<'t, 'a>(id: &'t Text<'a>, parameter: &str) -> Result<&'t Text<'a>, SqsError> {
    if rules::is_group_id(id) {
        return Ok(id);
    }
    let shown: String = id.chars().take(130).collect();
    let reason =
        format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(SqsError::invalid_value(shown, parameter, &reason))
}

fn attributes(values: &AttributeValues<'_>, request: &Bytes) -> Result<Vec<Attribute>, SqsError> {
    if values.count > MESSAGE_ATTRIBUTES {
        return Err(SqsError::invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES}].",
            values.count
        )));
    }
    let mut attributes: Vec<Attribute> = Vec::with_capacity(values.count);
    for (name, value) in &values.kept {
        if !rules::is_attribute_name(name) {
            return Err(SqsError::invalid(
                "Message attribute names have 1 to 256 letters, digits, hyphens, underscores or single \
                 periods, none at their ends, and do not begin with AWS. or Amazon.",
            ));
        }
        if name.starts_with(RESERVED_PREFIX) {
            return Err(SqsError::invalid("Message attribute names that begin with duolog- are reserved."));
        }
        let name_bytes = name.to_bytes(request);
        if attributes.iter().any(|known| known.name == name_bytes) {
            return Err(SqsError::invalid(format!("Message attribute '{}' stands twice.", name.as_str())));
        }
        let (data_type, value) = attribute(name, value, request)?;
        attributes.push(Attribute { name: name_bytes, data_type, value });
    }
    Ok(attributes)
}

fn attribute(name: &str, value: &AttributeValue<'_>, request: &Bytes) -> Result<(String, Bytes), SqsError> {
    let data_type = value.data_type.as_deref().unwrap_or("");
    if data_type.is_empty() {
        return Err(SqsError::invalid(format!(
            "The message attribute '{name}' must contain a non-empty message attribute type."
        )));
    }
    if !rules::is_attribute_type(data_type) {
        return Err(SqsError::invalid(format!(
            "The type of message attribute '{name}' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        )));
    }
    if value.string_list_values.count + value.binary_list_values.count > 0 {
        return Err(SqsError::new(
            ErrorCode::UnsupportedOperation,
            format!("Message attribute lists in SendMessage operations are not supported: '{name}'."),
        ));
    }
    let bytes = match (&value.string_value, &value.binary_value) {
        (Some(_), Some(_)) => {
            return Err(SqsError::invalid(format!(
                "Message attribute '{name}' has multiple values; it may have one."
            )));
        }
        (None, Some(binary)) if data_type.starts_with("Binary") => {
            let bytes = STANDARD.decode(binary.as_bytes()).map_err(|_| {
                SqsError::new(ErrorCode::Serialization, format!("The value of '{name}' is not base64."))
            })?;
            Bytes::from(bytes)
        }
        (Some(text), None) if !data_type.starts_with("Binary") => {
            if !rules::is_legal_text(text) {
                return Err(illegal_characters());
            }
            if data_type.starts_with("Number") && !text.is_empty() && !rules::is_number(text) {
                return Err(SqsError::invalid(format!(
                    "Can't cast the value of message attribute '{name}' to a number."
                )));
            }
            text.to_bytes(request)
        }
        // The value is missing, or stands in the field of another type.
        _ => Bytes::new(),
    };
    if bytes.is_empty() {
        let base = data_type.split('.').next().unwrap_or(data_type);
        return Err(SqsError::invalid(format!(
            "Message attribute '{name}' must contain a non-empty value of type '{base}'."
        )));
    }
    Ok((data_type.to_owned(), bytes))
}

fn trace_header(values: &AttributeValues<'_>, request: &Bytes) -> Result<Option<Attribute>, SqsError> {
    let mut trace = None;
    for (name, value) in &values.kept {
        if name.as_str() != "AWSTraceHeader" {
            let shown: String = name.chars().take(100).collect();
            return Err(SqsError::invalid(format!("Message system attribute name '{shown}' is invalid.")));
        }
        let (data_type, value) = attribute(name, value, request)?;
        if data_type != "String" {
            return Err(SqsError::invalid(
                "The data type of message system attribute 'AWSTraceHeader' must be String.",
            ));
        }
        trace = Some(Attribute { name: name.to_bytes(request), data_type, value });
    }
    Ok(trace)
}

fn bytes_of(attribute: &Attribute) -> usize {
    attribute.name.len() + attribute.data_type.len() + attribute.value.len()
}

fn digest(attributes: &[Attribute]) -> Option<Ascii<32>> {
    let mut hashed: Vec<md5::Hashed<'_>> = attributes
        .iter()
        .map(|attribute| md5::Hashed {
            name: std::str::from_utf8(&attribute.name).expect("its name was checked"),
            data_type: &attribute.data_type,
            value: &attribute.value,
        })
        .collect();
    md5::of_attributes(&mut hashed)
}

fn illegal_characters() -> SqsError {
    SqsError::new(
        ErrorCode::InvalidMessageContents,
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to \
         #xFFFD | #x10000 to #x10FFFF",
    )
}
