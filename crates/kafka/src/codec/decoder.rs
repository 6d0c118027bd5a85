//! Reads the primitives from one frame.
//!
//! Invariant: `at <= end <= buf.len()`; every length is compared with `end - at` before anything is allocated.

use bytes::Bytes;

use crate::limits;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("{need} bytes where {left} are left")]
    Truncated {
        /// What the field needs.
        need: usize,
        /// What the frame has.
        left: usize,
    },
    /// A count that the rest of the frame cannot hold.
    #[error("an array of {count} elements in {left} bytes")]
    Count {
        /// As stated.
        count: i64,
        /// What the frame has.
        left: usize,
    },
    /// A length that is negative or above its limit.
    #[error("length {0} is not possible")]
    Length(i64),
    /// Null where the schema has none.
    #[error("null where a value must be")]
    Null,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A variable-length integer of more than five bytes.
    #[error("a variable-length integer has more than 32 bits")]
    Varint,
    /// More structures than one request may bring.
    #[error("the request holds more than {} bytes of structures", limits::DECODED_BYTES)]
    TooMuch,
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the last field")]
    Trailing(usize),
}

/// A cursor over one frame at one version of one message.
#[derive(Debug)]
pub struct Decoder {
    buf: Bytes,
    at: usize,
    end: usize,
    version: i16,
    flexible: bool,
    decoded_bytes: usize,
}

impl Decoder {
    /// At the front of `buf`, at a version that is flexible or not.
    #[must_use]
    pub fn new(buf: Bytes, version: i16, flexible: bool) -> Self {
        let end = buf.len();
        Self { buf, at: 0, end, version, flexible, decoded_bytes: 0 }
    }

    /// The version of the message.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// True if lengths are compact and structures end in tagged fields.
    #[must_use]
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    /// Goes on at another version: the body after its header.
    pub fn switch(&mut self, version: i16, flexible: bool) {
        (self.version, self.flexible) = (version, flexible);
    }

    /// # Errors
    /// `Trailing` unless everything was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(DecodeError::Trailing(self.left())) }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.buf[self.at..self.at + N]);
        self.at += N;
        Ok(out)
    }

    /// The next `length` bytes, shared.
    pub(super) fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        let out = self.buf.slice(self.at..self.at + length);
        self.at += length;
        Ok(out)
    }

    /// The next `length` bytes as an owned string.
    pub(super) fn string(&mut self, length: usize) -> Result<String, DecodeError> {
        if length > limits::STRING_BYTES {
            return Err(DecodeError::Length(length as i64));
        }
        self.need(length)?;
        self.charge(length)?;
        let text = std::str::from_utf8(&self.buf[self.at..self.at + length]);
        let text = text.map_err(|_| DecodeError::NotUtf8)?.to_owned();
        self.at += length;
        Ok(text)
    }

    /// An unsigned variable-length integer.
    pub(super) fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A length of 16 bits, or a compact one; `None` is null.
    pub(super) fn short_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        signed_length(i16::from_be_bytes(self.array()?).into())
    }

    /// A length of 32 bits, or a compact one; `None` is null.
    pub(super) fn long_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        signed_length(i32::from_be_bytes(self.array()?).into())
    }

    /// The number of elements of an array; each takes at least one byte.
    pub(super) fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.long_length()?;
        match count {
            Some(count) if count > self.left() => {
                Err(DecodeError::Count { count: count as i64, left: self.left() })
            }
            count => Ok(count),
        }
    }

    /// Counts memory that a decoded structure takes.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.decoded_bytes += bytes;
        if self.decoded_bytes > limits::DECODED_BYTES { Err(DecodeError::TooMuch) } else { Ok(()) }
    }

    /// The tagged fields at the end of a structure: calls `field` for each, which reads it or leaves it.
    pub(super) fn tags(
        &mut self,
        mut field: impl FnMut(&mut Self, u32) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        if count > limits::TAGS {
            return Err(DecodeError::Count { count: count.into(), left: self.left() });
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            self.need(size)?;
            let (outer, inner) = (self.end, self.at + size);
            self.end = inner;
            let read = field(self, tag);
            self.end = outer;
            read?;
            self.at = inner;
        }
        Ok(())
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.uvarint()? as usize).checked_sub(1))
    }

    fn need(&self, need: usize) -> Result<(), DecodeError> {
        let left = self.left();
        if need > left { Err(DecodeError::Truncated { need, left }) } else { Ok(()) }
    }
}

fn signed_length(length: i64) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| DecodeError::Length(length)),
    }
}
