//! Whole requests, requests in pieces, and what is none.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Malformed, Parser};
use crate::limits::{ARGUMENTS, LINE_BYTES};

const BULK: usize = 1 << 20;

type Requests = (Vec<Vec<Vec<u8>>>, Option<Malformed>);

/// All requests of a stream that comes in these pieces, and what ended it.
fn parse(pieces: &[&[u8]]) -> Requests {
    let mut parser = Parser::new(BULK);
    let (mut kept, mut all) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        let mut used = 0;
        loop {
            match parser.request(&kept[used..]) {
                Ok(None) => break,
                Err(malformed) => return (all, Some(malformed)),
                Ok(Some(length)) => {
                    let bytes = &kept[used..used + length];
                    all.push(parser.args(bytes).from(0).map(<[u8]>::to_vec).collect());
                    parser.advance();
                    used += length;
                }
            }
        }
        kept.drain(..used);
    }
    (all, None)
}

fn one(text: &str) -> Vec<String> {
    let (mut all, malformed) = parse(&[text.as_bytes()]);
    assert_eq!((all.len(), malformed), (1, None), "{text:?}");
    all.remove(0).into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
}

fn refused(bytes: &[u8]) -> Malformed {
    let (all, malformed) = parse(&[bytes]);
    assert!(all.is_empty());
    malformed.unwrap()
}

#[test]
fn an_array_of_bulk_strings_is_a_request() {
    assert_eq!(one("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"), ["ECHO", "hi"]);
    assert_eq!(one("*2\r\n$0\r\n\r\n$4\r\na\r\nb\r\n"), ["", "a\r\nb"]);
    // Redis does not look at what ends an argument.
    assert_eq!(one("*1\r\n$4\r\nPINGxx"), ["PING"]);
    assert!(one("*0\r\n").is_empty());
    assert!(one("*-7\r\n").is_empty());
}

#[test]
fn a_line_is_a_request() {
    assert_eq!(one("PING\r\n"), ["PING"]);
    assert_eq!(one("  SET\ta  b \n"), ["SET", "a", "b"]);
    assert!(one("\r\n").is_empty());
    assert_eq!(one("\"\"\n"), [""]);
}

#[test]
fn quotes_and_escapes_are_taken_away() {
    assert_eq!(one("ECHO \"a b\"\n"), ["ECHO", "a b"]);
    assert_eq!(one("ECHO 'it\\'s'\n"), ["ECHO", "it's"]);
    assert_eq!(one("ECHO 'a\\n'\n"), ["ECHO", "a\\n"]);
    assert_eq!(one("ECHO \"\\x41\\n\\r\\t\\a\\b\\q\\\\\\\"\"\n"), ["ECHO", "A\n\r\t\u{7}\u{8}q\\\""]);
    assert_eq!(one("ECHO \"\\x4\"\n"), ["ECHO", "x4"]);
    assert_eq!(one("ECHO a\"b c\"\n"), ["ECHO", "ab c"]);
}

#[test]
fn what_is_no_request_is_refused_for_what_it_is() {
    let long = |head: &str| [head.as_bytes(), &vec![b'1'; LINE_BYTES + 10]].concat();
    assert_eq!(refused(&vec![b'a'; LINE_BYTES + 1]), Malformed::InlineTooLong);
    assert_eq!(refused(b"ECHO \"a\n"), Malformed::Quotes);
    assert_eq!(refused(b"ECHO 'a'b\n"), Malformed::Quotes);
    assert_eq!(refused(&long("*")), Malformed::CountTooLong);
    assert_eq!(refused(b"*x\r\n"), Malformed::Count);
    assert_eq!(refused(b"*01\r\n"), Malformed::Count);
    assert_eq!(refused(b"*99999999999999999999\r\n"), Malformed::Count);
    assert_eq!(refused(format!("*{}\r\n", ARGUMENTS + 1).as_bytes()), Malformed::Count);
    assert_eq!(refused(&long("*1\r\n$")), Malformed::LengthTooLong);
    assert_eq!(refused(b"*1\r\n+PING\r\n"), Malformed::NotBulk(b'+'));
    assert_eq!(refused(b"*1\r\n*1\r\n$4\r\nPING\r\n"), Malformed::NotBulk(b'*'));
    assert_eq!(refused(b"*1\r\n\r\n"), Malformed::NotBulk(b'\r'));
    assert_eq!(refused(b"*1\r\n$-1\r\n"), Malformed::Length);
    assert_eq!(refused(format!("*1\r\n${}\r\n", BULK + 1).as_bytes()), Malformed::Length);
}

#[test]
fn nothing_is_reserved_for_arguments_that_are_only_announced() {
    let mut parser = Parser::new(BULK);
    assert_eq!(parser.request(format!("*{ARGUMENTS}\r\n").as_bytes()), Ok(None));
    assert_eq!(parser.places.capacity(), 0);
}

#[test]
fn a_request_that_waits_to_be_served_is_not_parsed_again() {
    let mut parser = Parser::new(BULK);
    let bytes = b"*1\r\n$4\r\nPING\r\nmore";
    assert_eq!(parser.request(bytes), Ok(Some(14)));
    assert_eq!(parser.request(bytes), Ok(Some(14)));
    assert_eq!(parser.args(bytes).get(0), b"PING");
    assert_eq!(parser.args(bytes).len(), 1);
}

/// Streams that are requests, nearly requests, and noise.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let bulk = proptest::collection::vec(any::<u8>(), 0..20);
    let array = proptest::collection::vec(bulk, 0..5).prop_map(|words| {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        bytes
    });
    let line = "[a-zA-Z '\"\\\\0-9]{0,20}\r?\n".prop_map(String::into_bytes);
    let noise = proptest::collection::vec(
        prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()],
        0..30,
    );
    let part = prop_oneof![4 => array, 2 => line, 1 => noise];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn pieces_do_not_change_what_is_parsed(bytes in stream(), cuts in proptest::collection::vec(any::<u16>(), 0..8)) {
        let whole = parse(&[&bytes]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(&whole, &parse(&pieces));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&whole, &parse(&single));
    }
}

#[test]
fn every_cut_in_two_gives_the_same_requests() {
    let bytes = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$11\r\nhello\r\nworl\r\nPING \"a b\"\r\n*1\r\n$4\r\nPING\r\n*1\r\n+x\r\n";
    let whole = parse(&[bytes]);
    assert_eq!((whole.0.len(), whole.1), (3, Some(Malformed::NotBulk(b'+'))));
    for cut in 0..=bytes.len() {
        assert_eq!(whole, parse(&[&bytes[..cut], &bytes[cut..]]), "{cut}");
    }
}
