//! Commits, deletion and what decides the age of offsets.

use super::super::*;
use super::bench::*;

#[test]
fn member_of_the_generation_may_commit() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    assert_eq!(bench.commit(&a.member_id, 1), Ok(()));
    assert_eq!(bench.commit("nobody", 1), Err(GroupError::UnknownMember));
}

#[test]
fn commit_is_a_sign_of_life() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    for _ in 0..5 {
        bench.pass(SESSION_MS - 1);
        assert_eq!(bench.commit(&a.member_id, 1), Ok(()));
    }
}

#[test]
fn commit_while_members_gather_is_accepted() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    bench.join(ask());
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.commit(&a.member_id, 1), Ok(()));
}

#[test]
fn commit_before_the_assignment_is_told_to_rejoin() {
    let mut bench = Bench::default();
    let join = bench.join(ask());
    bench.pass(DELAY_MS);
    let id = bench.place(join).member_id;
    assert_eq!(bench.commit(&id, 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn commit_of_the_last_generation_after_the_next_began_is_refused() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let again = bench.join(with_id(ask(), &a.member_id));
    assert_eq!(bench.place(again).generation, 2);
    assert_eq!(bench.commit(&a.member_id, 1), Err(GroupError::IllegalGeneration));
}

#[test]
fn consumer_without_a_group_commits_only_while_the_group_is_empty() {
    let mut bench = Bench::default();
    assert_eq!(bench.commit("", -1), Ok(()), "unknown");
    let a = bench.stable(vec![ask()]).remove(0);
    assert_eq!(bench.commit("", -1), Err(GroupError::UnknownMember), "in use");
    bench.leave(&[who(&a.member_id)]);
    assert_eq!(bench.commit("", -1), Ok(()), "empty");
}

#[test]
fn commit_with_a_generation_into_a_group_that_does_not_exist_is_refused() {
    let mut bench = Bench::default();
    assert_eq!(bench.commit("a", 1), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.state(), State::Dead);
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let mut bench = Bench::default();
    assert_eq!(bench.coordinator.delete(GROUP), Ok(false));
    let a = bench.stable(vec![ask()]).remove(0);
    assert_eq!(bench.coordinator.delete(GROUP), Err(GroupError::NonEmpty));
    bench.leave(&[who(&a.member_id)]);
    assert_eq!(bench.coordinator.delete(GROUP), Ok(true));
    bench.coordinator.assert_sound();
    assert_eq!(bench.state(), State::Dead);
}

#[test]
fn usage_tells_when_the_last_member_went() {
    let mut bench = Bench::default();
    assert_eq!(bench.coordinator.usage(GROUP), Use::NeverUsed);
    let a = bench.stable(vec![ask()]).remove(0);
    assert_eq!(bench.coordinator.usage(GROUP), Use::Busy);
    bench.pass(SESSION_MS / 2);
    bench.leave(&[who(&a.member_id)]);
    let emptied = bench.now().wall;
    bench.pass(1_000_000);
    assert_eq!(bench.coordinator.usage(GROUP), Use::EmptySince(emptied));
}

#[test]
fn listing_names_every_group_with_its_kind_and_state() {
    let mut bench = Bench::default();
    bench.stable(vec![ask()]);
    let all: Vec<_> = bench.coordinator.list().collect();
    let expected = GroupListing { id: GROUP.into(), protocol_type: "consumer".into(), state: State::Stable };
    assert_eq!(all, [expected]);
}
