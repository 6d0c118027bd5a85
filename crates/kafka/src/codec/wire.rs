//! How each type of field stands on the wire.

use bytes::Bytes;

use super::{DecodeError, Decoder, Encoder};
use crate::limits;

/// A value that a message can hold.
pub trait Wire: Sized {
    /// Writes it.
    fn encode(&self, to: &mut Encoder);

    /// Writes it at a version that knows no null here: null becomes empty.
    fn encode_present(&self, to: &mut Encoder) {
        self.encode(to);
    }

    /// Reads it.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(from: &mut Decoder) -> Result<Self, DecodeError>;
}

macro_rules! integers {
    ($($kind:ty)*) => {$(
        impl Wire for $kind {
            fn encode(&self, to: &mut Encoder) {
                to.put(&self.to_be_bytes());
            }
            fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
                from.array().map(Self::from_be_bytes)
            }
        }
    )*};
}

// A `u128` is a UUID: sixteen bytes, big end first.
integers! { i8 i16 i32 i64 u128 }

impl Wire for f64 {
    fn encode(&self, to: &mut Encoder) {
        to.put(&self.to_be_bytes());
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        from.array().map(Self::from_be_bytes)
    }
}

/// A structure that may be null: a byte that says so stands before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nullable<T>(pub Option<T>);

impl<T> Default for Nullable<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Wire> Wire for Nullable<T> {
    fn encode(&self, to: &mut Encoder) {
        match &self.0 {
            Some(value) => {
                to.put(&1_i8.to_be_bytes());
                value.encode(to);
            }
            None => to.put(&(-1_i8).to_be_bytes()),
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        match i8::decode(from)? {
            ..0 => Ok(Self(None)),
            _ => T::decode(from).map(|value| Self(Some(value))),
        }
    }
}

impl Wire for bool {
    fn encode(&self, to: &mut Encoder) {
        to.put(&[u8::from(*self)]);
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        from.array::<1>().map(|[byte]| byte != 0)
    }
}

impl Wire for String {
    fn encode(&self, to: &mut Encoder) {
        // Longer ones cannot be stated; what we were sent is never longer.
        let mut end = self.len().min(limits::STRING_BYTES);
        while !self.is_char_boundary(end) {
            end -= 1;
        }
        let text = &self[..end];
        to.put_short_length(Some(text.len()));
        to.put(text.as_bytes());
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Option::decode(from)?.ok_or(DecodeError::Null)
    }
}

impl Wire for Option<String> {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Some(text) => text.encode(to),
            None => to.put_short_length(None),
        }
    }

    fn encode_present(&self, to: &mut Encoder) {
        match self {
            Some(text) => text.encode(to),
            None => to.put_short_length(Some(0)),
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        from.short_length()?.map(|length| from.string(length)).transpose()
    }
}

impl Wire for Bytes {
    fn encode(&self, to: &mut Encoder) {
        to.put_long_length(Some(self.len()));
        to.put_shared(self);
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Option::decode(from)?.ok_or(DecodeError::Null)
    }
}

impl Wire for Option<Bytes> {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Some(bytes) => bytes.encode(to),
            None => to.put_long_length(None),
        }
    }

    fn encode_present(&self, to: &mut Encoder) {
        match self {
            Some(bytes) => bytes.encode(to),
            None => to.put_long_length(Some(0)),
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        from.long_length()?.map(|length| from.bytes(length)).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, to: &mut Encoder) {
        to.put_long_length(Some(self.len()));
        for element in self {
            element.encode(to);
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        Option::decode(from)?.ok_or(DecodeError::Null)
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Some(elements) => elements.encode(to),
            None => to.put_long_length(None),
        }
    }

    fn encode_present(&self, to: &mut Encoder) {
        match self {
            Some(elements) => elements.encode(to),
            None => to.put_long_length(Some(0)),
        }
    }

    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        let Some(count) = from.count()? else { return Ok(None) };
        let mut elements = Vec::with_capacity(count.min(limits::ARRAY_PREALLOCATED));
        for _ in 0..count {
            from.charge(size_of::<T>())?;
            elements.push(T::decode(from)?);
        }
        Ok(Some(elements))
    }
}

/// The records of a fetched partition: stored bodies, each with the prefix that makes it a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordParts(pub Vec<StampedBody>);

/// A prefix and the body that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedBody {
    /// Base offset, length, leader epoch.
    pub prefix: [u8; duolog_record::PREFIX_BYTES],
    /// As stored.
    pub body: Bytes,
}

impl RecordParts {
    /// Bytes of all batches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.prefix.len() + part.body.len()).sum()
    }

    /// True without a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Wire for RecordParts {
    fn encode(&self, to: &mut Encoder) {
        to.put_long_length(Some(self.len()));
        for part in &self.0 {
            to.put(&part.prefix);
            to.put_shared(&part.body);
        }
    }

    /// For clients and tests: everything becomes one part, split at the prefix of the first batch.
    fn decode(from: &mut Decoder) -> Result<Self, DecodeError> {
        let bytes = Option::<Bytes>::decode(from)?.unwrap_or_default();
        match bytes.split_first_chunk() {
            Some((prefix, _)) => {
                Ok(Self(vec![StampedBody { prefix: *prefix, body: bytes.slice(prefix.len()..) }]))
            }
            None if bytes.is_empty() => Ok(Self::default()),
            None => Err(DecodeError::Truncated { need: duolog_record::PREFIX_BYTES, left: bytes.len() }),
        }
    }
}
