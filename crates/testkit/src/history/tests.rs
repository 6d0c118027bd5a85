//! Histories by hand: what the checks accept and what they do not.

use super::*;

const P: PartitionId = PartitionId(5);
const Q: QueueId = QueueId(1);

fn with(numbers: &[Number]) -> History {
    let mut history = History::default();
    numbers.iter().for_each(|number| history.asks(*number));
    history
}

#[test]
fn an_acknowledged_record_that_is_gone_is_lost() {
    let mut history = with(&[1]);
    history.appended(P, Offset(0), 1).expect("the first");
    assert!(history.read_whole(P, Offset(0), Offset(0), &BTreeSet::new()).is_err());
    assert!(history.read_whole(P, Offset(0), Offset(1), &BTreeSet::from([Offset(0)])).is_ok());
}

#[test]
fn one_offset_holds_one_record_and_one_record_has_one_offset() {
    let mut history = with(&[1, 2]);
    history.read(P, Offset(0), 1).expect("the first");
    assert!(history.appended(P, Offset(0), 2).is_err());
    assert!(history.read(P, Offset(1), 1).is_err());
    assert!(history.read(P, Offset(2), 9).is_err(), "nobody sent it");
}

#[test]
fn a_start_stays_where_it_was_asked_to_be() {
    let mut history = with(&[]);
    history.trimmed(P, Offset(3));
    assert!(history.read_whole(P, Offset(0), Offset(9), &BTreeSet::new()).is_err());
    assert!(history.read_whole(P, Offset(3), Offset(9), &BTreeSet::new()).is_ok());
    assert!(history.read_whole(P, Offset(4), Offset(9), &BTreeSet::new()).is_err());
    history.asks_trim(P, Offset(5));
    assert!(history.read_whole(P, Offset(4), Offset(9), &BTreeSet::new()).is_ok());
}

#[test]
fn what_was_settled_does_not_come_again_until_a_replay() {
    let mut history = with(&[1]);
    history.leased(Q, 1, 1).expect("the first");
    history.settled(Q, 1);
    assert!(history.leased(Q, 1, 2).is_err());
    history.asks_replay(Q);
    assert!(history.leased(Q, 1, 1).is_ok());
    history.settled(Q, 1);
    assert!(history.leased(Q, 1, 1).is_ok(), "the replay may have come after it");
    history.replay_over(Q);
    history.settled(Q, 1);
    assert!(history.leased(Q, 1, 2).is_err());
}

#[test]
fn a_delivery_count_goes_back_only_if_nothing_durable_followed() {
    let mut history = with(&[1]);
    history.leased(Q, 1, 1).expect("the first");
    history.crashed();
    history.barrier();
    assert!(history.leased(Q, 1, 1).is_ok(), "a crash may forget it");
    history.barrier();
    assert!(history.leased(Q, 1, 1).is_err());
    assert!(history.leased(Q, 1, 2).is_ok());
}

#[test]
fn a_record_is_dead_or_alive() {
    let mut history = with(&[1]);
    history.leased(Q, 1, 1).expect("the first");
    history.dead_lettered(Q, 1, (P, Offset(7))).expect("not settled");
    assert!(history.leased(Q, 1, 2).is_err());
    assert!(history.dead_lettered(Q, 1, (P, Offset(8))).is_err(), "moved twice");
}

#[test]
fn a_drained_queue_has_delivered_what_was_promised() {
    let history = with(&[1]);
    assert!(history.drained(Q, &BTreeSet::from([1]), &BTreeSet::new()).is_err());
    assert!(history.drained(Q, &BTreeSet::from([1]), &BTreeSet::from([1])).is_ok());
}

#[test]
fn a_cursor_is_the_last_acknowledged_or_a_later_one() {
    let mut history = with(&[]);
    let ids = [1, 2, 3].map(|offset| history.asks_cursor("g", P, Offset(offset)));
    assert!(history.cursor_read("g", P, None).is_ok(), "nothing was acknowledged yet");
    history.cursor_moved("g", P, ids[1]);
    assert!(history.cursor_read("g", P, Some(Offset(1))).is_err());
    assert!(history.cursor_read("g", P, Some(Offset(2))).is_ok());
    assert!(history.cursor_read("g", P, Some(Offset(3))).is_ok());
    assert!(history.cursor_read("g", P, None).is_err());
}

#[test]
fn of_two_moves_to_one_offset_the_first_does_not_acknowledge_what_lies_between() {
    let mut history = with(&[]);
    let ids = [1, 2, 1].map(|offset| history.asks_cursor("g", P, Offset(offset)));
    history.cursor_moved("g", P, ids[0]);
    assert!(history.cursor_read("g", P, Some(Offset(2))).is_ok());
    history.cursor_moved("g", P, ids[2]);
    assert!(history.cursor_read("g", P, Some(Offset(2))).is_err());
    history.cursor_moved("g", P, ids[1]);
    assert!(history.cursor_read("g", P, Some(Offset(2))).is_err(), "answers may come in any order");
}
