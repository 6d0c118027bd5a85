//! The scene of a queue that gives records up through an exchange, which leads to two queues: those that had their attempts, were
//! rejected, outlived their time, or were too many.

use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::{AppendError, LeaseError, SettleError};
use duolog_broker::routing::{BindingSpec, Destination, ExchangeKind, ExchangeSpec, Filter};
use duolog_broker::{
    DeadLetter, Labels, LeaseAsk, LeaseId, Leased, NewRecord, Outcome, Overflow, Published, QueueId,
    QueuePolicy, Session, TopicId,
};
use duolog_record::PartitionId;

use super::checks::{Holes, drain, read_whole};
use super::clients::number_of;
use super::clock::ManualClock;
use super::node::Node;
use super::scene::{Flights, Scene};
use super::seen::Seen;
use super::stage::{created, declare_queue, stopped};
use super::tenants::pass;
use super::told::may_refuse;
use crate::Random;
use crate::history::{Broken, Deaths, Moment, Number, When};

/// The queue.
const MORTAL: &str = "mortal";
/// The exchange.
const STYX: &str = "styx";
/// The queues behind it.
const BANKS: [&str; 2] = ["asphodel", "elysium"];

const ATTEMPTS_MAX: u32 = 3;
/// Most leases that clients remember.
const HELD_MAX: usize = 60;

/// A settlement that was asked for, and when.
struct Asked {
    number: Number,
    outcome: Outcome,
    at: Moment,
}

enum Told {
    Published { numbers: Vec<Number>, result: Result<Vec<Published>, AppendError> },
    Leased { asked: Moment, result: Result<Vec<Leased>, LeaseError> },
    Settled { asked: Vec<Asked>, result: Result<Vec<Result<(), SettleError>>, SettleError> },
}

/// What is declared.
struct Ids {
    queue: QueueId,
    topic: TopicId,
    banks: Vec<PartitionId>,
}

/// The scene.
pub(super) struct Burials {
    random: Random,
    policy: QueuePolicy,
    ids: Option<Ids>,
    flights: Flights<Told>,
    held: Vec<(LeaseId, Number)>,
    deaths: Deaths,
    next_number: Number,
}

impl Burials {
    pub(super) fn new(mut random: Random) -> Self {
        let policy = QueuePolicy {
            visibility_timeout_ms: 2_000,
            attempts_max: Some(ATTEMPTS_MAX),
            dead_letter: Some(DeadLetter::Exchange { name: STYX.to_owned(), key: None }),
            message_ttl_ms: random.one_in(2).then_some(9_000),
            length_max: random.one_in(2).then_some(12),
            overflow: if random.one_in(2) { Overflow::DropHead } else { Overflow::RejectDeadLetter },
            ..QueuePolicy::default()
        };
        Self {
            random,
            policy,
            ids: None,
            flights: Flights::new(),
            held: Vec::new(),
            deaths: Deaths::new(ATTEMPTS_MAX),
            next_number: 1,
        }
    }

