//! The responses of the actions, written straight from what they are made of.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Text of a fixed length: digests, ids, handles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ascii<const N: usize>([u8; N]);

impl<const N: usize> Ascii<N> {
    /// Takes bytes; what is not ASCII becomes `?`.
    #[must_use]
    pub fn new(mut bytes: [u8; N]) -> Self {
        for byte in &mut bytes {
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
        Self(bytes)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII alone")
    }
}

impl<const N: usize> std::fmt::Debug for Ascii<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> Serialize for Ascii<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Pairs that are written as a map, in their order.
#[derive(Clone, Debug, Default)]
pub struct Map<'a, T>(pub Vec<(Cow<'a, str>, T)>);

impl<T> Map<'_, T> {
    /// True without pairs; such a map is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Map<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Bytes that are written as base64.
#[derive(Clone, Debug, Default)]
pub struct Base64<'a>(pub &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let engine = &base64::engine::general_purpose::STANDARD;
        serializer.collect_str(&base64::display::Base64Display::new(self.0, engine))
    }
}

macro_rules! responses {
    ($($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, serde::Serialize)]
            #[serde(rename_all = "PascalCase")]
            #[allow(missing_docs)]
            pub struct $name $(<$life>)? {
                $($(#[$field_meta])* pub $field: $kind,)*
            }
        )*
    };
}

responses! {
    /// CreateQueue, GetQueueUrl.
    QueueUrl {
        queue_url: String,
    }
    /// ListQueues.
    QueueUrls {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        queue_urls: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
    /// ListDeadLetterSourceQueues: the list is always there, and its name begins small.
    SourceQueueUrls {
        #[serde(rename = "queueUrls")]
        queue_urls: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_token: Option<String>,
    }
    /// GetQueueAttributes.
    Attributes<'a> {
        #[serde(skip_serializing_if = "Map::is_empty")]
        attributes: Map<'a, String>,
    }
    /// ListQueueTags.
    Tags<'a> {
        #[serde(skip_serializing_if = "Map::is_empty")]
        tags: Map<'a, &'a str>,
    }
    /// SendMessage, and an entry of its batch.
    Sent<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        message_id: Ascii<36>,
        #[serde(rename = "MD5OfMessageBody")]
        md5_of_body: Ascii<32>,
        #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_attributes: Option<Ascii<32>>,
        #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_system_attributes: Option<Ascii<32>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence_number: Option<Ascii<20>>,
    }
    /// StartMessageMoveTask.
    TaskStarted {
        task_handle: String,
    }
    /// ListMessageMoveTasks.
    Tasks {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        results: Vec<Task>,
    }
    /// A move task.
    Task {
        #[serde(skip_serializing_if = "Option::is_none")]
        task_handle: Option<String>,
        status: &'static str,
        source_arn: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        destination_arn: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_number_of_messages_per_second: Option<u32>,
        approximate_number_of_messages_moved: u64,
        approximate_number_of_messages_to_move: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure_reason: Option<String>,
        started_timestamp: i64,
    }
    /// CancelMessageMoveTask.
    TaskCancelled {
        approximate_number_of_messages_moved: u64,
    }
    /// An entry of a settlement batch.
    Done<'a> {
        id: &'a str,
    }
    /// An entry that failed.
    Failed<'a> {
        id: &'a str,
        sender_fault: bool,
        code: &'static str,
        message: Cow<'static, str>,
    }
    /// ReceiveMessage; without messages the list is left out.
    Received<'a> {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        messages: Vec<Message<'a>>,
    }
    /// A message.
    Message<'a> {
        message_id: Ascii<36>,
        receipt_handle: String,
        #[serde(rename = "MD5OfBody")]
        md5_of_body: Ascii<32>,
        body: Cow<'a, str>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        attributes: Map<'static, String>,
        #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
        md5_of_attributes: Option<Ascii<32>>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        message_attributes: Map<'a, Attribute<'a>>,
    }
    /// An attribute of a message.
    Attribute<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        string_value: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        binary_value: Option<Base64<'a>>,
        data_type: Cow<'a, str>,
    }
}

/// A batch's answer: entries that worked and entries that did not.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch<'a, T> {
    /// Those that worked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successful: Vec<T>,
    /// Those that did not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed<'a>>,
}

/// The body of an error.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Error<'a> {
    /// The shape.
    #[serde(rename = "__type")]
    pub shape: String,
    /// What happened.
    pub message: &'a str,
}

/// An answer without content.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Empty {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_empty_is_left_out() {
        assert_eq!(serde_json::to_string(&Received { messages: Vec::new() }).unwrap(), "{}");
        let urls = QueueUrls { queue_urls: Vec::new(), next_token: None };
        assert_eq!(serde_json::to_string(&urls).unwrap(), "{}");
        let sources = SourceQueueUrls { queue_urls: Vec::new(), next_token: None };
        assert_eq!(serde_json::to_string(&sources).unwrap(), r#"{"queueUrls":[]}"#);
        assert_eq!(serde_json::to_string(&Empty {}).unwrap(), "{}");
    }

    #[test]
    fn a_binary_attribute_is_base64() {
        let attribute = Attribute {
            string_value: None,
            binary_value: Some(Base64(b"\x00\xff")),
            data_type: Cow::Borrowed("Binary"),
        };
        let json = serde_json::to_string(&Map(vec![("b".into(), attribute)])).unwrap();
        assert_eq!(json, r#"{"b":{"BinaryValue":"AP8=","DataType":"Binary"}}"#);
    }
}
