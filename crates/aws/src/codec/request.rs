//! The requests of the actions. Every field is optional here: an action says itself what it misses, in SQS's words.
//!
//! Source: SQS API Reference, AWS JSON 1.0.

use serde::Deserialize;

use super::few::{Few, Pairs};
use super::text::Text;
use crate::limits::{BATCH_ENTRIES, MESSAGE_ATTRIBUTES, NAMES, TAGS};

/// Reads a request.
///
/// # Errors
/// What is wrong with the JSON and where.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // A list would be read as a structure field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the body must be a JSON object".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// An attribute of a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct AttributeValue<'a> {
    #[serde(borrow)]
    pub data_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub string_value: Option<Text<'a>>,
    /// Base64.
    #[serde(borrow)]
    pub binary_value: Option<Text<'a>>,
    /// Reserved by SQS and refused by it; some SDKs send it empty.
    #[serde(borrow)]
    pub string_list_values: Few<Text<'a>, 1>,
    /// As `string_list_values`.
    #[serde(borrow)]
    pub binary_list_values: Few<Text<'a>, 1>,
}

/// The attributes of a message.
pub type AttributeValues<'a> = Pairs<'a, AttributeValue<'a>, MESSAGE_ATTRIBUTES>;

/// Attributes of a queue: all known ones fit, and a few more to complain about.
pub type QueueAttributes<'a> = Pairs<'a, Text<'a>, NAMES>;

/// Tags of a queue, one more than are allowed.
pub type Tags<'a> = Pairs<'a, Text<'a>, { TAGS + 1 }>;

/// Names asked for.
pub type Names<'a> = Few<Text<'a>, NAMES>;

macro_rules! requests {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            #[allow(missing_docs)]
            pub struct $name<'a> {
                $(#[serde(borrow)] $(#[$field_meta])* pub $field: $kind,)*
            }
        )*
    };
}

requests! {
    /// CreateQueue.
    CreateQueue {
        queue_name: Option<Text<'a>>,
        attributes: QueueAttributes<'a>,
        #[serde(rename = "tags", alias = "Tags")]
        tags: Tags<'a>,
    }
    /// GetQueueUrl. The owner's account is not looked at.
    GetQueueUrl {
        queue_name: Option<Text<'a>>,
    }
    /// DeleteQueue, PurgeQueue, ListQueueTags.
    QueueOnly {
        queue_url: Option<Text<'a>>,
    }
    /// GetQueueAttributes.
    GetQueueAttributes {
        queue_url: Option<Text<'a>>,
        attribute_names: Names<'a>,
    }
    /// SetQueueAttributes.
    SetQueueAttributes {
        queue_url: Option<Text<'a>>,
        attributes: QueueAttributes<'a>,
    }
    /// TagQueue.
    TagQueue {
        queue_url: Option<Text<'a>>,
        tags: Tags<'a>,
    }
    /// UntagQueue.
    UntagQueue {
        queue_url: Option<Text<'a>>,
        tag_keys: Names<'a>,
    }
    /// AddPermission.
    AddPermission {
        queue_url: Option<Text<'a>>,
        label: Option<Text<'a>>,
        #[serde(rename = "AWSAccountIds")]
        aws_account_ids: Names<'a>,
        actions: Names<'a>,
    }
    /// CancelMessageMoveTask.
    CancelMessageMoveTask {
        task_handle: Option<Text<'a>>,
    }
    /// RemovePermission.
    RemovePermission {
        queue_url: Option<Text<'a>>,
        label: Option<Text<'a>>,
    }
}

/// ListQueues.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ListQueues<'a> {
    #[serde(borrow)]
    pub queue_name_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    pub next_token: Option<Text<'a>>,
    pub max_results: Option<i64>,
}

/// ListDeadLetterSourceQueues.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ListDeadLetterSourceQueues<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub next_token: Option<Text<'a>>,
    pub max_results: Option<i64>,
}

/// StartMessageMoveTask.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct StartMessageMoveTask<'a> {
    #[serde(borrow)]
    pub source_arn: Option<Text<'a>>,
    #[serde(borrow)]
    pub destination_arn: Option<Text<'a>>,
    pub max_number_of_messages_per_second: Option<i64>,
}

/// ListMessageMoveTasks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ListMessageMoveTasks<'a> {
    #[serde(borrow)]
    pub source_arn: Option<Text<'a>>,
    pub max_results: Option<i64>,
}

/// SendMessage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct SendMessage<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    /// Only in a batch.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub message_body: Option<Text<'a>>,
    pub delay_seconds: Option<i64>,
    #[serde(borrow)]
    pub message_attributes: AttributeValues<'a>,
    #[serde(borrow)]
    pub message_system_attributes: AttributeValues<'a>,
    #[serde(borrow)]
    pub message_deduplication_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub message_group_id: Option<Text<'a>>,
}

/// SendMessageBatch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct SendMessageBatch<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub entries: Few<SendMessage<'a>, BATCH_ENTRIES>,
}

/// ReceiveMessage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ReceiveMessage<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    /// The older name of `message_system_attribute_names`; both are honoured.
    #[serde(borrow)]
    pub attribute_names: Names<'a>,
    #[serde(borrow)]
    pub message_system_attribute_names: Names<'a>,
    #[serde(borrow)]
    pub message_attribute_names: Names<'a>,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    #[serde(borrow)]
    pub receive_request_attempt_id: Option<Text<'a>>,
}

/// DeleteMessage and ChangeMessageVisibility, alone (with a queue) or as an entry of a batch (with an id).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct Settle<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub receipt_handle: Option<Text<'a>>,
    pub visibility_timeout: Option<i64>,
}

/// DeleteMessageBatch and ChangeMessageVisibilityBatch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct SettleBatch<'a> {
    #[serde(borrow)]
    pub queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    pub entries: Few<Settle<'a>, BATCH_ENTRIES>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_send_is_read_as_sdks_write_it() {
        let body = br#"{"QueueUrl":"http://h/0/q","MessageBody":"b","DelaySeconds":0,"Later":{"x":[1]},
            "MessageAttributes":{"n":{"DataType":"Number","StringValue":"1","StringListValues":[]}}}"#;
        let send: SendMessage<'_> = decode(body).unwrap();
        assert_eq!(send.message_body.unwrap().as_str(), "b");
        let (name, value) = &send.message_attributes.kept[0];
        assert_eq!((name.as_str(), value.string_value.as_ref().unwrap().as_str()), ("n", "1"));
    }

    #[test]
    fn tags_are_read_in_both_cases() {
        for text in [r#"{"tags":{"a":"b"}}"#, r#"{"Tags":{"a":"b"}}"#] {
            let create: CreateQueue<'_> = decode(text.as_bytes()).unwrap();
            assert_eq!(create.tags.count, 1);
        }
    }

    #[test]
    fn nonsense_is_an_error_and_nulls_are_absent() {
        for body in ["", "[]", "{", r#"{"MessageBody":5}"#, r#"{"QueueUrl":"a","QueueUrl":"b"}"#] {
            assert!(decode::<SendMessage<'_>>(body.as_bytes()).is_err(), "{body}");
        }
        let nulls = r#"{"MessageBody":null,"MessageAttributes":null,"DelaySeconds":null}"#;
        assert!(decode::<SendMessage<'_>>(nulls.as_bytes()).unwrap().message_body.is_none());
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(decode::<SendMessage<'_>>(deep.as_bytes()).is_err());
    }
}
