//! What a client is told when something fails: SNS's codes, and the broker's errors as such codes.
//!
//! Invariant: each of the broker's error enums is matched without a wildcard. Source: SNS API Reference, the errors of each action; the
//! statuses are those of the service's model.

use std::borrow::Cow;

use duolog_broker::errors::{AppendError, ChangeError};

use crate::error::{ErrorCode, SqsError};

/// An error's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnsCode {
    AuthorizationError,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    FilterPolicyLimitExceeded,
    InternalError,
    InvalidAction,
    InvalidBatchEntryId,
    InvalidParameter,
    InvalidState,
    MalformedQueryString,
    MissingAction,
    NoSuchVersion,
    NotFound,
    ParameterValueInvalid,
    RequestTimeout,
    RequestTooLarge,
    ResourceNotFound,
    ServiceUnavailable,
    SubscriptionLimitExceeded,
    TagLimitExceeded,
    Throttled,
    TooManyEntriesInBatchRequest,
    TopicLimitExceeded,
}

impl SnsCode {
    /// As it is written, and the HTTP status.
    pub fn parts(self) -> (&'static str, u16) {
        match self {
            Self::AuthorizationError => ("AuthorizationError", 403),
            Self::BatchEntryIdsNotDistinct => ("BatchEntryIdsNotDistinct", 400),
            Self::BatchRequestTooLong => ("BatchRequestTooLong", 400),
            Self::EmptyBatchRequest => ("EmptyBatchRequest", 400),
            Self::FilterPolicyLimitExceeded => ("FilterPolicyLimitExceeded", 403),
            Self::InternalError => ("InternalError", 500),
            Self::InvalidAction => ("InvalidAction", 400),
            Self::InvalidBatchEntryId => ("InvalidBatchEntryId", 400),
            Self::InvalidParameter => ("InvalidParameter", 400),
            Self::InvalidState => ("InvalidState", 400),
            Self::MalformedQueryString => ("MalformedQueryString", 400),
            Self::MissingAction => ("MissingAction", 400),
            Self::NoSuchVersion => ("NoSuchVersion", 400),
            Self::NotFound => ("NotFound", 404),
            Self::ParameterValueInvalid => ("ParameterValueInvalid", 400),
            Self::RequestTimeout => ("RequestTimeout", 408),
            Self::RequestTooLarge => ("RequestTooLarge", 413),
            Self::ResourceNotFound => ("ResourceNotFound", 404),
            Self::ServiceUnavailable => ("ServiceUnavailable", 503),
            Self::SubscriptionLimitExceeded => ("SubscriptionLimitExceeded", 403),
            Self::TagLimitExceeded => ("TagLimitExceeded", 400),
            Self::Throttled => ("Throttled", 429),
            Self::TooManyEntriesInBatchRequest => ("TooManyEntriesInBatchRequest", 400),
            Self::TopicLimitExceeded => ("TopicLimitExceeded", 403),
        }
    }

    /// True if the request is to blame.
    pub fn is_senders(self) -> bool {
        self.parts().1 < 500
    }
}

/// A failed action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnsError {
    /// Its code.
    pub code: SnsCode,
    /// What was wrong.
    pub message: Cow<'static, str>,
}

impl SnsError {
    pub fn new(code: SnsCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SnsCode::InvalidParameter, message)
    }

    /// As the service words it for a parameter that is wrong.
    pub fn invalid_because(parameter: &str, reason: impl std::fmt::Display) -> Self {
        Self::invalid(format!("Invalid parameter: {parameter} Reason: {reason}"))
    }

    pub fn missing(parameter: &str) -> Self {
        Self::invalid_because(parameter, "no value for required parameter")
    }

    pub fn no_topic() -> Self {
        Self::new(SnsCode::NotFound, "Topic does not exist")
    }

    pub fn no_subscription() -> Self {
        Self::new(SnsCode::NotFound, "Subscription does not exist")
    }
}

/// What fails before the action is known is said in the words of the port.
impl From<SqsError> for SnsError {
    fn from(error: SqsError) -> Self {
        let code = match error.code {
            ErrorCode::AccessDenied => SnsCode::AuthorizationError,
            ErrorCode::MalformedQueryString | ErrorCode::Serialization => SnsCode::MalformedQueryString,
            ErrorCode::MissingAction => SnsCode::MissingAction,
            ErrorCode::NoSuchVersion => SnsCode::NoSuchVersion,
            ErrorCode::RequestThrottled => SnsCode::Throttled,
            ErrorCode::RequestTimeout => SnsCode::RequestTimeout,
            ErrorCode::RequestTooLarge => SnsCode::RequestTooLarge,
            ErrorCode::ServiceUnavailable => SnsCode::ServiceUnavailable,
            _ if error.code.is_senders() => SnsCode::InvalidParameter,
            _ => SnsCode::InternalError,
        };
        Self::new(code, error.message)
    }
}

fn later(error: &impl ToString) -> SnsError {
    SnsError::new(SnsCode::ServiceUnavailable, format!("{}; try again later.", error.to_string()))
}

fn denied(error: &impl ToString) -> SnsError {
    let message = format!("Access to the resource is denied: {}.", error.to_string());
    SnsError::new(SnsCode::AuthorizationError, message)
}

impl From<AppendError> for SnsError {
    fn from(error: AppendError) -> Self {
        match &error {
            AppendError::NotFound => Self::no_topic(),
            AppendError::Denied => denied(&error),
            AppendError::TooLarge { bytes_max, .. } => Self::invalid_because(
                "Message",
                format_args!("A subscriber takes messages of at most {bytes_max} bytes."),
            ),
            AppendError::Malformed(why) => Self::invalid_because("Message", why),
            AppendError::OutOfOrder { .. }
            | AppendError::StaleEpoch { .. }
            | AppendError::TransactionsUnsupported => Self::new(SnsCode::InternalError, error.to_string()),
            AppendError::Quarantined(_) | AppendError::DiskFull | AppendError::Stopped(_) => later(&error),
            AppendError::DedupFull | AppendError::QueueFull(_) | AppendError::CursorMoved => {
                Self::new(SnsCode::Throttled, error.to_string())
            }
            AppendError::Overloaded => {
                Self::new(SnsCode::Throttled, "Too many publishes are waiting; slow down.")
            }
        }
    }
}

/// A change whose limits are those of topics. Subscriptions have words of their own.
impl From<ChangeError> for SnsError {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Exists(name) => {
                Self::invalid_because("Topic Name", format_args!("{name} exists already"))
            }
            ChangeError::NotFound(_) => Self::no_topic(),
            ChangeError::Denied => denied(&error),
            ChangeError::Invalid { .. } | ChangeError::InUse(_) => {
                Self::invalid(format!("Invalid parameter: {error}"))
            }
            ChangeError::OverLimit(_) => Self::new(SnsCode::TopicLimitExceeded, error.to_string()),
            ChangeError::DiskFull | ChangeError::Stopped(_) => later(&error),
        }
    }
}
