//! Who waits, in what order, and what ends the waiting.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::core::GiveBack;

#[test]
fn receivers_are_served_in_the_order_in_which_they_came() {
    let mut h = harness();
    let q = h.queue("q");
    let mut line: Vec<_> = (0..3).map(|_| h.wait(q, 2, 20_000)).collect();
    h.send(q, &["a", "b", "c"]);
    assert_eq!(offsets(&taken(&mut line[0]).unwrap()), [0, 1]);
    assert_eq!(offsets(&taken(&mut line[1]).unwrap()), [2]);
    assert!(waits(&mut line[2]));
}

#[test]
fn one_who_does_not_wait_does_not_push_in() {
    let mut h = harness();
    let q = h.queue("q");
    let mut first = h.wait(q, 1, 20_000);
    assert_eq!(h.offsets(q, 1), []);
    h.send(q, &["a"]);
    assert_eq!(offsets(&taken(&mut first).unwrap()), [0]);
}

#[test]
fn nothing_is_leased_before_it_is_durable() {
    let mut h = harness();
    let q = h.queue("q");
    let mut waiter = h.wait(q, 1, 20_000);
    let topic = h.topic_of(q);
    let records = vec![NewRecord { value: Some(Bytes::from_static(b"a")), ..NewRecord::default() }];
    let _sent = h.ask(|reply| Command::Publish { topic, records, reply });
    h.seal();
    assert!(waits(&mut waiter));
    h.pump();
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [0]);
}

#[test]
fn waiting_ends_at_its_deadline() {
    let mut h = harness();
    let q = h.queue("q");
    let mut waiter = h.wait(q, 1, 2_000);
    h.pass_ms(1_999);
    h.core.tick(h.now);
    assert!(waits(&mut waiter));
    assert_eq!(h.core.next_deadline().unwrap(), h.now.monotonic.plus_ms(1));
    h.pass_ms(1);
    h.core.tick(h.now);
    assert_eq!(taken(&mut waiter).unwrap(), []);
}

#[test]
fn a_release_wakes_one_who_waits() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let mut waiter = h.wait(q, 1, 20_000);
    assert!(waits(&mut waiter));
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }).unwrap();
    let grants = taken(&mut waiter).unwrap();
    assert_eq!((offsets(&grants), grants[0].attempt), (vec![0], 2));
}

#[test]
fn a_delayed_release_wakes_one_when_the_delay_is_over() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 5_000 }).unwrap();
    let mut waiter = h.wait(q, 1, 20_000);
    h.pass_ms(4_990);
    h.core.tick(h.now);
    assert!(waits(&mut waiter));
    h.pass_ms(10);
    h.core.tick(h.now);
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [0]);
}

#[test]
fn a_lease_that_runs_out_wakes_one_who_waits() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    h.lease(q, 1);
    let mut waiter = h.wait(q, 1, 60_000);
    h.pass_ms(VISIBILITY_MS - 1);
    h.core.tick(h.now);
    assert!(waits(&mut waiter));
    h.pass_ms(1);
    h.core.tick(h.now);
    assert_eq!(taken(&mut waiter).unwrap()[0].attempt, 2);
}

#[test]
fn a_replay_wakes_one_who_waits() {
    let mut h = harness();
    let topic = h.topic("q", 1, crate::core::harness::policy());
    let q = h.queue("q");
    h.send_to(topic, &["a"]);
    let held = h.lease(q, 1);
    assert_eq!(h.ack(q, &held), [Ok(())]);
    let mut waiter = h.wait(q, 1, 20_000);
    let replayed = h.done(|reply| Command::ReplayQueue { queue: q, from: Start::Earliest, reply });
    assert_eq!(replayed, Ok(1));
    assert_eq!(taken(&mut waiter).unwrap()[0].attempt, 1);
}

#[test]
fn one_who_has_gone_is_passed_over() {
    let mut h = harness();
    let q = h.queue("q");
    drop(h.wait(q, 1, 20_000));
    let mut second = h.wait(q, 1, 20_000);
    h.send(q, &["a"]);
    let grants = taken(&mut second).unwrap();
    assert_eq!((offsets(&grants), grants[0].attempt), (vec![0], 1));
}

#[derive(Default)]
struct Box(Mutex<Vec<LeaseId>>);

impl GiveBack for Box {
    fn give_back(&self, leases: Vec<LeaseId>) {
        self.0.lock().extend(leases);
    }
}

#[test]
fn an_answer_that_is_dropped_goes_back_as_if_it_had_never_been() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let home = Arc::new(Box::default());
    let (reply, answer) = LeaseReply::new(Some(Arc::clone(&home) as Arc<dyn GiveBack>));
    let ask = LeaseAsk {
        queue: q,
        count: 2,
        visibility_ms: None,
        wait_ms: 0,
        attempt: None,
        priority: 0,
        bound: false,
    };
    h.core.handle(h.now, Command::Lease { ask, reply });
    h.look();
    drop(answer);
    let leases = std::mem::take(&mut *home.0.lock());
    assert_eq!(leases.len(), 2);
    let mut waiter = h.wait(q, 2, 20_000);
    assert!(waits(&mut waiter));
    h.core.handle(h.now, Command::GiveBack { leases });
    let grants = taken(&mut waiter).unwrap();
    assert_eq!((offsets(&grants), grants[0].attempt), (vec![0, 1], 1));
}

#[test]
fn deleting_the_queue_or_its_topic_ends_the_waiting() {
    let mut h = harness();
    for by_topic in [false, true] {
        let q = h.queue("q");
        let topic = h.topic_of(q);
        let mut waiter = h.wait(q, 1, 20_000);
        if by_topic {
            h.done(|reply| Command::DeleteTopic { topic, reply }).unwrap();
        } else {
            h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
        }
        assert!(matches!(taken(&mut waiter), Err(LeaseError::NotFound)));
        assert!(matches!(h.try_lease(q, 1), Err(LeaseError::NotFound)));
        assert!(h.core.catalog.topic_by_id(topic).is_none());
    }
}

#[test]
fn the_end_answers_those_who_wait_with_nothing() {
    let mut h = harness();
    let q = h.queue("q");
    let mut waiter = h.wait(q, 1, 20_000);
    h.core.end();
    assert_eq!(taken(&mut waiter).unwrap(), []);
}

#[test]
fn the_cap_is_told_to_those_who_do_not_wait() {
    let mut h = harness();
    let q = h
        .declare(QueueSpec { policy: QueuePolicy { in_flight_max: 2, ..queue_policy() }, ..queue_spec("q") });
    let q = q.unwrap();
    h.send(q, &["a", "b", "c"]);
    let held = h.lease(q, 10);
    assert_eq!(offsets(&held), [0, 1]);
    assert!(matches!(h.try_lease(q, 1), Err(LeaseError::OverLimit { in_flight: 2 })));
    let mut waiter = h.wait(q, 1, 20_000);
    assert!(waits(&mut waiter));
    h.ack(q, &held[..1]);
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [2]);
}
