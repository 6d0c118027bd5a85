//! What a subscription names: one subject, a pattern of tokens, or a glob over bytes.
//!
//! A subject is any sequence of bytes; where tokens matter they are separated by `.`, and an empty token is a token.

use std::str::FromStr;

use crate::limits::{GLOB_BYTES, PATTERN_TOKENS};
pub use crate::trie::{SEPARATOR, Token};

/// Subjects that begin with these bytes are heard by their own names only, by no pattern: a protocol's channels that are to lie
/// apart from those of all others. Not UTF-8, and a line end: hardly a protocol could write such a subject by accident.
pub const APART: &[u8] = b"\n\xff";

/// What a subscription names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Kind);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// A token without a letter.
    #[error("a subject is tokens with '.' between them, and none may be empty")]
    EmptyToken,
    /// Blanks, line ends and the like.
    #[error("a subject has no blanks and no control characters")]
    Blank,
    /// It stands for all that follows.
    #[error("'>' stands for one or more tokens at the end: nothing may follow")]
    NotLast,
}

/// As operators write patterns: `*` is one token, `>` at the end one or more, `#` any or none.
impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(BadPattern::Blank);
        }
        let mut tokens = Vec::new();
        let mut is_over = false;
        for word in text.split(char::from(SEPARATOR)) {
            if is_over {
                return Err(BadPattern::NotLast);
            }
            match word {
                "" => return Err(BadPattern::EmptyToken),
                "*" => tokens.push(Token::One),
                ">" => {
                    tokens.extend([Token::One, Token::Rest]);
                    is_over = true;
                }
                "#" => tokens.push(Token::Rest),
                word => tokens.push(Token::Literal(word.as_bytes().into())),
            }
        }
        Ok(Self::tokens(tokens))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Literal(Box<[u8]>),
    Tokens(Box<[Token]>),
    Glob(Box<[u8]>),
}

impl Pattern {
    /// Exactly this subject.
    #[must_use]
    pub fn literal(subject: &[u8]) -> Self {
        Self(Kind::Literal(subject.into()))
    }

