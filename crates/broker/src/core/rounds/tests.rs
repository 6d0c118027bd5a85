//! Tests of rounds: what a crash, a full disk or a flood may not break.
#![allow(clippy::unwrap_used)]
use duolog_record::{Offset, PartitionId, Producer};
use duolog_storage::{Log, LogError};
use proptest::prelude::*;

use super::Pace;
use crate::core::harness::{Harness, batch, cursor_move, dump, policy, spec};
use crate::core::{Command, Core, STATE_PARTITION};
use crate::{Labels, TopicId};

/// Rounds so short that a test sees many.
fn short(core: &mut Core) {
    core.rounds.pace = Pace { round_bytes: 300, bytes_min: 40 };
}

#[derive(Clone, Debug)]
enum Step {
    CreateTopic(u8, u8),
    DeleteTopic(u8),
    SetTopic(u8, u8),
    Move { group: u8, partition: u8, offset: u16 },
    Forget { group: u8 },
    Append { partition: u8, producer: u8, records: u8 },
    NewProducer,
    Trim { partition: u8, start: u8 },
    Seal,
    Pump,
    Settle,
    DiskFull,
    Crash,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..4u8, 1..4u8).prop_map(|(name, partitions)| Step::CreateTopic(name, partitions)),
        1 => any::<u8>().prop_map(Step::DeleteTopic),
        1 => any::<(u8, u8)>().prop_map(|(topic, label)| Step::SetTopic(topic, label)),
        8 => (0..5u8, any::<u8>(), any::<u16>())
            .prop_map(|(group, partition, offset)| Step::Move { group, partition, offset }),
        1 => (0..5u8).prop_map(|group| Step::Forget { group }),
        8 => (any::<u8>(), 0..4u8, 1..4u8)
            .prop_map(|(partition, producer, records)| Step::Append { partition, producer, records }),
        1 => Just(Step::NewProducer),
        2 => any::<(u8, u8)>().prop_map(|(partition, start)| Step::Trim { partition, start }),
        8 => Just(Step::Seal),
        8 => Just(Step::Pump),
        3 => Just(Step::Settle),
        1 => Just(Step::DiskFull),
        1 => Just(Step::Crash),
        1 => Just(Step::End),
    ]
}

/// The n-th of what there is, if any.
fn pick<T: Copy>(all: &[T], n: u8) -> Option<T> {
    (!all.is_empty()).then(|| all[n as usize % all.len()])
}

