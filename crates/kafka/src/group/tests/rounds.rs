//! Rounds: how members are gathered, and what a member that asks again is told.

use super::super::*;
use super::bench::*;

#[test]
fn first_round_waits_for_the_initial_delay() {
    let mut bench = Bench::default();
    let join = bench.join(ask());
    bench.pass(DELAY_MS - 1);
    assert_eq!(bench.joined(join), None);
    bench.pass(1);
    assert_eq!(bench.place(join).generation, 1);
}

#[test]
fn first_round_is_extended_while_members_arrive_up_to_the_rebalance_timeout() {
    let mut bench = Bench::default();
    let rebalance_timeout_ms = 8_000;
    let mut joins = vec![bench.join(JoinAsk { rebalance_timeout_ms, ..ask() })];
    for _ in 0..3 {
        bench.pass(2_000);
        joins.push(bench.join(JoinAsk { rebalance_timeout_ms, ..ask() }));
        assert_eq!(bench.joined(joins[0]), None);
    }
    bench.pass(1_999);
    assert_eq!(bench.joined(joins[0]), None);
    bench.pass(1);
    for join in joins {
        assert_eq!(bench.place(join).generation, 1);
    }
}

#[test]
fn without_an_initial_delay_the_first_member_is_served_at_once() {
    let mut bench = Bench::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() });
    let join = bench.join(ask());
    assert_eq!(bench.place(join).generation, 1);
}

#[test]
fn newcomer_makes_a_stable_group_gather_again() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let newcomer = bench.join(ask());
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.heartbeat(&a.member_id, 1), Err(GroupError::RebalanceInProgress));
    let again = bench.join(with_id(ask(), &a.member_id));
    let (again, newcomer) = (bench.place(again), bench.place(newcomer));
    assert_eq!((again.generation, newcomer.generation), (2, 2));
    assert_eq!((again.members.len(), newcomer.members.len()), (2, 0), "only the leader is told of all");
    assert_eq!(again.leader, newcomer.leader);
}

#[test]
fn members_that_do_not_rejoin_in_time_are_dropped_and_another_leads() {
    let mut bench = Bench::default();
    let long = JoinAsk { session_timeout_ms: 120_000, ..ask() };
    let places = bench.stable(vec![long.clone(), long.clone()]);
    let newcomer = bench.join(long.clone());
    let again = bench.join(with_id(long, &places[1].member_id));
    bench.pass(REBALANCE_MS - 1);
    assert_eq!(bench.joined(again), None);
    bench.pass(1);
    assert_eq!(bench.members(), 2);
    assert_eq!(bench.place(again).leader, places[1].member_id, "the earliest of those who came");
    assert_eq!(bench.place(newcomer).generation, 2);
    assert_eq!(bench.heartbeat(&places[0].member_id, 1), Err(GroupError::UnknownMember));
}

#[test]
fn silent_member_is_dropped_when_its_session_ends() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    bench.pass(SESSION_MS / 2);
    assert_eq!(bench.heartbeat(&places[0].member_id, 1), Ok(()));
    bench.pass(SESSION_MS / 2);
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.heartbeat(&places[1].member_id, 1), Err(GroupError::UnknownMember));
    let again = bench.join(with_id(ask(), &places[0].member_id));
    assert_eq!(bench.place(again).members.len(), 1);
}

#[test]
fn heartbeats_keep_a_member_for_ever() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    for _ in 0..100 {
        bench.pass(SESSION_MS - 1);
        assert_eq!(bench.heartbeat(&a.member_id, 1), Ok(()));
    }
}

#[test]
fn member_whose_join_waits_is_not_taken_for_dead() {
    let mut bench = Bench::default();
    let slow = JoinAsk { session_timeout_ms: 300_000, ..ask() };
    let places = bench.stable(vec![ask(), slow.clone()]);
    bench.join(ask());
    let waiting = bench.join(with_id(ask(), &places[0].member_id));
    bench.pass(5 * SESSION_MS);
    assert_eq!(bench.joined(waiting), None);
    let last = bench.join(with_id(slow, &places[1].member_id));
    assert_eq!(bench.place(waiting).generation, bench.place(last).generation);
}

