//! Tables and values of their own, to build and to keep.

use super::RawTable;
use crate::codec::wire::{Field, Reader, Writer};
use crate::codec::{Malformed, ShortString};

macro_rules! scalars {
    ($($(#[$attr:meta])* $letter:literal $variant:ident($type:ty);)*) => {
        /// A value of a fixed size.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Scalar {
            /// `t`: true if it is anything but 0.
            Bool(bool),
            $($(#[$attr])* $variant($type),)*
            /// `D`: `number` divided by ten to the power of `scale`.
            Decimal {
                /// Digits behind the point.
                scale: u8,
                /// All digits.
                number: u32,
            },
            /// `V`: nothing.
            Void,
        }

        impl Scalar {
            /// The letter of its type.
            #[must_use]
            pub fn letter(self) -> u8 {
                match self {
                    Self::Bool(_) => b't',
                    $(Self::$variant(_) => $letter,)*
                    Self::Decimal { .. } => b'D',
                    Self::Void => b'V',
                }
            }

            /// The value of this type.
            pub(super) fn read(letter: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(match letter {
                    b't' => Self::Bool(u8::read(from)? != 0),
                    $($letter => Self::$variant(<$type>::read(from)?),)*
                    b'D' => Self::Decimal { scale: u8::read(from)?, number: u32::read(from)? },
                    b'V' => Self::Void,
                    letter => return Err(Malformed::ValueType(letter)),
                })
            }

            /// Appends the value, without its type.
            fn write(self, to: &mut Writer<'_>) {
                match self {
                    Self::Bool(value) => u8::from(value).write(to),
                    $(Self::$variant(value) => value.write(to),)*
                    Self::Decimal { scale, number } => {
                        scale.write(to);
                        number.write(to);
                    }
                    Self::Void => (),
                }
            }
        }
    };
}

scalars! {
    /// `b`.
    b'b' Byte(i8);
    /// `B`.
    b'B' UnsignedByte(u8);
    /// `s`.
    b's' Short(i16);
    /// `u`.
    b'u' UnsignedShort(u16);
    /// `I`.
    b'I' Int(i32);
    /// `i`.
    b'i' UnsignedInt(u32);
    /// `l`.
    b'l' Long(i64);
    /// `L`: signed, too; kept apart so that it is written as it was read.
    b'L' LongL(i64);
    /// `f`.
    b'f' Float(f32);
    /// `d`.
    b'd' Double(f64);
    /// `T`: seconds since 1970, UTC.
    b'T' Timestamp(u64);
}

impl Scalar {
    /// The number, if it is an integer of any size; a timestamp is none.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Byte(value) => Some(value.into()),
            Self::UnsignedByte(value) => Some(value.into()),
            Self::Short(value) => Some(value.into()),
            Self::UnsignedShort(value) => Some(value.into()),
            Self::Int(value) => Some(value.into()),
            Self::UnsignedInt(value) => Some(value.into()),
            Self::Long(value) | Self::LongL(value) => Some(value),
            Self::Bool(_)
            | Self::Float(_)
            | Self::Double(_)
            | Self::Timestamp(_)
            | Self::Decimal { .. }
            | Self::Void => None,
        }
    }
}

/// A value of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number or the like.
    Scalar(Scalar),
    /// `S`: text by agreement.
    String(Box<[u8]>),
    /// `x`.
    Bytes(Box<[u8]>),
    /// `A`.
    Array(Vec<Value>),
    /// `F`.
    Table(Table),
}

impl Value {
    /// The number, if it is an integer of any size; a timestamp is none.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Scalar(scalar) = self { scalar.as_integer() } else { None }
    }

    /// The text, if it is a string (`S`) of UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Scalar(scalar) => {
                out.push(scalar.letter());
                scalar.write(&mut Writer::new(out));
            }
            Self::String(bytes) => {
                out.push(b'S');
                Writer::new(out).long_bytes(bytes);
            }
            Self::Bytes(bytes) => {
                out.push(b'x');
                Writer::new(out).long_bytes(bytes);
            }
            Self::Array(values) => {
                out.push(b'A');
                sized(out, |out| values.iter().for_each(|value| value.write(out)));
            }
            Self::Table(table) => {
                out.push(b'F');
                sized(out, |out| table.write_entries(out));
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Scalar(Scalar::Bool(value))
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Scalar(Scalar::Int(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Scalar(Scalar::Long(value))
    }
}

impl From<Scalar> for Value {
    fn from(value: Scalar) -> Self {
        Self::Scalar(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().into())
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::Array(values)
    }
}

/// A table of its own: names and values in an order; a name may come twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(ShortString, Value)>);

impl Table {
    /// With one more entry at its end; a name longer than 255 bytes is cut.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.push((ShortString::cut(name), value.into()));
        self
    }

    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known.as_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// Its encoded form. Nested no deeper than [`crate::limits::TABLE_DEPTH`], it is read back as it was.
    #[must_use]
    pub fn encode(&self) -> TableBytes {
        let mut bytes = Vec::new();
        self.write_entries(&mut bytes);
        TableBytes(bytes)
    }

    fn write_entries(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            name.as_short().write(&mut Writer::new(out));
            value.write(out);
        }
    }
}

/// The encoded form of a [`Table`], to be borrowed by methods and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableBytes(Vec<u8>);

impl TableBytes {
    /// The same, borrowed.
    #[must_use]
    pub fn as_raw(&self) -> RawTable<'_> {
        RawTable(&self.0)
    }
}

/// What `fill` appends, behind its size.
fn sized(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[0; 4]);
    let begin = out.len();
    fill(out);
    // Fits: nothing of 4 GiB is ever in a frame.
    let size = (out.len() - begin) as u32;
    out[begin - 4..begin].copy_from_slice(&size.to_be_bytes());
}
