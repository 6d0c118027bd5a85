//! The parser against texts, against itself under every cut, and against noise.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Command, ParseError, Parser, Publish, Step};
use crate::limits::CONTROL_LINE_BYTES;

/// What the whole of `bytes` says, each command as its debug form, and why it ended.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<String>, Option<ParseError>) {
    let mut parser = Parser::new(1000);
    let (mut said, mut used) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            match parser.next(&bytes[used..cut.max(used)]) {
                Step::Command(command, length) => {
                    said.push(format!("{command:?}"));
                    used += length;
                }
                Step::More(length) => {
                    used += length;
                    break;
                }
                Step::Wrong(error) => return (said, Some(error)),
            }
        }
    }
    (said, None)
}

#[track_caller]
fn check(bytes: &[u8], expected: &[Command<'_>]) {
    let expected: Vec<String> = expected.iter().map(|command| format!("{command:?}")).collect();
    assert_eq!(read(bytes, &[]), (expected.clone(), None), "{}", bytes.escape_ascii());
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(read(bytes, &each), (expected, None), "byte by byte: {}", bytes.escape_ascii());
}

#[track_caller]
fn refused(bytes: &[u8], error: ParseError) {
    assert_eq!(read(bytes, &[]), (Vec::new(), Some(error)), "{}", bytes.escape_ascii());
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(read(bytes, &each), (Vec::new(), Some(error)), "byte by byte: {}", bytes.escape_ascii());
}

fn publish<'a>(subject: &'a [u8], reply: &'a [u8], payload: &'a [u8]) -> Command<'a> {
    Command::Publish(Publish { subject, reply, headers: None, payload })
}

#[test]
fn commands_are_read() {
    check(b"PUB a.b 5\r\nhello\r\n", &[publish(b"a.b", b"", b"hello")]);
    check(b"pub a r 0\r\n\r\nPub b 1\nx\r\n", &[publish(b"a", b"r", b""), publish(b"b", b"", b"x")]);
    check(b"PUB\t a  \t r \t3 \r\nx\ny\r\n", &[publish(b"a", b"r", b"x\ny")]);
    let headers = Publish { subject: b"a", reply: b"r", headers: Some(b"NATS/1.0\r\n\r\n"), payload: b"x" };
    check(b"HPUB a r 12 13\r\nNATS/1.0\r\n\r\nx\r\n", &[Command::Publish(headers)]);
    check(b"SUB a 1\r\n", &[Command::Subscribe { subject: b"a", queue: None, sid: b"1" }]);
    check(b"sub a.> q x9\n", &[Command::Subscribe { subject: b"a.>", queue: Some(b"q"), sid: b"x9" }]);
    check(b"UNSUB 1\r\n", &[Command::Unsubscribe { sid: b"1", max: 0 }]);
    check(
        b"UNSUB 1 20\r\nunsub 2 x\r\n",
        &[Command::Unsubscribe { sid: b"1", max: 20 }, Command::Unsubscribe { sid: b"2", max: 0 }],
    );
    check(
        b"PING\r\nPONG\r\npingpong\n+OK\r\n",
        &[Command::Ping, Command::Pong, Command::Ping, Command::Consent],
    );
    check(
        b"CONNECT {} \r\nconnect{}\r\nCONNECT\r\n",
        &[Command::Connect(b"{}"), Command::Connect(b"{}"), Command::Connect(b"")],
    );
    check(b"INFO {}\r\n-ERR 'x'\r\n", &[Command::Info(b"{}"), Command::Complaint]);
}

#[test]
fn what_is_none_is_refused_at_its_first_wrong_byte() {
    for text in
        ["G", "PX", "\r", "\n", " ", "PUBx", "SUB\r", "UNSUBS", "-ERR\r", "+N", "MSG", "A+", "\0", "H2"]
    {
        refused(text.as_bytes(), ParseError::UnknownOperation);
    }
    refused(b"PUB a 1\r\nxy", ParseError::UnknownOperation);
    refused(b"PUB a 1\r\nx\ry", ParseError::UnknownOperation);
    refused(b"PUB a 1\r\nx\n", ParseError::UnknownOperation);
}

#[test]
fn wrong_arguments_are_refused() {
    for line in [
        "PUB \r\n",
        "PUB a\r\n",
        "PUB a b c 1\r\n",
        "PUB a x\r\n",
        "PUB a -1\r\n",
        "PUB a +1\r\n",
        "PUB a 0000000001\r\n",
        "PUB a 99999999999999999999\r\n",
        "HPUB a 12\r\n",
        "HPUB a b c 1 1\r\n",
        "HPUB a 2 1\r\n",
        "HPUB a x 1\r\n",
        "SUB a\r\n",
        "SUB a b c d\r\n",
        "SUB \r\n",
        "UNSUB \r\n",
        "UNSUB 1 2 3\r\n",
    ] {
        refused(line.as_bytes(), ParseError::Arguments);
    }
}

#[test]
fn lines_and_payloads_have_a_limit() {
    let line = |length: usize| format!("SUB {} 1\r\n", "a".repeat(length - 2)).into_bytes();
    assert_eq!(read(&line(CONTROL_LINE_BYTES), &[]).1, None);
    refused(&line(CONTROL_LINE_BYTES + 1), ParseError::ControlLine);
    let unended = [b"PUB ".to_vec(), vec![b'a'; CONTROL_LINE_BYTES + 1]].concat();
    refused(&unended, ParseError::ControlLine);
    assert_eq!(read(&unended[..unended.len() - 1], &[]), (Vec::new(), None));
    refused(b"PUB a 1001\r\n", ParseError::Payload);
    refused(b"HPUB a 12 999999999\r\n", ParseError::Payload);
}

#[test]
fn what_follows_a_ping_is_not_kept() {
    let mut parser = Parser::new(1000);
    assert_eq!(parser.next(b"PING and"), Step::More(8));
    assert_eq!(parser.next(&[b'x'; 100_000]), Step::More(100_000));
    assert_eq!(parser.next(b"\nPING"), Step::Command(Command::Ping, 1));
}

fn commands() -> impl Strategy<Value = Vec<u8>> {
    let word = "[a-z0-9.*>$_-]{1,12}";
    let one = prop_oneof![
        (word, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(subject, payload)| {
            let head = format!("PUB {subject} {}\r\n", payload.len());
            [head.as_bytes(), &payload, b"\r\n"].concat()
        }),
        (word, word, 0..20_usize, proptest::collection::vec(any::<u8>(), 20..40)).prop_map(
            |(subject, reply, headers, all)| {
                let head = format!("hpub {subject}\t{reply} {headers} {}\n", all.len());
                [head.as_bytes(), &all, b"\r\n"].concat()
            }
        ),
        (word, word).prop_map(|(subject, sid)| format!("SUB {subject} {sid}\r\n").into_bytes()),
        (word, 0..99_u32).prop_map(|(sid, max)| format!("UNSUB {sid} {max}\r\n").into_bytes()),
        Just(b"PING\r\n".to_vec()),
        Just(b"CONNECT {\"verbose\":false}\r\n".to_vec()),
    ];
    proptest::collection::vec(one, 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn cuts_change_nothing(bytes in commands(), noise in proptest::collection::vec(any::<u8>(), 0..4),
                           mut cuts in proptest::collection::vec(0..400_usize, 0..30)) {
        let bytes = [bytes, noise].concat();
        cuts.retain(|cut| *cut <= bytes.len());
        cuts.sort_unstable();
        prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
    }

    #[test]
    fn noise_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes, &[]);
    }
}
