//! Strings: short ones have their length in one octet, long ones in four. Both are bytes; names are text by agreement.
//!
//! Source: AMQP 0-9-1, 4.2.5.3.

use std::fmt;

use super::Malformed;
use super::wire::{Field, Reader, Writer};
use crate::limits::SHORT_STRING_BYTES;

/// A short string: never longer than 255 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortStr<'a>(&'a [u8]);

impl<'a> ShortStr<'a> {
    /// The empty one.
    pub const EMPTY: ShortStr<'static> = ShortStr(&[]);

    /// These bytes, if they are not more than 255.
    #[must_use]
    pub fn new<B: AsRef<[u8]> + ?Sized>(bytes: &'a B) -> Option<Self> {
        let bytes = bytes.as_ref();
        (bytes.len() <= SHORT_STRING_BYTES).then_some(Self(bytes))
    }

    /// As much of the text as fits, cut between characters.
    #[must_use]
    pub fn cut(text: &'a str) -> Self {
        Self(&text.as_bytes()[..boundary(text, SHORT_STRING_BYTES)])
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its text, if it is UTF-8: always so in decoded methods without content.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_owned(self) -> ShortString {
        ShortString(self.0.into())
    }
}

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

impl PartialEq<&str> for ShortStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl<'a> Field<'a> for ShortStr<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let length = usize::from(u8::read(from)?);
        let bytes = from.take(length)?;
        if from.checks_text() && std::str::from_utf8(bytes).is_err() {
            return Err(Malformed::Utf8);
        }
        Ok(Self(bytes))
    }

    fn write(&self, to: &mut Writer<'_>) {
        // Fits: see `SHORT_STRING_BYTES`.
        to.bytes(&[self.0.len() as u8]);
        to.bytes(self.0);
    }
}

/// The largest end of a character that is at most `most`.
pub(super) fn boundary(text: &str, most: usize) -> usize {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// A short string of its own.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortString(Box<[u8]>);

impl ShortString {
    /// These bytes, if they are not more than 255.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= SHORT_STRING_BYTES).then_some(Self(bytes))
    }

    /// As much of the text as fits, cut between characters.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        ShortStr::cut(text).to_owned()
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_short(&self) -> ShortStr<'_> {
        ShortStr(&self.0)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_short().as_str()
    }
}

impl fmt::Debug for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_short().fmt(f)
    }
}

/// A long string. It may be a password, so that it shows its length alone.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LongStr<'a>(pub &'a [u8]);

impl fmt::Debug for LongStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LongStr({} bytes)", self.0.len())
    }
}

impl<'a> Field<'a> for LongStr<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.long_bytes().map(Self)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.long_bytes(self.0);
    }
}
