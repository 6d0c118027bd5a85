//! Texts with `*` for any characters; a backslash before `*` or itself takes the meaning away.

use std::borrow::Cow;

use super::RulesError;

/// What stands between the asterisks: two pieces or more with one each between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<String>);

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, RulesError> {
        let mut pieces = vec![String::new()];
        let (mut escaped, mut star_before) = (false, false);
        for (at, char) in text.char_indices() {
            let piece = pieces.last_mut().expect("there is always one");
            match char {
                '*' | '\\' if escaped => piece.push(char),
                _ if escaped => return Err(wrong(format!("Invalid escape character at pos {at}"))),
                '\\' => {}
                '*' if star_before => {
                    return Err(wrong(format!("Consecutive wildcard characters at pos {}", at - 1)));
                }
                '*' => pieces.push(String::new()),
                _ => piece.push(char),
            }
            star_before = char == '*' && !escaped;
            escaped = char == '\\' && !escaped;
        }
        match escaped {
            true => Err(wrong(format!("Invalid escape character at pos {}", text.len() - 1))),
            false => Ok(Self(pieces)),
        }
    }

    /// Each piece is taken where it first fits: later it would leave less for those behind it.
    pub(super) fn fits(&self, text: &str) -> bool {
        match &self.0[..] {
            [] => text.is_empty(),
            [only] => only == text,
            [first, between @ .., last] => {
                let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
                for piece in between {
                    let Some(at) = rest.find(piece.as_str()) else { return false };
                    rest = &rest[at + piece.len()..];
                }
                rest.ends_with(last.as_str())
            }
        }
    }
}

fn wrong(what: String) -> RulesError {
    RulesError(Cow::Owned(what))
}
