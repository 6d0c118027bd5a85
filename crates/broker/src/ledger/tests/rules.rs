//! Who gets what, when, and what an outcome does.

use super::*;
use crate::errors::SettleError;
use crate::ledger::Settled;
use crate::limits::VISIBILITY_MS;
use crate::{Outcome, QueuePolicy};

#[test]
fn the_oldest_is_leased_first_and_once() {
    let mut ledger = ledger(10);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 3)), [0, 1, 2]);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 20)), [3, 4, 5, 6, 7, 8, 9]);
    assert!(!ledger.has_available());
    assert_eq!(ledger.in_flight(), 10);
}

#[test]
fn partitions_take_turns() {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(0)), (Q, Offset(0))], 1);
    append(&mut ledger, P, 4);
    append(&mut ledger, Q, 4);
    let turns: Vec<_> = (0..4).map(|_| lease(&mut ledger, at(0), 2)[0].partition).collect();
    assert_eq!(turns, [P, Q, P, Q]);
}

#[test]
fn one_call_goes_on_with_the_next_partition() {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(0)), (Q, Offset(0))], 1);
    append(&mut ledger, P, 2);
    append(&mut ledger, Q, 2);
    let granted = lease(&mut ledger, at(0), 3);
    assert_eq!(
        granted.iter().map(|it| (it.partition, it.offset.0)).collect::<Vec<_>>(),
        [(P, 0), (P, 1), (Q, 0)]
    );
    assert_eq!(granted[2].partition_index, 1);
}

#[test]
fn a_released_record_keeps_its_place() {
    let mut ledger = ledger(6);
    let granted = lease(&mut ledger, at(0), 4);
    ledger.settle(at(1), id(&granted[1]), Outcome::Release { after_ms: 0 }).unwrap();
    let again = lease(&mut ledger, at(2), 2);
    assert_eq!(offsets(&again), [1, 4]);
    assert_eq!(again[0].attempt, 2);
    assert_eq!(again[0].first_leased_at, at(0).wall);
}

#[test]
fn an_expired_lease_returns_with_one_more_attempt() {
    let mut ledger = ledger(1);
    lease(&mut ledger, at(0), 1);
    assert_eq!(ledger.next_deadline(), Some(at(30_000).monotonic));
    assert!(!ledger.expire(at(29_999)));
    assert!(!ledger.has_available());
    assert!(ledger.expire(at(30_000)));
    assert_eq!(lease(&mut ledger, at(30_000), 1)[0].attempt, 2);
}

#[test]
fn an_ack_moves_the_floor_over_all_that_is_settled() {
    let mut ledger = ledger(4);
    let granted = lease(&mut ledger, at(0), 3);
    assert_eq!(ledger.settle(at(1), id(&granted[1]), Outcome::Ack), Ok(Settled::Acked));
    assert_eq!(ledger.floor(P), Some(Offset(0)));
    assert_eq!(ledger.settled_runs(P), [Offset(1)..Offset(2)]);
    ledger.settle(at(1), id(&granted[0]), Outcome::Ack).unwrap();
    assert_eq!(ledger.floor(P), Some(Offset(2)));
    assert_eq!(ledger.settled_runs(P), []);
    assert_eq!(ledger.settle(at(1), id(&granted[0]), Outcome::Ack), Err(SettleError::Settled));
}

#[test]
fn a_delayed_record_waits() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    let released = ledger.settle(at(0), id(&granted[0]), Outcome::Release { after_ms: 500 });
    assert_eq!(released, Ok(Settled::Released));
    assert_eq!((ledger.depth().delayed, ledger.depth().available, ledger.in_flight()), (1, 0, 0));
    assert!(lease(&mut ledger, at(499), 1).is_empty());
    assert_eq!(lease(&mut ledger, at(500), 1)[0].attempt, 2);
}

#[test]
fn an_extension_moves_the_deadline() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    let extended = ledger.settle(at(10), id(&granted[0]), Outcome::Extend { for_ms: 60_000 });
    assert_eq!(extended, Ok(Settled::Extended));
    assert!(!ledger.expire(at(60_009)));
    assert!(ledger.expire(at(60_010)));
}

#[test]
fn an_extension_by_nothing_releases() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    let extended = ledger.settle(at(10), id(&granted[0]), Outcome::Extend { for_ms: 0 });
    assert_eq!(extended, Ok(Settled::Released));
    assert!(ledger.has_available());
}

