//! What goes and what stays: by age, by size, until settled, and never what a queue still needs.

use super::*;
use crate::core::Work;
use crate::core::harness::{batch, policy};
use crate::limits::{LEDGER_DYING, PRODUCER_IDLE_MS, RECLAIM_MS, RETENTION_SETTLED_MS};
use crate::{DeadLetter, Keep, TopicPolicy};
use duolog_record::Producer;

const HOUR_MS: u64 = 3_600_000;
const CHECK_MS: u64 = 60_000;

fn by_age() -> TopicPolicy {
    TopicPolicy { retention_ms: Some(HOUR_MS), ..policy() }
}

impl Harness {
    fn start(&self, partition: PartitionId) -> u64 {
        self.log.bounds(partition).unwrap().start.0
    }

    /// Until retention has had its say.
    fn pass_rounds(&mut self, ms: u64) {
        self.pass_ms(ms);
        self.settle();
        self.pass_ms(RECLAIM_MS);
        self.settle();
    }

    fn attach(&mut self, name: &str, topic: &str, policy: QueuePolicy) -> QueueId {
        self.declare(QueueSpec { topic: Some(topic.to_owned()), policy, ..queue_spec(name) }).unwrap()
    }
}

#[test]
fn records_go_when_they_are_old() {
    let mut h = harness();
    let topic = h.topic("orders", 1, by_age());
    let partition = h.partition(topic, 0);
    h.append(partition, batch(10, None)).unwrap();
    h.pass_ms(HOUR_MS / 2);
    h.append(partition, batch(10, None)).unwrap();
    h.pass_rounds(CHECK_MS);
    assert_eq!(h.start(partition), 0);
    h.pass_rounds(HOUR_MS / 2);
    assert_eq!(h.start(partition), 10);
    h.pass_rounds(HOUR_MS / 2);
    assert_eq!(h.start(partition), 20, "the last one goes as well");
    h.crash();
    assert_eq!(h.append(partition, batch(1, None)).unwrap().base, Offset(20));
}

#[test]
fn records_go_when_they_are_too_many_bytes() {
    let mut h = harness();
    let topic = h.topic("orders", 1, policy());
    let partition = h.partition(topic, 0);
    for _ in 0..10 {
        h.append(partition, batch(10, None)).unwrap();
    }
    let bytes = h.log.partition_bytes(partition);
    let policy = TopicPolicy { retention_bytes: Some(bytes / 2), ..policy() };
    h.set_topic(topic, policy);
    h.pass_rounds(CHECK_MS);
    assert_eq!(h.start(partition), 50);
}

#[test]
fn a_limit_that_no_batch_keeps_within_does_not_empty_a_topic() {
    let mut h = harness();
    let topic = h.topic("orders", 1, policy());
    let partition = h.partition(topic, 0);
    for _ in 0..3 {
        h.append(partition, batch(10, None)).unwrap();
    }
    let each = h.log.partition_bytes(partition) / 3;
    for (limit, start) in [(3 * each, 0), (each + 1, 10), (each, 20), (each - 1, 20), (1, 20), (0, 30)] {
        h.set_topic(topic, TopicPolicy { retention_bytes: Some(limit), ..policy() });
        h.pass_rounds(CHECK_MS);
        assert_eq!(h.start(partition), start, "{limit} bytes");
    }
}

#[test]
fn a_topic_without_limits_keeps_everything() {
    let mut h = harness();
    let topic = h.topic("orders", 1, policy());
    let partition = h.partition(topic, 0);
    h.append(partition, batch(10, None)).unwrap();
    h.pass_rounds(1_000 * HOUR_MS);
    assert_eq!(h.start(partition), 0);
}

#[test]
fn what_a_queue_has_not_settled_stays_and_is_told() {
    let mut h = harness();
    let topic = h.topic("orders", 1, by_age());
    let partition = h.partition(topic, 0);
    let (slow, fast) =
        (h.attach("slow", "orders", queue_policy()), h.attach("fast", "orders", queue_policy()));
    for _ in 0..4 {
        h.send_to(topic, &["x"]);
    }
    let held = h.lease(slow, 1);
    h.ack(slow, &held);
    let held = h.lease(fast, 4);
    h.ack(fast, &held);
    h.pass_rounds(2 * HOUR_MS);
    assert_eq!(h.start(partition), 1);
    let overview = h.done(|reply| Command::Overview { reply }).unwrap();
    assert_eq!(overview.pinned, [(slow, partition, 3)]);
    let held = h.lease(slow, 3);
    h.ack(slow, &held);
    h.pass_rounds(CHECK_MS);
    assert_eq!(h.start(partition), 4);
    assert_eq!(h.done(|reply| Command::Overview { reply }).unwrap().pinned, []);
}

