//! [`Parser`]: requests out of bytes that come in pieces.
//!
//! ```text
//! *2\r\n $4\r\n ECHO\r\n $2\r\n hi\r\n      an array of bulk strings
//! ECHO "hi"\r\n                             an inline command
//! ```
//! The bytes of a request that has not come whole are kept by the caller and come again with more behind them; the parser
//! remembers its place in them, so each byte is looked at once. Requests do not nest.

use super::{Args, inline, integer};
use crate::limits::{ARGUMENTS, ARGUMENTS_KEPT, LINE_BYTES};

/// Why bytes are no request. The connection is told and closed: where the next request begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A line that does not end.
    InlineTooLong,
    /// A quote that is not closed, or text behind it.
    Quotes,
    /// The number of arguments does not end.
    CountTooLong,
    /// The number of arguments is none, or too many.
    Count,
    /// The length of an argument does not end.
    LengthTooLong,
    /// An argument begins otherwise than with a dollar sign.
    NotBulk(u8),
    /// The length of an argument is none, or too much.
    Length,
}

impl Malformed {
    /// The error that the client is told, without its end.
    #[must_use]
    pub fn text(self) -> String {
        let what = match self {
            Self::InlineTooLong => "too big inline request",
            Self::Quotes => "unbalanced quotes in request",
            Self::CountTooLong => "too big mbulk count string",
            Self::Count => "invalid multibulk length",
            Self::LengthTooLong => "too big bulk count string",
            Self::NotBulk(byte) => {
                return format!("ERR Protocol error: expected '$', got '{}'", char::from(byte));
            }
            Self::Length => "invalid bulk length",
        };
        format!("ERR Protocol error: {what}")
    }
}

/// Finds requests. One per connection.
#[derive(Debug)]
pub struct Parser {
    bulk_bytes_max: usize,
    /// How far the request is parsed.
    at: usize,
    /// How far the line at `at` has been searched for its end.
    searched: usize,
    /// Arguments that are still to come; `None` before their number is known.
    missing: Option<usize>,
    /// Length of the argument at `at`, once known.
    length: Option<usize>,
    /// Bytes of the request, once it is whole.
    whole: Option<usize>,
    places: Vec<(u32, u32)>,
    /// Where the arguments of an inline command lie: quotes and escapes are not in the bytes as they came.
    text: Vec<u8>,
    inline: bool,
}

/// What a line with a number came to.
enum Line {
    Incomplete,
    TooLong,
    /// The number, if it is one, and where the line ends.
    Number(Option<i64>, usize),
}

impl Parser {
    /// A parser that takes arguments of up to `bulk_bytes_max` bytes.
    #[must_use]
    pub fn new(bulk_bytes_max: usize) -> Self {
        Self {
            bulk_bytes_max,
            at: 0,
            searched: 0,
            missing: None,
            length: None,
            whole: None,
            places: Vec::new(),
            text: Vec::new(),
            inline: false,
        }
    }

    /// The length of the request that `bytes` begin with; `None` if it has not come whole. Until [`Self::advance`] the bytes must begin
    /// with that request.
    ///
    /// # Errors
    /// [`Malformed`]; the parser is of no use after it.
    pub fn request(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        if self.whole.is_none() {
            self.whole = match bytes.first() {
                None => None,
                Some(b'*') => self.array(bytes)?,
                Some(_) => self.line(bytes)?,
            };
        }
        Ok(self.whole)
    }

