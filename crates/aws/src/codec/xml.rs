//! The error of the older Query protocol, which is not supported yet: its clients are told so in their own words.
//!
//! Source: SQS API Reference, "Structure of an error response"; SNS likewise with its own namespace.

/// Writes an error response.
#[must_use]
pub fn error(namespace: &str, code: &str, message: &str, request_id: &str) -> String {
    let mut out = String::with_capacity(message.len() + 256);
    out.push_str("<?xml version=\"1.0\"?><ErrorResponse xmlns=\"");
    out.push_str(namespace);
    out.push_str("\"><Error><Type>Sender</Type><Code>");
    escape(&mut out, code);
    out.push_str("</Code><Message>");
    escape(&mut out, message);
    out.push_str("</Message><Detail/></Error><RequestId>");
    escape(&mut out, request_id);
    out.push_str("</RequestId></ErrorResponse>");
    out
}

fn escape(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            char => out.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped() {
        let xml = super::error("urn:x", "Code", "a <b> & c", "id");
        assert!(xml.contains("<Message>a &lt;b&gt; &amp; c</Message>"), "{xml}");
    }
}
