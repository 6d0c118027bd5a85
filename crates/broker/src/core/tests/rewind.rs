//! Purge, replay, depth.

use duolog_record::Timestamp;

use super::*;
use crate::core::harness::policy;
use crate::limits::DEPTHS_PARTITIONS_PER_TURN;

fn replay(h: &mut Harness, queue: QueueId, from: Start) -> u64 {
    h.done(|reply| Command::ReplayQueue { queue, from, reply }).unwrap()
}

/// A queue on a topic that keeps its records, all five of them acked.
fn acked() -> (Harness, QueueId) {
    let mut h = harness();
    let topic = h.topic("q", 1, policy());
    let q = h.queue("q");
    for at in 1..=5 {
        let record = NewRecord { timestamp: Some(Timestamp(at * 100)), ..NewRecord::default() };
        h.done(|reply| Command::Publish { topic, records: vec![record], reply }).unwrap();
    }
    let held = h.lease(q, 10);
    assert!(h.ack(q, &held).iter().all(Result::is_ok));
    (h, q)
}

#[test]
fn what_was_acked_can_be_had_again_from_anywhere() {
    let cases = [
        (Start::Earliest, vec![0, 1, 2, 3, 4]),
        (Start::Offset(Offset(3)), vec![3, 4]),
        (Start::Time(Timestamp(250)), vec![2, 3, 4]),
        (Start::Latest, vec![]),
    ];
    for (from, expected) in cases {
        let (mut h, q) = acked();
        assert_eq!(replay(&mut h, q, from), expected.len() as u64, "{from:?}");
        h.crash();
        let grants = h.lease(q, 10);
        assert_eq!(offsets(&grants), expected, "{from:?}");
        assert!(grants.iter().all(|it| it.attempt == 1));
    }
}

#[test]
fn a_replay_leaves_the_unsettled_alone_and_fences_old_handles() {
    let mut h = harness();
    let topic = h.topic("q", 1, policy());
    let q = h.queue("q");
    h.send_to(topic, &["a", "b"]);
    let held = h.lease(q, 2);
    h.ack(q, &held[..1]);
    assert_eq!(replay(&mut h, q, Start::Earliest), 1);
    let again = h.lease(q, 2);
    assert_eq!(offsets(&again), [0], "the other is still leased");
    assert!(h.ack(q, &held[..1])[0].is_err(), "a handle from before the replay");
    assert_eq!(h.ack(q, &held[1..]), [Ok(())]);
    assert_eq!(h.ack(q, &again), [Ok(())]);
}

#[test]
fn a_purge_settles_everything_in_flight_and_delayed_included() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b", "c"]);
    let held = h.lease(q, 2);
    h.settle_one(lease_id(q, &held[1]), Outcome::Release { after_ms: 60_000 }).unwrap();
    assert_eq!(h.done(|reply| Command::PurgeQueue { queue: q, reply }), Ok(3));
    assert_eq!(h.ack(q, &held[..1]), [Err(SettleError::Settled)]);
    h.crash();
    h.pass_ms(100_000);
    assert_eq!(h.offsets(q, 10), []);
    h.send(q, &["d"]);
    assert_eq!(h.offsets(q, 10), [3]);
}

#[test]
fn depth_counts_what_is_where() {
    let mut h = harness();
    let q = h.queue("q");
    assert_eq!(h.depth(q), Depth::default());
    h.send(q, &["a"]);
    h.pass_ms(1_000);
    h.send(q, &["b"]);
    h.send(q, &["c"]);
    let held = h.lease(q, 2);
    h.settle_one(lease_id(q, &held[1]), Outcome::Release { after_ms: 60_000 }).unwrap();
    let depth = h.depth(q);
    assert_eq!((depth.available, depth.in_flight, depth.delayed), (1, 1, 1));
    let partition = h.partition(h.topic_of(q), 0);
    let spans = h.log.spans(partition, FIRST, 10).unwrap();
    assert_eq!(depth.backlog_bytes, spans.iter().map(|it| u64::from(it.bytes)).sum::<u64>());
    assert!(depth.oldest_age_ms.unwrap() >= 1_000);
    h.ack(q, &held[..1]);
    let depth = h.depth(q);
    assert_eq!(depth.backlog_bytes, spans[1..].iter().map(|it| u64::from(it.bytes)).sum::<u64>());
    assert!(depth.oldest_age_ms.unwrap() < 1_000);
    let _waiter = h.wait(q, 1, 20_000);
    h.lease(q, 1);
    assert_eq!(h.depth(q).in_flight, 1);
}