#[test]
fn newcomer_that_waits_too_long_for_its_first_generation_is_dropped() {
    let mut bench = Bench::default();
    let patient = JoinAsk { session_timeout_ms: 1_800_000, rebalance_timeout_ms: 3_600_000, ..ask() };
    bench.stable(vec![patient.clone()]);
    let newcomer = bench.join(patient);
    bench.pass(limits::NEWCOMER_JOIN_MS - 1);
    assert_eq!(bench.joined(newcomer), None);
    bench.pass(1);
    assert_eq!(
        bench.refusal(newcomer),
        JoinRefused { error: GroupError::UnknownMember, member_id: "".into() }
    );
    assert_eq!(bench.members(), 1);
}

#[test]
fn wrong_generation_is_refused() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    for generation in [-1, 0, 2] {
        assert_eq!(bench.heartbeat(&a.member_id, generation), Err(GroupError::IllegalGeneration));
        assert_eq!(bench.commit(&a.member_id, generation), Err(GroupError::IllegalGeneration));
        let sync = bench.sync_place(&Joined { generation, ..a.clone() });
        assert_eq!(bench.synced(sync), Some(&Err(GroupError::IllegalGeneration)));
    }
}

#[test]
fn leader_that_joins_a_stable_group_again_starts_a_round() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let again = bench.join(with_id(ask(), &places[0].member_id));
    assert_eq!((bench.joined(again), bench.state()), (None, State::PreparingRebalance));
}

#[test]
fn follower_that_joins_a_stable_group_again_unchanged_is_told_its_place() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let again = bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.place(again), places[1]);
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn follower_with_other_metadata_starts_a_round() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let changed = JoinAsk { protocols: offers(&["range", "sticky"]), ..ask() };
    let again = bench.join(with_id(changed, &places[1].member_id));
    assert_eq!((bench.joined(again), bench.state()), (None, State::PreparingRebalance));
}

#[test]
fn member_that_missed_its_answer_is_told_again_before_the_assignment() {
    let mut bench = Bench::default();
    let joins = [bench.join(ask()), bench.join(ask())];
    bench.pass(2 * DELAY_MS);
    for join in joins {
        let place = bench.place(join);
        let again = bench.join(with_id(ask(), &place.member_id));
        assert_eq!(bench.place(again), place);
    }
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn other_metadata_before_the_assignment_starts_a_round_and_waiting_syncs_hear_of_it() {
    let mut bench = Bench::default();
    let joins = [bench.join(ask()), bench.join(ask())];
    bench.pass(2 * DELAY_MS);
    let (leader, follower) = (bench.place(joins[0]), bench.place(joins[1]));
    let waiting = bench.sync_place(&follower);
    let changed = JoinAsk { protocols: offers(&["range", "sticky"]), ..ask() };
    bench.join(with_id(changed, &leader.member_id));
    assert_eq!(bench.synced(waiting), Some(&Err(GroupError::RebalanceInProgress)));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn second_join_of_a_waiting_member_replaces_the_first() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![ask(), ask()]);
    let first = bench.join(with_id(ask(), &places[0].member_id));
    let second = bench.join(with_id(ask(), &places[0].member_id));
    assert_eq!(bench.refusal(first).error, GroupError::RebalanceInProgress);
    bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.place(second).generation, 2);
}

#[test]
fn cooperative_member_rejoins_twice_and_keeps_its_group() {
    let mut bench = Bench::default();
    let cooperative = JoinAsk { protocols: offers(&["cooperative-sticky"]), ..ask() };
    let a = bench.stable(vec![cooperative.clone()]).remove(0);
    let b = bench.join(cooperative.clone());
    let owns_all = JoinAsk {
        protocols: vec![Protocol { name: "cooperative-sticky".into(), metadata: "owns 0 1".into() }],
        ..cooperative.clone()
    };
    let first = bench.join(with_id(owns_all, &a.member_id));
    let (a, b) = (bench.place(first), bench.place(b));
    assert_eq!(a.members.iter().find(|m| m.id == a.member_id).unwrap().metadata, "owns 0 1");
    bench.sync_place(&a);
    bench.sync_place(&b);
    let owns_half = JoinAsk {
        protocols: vec![Protocol { name: "cooperative-sticky".into(), metadata: "owns 0".into() }],
        ..cooperative.clone()
    };
    let second = bench.join(with_id(owns_half, &a.member_id));
    let follower = bench.join(with_id(cooperative, &b.member_id));
    assert_eq!((bench.place(second).generation, bench.place(follower).generation), (3, 3));
}
