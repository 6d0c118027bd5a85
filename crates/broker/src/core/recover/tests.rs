//! Tests of starts: after clean and unclean ends, and from state that no broker wrote.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use duolog_record::{BatchBuilder, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::{Body, Commit, Durability, Entry, Log, MemoryLog, Target, Trim};
use proptest::prelude::*;

use crate::core::harness::{Harness, batch, cursor_move, policy};
use crate::core::{Command, Core, CoreOptions, STATE_PARTITION, Shared};
use crate::state::{CursorValue, Owner, ProducerValue, Value};
use crate::{TopicPolicy, core::sequencer::Sequencer};

const OPTIONS: CoreOptions = CoreOptions { durability: Durability::Sync, seed: 1, retention_check_ms: 1_000 };

fn commit(entries: Vec<Entry>, trims: Vec<Trim>) -> Commit {
    let durability = Durability::Sync;
    Commit { entries, trims, durability, append_time: Timestamp(0), may_use_reserve: true }
}

/// Writes records behind what the state partition holds.
fn write(log: &MemoryLog, records: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let mut builder = BatchBuilder::new();
    for (key, value) in records {
        builder.push(Timestamp(0), Some(key), value.as_deref(), &[]);
    }
    let base = log.bounds(STATE_PARTITION).map_or(Offset(0), |bounds| bounds.end);
    let target = Target { partition: STATE_PARTITION, base, leader_epoch: 0 };
    let entry = Entry {
        body: Body::of(&builder.build()),
        targets: vec![target],
        key_hashes: Vec::new(),
        abort_first: None,
    };
    log.commit(commit(vec![entry], Vec::new()), Box::new(|result| result.unwrap()));
    while log.pump() {}
}

/// The message that stops the start.
fn refusal(log: &MemoryLog) -> String {
    match Core::recover(log, crate::Now::default(), &OPTIONS, Arc::new(Shared::default())) {
        Ok(_) => panic!("it starts"),
        Err(stopped) => stopped.reason,
    }
}

fn epoch(it: &Harness, partition: PartitionId) -> i32 {
    assert_eq!(
        it.core.catalog.epochs.get(&partition).copied().unwrap(),
        it.core.partitions[&partition].epoch
    );
    it.core.partitions[&partition].epoch
}

fn os() -> TopicPolicy {
    TopicPolicy { durability: Some(Durability::Os), ..policy() }
}

#[test]
fn an_unclean_end_raises_the_epochs_of_what_was_shown_before_the_sync() {
    let mut it = Harness::new(|_| ());
    let (topic_os, topic_sync) = (it.topic("os", 1, os()), it.topic("sync", 1, policy()));
    let (os, sync) = (it.partition(topic_os, 0), it.partition(topic_sync, 0));
    assert_eq!((epoch(&it, os), epoch(&it, sync)), (0, 0));
    it.crash();
    assert_eq!((epoch(&it, os), epoch(&it, sync)), (2, 0));
    it.append(os, batch(1, None)).unwrap();
    it.end();
    assert_eq!((epoch(&it, os), epoch(&it, sync)), (2, 0), "a clean end needs no new epoch");
}