#[test]
fn an_overview_shows_every_queue_and_group() {
    let mut h = harness();
    let (a, b) = (h.queue("a"), h.queue("b"));
    h.send(b, &["x"]);
    let partition = h.partition(h.topic_of(a), 0);
    let moves = vec![crate::core::harness::cursor_move(partition, 0)];
    h.done(|reply| Command::MoveCursors { group: "g".to_owned(), moves, reply }).unwrap();
    let overview = h.done(|reply| Command::Overview { reply }).unwrap();
    let available = |h: &mut Harness, after| -> Vec<_> {
        let depths = h.done(|reply| Command::Depths { after, reply }).unwrap();
        depths.iter().map(|(id, it)| (*id, it.available)).collect()
    };
    assert_eq!(available(&mut h, None), [(a, 0), (b, 1)]);
    assert_eq!(available(&mut h, Some(a)), [(b, 1)]);
    assert_eq!(available(&mut h, Some(b)), []);
    assert_eq!(overview.groups[0].0, "g");
    assert_eq!(overview.records_appended, 1);
}

#[test]
fn empty_queues_are_counted_at_once_and_others_after_a_look_at_the_log() {
    let mut h = harness();
    let (a, b) = (h.queue("a"), h.queue("b"));
    let ask = |h: &mut Harness| h.ask(|reply| Command::Depths { after: None, reply });
    let depths = ask(&mut h).try_recv().unwrap().unwrap();
    assert_eq!(depths.iter().map(|it| it.0).collect::<Vec<_>>(), [a, b]);
    h.send(b, &["x"]);
    let mut answer = ask(&mut h);
    assert!(answer.try_recv().is_err(), "the log knows the bytes");
    h.look();
    let depths = answer.try_recv().unwrap().unwrap();
    assert_eq!((depths[0].1.backlog_bytes, depths[1].1.backlog_bytes > 0), (0, true));
}

#[test]
fn queues_of_many_partitions_are_counted_few_at_a_time() {
    let mut h = harness();
    let half = u32::try_from(DEPTHS_PARTITIONS_PER_TURN / 2).unwrap();
    h.topic("t", half, policy());
    let on = |name| QueueSpec { topic: Some("t".to_owned()), ..queue_spec(name) };
    let queues = ["a", "b", "c"].map(|name| h.declare(on(name)).unwrap());
    let mut counted = |after| -> Vec<QueueId> {
        let depths = h.done(|reply| Command::Depths { after, reply }).unwrap();
        depths.iter().map(|it| it.0).collect()
    };
    assert_eq!(counted(None), queues[..2]);
    assert_eq!(counted(Some(queues[1])), queues[2..]);
}

#[test]
fn verbs_on_a_queue_that_is_not_there() {
    let mut h = harness();
    let queue = QueueId(99);
    let purged = h.done(|reply| Command::PurgeQueue { queue, reply });
    assert!(matches!(purged, Err(ChangeError::NotFound(_))));
    let replayed = h.done(|reply| Command::ReplayQueue { queue, from: Start::Earliest, reply });
    assert!(matches!(replayed, Err(ChangeError::NotFound(_))));
    let depth = h.done(|reply| Command::Depth { queue, reply });
    assert!(matches!(depth, Err(LeaseError::NotFound)));
    let settled = h.done(|reply| Command::Settle { queue, outcomes: Vec::new(), reply });
    assert!(matches!(settled, Err(SettleError::NotFound)));
}
