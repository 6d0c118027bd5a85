//! Dead-lettering: the record is in one of the two queues whatever happens, and never in both.

use duolog_record::{BatchBuilder, Codec, Timestamp};
use duolog_storage::LogError;

use super::*;
use crate::core::harness::{batch, large_batch, policy};
use crate::core::work::Work;
use crate::limits::{DEAD_LOOK_BYTES, DEAD_LOOK_ROOM, MOVE_LINE_BYTES, MOVE_POLL_MS, RETENTION_SETTLED_MS};
use crate::{DeadLetter, MoveId, MoveSpec, TopicPolicy, headers};

/// A queue that gives a record two attempts, and its dead-letter queue.
fn pair(h: &mut Harness) -> (QueueId, QueueId) {
    let policy = QueuePolicy {
        attempts_max: Some(2),
        dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
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

/// Looks at dead records that the reader's thread has before it.
fn looks(h: &Harness) -> usize {
    h.core.queues.work.iter().filter(|it| matches!(it, Work::Dead { .. })).count()
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
fn the_dead_of_many_queues_wait_their_turn_to_be_read() {
    let mut h = harness();
    let dead = h.queue("dead");
    let (attempts_max, dead_letter) = (Some(1), Some("dead".to_owned()));
    let policy =
        QueuePolicy { attempts_max, dead_letter: dead_letter.map(DeadLetter::Queue), ..queue_policy() };
    let queues: Vec<_> = (0..100)
        .map(|it| QueueSpec { policy: policy.clone(), ..queue_spec(&format!("q{it}")) })
        .map(|spec| h.declare(spec).unwrap())
        .collect();
    for &q in &queues {
        h.send(q, &["a", "b"]);
        assert_eq!(h.lease(q, 2).len(), 2);
    }
    h.settle();
    h.pass_ms(VISIBILITY_MS);
    for &queue in &queues {
        let (reply, _answer) = LeaseReply::new(None);
        let ask = LeaseAsk {
            queue,
            count: 2,
            visibility_ms: None,
            wait_ms: 0,
            attempt: None,
            priority: 0,
            bound: false,
        };
        h.core.handle(h.now, Command::Lease { ask, reply });
    }
    assert_eq!(looks(&h), MOVE_LINE_BYTES / DEAD_LOOK_ROOM);
    // One that is being looked at goes, and one that waits.
    for queue in [queues[0], queues[99]] {
        let _deleted = h.ask(|reply| Command::DeleteQueue { queue, reply });
    }
    h.settle();
    assert_eq!((looks(&h), h.depth(dead).available), (0, 98 * 2));
    assert!(queues[1..99].iter().all(|&q| h.depth(q).dead_lettered == 2));
}

/// A queue of records of which one look reads one. They are compressed, so that they are small where they are stored.
fn large(h: &mut Harness, name: &str, count: usize) -> QueueId {
    let (attempts_max, dead_letter) = (Some(1), Some("dead".to_owned()));
    let policy =
        QueuePolicy { attempts_max, dead_letter: dead_letter.map(DeadLetter::Queue), ..queue_policy() };
    let q = h.declare(QueueSpec { policy, ..queue_spec(name) }).unwrap();
    let partition = h.partition(h.topic_of(q), 0);
    for _ in 0..count {
        let mut builder = BatchBuilder::new().codec(Codec::Lz4);
        builder.push(Timestamp(1), None, Some(&vec![0; DEAD_LOOK_BYTES]), &[]);
        h.append(partition, builder.build()).unwrap();
    }
    q
}

/// Begins to move everything; what comes of it waits for a commit.
fn begin_move(h: &mut Harness, source: QueueId, to: QueueId) -> MoveId {
    let spec = MoveSpec { source, destination: Some(to), rate_per_s: None, filter: None, dry_run: false };
    let _answer = h.ask(|reply| Command::StartMove { spec: Box::new(spec), reply });
    h.core.tick(h.now);
    // What lies ahead of the source is looked up before the task can take of it.
    h.look();
    h.pass_ms(MOVE_POLL_MS);
    h.core.tick(h.now);
    h.core.tasks.active_of(source).unwrap()
}

/// The last lease that a record may have is over.
fn ask_again(h: &mut Harness, queue: QueueId) {
    let (reply, _answer) = LeaseReply::new(None);
    let ask = LeaseAsk {
        queue,
        count: 1,
        visibility_ms: None,
        wait_ms: 0,
        attempt: None,
        priority: 0,
        bound: false,
    };
    h.core.handle(h.now, Command::Lease { ask, reply });
}

#[test]
fn queues_and_move_tasks_read_ahead_of_the_commits_as_much_as_has_room() {
    let mut h = harness();
    let (dead, to) = (h.queue("dead"), h.queue("to"));
    let pairs: Vec<_> = (0..9)
        .map(|it| (large(&mut h, &format!("q{it}"), 1), large(&mut h, &format!("source{it}"), 1)))
        .collect();
    for &(q, _) in &pairs {
        assert_eq!(h.lease(q, 1).len(), 1);
    }
    h.settle();
    h.pass_ms(VISIBILITY_MS);
    for &(q, source) in &pairs {
        ask_again(&mut h, q);
        begin_move(&mut h, source, to);
    }
    h.look();
    let (of_queues, of_tasks, bytes) = h.core.queues.moves.standing();
    assert!(bytes <= MOVE_LINE_BYTES && bytes + DEAD_LOOK_ROOM > MOVE_LINE_BYTES, "{bytes}");
    assert!(of_queues.abs_diff(of_tasks) <= 1, "{of_queues} and {of_tasks} take turns");
    // One that waits has nothing to look at any more, and the queue of another has gone.
    let _purged = h.ask(|reply| Command::PurgeQueue { queue: pairs[7].1, reply });
    let _deleted = h.ask(|reply| Command::DeleteQueue { queue: pairs[8].1, reply });
    h.settle();
    assert_eq!((h.depth(dead).available, h.depth(to).available), (9, 7));
    assert_eq!(h.core.queues.moves.standing(), (0, 0, 0));
}

#[test]
fn the_dead_of_a_queue_have_their_turn_beside_many_move_tasks() {
    const TASKS: usize = 20;
    let mut h = harness();
    let (dead, to) = (h.queue("dead"), h.queue("to"));
    let sources: Vec<_> = (0..TASKS).map(|it| large(&mut h, &format!("source{it}"), 3)).collect();
    let q = large(&mut h, "q", 1);
    assert_eq!(h.lease(q, 1).len(), 1);
    h.settle();
    h.pass_ms(VISIBILITY_MS);
    let tasks: Vec<_> = sources.iter().map(|&source| begin_move(&mut h, source, to)).collect();
    h.look();
    ask_again(&mut h, q);
    let moved = |h: &Harness| tasks.iter().map(|&id| h.core.tasks.get(id).unwrap().task.moved).sum::<u64>();
    while h.core.queues.get(q).unwrap().dead.moved == 0 {
        h.seal();
        assert!(h.core.queues.moves.standing().2 <= MOVE_LINE_BYTES);
        assert!(h.pump(), "it waits in vain");
    }
    assert!(moved(&h) <= TASKS as u64 + 1, "{} of tasks were moved before", moved(&h));
    while moved(&h) < 3 * TASKS as u64 {
        h.pass_ms(1);
        h.settle();
    }
    assert_eq!((h.depth(dead).available, h.depth(to).available), (1, 3 * TASKS as u64));
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
    let onward = QueuePolicy { dead_letter: Some(DeadLetter::Queue("end".to_owned())), ..queue_policy() };
    let dead = h.declare(QueueSpec { policy: onward, ..queue_spec("dead") }).unwrap();
    let policy = QueuePolicy { dead_letter: Some(DeadLetter::Queue("dead".to_owned())), ..queue_policy() };
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
    assert_eq!(records[0].headers.len(), 10);
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

/// What the source was rid of because of a move must not be durable before the move is.
#[test]
fn a_source_is_not_trimmed_while_the_move_may_still_be_refused() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    let other = h.topic("other", 1, policy());
    let other = h.partition(other, 0);
    h.send(q, &["a", "b"]);
    let held = h.lease(q, 1);
    h.settle();
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::DeadLetter)];
    let mut answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.seal();
    // A round of retention while the move is in flight, and enough beside it for a second group.
    h.pass_ms(RETENTION_SETTLED_MS);
    drop(h.ask(|reply| Command::Append { partition: other, batch: large_batch(), keys: None, reply }));
    h.seal();
    h.log.fail_next(LogError::DiskFull { bytes: 1, directory: "/data".to_owned() });
    while h.pump() {}
    h.look();
    assert!(answer.try_recv().is_err(), "not answered, because it is not durable");
    assert_eq!(h.log.bounds(h.partition(h.topic_of(q), 0)).unwrap().start, Offset(0));
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
    let policy = QueuePolicy {
        attempts_max: Some(1),
        dead_letter: Some(DeadLetter::Queue("dead".to_owned())),
        ..queue_policy()
    };
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

#[test]
fn a_damaged_target_counts_as_none_and_a_sound_partition_of_it_is_found() {
    let mut h = harness();
    let target = h.topic("dead", 2, policy());
    let (q, dead) = pair(&mut h);
    h.send(q, &["a", "b"]);
    let damage = |h: &mut Harness, index: usize, is_damaged: bool| {
        let partition = h.partition(target, index);
        h.core.partitions.get_mut(&partition).unwrap().quarantined = is_damaged;
    };
    // What the log would refuse, and the shard stop for.
    let is_untouched = |h: &Harness, index: usize| h.records(h.partition(target, index)).is_empty();
    (0..2).for_each(|index| damage(&mut h, index, true));
    fail_all(&mut h, q);
    fail_all(&mut h, q);
    let held = h.lease(q, 10);
    assert_eq!(held.iter().map(|it| it.attempt).collect::<Vec<_>>(), [3, 3], "they stay and are given again");
    assert!(h.depth(q).undeliverable >= 2);
    // Damaged while the record is on its way: rejecting it fails, and it stays.
    let rejected = h.settle_one(lease_id(q, &held[0]), Outcome::DeadLetter);
    assert_eq!(rejected, Err(SettleError::NotFound));
    damage(&mut h, 1, false);
    h.pass_ms(VISIBILITY_MS);
    h.core.tick(h.now);
    while !h.try_lease(q, 10).unwrap_or_default().is_empty() {}
    h.settle();
    assert!(is_untouched(&h, 0));
    assert_eq!(h.records(h.partition(target, 1)).len(), 2);
    assert_eq!(h.depth(dead).available, 2);
}

/// Moves everything of `q` and gives the stored bytes and the records of the dead-letter queue.
fn move_all(h: &mut Harness, q: QueueId, dead: QueueId) -> (Vec<usize>, Vec<Record>) {
    for _ in 0..3 {
        while !h.try_lease(q, 1_000).unwrap_or_default().is_empty() {}
        h.settle();
        h.pass_ms(VISIBILITY_MS);
    }
    h.settle();
    let partition = h.partition(h.topic_of(dead), 0);
    let bounds = h.log.bounds(partition).unwrap();
    let limit = ReadLimit { bytes_max: usize::MAX, until: bounds.end };
    let stored = h.log.read(partition, bounds.start, limit).unwrap();
    (stored.iter().map(|it| it.body.len()).collect(), h.records(partition))
}

fn packed(values: &[Vec<u8>]) -> Batch {
    let mut builder = BatchBuilder::new().codec(Codec::Zstd);
    for value in values {
        builder.push(Timestamp(1), None, Some(value), &[]);
    }
    builder.build()
}

#[test]
fn what_was_compressed_is_compressed_where_it_is_moved_to() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    let partition = h.partition(h.topic_of(q), 0);
    h.append(partition, packed(&vec![vec![0; 100_000]; 40])).unwrap();
    let (stored, records) = move_all(&mut h, q, dead);
    assert_eq!(records.len(), 40);
    assert!(records.iter().all(|it| it.value.as_ref().is_some_and(|value| value.len() == 100_000)));
    assert!(stored.iter().sum::<usize>() < 100_000, "four MB became {stored:?}");
    assert!(stored.len() > 10, "a batch is not larger than others that are made here: {stored:?}");
}

#[test]
fn one_record_that_no_batch_of_the_target_may_hold_is_moved_all_the_same() {
    let mut h = harness();
    let target = TopicPolicy { batch_bytes_max: 10_000, ..policy() };
    h.topic("dead", 1, target);
    let (q, dead) = pair(&mut h);
    h.send(q, &["small"; 3]);
    let large = "x".repeat(20_000);
    h.send(q, &[&large]);
    let (stored, records) = move_all(&mut h, q, dead);
    assert_eq!(records.len(), 4);
    assert_eq!(stored.iter().filter(|bytes| **bytes > 10_000).count(), 1, "{stored:?}");
    assert!(stored.len() >= 2, "the others are not with it: {stored:?}");
}

#[test]
fn a_record_that_has_become_larger_than_a_commit_is_moved_as_its_stored_batch() {
    let mut h = harness();
    let (q, dead) = pair(&mut h);
    let partition = h.partition(h.topic_of(q), 0);
    let bomb = packed(&[vec![0; crate::limits::MOVE_RECORD_BYTES + 1], b"small".to_vec()]);
    h.append(partition, bomb.clone()).unwrap();
    let (_, records) = move_all(&mut h, q, dead);
    assert_eq!(records.len(), 2);
    assert_eq!(header(&records[0], headers::DEAD_REASON).as_deref(), Some("malformed"));
    assert_eq!(records[0].value.as_ref().unwrap()[16..], bomb.bytes()[16..]);
    assert_eq!(
        (value(&records[1]), header(&records[1], headers::DEAD_REASON).as_deref()),
        ("small".to_owned(), Some("attempts"))
    );
}
