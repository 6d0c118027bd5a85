//! What a subscriber is sent for a message: the one thing that is written a million times a second.

use super::decimal;

/// By which kind of subscription a message is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushKind<'a> {
    /// A channel.
    Channel,
    /// A pattern, this one.
    Pattern(&'a [u8]),
    /// A shard channel.
    Shard,
}

/// Appends all that stands before the payload: the same for every message of a channel by one subscription.
pub fn push_head(out: &mut Vec<u8>, resp3: bool, kind: PushKind<'_>, channel: &[u8]) {
    out.push(if resp3 { b'>' } else { b'*' });
    match kind {
        PushKind::Channel => out.extend_from_slice(b"3\r\n$7\r\nmessage\r\n"),
        PushKind::Shard => out.extend_from_slice(b"3\r\n$8\r\nsmessage\r\n"),
        PushKind::Pattern(pattern) => {
            out.extend_from_slice(b"4\r\n$8\r\npmessage\r\n");
            push_payload(out, pattern);
        }
    }
    push_payload(out, channel);
}

/// Appends one bulk string.
pub fn push_payload(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(b'$');
    decimal(out, payload.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::{PushKind, push_head, push_payload};

    #[test]
    fn a_message_is_framed_by_what_it_is_heard_by() {
        let frame = |resp3, kind, channel: &[u8]| {
            let mut out = Vec::new();
            push_head(&mut out, resp3, kind, channel);
            push_payload(&mut out, b"hello");
            String::from_utf8(out).expect("text").replace("\r\n", "|")
        };
        assert_eq!(frame(false, PushKind::Channel, b"news"), "*3|$7|message|$4|news|$5|hello|");
        assert_eq!(frame(true, PushKind::Channel, b""), ">3|$7|message|$0||$5|hello|");
        assert_eq!(frame(true, PushKind::Pattern(b"n*"), b"news"), ">4|$8|pmessage|$2|n*|$4|news|$5|hello|");
        assert_eq!(frame(false, PushKind::Shard, b"s"), "*3|$8|smessage|$1|s|$5|hello|");
    }
}
