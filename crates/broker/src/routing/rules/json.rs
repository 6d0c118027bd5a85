//! Reads JSON: bounded in depth, borrowing texts where they have no escapes.
//!
//! Source: RFC 8259. Of a name that stands twice the last counts, as most readers have it.

use std::borrow::Cow;
use std::fmt;

use crate::limits::JSON_DEPTH;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    at: usize,
    what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// What stands under a name.
pub(super) fn get<'o, 'a>(object: &'o [(Cow<'a, str>, Json<'a>)], name: &str) -> Option<&'o Json<'a>> {
    object.iter().rev().find(|(its, _)| its == name).map(|(_, value)| value)
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(is) => is.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::List(_) => f.write_str("["),
            Self::Object(_) => f.write_str("{"),
        }
    }
}

/// Reads one value and nothing behind it.
pub(super) fn parse(text: &str) -> Result<Json<'_>, Malformed> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wrong("something follows the value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// Takes a byte that stands here, blanks before it aside.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, Malformed> {
        if depth > JSON_DEPTH {
            return Err(self.wrong("it is nested too deeply"));
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.wrong("it ends where a value should be")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Malformed> {
        self.at += 1;
        let mut pairs = Vec::new();
        if self.takes(b'}') {
            return Ok(Json::Object(pairs));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes is missing"));
            }
            let name = self.text()?;
            if !self.takes(b':') {
                return Err(self.wrong("a colon is missing"));
            }
            pairs.push((name, self.value(depth + 1)?));
            match (self.takes(b','), self.takes(b'}')) {
                (true, false) => {}
                (false, true) => return Ok(Json::Object(pairs)),
                _ => return Err(self.wrong("a comma or the end of the object is missing")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, Malformed> {
        self.at += 1;
        let mut values = Vec::new();
        if self.takes(b']') {
            return Ok(Json::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            match (self.takes(b','), self.takes(b']')) {
                (true, false) => {}
                (false, true) => return Ok(Json::List(values)),
                _ => return Err(self.wrong("a comma or the end of the list is missing")),
            }
        }
    }

    fn word(&mut self) -> Result<Json<'a>, Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        match words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes())) {
            Some((word, value)) => {
                self.at += word.len();
                Ok(value)
            }
            None => Err(self.wrong("there is no value")),
        }
    }

    fn number(&mut self) -> Result<Json<'a>, Malformed> {
        let from = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.wrong("a number is malformed"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.wrong("a number is malformed"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.wrong("a number is malformed"));
            }
        }
        let number: f64 =
            self.text[from..self.at].parse().map_err(|_| self.wrong("a number is malformed"))?;
        match number.is_finite() {
            true => Ok(Json::Number(number)),
            false => Err(self.wrong("a number is out of range")),
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.at += 1;
        let mut owned: Option<String> = None;
        let mut from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let piece = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(piece),
                        Some(text) => Cow::Owned(text + piece),
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    let char = self.escape()?;
                    owned.get_or_insert_default().push(char);
                    from = self.at;
                }
                Some(0..0x20) => return Err(self.wrong("a control character stands in a text")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a text does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            Some(char @ (b'"' | b'\\' | b'/')) => char::from(char),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            Some(_) | None => {
                // It may be the first byte of a longer character.
                self.at -= 1;
                return Err(self.wrong("an escape is malformed"));
            }
        })
    }

    fn code_point(&mut self) -> Result<char, Malformed> {
        let first = self.hex()?;
        let code = match first {
            0xd800..0xdc00 => {
                let low = self.text.as_bytes()[self.at..].starts_with(b"\\u");
                self.at += if low { 2 } else { 0 };
                match if low { self.hex()? } else { 0 } {
                    low @ 0xdc00..0xe000 => 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(self.wrong("half a surrogate pair stands in a text")),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("half a surrogate pair stands in a text"))
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.wrong("an escape is malformed"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_are_read() {
        let text = r#" {"a" : [1, -0.5e2 ,true,null,"x\n\u00e4\ud83d\ude00"], "b":{}, "a":[] } "#;
        let Json::Object(pairs) = parse(text).unwrap() else { panic!("an object") };
        let list = vec![
            Json::Number(1.0),
            Json::Number(-50.0),
            Json::Bool(true),
            Json::Null,
            Json::Text("x\nä😀".into()),
        ];
        assert_eq!((&*pairs[0].0, &pairs[0].1), ("a", &Json::List(list)));
        assert_eq!(get(&pairs, "a"), Some(&Json::List(Vec::new())), "the last counts");
        assert!(matches!(parse("\"plain\"").unwrap(), Json::Text(Cow::Borrowed("plain"))));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "1e999",
            "nul",
            "True",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\n\"",
            "1 2",
            "[]]",
            "\u{feff}1",
            "\"\\ä\"",
            "'a'",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        let deep = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(JSON_DEPTH)).is_ok() && parse(&deep(JSON_DEPTH + 2)).is_err());
    }
}
