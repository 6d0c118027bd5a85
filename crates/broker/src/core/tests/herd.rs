//! Many at once: receivers that wait, consumers that die, messages that nobody can work on.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::DeadLetter;
use crate::limits::WAITERS_PER_QUEUE;

const ORDERS: [Order; 3] = [Order::Standard, Order::ByKey, Order::Fair];

impl Harness {
    fn ordered(&mut self, order: Order) -> QueueId {
        let policy = QueuePolicy { order, in_flight_max: 120_000, ..queue_policy() };
        self.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap()
    }

    /// Publishes so many records, of so many keys in turn.
    fn send_many(&mut self, queue: QueueId, count: usize, keys: usize) {
        let topic = self.topic_of(queue);
        let key = |at: usize| Some(Bytes::from((at % keys).to_string()));
        let records = (0..count).map(|at| NewRecord { key: key(at), ..NewRecord::default() }).collect();
        self.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    }
}

#[test]
fn of_ten_thousand_who_wait_one_is_woken_for_each_record() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.ordered(order);
        let mut line: Vec<_> = (0..WAITERS_PER_QUEUE).map(|_| h.wait(q, 1, 20_000)).collect();
        h.send_many(q, 1, 1);
        assert_eq!(offsets(&taken(&mut line[0]).unwrap()), [0]);
        assert!(line[1..].iter_mut().all(waits), "{order:?}");
        assert_eq!(h.depth(q).waiting, line.len() as u64 - 1);
        // And all in the order in which they came.
        h.send_many(q, WAITERS_PER_QUEUE, WAITERS_PER_QUEUE);
        let seen: Vec<u64> =
            line[1..].iter_mut().flat_map(|waiter| offsets(&taken(waiter).unwrap())).collect();
        // The first record keeps back that of its key.
        let first = if order == Order::Standard { 1 } else { 2 };
        let expected = first..first + seen.len() as u64;
        assert!(seen.iter().copied().eq(expected), "{order:?}: {:?}", &seen[..10]);
        assert_eq!(seen.len(), WAITERS_PER_QUEUE - 1);
    }
}

#[test]
fn what_a_thousand_dead_consumers_held_comes_again_once() {
    for (order, is_crash) in ORDERS.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let mut h = harness();
        let q = h.ordered(order);
        h.send_many(q, 10_000, 1_000);
        let mut first = BTreeSet::new();
        for _ in 0..1_000 {
            first.extend(h.offsets(q, 10));
        }
        assert_eq!(first.len(), 10_000);
        h.settle();
        if is_crash {
            h.crash();
        }
        assert_eq!(h.offsets(q, 10), [], "{order:?}: they may be alive");
        h.pass_ms(VISIBILITY_MS);
        h.core.tick(h.now);
        let mut again: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        loop {
            let granted = h.lease(q, 10);
            if granted.is_empty() {
                break;
            }
            for grant in &granted {
                assert_eq!(grant.attempt, 2);
                assert!(seen.insert(grant.offset.0));
                let last = again.insert(grant.offset.0 % 1_000, grant.offset.0);
                assert!(last < Some(grant.offset.0), "{order:?}: a key in order");
            }
            assert!(h.ack(q, &granted).iter().all(Result::is_ok));
        }
        assert_eq!(seen.len(), 10_000, "{order:?}");
        let depth = h.depth(q);
        assert_eq!((depth.available, depth.in_flight), (0, 0));
    }
}

#[test]
fn a_record_that_nobody_can_work_on_keeps_back_only_its_key_until_it_is_dead() {
    for order in ORDERS {
        let mut h = harness();
        let dead = h.queue("dead");
        let (attempts_max, dead_letter) = (Some(3), Some("dead".to_owned()));
        let policy = QueuePolicy {
            order,
            attempts_max,
            dead_letter: dead_letter.map(DeadLetter::Queue),
            ..queue_policy()
        };
        let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
        h.send_many(q, 100, 10);
        let mut done = BTreeSet::new();
        for _ in 0..6 {
            loop {
                let granted = h.lease(q, 1);
                if granted.is_empty() {
                    break;
                }
                // The first of all is poison: whoever gets it dies.
                if granted[0].offset.0 == 0 {
                    assert!(granted[0].attempt <= 3);
                } else {
                    done.extend(offsets(&granted));
                    h.ack(q, &granted);
                }
            }
            h.settle();
            h.pass_ms(VISIBILITY_MS);
            h.core.tick(h.now);
        }
        assert_eq!(h.offsets(dead, 10), [0], "{order:?}");
        assert_eq!(done.len(), 99, "{order:?}");
        assert_eq!(h.depth(q).available, 0);
    }
}

#[test]
fn poison_without_a_dead_letter_queue_does_not_starve_the_others() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.ordered(order);
        h.send_many(q, 1, 1);
        let mut done = 0;
        for round in 1..=20 {
            h.send_many(q, 3, 3);
            let granted = h.lease(q, 10);
            let good: Vec<_> = granted.into_iter().filter(|it| it.offset.0 != 0).collect();
            done += good.len();
            h.ack(q, &good);
            // Two of the three are of other keys.
            assert!(done >= round * 2, "{order:?}: {done} of round {round}");
            h.pass_ms(VISIBILITY_MS);
            h.core.tick(h.now);
        }
    }
}