#[test]
fn what_has_outlived_its_time_in_every_queue_is_not_held() {
    let mut h = harness();
    let topic = h.topic("orders", 1, by_age());
    let partition = h.partition(topic, 0);
    let ttl = QueuePolicy { message_ttl_ms: Some(2 * HOUR_MS), ..queue_policy() };
    h.attach("q", "orders", ttl);
    h.append(partition, batch(3, None)).unwrap();
    h.pass_rounds(HOUR_MS + CHECK_MS);
    assert_eq!(h.start(partition), 0, "old, but the queue still delivers it");
    h.pass_rounds(HOUR_MS);
    assert_eq!(h.start(partition), 3);
}

#[test]
fn what_expires_through_an_exchange_stays_until_it_has_gone_there() {
    for count in [1, 3 * LEDGER_DYING] {
        let mut h = harness();
        let dead = h.queue("dead");
        let dead_letter =
            Some(DeadLetter::Exchange { name: String::new(), key: Some(Bytes::from_static(b"dead")) });
        let ttl = QueuePolicy { message_ttl_ms: Some(HOUR_MS), dead_letter, ..queue_policy() };
        let q = h.declare(QueueSpec { policy: ttl, ..queue_spec("q") }).unwrap();
        let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        for some in values.chunks(1_000) {
            h.send(q, &some.iter().map(String::as_str).collect::<Vec<_>>());
        }
        // The broker was away when their time came, and looks at ages before it has read what it has.
        h.crash();
        h.pass_ms(2 * HOUR_MS);
        h.core.tick(h.now);
        let mut works = std::iter::from_fn(|| h.core.take_work()).collect::<Vec<_>>();
        works.sort_by_key(|work| !matches!(work, Work::Retention(_)));
        for finding in works.into_iter().filter_map(|work| work.perform(&h.log)) {
            h.core.handle(h.now, Command::Found(finding));
        }
        for _ in 0..20 {
            h.pass_rounds(CHECK_MS);
        }
        assert_eq!(h.values(dead).len(), count);
        let partition = h.partition(h.topic_of(q), 0);
        assert_eq!(h.start(partition), count as u64, "and no longer");
    }
}

#[test]
fn what_is_leased_when_its_time_is_over_stays_until_the_lease_ends() {
    for order in [Order::Standard, Order::ByKey, Order::Fair] {
        let mut h = harness();
        let topic = h.topic("orders", 1, by_age());
        let partition = h.partition(topic, 0);
        let visibility_timeout_ms = 3 * HOUR_MS;
        let ttl =
            QueuePolicy { message_ttl_ms: Some(2 * HOUR_MS), visibility_timeout_ms, order, ..queue_policy() };
        let q = h.attach("q", "orders", ttl);
        for _ in 0..3 {
            h.send_to(topic, &["x"]);
        }
        h.pass_ms(2 * HOUR_MS - CHECK_MS);
        let held = h.lease(q, 1);
        h.settle();
        h.pass_rounds(2 * HOUR_MS);
        assert_eq!(h.start(partition), 0, "{order:?}: somebody works on it");
        let depth = h.depth(q);
        assert_eq!(
            (depth.available, depth.in_flight),
            (0, 1),
            "{order:?}: what stands behind it is not counted"
        );
        let outcome = Outcome::Extend { for_ms: visibility_timeout_ms };
        assert_eq!(h.settle_one(lease_id(q, &held[0]), outcome), Ok(()), "{order:?}");
        h.pass_rounds(visibility_timeout_ms + CHECK_MS);
        assert_eq!(h.offsets(q, 3), [], "{order:?}: its time is over");
        h.pass_rounds(2 * CHECK_MS);
        assert_eq!(h.start(partition), 3, "{order:?}");
    }
}

#[test]
fn an_empty_queue_sets_no_timer_for_its_time_to_live() {
    let mut h = harness();
    h.topic("orders", 1, policy());
    let ttl = QueuePolicy { message_ttl_ms: Some(HOUR_MS), ..queue_policy() };
    let q = h.attach("q", "orders", ttl);
    assert_eq!(h.core.queues.next_deadline(), None);
    h.send(q, &["x"]);
    assert!(h.core.queues.next_deadline().is_some());
    h.crash();
    assert!(h.core.queues.next_deadline().is_some());
    h.pass_rounds(HOUR_MS + CHECK_MS);
    assert_eq!(h.depth(q).available, 0);
    h.pass_rounds(2 * CHECK_MS);
    assert_eq!(h.core.queues.next_deadline(), None);
}

#[test]
fn a_replayed_record_is_held_for_its_new_time() {
    let mut h = harness();
    let topic = h.topic("orders", 1, by_age());
    let partition = h.partition(topic, 0);
    let ttl = QueuePolicy { message_ttl_ms: Some(2 * HOUR_MS), ..queue_policy() };
    let q = h.attach("q", "orders", ttl);
    h.append(partition, batch(1, None)).unwrap();
    h.pass_ms(HOUR_MS - CHECK_MS);
    let held = h.lease(q, 1);
    h.ack(q, &held);
    h.done(|reply| Command::ReplayQueue { queue: q, from: Start::Earliest, reply }).unwrap();
    h.pass_rounds(2 * HOUR_MS - CHECK_MS);
    assert_eq!(h.start(partition), 0);
    h.pass_rounds(2 * CHECK_MS);
    assert_eq!(h.start(partition), 1);
}

