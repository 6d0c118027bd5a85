//! Times to live that records bring along, what goes through an exchange when a queue gives it up, lengths and priorities.

use duolog_record::Header;
use duolog_storage::LogError;

use super::*;
use crate::core::harness::policy;
use crate::deaths::Deaths;
use crate::errors::AppendError;
use crate::limits::{LEDGER_DYING, QUEUE_IDLE_MS};
use crate::{DeadLetter, Gate, Overflow, Published, Routed, headers};

fn record(value: &str, pairs: &[(&'static str, &str)]) -> NewRecord {
    let header = |(key, value): &(&'static str, &str)| Header {
        key: Bytes::from_static(key.as_bytes()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { value, headers: pairs.iter().map(header).collect(), ..NewRecord::default() }
}

/// Through the default exchange to a queue.
fn to(queue: &str) -> Option<DeadLetter> {
    Some(DeadLetter::Exchange { name: String::new(), key: Some(Bytes::copy_from_slice(queue.as_bytes())) })
}

impl Harness {
    fn queue_with(&mut self, name: &str, policy: QueuePolicy) -> QueueId {
        self.declare(QueueSpec { policy, ..queue_spec(name) }).unwrap()
    }

    fn put(&mut self, id: QueueId, records: Vec<NewRecord>) -> Result<Vec<Published>, AppendError> {
        let topic = self.topic_of(id);
        self.done(|reply| Command::Publish { topic, records, reply })
    }

    fn timed(&mut self, id: QueueId, value: &str, ttl_ms: u64) {
        self.put(id, vec![record(value, &[(headers::TTL, &ttl_ms.to_string())])]).unwrap();
    }

    fn available(&mut self, id: QueueId) -> u64 {
        self.depth(id).available
    }

    /// The values that a queue hands out, with how they came there.
    fn stories(&mut self, id: QueueId) -> Vec<(String, Deaths)> {
        let all = self.records(self.partition(self.topic_of(id), 0));
        let told = |offset: u64| {
            let record = &all[usize::try_from(offset).unwrap()];
            (value(record), Deaths::of(&record.headers).unwrap_or_default())
        };
        self.offsets(id, 10_000).into_iter().map(told).collect()
    }
}

#[test]
fn a_time_to_live_of_its_own_is_kept_through_leases_sleep_and_restarts() {
    for how in ["fresh", "leased", "asleep", "restarted", "leased and restarted"] {
        let mut h = harness();
        let dead = h.queue("dead");
        let q = h.queue_with("q", QueuePolicy { dead_letter: to("dead"), ..queue_policy() });
        h.timed(q, "brief", 2 * QUEUE_IDLE_MS);
        h.put(q, vec![record("lasting", &[])]).unwrap();
        if how.contains("leased") {
            let grant = h.lease(q, 1)[0];
            assert_eq!(h.settle_one(lease_id(q, &grant), Outcome::Release { after_ms: 0 }), Ok(()));
        }
        if how == "asleep" {
            h.pass(QUEUE_IDLE_MS + 1);
        }
        if how.contains("restarted") {
            h.settle();
            h.crash();
        }
        h.pass(2 * QUEUE_IDLE_MS - QUEUE_IDLE_MS - 2);
        assert_eq!(h.available(q), 2, "{how}");
        h.pass(QUEUE_IDLE_MS + 2_000);
        h.pass(2_000);
        assert_eq!((h.available(q), h.available(dead)), (1, 1), "{how}");
        let (value, deaths) = h.stories(dead).remove(0);
        let death = &deaths.all[0];
        assert_eq!(
            (&*value, &*death.reason, death.ttl_ms),
            ("brief", "expired", Some(2 * QUEUE_IDLE_MS)),
            "{how}"
        );
        // In the next queue it lives on.
        h.pass(10 * QUEUE_IDLE_MS);
        assert_eq!(h.depth(dead).in_flight + h.available(dead), 1, "{how}");
    }
}

#[test]
fn a_time_to_live_is_found_in_a_batch_of_which_the_head_is_gone() {
    let mut h = harness();
    let q = h.queue("q");
    h.put(q, vec![record("a", &[]), record("b", &[(headers::TTL, "5000")])]).unwrap();
    let held = h.lease(q, 1);
    h.ack(q, &held);
    let partition = h.partition(h.topic_of(q), 0);
    assert_eq!(h.trim_unneeded(partition, 1), Ok(Offset(1)));
    h.crash();
    h.pass(4_000);
    assert_eq!(h.available(q), 1);
    h.pass(1_000);
    assert_eq!(h.offsets(q, 10), []);
}

#[test]
fn what_expires_is_given_up_a_few_at_a_time_and_in_order() {
    let mut h = harness();
    let dead = h.queue("dead");
    let policy = QueuePolicy { dead_letter: to("dead"), message_ttl_ms: Some(1_000), ..queue_policy() };
    let q = h.queue_with("q", policy);
    let count = 3 * LEDGER_DYING + 7;
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let records = chunk.iter().map(|n| record(&n.to_string(), &[])).collect();
        h.put(q, records).unwrap();
    }
    h.pass_ms(1_000);
    h.core.tick(h.now);
    h.look();
    h.core.tick(h.now);
    assert!(h.core.queues.get(q).unwrap().ledger.depth().in_flight <= LEDGER_DYING as u64);
    for _ in 0..40 {
        h.pass(10);
    }
    assert_eq!((h.available(q), h.available(dead)), (0, count as u64));
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(h.values(dead), expected);
}

#[test]
fn a_full_disk_keeps_what_expires_until_it_is_moved() {
    let mut h = harness();
    let dead = h.queue("dead");
    let policy = QueuePolicy { dead_letter: to("dead"), message_ttl_ms: Some(1_000), ..queue_policy() };
    let q = h.queue_with("q", policy);
    h.send(q, &["a", "b"]);
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "here".into() });
    for _ in 0..20 {
        h.pass(1_000);
    }
    assert_eq!((h.available(q), h.available(dead)), (0, 2));
    h.crash();
    h.pass(5_000);
    assert_eq!((h.available(q), h.available(dead)), (0, 2));
}

#[test]
fn what_a_missing_exchange_gets_is_gone_and_what_has_had_its_attempts_without_one_too() {
    let mut h = harness();
    let nowhere = Some(DeadLetter::Exchange { name: "missing".to_owned(), key: None });
    let q = h.queue_with("q", QueuePolicy { dead_letter: nowhere, ..queue_policy() });
    h.send(q, &["a"]);
    let grant = h.lease(q, 1)[0];
    assert_eq!(h.settle_one(lease_id(q, &grant), Outcome::DeadLetter), Ok(()));
    assert_eq!(h.available(q) + h.depth(q).in_flight, 0);
    let q = h.queue_with("r", QueuePolicy { attempts_max: Some(2), ..queue_policy() });
    h.send(q, &["a", "b"]);
    for _ in 0..2 {
        let held = h.lease(q, 1)[0];
        assert_eq!(h.settle_one(lease_id(q, &held), Outcome::Release { after_ms: 0 }), Ok(()));
    }
    assert_eq!(h.offsets(q, 2), [1]);
    h.settle();
    assert_eq!((h.available(q), h.depth(q).in_flight), (0, 1));
}

#[test]
fn the_oldest_leave_a_queue_that_is_too_long_wherever_they_are() {
    let mut h = harness();
    let q = h.queue_with("q", QueuePolicy { length_max: Some(3), ..queue_policy() });
    h.send(q, &["a", "b", "c", "d"]);
    assert_eq!(h.available(q), 3);
    let held = h.lease(q, 2);
    assert_eq!(offsets(&held), [1, 2]);
    h.send(q, &["e", "f"]);
    assert_eq!(h.available(q), 3, "what is leased does not count");
    assert_eq!(h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }), Ok(()));
    assert_eq!(h.available(q), 3, "what comes back is the oldest, and goes");
    assert_eq!(h.offsets(q, 9), [3, 4, 5]);
    // A queue that sleeps, and one that is made shorter.
    h.pass(10 * QUEUE_IDLE_MS);
    h.send(q, &["g", "h", "i", "j", "k"]);
    h.settle();
    assert_eq!(h.available(q), 3);
    let shorter = QueuePolicy { length_max: Some(1), ..queue_policy() };
    h.set_queue(q, shorter, Labels::new()).unwrap();
    h.settle();
    assert_eq!(h.available(q), 1);
    h.crash();
    h.settle();
    assert_eq!(h.available(q), 1);
}

