//! Order by key, and turns by key: one case each.

use super::*;
use crate::Outcome;
use crate::limits::LEDGER_WINDOW_RECORDS_MIN;

/// A ledger over one partition with a record for each key, in order.
fn grouped(order: Order, keys: &[u64]) -> Ledger {
    let mut ledger = Ledger::new(order, &[(P, Offset(0))], 1);
    add(&mut ledger, keys);
    ledger
}

fn add(ledger: &mut Ledger, keys: &[u64]) {
    let base = ledger.partitions[0].end;
    ledger.appended_keys(P, KeyedSpan::new(span(base, keys.len() as u32), keys));
}

/// Answers what the window asks for from a log with these keys, at most so many records a time.
fn look(ledger: &mut Ledger, keys: &[u64], most: usize) -> Vec<u64> {
    let mut asked = Vec::new();
    loop {
        let next = ledger.needs_window().next();
        let Some((partition, from, _)) = next else { return asked };
        asked.push(from.0);
        assert!(asked.len() < 10_000, "the window asks without end");
        let found = &keys[from.0 as usize..(from.0 as usize + most).min(keys.len())];
        let to = from.0 + found.len() as u64;
        let read = KeyedSpan::new(span(from.0, found.len() as u32), found);
        ledger.extend_groups(partition, from, &[read], Offset(to));
    }
}

fn end(ledger: &mut Ledger, now: Now, grant: &Grant, outcome: Outcome) {
    ledger.settle(now, id(grant), outcome).unwrap();
}

#[test]
fn a_key_waits_while_one_of_its_records_is_leased_and_others_go_on() {
    let mut it = grouped(Order::ByKey, &[1, 1, 2, 1, 2]);
    let first = lease(&mut it, at(0), 1);
    assert_eq!(offsets(&first), [0]);
    let second = lease(&mut it, at(0), 9);
    assert_eq!(offsets(&second), [2, 4]);
    assert_eq!(offsets(&lease(&mut it, at(0), 9)), []);
    end(&mut it, at(1), &first[0], Outcome::Ack);
    assert_eq!(offsets(&lease(&mut it, at(1), 9)), [1, 3]);
}

#[test]
fn one_receive_takes_several_of_a_key_and_the_key_waits_for_all_of_them() {
    let mut it = grouped(Order::ByKey, &[1, 1, 1, 1]);
    let held = lease(&mut it, at(0), 3);
    assert_eq!(offsets(&held), [0, 1, 2]);
    for grant in &held[..2] {
        end(&mut it, at(1), grant, Outcome::Ack);
        assert_eq!(offsets(&lease(&mut it, at(1), 9)), []);
    }
    end(&mut it, at(1), &held[2], Outcome::Ack);
    assert_eq!(offsets(&lease(&mut it, at(1), 9)), [3]);
}

