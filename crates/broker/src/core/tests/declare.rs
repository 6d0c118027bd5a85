//! Declaring, changing and deleting queues.

use duolog_record::Timestamp;

use std::sync::Arc;

use super::*;
use crate::core::harness::policy;
use crate::limits::{LABEL_OVERHEAD, LABELS_BYTES, LABELS_BYTES_ALL, LABELS_OVERHEAD};
use crate::{DeadLetter, Keep, TopicSpec};

#[test]
fn a_queue_without_a_topic_makes_one() {
    let mut h = harness();
    let q = h.queue("q");
    let topic = h.core.catalog.topic_by_id(h.topic_of(q)).unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions.len(), topic.made_by_queue), ("q", 1, true));
    assert_eq!(topic.policy.keep, Keep::UntilSettled { after: 0 });
    assert_eq!(h.core.shared.catalog().queue(DEFAULT_NAMESPACE, "q").unwrap().id, q);
}

#[test]
fn labels_have_room_together_and_not_without_end() {
    let mut h = harness();
    let labels = |bytes: usize| Labels::from([("k".to_owned(), "v".repeat(bytes))]);
    let labelled = |name: &str, bytes| QueueSpec { labels: labels(bytes), ..queue_spec(name) };
    let few = h.declare(labelled("few", 10)).unwrap();
    let set = |h: &mut Harness, bytes| {
        let (known, labels) = (Queue::clone(h.core.catalog.queue_by_id(few).unwrap()), labels(bytes));
        let policy = known.policy.clone();
        h.done(|reply| Command::SetQueue { known: known.into(), policy, labels, reply })
    };
    let taken = h.core.catalog.labels_bytes;
    assert_eq!(taken, LABELS_OVERHEAD + LABEL_OVERHEAD + 11);
    assert!(matches!(h.declare(labelled("q", LABELS_BYTES)), Err(ChangeError::Invalid { .. })));
    // As if many others had all but what one more of the same takes.
    h.core.catalog.labels_bytes = LABELS_BYTES_ALL - taken;
    assert!(matches!(h.declare(labelled("q", 11)), Err(ChangeError::OverLimit(_))));
    h.declare(labelled("q", 10)).unwrap();
    assert!(matches!(set(&mut h, 11), Err(ChangeError::OverLimit(_))));
    assert!(matches!(
        h.done(|reply| Command::CreateTopic {
            spec: TopicSpec { labels: labels(1), ..crate::core::harness::spec("t", 1, policy()) },
            reply
        }),
        Err(ChangeError::OverLimit(_))
    ));
    // Fewer are always taken, and what goes makes room.
    assert_eq!(set(&mut h, 9), Ok(true));
    assert_eq!(set(&mut h, 10), Ok(true));
    h.done(|reply| Command::DeleteQueue { queue: few, reply }).unwrap();
    h.declare(labelled("other", 10)).unwrap();
    assert_eq!(h.core.catalog.labels_bytes, LABELS_BYTES_ALL);
}

/// What the labels take that exist, counted one by one.
fn counted_anew(h: &Harness) -> usize {
    let catalog = &h.core.catalog;
    let topics = catalog.topics(DEFAULT_NAMESPACE).map(|it| &it.labels);
    let queues = catalog.queues(DEFAULT_NAMESPACE).map(|it| &it.labels);
    let of = |labels: &Labels| {
        labels.iter().map(|(key, value)| LABEL_OVERHEAD + key.len() + value.len()).sum::<usize>()
            + if labels.is_empty() { 0 } else { LABELS_OVERHEAD }
    };
    topics.chain(queues).map(of).sum()
}

#[test]
fn what_labels_take_is_known_after_whatever_happens_to_them() {
    let mut h = harness();
    let labels = |bytes: usize| Labels::from([("k".to_owned(), "v".repeat(bytes))]);
    let mut topics = Vec::new();
    for (name, bytes) in [("a", 10), ("b", 20)] {
        let spec = TopicSpec { labels: labels(bytes), ..crate::core::harness::spec(name, 1, policy()) };
        topics.push(h.done(|reply| Command::CreateTopic { spec, reply }).unwrap());
        let on = QueueSpec { topic: Some(name.to_owned()), labels: labels(bytes + 1), ..queue_spec(name) };
        h.declare(on).unwrap();
    }
    h.declare(QueueSpec { labels: labels(30), ..queue_spec("own") }).unwrap();
    h.queue("plain");
    assert_eq!(h.core.catalog.labels_bytes, 5 * (LABELS_OVERHEAD + LABEL_OVERHEAD + 1) + 92);
    let check = |h: &Harness| assert_eq!(h.core.catalog.labels_bytes, counted_anew(h));
    let set = |h: &mut Harness, labels| {
        let known = h.core.catalog.topic_by_id(topics[0]).unwrap().clone();
        assert_eq!(h.done(|reply| Command::SetTopic { known, policy: policy(), labels, reply }), Ok(true));
    };
    h.crash();
    check(&h);
    set(&mut h, labels(99));
    check(&h);
    set(&mut h, Labels::new());
    check(&h);
    h.crash();
    check(&h);
    // Its queue goes with it.
    let topic = topics[1];
    h.done(|reply| Command::DeleteTopic { topic, reply }).unwrap();
    check(&h);
    h.crash();
    check(&h);
    assert_eq!(h.core.catalog.labels_bytes, 2 * (LABELS_OVERHEAD + LABEL_OVERHEAD + 1) + 11 + 30);
}

