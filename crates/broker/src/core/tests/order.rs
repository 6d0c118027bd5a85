//! Queues by key and fair queues: where keys come from, and what survives a crash.

use duolog_record::{Batch, BatchBuilder, Timestamp};

use super::*;
use crate::DeadLetter;
use crate::core::harness::policy;

fn ordered(name: &str, order: Order) -> QueueSpec {
    QueueSpec { policy: QueuePolicy { order, ..queue_policy() }, ..queue_spec(name) }
}

fn keyed(keys: &[&str]) -> Vec<NewRecord> {
    let key = |key: &&str| Some(Bytes::copy_from_slice(key.as_bytes()));
    keys.iter().map(|it| NewRecord { key: key(it), ..NewRecord::default() }).collect()
}

fn keyed_batch(keys: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new();
    for key in keys {
        builder.push(Timestamp(1), Some(key.as_bytes()), Some(b"value"), &[]);
    }
    builder.build()
}

impl Harness {
    fn publish_keys(&mut self, queue: QueueId, keys: &[&str]) {
        let topic = self.topic_of(queue);
        self.done(|reply| Command::Publish { topic, records: keyed(keys), reply }).unwrap();
    }
}

#[test]
fn keys_of_what_is_published_need_no_look_at_the_log() {
    let mut h = harness();
    let q = h.declare(ordered("q", Order::ByKey)).unwrap();
    let mut waiter = h.wait(q, 9, 20_000);
    h.publish_keys(q, &["a", "b", "a"]);
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [0, 1, 2]);
    h.publish_keys(q, &["a", "c"]);
    let mut waiter = h.wait(q, 9, 20_000);
    assert!(h.core.take_work().is_none());
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [4]);
}

#[test]
fn keys_of_batches_are_looked_up() {
    let mut h = harness();
    let q = h.declare(ordered("q", Order::ByKey)).unwrap();
    let partition = h.partition(h.topic_of(q), 0);
    h.append(partition, keyed_batch(&["a", "a", "b"])).unwrap();
    let held = h.lease(q, 1);
    h.publish_keys(q, &["b", "a"]);
    h.append(partition, keyed_batch(&["c"])).unwrap();
    assert_eq!((offsets(&held), h.offsets(q, 9)), (vec![0], vec![2, 3, 5]));
    h.ack(q, &held);
    assert_eq!(h.offsets(q, 9), [1, 4]);
}

#[test]
fn records_without_a_key_are_one_group_per_partition() {
    let mut h = harness();
    let topic = h.topic("q", 2, policy());
    let q = h.declare(ordered("q", Order::ByKey)).unwrap();
    h.send_to(topic, &["1", "2", "3", "4"]);
    let held = h.lease(q, 1);
    let other = h.lease(q, 9);
    assert_ne!(held[0].partition, other[0].partition);
    assert_eq!((offsets(&held), offsets(&other)), (vec![0], vec![0, 1]));
    assert_eq!(h.offsets(q, 9), []);
}

#[test]
fn a_key_stays_blocked_over_a_crash_and_its_records_in_order() {
    let mut h = harness();
    let q = h.declare(ordered("q", Order::ByKey)).unwrap();
    h.publish_keys(q, &["a", "a", "b", "a"]);
    let held = h.lease(q, 2);
    h.settle();
    h.crash();
    assert_eq!(h.offsets(q, 9), [2]);
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(h.offsets(q, 9), []);
    h.settle_one(lease_id(q, &held[1]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(h.offsets(q, 9), [0, 1, 3]);
}

#[test]
fn a_dead_record_lets_its_key_go_on() {
    let mut h = harness();
    let dead = h.queue("dead");
    let policy = QueuePolicy {
        order: Order::ByKey,
        attempts_max: Some(1),
        dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
        ..queue_policy()
    };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    h.publish_keys(q, &["a", "a", "b"]);
    let held = h.lease(q, 1);
    h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }).unwrap();
    let mut waiter = h.wait(q, 1, 20_000);
    h.settle();
    assert_eq!(offsets(&taken(&mut waiter).unwrap()), [2]);
    assert_eq!(h.offsets(q, 9), [1]);
    assert_eq!(h.offsets(dead, 9), [0]);
}

