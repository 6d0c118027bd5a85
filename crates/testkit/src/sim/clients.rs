//! The clients of a run: what they ask for next, by seed, and what they remember between two asks.

mod receive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use duolog_broker::errors::AppendError;
use duolog_broker::{
    Appended, CursorMove, LeaseAsk, LeaseId, Monotonic, MoveFilter, MoveId, MoveSpec, NewRecord, Pending,
    QueueId, Session, Start, TopicId, headers,
};
use duolog_record::{Batch, BatchBuilder, Codec, Header, Offset, PartitionId, Producer, Timestamp};

use super::checks::DEAD_SOURCE;
use super::keyed::{Keyed, Sent};
use super::node::poll_once;
use super::stage::Stage;
use super::tenants;
use super::told::Told;
use crate::history::{Broken, Exchange, History, Name, Number};
use crate::{Random, SimDisk};

/// A batch whose fate is not known yet.
#[derive(Clone)]
struct Unresolved {
    partition: PartitionId,
    numbers: Vec<Number>,
    batch: Batch,
}

/// One idempotent producer, one batch at a time.
struct Idempotent {
    id: i64,
    sequences: BTreeMap<PartitionId, i32>,
    unresolved: Option<Unresolved>,
    /// In which life that was sent first.
    life: u64,
    /// Its batch is asked for and not answered.
    waits: bool,
}

/// A lease that a client holds.
#[derive(Clone, Copy)]
struct Held {
    queue: QueueId,
    id: LeaseId,
    number: Number,
    /// [`History::life`] when it was told.
    life: u64,
    /// `Terms::replays` then.
    replays: u64,
}

/// A receive under a name, to be repeated as it was.
#[derive(Clone, Copy)]
struct Named {
    name: Name,
    ask: LeaseAsk,
    first_at: Monotonic,
}

/// A verb that was asked for.
struct Flight {
    /// The queue, if it is a receive.
    receives_from: Option<QueueId>,
    told: Pin<Box<dyn Future<Output = Told>>>,
}

/// Everything outside the broker.
pub(super) struct Clients {
    random: Random,
    disk: SimDisk,
    next_number: Number,
    flights: Vec<Flight>,
    held: Vec<Held>,
    producers: Vec<Idempotent>,
    /// Replays and purges loosen what can be judged, so only some runs have them.
    pub(super) may_replay: bool,
    may_trim: bool,
    /// The queues on the tenants' topic are replayed.
    pub(super) may_replay_kept: bool,
    /// All move tasks of the run have a filter.
    pub(super) moves_work_only: bool,
    /// Move tasks that were begun.
    moves: Vec<MoveId>,
    /// The last receives under names.
    named: VecDeque<Named>,
    next_name: Name,
    pub(super) keyed: Keyed,
    /// Acknowledged publishes, for the end of the run.
    pub(super) published: BTreeSet<(TopicId, Number)>,
    /// Records that were accepted to come later, and in which life.
    pub(super) delayed: BTreeMap<Number, u64>,
    pub(super) asked: u64,
}

/// Most verbs that wait at a time.
const FLIGHTS_MAX: usize = 24;
/// Keys in the queue by key.
const LINES: u64 = 3;
/// Key of the tenant that has many records.
const BUSY: &[u8] = b"busy";

