//! Delays of whole queues, and back-off after attempts that failed.

use super::*;
use crate::core::harness::policy;

impl Harness {
    fn with(&mut self, policy: QueuePolicy) -> QueueId {
        self.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap()
    }

    fn set(&mut self, queue: QueueId, policy: QueuePolicy) {
        assert_eq!(self.set_queue(queue, policy, Labels::new()), Ok(true));
    }

    /// Time passes as far as something is due, and that is done.
    fn pass_and_tick(&mut self, ms: u64) {
        self.pass_ms(ms);
        self.core.tick(self.now);
        self.look();
    }
}

fn delayed(order: Order, delay_ms: u64) -> QueuePolicy {
    QueuePolicy { order, delay_ms, ..queue_policy() }
}

const ORDERS: [Order; 3] = [Order::Standard, Order::ByKey, Order::Fair];

#[test]
fn a_delayed_record_comes_to_who_waits_when_it_is_due() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.with(delayed(order, 10_000));
        let mut waiter = h.wait(q, 9, 20_000);
        h.send(q, &["a"]);
        h.pass_and_tick(4_000);
        h.send(q, &["b"]);
        assert!(waits(&mut waiter));
        let depth = h.depth(q);
        assert_eq!((depth.available, depth.delayed), (0, 2), "{order:?}");
        h.pass_and_tick(5_999);
        assert!(waits(&mut waiter));
        h.pass_and_tick(1);
        assert_eq!(offsets(&taken(&mut waiter).unwrap()), [0]);
        assert_eq!((h.depth(q).available, h.depth(q).delayed), (0, 1));
        h.pass_and_tick(4_000);
        assert_eq!((h.depth(q).available, h.depth(q).delayed), (1, 0));
    }
}

#[test]
fn a_delay_survives_a_crash_and_is_not_begun_anew() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.with(delayed(order, 10_000));
        h.send(q, &["a", "b"]);
        h.pass_ms(5_000);
        h.crash();
        assert_eq!(h.offsets(q, 9), []);
        h.pass_and_tick(4_999);
        assert_eq!((h.offsets(q, 9), h.depth(q).delayed), (vec![], 2));
        h.pass_and_tick(1);
        assert_eq!(h.lease(q, 9).len(), 2, "{order:?}");
    }
}

#[test]
fn another_delay_holds_for_those_who_wait() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.with(delayed(order, 60_000));
        h.send(q, &["a"]);
        assert_eq!(h.offsets(q, 9), []);
        h.set(q, delayed(order, 5_000));
        h.pass_and_tick(5_000);
        assert_eq!(h.offsets(q, 9), [0], "{order:?}");
        h.send(q, &["b"]);
        h.set(q, delayed(order, 0));
        assert_eq!(h.offsets(q, 9), if order == Order::ByKey { vec![] } else { vec![1] });
    }
}

#[test]
fn delays_of_many_partitions_end_each_in_its_time() {
    let mut h = harness();
    let topic = h.topic("q", 4, policy());
    let q = h.with(delayed(Order::Standard, 1_000));
    assert_eq!(h.offsets(q, 9), []);
    for _ in 0..4 {
        h.send_to(topic, &["x"]);
        h.pass_and_tick(100);
    }
    for _ in 0..4 {
        h.pass_and_tick(500);
        h.pass_ms(0);
    }
    assert_eq!(h.lease(q, 9).len(), 4);
}

#[test]
fn a_lease_that_runs_out_backs_off_longer_each_time() {
    let mut h = harness();
    let backoff = Backoff::Exponential { base_ms: 1_000, max_ms: 3_000 };
    let q = h.with(QueuePolicy { backoff, ..queue_policy() });
    h.send(q, &["a"]);
    for wait_ms in [1_000, 2_000, 3_000, 3_000] {
        assert_eq!(h.offsets(q, 1), [0]);
        h.pass_and_tick(VISIBILITY_MS);
        assert_eq!((h.offsets(q, 1), h.depth(q).delayed), (vec![], 1));
        h.pass_and_tick(wait_ms - 1);
        assert_eq!(h.offsets(q, 1), []);
        h.pass_and_tick(1);
    }
}

#[test]
fn a_released_record_backs_off_unless_a_time_is_given() {
    let mut h = harness();
    let q = h.with(QueuePolicy { backoff: Backoff::Fixed { ms: 500 }, ..queue_policy() });
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(h.offsets(q, 1), []);
    h.pass_and_tick(500);
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Extend { for_ms: 0 }).unwrap();
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 100 }).unwrap();
    h.pass_and_tick(100);
    assert_eq!(h.offsets(q, 1), [0]);
}

#[test]
fn a_back_off_goes_on_after_a_crash_and_blocks_its_key() {
    let mut h = harness();
    let backoff = Backoff::Fixed { ms: 10_000 };
    let q = h.with(QueuePolicy { backoff, order: Order::ByKey, ..queue_policy() });
    h.send(q, &["a", "b"]);
    assert_eq!(h.offsets(q, 1), [0]);
    h.settle();
    h.pass_and_tick(VISIBILITY_MS + 4_000);
    h.crash();
    assert_eq!(h.offsets(q, 9), []);
    h.pass_and_tick(5_900);
    assert_eq!(h.offsets(q, 9), []);
    h.pass_and_tick(100);
    assert_eq!(h.offsets(q, 9), [0, 1]);
}

#[test]
fn a_step_of_the_wall_clock_ends_no_lease() {
    for order in ORDERS {
        let mut h = harness();
        let q = h.with(QueuePolicy { order, ..queue_policy() });
        h.send(q, &["a"]);
        let held = h.lease(q, 1);
        for step_ms in [86_400_000, -200_000_000] {
            h.now.wall.0 += step_ms;
            h.core.tick(h.now);
            assert_eq!(h.offsets(q, 1), []);
        }
        h.pass_and_tick(VISIBILITY_MS - 1);
        assert_eq!(h.offsets(q, 1), []);
        assert_eq!(h.ack(q, &held), [Ok(())]);
    }
}
