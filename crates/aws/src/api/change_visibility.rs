//! ChangeMessageVisibility and its batch: a lease ends later, sooner, or (0) at once.

use duolog_broker::errors::SettleError;
use duolog_broker::{Outcome, Queue};

use super::settlement::{self, Action};
use super::{Answer, Call};
use crate::codec::request::Settle;
use crate::error::{ErrorCode, SqsError};
use crate::limits::VISIBILITY_S;

struct ChangeVisibility;

impl Action for ChangeVisibility {
    const ENTRY: &'static str = "ChangeMessageVisibilityBatchRequestEntry";

    fn outcome(entry: &Settle<'_>) -> Result<Outcome, SqsError> {
        let seconds = entry.visibility_timeout.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?;
        match seconds {
            0 => Ok(Outcome::Extend { for_ms: 0 }),
            seconds if (1..=VISIBILITY_S).contains(&seconds) => {
                Ok(Outcome::Extend { for_ms: seconds.unsigned_abs() * 1000 })
            }
            seconds => Err(SqsError::invalid_value(
                seconds,
                "VisibilityTimeout",
                "VisibilityTimeout must be an integer between 0 and 43200.",
            )),
        }
    }

    fn result(_: &Queue, entry: &Settle<'_>, result: Result<(), SettleError>) -> Result<(), SqsError> {
        let handle = entry.receipt_handle.as_deref().unwrap_or("");
        match result {
            Ok(()) => Ok(()),
            Err(SettleError::Settled) => Err(SqsError::invalid_value(
                handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            )),
            Err(SettleError::Expired | SettleError::Lost) => Err(SqsError::new(
                ErrorCode::MessageNotInflight,
                "The message referred to isn't in flight: its visibility timeout has ended.",
            )),
            Err(SettleError::Unknown) => Err(SqsError::no_such_handle(handle)),
            Err(SettleError::TooLong { ms_max }) => Err(SqsError::invalid_value(
                entry.visibility_timeout.unwrap_or_default(),
                "VisibilityTimeout",
                &format!(
                    "Total VisibilityTimeout for the message is beyond the limit [{} seconds]",
                    ms_max / 1000
                ),
            )),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) async fn single(call: &Call<'_>) -> Answer {
    settlement::single::<ChangeVisibility>(call).await
}

pub(super) async fn batch(call: &Call<'_>) -> Answer {
    settlement::batch::<ChangeVisibility>(call).await
}