    /// The arguments of the whole request at the front of `bytes`.
    #[must_use]
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> Args<'a> {
        Args::new(if self.inline { &self.text } else { bytes }, &self.places)
    }

    /// Goes on behind the whole request.
    pub fn advance(&mut self) {
        (self.at, self.searched, self.missing, self.length, self.whole) = (0, 0, None, None, None);
        self.places.clear();
        if self.inline {
            (self.text, self.inline) = (Vec::new(), false);
        }
        if self.places.capacity() > ARGUMENTS_KEPT {
            self.places = Vec::new();
        }
    }

    fn array(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut missing = match self.missing {
            Some(missing) => missing,
            None => match self.number(bytes, 1) {
                Line::Incomplete => return Ok(None),
                Line::TooLong => return Err(Malformed::CountTooLong),
                Line::Number(count, end) => {
                    (self.at, self.searched) = (end, end);
                    // Less than nothing is nothing.
                    let count = count.and_then(|count| usize::try_from(count.max(0)).ok());
                    count.filter(|count| *count <= ARGUMENTS).ok_or(Malformed::Count)?
                }
            },
        };
        while missing > 0 {
            let taken = self.bulk(bytes);
            if !matches!(taken, Ok(true)) {
                self.missing = Some(missing);
                return taken.map(|_| None);
            }
            missing -= 1;
        }
        Ok(Some(self.at))
    }

    /// Takes one argument; false if it has not come whole.
    fn bulk(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let length = match self.length {
            Some(length) => length,
            None => match self.number(bytes, self.at + 1) {
                Line::Incomplete => return Ok(false),
                Line::TooLong => return Err(Malformed::LengthTooLong),
                Line::Number(length, end) => {
                    if bytes[self.at] != b'$' {
                        return Err(Malformed::NotBulk(bytes[self.at]));
                    }
                    let length = length.and_then(|length| usize::try_from(length).ok());
                    let length =
                        length.filter(|length| *length <= self.bulk_bytes_max).ok_or(Malformed::Length)?;
                    (self.at, self.searched, self.length) = (end, end, Some(length));
                    length
                }
            },
        };
        let end = self.at + length;
        // What ends it is two bytes, whichever.
        if bytes.len() < end + 2 {
            return Ok(false);
        }
        // Fits: a request is not longer than the connection may leave unused, which is below 4 GiB.
        self.places.push((self.at as u32, end as u32));
        (self.at, self.searched, self.length) = (end + 2, end + 2, None);
        Ok(true)
    }

    /// The number from `begin` to the end of its line.
    fn number(&mut self, bytes: &[u8], begin: usize) -> Line {
        let line = bytes.get(begin..).unwrap_or_default();
        // Nearly always a few digits that have come whole.
        let mut number = 0;
        let mut digits = 0;
        while digits < 9 && line.get(digits).is_some_and(u8::is_ascii_digit) {
            number = number * 10 + i64::from(line[digits] - b'0');
            digits += 1;
        }
        let plain = digits == 1 || (digits > 1 && line[0] != b'0');
        if plain && line.len() > digits + 1 && line[digits] == b'\r' {
            return Line::Number(Some(number), begin + digits + 2);
        }
        // The line may end where the sign of its kind should be.
        let from = self.searched.max(begin - 1).min(bytes.len());
        match bytes[from..].iter().position(|byte| *byte == b'\r') {
            Some(found) if from + found > begin + LINE_BYTES => Line::TooLong,
            Some(found) if from + found + 1 < bytes.len() => {
                let end = from + found;
                Line::Number(bytes.get(begin..end).and_then(integer), end + 2)
            }
            Some(found) => {
                self.searched = from + found;
                Line::Incomplete
            }
            None if bytes.len() > begin + LINE_BYTES => Line::TooLong,
            None => {
                self.searched = bytes.len();
                Line::Incomplete
            }
        }
    }

    /// An inline command.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let from = self.searched.min(bytes.len());
        let Some(found) = bytes[from..].iter().position(|byte| *byte == b'\n') else {
            self.searched = bytes.len();
            return if bytes.len() > LINE_BYTES { Err(Malformed::InlineTooLong) } else { Ok(None) };
        };
        let end = from + found;
        if end > LINE_BYTES {
            return Err(Malformed::InlineTooLong);
        }
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        self.inline = true;
        if !inline::split(line, &mut self.text, &mut self.places) {
            return Err(Malformed::Quotes);
        }
        Ok(Some(end + 1))
    }
}

#[cfg(test)]
mod tests;
