//! Parameters: values by name, lists as `NAME.member.N`, maps as `NAME.entry.N.key` and `.value`.

use super::SnsError;
use crate::codec::query::{Form, Node};

/// The parameters of a request, or of one part of it.
#[derive(Clone, Copy)]
pub(crate) struct Params<'f>(Node<'f>);

impl<'f> Params<'f> {
    pub fn new(form: &'f Form<'_>) -> Self {
        Self(form.root())
    }

    /// The value with this name.
    pub fn get(self, name: &str) -> Option<&'f str> {
        self.0.child(name)?.value()
    }

    /// That which must be there and not empty.
    pub fn required(self, name: &str) -> Result<&'f str, SnsError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| SnsError::missing(name))
    }

    /// What stands below this name.
    pub fn below(self, name: &str) -> Option<Self> {
        self.0.child(name).map(Self)
    }

    /// The members of a list.
    pub fn members(self, name: &str) -> impl Iterator<Item = Self> + 'f {
        self.numbered(name, "member")
    }

    /// Their values.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'f str> + 'f {
        self.members(name).filter_map(|member| member.0.value())
    }

    /// The entries of a map.
    pub fn entries(self, name: &str) -> impl Iterator<Item = Self> + 'f {
        self.numbered(name, "entry")
    }

    /// Those of a map of texts.
    pub fn map(self, name: &str) -> Result<Vec<(&'f str, &'f str)>, SnsError> {
        let pair = |entry: Self| {
            let key =
                entry.get("key").ok_or_else(|| SnsError::invalid_because(name, "an entry has no key"))?;
            Ok((key, entry.get("value").unwrap_or("")))
        };
        let pairs = self.entries(name).map(pair).collect::<Result<Vec<_>, SnsError>>()?;
        let is_twice = |(at, (key, _)): (usize, &(&str, &str))| pairs[..at].iter().any(|(its, _)| its == key);
        match pairs.iter().enumerate().any(is_twice) {
            true => Err(SnsError::invalid_because(name, "a key stands twice")),
            false => Ok(pairs),
        }
    }

    fn numbered(self, name: &str, part: &str) -> impl Iterator<Item = Self> + use<'f> {
        let node = self.0.child(name).and_then(|node| node.child(part));
        node.into_iter().flat_map(|node| node.children().map(|(_, node)| Self(node)))
    }
}
