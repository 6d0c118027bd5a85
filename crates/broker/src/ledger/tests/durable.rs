//! What is written, and what a restart makes of it.

use super::*;
use crate::errors::SettleError;
use crate::ledger::{LedgerChanges, Part, Settled};
use crate::limits::LEDGER_CHANGE_PARTS;
use crate::{LeaseId, Outcome};

fn parts(changes: Option<LedgerChanges>) -> Vec<Part> {
    changes
        .map(|changes| changes.partitions.into_iter().flat_map(|it| it.parts).collect())
        .unwrap_or_default()
}

#[test]
fn a_new_ledger_is_written_with_its_floors() {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(5)), (Q, Offset(0))], 1);
    let changes = ledger.take_changes().unwrap();
    assert_eq!(
        changes.partitions.iter().map(|it| (it.partition, it.floor)).collect::<Vec<_>>(),
        [(20, 5), (21, 0)]
    );
    assert_eq!(ledger.take_changes(), None);
}

#[test]
fn a_lease_and_its_ack_are_one_change() {
    let mut ledger = ledger(8);
    ledger.take_changes();
    let granted = lease(&mut ledger, at(0), 8);
    for grant in &granted[3..6] {
        ledger.settle(at(0), id(grant), Outcome::Ack).unwrap();
    }
    let written = parts(ledger.take_changes());
    assert_eq!(written.len(), 6);
    assert_eq!(written[3], Part::Settled(3, 3));
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    let changes = ledger.take_changes().unwrap();
    assert_eq!(changes.partitions[0].floor, 1);
    assert_eq!(changes.partitions[0].parts, []);
}

#[test]
fn an_expiry_is_not_written() {
    let mut ledger = ledger(1);
    lease(&mut ledger, at(0), 1);
    ledger.take_changes();
    ledger.expire(at(60_000));
    assert_eq!(ledger.take_changes(), None);
}

#[test]
fn a_handle_outlives_a_restart_but_not_the_next_lease() {
    let (mut ledger, mut state) = (ledger(2), LedgerState::default());
    let granted = lease(&mut ledger, at(0), 2);
    write(&mut ledger, &mut state);
    restart(&mut ledger, &state, at(1000), 2);
    assert_eq!(ledger.in_flight(), 2);
    assert_eq!(ledger.settle(at(1000), id(&granted[0]), Outcome::Ack), Ok(Settled::Acked));
    let again = lease(&mut ledger, at(40_000), 2);
    assert_eq!((again[0].offset.0, again[0].attempt), (1, 2));
    assert_eq!(again[0].first_leased_at, at(0).wall);
    assert_eq!(ledger.settle(at(40_000), id(&granted[1]), Outcome::Ack), Err(SettleError::Expired));
}

#[test]
fn a_lease_lost_in_a_crash_never_settles_the_next() {
    let (mut ledger, mut state) = (ledger(1), LedgerState::default());
    write(&mut ledger, &mut state);
    let lost = lease(&mut ledger, at(0), 1);
    restart(&mut ledger, &state, at(10), 2);
    assert_eq!(ledger.settle(at(10), id(&lost[0]), Outcome::Ack), Err(SettleError::Lost));
    let again = lease(&mut ledger, at(20), 1);
    assert_eq!(again[0].attempt, lost[0].attempt);
    assert_eq!(ledger.settle(at(20), id(&lost[0]), Outcome::Ack), Err(SettleError::Expired));
    assert_eq!(ledger.settle(at(20), id(&again[0]), Outcome::Ack), Ok(Settled::Acked));
}

#[test]
fn that_a_crash_lost_the_last_lease_is_told_until_there_is_another_or_a_replay() {
    let (mut ledger, mut state) = (ledger(2), LedgerState::default());
    let first = lease(&mut ledger, at(0), 2);
    for grant in &first {
        ledger.settle(at(0), id(grant), Outcome::Release { after_ms: 0 }).unwrap();
    }
    write(&mut ledger, &mut state);
    let lost = lease(&mut ledger, at(1), 2);
    restart(&mut ledger, &state, at(10), 2);
    assert_eq!(ledger.settle(at(10), id(&lost[0]), Outcome::Ack), Err(SettleError::Lost));
    // The one before was followed by another, whether or not that is known.
    assert_eq!(ledger.settle(at(10), id(&first[0]), Outcome::Ack), Ok(Settled::Acked));
    assert_eq!(ledger.settle(at(10), id(&lost[0]), Outcome::Ack), Err(SettleError::Settled));
    lease(&mut ledger, at(20), 1);
    assert_eq!(ledger.settle(at(20), id(&lost[1]), Outcome::Ack), Err(SettleError::Expired));
    write(&mut ledger, &mut state);
    restart(&mut ledger, &state, at(30), 3);
    assert_eq!(ledger.settle(at(30), id(&lost[1]), Outcome::Ack), Err(SettleError::Expired));
}

