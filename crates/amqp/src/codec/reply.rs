//! [`ReplyCode`]: the numbers by which connections and channels are closed and messages returned.
//!
//! Source: AMQP 0-9-1, 1.2 (constants); names as RabbitMQ writes them at the front of a reply text.

use super::ShortString;
use super::strings::boundary;
use crate::limits::SHORT_STRING_BYTES;

macro_rules! reply_codes {
    ($($(#[$attr:meta])* $variant:ident = $number:literal, $name:literal, $closes:literal;)*) => {
        /// A reply code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ReplyCode {
            $($(#[$attr])* $variant = $number,)*
        }

        impl ReplyCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The code of a number.
            #[must_use]
            pub fn of(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }

            /// Its name in reply texts, such as `NOT_FOUND`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether it closes the whole connection (a "hard error") and not one channel alone.
            #[must_use]
            pub const fn closes_connection(self) -> bool {
                match self {
                    $(Self::$variant => $closes,)*
                }
            }
        }
    };
}

reply_codes! {
    /// All is well.
    Success = 200, "SUCCESS", false;
    /// A message is larger than it may be.
    ContentTooLarge = 311, "CONTENT_TOO_LARGE", false;
    /// A mandatory message has no queue to go to.
    NoRoute = 312, "NO_ROUTE", false;
    /// An immediate message has no consumer.
    NoConsumers = 313, "NO_CONSUMERS", false;
    /// The operator wants the connection closed.
    ConnectionForced = 320, "CONNECTION_FORCED", true;
    /// No such virtual host.
    InvalidPath = 402, "INVALID_PATH", true;
    /// Not permitted.
    AccessRefused = 403, "ACCESS_REFUSED", false;
    /// No such queue, exchange or the like.
    NotFound = 404, "NOT_FOUND", false;
    /// Somebody else has it for themselves.
    ResourceLocked = 405, "RESOURCE_LOCKED", false;
    /// It is not as the client says it is.
    PreconditionFailed = 406, "PRECONDITION_FAILED", false;
    /// A frame that cannot be decoded.
    FrameError = 501, "FRAME_ERROR", true;
    /// A field with a value that it cannot have.
    SyntaxError = 502, "SYNTAX_ERROR", true;
    /// A method that may not come here.
    CommandInvalid = 503, "COMMAND_INVALID", true;
    /// A channel that is not open, or is already.
    ChannelError = 504, "CHANNEL_ERROR", true;
    /// A frame of a kind that may not come here.
    UnexpectedFrame = 505, "UNEXPECTED_FRAME", true;
    /// The server has no room.
    ResourceError = 506, "RESOURCE_ERROR", true;
    /// Not allowed whoever asks.
    NotAllowed = 530, "NOT_ALLOWED", true;
    /// There is no such method.
    NotImplemented = 540, "NOT_IMPLEMENTED", true;
    /// The server has failed.
    InternalError = 541, "INTERNAL_ERROR", true;
}

impl ReplyCode {
    /// The reply text: the name, a dash and why, with an ellipsis where that is longer than a short string.
    ///
    /// Source: RabbitMQ `rabbit_binary_generator:amqp_exception_explanation`.
    #[must_use]
    pub fn text(self, why: impl std::fmt::Display) -> ShortString {
        const ELLIPSIS: &str = "...";
        let mut text = format!("{} - {why}", self.name());
        if text.len() > SHORT_STRING_BYTES {
            text.truncate(boundary(&text, SHORT_STRING_BYTES - ELLIPSIS.len()));
            text.push_str(ELLIPSIS);
        }
        ShortString::cut(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::ReplyCode;

    #[test]
    fn a_code_has_a_number_a_name_and_a_reach() {
        assert_eq!(ReplyCode::NotFound.number(), 404);
        assert_eq!(ReplyCode::NotFound.name(), "NOT_FOUND");
        assert!(!ReplyCode::NotFound.closes_connection());
        assert!(ReplyCode::ConnectionForced.closes_connection());
        assert!(ReplyCode::ALL.iter().all(|code| ReplyCode::of(code.number()) == Some(*code)));
        assert!(ReplyCode::ALL.is_sorted_by_key(|code| code.number()));
        assert_eq!(ReplyCode::of(0), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(ReplyCode::NotFound.text("no queue 'q'").as_str(), Some("NOT_FOUND - no queue 'q'"));
        let long = ReplyCode::NotFound.text("ä".repeat(200));
        let long = long.as_str().expect("text");
        assert!(long.len() >= 253 && long.len() <= 255 && long.ends_with("ä..."), "{long}");
    }
}
