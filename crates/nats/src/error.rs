//! What a client is told when something is wrong, and whether that ends the connection.
//!
//! Invariant: the texts are the peer's, because clients compare them. Some errors have none: the peer closes without a word,
//! so that a client connects again instead of giving up, which many do at any text.
//! Source: nats-server, `server/errors.go` names and what is seen on the wire of 2.9.

use duolog_broker::live::{PublishError, SubscribeError};

use crate::codec::ParseError;

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClientError {
    UnknownProtocolOperation,
    ControlLine,
    MaximumPayload,
    /// Arguments or JSON that cannot be read, headers from a client without headers.
    Unreadable,
    InvalidClientProtocol,
    NoRespondersNeedsHeaders,
    AuthorizationViolation,
    MaximumConnections,
    MaximumSubscriptions,
    InvalidSubject,
    InvalidPublishSubject,
    InvalidHeaders,
    PublishDenied(Vec<u8>),
    SubscribeDenied(Vec<u8>),
    SlowConsumer,
    StaleConnection,
}

impl ClientError {
    fn text(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownProtocolOperation => "Unknown Protocol Operation",
            Self::ControlLine => "maximum control line exceeded",
            Self::MaximumPayload => "Maximum Payload Violation",
            Self::Unreadable => return None,
            Self::InvalidClientProtocol => "invalid client protocol",
            Self::NoRespondersNeedsHeaders => "no responders requires headers support",
            Self::AuthorizationViolation => "Authorization Violation",
            Self::MaximumConnections => "maximum connections exceeded",
            Self::MaximumSubscriptions => "maximum subscriptions exceeded",
            Self::InvalidSubject => "Invalid Subject",
            Self::InvalidPublishSubject => "Invalid Publish Subject",
            Self::InvalidHeaders => "Invalid Headers",
            Self::PublishDenied(_) => "Permissions Violation for Publish to ",
            Self::SubscribeDenied(_) => "Permissions Violation for Subscription to ",
            Self::SlowConsumer => "Slow Consumer",
            Self::StaleConnection => "Stale Connection",
        })
    }

    /// Whether the connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::UnknownProtocolOperation
            | Self::ControlLine
            | Self::MaximumPayload
            | Self::Unreadable
            | Self::InvalidClientProtocol
            | Self::NoRespondersNeedsHeaders
            | Self::AuthorizationViolation
            | Self::MaximumConnections
            | Self::SlowConsumer
            | Self::StaleConnection => true,
            Self::MaximumSubscriptions
            | Self::InvalidSubject
            | Self::InvalidPublishSubject
            | Self::InvalidHeaders
            | Self::PublishDenied(_)
            | Self::SubscribeDenied(_) => false,
        }
    }

    /// The line that says so; empty if nothing does.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let Some(text) = self.text() else { return Vec::new() };
        let mut line = [b"-ERR '", text.as_bytes()].concat();
        if let Self::PublishDenied(subject) | Self::SubscribeDenied(subject) = self {
            line.push(b'"');
            line.extend_from_slice(subject);
            line.push(b'"');
        }
        line.extend_from_slice(b"'\r\n");
        line
    }
}

impl From<ParseError> for ClientError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::UnknownOperation => Self::UnknownProtocolOperation,
            ParseError::ControlLine => Self::ControlLine,
            ParseError::Payload => Self::MaximumPayload,
            ParseError::Arguments => Self::Unreadable,
        }
    }
}

impl ClientError {
    /// Why a message was not published.
    #[must_use]
    pub fn of_publish(error: PublishError, subject: &[u8]) -> Self {
        match error {
            PublishError::Denied => Self::PublishDenied(subject.to_vec()),
            PublishError::TooLong => Self::InvalidPublishSubject,
        }
    }

    /// Why there is no subscription.
    #[must_use]
    pub fn of_subscribe(error: SubscribeError, subject: &[u8]) -> Self {
        match error {
            SubscribeError::Denied => Self::SubscribeDenied(subject.to_vec()),
            SubscribeError::OverLimit => Self::MaximumSubscriptions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClientError;

    #[test]
    fn lines_are_the_peers() {
        assert_eq!(ClientError::InvalidSubject.line(), b"-ERR 'Invalid Subject'\r\n");
        assert_eq!(ClientError::Unreadable.line(), b"");
        let denied = ClientError::PublishDenied(b"a.b".to_vec());
        assert_eq!(denied.line(), b"-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n");
    }
}