    /// Subjects whose tokens are these. Without a wildcard it is the literal.
    #[must_use]
    pub fn tokens(mut tokens: Vec<Token>) -> Self {
        tokens.dedup_by(|later, earlier| *later == Token::Rest && *earlier == Token::Rest);
        let mut subject = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let Token::Literal(text) = token else { return Self(Kind::Tokens(tokens.into())) };
            if index > 0 {
                subject.push(SEPARATOR);
            }
            subject.extend_from_slice(text);
        }
        Self(Kind::Literal(subject.into()))
    }

    /// Subjects that a glob over bytes matches: `?` is one byte, `*` any bytes or none, `[a-c]` and `[^a-c]` one of a set
    /// or none of it, `\x` the byte `x`. Source: Redis documentation, PSUBSCRIBE and KEYS.
    #[must_use]
    pub fn glob(pattern: &[u8]) -> Self {
        Self(Kind::Glob(pattern.into()))
    }

    /// True if a subject is one of those that it names.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        match &self.0 {
            Kind::Literal(literal) => **literal == *subject,
            Kind::Tokens(tokens) => tokens_match(tokens, subject),
            Kind::Glob(glob) => glob_matches(glob, subject),
        }
    }

    /// True if it is longer than patterns may be: nobody can listen to it, and nothing is captured by it.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        match &self.0 {
            Kind::Literal(_) => false,
            Kind::Tokens(tokens) => tokens.len() > PATTERN_TOKENS,
            Kind::Glob(glob) => glob.len() > GLOB_BYTES,
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }

    /// As text, for the authorizer.
    pub(super) fn resource(&self) -> String {
        let bytes = match &self.0 {
            Kind::Literal(bytes) | Kind::Glob(bytes) => bytes.to_vec(),
            Kind::Tokens(tokens) => {
                let words = tokens.iter().map(|token| match token {
                    Token::Literal(text) => &**text,
                    Token::One => b"*",
                    Token::Rest => b"#",
                });
                words.collect::<Vec<_>>().join(&SEPARATOR)
            }
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Greedy with one place to come back to, the last `Rest`: a later one makes an earlier one's choice irrelevant, so the
/// time is bounded by tokens times tokens.
fn tokens_match(pattern: &[Token], subject: &[u8]) -> bool {
    let words: Vec<&[u8]> = subject.split(|byte| *byte == SEPARATOR).collect();
    let (mut at, mut word) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while word < words.len() {
        let one = match pattern.get(at) {
            Some(Token::Literal(text)) => **text == *words[word],
            Some(Token::One) => true,
            Some(Token::Rest) => {
                back = Some((at, word));
                at += 1;
                continue;
            }
            None => false,
        };
        if one {
            (at, word) = (at + 1, word + 1);
        } else if let Some((rest, from)) = back {
            back = Some((rest, from + 1));
            (at, word) = (rest + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|token| *token == Token::Rest)
}

/// One element of a glob and where the next begins.
enum Element {
    Any,
    Byte(bool),
}

/// As [`tokens_match`]: pattern bytes times subject bytes at most, however many `*` there are.
pub(super) fn glob_matches(pattern: &[u8], subject: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let byte = subject.get(place).copied();
        match element(pattern, at, byte) {
            Some((Element::Any, next)) => {
                back = Some((next, place));
                at = next;
                continue;
            }
            Some((Element::Byte(true), next)) if byte.is_some() => {
                (at, place) = (next, place + 1);
                continue;
            }
            None if byte.is_none() => return true,
            Some((Element::Byte(_), _)) | None => {}
        }
        match back {
            Some((after, from)) if from < subject.len() => {
                back = Some((after, from + 1));
                (at, place) = (after, from + 1);
            }
            Some(_) | None => return false,
        }
    }
}

/// The element of a glob at `at`, held against `byte`; `None` at the end.
fn element(pattern: &[u8], at: usize, byte: Option<u8>) -> Option<(Element, usize)> {
    let first = *pattern.get(at)?;
    Some(match first {
        b'*' => (Element::Any, at + 1),
        b'?' => (Element::Byte(true), at + 1),
        b'[' => {
            let (hit, next) = set(pattern, at + 1, byte.unwrap_or(0));
            (Element::Byte(hit), next)
        }
        b'\\' if at + 1 < pattern.len() => (Element::Byte(byte == Some(pattern[at + 1])), at + 2),
        other => (Element::Byte(byte == Some(other)), at + 1),
    })
}

/// A set from behind its `[`: whether `byte` is in it, and where the next element begins. One that is not closed ends with
/// the pattern.
fn set(pattern: &[u8], mut at: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut hit = false;
    while let Some(&first) = pattern.get(at) {
        match first {
            b']' => {
                at += 1;
                break;
            }
            b'\\' if at + 1 < pattern.len() => {
                hit |= pattern[at + 1] == byte;
                at += 2;
            }
            low if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() => {
                let high = pattern[at + 2];
                hit |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            one => {
                hit |= one == byte;
                at += 1;
            }
        }
    }
    (hit != negated, at)
}

/// The bytes with which every subject that a glob matches begins.
pub(super) fn glob_prefix(pattern: &[u8]) -> &[u8] {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    &pattern[..pattern.iter().position(special).unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use super::{BadPattern, Pattern, Token, glob_matches};

    fn tokens(text: &str) -> Pattern {
        let token = |word: &str| match word {
            "*" => Token::One,
            "#" => Token::Rest,
            word => Token::Literal(word.as_bytes().into()),
        };
        Pattern::tokens(text.split('.').map(token).collect())
    }

    #[test]
    fn operators_write_patterns_as_text() {
        let parse = |text: &str| text.parse::<Pattern>();
        assert_eq!(parse("a.*.b"), Ok(tokens("a.*.b")));
        assert_eq!(parse("a.>"), Ok(tokens("a.*.#")));
        assert_eq!(parse("#.b"), Ok(tokens("#.b")));
        assert_eq!(parse(">.b"), Err(BadPattern::NotLast));
        assert_eq!(parse("a..b"), Err(BadPattern::EmptyToken));
        assert_eq!(parse(""), Err(BadPattern::EmptyToken));
        assert_eq!(parse("a b"), Err(BadPattern::Blank));
    }

    #[test]
    fn tokens_match_as_they_read() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.", true),
            ("a.*", "a.b.c", false),
            ("*.#", "a", true),
            ("*.#", "a.b.c", true),
            ("a.*.#", "a", false),
            ("a.#", "a", true),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b.c.z", true),
            ("a.#.z", "a.b.c", false),
            ("#", "", true),
            ("#.b.#.d", "a.b.c.b.d", true),
            ("#.b.#.d", "a.c.d", false),
            ("#.#.#", "x", true),
        ] {
            assert_eq!(tokens(pattern).matches(subject.as_bytes()), expected, "{pattern} {subject}");
        }
        assert_eq!(tokens("a.b"), Pattern::literal(b"a.b"));
    }

    #[test]
    fn globs_match_as_they_read() {
        for (pattern, subject, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a[\\]]b", "a]b", true),
            ("a[b", "ab", true),
            ("a\\", "a\\", true),
            ("*.b.*", "a.b.c", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("[^x]", "", false),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), subject.as_bytes()), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn many_wildcards_take_no_longer_than_their_number_says() {
        // Without bounds on what is tried again these would not end in a lifetime.
        let subject = b"a".repeat(4_000);
        assert!(!glob_matches(&b"*a".repeat(500).into_iter().chain(*b"b").collect::<Vec<_>>(), &subject));
        let subject = vec!["a"; 2_000].join(".");
        assert!(!tokens(&("#.a.".repeat(500) + "b")).matches(subject.as_bytes()));
    }
}
