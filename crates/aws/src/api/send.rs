//! SendMessage and SendMessageBatch: checked messages become records; a batch is one publish, and one commit.

use duolog_broker::Queue;

use super::settlement::{check_ids, failed};
use super::{Answer, Call};
use crate::codec::{request, response};
use crate::convert;
use crate::entry::{Entry, check, check_fifo, check_size};
use crate::error::{ErrorCode, SqsError};
use crate::limits::MESSAGE_BYTES;
use crate::settings::{Settings, is_fifo};

/// Bytes of one entry in the answer.
const SENT_BYTES: usize = 256;

pub(super) async fn single(call: &Call<'_>) -> Answer {
    let request: request::SendMessage<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let settings = Settings::from(&*queue);
    let entry = check(&request, &settings, call.body)?;
    check_size(&entry, &settings)?;
    let mut sent = publish(call, &queue, vec![(None, entry)]).await?;
    let sent = sent.pop().ok_or_else(no_place)?;
    call.answer(&sent)
}

pub(super) async fn batch(call: &Call<'_>) -> Answer {
    let request: request::SendMessageBatch<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let ids = check_ids(&request.entries, "SendMessageBatchRequestEntry", |entry| entry.id.as_ref())?;
    let settings = Settings::from(&*queue);
    for entry in &request.entries.kept {
        check_fifo(entry, &settings)?;
    }
    let mut entries = Vec::with_capacity(ids.len());
    let mut failures = Vec::new();
    let mut bytes = 0;
    for (id, entry) in ids.into_iter().zip(&request.entries.kept) {
        // One that is too large for the queue counts for the batch as well.
        let checked = check(entry, &settings, call.body).and_then(|entry| {
            bytes += entry.bytes;
            check_size(&entry, &settings)?;
            Ok(entry)
        });
        match checked {
            Ok(entry) => entries.push((Some(id), entry)),
            Err(error) => failures.push(failed(id, error)),
        }
    }
    if bytes > MESSAGE_BYTES {
        return Err(SqsError::new(
            ErrorCode::BatchRequestTooLong,
            format!(
                "Batch requests cannot be longer than {MESSAGE_BYTES} bytes. You have sent {bytes} bytes."
            ),
        ));
    }
    let count = entries.len() + failures.len();
    let successful = match entries.is_empty() {
        true => Vec::new(),
        false => publish(call, &queue, entries).await?,
    };
    call.answer_sized(&response::Batch { successful, failed: failures }, SENT_BYTES * count)
}

async fn publish<'a>(
    call: &Call<'_>,
    queue: &Queue,
    entries: Vec<(Option<&'a str>, Entry)>,
) -> Result<Vec<response::Sent<'a>>, SqsError> {
    let mut records = Vec::with_capacity(entries.len());
    let mut digests = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        records.push(entry.record);
        digests.push((id, entry.digests));
    }
    let published = call.session.publish(queue.topic, records).await?;
    if published.len() != digests.len() {
        return Err(no_place());
    }
    let sent = digests.into_iter().zip(published).map(|((id, digests), place)| response::Sent {
        id,
        message_id: convert::message_id_of(queue.topic.0, place.partition_index, place.offset),
        md5_of_body: digests.body,
        md5_of_attributes: digests.attributes,
        md5_of_system_attributes: digests.system_attributes,
        sequence_number: is_fifo(&queue.name).then(|| convert::sequence_number(place.offset)),
    });
    Ok(sent.collect())
}

fn no_place() -> SqsError {
    SqsError::new(ErrorCode::InternalFailure, "The broker did not say where the messages are.")
}
