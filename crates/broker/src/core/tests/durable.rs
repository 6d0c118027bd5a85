//! What survives: settlements that were answered, delivery counts that a later commit carried, floors and runs.

use duolog_storage::LogError;

use super::*;
use crate::core::harness::{large_batch, policy};

fn disk_full() -> LogError {
    LogError::DiskFull { bytes: 1, directory: "/data".to_owned() }
}

#[test]
fn an_ack_is_answered_when_it_is_durable_and_not_before() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::Ack)];
    let mut answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.seal();
    assert!(answer.try_recv().is_err());
    h.pump();
    assert_eq!(answer.try_recv().unwrap().unwrap(), [Ok(())]);
    h.crash();
    assert_eq!(h.offsets(q, 1), []);
}

#[test]
fn a_second_ack_does_not_rely_on_appends_that_found_space_where_the_first_did_not() {
    let mut h = harness();
    let q = h.queue("q");
    let other = h.topic("other", 1, policy());
    let other = h.partition(other, 0);
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle();
    let ack = |h: &mut Harness| {
        let outcomes = vec![(lease_id(q, &held[0]), Outcome::Ack)];
        h.ask(|reply| Command::Settle { queue: q, outcomes, reply })
    };
    let mut first = ack(&mut h);
    h.seal();
    let mut second = ack(&mut h);
    let mut beside =
        h.ask(|reply| Command::Append { partition: other, batch: large_batch(), keys: None, reply });
    h.seal();
    h.log.fail_next(disk_full());
    while h.pump() {}
    assert!(beside.try_recv().unwrap().is_ok());
    assert!(first.try_recv().is_err() && second.try_recv().is_err(), "neither is durable");
    h.settle();
    assert_eq!(first.try_recv().unwrap().unwrap(), [Ok(())]);
    assert_eq!(second.try_recv().unwrap().unwrap(), [Err(SettleError::Settled)]);
    h.crash();
    assert_eq!(h.offsets(q, 1), []);
}

#[test]
fn a_second_ack_is_not_told_that_it_is_settled_before_that_is_durable() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let ack = |h: &mut Harness| {
        let outcomes = vec![(lease_id(q, &held[0]), Outcome::Ack)];
        h.ask(|reply| Command::Settle { queue: q, outcomes, reply })
    };
    let _first = ack(&mut h);
    h.seal();
    let mut second = ack(&mut h);
    assert!(second.try_recv().is_err());
    h.settle();
    assert_eq!(second.try_recv().unwrap().unwrap(), [Err(SettleError::Settled)]);
}

#[test]
fn an_ack_that_was_not_written_is_delivered_again() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let held = h.lease(q, 2);
    h.settle();
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::Ack)];
    let _answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.seal();
    h.crash();
    h.pass_ms(VISIBILITY_MS);
    let again = h.lease(q, 2);
    assert_eq!(again.iter().map(|it| (it.offset.0, it.attempt)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
}

#[test]
fn a_lease_is_written_with_the_next_commit_whatever_that_is() {
    let mut h = harness();
    let (q, other) = (h.queue("q"), h.queue("other"));
    h.send(q, &["a"]);
    assert_eq!(h.lease(q, 1)[0].attempt, 1);
    h.send(other, &["x"]);
    h.crash();
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.lease(q, 1)[0].attempt, 2, "the count was lost although a later commit was durable");
}

#[test]
fn a_lease_alone_is_written_after_a_short_while() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    h.lease(q, 1);
    h.seal();
    assert_eq!(h.log.waiting(), 0);
    h.settle();
    h.crash();
    assert_eq!(h.offsets(q, 1), [], "the lease is still held after the restart");
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.lease(q, 1)[0].attempt, 2);
}

#[test]
fn a_handle_from_before_a_restart_settles_its_own_lease_only() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    h.settle();
    h.crash();
    assert_eq!(h.ack(q, &held), [Ok(())]);

    h.send(q, &["b"]);
    let lost = h.lease(q, 1);
    h.crash();
    let held = h.lease(q, 1);
    assert_eq!(offsets(&held), offsets(&lost));
    assert!(h.ack(q, &lost)[0].is_err(), "a lease that was never written is nobody's");
    assert_eq!(h.ack(q, &held), [Ok(())]);
}