impl Clients {
    pub(super) fn new(mut random: Random, disk: SimDisk) -> Self {
        let (may_replay, may_trim) = (random.one_in(4), random.one_in(3));
        let (moves_work_only, may_replay_kept) = (random.one_in(3), random.one_in(2));
        Self {
            random,
            disk,
            next_number: 1,
            flights: Vec::new(),
            held: Vec::new(),
            producers: Vec::new(),
            may_replay,
            may_trim,
            may_replay_kept,
            moves_work_only,
            moves: Vec::new(),
            named: VecDeque::new(),
            next_name: 0,
            keyed: Keyed::default(),
            published: BTreeSet::new(),
            delayed: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(super) fn power_is_off(&self) -> bool {
        !self.disk.is_on()
    }

    /// The process is gone and nobody will be answered; leases are remembered, as a client would.
    pub(super) fn cut_off(&mut self, history: &mut History) {
        history.seen.died_asked += u64::from(!self.flights.is_empty());
        for flight in self.flights.drain(..) {
            flight.receives_from.into_iter().for_each(|queue| history.lost_receive(queue));
        }
        history.crashed();
        for producer in &mut self.producers {
            producer.waits = false;
        }
    }

    pub(super) fn add_producer(&mut self, id: i64) {
        self.producers.push(Idempotent {
            id,
            sequences: BTreeMap::new(),
            unresolved: None,
            life: 0,
            waits: false,
        });
    }

    pub(super) fn producers(&self) -> usize {
        self.producers.len()
    }

    /// Polls all that waits, and tells the history what was answered.
    pub(super) fn hear(&mut self, history: &mut History) -> Result<(), Broken> {
        let mut index = 0;
        while index < self.flights.len() {
            match poll_once(self.flights[index].told.as_mut()) {
                Poll::Pending => index += 1,
                Poll::Ready(told) => {
                    // In order: answers of one step are heard in the order of the asks.
                    drop(self.flights.remove(index));
                    told.hear(history, self)?;
                }
            }
        }
        Ok(())
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        if self.flights.len() >= FLIGHTS_MAX {
            return;
        }
        self.asked += 1;
        match self.random.below(100) {
            0..22 => self.append(session, stage, history),
            22..30 => self.append_idempotent(session, stage, history),
            30..40 => self.publish(session, stage, history),
            40..46 => self.publish_keyed(session, stage, history),
            46..47 if self.random.one_in(4) => self.cancel_move(session),
            46..47 => self.move_dead(session, stage),
            47..69 => self.lease(session, stage, history),
            69..91 => self.settle(session, stage, history),
            91..95 => self.move_cursor(session, stage, history),
            95..97 if self.may_trim => self.trim(session, stage, history),
            97..98 if self.may_replay => self.replay(session, stage, history),
            98..99 if self.may_replay => self.purge(session, stage, history),
            // Waiting receivers give up.
            99 => drop((!self.flights.is_empty()).then(|| self.give_up(history))),
            _ => {}
        }
    }

    /// A waiting client goes away: whatever it asked for may or may not have happened.
    fn give_up(&mut self, history: &mut History) {
        let index = self.random.index(self.flights.len());
        let flight = self.flights.remove(index);
        flight.receives_from.into_iter().for_each(|queue| history.lost_receive(queue));
        drop(flight);
        for producer in &mut self.producers {
            producer.waits = false;
        }
    }

    fn fly(&mut self, told: impl Future<Output = Told> + 'static) {
        self.flights.push(Flight { receives_from: None, told: Box::pin(told) });
    }

    /// Acknowledged records of a topic.
    pub(super) fn published_to(&self, topic: TopicId) -> BTreeSet<Number> {
        let there = self.published.iter().filter(|(of, _)| *of == topic);
        there.map(|(_, number)| *number).collect()
    }

    fn numbers(&mut self, history: &mut History) -> Vec<Number> {
        let count = 1 + self.random.below(4);
        let numbers: Vec<Number> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        numbers.iter().for_each(|number| history.asks(*number));
        numbers
    }

    fn value(&mut self, number: Number) -> Vec<u8> {
        let mut value = number.to_be_bytes().to_vec();
        let padding = self.random.index(300);
        value.resize(8 + padding, (number % 251) as u8);
        value
    }

    fn batch(&mut self, numbers: &[Number], producer: Option<Producer>, now: Timestamp) -> Batch {
        let codec = *self.random.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Gzip]);
        let mut builder = BatchBuilder::new().codec(codec);
        if let Some(producer) = producer {
            builder = builder.producer(producer);
        }
        for number in numbers {
            let value = self.value(*number);
            let key = number.to_string();
            builder.push(now, Some(key.as_bytes()), Some(&value), &[]);
        }
        builder.build()
    }

    /// Asks for one record of its own, so that the caller learns when everything before it is durable.
    pub(super) fn mark(
        &mut self,
        session: &Session,
        stage: &Stage,
        history: &mut History,
    ) -> (PartitionId, Number, Pending<Result<Appended, AppendError>>) {
        let partition = *self.random.pick(&stage.stream);
        let number = self.next_number;
        self.next_number += 1;
        history.asks(number);
        let batch = self.batch(&[number], None, session.now());
        (partition, number, session.append(partition, batch))
    }

