//! Bytes of the broker in JSON: as text, or as base64 with a mark beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::error::ApiError;

/// The text, and whether it is base64.
pub fn as_text(bytes: &[u8]) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (to_base64(bytes), true),
    }
}

/// Base64 of any bytes.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The inverse; `what` is the field that it stands in.
pub fn to_bytes(what: &str, text: String, is_base64: bool) -> Result<Bytes, ApiError> {
    if !is_base64 {
        return Ok(text.into());
    }
    let decoded = STANDARD.decode(text);
    decoded
        .map(Bytes::from)
        .map_err(|_| ApiError::invalid(format!("{what}: it is marked as base64, and is not")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{as_text, to_bytes};

    #[test]
    fn any_bytes_come_back() {
        for bytes in [&b""[..], b"order.1", "ü".as_bytes(), b"\xff\0", b"\xc3"] {
            let (text, is_base64) = as_text(bytes);
            assert_eq!(to_bytes("key", text, is_base64).unwrap(), bytes);
        }
        assert!(to_bytes("key", "?".to_owned(), true).is_err());
    }
}