#[test]
fn of_several_partitions_the_oldest_leave() {
    let mut h = harness();
    h.topic("t", 3, policy());
    let spec = QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") };
    let limited = QueuePolicy { length_max: Some(4), ..queue_policy() };
    let q = h.declare(QueueSpec { policy: limited, ..spec }).unwrap();
    // One to each partition in turn, a millisecond apart.
    for n in 0..9 {
        h.pass_ms(1);
        h.put(q, vec![record(&n.to_string(), &[])]).unwrap();
    }
    let mut left: Vec<_> =
        h.lease(q, 9).iter().map(|it| it.offset.0 * 3 + u64::from(it.partition_index)).collect();
    left.sort_unstable();
    assert_eq!(left, [5, 6, 7, 8]);
}

#[test]
fn bytes_are_counted_exactly_and_about_after_a_restart() {
    let mut h = harness();
    let q = h.queue_with("q", QueuePolicy { length_bytes_max: Some(100), ..queue_policy() });
    for n in 1..=9_usize {
        h.send(q, &[&"x".repeat(n * 10)]);
    }
    // 90 alone fits; 80 and 90 do not.
    assert_eq!(h.offsets(q, 9), [8]);
    h.send(q, &[&"y".repeat(60), &"z".repeat(40), &"w".repeat(10)]);
    h.settle();
    assert_eq!(h.available(q), 2, "the largest has gone");
    h.crash();
    h.pass(1_000);
    h.send(q, &["v"]);
    h.settle();
    let left = h.available(q);
    assert!((1..=3).contains(&left), "{left}");
    // Measured anew when the limit comes later.
    let r = h.queue("r");
    (0..50).for_each(|_| h.send(r, &[&"x".repeat(1_000)]));
    let limited = QueuePolicy { length_bytes_max: Some(10_000), ..queue_policy() };
    h.set_queue(r, limited, Labels::new()).unwrap();
    h.settle();
    let left = h.available(r);
    assert!((8..=10).contains(&left), "{left}");
}

