//! Answers to what was published on a captured subject, sent once that is durable: to whoever awaits one, in the form of a
//! JetStream publish acknowledgement.

use std::task::{Context, Poll};

use duolog_broker::errors::AppendError;
use duolog_broker::live::{Captured, CapturedAt, Message};
use serde::Serialize;

use super::NatsSession;

/// As JetStream clients read it. Source: JetStream wire API, `PubAck`.
#[derive(Debug, Serialize)]
struct Acknowledgement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
    /// The topic.
    stream: &'a str,
    /// Offset, counted from 1 as JetStream does; 0 with an error.
    seq: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    /// Left out for the first partition: JetStream has no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: u16,
    err_code: u16,
    description: String,
}

impl NatsSession {
    /// Sends what has become known.
    pub(super) fn poll_captured(&mut self, waiting: &mut Context<'_>) {
        while self.publisher.is_capturing()
            && let Poll::Ready(all) = self.publisher.poll_captured(waiting)
        {
            for one in &all {
                if let Err(error) = &one.place {
                    tracing::debug!(client = self.client.id, topic = %one.topic, %error, "message is not captured");
                }
                if one.reply.is_empty() {
                    continue;
                }
                let text = acknowledgement(one);
                let answer =
                    Message { subject: &one.reply, reply: &[], headers: &[], payload: text.as_bytes() };
                // Whoever asked may have gone, or named a subject that nobody may publish on.
                let _ = self.publisher.answer(answer);
            }
            self.is_unflushed = true;
            self.flush();
        }
    }
}

fn acknowledgement(captured: &Captured) -> String {
    let stream = &*captured.topic;
    let body = match &captured.place {
        Ok(CapturedAt { partition, offset, duplicate }) => Acknowledgement {
            error: None,
            stream,
            seq: offset.0 + 1,
            duplicate: *duplicate,
            partition: (*partition > 0).then_some(*partition),
        },
        Err(error) => {
            Acknowledgement { error: Some(refusal(error)), stream, seq: 0, duplicate: false, partition: None }
        }
    };
    serde_json::to_string(&body).expect("text and numbers")
}

/// Codes of JetStream. Source: nats-server, `errors.json`.
fn refusal(error: &AppendError) -> Refusal {
    let (code, err_code) = match error {
        AppendError::NotFound => (404, 10_059),
        AppendError::TooLarge { .. } => (400, 10_054),
        AppendError::DiskFull => (500, 10_047),
        AppendError::Denied
        | AppendError::Malformed(_)
        | AppendError::OutOfOrder { .. }
        | AppendError::StaleEpoch { .. }
        | AppendError::TransactionsUnsupported
        | AppendError::Quarantined(_)
        | AppendError::Overloaded
        | AppendError::DedupFull
        | AppendError::CursorMoved
        | AppendError::QueueFull(_)
        | AppendError::Stopped(_) => (503, 10_077),
    };
    Refusal { code, err_code, description: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use duolog_record::Offset;

    #[test]
    fn acknowledgements_read_as_those_of_a_stream() {
        let text = |place| acknowledgement(&Captured { reply: Bytes::new(), topic: "orders".into(), place });
        let at = |partition, duplicate| CapturedAt { partition, offset: Offset(6), duplicate };
        assert_eq!(text(Ok(at(0, false))), r#"{"stream":"orders","seq":7}"#);
        assert_eq!(text(Ok(at(2, true))), r#"{"stream":"orders","seq":7,"duplicate":true,"partition":2}"#);
        assert_eq!(
            text(Err(AppendError::NotFound)),
            r#"{"error":{"code":404,"err_code":10059,"description":"no such topic or partition"},"stream":"orders","seq":0}"#
        );
    }
}