    fn publish(&mut self, session: &Session, topic: TopicId) {
        let mut numbers = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            numbers.push(self.next_number);
            self.deaths.asks(self.next_number);
            self.next_number += 1;
        }
        let record = |number: &Number| {
            let mut value = number.to_be_bytes().to_vec();
            value.resize(8 + self.random.index(100), (number % 251) as u8);
            NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() }
        };
        let records = numbers.iter().map(record).collect();
        let pending = session.publish(topic, records);
        self.flights.fly(async move { Told::Published { numbers, result: pending.await } });
    }

    fn lease(&mut self, session: &Session, queue: QueueId) {
        let ask = LeaseAsk {
            queue,
            count: 1 + u32::try_from(self.random.below(4)).expect("small"),
            visibility_ms: Some(1 + self.random.below(2_500)),
            wait_ms: if self.random.one_in(2) { self.random.below(2_000) } else { 0 },
            attempt: None,
            priority: 0,
            bound: self.random.one_in(4),
        };
        let (asked, session) = (self.deaths.now(), session.clone());
        self.flights.fly(async move { Told::Leased { asked, result: session.lease(ask).await } });
    }

    fn settle(&mut self, session: &Session, queue: QueueId) {
        let mut asked = Vec::new();
        let mut outcomes = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            if self.held.is_empty() {
                break;
            }
            let (id, number) = self.held.swap_remove(self.random.index(self.held.len()));
            let outcome = match self.random.below(8) {
                0 | 1 => Outcome::Release { after_ms: 0 },
                2 => Outcome::Release { after_ms: self.random.below(2_000) },
                3 | 4 => Outcome::DeadLetter,
                _ => Outcome::Ack,
            };
            if outcome == Outcome::Ack {
                self.deaths.asks_ack(number);
            }
            asked.push(Asked { number, outcome, at: self.deaths.now() });
            outcomes.push((id, outcome));
        }
        let pending = session.settle(queue, outcomes);
        self.flights.fly(async move { Told::Settled { asked, result: pending.await } });
    }

    fn leased(&mut self, asked: Moment, leased: &[Leased]) -> Result<(), Broken> {
        for lease in leased {
            let number = number_of(lease.record.value.as_ref())?;
            self.deaths.leased(number, lease.attempts, asked)?;
            self.held.push((lease.id, number));
        }
        while self.held.len() > HELD_MAX {
            self.held.remove(0);
        }
        Ok(())
    }

    fn settled(&mut self, asked: &Asked, result: Result<(), SettleError>) -> Result<(), Broken> {
        match (result, asked.outcome) {
            (Ok(()), Outcome::Ack) => self.deaths.acked(asked.number, asked.at),
            (Ok(()), Outcome::DeadLetter) => {
                self.deaths.given_up(asked.number);
                Ok(())
            }
            (Ok(()), _) => Ok(()),
            (Err(error), _) if may_refuse(&error) => Ok(()),
            (Err(error), _) => Err(Broken(format!("a mortal's settlement was answered: {error}"))),
        }
    }
}

/// The exchange, and its bindings to these.
fn bind(node: &mut Node, banks: &[QueueId]) -> Result<(), Broken> {
    if node.session.catalog().exchange(DEFAULT_NAMESPACE, STYX).is_none() {
        let asked = node.session.create_exchange(ExchangeSpec::new(STYX, ExchangeKind::Fanout));
        created(node.complete(asked))?;
    }
    let source = node.session.catalog().exchange(DEFAULT_NAMESPACE, STYX).ok_or_else(stopped)?.id;
    for &bank in banks {
        let destination = Destination::Queue(bank);
        let (key, filter, labels) = (Bytes::new(), Filter::All, Labels::new());
        let asked = node.session.bind(BindingSpec { source, destination, key, filter, labels });
        created(node.complete(asked))?;
    }
    Ok(())
}

impl Scene for Burials {
    /// The exchange leads to both before the queue is there: until then nothing can be given up to one of them alone.
    fn set(&mut self, node: &mut Node) -> Result<(), Broken> {
        let (mut queues, mut banks) = (Vec::new(), Vec::new());
        for name in BANKS {
            let (queue, topic) = declare_queue(node, name, QueuePolicy::default())?;
            queues.push(queue);
            let catalog = node.session.catalog();
            banks.push(catalog.topic_by_id(topic).ok_or_else(stopped)?.partitions[0]);
        }
        bind(node, &queues)?;
        let (queue, topic) = declare_queue(node, MORTAL, self.policy.clone())?;
        self.ids = Some(Ids { queue, topic, banks });
        Ok(())
    }

