//! Which records a binding takes, by their headers or their body.

use std::sync::Arc;

use bytes::Bytes;
use duolog_record::Header;

use super::{Rules, Seen};

/// A condition on a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// None: every record.
    #[default]
    All,
    /// Each of these holds; with none of them every record.
    Every(Vec<Match>),
    /// One of these holds; with none of them no record.
    Some(Vec<Match>),
    /// These hold.
    Rules(Arc<Rules>),
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its name.
    pub name: Bytes,
    /// Its value, byte for byte; `None` if it need only be there.
    pub value: Option<Bytes>,
}

impl Filter {
    /// True if a record is taken.
    #[must_use]
    pub fn takes(&self, record: &Seen<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Every(all) => all.iter().all(|it| it.holds(record.headers)),
            Self::Some(all) => all.iter().any(|it| it.holds(record.headers)),
            Self::Rules(rules) => rules.hold(record),
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Every(all) | Self::Some(all) => all.iter().map(Match::bytes).sum(),
            Self::Rules(rules) => rules.bytes(),
        }
    }
}

impl Match {
    fn holds(&self, headers: &[Header]) -> bool {
        let is_it =
            |header: &Header| header.key == self.name && (self.value.is_none() || header.value == self.value);
        headers.iter().any(is_it)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}