#[test]
fn a_name_is_taken_once() {
    let mut h = harness();
    h.queue("q");
    assert_eq!(h.declare(queue_spec("q")), Err(ChangeError::Exists("q".to_owned())));
}

#[test]
fn a_queue_begins_where_it_says() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    for at in 1..=5 {
        let record = NewRecord { timestamp: Some(Timestamp(at * 100)), ..NewRecord::default() };
        h.done(|reply| Command::Publish { topic, records: vec![record], reply }).unwrap();
    }
    let partition = h.partition(topic, 0);
    h.trim(partition, 1).unwrap();
    let cases = [
        (Start::Earliest, vec![1, 2, 3, 4]),
        (Start::Latest, vec![]),
        (Start::Offset(Offset(3)), vec![3, 4]),
        (Start::Offset(Offset(0)), vec![1, 2, 3, 4]),
        (Start::Offset(Offset(99)), vec![]),
        (Start::Time(Timestamp(350)), vec![3, 4]),
        (Start::Time(Timestamp(0)), vec![1, 2, 3, 4]),
        (Start::Time(Timestamp(501)), vec![]),
    ];
    for (index, (start, expected)) in cases.into_iter().enumerate() {
        let spec = QueueSpec { topic: Some("t".to_owned()), start, ..queue_spec(&format!("q{index}")) };
        let q = h.declare(spec).unwrap();
        assert_eq!(h.offsets(q, 10), expected, "{start:?}");
    }
}

#[test]
fn a_name_that_is_taken_while_the_start_is_looked_up_is_refused() {
    let mut h = harness();
    h.topic("t", 1, policy());
    let spec = QueueSpec { topic: Some("t".to_owned()), start: Start::Time(Timestamp(0)), ..queue_spec("q") };
    let mut first = h.ask(|reply| Command::CreateQueue { spec: Box::new(spec), reply });
    let mut second = h.ask(|reply| Command::CreateQueue { spec: Box::new(queue_spec("q")), reply });
    h.settle();
    assert_eq!(first.try_recv().unwrap(), Err(ChangeError::Exists("q".to_owned())));
    assert!(second.try_recv().unwrap().is_ok());
}

#[test]
fn the_own_topic_goes_with_its_last_queue() {
    let mut h = harness();
    let q = h.queue("q");
    let topic = h.topic_of(q);
    let other = h.declare(QueueSpec { topic: Some("q".to_owned()), ..queue_spec("other") }).unwrap();
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    assert!(h.core.catalog.topic_by_id(topic).is_some());
    h.done(|reply| Command::DeleteQueue { queue: other, reply }).unwrap();
    assert!(h.core.catalog.topic_by_id(topic).is_none());
    assert!(h.core.shared.catalog().queue(DEFAULT_NAMESPACE, "other").is_none());
    h.queue("q");
}

#[test]
fn nonsense_is_refused() {
    let mut h = harness();
    let bad = [
        QueuePolicy { visibility_timeout_ms: crate::limits::VISIBILITY_MS + 1, ..queue_policy() },
        QueuePolicy { attempts_max: Some(0), ..queue_policy() },
        QueuePolicy { in_flight_max: 0, ..queue_policy() },
        QueuePolicy { backoff: Backoff::Fixed { ms: crate::limits::VISIBILITY_MS + 1 }, ..queue_policy() },
        QueuePolicy { backoff: Backoff::Exponential { base_ms: 2, max_ms: 1 }, ..queue_policy() },
        QueuePolicy { message_bytes_max: u32::MAX, ..queue_policy() },
        QueuePolicy { dead_letter: Some(DeadLetter::Queue("q".to_owned())), ..queue_policy() },
        QueuePolicy { dead_letter: Some(DeadLetter::Queue(String::new())), ..queue_policy() },
    ];
    for policy in bad {
        let refused = h.declare(QueueSpec { policy: policy.clone(), ..queue_spec("q") });
        assert!(matches!(refused, Err(ChangeError::Invalid { .. })), "{policy:?}");
    }
    let refused = h.declare(queue_spec(""));
    assert!(matches!(refused, Err(ChangeError::Invalid { .. })));
    assert!(h.core.catalog.topics.is_empty(), "nothing of it remains");
    let queue = QueueId(99);
    let missing = h.done(|reply| Command::DeleteQueue { queue, reply });
    assert!(matches!(missing, Err(ChangeError::NotFound(_))));
}