    fn ask(&mut self, node: &mut Node, seen: &mut Seen) -> Result<(), Broken> {
        let session = &node.session;
        let Some(Ids { queue, topic, .. }) = self.ids else { return Ok(()) };
        match self.random.below(200) {
            0..12 if !self.flights.are_many() => self.publish(session, topic),
            12..24 if !self.flights.are_many() => self.lease(session, queue),
            24..34 if !self.held.is_empty() => self.settle(session, queue),
            34 => self.look(session, When::Running, seen)?,
            35 => self.flights.give_up(&mut self.random),
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, _: &mut Seen) -> Result<(), Broken> {
        for told in self.flights.answered() {
            match told {
                Told::Published { numbers, result: Ok(_) } => {
                    numbers.into_iter().for_each(|number| self.deaths.published(number));
                }
                Told::Published { numbers, result: Err(AppendError::QueueFull(_)) } => {
                    let is_dead = self.policy.overflow == Overflow::RejectDeadLetter;
                    for number in numbers {
                        if is_dead { self.deaths.turned_away(number) } else { self.deaths.refused(number) }
                    }
                }
                Told::Published { numbers, result: Err(AppendError::DiskFull | AppendError::Overloaded) } => {
                    numbers.into_iter().for_each(|number| self.deaths.refused(number));
                }
                Told::Leased { asked, result: Ok(leased) } => self.leased(asked, &leased)?,
                Told::Settled { asked, result: Ok(results) } => {
                    for (asked, result) in asked.iter().zip(results) {
                        self.settled(asked, result)?;
                    }
                }
                Told::Published { result: Err(AppendError::Stopped(_)), .. }
                | Told::Leased {
                    // With the power off nothing can be read, and stays leased.
                    result:
                        Err(
                            LeaseError::Stopped(_)
                            | LeaseError::Storage(_)
                            | LeaseError::Overloaded
                            | LeaseError::OverLimit { .. },
                        ),
                    ..
                }
                | Told::Settled { result: Err(SettleError::DiskFull | SettleError::Stopped(_)), .. } => {}
                Told::Published { result: Err(error), .. } => {
                    return Err(Broken(format!("a mortal's publish was answered: {error}")));
                }
                Told::Leased { result: Err(error), .. } => {
                    return Err(Broken(format!("a receive of mortals was answered: {error}")));
                }
                Told::Settled { result: Err(error), .. } => {
                    return Err(Broken(format!("a settlement of mortals was answered: {error}")));
                }
            }
        }
        Ok(())
    }

    fn cut_off(&mut self) {
        self.flights.cut_off();
    }

    fn look(&mut self, session: &Session, when: When, seen: &mut Seen) -> Result<(), Broken> {
        let Some(ids) = &self.ids else { return Ok(()) };
        let mut banks = Vec::new();
        for &bank in &ids.banks {
            let whole = read_whole(session, bank, Holes::WhereSettled)?;
            let numbers = whole.records.iter().map(|(_, record)| number_of(record.value.as_ref()));
            banks.push(numbers.collect::<Result<Vec<_>, _>>()?);
        }
        let new = self.deaths.read(&banks)?;
        seen.buried += new;
        seen.buried_over += if when == When::Running { 0 } else { new };
        Ok(())
    }

    /// What is left in the queue comes out of it or dies, and then all that was published is somewhere.
    fn over(&mut self, node: &mut Node, clock: &ManualClock, seen: &mut Seen) -> Result<(), Broken> {
        let Some(Ids { queue, .. }) = self.ids else { return Ok(()) };
        let asked = self.deaths.now();
        let deaths = &mut self.deaths;
        let delivered = drain(node, clock, queue, |lease| {
            let number = number_of(lease.record.value.as_ref())?;
            deaths.leased(number, lease.attempts, asked)?;
            Ok(number)
        })?;
        for number in delivered {
            self.deaths.asks_ack(number);
            self.deaths.acked(number, asked)?;
        }
        pass(node, clock, 2_000)?;
        self.look(&node.session, When::Running, seen)?;
        self.deaths.over()
    }
}