#[test]
fn a_lease_keeps_what_remains_of_it_and_no_more_than_was_granted() {
    let (mut ledger, mut state) = (ledger(1), LedgerState::default());
    lease(&mut ledger, at(0), 1);
    write(&mut ledger, &mut state);
    restart(&mut ledger, &state, at(10_000), 2);
    assert_eq!(ledger.next_deadline(), Some(at(30_000).monotonic));
    // The wall clock was set back an hour while it was down; the new process has its own monotonic clock.
    let back = Now { monotonic: Monotonic(5), wall: Timestamp(at(0).wall.0 - 3_600_000) };
    restart(&mut ledger, &state, back, 3);
    assert_eq!(ledger.next_deadline(), Some(Monotonic(5).plus_ms(30_000)));
    restart(&mut ledger, &state, at(30_000), 4);
    assert_eq!((ledger.in_flight(), ledger.has_available()), (0, true));
}

#[test]
fn a_delay_goes_on_after_a_restart() {
    let (mut ledger, mut state) = (ledger(1), LedgerState::default());
    let granted = lease(&mut ledger, at(0), 1);
    ledger.settle(at(0), id(&granted[0]), Outcome::Release { after_ms: 5000 }).unwrap();
    write(&mut ledger, &mut state);
    restart(&mut ledger, &state, at(2000), 2);
    assert_eq!((ledger.depth().delayed, ledger.next_deadline()), (1, Some(at(5000).monotonic)));
}

#[test]
fn what_lies_outside_the_log_is_forgotten_and_stays_so() {
    let (mut ledger, mut state) = (ledger(20), LedgerState::default());
    let granted = lease(&mut ledger, at(0), 18);
    for settled in [1, 2, 9, 14, 15, 17] {
        ledger.settle(at(0), id(&granted[settled]), Outcome::Ack).unwrap();
    }
    write(&mut ledger, &mut state);
    let mut ledger = Ledger::recover(&policy(), state.clone(), &[(P, Offset(2)..Offset(15))], at(1), 2);
    assert_eq!((ledger.floor(P), ledger.in_flight()), (Some(Offset(3)), 10));
    assert_eq!(ledger.settled_runs(P), [Offset(9)..Offset(10), Offset(14)..Offset(15)]);
    assert!(ledger.is_changed());
    write(&mut ledger, &mut state);
    assert!(!ledger.is_changed());
    assert_eq!(ledger.durable_state(), state);
    // The offsets are given to other records.
    ledger.appended(P, span(15, 3));
    assert_eq!(offsets(&lease(&mut ledger, at(2), 9)), [15, 16, 17]);
}

#[test]
fn a_replay_outlives_a_restart() {
    let (mut ledger, mut state) = (ledger(4), LedgerState::default());
    ledger.purge();
    write(&mut ledger, &mut state);
    assert_eq!(ledger.replay(at(9), P, Offset(2)), 2);
    write(&mut ledger, &mut state);
    assert_eq!(ledger.durable_state(), state);
    restart(&mut ledger, &state, at(10), 2);
    assert_eq!(offsets(&lease(&mut ledger, at(10), 9)), [2, 3]);
}

#[test]
fn changes_and_snapshots_come_in_bounded_pieces() {
    let many = LEDGER_CHANGE_PARTS as u64 * 2 + 10;
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(0)), (Q, Offset(0))], 1);
    ledger.appended(P, span(0, many as u32));
    ledger.appended(Q, span(0, 3));
    let policy = QueuePolicy { in_flight_max: u32::MAX, ..policy() };
    while ledger.has_available() {
        ledger.lease(at(0), &policy, 1000, 1000, false);
    }
    let mut state = LedgerState::default();
    let mut pieces = 0;
    while let Some(changes) = ledger.take_changes() {
        assert!(changes.partitions.iter().map(|it| it.parts.len()).sum::<usize>() <= LEDGER_CHANGE_PARTS);
        state.apply(&changes);
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    assert_eq!(state, ledger.durable_state());
    let mut whole = LedgerState::default();
    let mut place = None;
    loop {
        let (piece, next) = ledger.snapshot(place);
        assert!(piece.partitions.iter().map(|it| it.parts.len()).sum::<usize>() <= LEDGER_CHANGE_PARTS);
        whole.apply(&piece);
        place = next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(whole, state);
}

#[test]
fn nonsense_is_left_out_of_the_fold() {
    let mut state = LedgerState::default();
    let mut ledger = ledger(4);
    write(&mut ledger, &mut state);
    let before = state.clone();
    let mut changes = ledger.snapshot(None).0;
    changes.partitions[0].parts =
        vec![Part::Settled(u64::MAX, 2), Part::Settled(3, 0), Part::Fresh(1, u64::MAX), Part::Fresh(2, 0)];
    state.apply(&changes);
    assert_eq!(state, before);
}

#[test]
fn a_lease_id_survives_its_bytes() {
    let granted = lease(&mut ledger(1), at(0), 1);
    assert_eq!(LeaseId::from_bytes(&id(&granted[0]).to_bytes()), id(&granted[0]));
}
