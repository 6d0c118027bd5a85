//! What goes wrong, as AMQP says it: a reply code, a text, the method to blame. The code decides whether a channel is closed
//! or the connection. Source: AMQP 0-9-1, 1.2; texts as RabbitMQ words them.

use std::fmt::Display;

use duolog_broker::errors::{AppendError, ChangeError, LeaseError, SettleError, Stopped};

use crate::codec::{MethodId, ReplyCode};

/// An error that closes a channel or the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", .code.name())]
pub(crate) struct AmqpError {
    pub(crate) code: ReplyCode,
    pub(crate) text: String,
    /// The method that is to blame, if it is not the one at hand.
    pub(crate) method: Option<MethodId>,
}

impl AmqpError {
    pub(crate) fn new(code: ReplyCode, text: impl Display) -> Self {
        Self { code, text: text.to_string(), method: None }
    }

    pub(crate) fn not_found(text: impl Display) -> Self {
        Self::new(ReplyCode::NotFound, text)
    }

    pub(crate) fn refused(text: impl Display) -> Self {
        Self::new(ReplyCode::AccessRefused, text)
    }

    pub(crate) fn precondition(text: impl Display) -> Self {
        Self::new(ReplyCode::PreconditionFailed, text)
    }

    pub(crate) fn not_implemented(text: impl Display) -> Self {
        Self::new(ReplyCode::NotImplemented, text)
    }

    /// Of what RabbitMQ could do and this broker cannot: only the channel is lost.
    pub(crate) fn unsupported(text: impl Display) -> Self {
        Self::new(ReplyCode::PreconditionFailed, format_args!("{text}: not supported by this broker"))
    }
}

impl From<Stopped> for AmqpError {
    fn from(stopped: Stopped) -> Self {
        Self::new(ReplyCode::ConnectionForced, stopped)
    }
}

impl From<ChangeError> for AmqpError {
    fn from(error: ChangeError) -> Self {
        let code = match &error {
            ChangeError::Stopped(stopped) => return stopped.clone().into(),
            ChangeError::NotFound(_) => ReplyCode::NotFound,
            ChangeError::Denied => ReplyCode::AccessRefused,
            ChangeError::Exists(_) | ChangeError::InUse(_) | ChangeError::Invalid { .. } => {
                ReplyCode::PreconditionFailed
            }
            ChangeError::OverLimit(_) | ChangeError::DiskFull => ReplyCode::ResourceError,
        };
        Self::new(code, error)
    }
}

impl From<LeaseError> for AmqpError {
    fn from(error: LeaseError) -> Self {
        let code = match &error {
            LeaseError::Stopped(stopped) => return stopped.clone().into(),
            LeaseError::NotFound => ReplyCode::NotFound,
            LeaseError::Denied => ReplyCode::AccessRefused,
            LeaseError::OverLimit { .. } | LeaseError::Overloaded => ReplyCode::ResourceError,
            LeaseError::Storage(_) => ReplyCode::InternalError,
        };
        Self::new(code, error)
    }
}

impl From<SettleError> for AmqpError {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Stopped(stopped) => stopped.into(),
            SettleError::Denied => Self::refused(error),
            error => Self::new(ReplyCode::InternalError, error),
        }
    }
}

impl From<AppendError> for AmqpError {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::Stopped(stopped) => return stopped.clone().into(),
            AppendError::NotFound => ReplyCode::NotFound,
            AppendError::Denied => ReplyCode::AccessRefused,
            AppendError::DiskFull
            | AppendError::Overloaded
            | AppendError::DedupFull
            | AppendError::CursorMoved
            | AppendError::QueueFull(_) => ReplyCode::ResourceError,
            AppendError::TooLarge { .. }
            | AppendError::Malformed(_)
            | AppendError::OutOfOrder { .. }
            | AppendError::StaleEpoch { .. }
            | AppendError::TransactionsUnsupported
            | AppendError::Quarantined(_) => ReplyCode::PreconditionFailed,
        };
        Self::new(code, error)
    }
}