#[test]
fn settled_runs_and_counts_survive_restarts_and_snapshots() {
    let mut h = Harness::new(|core| {
        core.rounds.pace.round_bytes = 200;
        core.rounds.pace.bytes_min = 40;
    });
    let q = h.queue("q");
    for n in 0..40 {
        h.send(q, &[&n.to_string()]);
    }
    let held = h.lease(q, 40);
    let every_third: Vec<Grant> = held.iter().filter(|it| it.offset.0 % 3 == 0).copied().collect();
    for grant in &every_third {
        h.ack(q, std::slice::from_ref(grant));
    }
    let other = h.queue("other");
    for _ in 0..50 {
        h.send(other, &["x"]);
        let held = h.lease(other, 1);
        h.ack(other, &held);
    }
    assert!(h.log.bounds(crate::core::STATE_PARTITION).unwrap().start > FIRST, "the state was trimmed");
    for _ in 0..3 {
        h.crash();
    }
    h.pass_ms(VISIBILITY_MS);
    let again = h.lease(q, 26);
    let expected: Vec<u64> = (0..40).filter(|n| n % 3 != 0).collect();
    assert_eq!(offsets(&again), expected);
    assert!(again.iter().all(|it| it.attempt == 2), "{again:?}");
}

#[test]
fn an_ack_on_a_full_disk_is_carried_until_there_is_room() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let held = h.lease(q, 2);
    h.log.fail_next(disk_full());
    h.log.fail_next(disk_full());
    assert_eq!(h.ack(q, &held[..1]), [Ok(())]);
    h.crash();
    h.pass_ms(VISIBILITY_MS);
    assert_eq!(h.offsets(q, 2), [1]);
}

#[test]
fn a_queue_and_its_deletion_survive() {
    let mut h = harness();
    let topic = h.topic("t", 1, policy());
    let q = h.declare(QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") }).unwrap();
    h.send_to(topic, &["a"]);
    h.crash();
    assert_eq!(h.offsets(q, 1), [0]);
    h.done(|reply| Command::DeleteQueue { queue: q, reply }).unwrap();
    h.crash();
    assert!(matches!(h.try_lease(q, 1), Err(LeaseError::NotFound)));
    assert!(h.core.catalog.topic_by_id(topic).is_some(), "the topic is not the queue's");
    let again = h.declare(QueueSpec { topic: Some("t".to_owned()), ..queue_spec("q") }).unwrap();
    assert_ne!(again, q);
    assert_eq!(h.offsets(again, 1), [0], "a queue that is declared anew starts anew");
}

#[test]
fn a_stopped_log_tells_everybody() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a"]);
    let held = h.lease(q, 1);
    let mut waiter = h.wait(q, 1, 20_000);
    h.log.fail_next(LogError::Stopped { reason: "gone".to_owned() });
    let outcomes = vec![(lease_id(q, &held[0]), Outcome::Ack)];
    let mut answer = h.ask(|reply| Command::Settle { queue: q, outcomes, reply });
    h.seal();
    h.pump();
    assert!(matches!(answer.try_recv().unwrap(), Err(SettleError::Stopped(_))));
    assert!(matches!(taken(&mut waiter), Err(LeaseError::Stopped(_))));
    assert!(matches!(h.try_lease(q, 1), Err(LeaseError::Stopped(_))));
}

#[test]
fn what_is_asked_for_while_the_disk_is_full_waits_behind_what_was_refused() {
    let mut h = harness();
    let q = h.queue("q");
    h.send(q, &["a", "b"]);
    let held = h.lease(q, 2);
    h.settle();
    let ack = |h: &mut Harness, grant: &Grant| {
        let outcomes = vec![(lease_id(q, grant), Outcome::Ack)];
        h.ask(|reply| Command::Settle { queue: q, outcomes, reply })
    };
    h.log.fail_next(disk_full());
    let mut first = ack(&mut h, &held[0]);
    h.seal();
    h.pump();
    let mut second = ack(&mut h, &held[1]);
    let mut topic =
        h.ask(|reply| Command::CreateTopic { spec: crate::core::harness::spec("t", 1, policy()), reply });
    h.pass_ms(crate::limits::DISK_FULL_RETRY_MS);
    h.seal();
    h.pump();
    assert_eq!(first.try_recv().unwrap().unwrap(), [Ok(())]);
    assert!(second.try_recv().is_err() && topic.try_recv().is_err());
    h.settle();
    assert_eq!(second.try_recv().unwrap().unwrap(), [Ok(())]);
    assert!(topic.try_recv().unwrap().is_ok());
}
