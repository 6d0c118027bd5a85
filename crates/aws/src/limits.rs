//! The limits of this frontend, each with its unit and its reason.
//!
//! Source: SQS Developer Guide, "Amazon SQS quotas"; SQS API Reference.

use std::time::Duration;

/// Largest message, bytes of body and attributes together, and largest batch. Source: SQS quotas since August 2025.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// Smallest value of `MaximumMessageSize`, bytes.
pub const MESSAGE_BYTES_SETTING_MIN: u64 = 1024;
/// Bytes of one request's body: JSON may write each byte of a message as a six-byte escape.
pub const BODY_BYTES: usize = 6 * MESSAGE_BYTES + (1 << 20);
/// What a request takes beside its body while it is worked on: unescaped texts and the records made of them.
pub const BODY_COPIES: usize = 2;
/// Parameters of one request in the Query protocol: a full batch has under 400, a full list of names 1,000.
pub const PARAMETERS: usize = 2_048;
/// Bytes of such a parameter's name, as sent.
pub const PARAMETER_NAME_BYTES: usize = 256;
/// How long a request waits for memory for its answer. Below what SDKs wait for an answer, so that they hear of it.
pub const ANSWER_ROOM_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
pub const HEAD_BYTES: usize = 32 << 10;
/// Headers of a request.
pub const HEADERS: usize = 100;
/// Entries of one batch.
pub const BATCH_ENTRIES: usize = 10;
/// Bytes of a batch entry's id.
pub const BATCH_ID_BYTES: usize = 80;
/// Messages of one receive.
pub const RECEIVE_MESSAGES: i64 = 10;
/// Longest wait of a receive, seconds.
pub const WAIT_S: i64 = 20;
/// Longest visibility timeout, seconds.
pub const VISIBILITY_S: i64 = 43_200;
/// Longest delay, seconds.
pub const DELAY_S: i64 = 900;
/// How long a deduplication id is remembered, milliseconds.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Shortest and longest retention, seconds.
pub const RETENTION_S: (i64, i64) = (60, 1_209_600);
/// Attributes of one message.
pub const MESSAGE_ATTRIBUTES: usize = 10;
/// Bytes of an attribute's name, and of its type.
pub const ATTRIBUTE_NAME_BYTES: usize = 256;
/// Names that a receive may ask for, and keys of an untag.
pub const NAMES: usize = 1_000;
/// Bytes of a message group's id, of a deduplication id, and of the id of an attempt to receive.
pub const GROUP_ID_BYTES: usize = 128;
/// Bytes of a queue's name.
pub const QUEUE_NAME_BYTES: usize = 80;
/// Messages a second of a move task that names a rate.
pub const MOVE_RATE: (i64, i64) = (1, 500);
/// Move tasks of one list.
pub const MOVE_TASKS_LISTED: usize = 10;
/// Bytes of a move task's handle: the name and ARN of a queue and a number, in base64.
pub const TASK_HANDLE_BYTES: usize = 1_024;
/// Queues of one page of a list.
pub const LIST_PAGE: usize = 1_000;
/// Tags of one queue.
pub const TAGS: usize = 50;
/// Characters of a tag's key.
pub const TAG_KEY_CHARS: usize = 128;
/// Characters of a tag's value.
pub const TAG_VALUE_CHARS: usize = 256;
/// Receives before a message is dead-lettered.
pub const RECEIVE_COUNT: (i64, i64) = (1, 1_000);
/// Messages in flight of a standard queue.
pub const IN_FLIGHT: u32 = 120_000;
/// Source queues that one `RedriveAllowPolicy` may name.
pub const REDRIVE_SOURCES: usize = 10;
/// Bytes of the name of a key.
pub const KEY_ID_BYTES: usize = 2_048;
/// Bytes of a queue's access policy.
pub const POLICY_BYTES: usize = 20 << 10;
/// Statements of a policy.
pub const POLICY_STATEMENTS: usize = 20;
/// Accounts of a statement.
pub const POLICY_PRINCIPALS: usize = 50;
/// Actions that one AddPermission may name.
pub const PERMISSION_ACTIONS: usize = 7;
/// Bytes of an SNS message and its attributes, and of all of a batch. Source: SNS quotas.
pub const SNS_MESSAGE_BYTES: usize = 256 << 10;
/// Bytes of a topic's name: what an exchange may have; SNS allows seven more.
pub const TOPIC_NAME_BYTES: usize = 249;
/// Characters of a message's subject.
pub const SNS_SUBJECT_CHARS: usize = 100;
/// Characters of a topic's display name.
pub const SNS_DISPLAY_NAME_CHARS: usize = 100;
/// Attributes of a message to a topic: beyond what a queue shows they are folded, see docs/mapping.md.
pub const SNS_ATTRIBUTES: usize = 100;
/// Topics or subscriptions of a page.
pub const SNS_PAGE: usize = 100;
/// Filter policies of a topic. Source: SNS quotas.
pub const SNS_FILTER_POLICIES: usize = 200;
/// Bytes of a subscription's endpoint.
pub const SNS_ENDPOINT_BYTES: usize = 2_048;
/// How long a subscription may be confirmed, milliseconds: two days.
pub const SNS_TOKEN_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// Subscriptions of `http` and `https` endpoints: each is a task that waits.
pub const SNS_HTTP_SUBSCRIPTIONS: usize = 10_000;
/// How long an endpoint has for an answer, all of it. Source: SNS Developer Guide, "Make sure your endpoint is ready".
pub const SNS_ANSWER_WAIT: Duration = Duration::from_secs(15);
/// How long a message is leased for one attempt to deliver it, milliseconds: as long as the attempt takes, and it waits for room.
pub const SNS_ATTEMPT_MS: u64 = 60_000;
/// How long one who delivers waits for messages at a time, milliseconds.
pub const SNS_DELIVERY_WAIT_MS: u64 = 20_000;
/// Bytes of messages on their way to endpoints, all together.
pub const SNS_DELIVERY_BYTES: usize = 64 << 20;
/// Bytes that one subscription takes of them at a time, and the message that reaches it.
pub const SNS_DELIVERY_LEASE_BYTES: usize = 1 << 20;
/// Requests at a time above one for each subscription, all together.
pub const SNS_DELIVERIES_MORE: usize = 512;
/// How long a message whose dead-letter queue is missing waits to be tried again, milliseconds.
pub const SNS_NO_DEAD_LETTER_MS: u64 = 60_000;
/// How often what is left of subscriptions is looked for.
pub const SNS_SWEEP: Duration = Duration::from_secs(60);
/// How old what belongs to no subscription must be, milliseconds: it may be about to.
pub const SNS_ORPHAN_MS: i64 = 60_000;
/// Messages that are copied at a time to a subscriber that is fed from the log of its topic.
pub const SNS_COPIES: u32 = 100;
/// Days that a topic's archive keeps messages. Source: SNS Developer Guide, "Amazon SNS message archiving for FIFO topic owners".
pub const SNS_ARCHIVE_DAYS: (u64, u64) = (1, 365);
/// Retries of a delivery. Source: SNS Developer Guide, "Creating an HTTP/S delivery policy", for this and the next two.
pub const SNS_RETRIES: u32 = 100;
/// Longest delay between two attempts, seconds.
pub const SNS_RETRY_DELAY_S: u32 = 3_600;
/// Longest time that all retries may take, seconds.
pub const SNS_RETRY_TOTAL_S: u64 = 3_600;
/// Requests to one endpoint at a time, and connections that are kept to it.
pub const ENDPOINT_LANES: usize = 8;
/// Names of endpoints that are looked up at a time: each takes a thread.
pub const ENDPOINT_LOOKUPS: usize = 32;
/// How long one address has to take a connection.
pub const ENDPOINT_CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Bytes of the head of an endpoint's answer.
pub const ENDPOINT_HEAD_BYTES: usize = 32 << 10;
/// Bytes of the rest of it that are read, so that the connection may be used again.
pub const ENDPOINT_ANSWER_BYTES: usize = 64 << 10;
/// How long that may take.
pub const ENDPOINT_ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Bits of the key that messages are signed with.
pub const SNS_KEY_BITS: usize = 2_048;
/// One receive takes at most this part of the memory budget, so that a few clients that do not read leave room for others.
pub const BUDGET_SHARE: usize = 8;
const _: () = assert!(MESSAGE_BYTES < BODY_BYTES);
const _: () =
    assert!(SNS_ANSWER_WAIT.as_millis() < SNS_ATTEMPT_MS as u128, "an attempt ends before its lease");
