//! The scene of two queues that hold a few records: one gives up its oldest, the other refuses what comes when it is full.
//!
//! Only one receive is made at a time, and heard at once, so that it is known what is there and nobody has had.

use bytes::Bytes;
use duolog_broker::errors::{AppendError, SettleError};
use duolog_broker::{
    LeaseAsk, LeaseId, NewRecord, Outcome, Overflow, Published, QueueId, QueuePolicy, Session, TopicId,
};

use super::checks::drain;
use super::clients::number_of;
use super::clock::ManualClock;
use super::node::Node;
use super::scene::{Flights, Scene};
use super::seen::Seen;
use super::stage::declare_queue;
use crate::Random;
use crate::history::{Broken, Lengths, Number, Sent, When};

/// The one that gives up its oldest, and the one that refuses.
const QUEUES: [(&str, Overflow); 2] = [("heads", Overflow::DropHead), ("tails", Overflow::Reject)];
/// Most that is available in each.
const LENGTH_MAX: u64 = 6;

enum Told {
    Published { queue: usize, sent: Sent, result: Result<Vec<Published>, AppendError> },
    Settled { queue: usize, acks: Vec<Number>, result: Result<Vec<Result<(), SettleError>>, SettleError> },
}

/// A record under lease.
struct Held {
    queue: usize,
    id: LeaseId,
    number: Number,
}

/// The scene.
pub(super) struct Short {
    random: Random,
    ids: Vec<(QueueId, TopicId)>,
    flights: Flights<Told>,
    held: Vec<Held>,
    judges: [Lengths; 2],
    next_number: Number,
    /// Without receives more is certain.
    receives: bool,
}

impl Short {
    pub(super) fn new(mut random: Random) -> Self {
        let receives = !random.one_in(3);
        let judges = QUEUES.map(|(_, overflow)| Lengths::new(LENGTH_MAX, overflow == Overflow::DropHead));
        let (ids, flights, held) = (Vec::new(), Flights::new(), Vec::new());
        Self { random, ids, flights, held, judges, next_number: 1, receives }
    }

    fn publish(&mut self, session: &Session) {
        let queue = self.random.index(QUEUES.len());
        let count = 1 + self.random.below(3);
        let numbers: Vec<Number> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        let record = |number: &Number| {
            let mut value = number.to_be_bytes().to_vec();
            value.resize(8 + self.random.index(100), (number % 251) as u8);
            NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() }
        };
        let records = numbers.iter().map(record).collect();
        let sent = self.judges[queue].asks(numbers);
        let pending = session.publish(self.ids[queue].1, records);
        self.flights.fly(async move { Told::Published { queue, sent, result: pending.await } });
    }

    fn receive(&mut self, node: &mut Node) -> Result<(), Broken> {
        let queue = self.random.index(QUEUES.len());
        let ask = LeaseAsk {
            queue: self.ids[queue].0,
            count: 1 + u32::try_from(self.random.below(3)).expect("small"),
            visibility_ms: Some(1 + self.random.below(2_500)),
            wait_ms: 0,
            attempt: None,
            priority: 0,
            bound: false,
        };
        let session = node.session.clone();
        let Some(Ok(leased)) = node.complete(async move { session.lease(ask).await }) else {
            // It may have been answered by a process that then stopped, or could not read what it gave.
            self.judges[queue].lost_receive();
            return Ok(());
        };
        let numbers = leased.iter().map(|lease| number_of(lease.record.value.as_ref()));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        self.judges[queue].leased(&numbers)?;
        let held = leased.iter().zip(numbers).map(|(lease, number)| Held { queue, id: lease.id, number });
        self.held.extend(held);
        Ok(())
    }

    fn settle(&mut self, session: &Session) {
        let queue = self.held[0].queue;
        let (mine, others) = std::mem::take(&mut self.held).into_iter().partition(|it| it.queue == queue);
        let mine: Vec<Held> = mine;
        self.held = others;
        let (mut outcomes, mut acks) = (Vec::new(), Vec::new());
        for Held { id, number, .. } in mine {
            let is_over = !self.random.one_in(3);
            outcomes.push((id, if is_over { Outcome::Ack } else { Outcome::Release { after_ms: 0 } }));
            acks.push(if is_over { number } else { 0 });
            if is_over {
                self.judges[queue].asks_ack(number);
            }
        }
        let pending = session.settle(self.ids[queue].0, outcomes);
        self.flights.fly(async move { Told::Settled { queue, acks, result: pending.await } });
    }

    fn measure(&mut self, node: &mut Node) -> Result<(), Broken> {
        for queue in 0..QUEUES.len() {
            let asked = node.session.depth(self.ids[queue].0);
            if node.complete(asked).is_none() {
                return Ok(());
            }
            // That has woken it: after a start a queue gives up what is too much once it has read what it holds.
            while node.step_and_pump() {}
            let asked = node.session.depth(self.ids[queue].0);
            if let Some(Ok(depth)) = node.complete(asked) {
                self.judges[queue].available(depth.available)?;
            }
        }
        Ok(())
    }

    fn published(
        &mut self,
        queue: usize,
        sent: &Sent,
        result: Result<Vec<Published>, AppendError>,
        seen: &mut Seen,
    ) -> Result<(), Broken> {
        match result {
            Ok(_) => self.judges[queue].stored(sent),
            Err(AppendError::QueueFull(_)) => {
                seen.turned_away += 1;
                self.judges[queue].turned_away(sent)
            }
            Err(AppendError::DiskFull | AppendError::Overloaded) => {
                self.judges[queue].refused(sent);
                Ok(())
            }
            Err(AppendError::Stopped(_)) => Ok(()),
            Err(error) => Err(Broken(format!("a publish to a short queue was answered: {error}"))),
        }
    }
}

