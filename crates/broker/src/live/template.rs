//! The subject that a record is echoed on: text with places for what the record has.

use std::fmt;
use std::str::FromStr;

/// Such a text, as in `orders.{key}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Key,
    Partition,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// No text.
    #[error("the subject is empty")]
    Empty,
    /// A place that records do not have.
    #[error("there is no {{{0}}}; a subject may have {{key}}, {{topic}} and {{partition}}")]
    Unknown(String),
    /// A brace without the other.
    #[error("a brace is not closed, or was not opened")]
    Brace,
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, after) =
                rest.split_once('{').map_or((rest, None), |(before, after)| (before, Some(after)));
            if before.contains('}') {
                return Err(BadTemplate::Brace);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some(after) = after else { break };
            let (name, behind) = after.split_once('}').ok_or(BadTemplate::Brace)?;
            parts.push(match name {
                "key" => Part::Key,
                "topic" => Part::Topic,
                "partition" => Part::Partition,
                other => return Err(BadTemplate::Unknown(other.to_owned())),
            });
            rest = behind;
        }
        if parts.is_empty() {
            return Err(BadTemplate::Empty);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// The subject of a record, in place of what `into` held.
    pub(super) fn fill(&self, into: &mut Vec<u8>, topic: &str, partition: u32, key: Option<&[u8]>) {
        into.clear();
        for part in &self.parts {
            match part {
                Part::Text(text) => into.extend_from_slice(text.as_bytes()),
                Part::Topic => into.extend_from_slice(topic.as_bytes()),
                Part::Key => into.extend_from_slice(key.unwrap_or_default()),
                Part::Partition => into.extend_from_slice(partition.to_string().as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadTemplate, Template};

    #[test]
    fn places_are_filled() {
        let filled = |text: &str, key: Option<&[u8]>| {
            let mut into = b"old".to_vec();
            text.parse::<Template>().expect("sound").fill(&mut into, "orders", 7, key);
            String::from_utf8(into).expect("text")
        };
        assert_eq!(filled("all", None), "all");
        assert_eq!(filled("{topic}.{partition}.{key}", Some(b"a.b")), "orders.7.a.b");
        assert_eq!(filled("x.{key}.y", None), "x..y");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let refused = |text: &str| text.parse::<Template>().expect_err("refused");
        assert_eq!(refused(""), BadTemplate::Empty);
        assert_eq!(refused("a.{id}"), BadTemplate::Unknown("id".to_owned()));
        assert_eq!(refused("a.{key"), BadTemplate::Brace);
        assert_eq!(refused("a.key}"), BadTemplate::Brace);
    }
}
