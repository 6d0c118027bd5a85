//! DeleteMessage and DeleteMessageBatch: the durable end of a message in this queue.

use duolog_broker::errors::SettleError;
use duolog_broker::{Outcome, Queue};

use super::settlement::{self, Action};
use super::{Answer, Call};
use crate::codec::request::Settle;
use crate::error::SqsError;
use crate::settings::is_fifo;

struct Delete;

impl Action for Delete {
    const ENTRY: &'static str = "DeleteMessageBatchRequestEntry";

    fn outcome(_: &Settle<'_>) -> Result<Outcome, SqsError> {
        Ok(Outcome::Ack)
    }

    fn result(queue: &Queue, entry: &Settle<'_>, result: Result<(), SettleError>) -> Result<(), SqsError> {
        match result {
            Err(SettleError::Expired) if is_fifo(&queue.name) => Err(SqsError::invalid_value(
                entry.receipt_handle.as_deref().unwrap_or(""),
                "ReceiptHandle",
                "The receipt handle has expired.",
            )),
            // Deleting twice, or with a handle whose time is over, succeeds silently on standard queues. With one that a
            // crash made void while nobody else has the message, it does not: the message will come again.
            Ok(()) | Err(SettleError::Settled | SettleError::Expired) => Ok(()),
            Err(SettleError::Unknown) => {
                Err(SqsError::no_such_handle(entry.receipt_handle.as_deref().unwrap_or("")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) async fn single(call: &Call<'_>) -> Answer {
    settlement::single::<Delete>(call).await
}

pub(super) async fn batch(call: &Call<'_>) -> Answer {
    settlement::batch::<Delete>(call).await
}
