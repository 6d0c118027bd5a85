//! An echo against a log by hand: what it says to listeners, and when.

use std::collections::HashMap;

use duolog_record::{Offset, PartitionId};

use super::{Echo, EchoOverflow, wishes};

#[test]
fn an_echo_that_stays_begins_where_it_was_asked_for() {
    let echo = |topic: &str| {
        let subject = "x".parse().expect("sound");
        Echo { topic: topic.into(), subject, overflow: EchoOverflow::AsAlways }
    };
    let end = |offset: u64| move |_: &str| HashMap::from([(PartitionId(1), Offset(offset))]);
    let first = wishes(&[], vec![echo("a")], end(5));
    let second = wishes(&first, vec![echo("a"), echo("b")], end(9));
    let ends: Vec<_> = second.iter().map(|wish| wish.ends[&PartitionId(1)]).collect();
    assert_eq!(ends, [Offset(5), Offset(9)]);
}
