//! Static members: an instance that comes back takes the place of its former self.

use bytes::Bytes;

use super::super::*;
use super::bench::*;

fn subscribed(instance: &str, topic: &str, owns: &str) -> JoinAsk {
    let mut metadata = vec![0, 1, 0, 0, 0, 1, 0, topic.len() as u8];
    metadata.extend(topic.as_bytes());
    metadata.extend(owns.as_bytes());
    let protocols = vec![Protocol { name: "range".into(), metadata: Bytes::from(metadata) }];
    JoinAsk { protocols, ..static_ask(instance) }
}

#[test]
fn follower_that_restarts_gets_its_assignment_and_nobody_rebalances() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![subscribed("i1", "t", "01"), subscribed("i2", "t", "23")]);
    let back = bench.join(subscribed("i2", "t", ""));
    let place = bench.place(back);
    assert_eq!((place.generation, &place.leader, place.members.len()), (1, &places[0].member_id, 0));
    assert_ne!(place.member_id, places[1].member_id);
    assert!(!place.skip_assignment);
    let sync = bench.sync_place(&place);
    let share = bench.synced(sync).unwrap().clone().unwrap();
    assert_eq!(share.assignment, format!("share-{}", places[1].member_id), "its former self's share");
    assert_eq!((bench.state(), bench.heartbeat(&places[0].member_id, 1)), (State::Stable, Ok(())));
}

#[test]
fn former_self_is_fenced_everywhere() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![static_ask("i1"), static_ask("i2")]);
    let old = places[1].member_id.clone();
    bench.join(static_ask("i2"));
    let now = bench.now();
    let fenced = Err(GroupError::Fenced);
    assert_eq!(bench.coordinator.heartbeat(now, GROUP, &instance(&old, "i2"), 1), fenced);
    assert_eq!(bench.coordinator.check_commit(now, GROUP, &instance(&old, "i2"), 1), fenced);
    assert_eq!(bench.leave(&[instance(&old, "i2")]), [fenced]);
    let join = bench.join(with_id(static_ask("i2"), &old));
    assert_eq!(bench.refusal(join), JoinRefused { error: GroupError::Fenced, member_id: old.clone() });
    let sync = bench.sync(SyncAsk {
        member_id: old.clone(),
        instance_id: Some("i2".into()),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: vec![],
    });
    assert_eq!(bench.synced(sync), Some(&Err(GroupError::Fenced)));
    assert_eq!(
        bench.heartbeat(&old, 1),
        Err(GroupError::UnknownMember),
        "without its instance id it is nobody"
    );
}

#[test]
fn leader_that_restarts_leads_on_and_is_told_to_skip_the_assignment() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![static_ask("i1"), ask()]);
    let back = bench.join(static_ask("i1"));
    let place = bench.place(back);
    assert!(place.skip_assignment);
    assert_eq!((&place.leader, place.members.len()), (&place.member_id, 2));
    assert_eq!(bench.state(), State::Stable);
    let again = bench.join(with_id(static_ask("i1"), &place.member_id));
    assert_eq!((bench.joined(again), bench.state()), (None, State::PreparingRebalance), "it does lead");
    assert_eq!(bench.heartbeat(&places[1].member_id, 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn old_client_s_leader_that_restarts_is_told_that_its_former_self_leads() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![static_ask("i1"), ask()]);
    let back = bench.join(JoinAsk { can_skip_assignment: false, ..static_ask("i1") });
    let place = bench.place(back);
    assert!(!place.skip_assignment);
    assert_eq!((&place.leader, place.members.len()), (&places[0].member_id, 0));
    assert_eq!(bench.state(), State::Stable);
}

#[test]
fn instance_that_comes_back_with_other_topics_starts_a_round() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![subscribed("i1", "t", ""), subscribed("i2", "t", "")]);
    let back = bench.join(subscribed("i2", "u", ""));
    assert_eq!((bench.joined(back), bench.state()), (None, State::PreparingRebalance));
    bench.join(with_id(subscribed("i1", "t", ""), &places[0].member_id));
    assert_eq!(bench.place(back).generation, 2);
}

#[test]
fn instance_that_comes_back_with_other_protocols_starts_a_round_if_the_choice_changes() {
    let mut bench = Bench::default();
    let both = |instance: &str| JoinAsk { protocols: offers(&["range", "sticky"]), ..static_ask(instance) };
    bench.stable(vec![both("i1"), both("i2")]);
    let back = bench.join(JoinAsk { protocols: offers(&["sticky"]), ..static_ask("i2") });
    assert_eq!((bench.joined(back), bench.state()), (None, State::PreparingRebalance));
}

#[test]
fn instance_that_comes_back_while_the_assignment_is_awaited_starts_the_round_again() {
    let mut bench = Bench::default();
    let joins = [bench.join(static_ask("i1")), bench.join(static_ask("i2"))];
    bench.pass(2 * DELAY_MS);
    let (leader, follower) = (bench.place(joins[0]), bench.place(joins[1]));
    let waiting = bench.sync_place(&follower);
    let back = bench.join(static_ask("i2"));
    assert_eq!(bench.synced(waiting), Some(&Err(GroupError::Fenced)));
    assert_eq!(bench.state(), State::PreparingRebalance);
    let again = bench.join(with_id(static_ask("i1"), &leader.member_id));
    let ids: Vec<_> = bench.place(again).members.iter().map(|member| member.id.clone()).collect();
    assert!(ids.contains(&bench.place(back).member_id) && !ids.contains(&follower.member_id));
}

#[test]
fn instance_that_comes_back_while_members_gather_fences_the_join_of_its_former_self() {
    let mut bench = Bench::default();
    let places = bench.stable(vec![static_ask("i1"), static_ask("i2")]);
    let former = bench.join(with_id(static_ask("i1"), &places[0].member_id));
    let back = bench.join(static_ask("i1"));
    assert_eq!(bench.refusal(former).error, GroupError::Fenced);
    bench.join(with_id(static_ask("i2"), &places[1].member_id));
    assert_eq!(bench.place(back).generation, 2);
}

#[test]
fn static_member_that_misses_a_round_keeps_its_place_until_its_session_ends() {
    let mut bench = Bench::default();
    let long = JoinAsk { session_timeout_ms: 300_000, ..static_ask("i1") };
    let places = bench.stable(vec![long, ask()]);
    let newcomer = bench.join(ask());
    let again = bench.join(with_id(ask(), &places[1].member_id));
    bench.pass(REBALANCE_MS);
    let place = bench.place(again);
    assert_eq!((place.leader, place.members.len()), (places[1].member_id.clone(), 3));
    assert_eq!(bench.place(newcomer).generation, 2);
}

#[test]
fn round_waits_on_when_only_absent_static_members_are_left() {
    let mut bench = Bench::default();
    let long = JoinAsk { session_timeout_ms: 300_000, ..static_ask("i1") };
    let places = bench.stable(vec![long.clone(), ask()]);
    bench.leave(&[who(&places[1].member_id)]);
    bench.pass(REBALANCE_MS + 1);
    assert_eq!((bench.state(), bench.members()), (State::PreparingRebalance, 1));
    let back = bench.join(long);
    assert_eq!(bench.place(back).generation, 2);
}

#[test]
fn absent_static_member_goes_when_its_session_ends() {
    let mut bench = Bench::default();
    bench.stable(vec![static_ask("i1")]);
    bench.pass(SESSION_MS);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn instance_that_the_group_does_not_know_is_refused_with_any_id() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let join = bench.join(with_id(static_ask("i9"), &a.member_id));
    assert_eq!(bench.refusal(join).error, GroupError::UnknownMember);
}