#[test]
fn a_run_of_which_nothing_is_left_ended_uncleanly() {
    let mut it = Harness::with_durability(Durability::Os, |_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    it.end();
    assert_eq!(epoch(&it, partition), 0);
    // The run that follows the clean end is lost as a whole, its mark included.
    it.seal();
    it.crash();
    assert_eq!(epoch(&it, partition), 3);
}

#[test]
fn an_epoch_that_was_lost_is_not_used_again() {
    let mut it = Harness::with_durability(Durability::Os, |_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    let mut last = epoch(&it, partition);
    for _ in 0..5 {
        // The raised epoch is sealed and shown, but never gets to the disk.
        it.crash();
        it.seal();
        assert!(epoch(&it, partition) > last);
        last = epoch(&it, partition);
    }
}

#[test]
fn a_broker_that_now_syncs_still_raises_the_epochs_of_a_run_that_did_not() {
    let mut it = Harness::with_durability(Durability::Os, |_| ());
    let topic = it.topic("orders", 1, policy());
    let partition = it.partition(topic, 0);
    it.options.durability = Durability::Sync;
    it.crash();
    assert_eq!(epoch(&it, partition), 2);
    it.settle();
    it.crash();
    assert_eq!(epoch(&it, partition), 2, "a run that syncs needs no new epoch");
}

fn stored() -> (Harness, PartitionId) {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 2, policy());
    let partition = it.partition(topic, 0);
    let sent = Producer { id: 5, epoch: 0, base_sequence: 0 };
    it.append(partition, batch(3, Some(sent))).unwrap();
    let moves = vec![cursor_move(partition, 2)];
    it.done(|reply| Command::MoveCursors { group: "g".to_owned(), moves, reply }).unwrap();
    (it, partition)
}

#[test]
fn what_rests_on_records_that_are_gone_is_forgotten_for_good() {
    let (mut it, partition) = stored();
    let batches = vec![(3, 5, 99)];
    let beyond = Value::Producer(ProducerValue { epoch: 0, batches, used_at: 0 });
    let cursor =
        Value::Cursor(CursorValue { offset: 1_000, leader_epoch: -1, metadata: String::new(), moved_at: 0 });
    let none = PartitionId(9_999).0;
    let left = [
        (Owner::Producer(partition.0, 6).encode(), Some(beyond.encode())),
        (Owner::Producer(none, 6).encode(), Some(beyond.encode())),
        (Owner::Cursor("gone".to_owned(), none).encode(), Some(cursor.encode())),
        (Owner::Cursor("beyond".to_owned(), partition.0).encode(), Some(cursor.encode())),
    ];
    write(&it.log, &left);
    write(&it.archive, &left);
    it.crash();
    let groups: Vec<_> = it.core.cursors.groups().cloned().collect();
    assert_eq!(groups, ["beyond", "g"], "a cursor beyond the end is its group's affair");
    assert!(it.core.producers.get((partition, 6)).is_none());
    assert!(it.core.producers.get((partition, 5)).is_some());
    it.settle();
    let fold = super::read_state(&it.log).unwrap();
    assert_eq!(fold.cursors.groups().count(), 2);
    assert!(fold.producers.get((PartitionId(none), 6)).is_none());
}

#[test]
fn state_of_a_newer_version_is_refused_with_what_to_do() {
    let (it, _) = stored();
    let mut value = Value::Broker(super::BrokerValue {
        next_partition: 99,
        next_queue: 1,
        next_producer: 1,
        catalog_version: 1,
        incarnation: 1,
        clean: true,
        durability_os: false,
    })
    .encode();
    value[0] += 1;
    write(&it.log, &[(Owner::Broker.encode(), Some(value))]);
    let reason = refusal(&it.log);
    assert!(reason.contains("format version 5") && reason.contains("newer duolog"), "{reason}");

    let (it, _) = stored();
    write(&it.log, &[(vec![250, 1, 2], None)]);
    let reason = refusal(&it.log);
    assert!(reason.contains("unknown kind") && reason.contains("newer duolog"), "{reason}");
}

#[test]
fn state_that_does_not_fit_the_log_is_refused() {
    let (it, partition) = stored();
    let log = it.log.reopen();
    log.commit(commit(vec![], vec![Trim::Remove { partition }]), Box::new(|result| result.unwrap()));
    while log.pump() {}
    let reason = refusal(&log);
    assert!(reason.contains("partition 16 of topic orders is not in the log"), "{reason}");

    let log = it.log.reopen();
    let start = Trim::Start { partition: PartitionId(77), start: Offset(0) };
    log.commit(commit(vec![], vec![start]), Box::new(|result| result.unwrap()));
    while log.pump() {}
    let reason = refusal(&log);
    assert!(reason.contains("partition 77, which no topic has"), "{reason}");

    let log = it.log.reopen();
    let end = log.bounds(STATE_PARTITION).unwrap().end;
    let start = Trim::Start { partition: STATE_PARTITION, start: end };
    log.commit(commit(vec![], vec![start]), Box::new(|result| result.unwrap()));
    while log.pump() {}
    let reason = refusal(&log);
    assert!(reason.contains("which no topic has"), "an emptied state is not an empty log: {reason}");
}

#[test]
fn a_producer_that_cannot_be_is_refused() {
    let (it, partition) = stored();
    let value = Value::Producer(ProducerValue { epoch: 0, batches: vec![(-1, 0, 0)], used_at: 0 });
    write(&it.log, &[(Owner::Producer(partition.0, 6).encode(), Some(value.encode()))]);
    let reason = refusal(&it.log);
    assert!(reason.contains("batches of a producer that cannot be"), "{reason}");
}

#[test]
fn a_state_of_another_kind_is_refused() {
    let (it, partition) = stored();
    let value = Value::Producer(ProducerValue { epoch: 0, batches: vec![(0, 0, 0)], used_at: 0 });
    write(&it.log, &[(Owner::Topic(partition.0.into()).encode(), Some(value.encode()))]);
    assert!(refusal(&it.log).contains("is of another kind"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is written there, a start gives a core that can go on, or a reason.
    #[test]
    fn nonsense_never_panics(
        records in prop::collection::vec((
            prop_oneof![prop::collection::vec(any::<u8>(), 0..12), (0..6u8, any::<u8>()).prop_map(|(kind, id)| vec![kind, id])],
            prop::option::of(prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..40)),
        ), 1..4),
    ) {
        let log = stored().0.log.reopen();
        let records: Vec<_> = records.into_iter().map(|(key, value)| {
            (key, value.map(|mut value| { value.insert(0, 1); value }))
        }).collect();
        write(&log, &records);
        let _ = Core::recover(&log, crate::Now::default(), &OPTIONS, Arc::new(Shared::default()));
    }

    /// One changed byte of a value is refused, or read as another value: never a panic.
    #[test]
    fn a_changed_byte_never_panics(owner in 0..4usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (it, partition) = stored();
        let topic = *it.core.catalog.topics.iter().next().unwrap().0;
        let owner = [
            Owner::Broker,
            Owner::Topic(topic.0),
            Owner::Cursor("g".to_owned(), partition.0),
            Owner::Producer(partition.0, 5),
        ][owner].clone();
        let record = it.core.state_record(owner);
        let mut value = record.value.unwrap();
        let at = at.index(value.len());
        value[at] = to;
        write(&it.log, &[(record.owner.encode(), Some(value))]);
        if let Ok(core) = Core::recover(&it.log, crate::Now::default(), &OPTIONS, Arc::new(Shared::default())) {
            prop_assert!(core.partitions.values().all(|it: &Sequencer| it.next >= it.start));
        }
    }
}
