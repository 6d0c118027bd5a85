//! Messages as clients hear them.
//!
//! ```text
//! MSG subject sid [reply] size CRLF payload CRLF
//! HMSG subject sid [reply] header-size total-size CRLF header payload CRLF
//! ```

use duolog_broker::live::Message;

/// What a header block begins with. The broker keeps what is behind it.
pub const HEADER_VERSION: &[u8] = b"NATS/1.0";
/// The rest of the header block that says that nobody listens.
pub const NO_RESPONDERS: &[u8] = b" 503\r\n\r\n";

/// Digits of the largest number.
const DIGITS: usize = 20;

/// Appends a message. `sid` has a blank before and behind it. Without `with_headers` they are left out.
pub fn message(out: &mut Vec<u8>, sid: &[u8], message: &Message<'_>, with_headers: bool) {
    let Message { subject, reply, headers, payload } = *message;
    let has_headers = with_headers && !headers.is_empty();
    out.reserve(subject.len() + sid.len() + reply.len() + headers.len() + payload.len() + 64);
    out.extend_from_slice(if has_headers { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(subject);
    out.extend_from_slice(sid);
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if has_headers {
        let block = HEADER_VERSION.len() + headers.len();
        decimal(out, block, b" ");
        decimal(out, block + payload.len(), b"\r\n");
        out.extend_from_slice(HEADER_VERSION);
        out.extend_from_slice(headers);
    } else {
        decimal(out, payload.len(), b"\r\n");
    }
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Bytes of header block and payload: what the peer counts as a message's size.
#[must_use]
pub fn message_bytes(message: &Message<'_>) -> usize {
    let headers = if message.headers.is_empty() { 0 } else { HEADER_VERSION.len() + message.headers.len() };
    headers + message.payload.len()
}

/// Appends a number and what follows it, at most two bytes.
fn decimal(out: &mut Vec<u8>, mut number: usize, behind: &[u8]) {
    let mut text = [0; DIGITS + 2];
    let mut at = DIGITS;
    text[at..at + behind.len()].copy_from_slice(behind);
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..DIGITS + behind.len()]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_broker::live::Message;
    use proptest::prelude::*;

    use super::{decimal, message};
    use crate::codec::{Command, Parser, Step};

    #[track_caller]
    fn check(heard: Message<'_>, with_headers: bool, expected: &str) {
        let mut out = Vec::new();
        message(&mut out, b" 7 ", &heard, with_headers);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn messages_are_written_as_the_peer_does() {
        let plain = Message { subject: b"a.b", reply: b"", headers: b"", payload: b"hello" };
        check(plain, true, "MSG a.b 7 5\r\nhello\r\n");
        check(Message { reply: b"r", payload: b"", ..plain }, true, "MSG a.b 7 r 0\r\n\r\n");
        let with = Message { headers: b"\r\nA: b\r\n\r\n", ..plain };
        check(with, true, "HMSG a.b 7 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n");
        check(with, false, "MSG a.b 7 5\r\nhello\r\n");
        let nobody = Message { subject: b"r", reply: b"", headers: super::NO_RESPONDERS, payload: b"" };
        check(nobody, true, "HMSG r 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
    }

    proptest! {
        #[test]
        fn numbers_are_written(number in any::<usize>()) {
            let mut out = Vec::new();
            decimal(&mut out, number, b"\r\n");
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{number}\r\n"));
        }

        /// A message that is heard has the form of one that is published, but for verb and sid.
        #[test]
        fn what_is_written_reads_the_same(subject in "[a-z.]{1,20}", reply in "[a-z.]{0,20}",
                                          headers in "(\r\n(a: [a-z]{0,5}\r\n){1,3}\r\n)?",
                                          payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let heard = Message {
                subject: subject.as_bytes(), reply: reply.as_bytes(), headers: headers.as_bytes(), payload: &payload,
            };
            let mut out = Vec::new();
            message(&mut out, b" ", &heard, true);
            let published = String::from_utf8_lossy(&out[..5]).replacen("MSG", "PUB", 1);
            let verb = published.split(' ').next().unwrap();
            let published = [verb.as_bytes(), &out[verb.len()..]].concat();
            let Step::Command(Command::Publish(read), length) = Parser::new(1000).next(&published) else {
                panic!("{}", published.escape_ascii());
            };
            prop_assert_eq!(length, published.len());
            prop_assert_eq!(read.subject, heard.subject);
            prop_assert_eq!(read.reply, heard.reply);
            prop_assert_eq!(read.payload, heard.payload);
            prop_assert_eq!(read.headers.map_or(&b""[..], |block| &block[8..]), heard.headers);
        }
    }
}