    fn append(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let partition = *self.random.pick(&stage.stream);
        let numbers = self.numbers(history);
        let batch = self.batch(&numbers, None, session.now());
        let pending = session.append(partition, batch);
        self.fly(async move { Told::Append { producer: None, partition, numbers, result: pending.await } });
    }

    fn append_idempotent(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        if self.producers.is_empty() {
            return;
        }
        let index = self.random.index(self.producers.len());
        if self.producers[index].waits {
            return;
        }
        let unresolved = match self.producers[index].unresolved.clone() {
            Some(unresolved) => unresolved,
            None => {
                let partition = *self.random.pick(&stage.stream);
                let numbers = self.numbers(history);
                let base_sequence = self.producers[index].sequences.get(&partition).copied().unwrap_or(0);
                let producer = Producer { id: self.producers[index].id, epoch: 0, base_sequence };
                let batch = self.batch(&numbers, Some(producer), session.now());
                Unresolved { partition, numbers, batch }
            }
        };
        let pending = session.append(unresolved.partition, unresolved.batch.clone());
        if self.producers[index].unresolved.is_none() {
            self.producers[index].life = history.life();
        }
        self.producers[index].unresolved = Some(unresolved.clone());
        self.producers[index].waits = true;
        let Unresolved { partition, numbers, .. } = unresolved;
        self.fly(
            async move { Told::Append { producer: Some(index), partition, numbers, result: pending.await } },
        );
    }

    /// An idempotent batch was answered: stored, or to be sent again with the same sequence.
    pub(super) fn producer_heard(
        &mut self,
        index: usize,
        numbers: &[Number],
        result: &Result<Appended, AppendError>,
        history: &mut History,
    ) {
        let producer = &mut self.producers[index];
        // A batch that was sent twice is answered twice: only what still waits is resolved by its answer.
        let Some(done) = producer.unresolved.take_if(|it| it.numbers == numbers) else { return };
        producer.waits = false;
        if let Ok(appended) = result {
            history.seen.batches_over += u64::from(appended.duplicate && producer.life < history.life());
            let count = i32::try_from(done.numbers.len()).expect("a few");
            *producer.sequences.entry(done.partition).or_default() += count;
        } else {
            producer.unresolved = Some(done);
        }
    }

    fn publish(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let Stage { jobs_topic, stream_topic, lines_topic, tenants_topic, .. } = *stage;
        let (rarely, often) = (self.random.one_in(6), [jobs_topic, lines_topic, tenants_topic]);
        let topic = if rarely { stream_topic } else { *self.random.pick(&often) };
        let numbers = self.numbers(history);
        let is_delayed = topic == jobs_topic && self.random.one_in(3);
        let by_key = topic == lines_topic;
        let of_its_own = self.random.one_in(3);
        let tenant = (topic == tenants_topic).then(|| (of_its_own, history.exchange(session.clock().now())));
        let ttl_ms = |number| tenant.as_ref().and_then(|_| tenants::ttl_ms(number));
        let ttl = |ttl_ms: u64| Header {
            key: Bytes::from_static(headers::TTL.as_bytes()),
            value: Some(Bytes::from(ttl_ms.to_string())),
        };
        let records = numbers.iter().map(|number| NewRecord {
            headers: ttl_ms(*number).map(ttl).into_iter().collect(),
            delay_ms: is_delayed.then(|| 1 + self.random.below(3000)),
            key: if by_key {
                Some(Bytes::from((number % LINES).to_string()))
            } else if tenant.is_some() && !of_its_own {
                Some(Bytes::from_static(BUSY))
            } else if tenant.is_some() {
                Some(Bytes::from(number.to_string()))
            } else {
                self.random.one_in(2).then(|| Bytes::from(number.to_string()))
            },
            value: Some(Bytes::from(self.value(*number))),
            ..NewRecord::default()
        });
        let records = records.collect();
        let (pending, session) = (session.publish(topic, records), session.clone());
        self.fly(async move {
            let result = pending.await;
            let heard = session.clock().now();
            let tenant = tenant.map(|(of_its_own, exchange)| (of_its_own, Exchange { heard, ..exchange }));
            Told::Publish { topic, numbers, tenant, result }
        });
    }

