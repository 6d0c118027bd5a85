//! Fields one after another: what methods, properties and tables are made of.
//!
//! Bits that follow one another share an octet, the first in its lowest bit; any other field begins a new one.
//! Source: AMQP 0-9-1, 4.2.5.

use super::Malformed;

/// What has not been read yet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    checks_text: bool,
    octet: u8,
    /// Which bit of `octet` is next; 0 if none.
    bit: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, checks_text: false, octet: 0, bit: 0 }
    }

    /// One that refuses short strings that are not text.
    pub(super) fn of_text(bytes: &'a [u8]) -> Self {
        Self { checks_text: true, ..Self::new(bytes) }
    }

    pub(super) fn checks_text(&self) -> bool {
        self.checks_text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::CutShort)?;
        (self.rest, self.bit) = (rest, 0);
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::CutShort)?;
        (self.rest, self.bit) = (rest, 0);
        Ok(*taken)
    }

    /// Bytes behind their number in four octets.
    pub(super) fn long_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::read(self)?;
        // One that does not fit is not there either.
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Whether all has been read.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TooLong(self.rest.len())) }
    }
}

/// Appends fields.
#[derive(Debug)]
pub struct Writer<'v> {
    out: &'v mut Vec<u8>,
    bit: u8,
}

impl<'v> Writer<'v> {
    pub(super) fn new(out: &'v mut Vec<u8>) -> Self {
        Self { out, bit: 0 }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.bit = 0;
    }

    /// Bytes behind their number in four octets.
    pub(super) fn long_bytes(&mut self, bytes: &[u8]) {
        // Fits: nothing of 4 GiB is ever in a frame.
        self.bytes(&(bytes.len() as u32).to_be_bytes());
        self.bytes(bytes);
    }
}

/// Something that a method or properties may have.
pub trait Field<'a>: Sized {
    /// Takes it from the front.
    ///
    /// # Errors
    /// [`Malformed`] if it is not there or is not what it should be.
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends it.
    fn write(&self, to: &mut Writer<'_>);
}

macro_rules! number_fields {
    ($($number:ty)*) => {$(
        impl Field<'_> for $number {
            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                from.take_array().map(Self::from_be_bytes)
            }

            fn write(&self, to: &mut Writer<'_>) {
                to.bytes(&self.to_be_bytes());
            }
        }
    )*};
}

number_fields! { u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 }

/// A bit.
impl Field<'_> for bool {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if from.bit == 0 {
            (from.octet, from.bit) = (u8::read(from)?, 1);
        }
        let set = from.octet & from.bit != 0;
        from.bit <<= 1;
        Ok(set)
    }

    fn write(&self, to: &mut Writer<'_>) {
        if to.bit == 0 {
            to.out.push(0);
            to.bit = 1;
        }
        if let (true, Some(octet)) = (*self, to.out.last_mut()) {
            *octet |= to.bit;
        }
        to.bit <<= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Reader, Writer};
    use crate::codec::Malformed;

    #[test]
    fn bits_share_octets_from_the_lowest_on() {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        let bits = [true, false, true, false, false, false, false, true, true];
        bits.iter().for_each(|bit| bit.write(&mut to));
        7_u16.write(&mut to);
        true.write(&mut to);
        assert_eq!(out, [0b1000_0101, 1, 0, 7, 1]);

        let mut from = Reader::new(&out);
        assert!(bits.iter().all(|bit| bool::read(&mut from) == Ok(*bit)));
        assert_eq!(u16::read(&mut from), Ok(7));
        assert_eq!(bool::read(&mut from), Ok(true));
        assert_eq!(from.finish(), Ok(()));
        assert_eq!(u8::read(&mut from), Err(Malformed::CutShort));
    }
}
