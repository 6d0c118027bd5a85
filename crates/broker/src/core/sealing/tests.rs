//! Tests of sealing: what a crash, a full disk or a flood may not break.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use duolog_record::Offset;
use duolog_storage::Log;

use crate::NewRecord;
use crate::core::Command;
use crate::core::harness::{Harness, batch, cursor_move, policy};
use crate::errors::ChangeError;
use crate::limits::{CURSOR_METADATA_BYTES, GROUP_APPENDS, PENDING_TRIMS, STATE_CURSOR_BYTES};

#[test]
fn a_batch_is_known_to_have_no_keys_only_if_all_its_records_were_seen_to_have_none() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    let publish = |it: &mut Harness, keys: &[Option<&'static str>]| {
        let record = |key: &Option<&'static str>| NewRecord {
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: Some(Bytes::from_static(b"x")),
            ..NewRecord::default()
        };
        let records = keys.iter().map(record).collect();
        it.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    };
    publish(&mut it, &[None, None]);
    publish(&mut it, &[Some("a")]);
    publish(&mut it, &[Some("")]);
    publish(&mut it, &[None, Some("a"), None]);
    // A batch that a client has sealed is not opened to look.
    it.append(partition, batch(3, None)).unwrap();
    let unkeyed = |log: &dyn Log| -> Vec<bool> {
        log.spans(partition, Offset(0), 100).unwrap().iter().map(|span| span.unkeyed).collect()
    };
    assert_eq!(unkeyed(&it.log), [true, false, false, false, false]);
}

#[test]
fn more_appends_than_a_commit_holds_are_several_groups() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    let batch = batch(1, None);
    let appends = GROUP_APPENDS * 2 + 10;
    let answers: Vec<_> = (0..appends)
        .map(|_| it.ask(|reply| Command::Append { partition, batch: batch.clone(), keys: None, reply }))
        .collect();
    it.settle();
    for (n, mut answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.try_recv().unwrap().unwrap().base, Offset(n as u64));
    }
    assert_eq!(it.log.bounds(partition).unwrap().end, Offset(appends as u64));
}

#[test]
fn more_cursors_than_a_commit_holds_are_several_groups_and_answered_with_the_last() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 1_000, policy());
    let groups = 3 * STATE_CURSOR_BYTES / (1_000 * CURSOR_METADATA_BYTES);
    let mut answers = Vec::new();
    for group in 0..groups {
        let group = format!("g{group:02}");
        let mut moves: Vec<_> = (0..1_000).map(|index| cursor_move(it.partition(topic, index), 9)).collect();
        moves.iter_mut().for_each(|it| it.metadata = "m".repeat(CURSOR_METADATA_BYTES));
        answers.push(it.ask(|reply| Command::MoveCursors { group, moves, reply }));
    }
    it.seal();
    assert!(it.pump());
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "not all of it is durable");
    it.settle();
    assert!(answers.into_iter().all(|mut answer| answer.try_recv().unwrap().is_ok()));
    it.crash();
    assert_eq!(it.core.cursors.groups().count(), groups);
}

#[test]
fn more_partitions_than_a_commit_holds_are_refused_for_now() {
    let mut it = Harness::new(|_| ());
    let answers: Vec<_> = (0..4)
        .map(|n| {
            let spec = crate::core::harness::spec(&format!("topic-{n}"), 10_000, policy());
            it.ask(|reply| Command::CreateTopic { spec, reply })
        })
        .collect();
    it.settle();
    let answers: Vec<_> = answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect();
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(made, PENDING_TRIMS / 10_000);
    assert!(matches!(answers[3], Err(ChangeError::OverLimit(_))));
    it.topic("topic-3", 10_000, policy());
}

#[test]
fn a_trim_is_durable_when_answered() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    it.append(partition, batch(5, None)).unwrap();
    assert_eq!(it.trim(partition, 3), Ok(Offset(3)));
    assert_eq!(it.trim(partition, 9), Ok(Offset(5)), "at most to the end");
    it.crash();
    assert_eq!(it.log.bounds(partition), Some(Offset(5)..Offset(5)));
    assert_eq!(it.append(partition, batch(1, None)).unwrap().base, Offset(5), "no offset is used twice");
}