#[test]
fn a_full_queue_counts_what_is_on_its_way_and_what_was_refused_by_the_disk_does_not_count() {
    let mut h = harness();
    let overflow = Overflow::Reject;
    for policy in [
        QueuePolicy { length_max: Some(3), overflow, ..queue_policy() },
        QueuePolicy { length_bytes_max: Some(3), overflow, ..queue_policy() },
    ] {
        let q = h.queue_with(if policy.length_max.is_some() { "q" } else { "r" }, policy);
        let topic = h.topic_of(q);
        let mut answers: Vec<_> = (0..5)
            .map(|_| {
                h.seal();
                h.ask(|reply| Command::Publish { topic, records: vec![record("x", &[])], reply })
            })
            .collect();
        h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "here".into() });
        h.settle();
        let taken = answers.iter_mut().map(|it| it.try_recv().unwrap().is_ok());
        let stored = taken.filter(|is| *is).count() as u64;
        assert_eq!(h.available(q), stored);
        while h.available(q) < 3 {
            h.put(q, vec![record("x", &[])]).unwrap();
        }
        assert!(matches!(h.put(q, vec![record("x", &[])]), Err(AppendError::QueueFull(_))));
        let held = h.lease(q, 1);
        h.ack(q, &held);
        h.put(q, vec![record("x", &[])]).unwrap();
        assert_eq!(h.available(q), 3);
    }
}