#[test]
fn released_records_come_again_in_their_place_and_order() {
    let mut it = grouped(Order::ByKey, &[1, 1, 1, 1]);
    let held = lease(&mut it, at(0), 3);
    for grant in held.iter().rev() {
        end(&mut it, at(1), grant, Outcome::Release { after_ms: 0 });
    }
    let again = lease(&mut it, at(1), 2);
    assert_eq!(again.iter().map(|it| (it.offset.0, it.attempt)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
}

#[test]
fn a_record_that_is_put_off_blocks_its_key_until_it_is_due() {
    let mut it = grouped(Order::ByKey, &[1, 2, 1]);
    let held = lease(&mut it, at(0), 1);
    end(&mut it, at(0), &held[0], Outcome::Release { after_ms: 500 });
    assert_eq!(offsets(&lease(&mut it, at(499), 9)), [1]);
    assert_eq!(offsets(&lease(&mut it, at(500), 9)), [0, 2]);
}

#[test]
fn a_lease_that_runs_out_frees_its_key() {
    let mut it = grouped(Order::ByKey, &[1, 1]);
    assert_eq!(offsets(&lease(&mut it, at(0), 1)), [0]);
    assert_eq!(offsets(&lease(&mut it, at(29_999), 9)), []);
    assert_eq!(offsets(&lease(&mut it, at(30_000), 9)), [0, 1]);
}

#[test]
fn a_dead_record_blocks_its_key_until_it_is_moved() {
    let mut it = grouped(Order::ByKey, &[1, 1, 1]);
    let policy = QueuePolicy { attempts_max: Some(1), ..policy() };
    it.lease(at(0), &policy, 1, 10, true);
    let result = it.lease(at(10), &policy, 9, 10, true);
    assert_eq!((offsets(&result.granted), dead(&result)), (vec![], vec![0]));
    assert_eq!(offsets(&it.lease(at(10), &policy, 9, 10, true).granted), []);
    it.moved(P, Offset(0));
    assert_eq!(offsets(&it.lease(at(10), &policy, 9, 10, true).granted), [1, 2]);
}

#[test]
fn a_restart_keeps_a_key_blocked() {
    let keys = [1, 1, 2, 1];
    let mut it = grouped(Order::ByKey, &keys);
    let mut state = LedgerState::default();
    let held = lease(&mut it, at(0), 1);
    write(&mut it, &mut state);
    let mut it = Ledger::recover(
        &QueuePolicy { order: Order::ByKey, ..policy() },
        state,
        &[(P, Offset(0)..Offset(4))],
        at(1),
        2,
    );
    look(&mut it, &keys, 9);
    assert_eq!(offsets(&lease(&mut it, at(1), 9)), [2]);
    end(&mut it, at(1), &held[0], Outcome::Ack);
    assert_eq!(offsets(&lease(&mut it, at(1), 9)), [1, 3]);
}

#[test]
fn a_replay_is_in_order_again() {
    let keys = [1, 1, 1, 1];
    let mut it = grouped(Order::ByKey, &keys);
    let held = lease(&mut it, at(0), 3);
    end(&mut it, at(1), &held[0], Outcome::Ack);
    end(&mut it, at(1), &held[1], Outcome::Ack);
    assert_eq!(it.replay(at(2), P, Offset(0)), 2);
    look(&mut it, &keys, 2);
    assert_eq!(offsets(&lease(&mut it, at(2), 9)), []);
    end(&mut it, at(2), &held[2], Outcome::Release { after_ms: 0 });
    assert_eq!(offsets(&lease(&mut it, at(2), 9)), [0, 1, 2, 3]);
}

#[test]
fn a_blocked_key_does_not_fill_the_window() {
    // One in a hundred is not of the key that is blocked.
    let keys: Vec<u64> = (0..40_000).map(|at| if at % 100 == 99 { 2 + at } else { 1 }).collect();
    let mut it = Ledger::new(Order::ByKey, &[(P, Offset(0))], 1);
    (it.caps.spans, it.caps.spans_queue) = (1_000, 1_000);
    it.set_end(P, Offset(keys.len() as u64));
    look(&mut it, &keys, 500);
    let blocked = lease(&mut it, at(0), 1);
    let mut others = 0;
    loop {
        let asked = look(&mut it, &keys, 500);
        assert!(asked.iter().all(|from| *from >= others * 100 / 2), "looks at what it knows: {asked:?}");
        let granted = lease(&mut it, at(1), 10);
        for grant in &granted {
            others += 1;
            assert_eq!(keys[grant.offset.0 as usize], 2 + grant.offset.0);
            end(&mut it, at(1), grant, Outcome::Ack);
        }
        assert!(it.window_records() <= 1_000);
        if granted.is_empty() {
            break;
        }
    }
    assert_eq!(others, 400);
    // And what was passed over comes in order when it can.
    end(&mut it, at(1), &blocked[0], Outcome::Ack);
    let mut next = 1;
    while next < keys.len() as u64 {
        look(&mut it, &keys, 500);
        for grant in lease(&mut it, at(1), 100) {
            assert_eq!(grant.offset.0, next);
            next += if next % 100 == 98 { 2 } else { 1 };
            end(&mut it, at(1), &grant, Outcome::Ack);
        }
    }
    assert_eq!(it.depth().available, 0);
}

#[test]
fn many_blocked_keys_do_not_fill_the_window_either() {
    let keys: Vec<u64> = (0..20_000).map(|at| if at < 19_000 { 1 + at % 500 } else { 10_000 + at }).collect();
    let mut it = Ledger::new(Order::ByKey, &[(P, Offset(0))], 1);
    (it.caps.spans, it.caps.spans_queue) = (1_000, 1_000);
    it.set_end(P, Offset(keys.len() as u64));
    let mut leased = 0;
    let mut quiet = 0;
    while quiet < 3 {
        look(&mut it, &keys, 300);
        let granted = lease(&mut it, at(0), 1).len();
        leased += granted;
        quiet += usize::from(granted == 0);
        assert!(it.window_records() <= 1_000);
        if leased > 1_000 {
            break;
        }
    }
    assert!(leased > 500, "{leased} keys could be leased from");
}

#[test]
fn a_noisy_key_does_not_delay_the_others() {
    let mut keys = vec![1; 5_000];
    keys.extend([2, 3, 2]);
    let mut it = Ledger::new(Order::Fair, &[(P, Offset(0))], 1);
    (it.caps.spans, it.caps.spans_queue) = (1_000, 1_000);
    it.set_end(P, Offset(keys.len() as u64));
    look(&mut it, &keys, 500);
    let held = lease(&mut it, at(0), 6);
    assert_eq!(offsets(&held), [0, 1, 2, 5_000, 5_001, 5_002]);
    let rest = lease(&mut it, at(0), 900);
    assert_eq!(offsets(&rest)[..3], [3, 4, 5]);
}

#[test]
fn keys_of_one_record_each_come_oldest_first() {
    let keys: Vec<u64> = (0..100).map(|at| 1_000 - at * 7).collect();
    let mut it = grouped(Order::Fair, &keys);
    let given: Vec<u64> = (0..10).flat_map(|_| offsets(&lease(&mut it, at(0), 10))).collect();
    assert_eq!(given, (0..100).collect::<Vec<u64>>());
}

#[test]
fn keys_share_in_turns_whatever_each_has_in_flight() {
    let mut it = grouped(Order::Fair, &[1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(offsets(&lease(&mut it, at(0), 2)), [0, 4]);
    let held = lease(&mut it, at(0), 2);
    assert_eq!(offsets(&held), [1, 5]);
    end(&mut it, at(0), &held[1], Outcome::Ack);
    // The second key has one in flight, the first has two.
    assert_eq!(offsets(&lease(&mut it, at(0), 1)), [6]);
}

#[test]
fn batches_of_one_key_and_of_several_are_passed_over_alike() {
    // The room of all partitions, an eighth of which a group may take of which there are more.
    let long = [1; LEDGER_WINDOW_RECORDS_MIN];
    let batches = [&long[..], &[1, 1], &[1, 2, 1], &[1, 1], &[0, 1, 3], &[3, 1]];
    let keys = batches.concat();
    let mut it = Ledger::new(Order::Fair, &[(P, Offset(0))], 1);
    it.set_end(P, Offset(keys.len() as u64));
    it.set_window_records(LEDGER_WINDOW_RECORDS_MIN);
    let mut base = 0;
    let spans = batches.map(|keys| {
        base += keys.len() as u64;
        KeyedSpan::new(span(base - keys.len() as u64, keys.len() as u32), keys)
    });
    assert_eq!((spans[1].keys.stored(), spans[2].keys.stored()), (1, 3));
    it.extend_groups(P, Offset(0), &spans, Offset(base));
    assert_eq!(it.partitions[0].window.end(), base, "others behind the long group are found");
    assert_eq!(it.partitions[0].window_len(), LEDGER_WINDOW_RECORDS_MIN / 8 + 3);
    assert_eq!(offsets(&lease(&mut it, at(0), 3)), [0, 67, 73], "one of each key");
}
