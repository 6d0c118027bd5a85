//! Dead-lettering: the record is in one of the two queues whatever happens, and never in both.

use duolog_storage::LogError;

use super::*;
use crate::core::harness::{batch, policy};
use crate::headers;

/// A queue that gives a record two attempts, and its dead-letter queue.
fn pair(h: &mut Harness) -> (QueueId, QueueId) {
    let policy = QueuePolicy {
        attempts_max: Some(2),
        dead_letter: Some("dead".to_owned()),
        in_flight_max: 10_000,
        ..queue_policy()
    };
    let dead = h.queue("dead");
    (h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap(), dead)
}

/// Leases everything and lets the leases run out.
fn fail_all(h: &mut Harness, q: QueueId) {
    h.lease(q, 10);
    h.pass_ms(VISIBILITY_MS);
    h.core.tick(h.now);
}

fn header(record: &Record, name: &str) -> Option<String> {
    let found = record.headers.iter().find(|it| it.key == name)?;
    Some(String::from_utf8(found.value.clone()?.to_vec()).unwrap())
}

#[test]
fn a_record_that_has_had_its_attempts_is_moved_with_its_story() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a"]);
    let sent_at = h.records(h.partition(h.topic_of(q), 0))[0].timestamp;
    let first = h.lease(q, 1)[0];
    h.pass_ms(VISIBILITY_MS);
    fail_all(&mut h, q);
    assert_eq!(h.offsets(q, 1), [], "the third lease moves it");
    h.settle();
    let records = h.records(h.partition(h.topic_of(dead), 0));
    let record = &records[0];
    assert_eq!((value(record), records.len(), record.timestamp), ("a".to_owned(), 1, sent_at));
    let topic = h.topic_of(q);
    for (name, expected) in [
        (headers::ORIGIN, format!("{:032x}/0/0", topic.0)),
        (headers::DEAD_REASON, "attempts".to_owned()),
        (headers::DEAD_SOURCE, "q".to_owned()),
        (headers::DEAD_TOPIC, "q".to_owned()),
        (headers::DEAD_PARTITION, "0".to_owned()),
        (headers::DEAD_OFFSET, "0".to_owned()),
        (headers::DEAD_ATTEMPTS, "2".to_owned()),
        (headers::DEAD_FIRST_TIME, first.first_leased_at.0.to_string()),
    ] {
        assert_eq!(header(record, name).as_ref(), Some(&expected), "{name}");
    }
    assert_eq!(h.depth(q).dead_lettered, 1);
    assert_eq!(h.offsets(dead, 1), [0]);
}

#[test]
fn whoever_waits_gets_what_comes_behind_the_dead() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a", "b"]);
    for _ in 0..2 {
        let held = h.lease(q, 1);
        assert_eq!(offsets(&held), [0]);
        h.settle_one(lease_id(q, &held[0]), Outcome::Release { after_ms: 0 }).unwrap();
    }
    assert_eq!(h.offsets(q, 1), [1]);
    h.settle();
    assert_eq!(h.values(dead), ["a"]);
}

#[test]
fn a_second_move_keeps_the_origin() {
    let mut h = harness();
    h.queue("end");
    let onward = QueuePolicy { dead_letter: Some("end".to_owned()), ..queue_policy() };
    let dead = h.declare(QueueSpec { policy: onward, ..queue_spec("dead") }).unwrap();
    let policy = QueuePolicy { dead_letter: Some("dead".to_owned()), ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec("q") }).unwrap();
    h.send(q, &["a"]);
    let origin = format!("{:032x}/0/0", h.topic_of(q).0);
    for from in [q, dead] {
        let held = h.lease(from, 1);
        assert_eq!(h.settle_one(lease_id(from, &held[0]), Outcome::DeadLetter), Ok(()));
    }
    let end = h.core.catalog.queue(DEFAULT_NAMESPACE, "end").unwrap().topic;
    let records = h.records(h.partition(end, 0));
    assert_eq!(header(&records[0], headers::ORIGIN), Some(origin));
    assert_eq!(header(&records[0], headers::DEAD_SOURCE), Some("dead".to_owned()));
    assert_eq!(header(&records[0], headers::DEAD_REASON), Some("rejected".to_owned()));
    assert_eq!(records[0].headers.len(), 9);
}

#[test]
fn a_move_is_whole_at_every_commit_boundary() {
    for boundary in 0..6 {
        let mut h = harness();
        let (q, dead) = pair(&mut h);
        h.send(q, &["a", "b", "c"]);
        fail_all(&mut h, q);
        fail_all(&mut h, q);
        h.lease(q, 1);
        for _ in 0..boundary {
            h.seal();
            if !h.pump() {
                h.pass_ms(5);
            }
        }
        h.seal();
        h.crash();
        h.pass_ms(VISIBILITY_MS);
        h.lease(q, 10);
        h.settle();
        h.pass_ms(VISIBILITY_MS);
        h.lease(q, 10);
        h.settle();
        h.pass_ms(VISIBILITY_MS);
        h.lease(q, 10);
        h.settle();
        let mut moved = h.values(dead);
        moved.sort();
        assert_eq!(moved, ["a", "b", "c"], "crash after {boundary} commits");
        assert_eq!(h.depth(q).available + h.depth(q).in_flight, 0);
    }
}

