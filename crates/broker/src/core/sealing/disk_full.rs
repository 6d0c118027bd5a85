//! A disk that is full at random: nothing acknowledged is lost, nothing refused is stored, and it goes on afterwards.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Producer, Timestamp};
use duolog_storage::{Log, LogError, ReadLimit};
use proptest::prelude::*;
use tokio::sync::oneshot;

use crate::core::Command;
use crate::core::harness::{Harness, batch, cursor_move, policy};
use crate::errors::{AppendError, CursorError};
use crate::limits::SECOND_GROUP_BYTES;
use crate::{Advance, Appended, Gate, NewRecord, Published, Routed, TopicId};

const PARTITIONS: usize = 3;
/// Of the cursor that moves with what is published.
const GROUP: &str = "onward";

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
    /// Records to two topics, with a cursor that moves by as many.
    Advance {
        records: u64,
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
        3 => (0..4u64).prop_map(|records| Step::Advance { records }),
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

type Routing = oneshot::Receiver<Result<Vec<Result<(), AppendError>>, AppendError>>;

/// What a cursor has moved over: one answer at a time is waited for.
struct Advancing {
    topics: Arc<[TopicId]>,
    copies: PartitionId,
    cursor: PartitionId,
    waiting: Option<(Routing, Vec<u64>)>,
    /// Values that are acknowledged, in order.
    taken: Vec<u64>,
    refused: u64,
}

struct Model {
    it: Harness,
    topic: TopicId,
    partitions: Vec<PartitionId>,
    next_value: u64,
    /// Next sequence of the idempotent producer in each partition: it sends on only when it was answered.
    sequences: BTreeMap<PartitionId, i32>,
    answers: Vec<Answer>,
    advancing: Advancing,
}

fn record(value: u64) -> Bytes {
    Bytes::from(value.to_string())
}

impl Model {
    fn new() -> Self {
        let mut it = Harness::new(|_| ());
        let topic = it.topic("orders", u32::try_from(PARTITIONS).unwrap(), policy());
        let partitions: Vec<_> = (0..PARTITIONS).map(|index| it.partition(topic, index)).collect();
        let copies = it.topic("copies", 1, policy());
        let advancing = Advancing {
            topics: [topic, copies].into(),
            copies: it.partition(copies, 0),
            cursor: partitions[0],
            waiting: None,
            taken: Vec::new(),
            refused: 0,
        };
        let moves = vec![cursor_move(advancing.cursor, 0)];
        it.done(|reply| Command::MoveCursors { group: GROUP.to_owned(), moves, reply }).unwrap();
        let (sequences, answers) = (BTreeMap::new(), Vec::new());
        Self { it, topic, partitions, next_value: 0, sequences, answers, advancing }
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
            Step::Advance { records } => self.advance(records),
            Step::Seal => self.it.seal(),
            Step::Pump => drop(self.it.pump()),
            Step::Full => {
                self.it.log.fail_next(LogError::DiskFull { bytes: 1, directory: "memory".to_owned() });
            }
            Step::Pass => self.it.pass_ms(500),
        }
    }

    fn advance(&mut self, records: u64) {
        self.look_at_advance();
        if self.advancing.waiting.is_some() {
            return;
        }
        let values = self.values(u32::try_from(records).unwrap());
        let routed = |value: &u64| Routed {
            record: NewRecord { value: Some(record(*value)), ..NewRecord::default() },
            topics: Arc::clone(&self.advancing.topics),
            gate: Gate::Open,
            relaxed: false,
        };
        let records = values.iter().map(routed).collect();
        let from = Offset(self.advancing.taken.len() as u64);
        let advance = Advance {
            group: GROUP.into(),
            partition: self.advancing.cursor,
            from,
            to: from.plus(values.len() as u64),
        };
        let advance = Some(advance);
        let answer = self.it.ask(|reply| Command::Route { records, whole: true, advance, reply });
        self.advancing.waiting = Some((answer, values));
    }

    fn look_at_advance(&mut self) {
        let Some((mut answer, values)) = self.advancing.waiting.take() else { return };
        match answer.try_recv() {
            Ok(Ok(results)) => {
                assert!(results.iter().all(Result::is_ok), "{results:?}");
                self.advancing.taken.extend(values);
            }
            Ok(Err(error)) => {
                assert_eq!(error, AppendError::DiskFull);
                self.advancing.refused += 1;
            }
            Err(_) => self.advancing.waiting = Some((answer, values)),
        }
    }

    /// The cursor stands behind what is stored, and nowhere else.
    fn check_advance(&mut self) -> Vec<u64> {
        self.look_at_advance();
        assert!(self.advancing.waiting.is_none());
        let taken = std::mem::take(&mut self.advancing.taken);
        let cursor = self.it.core.cursors.get(GROUP, self.advancing.cursor).unwrap().offset;
        assert_eq!(cursor, Offset(taken.len() as u64));
        let copies: Vec<_> = self.stored_in(&[self.advancing.copies]).into_values().collect();
        assert_eq!(copies, taken);
        taken
    }

    /// What is stored, by place.
    fn stored(&self) -> BTreeMap<(PartitionId, Offset), u64> {
        self.stored_in(&self.partitions)
    }

    fn stored_in(&self, partitions: &[PartitionId]) -> BTreeMap<(PartitionId, Offset), u64> {
        let mut stored = BTreeMap::new();
        for &partition in partitions {
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
        let mut acknowledged: BTreeSet<u64> = self.check_advance().into_iter().collect();
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
