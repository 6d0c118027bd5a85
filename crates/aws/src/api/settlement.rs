//! What deleting a message and changing its visibility have in common: handles become leases, a batch is one verb.

use std::collections::HashSet;

use duolog_broker::errors::SettleError;
use duolog_broker::{LeaseId, Outcome, Queue};

use super::{Answer, Call, required};
use crate::codec::few::Few;
use crate::codec::request::{self, Settle};
use crate::codec::text::Text;
use crate::codec::{receipt, response, rules};
use crate::error::{ErrorCode, SqsError};
use crate::limits::{BATCH_ENTRIES, BATCH_ID_BYTES};

/// The two actions.
pub(super) trait Action {
    /// The name of a batch's entry, for complaints.
    const ENTRY: &'static str;

    /// What the entry asks for.
    fn outcome(entry: &Settle<'_>) -> Result<Outcome, SqsError>;

    /// What the client is told about one lease.
    fn result(queue: &Queue, entry: &Settle<'_>, result: Result<(), SettleError>) -> Result<(), SqsError>;
}

pub(super) async fn single<A: Action>(call: &Call<'_>) -> Answer {
    let request: Settle<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let settled = (lease(&queue, &request)?, A::outcome(&request)?);
    let results = call.session.settle(queue.id, vec![settled]).await?;
    for result in results {
        A::result(&queue, &request, result)?;
    }
    call.done()
}

pub(super) async fn batch<A: Action>(call: &Call<'_>) -> Answer {
    let request: request::SettleBatch<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let ids = check_ids(&request.entries, A::ENTRY, |entry| entry.id.as_ref())?;
    let mut outcomes = Vec::with_capacity(ids.len());
    let asked: Vec<Result<(), SqsError>> = request
        .entries
        .kept
        .iter()
        .map(|entry| {
            outcomes.push((lease(&queue, entry)?, A::outcome(entry)?));
            Ok(())
        })
        .collect();
    let mut results = match outcomes.is_empty() {
        true => Vec::new(),
        false => call.session.settle(queue.id, outcomes).await?,
    }
    .into_iter();
    let mut response = response::Batch { successful: Vec::with_capacity(ids.len()), failed: Vec::new() };
    for ((id, entry), asked) in ids.into_iter().zip(&request.entries.kept).zip(asked) {
        let result = asked.and_then(|()| match results.next() {
            Some(result) => A::result(&queue, entry, result),
            None => Err(SqsError::new(ErrorCode::InternalFailure, "The broker gave no result.")),
        });
        match result {
            Ok(()) => response.successful.push(response::Done { id }),
            Err(error) => response.failed.push(failed(id, error)),
        }
    }
    call.answer(&response)
}

fn lease(queue: &Queue, entry: &Settle<'_>) -> Result<LeaseId, SqsError> {
    let handle = required(entry.receipt_handle.as_ref(), "ReceiptHandle")?;
    receipt::decode(handle).filter(|id| id.queue == queue.id).ok_or_else(|| SqsError::no_such_handle(handle))
}

/// An entry that failed.
pub(super) fn failed(id: &str, error: SqsError) -> response::Failed<'_> {
    response::Failed {
        id,
        sender_fault: error.code.is_senders(),
        code: error.code.query_code(),
        message: error.message,
    }
}

/// The ids of a batch's entries: 1 to 10, legal, distinct.
pub(super) fn check_ids<'a, T>(
    entries: &'a Few<T, BATCH_ENTRIES>,
    entry: &str,
    id: impl Fn(&'a T) -> Option<&'a Text<'a>>,
) -> Result<Vec<&'a str>, SqsError> {
    if entries.count == 0 {
        let message = format!("There should be at least one {entry} in the request.");
        return Err(SqsError::new(ErrorCode::EmptyBatchRequest, message));
    }
    if entries.count > BATCH_ENTRIES {
        return Err(SqsError::new(
            ErrorCode::TooManyEntriesInBatchRequest,
            format!(
                "Maximum number of entries per request are {BATCH_ENTRIES}. You have sent {}.",
                entries.count
            ),
        ));
    }
    let mut ids = Vec::with_capacity(entries.count);
    let mut seen = HashSet::with_capacity(entries.count);
    for kept in &entries.kept {
        let id = id(kept).map(Text::as_str).ok_or_else(|| SqsError::missing("Id"))?;
        if !rules::is_batch_id(id) {
            return Err(SqsError::new(
                ErrorCode::InvalidBatchEntryId,
                format!(
                    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It \
                     can be at most {BATCH_ID_BYTES} letters long."
                ),
            ));
        }
        if !seen.insert(id) {
            return Err(SqsError::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
        ids.push(id);
    }
    Ok(ids)
}