#[test]
fn what_a_full_queue_refuses_goes_where_the_dead_go_and_refuses_a_whole_publish() {
    let mut h = harness();
    let (dead, other) = (h.queue("dead"), h.queue("other"));
    let (length_max, overflow) = (Some(2), Overflow::RejectDeadLetter);
    let q =
        h.queue_with("q", QueuePolicy { length_max, overflow, dead_letter: to("dead"), ..queue_policy() });
    h.put(q, vec![record("a", &[])]).unwrap();
    let refused = h.put(q, vec![record("b", &[]), record("c", &[])]);
    assert_eq!(refused, Err(AppendError::QueueFull("q".to_owned())));
    assert_eq!((h.values(q), h.values(dead)), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(h.stories(dead)[0].1.all[0].reason, "maxlen");
    let topics: Arc<[TopicId]> = [h.topic_of(q), h.topic_of(other)].into();
    let routed = |value: &str| Routed {
        record: record(value, &[]),
        topics: topics.clone(),
        gate: Gate::Open,
        relaxed: false,
    };
    for (whole, values) in [(true, &["d", "e"]), (true, &["f", "g"]), (false, &["h", "i"])] {
        let records = values.iter().map(|it| routed(it)).collect();
        let answer = h.done(|reply| Command::Route { records, whole, advance: None, reply });
        match whole {
            true => assert_eq!(answer, Err(AppendError::QueueFull("q".to_owned()))),
            false => assert_eq!(answer.unwrap().iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]),
        }
    }
    // Of the whole ones nothing; of the others the full queue alone goes without.
    assert_eq!((h.values(q), h.values(other)), (vec!["a".into(), "h".into()], vec!["h".into(), "i".into()]));
    assert_eq!(h.values(dead), ["b", "c", "i"]);
}

#[test]
fn those_of_a_higher_priority_come_first_though_the_queue_sleeps_or_was_restarted() {
    let mut h = harness();
    let q = h.queue_with("q", QueuePolicy { priority_max: Some(255), ..queue_policy() });
    assert_eq!(h.core.catalog.topic_by_id(h.topic_of(q)).unwrap().partitions.len(), 10);
    let records = ["0", "25", "26", "230", "255", "999", "none"];
    let of = |it: &&str| record(it, &[(headers::PRIORITY, it)]);
    h.put(q, records.iter().map(of).collect()).unwrap();
    h.pass(10 * QUEUE_IDLE_MS);
    h.crash();
    let levels: Vec<u32> = h.lease(q, 9).iter().map(|grant| grant.partition_index).collect();
    assert_eq!(levels, [9, 9, 8, 1, 0, 0, 0]);
}

#[test]
fn only_queues_in_standard_order_have_limits_priorities_and_exchanges() {
    let mut h = harness();
    let order = Order::ByKey;
    for policy in [
        QueuePolicy { order, length_max: Some(1), ..queue_policy() },
        QueuePolicy { order, length_bytes_max: Some(1), ..queue_policy() },
        QueuePolicy { order, priority_max: Some(1), ..queue_policy() },
        QueuePolicy { order, dead_letter: to("dead"), ..queue_policy() },
    ] {
        let refused = h.declare(QueueSpec { policy, ..queue_spec("q") });
        assert!(matches!(refused, Err(ChangeError::Invalid { .. })), "{refused:?}");
    }
    // A topic of its own kind of partitions keeps them.
    let topic = h.topic("t", 3, policy());
    let spec = QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") };
    let q = h
        .declare(QueueSpec { policy: QueuePolicy { priority_max: Some(9), ..queue_policy() }, ..spec })
        .unwrap();
    assert_eq!(h.topic_of(q), topic);
    h.put(q, vec![record("low", &[]), record("high", &[(headers::PRIORITY, "9")])]).unwrap();
    let levels: Vec<u32> = h.lease(q, 2).iter().map(|grant| grant.partition_index).collect();
    assert_eq!(levels, [2, 0]);
}