#[test]
fn a_changed_policy_holds_for_later_leases_and_survives() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    h.lease(q, 1);
    let policy = QueuePolicy { visibility_timeout_ms: 1_000, ..queue_policy() };
    let labels = Labels::from([("colour".to_owned(), "red".to_owned())]);
    assert_eq!(h.set_queue(q, policy, labels), Ok(true));
    h.lease(q, 1);
    h.pass_ms(1_000);
    assert_eq!(h.offsets(q, 2), [1]);
    h.settle();
    h.crash();
    assert_eq!(h.queue_of(q).policy.visibility_timeout_ms, 1_000);
    assert_eq!(h.queue_of(q).labels["colour"], "red");
}

#[test]
fn of_two_changes_that_know_the_same_one_is_made_and_the_other_hears_so_when_that_is_durable() {
    let mut h = harness();
    let q = h.queue("q");
    let known = h.core.shared.catalog().queue_by_id(q).unwrap().clone();
    let labels = |of: &str| Labels::from([(of.to_owned(), String::new())]);
    let change = |h: &mut Harness, known: &Arc<Queue>, of: &str| {
        let (known, labels) = (Arc::clone(known), labels(of));
        h.ask(|reply| Command::SetQueue { known, policy: queue_policy(), labels, reply })
    };
    let (mut one, mut other) = (change(&mut h, &known, "one"), change(&mut h, &known, "other"));
    assert!(one.try_recv().is_err() && other.try_recv().is_err(), "neither is durable");
    h.settle();
    assert_eq!((one.try_recv().unwrap(), other.try_recv().unwrap()), (Ok(true), Ok(false)));
    let known = h.core.shared.catalog().queue_by_id(q).unwrap().clone();
    assert_eq!(known.labels, labels("one"));
    let mut again = change(&mut h, &known, "other");
    h.settle();
    assert_eq!(again.try_recv().unwrap(), Ok(true));
    assert_eq!(h.queue_of(q).labels, labels("other"));
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    let mut gone = change(&mut h, &known, "other");
    h.settle();
    assert!(matches!(gone.try_recv().unwrap(), Err(ChangeError::NotFound(_))));
}

#[test]
fn of_two_changes_of_a_topic_that_know_the_same_one_is_made() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    let known = h.core.shared.catalog().topic_by_id(topic).unwrap().clone();
    let change = |h: &mut Harness, retention_ms| {
        let (known, labels) = (Arc::clone(&known), Labels::new());
        let policy = crate::TopicPolicy { retention_ms: Some(retention_ms), ..policy() };
        h.ask(|reply| Command::SetTopic { known, policy, labels, reply })
    };
    let (mut one, mut other) = (change(&mut h, 1), change(&mut h, 2));
    h.settle();
    assert_eq!((one.try_recv().unwrap(), other.try_recv().unwrap()), (Ok(true), Ok(false)));
    assert_eq!(h.core.shared.catalog().topic_by_id(topic).unwrap().policy.retention_ms, Some(1));
}

#[test]
fn a_trim_that_would_take_from_a_queue_is_refused_unless_it_may() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    for _ in 0..4 {
        let records = vec![NewRecord::default()];
        h.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    }
    let partition = h.partition(topic, 0);
    let q = h.declare(QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") }).unwrap();
    let refused = h.trim_unneeded(partition, 2).unwrap_err().to_string();
    assert!(refused.contains("queue q") && refused.contains("offset 0"), "{refused}");
    assert_eq!(h.trim_unneeded(partition, 0), Ok(Offset(0)), "nothing is taken");
    assert_eq!(h.trim(partition, 2), Ok(Offset(2)));
    h.done(|reply| Command::PurgeQueue { queue: q, reply }).unwrap();
    assert_eq!(h.trim_unneeded(partition, 99), Ok(Offset(4)), "at most to the end");
}
