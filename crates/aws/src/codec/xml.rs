//! XML text and the error document of the Query protocol.

use std::fmt::{self, Write};

/// Writes an error.
#[must_use]
pub fn error(namespace: &str, is_senders: bool, code: &str, message: &str, request_id: &str) -> String {
    let fault = if is_senders { "Sender" } else { "Receiver" };
    format!(
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{}\"><Error><Type>{fault}</Type><Code>{}</Code>\
         <Message>{}</Message><Detail/></Error><RequestId>{}</RequestId></ErrorResponse>",
        Escaped(namespace),
        Escaped(code),
        Escaped(message),
        Escaped(request_id)
    )
}

/// A writer that escapes what is written through it.
pub(super) fn escape<W: Write>(out: W) -> impl Write {
    Escape(out)
}

struct Escape<W>(W);

impl<W: Write> Write for Escape<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let bytes = text.as_bytes();
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            let (escaped, length) = match byte {
                b'<' => ("&lt;", 1),
                b'>' => ("&gt;", 1),
                b'&' => ("&amp;", 1),
                b'"' => ("&quot;", 1),
                // A parser would make a line feed of it.
                b'\r' => ("&#xD;", 1),
                // No XML can hold these; messages do not, and complaints that quote them need not.
                0..=8 | 11 | 12 | 14..=31 => ("?", 1),
                0xef if matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])) => ("?", 3),
                _ => continue,
            };
            self.0.write_str(&text[plain..at])?;
            self.0.write_str(escaped)?;
            plain = at + length;
        }
        self.0.write_str(&text[plain..])
    }
}

/// A text as it stands within an element.
pub(crate) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escape(f).write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_legal() {
        assert_eq!(Escaped("ä \"b\" <c> & \r\n\t").to_string(), "ä &quot;b&quot; &lt;c&gt; &amp; &#xD;\n\t");
        assert_eq!(Escaped("\0a\u{1f}\u{ffff}").to_string(), "?a??");
        assert_eq!(Escaped("\u{fffe}<").to_string(), "?&lt;");
    }

    #[test]
    fn an_error_says_whose_fault_it_is() {
        let xml = error("urn:x", false, "Code", "a <b>", "id");
        assert!(
            xml.contains("<Type>Receiver</Type><Code>Code</Code><Message>a &lt;b&gt;</Message>"),
            "{xml}"
        );
    }
}
