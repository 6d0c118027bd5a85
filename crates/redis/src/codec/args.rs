//! The arguments of one request: places in the bytes that it came in, nothing is copied.

use super::integer;

/// The name of a command and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    /// Begin and end of each, within `bytes`.
    places: &'a [(u32, u32)],
}

impl<'a> Args<'a> {
    pub(super) fn new(bytes: &'a [u8], places: &'a [(u32, u32)]) -> Self {
        Self { bytes, places }
    }

    /// How many there are, the name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True for an empty line or an empty array, which is no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// One of them; empty if there are not so many, which the arity of commands rules out.
    #[must_use]
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.places.get(index).map_or(&[], |&(begin, end)| &self.bytes[begin as usize..end as usize])
    }

    /// True if that one is `word`, whatever its case.
    #[must_use]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// One of them as a whole number in its one form; `None` otherwise.
    #[must_use]
    pub fn integer(&self, index: usize) -> Option<i64> {
        integer(self.get(index))
    }

    /// Those from `first` on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let places = self.places.get(first..).unwrap_or_default();
        places.iter().map(move |&(begin, end)| &bytes[begin as usize..end as usize])
    }
}
