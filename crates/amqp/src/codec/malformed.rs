//! [`Malformed`]: why bytes are not what they should be.

use super::ReplyCode;

/// Why the arguments of a method, a table or properties cannot be decoded. Always an error of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its last field does.
    #[error("cut short")]
    CutShort,
    /// Bytes are left behind its last field.
    #[error("{0} bytes too long")]
    TooLong(usize),
    /// A short string of a method without content is not UTF-8.
    #[error("malformed UTF-8 in a short string")]
    Utf8,
    /// No field value has this type.
    #[error("field value of the unknown type {0}")]
    ValueType(u8),
    /// Tables and arrays are nested deeper than [`crate::limits::TABLE_DEPTH`].
    #[error("tables nested too deep")]
    Depth,
    /// The property flags go on in a second word, for which there is no property.
    #[error("property flags beyond the fourteen properties")]
    PropertyFlags,
}

impl Malformed {
    /// What the connection is closed with.
    #[must_use]
    pub fn reply_code(self) -> ReplyCode {
        match self {
            // Source: RabbitMQ `rabbit_binary_parser:assert_utf8`.
            Self::Utf8 => ReplyCode::FrameError,
            Self::CutShort | Self::TooLong(_) | Self::ValueType(_) | Self::Depth | Self::PropertyFlags => {
                ReplyCode::SyntaxError
            }
        }
    }
}
