//! The scene of three topics, to which clients route records: to one, two or all of them, synced or not, and trim one by one.
//!
//! The middle one stamps records with the broker's time, so it gets a stored body of its own, in the same commit.

use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::{AppendError, ChangeError};
use duolog_broker::{Gate, NewRecord, Routed, Session, TopicId, TopicPolicy, TopicSpec};
use duolog_record::{Offset, PartitionId, TimestampType};

use super::checks::{Holes, read_whole};
use super::clients::number_of;
use super::clock::ManualClock;
use super::node::Node;
use super::scene::{Flights, Scene};
use super::seen::Seen;
use super::stage::{created, stopped};
use crate::Random;
use crate::history::{Broken, Call, Number, Routes, Standing, When};

const NAMES: [&str; 3] = ["fan0", "fan1", "fan2"];
/// Each keeps the order of what it sends.
const CLIENTS: u64 = 3;

struct Fan {
    id: TopicId,
    partition: PartitionId,
}

enum Told {
    Routed { call: Call, result: Result<Vec<Result<(), AppendError>>, AppendError> },
    Trimmed(Result<Offset, ChangeError>),
}

/// The scene.
pub(super) struct Fanout {
    random: Random,
    fans: Vec<Fan>,
    flights: Flights<Told>,
    routes: Routes,
    next_number: Number,
    may_trim: bool,
}

impl Fanout {
    pub(super) fn new(mut random: Random) -> Self {
        let may_trim = random.one_in(2);
        let (fans, flights, routes) = (Vec::new(), Flights::new(), Routes::default());
        Self { random, fans, flights, routes, next_number: 1, may_trim }
    }

    /// All or some of the topics, in any order.
    fn topics(&mut self) -> Vec<usize> {
        let mut topics: Vec<usize> = (0..NAMES.len()).collect();
        for last in (1..topics.len()).rev() {
            topics.swap(last, self.random.index(last + 1));
        }
        let fewer = if self.random.one_in(2) { self.random.index(NAMES.len()) } else { 0 };
        topics.truncate(NAMES.len() - fewer);
        topics
    }

    fn route(&mut self, session: &Session) {
        let client = self.random.below(CLIENTS);
        let often_relaxed = self.random.one_in(2);
        let (mut records, mut asked, mut relaxed_all) = (Vec::new(), Vec::new(), true);
        for _ in 0..1 + self.random.below(3) {
            let (number, topics) = (self.next_number, self.topics());
            self.next_number += 1;
            let relaxed = often_relaxed && !self.random.one_in(8);
            relaxed_all &= relaxed;
            let mut value = number.to_be_bytes().to_vec();
            value.resize(8 + self.random.index(200), (number % 251) as u8);
            let record = NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() };
            let ids = topics.iter().map(|it| self.fans[*it].id).collect();
            records.push(Routed { record, topics: ids, gate: Gate::Open, relaxed });
            asked.push((number, topics));
        }
        let call = self.routes.asks(client, relaxed_all, &asked);
        let pending = if self.random.one_in(3) { session.route_all(records) } else { session.route(records) };
        self.flights.fly(async move { Told::Routed { call, result: pending.await } });
    }

    fn trim(&mut self, session: &Session) -> Result<(), Broken> {
        let topic = self.random.index(self.fans.len());
        let partition = self.fans[topic].partition;
        let line = read(session, partition)?;
        let (Some(first), Some(last)) = (line.first(), line.last()) else { return Ok(()) };
        let start = first.offset.plus(self.random.below(last.offset.since(first.offset) + 2));
        let gone = line.iter().filter(|it| it.offset < start).map(|it| it.number);
        self.routes.asks_trim(topic, gone);
        let pending = session.trim(partition, start);
        self.flights.fly(async move { Told::Trimmed(pending.await) });
        Ok(())
    }
}

/// What stands in a topic.
fn read(session: &Session, partition: PartitionId) -> Result<Vec<Standing>, Broken> {
    let standing = |(epoch, record): (i32, duolog_record::Record)| {
        let number = number_of(record.value.as_ref())?;
        Ok(Standing { epoch, offset: record.offset, number })
    };
    read_whole(session, partition, Holes::None)?.records.into_iter().map(standing).collect()
}

impl Scene for Fanout {
    fn set(&mut self, node: &mut Node) -> Result<(), Broken> {
        self.fans.clear();
        for (index, name) in NAMES.into_iter().enumerate() {
            if node.session.catalog().topic(DEFAULT_NAMESPACE, name).is_none() {
                let timestamps = if index == 1 { TimestampType::Append } else { TimestampType::Create };
                let policy = TopicPolicy { timestamps, ..TopicPolicy::default() };
                let asked = node.session.create_topic(TopicSpec::new(name, 1, policy));
                created(node.complete(asked))?;
            }
            let catalog = node.session.catalog();
            let topic = catalog.topic(DEFAULT_NAMESPACE, name).ok_or_else(stopped)?;
            self.fans.push(Fan { id: topic.id, partition: topic.partitions[0] });
        }
        Ok(())
    }

    fn ask(&mut self, node: &mut Node, seen: &mut Seen) -> Result<(), Broken> {
        let session = &node.session;
        match self.random.below(200) {
            0..20 if !self.flights.are_many() => self.route(session),
            20 => self.look(session, When::Running, seen)?,
            21 if self.may_trim => self.trim(session)?,
            22 => self.flights.give_up(&mut self.random),
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, seen: &mut Seen) -> Result<(), Broken> {
        for told in self.flights.answered() {
            match told {
                Told::Routed { call, result: Ok(results) } => {
                    if let Some(error) = results.into_iter().find_map(Result::err) {
                        return Err(Broken(format!("a routed record was answered: {error}")));
                    }
                    self.routes.acknowledged(call);
                    seen.routed += 1;
                }
                Told::Routed { call, result: Err(AppendError::DiskFull | AppendError::Overloaded) } => {
                    self.routes.refused(call);
                }
                Told::Routed { result: Err(AppendError::Stopped(_)), .. }
                | Told::Trimmed(Ok(_) | Err(ChangeError::DiskFull | ChangeError::Stopped(_))) => {}
                Told::Routed { result: Err(error), .. } => {
                    return Err(Broken(format!("routed records were answered: {error}")));
                }
                Told::Trimmed(Err(error)) => {
                    return Err(Broken(format!("a trim of a fan was answered: {error}")));
                }
            }
        }
        Ok(())
    }

    fn barrier(&mut self) {
        self.routes.barrier();
    }

    fn cut_off(&mut self) {
        self.flights.cut_off();
    }

    fn look(&mut self, session: &Session, when: When, seen: &mut Seen) -> Result<(), Broken> {
        let topics = self.fans.iter().map(|fan| read(session, fan.partition));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        self.routes.read(&topics, when, seen)
    }

    /// What the last start has shown is all that there is.
    fn over(&mut self, node: &mut Node, _: &ManualClock, seen: &mut Seen) -> Result<(), Broken> {
        self.look(&node.session, When::Running, seen)
    }
}