#[test]
fn a_topic_made_by_a_queue_keeps_what_is_not_settled_and_no_more() {
    let mut h = harness();
    let q = h.queue("q");
    let partition = h.partition(h.topic_of(q), 0);
    h.send(q, &["a"]);
    h.send(q, &["b"]);
    h.send(q, &["c"]);
    let bytes = h.log.partition_bytes(partition);
    let held = h.lease(q, 3);
    h.ack(q, &held[1..2]);
    h.pass_rounds(RETENTION_SETTLED_MS);
    assert_eq!(h.start(partition), 0);
    assert_eq!(h.log.partition_bytes(partition), bytes / 3 * 2, "settled in the middle is discarded");
    h.crash();
    h.settle();
    assert_eq!(h.log.partition_bytes(partition), bytes / 3 * 2, "and told again after a restart");
    h.ack(q, &held[..1]);
    h.pass_rounds(RETENTION_SETTLED_MS);
    assert_eq!(h.start(partition), 2);
    h.ack(q, &held[2..]);
    h.pass_rounds(RETENTION_SETTLED_MS);
    assert_eq!(h.start(partition), 3);
    h.crash();
    h.send(q, &["d"]);
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.offsets(q, 9), [3]);
}

#[test]
fn a_settlement_that_is_not_durable_discards_nothing() {
    let mut h = harness();
    let q = h.queue("q");
    let partition = h.partition(h.topic_of(q), 0);
    h.send(q, &["a"]);
    h.send(q, &["b"]);
    let bytes = h.log.partition_bytes(partition);
    let held = h.lease(q, 2);
    h.settle();
    let outcomes = vec![(lease_id(q, &held[1]), Outcome::Ack)];
    let _answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.pass_ms(RETENTION_SETTLED_MS);
    h.seal();
    h.look();
    assert_eq!(h.log.partition_bytes(partition), bytes);
    h.settle();
    h.seal();
    assert_eq!(h.log.partition_bytes(partition), bytes / 2);
}

#[test]
fn so_many_settled_records_are_kept() {
    let mut h = harness();
    let policy = TopicPolicy { keep: Keep::UntilSettled { after: 2 }, ..policy() };
    let topic = h.topic("orders", 1, policy);
    let partition = h.partition(topic, 0);
    let q = h.attach("q", "orders", queue_policy());
    for _ in 0..5 {
        h.send_to(topic, &["x"]);
    }
    h.pass_rounds(RETENTION_SETTLED_MS);
    let held = h.lease(q, 5);
    h.ack(q, &held);
    h.pass_rounds(RETENTION_SETTLED_MS);
    assert_eq!(h.start(partition), 3);
}

#[test]
fn a_topic_kept_until_settled_without_a_queue_keeps_everything() {
    let mut h = harness();
    let policy = TopicPolicy { keep: Keep::UntilSettled { after: 0 }, ..policy() };
    let topic = h.topic("orders", 1, policy);
    let partition = h.partition(topic, 0);
    h.append(partition, batch(5, None)).unwrap();
    h.pass_rounds(100 * HOUR_MS);
    assert_eq!(h.start(partition), 0);
}

#[test]
fn a_round_is_cut_into_slices() {
    let mut h = harness();
    let topic = h.topic("orders", 1_000, by_age());
    for index in 0..1_000 {
        let partition = h.partition(topic, index);
        let batch = batch(1, None);
        drop(h.ask(|reply| Command::Append { partition, batch, keys: None, reply }));
    }
    h.settle();
    h.pass_ms(2 * HOUR_MS);
    h.core.tick(h.now);
    let mut looks = 0;
    while let Some(work) = h.core.take_work() {
        looks += usize::from(matches!(work, Work::Retention(_)));
    }
    assert!(looks <= crate::limits::RETENTION_LOOKS, "{looks} looks at once");
    h.crash();
    for _ in 0..100 {
        h.pass_rounds(10);
    }
    assert!((0..1_000).all(|index| h.start(h.partition(topic, index)) == 1));
}

#[test]
fn an_idle_producer_is_forgotten_for_good() {
    let mut h = harness();
    let topic = h.topic("orders", 1, policy());
    let partition = h.partition(topic, 0);
    let sent = |id| Some(Producer { id, epoch: 0, base_sequence: 0 });
    h.append(partition, batch(1, sent(1))).unwrap();
    h.pass_ms(PRODUCER_IDLE_MS as u64 / 2);
    h.append(partition, batch(1, sent(2))).unwrap();
    h.pass_rounds(PRODUCER_IDLE_MS as u64 / 2 + CHECK_MS);
    h.crash();
    assert!(h.core.producers.get((partition, 1)).is_none());
    assert!(h.core.producers.get((partition, 2)).is_some());
}
