//! Why something was refused, for apis whose answers have room for words.

use crate::ErrorCode;

/// A code and what a human should read.
pub(super) type Refused = (ErrorCode, String);

pub(super) fn refused<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refused> {
    Err((code, message.into()))
}