#[test]
fn an_idle_queue_forgets_its_window_and_not_its_order() {
    let mut h = harness();
    let q = h.declare(ordered("q", Order::ByKey)).unwrap();
    h.publish_keys(q, &["a", "b", "a"]);
    let held = h.lease(q, 1);
    let long = Outcome::Extend { for_ms: 10 * crate::limits::QUEUE_IDLE_MS };
    h.settle_one(lease_id(q, &held[0]), long).unwrap();
    h.pass_ms(2 * crate::limits::QUEUE_IDLE_MS);
    h.core.tick(h.now);
    assert_eq!(h.core.queues.get(q).unwrap().ledger.window_records(), 0);
    assert_eq!(h.offsets(q, 9), [1]);
    h.ack(q, &held);
    assert_eq!(h.offsets(q, 9), [2]);
}

#[test]
fn keys_of_a_fair_queue_take_turns() {
    let mut h = harness();
    let q = h.declare(ordered("q", Order::Fair)).unwrap();
    h.publish_keys(q, &["noisy"; 50]);
    h.publish_keys(q, &["a", "b"]);
    assert_eq!(h.offsets(q, 4), [0, 1, 50, 51]);
}

#[test]
fn the_order_of_a_queue_cannot_be_changed() {
    let mut h = harness();
    let id = h.queue("q");
    let policy = QueuePolicy { order: Order::ByKey, ..queue_policy() };
    let changed = h.set_queue(id, policy, Labels::new());
    assert!(matches!(changed, Err(ChangeError::Invalid { what: "order", .. })));
}

#[test]
fn a_queue_that_slept_gives_as_many_large_records_as_were_asked_for() {
    for order in [Order::ByKey, Order::Fair] {
        let mut h = harness();
        let q = h
            .declare(QueueSpec { policy: QueuePolicy { order, ..queue_policy() }, ..queue_spec("q") })
            .unwrap();
        let topic = h.topic_of(q);
        for number in 0..24 {
            let value = Some(vec![b'x'; (1 << 20) - 100].into());
            let key = Some(Bytes::from(number.to_string()));
            let records = vec![NewRecord { key, value, ..NewRecord::default() }];
            h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
        }
        // Whether it asks to wait or not.
        let first = h.lease(q, 10);
        assert_eq!(offsets(&first), (0..10).collect::<Vec<_>>(), "{order:?}");
        let mut waiter = h.wait(q, 10, 20_000);
        h.look();
        assert_eq!(taken(&mut waiter).unwrap().len(), 10, "{order:?}");
        assert_eq!(h.lease(q, 10).len(), 4, "{order:?}: those that there are");
        assert_eq!(h.lease(q, 10).len(), 0, "{order:?}");
    }
}

#[test]
fn a_receiver_is_not_held_back_until_everything_was_looked_through() {
    let mut h = harness();
    let policy = QueuePolicy { order: Order::ByKey, ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    let topic = h.topic_of(q);
    let send = |h: &mut Harness, key: &'static str, bytes: usize| {
        let (key, value) = (Some(Bytes::from_static(key.as_bytes())), Some(vec![0; bytes].into()));
        let records = vec![NewRecord { key, value, ..NewRecord::default() }];
        h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    };
    send(&mut h, "a", 1);
    assert_eq!(h.offsets(q, 1), [0]);
    send(&mut h, "b", 1);
    for _ in 0..40 {
        send(&mut h, "a", 1 << 20);
    }
    h.settle();
    h.crash();
    let (mut waiter, mut looks) = (h.wait(q, 10, 0), 0);
    let granted = loop {
        match waiter.try_recv() {
            Ok(granted) => break granted.unwrap(),
            Err(error) => assert_eq!(error, oneshot::error::TryRecvError::Empty),
        }
        let work = h.core.take_work().expect("a look");
        looks += usize::from(matches!(work, crate::core::Work::Spans { .. }));
        if let Some(finding) = work.perform(&h.log) {
            h.core.handle(h.now, Command::Found(finding));
        }
    };
    assert_eq!(offsets(granted.grants()), [1]);
    granted.accept();
    assert!(looks <= crate::limits::KEY_LOOKS_PER_LEASE as usize, "{looks} looks");
}
