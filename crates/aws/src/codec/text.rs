//! A JSON string that borrows from the request where it needs no unescaping, so that a message's body is not copied.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A string of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its bytes; a slice of `request` if it was borrowed from there.
    #[must_use]
    pub fn to_bytes(&self, request: &Bytes) -> Bytes {
        match &self.0 {
            Cow::Borrowed(text) if is_within(text.as_bytes(), request) => request.slice_ref(text.as_bytes()),
            Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Cow::Owned(text) => Bytes::copy_from_slice(text.as_bytes()),
        }
    }
}

/// True if `part` is a piece of `whole`'s memory: `slice_ref` panics otherwise. Compares addresses only.
fn is_within(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().start <= part.as_ptr_range().start
        && part.as_ptr_range().end <= whole.as_ptr_range().end
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_plain_string_borrows_and_an_escaped_one_does_not() {
        let request = Bytes::from_static(br#"["plain","a\nb"]"#);
        let texts: Vec<Text<'_>> = serde_json::from_slice(&request).unwrap();
        let plain = texts[0].to_bytes(&request);
        assert_eq!((&plain[..], plain.as_ptr()), (&b"plain"[..], request[2..].as_ptr()));
        assert_eq!(&texts[1].to_bytes(&request)[..], b"a\nb");
        assert!(matches!(texts[1].0, Cow::Owned(_)));
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        assert!(serde_json::from_slice::<Text<'_>>(br#""\ud800""#).is_err());
        assert!(serde_json::from_slice::<Text<'_>>(b"\"\xff\"").is_err());
    }
}
