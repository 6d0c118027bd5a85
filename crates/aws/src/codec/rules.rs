//! Which texts and names the service allows. Pure predicates; the actions word the complaints.
//!
//! Source: SQS Developer Guide, "Amazon SQS message quotas", "Message attribute components"; SQS API Reference, SendMessage.

use crate::limits::{
    ATTRIBUTE_NAME_BYTES, BATCH_ID_BYTES, GROUP_ID_BYTES, QUEUE_NAME_BYTES, TAG_KEY_CHARS, TAG_VALUE_CHARS,
    TOPIC_NAME_BYTES,
};

/// True if every character may stand in a message: `#x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF`.
#[must_use]
pub fn is_legal_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Of UTF-8, only control characters and the two noncharacters EF BF BE and EF BF BF can offend.
    if bytes.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) {
        return false;
    }
    !bytes.contains(&0xef) || !text.chars().any(|char| matches!(char, '\u{fffe}' | '\u{ffff}'))
}

/// The text in these bytes if it may stand in a message.
#[must_use]
pub fn legal_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| is_legal_text(text))
}

/// True for 1 to 80 letters, digits, hyphens, underscores; `.fifo` may follow within the 80.
#[must_use]
pub fn is_queue_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    !stem.is_empty() && name.len() <= QUEUE_NAME_BYTES && stem.bytes().all(is_word)
}

/// True for the same of a topic, which may be longer.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    !stem.is_empty() && name.len() <= TOPIC_NAME_BYTES && stem.bytes().all(is_word)
}

/// True for the id of a batch entry.
#[must_use]
pub fn is_batch_id(id: &str) -> bool {
    (1..=BATCH_ID_BYTES).contains(&id.len()) && id.bytes().all(is_word)
}

/// True if a message's attribute may be named so.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    let starts_with = |prefix: &str| {
        name.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    (1..=ATTRIBUTE_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| is_word(byte) || byte == b'.')
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !starts_with("AWS.")
        && !starts_with("Amazon.")
}

/// True for `String`, `Number`, `Binary`, alone or with a suffix after a dot.
#[must_use]
pub fn is_attribute_type(data_type: &str) -> bool {
    let (base, suffix) = match data_type.split_once('.') {
        Some((base, suffix)) => (base, Some(suffix)),
        None => (data_type, None),
    };
    matches!(base, "String" | "Number" | "Binary")
        && data_type.len() <= ATTRIBUTE_NAME_BYTES
        && suffix.is_none_or(|suffix| !suffix.is_empty() && is_legal_text(suffix))
}

/// True for a decimal number, possibly with fraction and exponent, of at most 38 significant digits.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    plain && (1..=ATTRIBUTE_NAME_BYTES).contains(&digits) && text.parse::<f64>().is_ok()
}

/// True for 1 to 128 letters, digits and ASCII punctuation.
#[must_use]
pub fn is_group_id(id: &str) -> bool {
    (1..=GROUP_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// True for a tag's key.
#[must_use]
pub fn is_tag_key(key: &str) -> bool {
    let reserved = key.as_bytes().get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"aws:"));
    !key.is_empty() && !reserved && is_tag_text(key, TAG_KEY_CHARS)
}

/// True for a tag's value.
#[must_use]
pub fn is_tag_value(value: &str) -> bool {
    is_tag_text(value, TAG_VALUE_CHARS)
}

fn is_tag_text(text: &str, chars: usize) -> bool {
    text.chars().count() <= chars
        && text
            .chars()
            .all(|char| char.is_alphanumeric() || char.is_whitespace() || "_.:/=+-@".contains(char))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_legal_by_the_services_table() {
        for text in ["", "a\t\n\r", "\u{7f}", "ä\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}"] {
            assert!(is_legal_text(text), "{text:?}");
        }
        for text in ["\0", "\u{1}", "a\u{1f}", "\u{fffe}", "x\u{ffff}"] {
            assert!(!is_legal_text(text), "{text:?}");
        }
        assert_eq!(legal_text(b"\xff"), None);
    }

    #[test]
    fn names_are_legal_by_the_services_rules() {
        assert!(is_queue_name("a-B_9") && is_queue_name("a.fifo") && is_queue_name(&"x".repeat(80)));
        for name in ["", ".fifo", "a.b", "bad name!", "ä", &"x".repeat(81)] {
            assert!(!is_queue_name(name), "{name}");
        }
        assert!(is_attribute_name("a.b-c_D9") && is_attribute_name("awsome"));
        for name in ["", ".a", "a.", "a..b", "aws.x", "AMAZON.x", "a b", &"x".repeat(257)] {
            assert!(!is_attribute_name(name), "{name}");
        }
        assert!(
            is_batch_id("a-1_") && !is_batch_id("") && !is_batch_id("a.b") && !is_batch_id(&"x".repeat(81))
        );
        assert!(is_group_id("g!~") && !is_group_id("a b") && !is_group_id("") && !is_group_id("ä"));
    }

    #[test]
    fn types_and_numbers_are_checked() {
        assert!(
            is_attribute_type("String")
                && is_attribute_type("Number.int")
                && is_attribute_type("Binary.gif.x")
        );
        assert!(
            !is_attribute_type("string") && !is_attribute_type("Number.") && !is_attribute_type("Strings")
        );
        for number in ["0", "-1.5", "1e10", "+3", "4563442423554324324264524243.32543234"] {
            assert!(is_number(number), "{number}");
        }
        for number in ["", "x", "1,5", "0x10", "inf", "NaN", "1 ", "--1"] {
            assert!(!is_number(number), "{number}");
        }
    }

    #[test]
    fn tags_are_checked() {
        assert!(is_tag_key("duolog:topic") && is_tag_value("") && is_tag_value("käse + brot"));
        assert!(
            !is_tag_key("") && !is_tag_key("aws:x") && !is_tag_key("a*") && !is_tag_value(&"x".repeat(257))
        );
    }
}
