//! Leaving, alone and in a batch.

use super::super::*;
use super::bench::*;

#[test]
fn member_that_leaves_makes_the_others_gather() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    assert_eq!(bench.leave(&[who(&places[0].member_id)]), [Ok(())]);
    assert_eq!(bench.state(), State::PreparingRebalance);
    let again = bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.place(again).leader, places[1].member_id);
}

#[test]
fn group_is_empty_at_once_when_the_last_member_leaves() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    bench.leave(&[who(&a.member_id)]);
    assert_eq!(bench.state(), State::Empty);
    let back = bench.join(ask());
    bench.pass(DELAY_MS);
    assert_eq!(bench.place(back).generation, 3, "generations go on: the empty one counts");
}

#[test]
fn waiting_join_of_a_member_that_leaves_is_answered() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let waiting = bench.join(with_id(ask(), &places[0].member_id));
    bench.leave(&[who(&places[0].member_id)]);
    assert_eq!(bench.refusal(waiting).error, GroupError::UnknownMember);
}

#[test]
fn waiting_sync_of_a_member_that_leaves_is_answered() {
    let mut bench = Bench::default();
    let joins = [bench.join(ask()), bench.join(ask())];
    bench.pass(2 * DELAY_MS);
    let follower = bench.place(joins[1]);
    let waiting = bench.sync_place(&follower);
    bench.leave(&[who(&follower.member_id)]);
    assert_eq!(bench.synced(waiting), Some(&Err(GroupError::UnknownMember)));
}

#[test]
fn last_missing_member_that_leaves_completes_the_round() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let waiting = bench.join(with_id(ask(), &places[0].member_id));
    bench.leave(&[who(&places[1].member_id)]);
    assert_eq!(bench.place(waiting).members.len(), 1);
}

#[test]
fn id_that_was_given_out_can_be_handed_back() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let given = bench.join(JoinAsk { id_required: true, ..ask() });
    let pending = bench.refusal(given).member_id;
    let again = bench.join(with_id(ask(), &a.member_id));
    assert_eq!(bench.joined(again), None);
    assert_eq!(bench.leave(&[who(&pending)]), [Ok(())]);
    assert_eq!(bench.place(again).generation, 2);
}

#[test]
fn batch_answers_each_member_and_gathers_once() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), static_ask("i1"), static_ask("i2"), static_ask("i3")]);
    let answers = bench.leave(&[
        who(&places[0].member_id),
        instance("", "i1"),
        instance(&places[2].member_id, "i2"),
        instance(&places[2].member_id, "i3"),
        instance("", "i9"),
        who("nobody"),
    ]);
    let (fenced, unknown) = (GroupError::Fenced, GroupError::UnknownMember);
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), Err(fenced), Err(unknown), Err(unknown)]);
    assert_eq!((bench.members(), bench.state()), (1, State::PreparingRebalance));
}

#[test]
fn leaving_a_group_that_does_not_exist_says_unknown_member() {
    let mut bench = Bench::default();
    assert_eq!(bench.leave(&[who("a")]), [Err(GroupError::UnknownMember)]);
    assert_eq!(bench.state(), State::Dead);
}
