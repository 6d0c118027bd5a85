//! Subjects: which are valid, and what a subscription's becomes in the broker.
//!
//! A subject is tokens between dots. In a subscription `*` is any one token and `>`, at the end, one or more; both only where
//! they are the whole token. Source: NATS documentation, "Subject-Based Messaging"; nats-server's sublist.

use duolog_broker::live::{Pattern, SEPARATOR, Token};

use crate::limits::SUBJECT_BYTES;

/// The pattern of a subscription; `None` if its subject is not valid.
#[must_use]
pub fn pattern(subject: &[u8]) -> Option<Pattern> {
    if !subject.contains(&b'*') && !subject.contains(&b'>') {
        return has_tokens(subject).then(|| Pattern::literal(subject));
    }
    let mut tokens = Vec::new();
    let mut is_over = false;
    for token in subject.split(|byte| *byte == SEPARATOR) {
        if is_over || token.is_empty() {
            return None;
        }
        match token {
            b"*" => tokens.push(Token::One),
            b">" => {
                tokens.extend([Token::One, Token::Rest]);
                is_over = true;
            }
            literal => tokens.push(Token::Literal(literal.into())),
        }
    }
    Some(Pattern::tokens(tokens))
}

/// Whether a pedantic client may publish there: tokens, none of them a wildcard.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    subject.split(|byte| *byte == SEPARATOR).all(|token| !matches!(token, b"" | b"*" | b">"))
}

/// Whether a client can be told of a message there, whoever published it: nothing in it ends a word or the line.
#[must_use]
pub fn is_carried(subject: &[u8]) -> bool {
    let is_word = !subject.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    is_word && subject.len() <= SUBJECT_BYTES && has_tokens(subject)
}

/// None of its tokens is empty.
fn has_tokens(subject: &[u8]) -> bool {
    subject.split(|byte| *byte == SEPARATOR).all(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::{is_carried, is_literal, pattern};

    #[test]
    fn wildcards_are_whole_tokens() {
        for (subscribed, heard, not_heard) in [
            ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.c"]),
            ("a.*", vec!["a.b", "a.*"], vec!["a", "a.b.c"]),
            ("*", vec!["a", "*"], vec!["a.b"]),
            (">", vec!["a", "a.b.c"], vec![]),
            ("a.>", vec!["a.b", "a.b.c", "a.>"], vec!["a", "b.a"]),
            ("*.b.>", vec!["a.b.c", "a.b.c.d"], vec!["a.b", "a.c.b"]),
            ("a*", vec!["a*"], vec!["ab"]),
            ("a>", vec!["a>"], vec!["a.b", "ab"]),
            ("a*.*", vec!["a*.b"], vec!["ab.b"]),
        ] {
            let pattern = pattern(subscribed.as_bytes()).unwrap();
            for subject in heard {
                assert!(pattern.matches(subject.as_bytes()), "{subscribed} hears {subject}");
            }
            for subject in not_heard {
                assert!(!pattern.matches(subject.as_bytes()), "{subscribed} does not hear {subject}");
            }
        }
    }

    #[test]
    fn empty_tokens_and_anything_behind_the_rest_are_not_valid() {
        for subject in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "*.", "a.>."] {
            assert_eq!(pattern(subject.as_bytes()), None, "{subject}");
        }
    }

    #[test]
    fn a_pedantic_client_publishes_to_literals() {
        for (subject, expected) in [
            ("a", true),
            ("a.b", true),
            ("a>", true),
            ("a*b", true),
            ("a.*", false),
            (">", false),
            ("a..b", false),
        ] {
            assert_eq!(is_literal(subject.as_bytes()), expected, "{subject}");
        }
    }

    #[test]
    fn what_would_break_a_line_is_not_carried() {
        for subject in ["a b", "a\tb", "a\r", "a\n", "", "a..b", ".a"] {
            assert!(!is_carried(subject.as_bytes()), "{subject:?}");
        }
        assert!(is_carried("\u{0}ä.>*".as_bytes()));
        assert!(is_carried(&[b'a'; 4096]));
        assert!(!is_carried(&[b'a'; 4097]));
    }

    proptest! {
        #[test]
        fn a_literal_hears_itself_alone(subject in "[a-c*>.]{0,8}", other in "[a-c*>.]{0,8}") {
            if is_literal(subject.as_bytes()) {
                let pattern = pattern(subject.as_bytes()).unwrap();
                prop_assert_eq!(pattern.matches(other.as_bytes()), subject == other);
            }
        }
    }
}
