//! The look-ahead window and the caps.

use super::*;
use crate::Outcome;

fn tiny(partitions: &[(PartitionId, Offset)]) -> Ledger {
    let mut ledger = Ledger::new(Order::Standard, partitions, 1);
    ledger.caps =
        Caps { runs: 3, records: 6, spans: 4, spans_queue: 6, spans_min: 2, ..Caps::of(Order::Standard) };
    ledger
}

#[test]
fn holes_and_control_records_are_settled_silently_in_their_turn() {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(0))], 1);
    ledger.set_end(P, Offset(30));
    let control = LedgerSpan { skip: true, ..span(9, 1) };
    ledger.extend_window(P, Offset(0), &[span(2, 3), control, span(15, 5)], Offset(30));
    assert_eq!(ledger.floor(P), Some(Offset(2)));
    assert_eq!(ledger.settled_runs(P), []);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 4)), [2, 3, 4, 15]);
    assert_eq!(ledger.settled_runs(P), [Offset(5)..Offset(15)]);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [16, 17, 18, 19]);
    assert_eq!(ledger.depth().available, 0);
}

#[test]
fn a_window_begins_in_the_middle_of_a_batch() {
    let mut ledger = Ledger::new(Order::Standard, &[(P, Offset(7))], 1);
    ledger.set_end(P, Offset(12));
    ledger.extend_window(P, Offset(7), &[span(4, 8)], Offset(12));
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [7, 8, 9, 10, 11]);
}

#[test]
fn a_window_is_asked_for_where_it_ends() {
    let mut ledger = tiny(&[(P, Offset(0))]);
    for base in 0..10 {
        ledger.appended(P, span(base, 1));
    }
    assert_eq!(ledger.needs_window().count(), 0);
    assert_eq!(lease(&mut ledger, at(0), 3).len(), 3);
    assert_eq!(ledger.needs_window().collect::<Vec<_>>(), [(P, Offset(4), 3)]);
    ledger.extend_window(P, Offset(3), &[span(3, 1)], Offset(4));
    let more: Vec<_> = (4..10).map(|base| span(base, 1)).collect();
    ledger.extend_window(P, Offset(4), &more, Offset(10));
    assert_eq!(ledger.partitions[0].window.len(), 4);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [3, 4, 5]);
}

#[test]
fn windows_of_many_partitions_share_a_budget() {
    let partitions: Vec<_> = (0..5).map(|id| (PartitionId(id), Offset(0))).collect();
    let mut ledger = tiny(&partitions);
    let spans: Vec<_> = (0..10).map(|base| span(base, 1)).collect();
    for (partition, _) in &partitions {
        ledger.set_end(*partition, Offset(10));
    }
    for (partition, from, _) in ledger.needs_window().collect::<Vec<_>>() {
        ledger.extend_window(partition, from, &spans, Offset(10));
    }
    let lens: Vec<_> = ledger.partitions.iter().map(|it| it.window.len()).collect();
    assert_eq!(lens, [4, 2, 2, 2, 2]);
    assert_eq!(ledger.needs_window().count(), 0);
    assert_eq!(lease(&mut ledger, at(0), 6).len(), 6);
    assert_eq!(ledger.needs_window().next(), Some((PartitionId(0), Offset(4), 2)));
}

#[test]
fn a_dropped_window_is_asked_for_again() {
    let mut ledger = ledger(10);
    lease(&mut ledger, at(0), 3);
    ledger.drop_window();
    assert!(!ledger.has_available());
    assert_eq!(ledger.needs_window().next().map(|it| it.1), Some(Offset(3)));
    fill(&mut ledger);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 2)), [3, 4]);
}

#[test]
fn an_idle_queue_follows_the_tail_without_reading() {
    let mut ledger = ledger(4);
    lease(&mut ledger, at(0), 4);
    ledger.drop_window();
    append(&mut ledger, P, 4);
    assert_eq!(ledger.needs_window().count(), 0);
    assert_eq!(offsets(&lease(&mut ledger, at(0), 1)), [4]);
}

#[test]
fn with_all_places_taken_only_retries_are_leased() {
    let mut ledger = tiny(&[(P, Offset(0))]);
    ledger.appended(P, span(0, 20));
    let granted = lease(&mut ledger, at(0), 9);
    assert_eq!(offsets(&granted), [0, 1, 2, 3, 4, 5]);
    assert!(!ledger.has_available());
    ledger.settle(at(0), id(&granted[3]), Outcome::Release { after_ms: 0 }).unwrap();
    assert!(ledger.has_available());
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [3]);
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [6]);
}

#[test]
fn with_all_runs_taken_only_what_continues_one_is_leased() {
    let mut ledger = tiny(&[(P, Offset(0))]);
    ledger.appended(P, span(0, 40));
    let granted = lease(&mut ledger, at(0), 6);
    for settled in [1, 3, 5] {
        ledger.settle(at(0), id(&granted[settled]), Outcome::Ack).unwrap();
    }
    // Offset 6 continues the run that ends there, 7 would begin another.
    assert!(ledger.has_available());
    assert_eq!(offsets(&lease(&mut ledger, at(0), 9)), [6]);
    assert!(!ledger.has_available());
    assert!(lease(&mut ledger, at(0), 9).is_empty());
    ledger.settle(at(0), id(&granted[0]), Outcome::Ack).unwrap();
    assert_eq!(lease(&mut ledger, at(0), 9).len(), 3);
}

#[test]
fn the_caps_never_stop_a_queue_for_good() {
    let mut ledger = tiny(&[(P, Offset(0))]);
    ledger.appended(P, span(0, 40));
    let granted = lease(&mut ledger, at(0), 6);
    for settled in [0, 2, 4] {
        ledger.settle(at(0), id(&granted[settled]), Outcome::Ack).unwrap();
    }
    ledger.replay(at(1), P, Offset(0));
    for settled in [1, 3, 5] {
        ledger.settle(at(1), id(&granted[settled]), Outcome::Ack).unwrap();
    }
    assert_eq!(ledger.settled_runs(P).len(), 3);
    fill(&mut ledger);
    while ledger.has_available() {
        let granted = lease(&mut ledger, at(2), 9);
        assert!(!granted.is_empty());
        for grant in granted {
            ledger.settle(at(2), id(&grant), Outcome::Ack).unwrap();
        }
    }
    assert_eq!(ledger.floor(P), Some(Offset(40)));
}