#[test]
fn a_lease_lasts_twelve_hours_at_most() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    let too_long = Err(SettleError::TooLong { ms_max: VISIBILITY_MS });
    let extend = |for_ms| Outcome::Extend { for_ms };
    assert_eq!(ledger.settle(at(1), id(&granted[0]), extend(VISIBILITY_MS)), too_long);
    ledger.settle(at(1), id(&granted[0]), extend(VISIBILITY_MS - 1)).unwrap();
    assert_eq!(ledger.settle(at(2), id(&granted[0]), extend(VISIBILITY_MS - 1)), too_long);
    assert_eq!(ledger.settle(at(2), id(&granted[0]), extend(u64::MAX)), too_long);
}

#[test]
fn no_visibility_makes_a_record_available_at_once_but_not_to_the_same_call() {
    let mut ledger = ledger(2);
    let first = ledger.lease(at(0), &policy(), 10, 0, false).granted;
    assert_eq!(offsets(&first), [0, 1]);
    assert_eq!((ledger.in_flight(), ledger.depth().available), (0, 2));
    let again = ledger.lease(at(0), &policy(), 10, 0, false).granted;
    assert_eq!(again.iter().map(|it| (it.offset.0, it.attempt)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
    assert_eq!(ledger.settle(at(0), id(&first[0]), Outcome::Ack), Err(SettleError::Expired));
    assert_eq!(ledger.settle(at(0), id(&again[0]), Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn the_last_handle_ends_a_record_after_its_lease_but_does_not_revive_it() {
    let mut ledger = ledger(3);
    let granted = lease(&mut ledger, at(0), 3);
    let late = at(30_000);
    for outcome in [Outcome::Extend { for_ms: 1 }, Outcome::Release { after_ms: 0 }] {
        assert_eq!(ledger.settle(late, id(&granted[0]), outcome), Err(SettleError::Expired));
    }
    ledger.expire(late);
    assert_eq!(
        ledger.settle(late, id(&granted[0]), Outcome::Extend { for_ms: 1 }),
        Err(SettleError::Expired)
    );
    assert_eq!(ledger.settle(late, id(&granted[0]), Outcome::Ack), Ok(Settled::Acked));
    let again = lease(&mut ledger, late, 1);
    assert_eq!(ledger.settle(late, id(&granted[1]), Outcome::Ack), Err(SettleError::Expired));
    assert_eq!(ledger.settle(late, id(&again[0]), Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn what_was_never_leased_is_unknown() {
    let mut ledger = ledger(2);
    let granted = lease(&mut ledger, at(0), 1);
    let real = id(&granted[0]);
    for wrong in [
        LeaseId { partition: Q, ..real },
        LeaseId { offset: Offset(1), ..real },
        LeaseId { offset: Offset(9), ..real },
        LeaseId { attempt: 0, ..real },
        LeaseId { incarnation: real.incarnation + 1, ..real },
    ] {
        assert_eq!(ledger.settle(at(1), wrong, Outcome::Ack), Err(SettleError::Unknown), "{wrong:?}");
    }
    assert_eq!(ledger.settle(at(1), real, Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn the_in_flight_cap_holds() {
    let mut ledger = ledger(5);
    let policy = QueuePolicy { in_flight_max: 2, ..policy() };
    let granted = ledger.lease(at(0), &policy, 5, 1000, false).granted;
    assert_eq!(offsets(&granted), [0, 1]);
    assert!(ledger.lease(at(0), &policy, 5, 1000, false).granted.is_empty());
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    assert_eq!(offsets(&ledger.lease(at(0), &policy, 5, 1000, false).granted), [2]);
}

#[test]
fn after_its_attempts_a_record_is_dead_where_that_can_go() {
    let mut ledger = ledger(1);
    let policy = QueuePolicy { attempts_max: Some(2), ..policy() };
    for _ in 0..2 {
        ledger.lease(at(0), &policy, 1, 0, true);
    }
    let result = ledger.lease(at(5), &policy, 1, 1000, true);
    assert_eq!((dead(&result), result.granted.len()), (vec![0], 0));
    assert_eq!((result.dead[0].attempts, result.dead[0].first_leased_at), (2, at(0).wall));
    assert_eq!((ledger.depth().in_flight, ledger.in_flight(), ledger.has_available()), (1, 0, false));
    ledger.moved(P, Offset(0));
    assert_eq!(ledger.floor(P), Some(Offset(1)));
}

#[test]
fn without_a_dead_letter_queue_a_record_stays() {
    let mut ledger = ledger(1);
    let policy = QueuePolicy { attempts_max: Some(1), ..policy() };
    ledger.lease(at(0), &policy, 1, 0, false);
    assert_eq!(ledger.lease(at(0), &policy, 1, 0, false).granted[0].attempt, 2);
    assert_eq!(dead(&ledger.lease(at(0), &policy, 1, 0, true)), [0]);
    ledger.move_failed(P, Offset(0));
    assert!(ledger.has_available());
    assert_eq!(ledger.lease(at(0), &policy, 1, 0, false).granted[0].attempt, 3);
}

#[test]
fn a_dead_letter_outcome_asks_for_the_move() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    let asked = ledger.settle(at(1), id(&granted[0]), Outcome::DeadLetter).unwrap();
    assert!(matches!(asked, Settled::WantsDeadLetter(dead) if dead.attempts == 1));
    assert_eq!(ledger.settle(at(1), id(&granted[0]), Outcome::Ack), Err(SettleError::Expired));
    assert_eq!(ledger.next_deadline(), None);
    ledger.moved(P, Offset(0));
    ledger.move_failed(P, Offset(0));
    assert_eq!(ledger.settle(at(1), id(&granted[0]), Outcome::Ack), Err(SettleError::Settled));
}

#[test]
fn a_lease_taken_back_never_was() {
    let mut ledger = ledger(1);
    let granted = lease(&mut ledger, at(0), 1);
    ledger.settle(at(1), id(&granted[0]), Outcome::Release { after_ms: 0 }).unwrap();
    let lost = lease(&mut ledger, at(2), 1);
    ledger.undo_lease(id(&lost[0]));
    assert_eq!(ledger.in_flight(), 0);
    let again = lease(&mut ledger, at(3), 1);
    assert_eq!(again[0].attempt, 2);
    assert_eq!(ledger.settle(at(4), id(&lost[0]), Outcome::Ack), Err(SettleError::Expired));
    ledger.undo_lease(id(&again[0]));
    assert_eq!(ledger.settle(at(4), id(&granted[0]), Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn a_first_lease_taken_back_begins_anew() {
    let mut ledger = ledger(1);
    let lost = lease(&mut ledger, at(0), 1);
    ledger.undo_lease(id(&lost[0]));
    let again = lease(&mut ledger, at(3), 1);
    assert_eq!((again[0].attempt, again[0].first_leased_at), (1, at(3).wall));
    assert_ne!(again[0].incarnation, lost[0].incarnation);
}

#[test]
fn the_outlived_is_never_leased() {
    let mut ledger = ledger(4);
    let mut young = span(4, 2);
    young.append_time = Timestamp(APPENDED + 10);
    ledger.appended(P, young);
    let policy = QueuePolicy { message_ttl_ms: Some(100), ..policy() };
    let granted = ledger.lease(at(0), &policy, 1, 50, false).granted;
    assert_eq!(offsets(&granted), [0]);
    let result = ledger.lease(at(100), &policy, 1, 50, false);
    assert_eq!((offsets(&result.granted), result.expired), (vec![4], 4));
    assert_eq!(ledger.floor(P), Some(Offset(4)));
}

#[test]
fn the_outlived_is_settled_even_if_nobody_asks_and_others_are_leased() {
    let mut ledger = ledger(8);
    let policy = QueuePolicy { message_ttl_ms: Some(100), ..policy() };
    let granted = ledger.lease(at(0), &policy, 6, 1000, false).granted;
    ledger.settle(at(0), id(&granted[0]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(ledger.settle_outlived(at(99), &policy).settled, 0);
    // Those that are leased stay, and what stands behind them goes.
    assert_eq!(ledger.settle_outlived(at(100), &policy).settled, 3);
    assert_eq!((ledger.depth().available, ledger.depth().in_flight), (0, 5));
    for grant in &granted[1..] {
        ledger.settle(at(100), id(grant), Outcome::Ack).unwrap();
    }
    assert_eq!(ledger.settle_outlived(at(100), &policy).settled, 0);
    assert_eq!(ledger.depth().oldest, []);
}

#[test]
fn a_purge_settles_everything() {
    let mut ledger = ledger(10);
    let granted = lease(&mut ledger, at(0), 4);
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    ledger.settle(at(0), id(&granted[1]), Outcome::Release { after_ms: 1000 }).unwrap();
    assert_eq!(ledger.purge(), 9);
    assert_eq!((ledger.floor(P), ledger.in_flight(), ledger.next_deadline()), (Some(Offset(10)), 0, None));
    assert_eq!(ledger.settle(at(0), id(&granted[2]), Outcome::Ack), Err(SettleError::Settled));
    append(&mut ledger, P, 1);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 5)), [10]);
}

#[test]
fn a_purge_may_leave_to_holders_what_they_hold() {
    let mut ledger = ledger(10);
    let granted = lease(&mut ledger, at(0), 4);
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    ledger.settle(at(0), id(&granted[1]), Outcome::Release { after_ms: 1000 }).unwrap();
    ledger.settle(at(0), id(&granted[2]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(ledger.purge_unheld(), 8);
    assert_eq!((ledger.floor(P), ledger.in_flight()), (Some(Offset(3)), 1));
    append(&mut ledger, P, 1);
    ledger.settle(at(0), id(&granted[3]), Outcome::Release { after_ms: 0 }).unwrap();
    assert_eq!(offsets(&lease(&mut ledger, at(0), 5)), [3, 10]);
    assert_eq!(ledger.purge_unheld(), 0);
}

#[test]
fn a_replay_brings_back_the_settled_and_leaves_the_rest() {
    let mut ledger = ledger(6);
    let granted = lease(&mut ledger, at(0), 4);
    for settled in [0, 1, 3] {
        ledger.settle(at(0), id(&granted[settled]), Outcome::Ack).unwrap();
    }
    assert_eq!(ledger.replay(at(50), P, Offset(1)), 2);
    assert_eq!(ledger.floor(P), Some(Offset(1)));
    assert_eq!(ledger.settle(at(50), id(&granted[1]), Outcome::Ack), Err(SettleError::Expired));
    fill(&mut ledger);
    let again = lease(&mut ledger, at(60), 10);
    assert_eq!(
        again.iter().map(|it| (it.offset.0, it.attempt)).collect::<Vec<_>>(),
        [(1, 1), (3, 1), (4, 1), (5, 1)]
    );
    assert_eq!(ledger.settle(at(61), id(&granted[1]), Outcome::Ack), Err(SettleError::Expired));
    assert_eq!(ledger.settle(at(61), id(&granted[2]), Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn time_to_live_counts_from_the_replay() {
    let mut ledger = ledger(1);
    let policy = QueuePolicy { message_ttl_ms: Some(100), ..policy() };
    let granted = lease(&mut ledger, at(0), 1);
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    ledger.replay(at(1000), P, Offset(0));
    fill(&mut ledger);
    assert_eq!(ledger.lease(at(1099), &policy, 1, 0, false).granted.len(), 1);
    assert_eq!(ledger.lease(at(1100), &policy, 1, 0, false).expired, 1);
}

#[test]
fn what_retention_took_is_gone() {
    let mut ledger = ledger(10);
    let granted = lease(&mut ledger, at(0), 4);
    ledger.start_moved(P, Offset(2));
    assert_eq!((ledger.floor(P), ledger.in_flight()), (Some(Offset(2)), 2));
    assert_eq!(ledger.settle(at(0), id(&granted[0]), Outcome::Ack), Err(SettleError::Settled));
    ledger.start_moved(P, Offset(7));
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [7, 8, 9]);
    ledger.start_moved(P, Offset(3));
    assert_eq!(ledger.floor(P), Some(Offset(7)));
}

#[test]
fn depth_counts_each_record_once() {
    let mut ledger = ledger(10);
    let granted = lease(&mut ledger, at(0), 4);
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    ledger.settle(at(0), id(&granted[1]), Outcome::Release { after_ms: 1000 }).unwrap();
    ledger.settle(at(0), id(&granted[2]), Outcome::DeadLetter).unwrap();
    let depth = ledger.depth();
    assert_eq!((depth.available, depth.in_flight, depth.delayed), (6, 2, 1));
    assert_eq!(depth.oldest, [(P, Offset(1))]);
}
