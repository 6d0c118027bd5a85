//! Field tables and arrays, as RabbitMQ reads them.
//!
//! ```text
//! table  size:32 (name:short-string value)*         array  size:32 value*         value  type:8 ...
//! t bool:8     b i8   B u8   s i16   u u16   I i32   i u32   l i64   L i64   f f32   d f64
//! D scale:8 number:32     S size:32 bytes     x size:32 bytes     T seconds:64     A array     F table     V
//! ```
//! The specification has other letters for some of these; clients and RabbitMQ never used them. `L` is signed, as `l`; `U` of the
//! specification does not exist; a decimal's number is unsigned. Names may be any 255 bytes and come twice: [`RawTable::get`]
//! finds the first. A [`RawTable`] has been walked once and is well-formed, so reading from it cannot fail. A copy of it is written
//! as it was read, bit by bit, but that what is true becomes 1.
//! Source: AMQP 0-9-1, 4.2.5.5; RabbitMQ errata, "Field types"; RabbitMQ `rabbit_binary_parser`, `rabbit_misc:table_lookup`.

mod value;

pub use value::{Scalar, Table, TableBytes, Value};

use super::wire::{Field, Reader, Writer};
use super::{LongStr, Malformed, ShortStr};
use crate::limits::TABLE_DEPTH;

/// A table in its encoded form, its size left out. Always well-formed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RawTable<'a>(&'a [u8]);

/// An array in its encoded form, its size left out. Always well-formed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RawArray<'a>(&'a [u8]);

/// A value in a [`RawTable`] or [`RawArray`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// A number or the like.
    Scalar(Scalar),
    /// `S`: text by agreement.
    String(LongStr<'a>),
    /// `x`.
    Bytes(LongStr<'a>),
    /// `A`.
    Array(RawArray<'a>),
    /// `F`.
    Table(RawTable<'a>),
}

impl<'a> RawTable<'a> {
    /// The empty one.
    pub const EMPTY: RawTable<'static> = RawTable(&[]);

    /// The table of these bytes, which begin behind its size.
    ///
    /// # Errors
    /// [`Malformed`] if they are no table.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        check_table(bytes, 1)?;
        Ok(Self(bytes))
    }

    /// Its bytes, without its size.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// What is in it, in its order.
    pub fn iter(self) -> impl Iterator<Item = (ShortStr<'a>, ValueRef<'a>)> {
        let mut from = Reader::new(self.0);
        std::iter::from_fn(move || Some((ShortStr::read(&mut from).ok()?, read_value(&mut from).ok()?)))
    }

    /// The first value of this name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<ValueRef<'a>> {
        self.iter().find(|(known, _)| known.as_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// A copy to work with: about 25 times as large as the smallest values are.
    #[must_use]
    pub fn to_table(self) -> Table {
        Table(self.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect())
    }
}

impl std::fmt::Debug for RawTable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> Field<'a> for RawTable<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Self::new(from.long_bytes()?)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.long_bytes(self.0);
    }
}

impl<'a> RawArray<'a> {
    /// Its bytes, without its size.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its values.
    pub fn iter(self) -> impl Iterator<Item = ValueRef<'a>> {
        let mut from = Reader::new(self.0);
        std::iter::from_fn(move || read_value(&mut from).ok())
    }
}

impl std::fmt::Debug for RawArray<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> ValueRef<'a> {
    /// The letter of its type.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Scalar(scalar) => scalar.letter(),
            Self::String(_) => b'S',
            Self::Bytes(_) => b'x',
            Self::Array(_) => b'A',
            Self::Table(_) => b'F',
        }
    }

    /// The number, if it is an integer of any size; a timestamp is none.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Scalar(scalar) => scalar.as_integer(),
            Self::String(_) | Self::Bytes(_) | Self::Array(_) | Self::Table(_) => None,
        }
    }

    /// What is said, if it is a bool.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        if let Self::Scalar(Scalar::Bool(value)) = self { Some(value) } else { None }
    }

    /// The text, if it is a string (`S`) of UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        if let Self::String(LongStr(bytes)) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn as_table(self) -> Option<RawTable<'a>> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// A copy to work with.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Scalar(scalar) => Value::Scalar(scalar),
            Self::String(LongStr(bytes)) => Value::String(bytes.into()),
            Self::Bytes(LongStr(bytes)) => Value::Bytes(bytes.into()),
            Self::Array(array) => Value::Array(array.iter().map(Self::to_value).collect()),
            Self::Table(table) => Value::Table(table.to_table()),
        }
    }
}

/// Whether these bytes are an array (`A`) or table that may lie in the table of a message's headers.
pub(crate) fn is_nested(letter: u8, bytes: &[u8]) -> bool {
    match letter {
        b'A' => check_array(bytes, 2).is_ok(),
        _ => check_table(bytes, 2).is_ok(),
    }
}

/// One value; what is nested in it is not looked at.
fn read_value<'a>(from: &mut Reader<'a>) -> Result<ValueRef<'a>, Malformed> {
    let letter = u8::read(from)?;
    Ok(match letter {
        b'S' => ValueRef::String(LongStr(from.long_bytes()?)),
        b'x' => ValueRef::Bytes(LongStr(from.long_bytes()?)),
        b'A' => ValueRef::Array(RawArray(from.long_bytes()?)),
        b'F' => ValueRef::Table(RawTable(from.long_bytes()?)),
        letter => ValueRef::Scalar(Scalar::read(letter, from)?),
    })
}

/// Walks a table that lies `depth` deep, itself counted.
fn check_table(bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut from = Reader::new(bytes);
    while !from.is_empty() {
        ShortStr::read(&mut from)?;
        check_value(read_value(&mut from)?, depth)?;
    }
    Ok(())
}

fn check_array(bytes: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut from = Reader::new(bytes);
    while !from.is_empty() {
        check_value(read_value(&mut from)?, depth)?;
    }
    Ok(())
}

/// Goes on into what lies in something `depth` deep.
fn check_value(value: ValueRef<'_>, depth: usize) -> Result<(), Malformed> {
    match value {
        ValueRef::Scalar(_) | ValueRef::String(_) | ValueRef::Bytes(_) => Ok(()),
        ValueRef::Array(_) | ValueRef::Table(_) if depth == TABLE_DEPTH => Err(Malformed::Depth),
        ValueRef::Array(array) => check_array(array.0, depth + 1),
        ValueRef::Table(table) => check_table(table.0, depth + 1),
    }
}

#[cfg(test)]
pub(super) mod tests;
