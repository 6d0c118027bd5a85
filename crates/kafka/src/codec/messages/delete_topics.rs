//! DeleteTopics. Source: KIP-4, KIP-516, KIP-599.

use crate::codec::message::message;

message! {
    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..];
        topic_names: Vec<String> [..=5];
        timeout_ms: i32 [..];
    }
    DeleteTopicState {
        name: Option<String> [6..];
        topic_id: u128 [6..];
    }
    DeleteTopicsResponse {
        throttle_time_ms: i32 [1..];
        responses: Vec<DeletableTopicResult> [..];
    }
    DeletableTopicResult {
        name: Option<String> [..] null [6..];
        topic_id: u128 [6..];
        error_code: i16 [..];
        error_message: Option<String> [5..];
    }
}