impl Scene for Short {
    fn set(&mut self, node: &mut Node) -> Result<(), Broken> {
        self.ids.clear();
        for (name, overflow) in QUEUES {
            let length_max = Some(LENGTH_MAX);
            let policy = QueuePolicy { length_max, overflow, ..QueuePolicy::default() };
            self.ids.push(declare_queue(node, name, policy)?);
        }
        Ok(())
    }

    fn ask(&mut self, node: &mut Node, _: &mut Seen) -> Result<(), Broken> {
        match self.random.below(200) {
            0..16 if !self.flights.are_many() => self.publish(&node.session),
            16..22 if self.receives => self.receive(node)?,
            22..28 if !self.held.is_empty() => self.settle(&node.session),
            28 => self.measure(node)?,
            29 => self.flights.give_up(&mut self.random),
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, seen: &mut Seen) -> Result<(), Broken> {
        for told in self.flights.answered() {
            match told {
                Told::Published { queue, sent, result } => self.published(queue, &sent, result, seen)?,
                Told::Settled { queue, acks, result: Ok(results) } => {
                    let over = acks.into_iter().zip(results).filter(|(number, it)| *number > 0 && it.is_ok());
                    over.for_each(|(number, _)| self.judges[queue].acked(number));
                }
                Told::Settled { result: Err(SettleError::DiskFull | SettleError::Stopped(_)), .. } => {}
                Told::Settled { result: Err(error), .. } => {
                    return Err(Broken(format!("a settlement in a short queue was answered: {error}")));
                }
            }
        }
        Ok(())
    }

    fn cut_off(&mut self) {
        self.flights.cut_off();
    }

    /// What is there, receives and the end tell: reading shows also what has left the queue.
    fn look(&mut self, _: &Session, _: When, _: &mut Seen) -> Result<(), Broken> {
        Ok(())
    }

    fn over(&mut self, node: &mut Node, clock: &ManualClock, seen: &mut Seen) -> Result<(), Broken> {
        self.measure(node)?;
        for (queue, (id, _)) in self.ids.iter().enumerate() {
            let left = drain(node, clock, *id, |lease| number_of(lease.record.value.as_ref()))?;
            seen.dropped += self.judges[queue].over(&left)?;
        }
        Ok(())
    }
}