fn take(it: &mut Harness, step: Step, sequences: &mut std::collections::BTreeMap<(PartitionId, i64), i32>) {
    let topics: Vec<TopicId> = it.core.catalog.topics.iter().map(|(&id, _)| id).collect();
    let partitions: Vec<PartitionId> = it.core.partitions.keys().copied().collect();
    match step {
        Step::CreateTopic(name, count) => {
            let spec = spec(&format!("topic-{name}"), count.into(), policy());
            drop(it.ask(|reply| Command::CreateTopic { spec, reply }));
        }
        Step::DeleteTopic(n) => {
            if let Some(topic) = pick(&topics, n) {
                drop(it.ask(|reply| Command::DeleteTopic { topic, reply }));
            }
        }
        Step::SetTopic(n, label) => {
            if let Some(topic) = pick(&topics, n) {
                let labels = Labels::from([("label".to_owned(), label.to_string())]);
                let known = it.core.catalog.topic_by_id(topic).unwrap().clone();
                drop(it.ask(|reply| Command::SetTopic { known, policy: policy(), labels, reply }));
            }
        }
        Step::Move { group, partition, offset } => {
            if let Some(partition) = pick(&partitions, partition) {
                let (group, moves) = (format!("g{group}"), vec![cursor_move(partition, offset.into())]);
                drop(it.ask(|reply| Command::MoveCursors { group, moves, reply }));
            }
        }
        Step::Forget { group } => {
            let group = format!("g{group}");
            drop(it.ask(|reply| Command::ForgetCursors { group, partitions: None, reply }));
        }
        Step::Append { partition, producer, records } => {
            if let Some(partition) = pick(&partitions, partition) {
                let id = i64::from(producer);
                let sequence = sequences.entry((partition, id)).or_default();
                let sent = Producer { id, epoch: 0, base_sequence: *sequence };
                *sequence += i32::from(records);
                let batch = batch(records.into(), (producer > 0).then_some(sent));
                drop(it.ask(|reply| Command::Append { partition, batch, keys: None, reply }));
            }
        }
        Step::NewProducer => drop(it.ask(|reply| Command::NewProducerId { reply })),
        Step::Trim { partition, start } => {
            if let Some(partition) = pick(&partitions, partition) {
                drop(it.ask(|reply| Command::Trim {
                    partition,
                    start: Offset(start.into()),
                    over_queues: true,
                    reply,
                }));
            }
        }
        Step::Seal => it.seal(),
        Step::Pump => drop(it.pump()),
        Step::Settle => it.settle(),
        Step::DiskFull => {
            it.log.fail_next(LogError::DiskFull { bytes: 1, directory: "memory".to_owned() });
            it.settle();
        }
        Step::Crash => {
            it.crash();
            assert_eq!(dump(&it.core), it.durable, "a start finds what was durable");
        }
        Step::End => it.end(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_from_any_trim_point_is_the_live_state(steps in prop::collection::vec(step(), 1..300)) {
        let mut it = Harness::new(short);
        let mut sequences = std::collections::BTreeMap::new();
        for step in steps {
            take(&mut it, step, &mut sequences);
        }
        it.settle();
        let live = dump(&it.core);
        let start = it.log.bounds(STATE_PARTITION).unwrap().start;
        for at in (0..=start.0).step_by(1 + start.0 as usize / 32).chain([start.0]) {
            prop_assert_eq!(&it.fold_from(Offset(at)), &live, "from {}", at);
        }
        it.crash();
        prop_assert_eq!(dump(&it.core), live);
    }
}

fn state_bytes(it: &Harness) -> u64 {
    it.log.partition_bytes(STATE_PARTITION)
}

#[test]
fn the_tail_is_bounded_however_much_is_written() {
    let mut it = Harness::new(|_| ());
    let topic = it.topic("orders", 10, policy());
    let mut most = 0;
    for round in 0..4_000u64 {
        let group = format!("group-{}", round % 20);
        let moves = (0..10).map(|index| cursor_move(it.partition(topic, index), round)).collect();
        drop(it.ask(|reply| Command::MoveCursors { group, moves, reply }));
        it.settle();
        most = most.max(state_bytes(&it));
    }
    assert!(most < 1 << 20, "{most} bytes");
    assert!(it.log.bounds(STATE_PARTITION).unwrap().start > Offset(0));
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut it = Harness::new(short);
    it.topic("orders", 3, policy());
    it.settle();
    let frames = it.log.stats().frames;
    for _ in 0..100 {
        it.pass_ms(60_000);
        it.seal();
        assert!(!it.pump());
    }
    assert_eq!(it.log.stats().frames, frames);
}

#[test]
fn a_round_goes_on_although_every_change_is_small() {
    let mut it = Harness::new(short);
    let topic = it.topic("orders", 200, policy());
    for index in 0..200 {
        let moves = vec![cursor_move(it.partition(topic, index), 1)];
        drop(it.ask(|reply| Command::MoveCursors { group: "g".to_owned(), moves, reply }));
    }
    it.settle();
    let before = it.log.bounds(STATE_PARTITION).unwrap().start;
    for offset in 0..1_000 {
        let moves = vec![cursor_move(it.partition(topic, 0), offset)];
        drop(it.ask(|reply| Command::MoveCursors { group: "g".to_owned(), moves, reply }));
        it.settle();
    }
    assert!(it.log.bounds(STATE_PARTITION).unwrap().start > before);
}