    /// One record under one of a few keys, so that most are repeated.
    fn publish_keyed(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let asked_at = session.clock().now().monotonic;
        let (key, number) = (self.random.below(8), self.next_number);
        let stepped_ms = self.keyed.stepped_ms();
        self.next_number += 1;
        history.asks(number);
        let record = NewRecord {
            value: Some(Bytes::from(self.value(number))),
            idempotency_key: Some(Bytes::from(key.to_string())),
            ..NewRecord::default()
        };
        let (pending, session) = (session.publish(stage.stream_topic, vec![record]), session.clone());
        self.fly(async move {
            let result = pending.await;
            let heard_at = session.clock().now().monotonic;
            let sent = Sent { key, number, asked_at, heard_at, stepped_ms };
            Told::Keyed { sent, result }
        });
    }

    fn move_dead(&mut self, session: &Session, stage: &Stage) {
        let pending = session.start_move(MoveSpec {
            source: stage.dead,
            destination: Some(stage.moved),
            rate_per_s: self
                .random
                .one_in(2)
                .then(|| 1 + u32::try_from(self.random.below(200)).expect("small")),
            filter: self.moves_work_only.then(|| MoveFilter::Header {
                name: Bytes::from_static(DEAD_SOURCE.as_bytes()),
                value: Bytes::from_static(b"work"),
            }),
            dry_run: self.random.one_in(4),
        });
        self.fly(async move { Told::Move { result: pending.await } });
    }

    /// A move was begun, which may be cancelled.
    pub(super) fn moving(&mut self, id: MoveId) {
        self.moves.push(id);
    }

    fn cancel_move(&mut self, session: &Session) {
        let Some(&id) = self.moves.last() else { return };
        let pending = session.cancel_move(id);
        self.fly(async move { Told::Cancel { result: pending.await } });
    }

    fn move_cursor(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let partition = *self.random.pick(&stage.stream);
        let group = (*self.random.pick(&["readers", "auditors"])).to_owned();
        let offset = Offset(self.random.below(1 + session.bounds(partition).map_or(0, |it| it.end.0)));
        let id = history.asks_cursor(&group, partition, offset);
        let metadata = format!("at {offset}");
        let moves = vec![CursorMove { partition, offset, leader_epoch: -1, metadata }];
        let pending = session.move_cursors(&group, moves);
        self.fly(async move { Told::Cursor { group, partition, id, result: pending.await } });
    }

    fn trim(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let partition = *self.random.pick(&stage.stream);
        let Some(bounds) = session.bounds(partition) else { return };
        let span = bounds.end.since(bounds.start);
        // Often the whole: an empty partition must remember its end.
        let start = if self.random.one_in(3) {
            bounds.end
        } else {
            bounds.start.plus(self.random.below(span / 2 + 1))
        };
        history.asks_trim(partition, start);
        let pending = session.trim(partition, start);
        self.fly(async move { Told::Trim { partition, result: pending.await } });
    }

    fn replay(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let queue = *self.random.pick(&[stage.work, stage.jobs, stage.audit]);
        history.asks_replay(queue);
        let from = match self.random.below(3) {
            0 => Start::Earliest,
            1 => Start::Offset(Offset(self.random.below(50))),
            _ => Start::Latest,
        };
        let pending = session.replay_queue(queue, from);
        self.fly(async move { Told::Count { queue, result: pending.await } });
    }

    fn purge(&mut self, session: &Session, stage: &Stage, history: &mut History) {
        let queue = *self.random.pick(&[stage.work, stage.jobs, stage.audit]);
        history.asks_replay(queue);
        let pending = session.purge_queue(queue);
        self.fly(async move { Told::Count { queue, result: pending.await } });
    }
}

/// What a client wrote into a record.
pub(super) fn number_of(value: Option<&Bytes>) -> Result<Number, Broken> {
    value
        .and_then(|value| value.first_chunk::<8>())
        .map(|bytes| Number::from_be_bytes(*bytes))
        .ok_or_else(|| Broken("a record has a value that nobody wrote".to_owned()))
}
