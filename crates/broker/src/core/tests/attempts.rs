//! Receives that are repeated because their answers were lost.

use super::*;
use crate::AttemptId;
use crate::limits::{ATTEMPT_ID_BYTES, ATTEMPT_MS, ATTEMPTS_PER_QUEUE};

impl Harness {
    fn by_key(&mut self, keys: &[&str]) -> QueueId {
        let policy = QueuePolicy { order: Order::ByKey, ..queue_policy() };
        let queue = self.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
        let key = |key: &&str| Some(Bytes::copy_from_slice(key.as_bytes()));
        let records = keys.iter().map(|it| NewRecord { key: key(it), ..NewRecord::default() }).collect();
        let topic = self.topic_of(queue);
        self.done(|reply| Command::Publish { topic, records, reply }).unwrap();
        queue
    }

    fn attempt(&mut self, queue: QueueId, name: &str, wait_ms: u64) -> Answer {
        let (reply, answer) = LeaseReply::new(None);
        let attempt = Some(AttemptId::new(name.as_bytes()).unwrap());
        let ask =
            LeaseAsk { queue, count: 2, visibility_ms: None, wait_ms, attempt, priority: 0, bound: false };
        self.core.handle(self.now, Command::Lease { ask, reply });
        self.look();
        answer
    }

    fn attempted(&mut self, queue: QueueId, name: &str) -> Vec<Grant> {
        taken(&mut self.attempt(queue, name, 0)).unwrap()
    }
}

#[test]
fn the_same_attempt_brings_the_same_records_in_leases_begun_anew() {
    let mut h = harness();
    let q = h.by_key(&["a", "a", "a"]);
    let first = h.attempted(q, "one");
    assert_eq!(offsets(&first), [0, 1]);
    assert_eq!(h.attempted(q, "another"), []);
    h.pass_ms(VISIBILITY_MS - 1);
    assert_eq!(h.attempted(q, "one"), first);
    h.pass_ms(VISIBILITY_MS - 1);
    assert_eq!(h.attempted(q, "another"), []);
    assert_eq!(h.ack(q, &first), [Ok(()), Ok(())]);
    assert_eq!(offsets(&h.attempted(q, "another")), [2]);
}

#[test]
fn an_attempt_is_over_when_anything_has_become_of_its_records() {
    let outcomes = [Outcome::Ack, Outcome::Release { after_ms: 60_000 }, Outcome::Extend { for_ms: 60_000 }];
    for outcome in outcomes {
        let mut h = harness();
        let q = h.by_key(&["a", "a", "b"]);
        let first = h.attempted(q, "one");
        h.pass_ms(1);
        h.settle_one(lease_id(q, &first[0]), outcome).unwrap();
        assert_eq!(offsets(&h.attempted(q, "one")), [2], "{outcome:?}");
    }
}

#[test]
fn an_attempt_is_forgotten_in_time() {
    let mut h = harness();
    let q = h.by_key(&["a", "a"]);
    let first = h.attempted(q, "one");
    for grant in &first {
        h.settle_one(lease_id(q, grant), Outcome::Extend { for_ms: 2 * ATTEMPT_MS }).unwrap();
    }
    h.pass_ms(ATTEMPT_MS);
    assert_eq!(h.attempted(q, "one"), []);
}

#[test]
fn two_receivers_who_wait_with_one_name_get_the_same() {
    let mut h = harness();
    let q = h.by_key(&[]);
    let mut one = h.attempt(q, "one", 20_000);
    let mut two = h.attempt(q, "one", 20_000);
    h.send(q, &["x"]);
    let granted = taken(&mut one).unwrap();
    assert_eq!((offsets(&granted), taken(&mut two).unwrap()), (vec![0], granted));
}

#[test]
fn the_first_receiver_takes_nothing_from_the_second_when_it_goes() {
    let mut h = harness();
    let q = h.by_key(&["a"]);
    let lost = h.attempted(q, "one");
    let again = h.attempted(q, "one");
    h.core.handle(h.now, Command::GiveBack { leases: vec![lease_id(q, &lost[0])] });
    assert_eq!(h.attempted(q, "another"), []);
    assert_eq!(h.ack(q, &again), [Ok(())]);
}

#[test]
fn what_a_second_receiver_has_is_not_given_back_when_the_attempt_is_forgotten() {
    let mut h = harness();
    let q = h.by_key(&["a", "b"]);
    let lost = h.attempted(q, "one");
    let again = h.attempted(q, "one");
    assert_eq!(h.ack(q, &again[1..]), [Ok(())]);
    assert_eq!(h.attempted(q, "one"), [], "something has become of its records: it is another attempt now");
    h.core.handle(h.now, Command::GiveBack { leases: vec![lease_id(q, &lost[0])] });
    assert_eq!(h.attempted(q, "another"), [], "the second receiver has it");
    assert_eq!(h.ack(q, &again[..1]), [Ok(())]);
}

#[test]
fn what_was_given_back_is_not_part_of_the_attempt() {
    let mut h = harness();
    let q = h.by_key(&["a", "b"]);
    let first = h.attempted(q, "one");
    h.core.handle(h.now, Command::GiveBack { leases: vec![lease_id(q, &first[1])] });
    assert_eq!(offsets(&h.attempted(q, "one")), [0]);
    assert_eq!(offsets(&h.attempted(q, "another")), [1]);
}

#[test]
fn no_more_attempts_are_remembered_than_the_limit() {
    assert!(AttemptId::new(&[b'x'; ATTEMPT_ID_BYTES]).is_some());
    assert!(AttemptId::new(&[b'x'; ATTEMPT_ID_BYTES + 1]).is_none());
    let mut h = harness();
    let keys: Vec<String> = (0..=ATTEMPTS_PER_QUEUE).map(|it| it.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let policy = QueuePolicy { order: Order::ByKey, in_flight_max: 100_000, ..queue_policy() };
    let q = h.by_key(&keys);
    assert_eq!(h.set_queue(q, policy, Labels::new()), Ok(true));
    for name in &keys {
        let (reply, mut answer) = LeaseReply::new(None);
        let attempt = AttemptId::new(name.as_bytes());
        let ask = LeaseAsk {
            queue: q,
            count: 1,
            visibility_ms: None,
            wait_ms: 0,
            attempt,
            priority: 0,
            bound: false,
        };
        h.core.handle(h.now, Command::Lease { ask, reply });
        h.look();
        assert_eq!(taken(&mut answer).unwrap().len(), 1);
    }
    assert_eq!(h.attempted(q, "0"), []);
    assert_eq!(offsets(&h.attempted(q, "1")), [1]);
}
