//! A disk that is full at random: nothing acknowledged is lost, nothing refused is stored, and it goes on afterwards.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::{Log, LogError, ReadLimit};
use proptest::prelude::*;
use tokio::sync::oneshot;

use crate::core::Command;
use crate::core::harness::{Harness, batch, cursor_move, policy};
use crate::errors::{AppendError, CursorError};
use crate::limits::SECOND_GROUP_BYTES;
use crate::{Appended, NewRecord, Published, TopicId};

const PARTITIONS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Records, and whether they are padded so that a second group is sealed.
    Append {
        partition: usize,
        records: u32,
        idempotent: bool,
        large: bool,
    },
    Publish {
        records: u32,
    },
    Move {
        partition: usize,
        offset: u64,
    },
    Seal,
    Pump,
    Full,
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PARTITIONS, 1..5u32, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(partition, records, idempotent, large)| Step::Append { partition, records, idempotent, large }
        ),
        3 => (1..6u32).prop_map(|records| Step::Publish { records }),
        2 => (0..PARTITIONS, 0..100u64).prop_map(|(partition, offset)| Step::Move { partition, offset }),
        6 => Just(Step::Seal),
        6 => Just(Step::Pump),
        2 => Just(Step::Full),
        1 => Just(Step::Pass),
    ]
}

enum Answer {
    Append(oneshot::Receiver<Result<Appended, AppendError>>, PartitionId, Vec<u64>),
    Publish(oneshot::Receiver<Result<Vec<Published>, AppendError>>, Vec<u64>),
    Move(oneshot::Receiver<Result<(), CursorError>>, PartitionId, u64),
}

struct Model {
    it: Harness,
    topic: TopicId,
    partitions: Vec<PartitionId>,
    next_value: u64,
    /// Next sequence of the idempotent producer in each partition: it sends on only when it was answered.
    sequences: BTreeMap<PartitionId, i32>,
    answers: Vec<Answer>,
}

fn record(value: u64) -> Bytes {
    Bytes::from(value.to_string())
}

impl Model {
    fn new() -> Self {
        let mut it = Harness::new(|_| ());
        let topic = it.topic("orders", u32::try_from(PARTITIONS).unwrap(), policy());
        let partitions = (0..PARTITIONS).map(|index| it.partition(topic, index)).collect();
        Self { it, topic, partitions, next_value: 0, sequences: BTreeMap::new(), answers: Vec::new() }
    }

    fn values(&mut self, count: u32) -> Vec<u64> {
        let first = self.next_value;
        self.next_value += u64::from(count);
        (first..self.next_value).collect()
    }

    fn batch(&self, values: &[u64], producer: Option<Producer>, large: bool) -> Batch {
        let mut builder = BatchBuilder::new();
        if let Some(producer) = producer {
            builder = builder.producer(producer);
        }
        let padding = Bytes::from(vec![0; if large { SECOND_GROUP_BYTES } else { 0 }]);
        for (n, &value) in values.iter().enumerate() {
            let key = (n == 0 && large).then_some(&padding[..]);
            builder.push(Timestamp(1), key, Some(&record(value)), &[]);
        }
        builder.build()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { partition, records, idempotent, large } => {
                let partition = self.partitions[partition];
                let is_idempotent = idempotent && !self.sequences.contains_key(&partition);
                let values = self.values(records);
                let producer = is_idempotent.then_some(Producer { id: 1, epoch: 0, base_sequence: 0 });
                if is_idempotent {
                    self.sequences.insert(partition, 0);
                }
                let batch = self.batch(&values, producer, large);
                let answer = self.it.ask(|reply| Command::Append { partition, batch, keys: None, reply });
                self.answers.push(Answer::Append(answer, partition, values));
            }
            Step::Publish { records } => {
                let values = self.values(records);
                let new = |value: &u64| NewRecord { value: Some(record(*value)), ..NewRecord::default() };
                let (topic, records) = (self.topic, values.iter().map(new).collect());
                let answer = self.it.ask(|reply| Command::Publish { topic, records, reply });
                self.answers.push(Answer::Publish(answer, values));
            }
            Step::Move { partition, offset } => {
                let partition = self.partitions[partition];
                let (group, moves) = ("g".to_owned(), vec![cursor_move(partition, offset)]);
                let answer = self.it.ask(|reply| Command::MoveCursors { group, moves, reply });
                self.answers.push(Answer::Move(answer, partition, offset));
            }
            Step::Seal => self.it.seal(),
            Step::Pump => drop(self.it.pump()),
            Step::Full => {
                self.it.log.fail_next(LogError::DiskFull { bytes: 1, directory: "memory".to_owned() });
            }
            Step::Pass => self.it.pass_ms(500),
        }
    }

    /// What is stored, by place.
    fn stored(&self) -> BTreeMap<(PartitionId, Offset), u64> {
        let mut stored = BTreeMap::new();
        for &partition in &self.partitions {
            let bounds = self.it.log.bounds(partition).unwrap();
            let limit = ReadLimit { bytes_max: usize::MAX, until: bounds.end };
            let mut next = bounds.start;
            for it in self.it.log.read(partition, bounds.start, limit).unwrap() {
                assert_eq!(it.base, next, "offsets are dense");
                next = it.base.plus(u64::from(it.offsets));
                let batch = Batch::from_parts(it.base, it.leader_epoch, &it.body).unwrap();
                for record in batch.records(it.base, usize::MAX).unwrap() {
                    let record = record.unwrap();
                    let value = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
                    stored.insert((partition, record.offset), value);
                }
            }
            assert_eq!(next, bounds.end);
        }
        stored
    }

    fn check(mut self) {
        self.it.settle();
        assert!(self.it.core.stopped().is_none(), "{:?}", self.it.core.stopped());
        self.it.crash();
        let stored = self.stored();
        let mut acknowledged = BTreeSet::new();
        let mut cursors = BTreeMap::new();
        for answer in std::mem::take(&mut self.answers) {
            match answer {
                Answer::Append(mut answer, partition, values) => match answer.try_recv().unwrap() {
                    Ok(appended) => {
                        for (n, value) in values.into_iter().enumerate() {
                            assert_eq!(stored[&(partition, appended.base.plus(n as u64))], value);
                            acknowledged.insert(value);
                        }
                    }
                    Err(error) => assert_eq!(error, AppendError::DiskFull),
                },
                Answer::Publish(mut answer, values) => match answer.try_recv().unwrap() {
                    Ok(published) => {
                        for (it, value) in published.into_iter().zip(values) {
                            assert_eq!(stored[&(it.partition, it.offset)], value);
                            acknowledged.insert(value);
                        }
                    }
                    Err(error) => assert_eq!(error, AppendError::DiskFull),
                },
                Answer::Move(mut answer, partition, offset) => {
                    // What was refused has happened nevertheless, as soon as there was space.
                    drop(answer.try_recv().unwrap());
                    cursors.insert(partition, offset);
                }
            }
        }
        assert_eq!(stored.len(), acknowledged.len(), "what was refused is not stored");
        for (partition, offset) in cursors {
            assert_eq!(self.it.core.cursors.get("g", partition).unwrap().offset, Offset(offset));
        }
        for partition in self.partitions.clone() {
            let end = self.it.log.bounds(partition).unwrap().end;
            assert_eq!(self.it.append(partition, batch(1, None)).unwrap().base, end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_when_the_disk_is_full_and_has_room_again(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.check();
    }
}
