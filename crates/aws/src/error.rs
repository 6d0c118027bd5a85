//! What a client is told when something fails: SQS's error shapes, and the broker's errors as such shapes.
//!
//! Invariant: each of the broker's error enums is matched without a wildcard, so that a new error asks for its shape.
//! Adding one: a row in `parts`. Source: SQS API reference, "Common errors" and each action's errors; the statuses are
//! those of the service's model.

use std::borrow::Cow;

use duolog_broker::errors::{AppendError, ChangeError, LeaseError, SettleError};

/// An error's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ErrorCode {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalFailure,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedQueryString,
    MessageNotInflight,
    MissingAction,
    MissingParameter,
    NoSuchVersion,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    RequestThrottled,
    RequestTimeout,
    RequestTooLarge,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

/// How a shape is written: the namespace and name of `__type`, the code of the Query protocol, the HTTP status.
struct Parts(&'static str, &'static str, u16);

const SQS: &str = "com.amazonaws.sqs#";
const CORAL: &str = "com.amazon.coral.service#";

impl ErrorCode {
    // A plain table, one row a shape: longer than a function should be, and no easier to read in pieces.
    fn parts(self) -> (&'static str, Parts) {
        match self {
            Self::AccessDenied => (CORAL, Parts("AccessDeniedException", "AccessDenied", 403)),
            Self::BatchEntryIdsNotDistinct => (
                SQS,
                Parts("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400),
            ),
            Self::BatchRequestTooLong => {
                (SQS, Parts("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400))
            }
            Self::EmptyBatchRequest => {
                (SQS, Parts("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400))
            }
            Self::InternalFailure => (CORAL, Parts("InternalFailure", "InternalFailure", 500)),
            Self::InvalidAddress => (SQS, Parts("InvalidAddress", "InvalidAddress", 404)),
            Self::InvalidAttributeName => (SQS, Parts("InvalidAttributeName", "InvalidAttributeName", 400)),
            Self::InvalidAttributeValue => {
                (SQS, Parts("InvalidAttributeValue", "InvalidAttributeValue", 400))
            }
            Self::InvalidBatchEntryId => {
                (SQS, Parts("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400))
            }
            Self::InvalidMessageContents => {
                (SQS, Parts("InvalidMessageContents", "InvalidMessageContents", 400))
            }
            Self::InvalidParameterValue => {
                (CORAL, Parts("InvalidParameterValueException", "InvalidParameterValue", 400))
            }
            Self::MalformedQueryString => {
                (CORAL, Parts("MalformedQueryStringException", "MalformedQueryString", 400))
            }
            Self::MessageNotInflight => {
                (SQS, Parts("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400))
            }
            Self::MissingAction => (CORAL, Parts("MissingActionException", "MissingAction", 400)),
            Self::MissingParameter => {
                (CORAL, Parts("MissingRequiredParameterException", "MissingParameter", 400))
            }
            Self::NoSuchVersion => (CORAL, Parts("NoSuchVersionException", "NoSuchVersion", 400)),
            Self::OverLimit => (SQS, Parts("OverLimit", "OverLimit", 403)),
            Self::QueueDoesNotExist => {
                (SQS, Parts("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400))
            }
            Self::QueueNameExists => (SQS, Parts("QueueNameExists", "QueueAlreadyExists", 400)),
            Self::ReceiptHandleIsInvalid => {
                (SQS, Parts("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404))
            }
            Self::RequestThrottled => (SQS, Parts("RequestThrottled", "RequestThrottled", 403)),
            Self::RequestTimeout => (CORAL, Parts("RequestTimeoutException", "RequestTimeout", 408)),
            Self::RequestTooLarge => (CORAL, Parts("RequestTooLargeException", "RequestTooLarge", 413)),
            Self::ResourceNotFound => {
                (SQS, Parts("ResourceNotFoundException", "ResourceNotFoundException", 404))
            }
            Self::Serialization => (CORAL, Parts("SerializationException", "MalformedInput", 400)),
            Self::ServiceUnavailable => {
                (CORAL, Parts("ServiceUnavailableException", "ServiceUnavailable", 503))
            }
            Self::TooManyEntriesInBatchRequest => (
                SQS,
                Parts(
                    "TooManyEntriesInBatchRequest",
                    "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                    400,
                ),
            ),
            Self::UnknownOperation => (CORAL, Parts("UnknownOperationException", "InvalidAction", 400)),
            Self::UnsupportedOperation => {
                (SQS, Parts("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400))
            }
        }
    }

    /// The `__type` of the JSON body, namespace included.
    #[must_use]
    pub fn shape(self) -> String {
        let (namespace, Parts(name, ..)) = self.parts();
        format!("{namespace}{name}")
    }

    /// The code of the Query protocol, which SDKs show to their users.
    #[must_use]
    pub fn query_code(self) -> &'static str {
        self.parts().1.1
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.parts().1.2
    }

    /// True if the request is to blame.
    #[must_use]
    pub fn is_senders(self) -> bool {
        self.status() < 500
    }
}

/// A failed action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.query_code())]
pub struct SqsError {
    /// Its shape.
    pub code: ErrorCode,
    /// What was wrong and what to do.
    pub message: Cow<'static, str>,
}

impl SqsError {
    /// An error.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter has a value that it may not have.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    /// As the service words it for a parameter out of range.
    pub fn invalid_value(value: impl std::fmt::Display, parameter: &str, reason: &str) -> Self {
        Self::invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    }

    /// A required parameter is not there.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self::new(ErrorCode::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// The queue is not there.
    #[must_use]
    pub fn no_such_queue() -> Self {
        Self::new(ErrorCode::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// The handle was never ours.
    #[must_use]
    pub fn no_such_handle(handle: &str) -> Self {
        let shown: String = handle.chars().take(128).collect();
        let message = format!("The input receipt handle \"{shown}\" is not a valid receipt handle.");
        Self::new(ErrorCode::ReceiptHandleIsInvalid, message)
    }
}

fn denied(error: &impl ToString) -> SqsError {
    SqsError::new(
        ErrorCode::AccessDenied,
        format!("Access to the resource is denied: {}.", error.to_string()),
    )
}

fn unavailable(error: &impl ToString) -> SqsError {
    SqsError::new(ErrorCode::ServiceUnavailable, format!("{}; try again later.", error.to_string()))
}

impl From<AppendError> for SqsError {
    fn from(error: AppendError) -> Self {
        match &error {
            AppendError::NotFound => Self::no_such_queue(),
            AppendError::Denied => denied(&error),
            AppendError::TooLarge { bytes_max, .. } => Self::invalid(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
            )),
            // Only what a client sealed itself can be any of these.
            AppendError::Malformed(_)
            | AppendError::OutOfOrder { .. }
            | AppendError::StaleEpoch { .. }
            | AppendError::TransactionsUnsupported => {
                Self::new(ErrorCode::InternalFailure, error.to_string())
            }
            AppendError::Quarantined(_) | AppendError::DiskFull | AppendError::Stopped(_) => {
                unavailable(&error)
            }
            AppendError::DedupFull | AppendError::QueueFull(_) | AppendError::CursorMoved => {
                Self::new(ErrorCode::RequestThrottled, error.to_string())
            }
            AppendError::Overloaded => {
                Self::new(ErrorCode::RequestThrottled, "Too many sends are waiting; slow down.")
            }
        }
    }
}

impl From<LeaseError> for SqsError {
    fn from(error: LeaseError) -> Self {
        match &error {
            LeaseError::NotFound => Self::no_such_queue(),
            LeaseError::Denied => denied(&error),
            LeaseError::OverLimit { in_flight } => Self::new(
                ErrorCode::OverLimit,
                format!(
                    "{in_flight} messages are in flight, the most this queue allows; delete messages or let \
                     their visibility timeout end."
                ),
            ),
            LeaseError::Overloaded => {
                Self::new(ErrorCode::RequestThrottled, "Too many receives wait on this queue; slow down.")
            }
            LeaseError::Storage(_) => Self::new(ErrorCode::InternalFailure, error.to_string()),
            LeaseError::Stopped(_) => unavailable(&error),
        }
    }
}

impl From<ChangeError> for SqsError {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Exists(name) => {
                Self::new(ErrorCode::QueueNameExists, format!("A queue named {name} already exists."))
            }
            ChangeError::NotFound(_) => Self::no_such_queue(),
            ChangeError::Denied => denied(&error),
            ChangeError::Invalid { .. } | ChangeError::InUse(_) => Self::invalid(error.to_string()),
            ChangeError::OverLimit(_) => Self::new(ErrorCode::OverLimit, error.to_string()),
            ChangeError::DiskFull | ChangeError::Stopped(_) => unavailable(&error),
        }
    }
}

/// A settlement as a whole that failed; a single lease's result is its action's to word.
impl From<SettleError> for SqsError {
    fn from(error: SettleError) -> Self {
        match &error {
            SettleError::NotFound => Self::no_such_queue(),
            SettleError::Denied => denied(&error),
            SettleError::Settled | SettleError::Expired => {
                Self::new(ErrorCode::MessageNotInflight, "The specified message isn't in flight.")
            }
            SettleError::Unknown | SettleError::Lost => {
                Self::new(ErrorCode::ReceiptHandleIsInvalid, error.to_string())
            }
            SettleError::TooLong { ms_max } => Self::invalid(format!(
                "Total VisibilityTimeout for the message is beyond the limit [{} seconds]",
                ms_max / 1000
            )),
            SettleError::DiskFull | SettleError::Stopped(_) => unavailable(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_query_codes_are_those_of_the_service() {
        let error = SqsError::no_such_queue();
        assert_eq!(error.code.shape(), "com.amazonaws.sqs#QueueDoesNotExist");
        assert_eq!(error.code.query_code(), "AWS.SimpleQueueService.NonExistentQueue");
        assert_eq!((error.code.status(), error.code.is_senders()), (400, true));
        assert!(!ErrorCode::ServiceUnavailable.is_senders());
    }
}
