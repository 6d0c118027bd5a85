//! The table holds together.
#![allow(clippy::unwrap_used)]

use super::{Command, TABLE, find, lookup, top_level};
use crate::codec::Parser;

fn found(line: &str) -> Result<&'static str, String> {
    let mut parser = Parser::new(1 << 20);
    let bytes = format!("{line}\n").into_bytes();
    parser.request(&bytes).unwrap().unwrap();
    let found = find(parser.args(&bytes)).map(|(_, command)| command.name);
    found.map_err(|error| String::from_utf8(error).unwrap())
}

#[test]
fn every_row_says_what_it_is() {
    let check = |command: &Command| {
        assert!(!command.summary.is_empty() && !command.group.is_empty() && !command.since.is_empty());
        assert_eq!(command.name, command.name.to_ascii_lowercase());
        assert!(
            std::ptr::eq(lookup(command.name.as_bytes()).unwrap().1, command),
            "{} is there twice",
            command.name
        );
        assert!(command.run.is_some() || !command.subcommands.is_empty(), "{}", command.name);
    };
    TABLE.iter().for_each(|command| check(command));
    for command in top_level() {
        for subcommand in command.subcommands {
            assert_eq!(subcommand.name.split('|').next(), Some(command.name));
        }
    }
}

#[test]
fn a_request_finds_its_command_or_says_why_not() {
    assert_eq!(found("PiNg"), Ok("ping"));
    assert_eq!(found("client id"), Ok("client|id"));
    assert_eq!(found("COMMAND"), Ok("command"));
    assert_eq!(found("echo"), Err("ERR wrong number of arguments for 'echo' command".to_owned()));
    assert_eq!(found("client"), Err("ERR wrong number of arguments for 'client' command".to_owned()));
    assert_eq!(found("client id x"), Err("ERR wrong number of arguments for 'client|id' command".to_owned()));
    assert_eq!(found("client foo"), Err("ERR unknown subcommand 'foo'. Try CLIENT HELP.".to_owned()));
    let unknown = |text: &str| Err(format!("ERR unknown command {text}"));
    assert_eq!(found("foo a b"), unknown("'foo', with args beginning with: 'a' 'b' "));
    assert_eq!(found("client|id"), unknown("'client|id', with args beginning with: "));
    let long = "z".repeat(300);
    let cut = "z".repeat(128);
    assert_eq!(
        found(&format!("{long} {long} x")),
        unknown(&format!("'{cut}', with args beginning with: '{cut}' "))
    );
}