#[test]
fn a_refused_move_is_made_when_there_is_room() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle();
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "/data".to_owned() });
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "/data".to_owned() });
    assert_eq!(h.settle_one(lease_id(q, &held[0]), Outcome::DeadLetter), Ok(()));
    h.send(dead, &["z"]);
    h.crash();
    assert_eq!(h.values(dead), ["a", "z"]);
    assert_eq!(h.offsets(q, 1), []);
}

#[test]
fn a_crash_while_the_move_is_refused_leaves_the_record_where_it_was() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle();
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "/data".to_owned() });
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::DeadLetter)];
    let mut answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.seal();
    h.pump();
    assert!(answer.try_recv().is_err(), "not answered, because it is not durable");
    h.crash();
    assert_eq!(h.values(dead), Vec::<String>::new());
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.offsets(q, 1), [0]);
}

#[test]
fn without_its_target_a_record_stays_where_it_is() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a"]);
    h.done(|reply| Command::DeleteQueue { queue: dead, reply }).unwrap();
    fail_all(&mut h, q);
    fail_all(&mut h, q);
    let held = h.lease(q, 1);
    assert_eq!((held[0].offset, held[0].attempt), (FIRST, 3));
    assert_eq!(h.depth(q).undeliverable, 1);
    assert_eq!(h.settle_one(lease_id(q, &held[0]), Outcome::DeadLetter), Err(SettleError::NotFound));
    assert_eq!(h.offsets(q, 1), [0]);
    let dead = h.queue("dead");
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.offsets(q, 1), []);
    h.settle();
    assert_eq!(h.values(dead), ["a"]);
}

#[test]
fn a_target_that_goes_while_the_record_is_on_its_way_changes_nothing_for_it() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::DeadLetter)];
    let mut answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.look();
    h.done(|reply| Command::DeleteQueue { queue: dead, reply }).unwrap();
    assert_eq!(answer.try_recv().unwrap().unwrap(), [Err(SettleError::NotFound)]);
    assert_eq!(h.offsets(q, 1), [0]);
}

#[test]
fn what_is_purged_on_its_way_is_not_moved() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    h.send(q, &["a", "b"]);
    let held = h.lease(q, 2);
    let reject = |h: &mut Harness, grant: &Grant| {
        let outcomes = vec![(lease_id(q, grant), Outcome::DeadLetter)];
        h.ask(|reply| Command::Settle { queue: q, outcomes, reply })
    };
    let mut read = reject(&mut h, &held[0]);
    h.look();
    let mut unread = reject(&mut h, &held[1]);
    h.done(|reply| Command::PurgeQueue { queue: q, reply }).unwrap();
    for answer in [&mut read, &mut unread] {
        assert_eq!(answer.try_recv().unwrap().unwrap(), [Ok(())]);
    }
    assert_eq!(h.values(dead), Vec::<String>::new());
    h.send(q, &["c"]);
    assert_eq!(h.offsets(q, 1), [2]);
}

#[test]
fn rejected_without_a_dead_letter_queue_is_settled() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    assert_eq!(h.settle_one(lease_id(q, &held[0]), Outcome::DeadLetter), Ok(()));
    h.crash();
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.offsets(q, 1), []);
}

#[test]
fn a_queue_on_the_topic_of_its_dead_letter_queue_does_not_feed_itself() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    let on = |name: &str| QueueSpec { topic: Some("t".to_owned()), ..queue_spec(name) };
    h.declare(on("dead")).unwrap();
    let policy =
        QueuePolicy { attempts_max: Some(1), dead_letter: Some("dead".to_owned()), ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..on("q") }).unwrap();
    h.send_to(topic, &["a"]);
    fail_all(&mut h, q);
    assert_eq!(h.lease(q, 10)[0].attempt, 2);
    h.settle();
    assert_eq!(h.records(h.partition(topic, 0)).len(), 1);
}

#[test]
fn many_dead_are_moved_in_many_commits() {
    let mut h = harness();
    let topic = h.topic("q", 3, policy());
    let (q, dead) = pair(&mut h);
    for index in 0..3 {
        let partition = h.partition(topic, index);
        h.append(partition, batch(700, None)).unwrap();
    }
    for _ in 0..3 {
        while !h.try_lease(q, 1_000).unwrap_or_default().is_empty() {}
        h.settle();
        h.pass_ms(VISIBILITY_MS);
    }
    h.settle();
    let depth = h.depth(q);
    assert_eq!((depth.dead_lettered, depth.available, depth.in_flight), (2_100, 0, 0));
    assert_eq!(h.values(dead).len(), 2_100);
}
