//! Handles of move tasks: the task's number and its queue's name with a mark, so that another text is told apart.
//!
//! `base64( {"taskId":"NUMBER","sourceArn":"ARN"} )`, as the service's look; both are read back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::arn;
use crate::limits::TASK_HANDLE_BYTES;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    task_id: String,
    source_arn: String,
}

/// Writes a handle.
#[must_use]
pub fn encode(task: u64, source_arn: &str) -> String {
    let handle = Handle { task_id: task.to_string(), source_arn: source_arn.to_owned() };
    STANDARD.encode(serde_json::to_vec(&handle).expect("text into memory"))
}

/// Reads a handle: the task, and the name of its queue. `None` if it is none.
#[must_use]
pub fn decode(handle: &str) -> Option<(u64, String)> {
    if handle.len() > TASK_HANDLE_BYTES {
        return None;
    }
    let handle: Handle = serde_json::from_slice(&STANDARD.decode(handle).ok()?).ok()?;
    Some((handle.task_id.parse().ok()?, arn::queue_name(&handle.source_arn)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back() {
        let handle = encode(7, "arn:aws:sqs:us-east-1:000000000000:dead");
        assert_eq!(decode(&handle), Some((7, "dead".to_owned())));
    }

    #[test]
    fn nonsense_is_no_handle() {
        let foreign = STANDARD.encode(r#"{"taskId":"x","sourceArn":"arn:aws:sqs:a:0:q"}"#);
        for handle in ["", "!", "AAAA", &foreign, &"A".repeat(100_000)] {
            assert_eq!(decode(handle), None);
        }
    }
}
