//! ReceiveMessage: leases records and writes them as messages. A receive that waits ends with its client.

use duolog_broker::{AttemptId, LeaseAsk, Leased, Queue};

use super::{Answer, Call};
use crate::codec::{request, response, text::Text};
use crate::convert::{self, SystemNames, Wanted};
use crate::entry::checked_id;
use crate::error::SqsError;
use crate::limits::{BUDGET_SHARE, RECEIVE_MESSAGES, VISIBILITY_S, WAIT_S};
use crate::settings::{is_fifo, unknown_attribute};

/// What a message takes in the answer beside its content: names, id, handle, digests, system attributes.
const FRAME_BYTES: usize = 512;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::ReceiveMessage<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let count = in_range(
        request.max_number_of_messages,
        "MaxNumberOfMessages",
        (1, RECEIVE_MESSAGES),
        "Must be between 1 and 10, if provided.",
    )?;
    let visibility = in_range(
        request.visibility_timeout,
        "VisibilityTimeout",
        (0, VISIBILITY_S),
        "Must be between 0 and 43200, if provided.",
    )?;
    let wait = in_range(
        request.wait_time_seconds,
        "WaitTimeSeconds",
        (0, WAIT_S),
        "Must be >= 0 and <= 20, if provided.",
    )?;
    let mut system = SystemNames::default();
    for name in request.attribute_names.kept.iter().chain(&request.message_system_attribute_names.kept) {
        if !system.add(name) {
            return Err(unknown_attribute(name));
        }
    }
    let wanted = Wanted::new(request.message_attribute_names.kept.iter().map(|name| name.as_str()));
    let attempt = attempt(request.receive_request_attempt_id.as_ref(), &queue)?;
    let ask = LeaseAsk {
        queue: queue.id,
        count: u32::try_from(count.unwrap_or(1)).unwrap_or(1),
        visibility_ms: visibility.map(|seconds| seconds * 1000),
        wait_ms: wait.map_or(queue.policy.receive_wait_ms, |seconds| seconds * 1000),
        attempt,
        priority: 0,
        bound: false,
    };
    let bytes_max = call.budget.bytes_max() / BUDGET_SHARE;
    let room = |content: usize| call.reserve(answer_bytes(content, ask.count));
    let (leased, held) = tokio::select! {
        biased;
        leased = call.session.lease_within(ask, bytes_max, room) => leased?,
        () = call.shutdown.begun() => (Vec::new(), None),
    };
    let bytes = held.as_ref().map_or(0, |_| leased.iter().map(bytes_of).sum());
    let catalog = call.session.catalog();
    let context = convert::Context {
        topic: queue.topic.0,
        region: call.echo.region,
        account: call.echo.account,
        fifo: is_fifo(&queue.name),
        host: call.host,
        queue: &queue.name,
        catalog: &catalog,
    };
    let messages = leased.iter().map(|leased| convert::message(context, leased, &wanted, system)).collect();
    let mut answered = call.answer_sized(&response::Received { messages }, bytes)?;
    answered.held = held;
    Ok(answered)
}

/// Under which name the receive may be repeated.
fn attempt(id: Option<&Text<'_>>, queue: &Queue) -> Result<Option<AttemptId>, SqsError> {
    let Some(id) = id else { return Ok(None) };
    if !is_fifo(&queue.name) {
        return Err(SqsError::invalid(
            "The request includes a parameter that is not valid for this queue type: ReceiveRequestAttemptId.",
        ));
    }
    Ok(AttemptId::new(checked_id(id, "ReceiveRequestAttemptId")?.as_bytes()))
}

/// What an answer of at most `count` messages with so many bytes of keys, values and headers is likely to take.
fn answer_bytes(content: usize, count: u32) -> usize {
    // Base64, or escapes here and there; names of attributes beside short ones.
    content + content / 3 + count as usize * 2 * FRAME_BYTES
}

/// What a message is likely to take in the answer.
fn bytes_of(leased: &Leased) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize =
        leased.record.headers.iter().map(|header| 64 + header.key.len() + length(&header.value)).sum();
    let content = length(&leased.record.value) + length(&leased.record.key) + headers;
    // Base64, or escapes here and there.
    FRAME_BYTES + content + content / 3
}

fn in_range(
    value: Option<i64>,
    parameter: &str,
    (least, most): (i64, i64),
    reason: &str,
) -> Result<Option<u64>, SqsError> {
    match value {
        None => Ok(None),
        Some(value) if (least..=most).contains(&value) => Ok(Some(value.unsigned_abs())),
        Some(value) => Err(SqsError::invalid_value(value, parameter, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_range_are_refused_in_the_services_words() {
        let error =
            in_range(Some(11), "MaxNumberOfMessages", (1, 10), "Must be between 1 and 10, if provided.");
        assert_eq!(
            error.map_err(|error| error.message.into_owned()),
            Err("Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
                .to_owned())
        );
        assert_eq!(in_range(None, "x", (0, 1), ""), Ok(None));
        assert_eq!(in_range(Some(0), "x", (0, 1), ""), Ok(Some(0)));
    }
}
