//! Which records are leased, and which handles hold.

use super::*;
use crate::core::harness::{batch, policy};

#[test]
fn a_lease_that_runs_out_comes_back_with_one_more_attempt() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let first = h.lease(q, 1);
    h.pass_ms(VISIBILITY_MS);
    let again = h.lease(q, 2);
    assert_eq!(again.iter().map(|it| (it.offset.0, it.attempt)).collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    assert_eq!(h.ack(q, &first), [Err(SettleError::Expired)]);
    assert_eq!(h.ack(q, &again), [Ok(()), Ok(())]);
    assert_eq!(h.ack(q, &again[..1]), [Err(SettleError::Settled)]);
}

#[test]
fn handles_of_another_queue_or_of_nothing_settle_nothing() {
    let mut h = harness();
    let (q, other) = (h.queue("q"), h.queue("other"));
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let id = lease_id(q, &held[0]);
    let asked = h.settle_all(other, vec![(id, Outcome::Ack), (LeaseId { queue: other, ..id }, Outcome::Ack)]);
    assert_eq!(asked, [Err(SettleError::Unknown), Err(SettleError::Unknown)]);
    assert_eq!(h.settle_one(LeaseId { offset: Offset(77), ..id }, Outcome::Ack), Err(SettleError::Unknown));
    assert_eq!(h.settle_one(id, Outcome::Ack), Ok(()));
}

#[test]
fn two_queues_on_one_topic_know_nothing_of_each_other() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    let on = |name: &str| QueueSpec { topic: Some("t".to_owned()), ..queue_spec(name) };
    let (a, b) = (h.declare(on("a")).unwrap(), h.declare(on("b")).unwrap());
    h.send_to(topic, &["1", "2"]);
    let held = h.lease(a, 2);
    assert_eq!(offsets(&held), [0, 1]);
    h.ack(a, &held);
    assert_eq!(h.offsets(a, 2), []);
    assert_eq!(h.offsets(b, 2), [0, 1]);
}

#[test]
fn ten_partitions_are_served_round_robin() {
    let mut h = harness();
    let topic = h.topic("q", 10, policy());
    let q = h.queue("q");
    for index in 0..10 {
        let partition = h.partition(topic, index);
        h.append(partition, batch(3, None)).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..30 {
        let grants = h.lease(q, 1);
        seen.push((grants[0].partition_index, grants[0].offset.0));
    }
    for (round, turn) in seen.chunks(10).enumerate() {
        let mut indexes: Vec<u32> = turn.iter().map(|it| it.0).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, (0..10).collect::<Vec<_>>(), "round {round}");
        assert!(turn.iter().all(|it| it.1 == round as u64), "{turn:?}");
    }
}

#[test]
fn a_backlog_is_worked_through_by_looks_at_the_log() {
    let mut h = harness();
    let topic = h.topic("q", 2, policy());
    for n in 0..3_000 {
        let partition = h.partition(topic, n % 2);
        let _sent = h.ask(|reply| Command::Append { partition, batch: batch(1, None), keys: None, reply });
    }
    h.settle();
    let q = h.queue("q");
    let mut seen = 0;
    loop {
        let held = h.lease(q, 100);
        if held.is_empty() {
            break;
        }
        seen += held.len();
        assert!(h.ack(q, &held).iter().all(Result::is_ok));
    }
    assert_eq!(seen, 3_000);
}

#[test]
fn what_is_trimmed_is_no_longer_leased() {
    let mut h = harness();
    let topic = h.topic("q", 1, policy());
    let q = h.queue("q");
    h.send_to(topic, &["a", "b", "c"]);
    let partition = h.partition(topic, 0);
    h.trim(partition, 2).unwrap();
    assert_eq!(h.offsets(q, 10), [2]);
}

#[test]
fn what_has_outlived_its_time_is_not_leased() {
    let mut h = harness();
    let policy = QueuePolicy { message_ttl_ms: Some(10_000), ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    h.send(q, &["a"]);
    h.pass_ms(6_000);
    h.send(q, &["b"]);
    h.pass_ms(5_000);
    assert_eq!(h.offsets(q, 10), [1]);
    assert_eq!(h.depth(q).available, 0);
}

#[test]
fn an_extension_moves_the_end_of_a_lease() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Extend { for_ms: 60_000 }).unwrap();
    h.pass_ms(VISIBILITY_MS + 1);
    assert_eq!(h.offsets(q, 1), []);
    assert_eq!(h.ack(q, &held), [Ok(())]);
}

#[test]
fn a_queue_that_nobody_works_on_sleeps_and_wakes_up() {
    let mut h = harness();
    let topic = h.topic("q", 1, policy());
    let q = h.queue("q");
    h.send_to(topic, &["a", "b", "c"]);
    assert!(h.core.queues.work.is_empty(), "a queue without receivers reads nothing");
    assert_eq!(h.offsets(q, 1), [0]);
    h.settle();
    h.pass_ms(crate::limits::QUEUE_IDLE_MS);
    h.core.tick(h.now);
    h.send_to(topic, &["d"]);
    assert!(h.core.queues.work.is_empty());
    assert_eq!(h.offsets(q, 10), [0], "what was leased before is known");
    assert_eq!(h.offsets(q, 10), [1, 2, 3]);
}

#[test]
fn what_has_outlived_its_time_goes_although_nobody_receives() {
    let mut h = harness();
    let policy = QueuePolicy { message_ttl_ms: Some(10_000), ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    h.send(q, &["a"]);
    h.send(q, &["b"]);
    h.crash();
    for _ in 0..3 {
        h.pass_ms(10_000);
        h.core.tick(h.now);
        h.settle();
    }
    let partition = h.partition(h.topic_of(q), 0);
    assert_eq!(h.core.queues.get(q).unwrap().ledger.floor(partition), Some(Offset(2)));
}

#[test]
fn a_lease_that_is_bound_ends_with_the_broker_and_counts() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let ask = LeaseAsk {
        queue: q,
        count: 1,
        visibility_ms: None,
        wait_ms: 0,
        attempt: None,
        priority: 0,
        bound: true,
    };
    let (reply, mut answer) = LeaseReply::new(None);
    h.core.handle(h.now, Command::Lease { ask, reply });
    h.look();
    let bound = taken(&mut answer).unwrap();
    assert_eq!((bound.len(), bound[0].attempt), (1, 1));
    let timed = h.lease(q, 1);
    // It lasts as long as any other while the broker runs.
    h.pass_ms(VISIBILITY_MS - 1);
    assert!(h.lease(q, 1).is_empty());
    h.settle();
    h.crash();
    let again = h.lease(q, 10);
    assert_eq!(again.len(), 1, "the timed one still lasts");
    assert_eq!((again[0].offset, again[0].attempt), (bound[0].offset, 2));
    assert_ne!(again[0].offset, timed[0].offset);
}
