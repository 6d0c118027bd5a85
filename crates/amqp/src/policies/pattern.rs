//! The pattern of a policy: a regular expression that is looked for in names.
//!
//! RabbitMQ's are those of Perl. Here they are those that no name makes slow, which look neither ahead nor back; but what many
//! policies begin with, `^(?!amq\.)`, is understood, and `^(?=...)`.
//! Source: RabbitMQ documentation, "Parameters and Policies"; the syntax of the crate `regex`.

use std::iter::{Enumerate, Peekable};
use std::str::Bytes;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::{PATTERN_BYTES, PATTERN_COMPILED_BYTES};

/// See the module.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What must stand where the name begins, or must not.
    ahead: Vec<(bool, Regex)>,
    rest: Regex,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES {
            return Err(format!("it is longer than {PATTERN_BYTES} bytes"));
        }
        let (mut ahead, mut rest) = (Vec::new(), text.strip_prefix('^').unwrap_or_default());
        while let Some((is_wanted, what, behind)) = look_ahead(rest) {
            ahead.push((is_wanted, compile(&format!("^(?:{what})"))?));
            rest = behind;
        }
        if ahead.is_empty() {
            return Ok(Self { ahead, rest: compile(text)? });
        }
        if at_top(rest, b'|').is_some() {
            return Err("behind (?!...) a choice with | must stand within brackets".to_owned());
        }
        Ok(Self { ahead, rest: compile(&format!("^(?:{rest})"))? })
    }

    pub(super) fn is_match(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.rest.is_match(name) && self.ahead.iter().all(|(is_wanted, it)| it.is_match(name) == *is_wanted)
    }
}

/// As RabbitMQ has them: of bytes, not of characters.
fn compile(text: &str) -> Result<Regex, String> {
    let limited = PATTERN_COMPILED_BYTES;
    let built = RegexBuilder::new(text)
        .unicode(false)
        .size_limit(limited)
        .dfa_size_limit(limited)
        .nest_limit(50)
        .build();
    built.map_err(|error| {
        let text = error.to_string();
        let last = text.lines().next_back().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}

/// Whether what stands in the brackets at the beginning is wanted, it, and what is behind.
fn look_ahead(text: &str) -> Option<(bool, &str, &str)> {
    let (is_wanted, rest) = match text.strip_prefix("(?=") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("(?!")?),
    };
    let end = at_top(rest, b')')?;
    Some((is_wanted, &rest[..end], &rest[end + 1..]))
}

/// Where a sign first stands that is neither escaped nor within brackets.
fn at_top(text: &str, sign: u8) -> Option<usize> {
    let (mut depth, mut bytes) = (0_usize, text.bytes().enumerate().peekable());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            byte if byte == sign && depth == 0 => return Some(at),
            b'\\' => drop(bytes.next()),
            b'[' => skip_class(&mut bytes),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// To behind the end of a class of characters: `]` is one of them where it stands first.
fn skip_class(bytes: &mut Peekable<Enumerate<Bytes<'_>>>) {
    bytes.next_if(|it| it.1 == b'^');
    bytes.next_if(|it| it.1 == b']');
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b']' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_in_a_name_unless_it_says_where() {
        for (pattern, found, not_found) in [
            ("", vec!["", "q"], vec![]),
            (".*", vec!["", "q"], vec![]),
            ("rd", vec!["orders", "rd"], vec!["invoices"]),
            ("^order", vec!["orders"], vec!["reorder"]),
            ("s$", vec!["orders"], vec!["order"]),
            ("^(a|b)\\.", vec!["a.x", "b.x"], vec!["ab.x", "c.x"]),
            ("(?i)^Q", vec!["q", "Q"], vec!["xq"]),
            (r"^\w{2}\d$", vec!["ab1"], vec!["äb1", "abc"]),
        ] {
            let it = Pattern::parse(pattern).unwrap();
            found.iter().for_each(|name| assert!(it.is_match(name), "{pattern} in {name}"));
            not_found.iter().for_each(|name| assert!(!it.is_match(name), "{pattern} not in {name}"));
        }
    }

    #[test]
    fn what_must_not_stand_at_the_beginning_is_understood() {
        for (pattern, found, not_found) in [
            (r"^(?!amq\.).*", vec!["orders", "amqp", ""], vec!["amq.gen-1"]),
            (r"^(?!amq\.)", vec!["orders"], vec!["amq.gen-1"]),
            (r"^(?!amq\.)(?!tmp).+s$", vec!["orders"], vec!["amq.s", "tmps", "order", "s\n"]),
            (r"^(?=o)(?!or).*", vec!["other"], vec!["orders", "x"]),
            (r"^(?!(a|b\))[)|]c).*(x|y)$", vec!["ax", "a)y"], vec!["a)cx", "b)|cy", "az"]),
            (r"^(?![])]x)[\])]", vec![")y", "]y"], vec![")x", "]x", "y"]),
        ] {
            let it = Pattern::parse(pattern).unwrap();
            found.iter().for_each(|name| assert!(it.is_match(name), "{pattern} in {name:?}"));
            not_found.iter().for_each(|name| assert!(!it.is_match(name), "{pattern} not in {name:?}"));
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for (pattern, why) in [
            ("(", "unclosed group"),
            ("*", "repetition operator missing expression"),
            ("[", "unclosed character class"),
            ("a(?!b)", "look-around, including look-ahead and look-behind, is not supported"),
            ("^(?!a", "look-around, including look-ahead and look-behind, is not supported"),
            ("^(?!a)b|c", "within brackets"),
            ("^(?!()b", "look-around"),
            (r"(a)\1", "backreferences are not supported"),
            ("a{1000}{1000}", "size limit"),
        ] {
            let told = Pattern::parse(pattern).unwrap_err();
            assert!(told.contains(why), "{pattern}: {told}");
        }
        assert!(Pattern::parse(&"(".repeat(PATTERN_BYTES)).is_err());
        assert!(
            Pattern::parse(&"a".repeat(PATTERN_BYTES + 1)).unwrap_err().contains("longer than 1024 bytes")
        );
    }
}
