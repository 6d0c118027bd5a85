//! Assignments: who receives them, who is dropped for not asking.

use super::super::*;
use super::bench::*;

fn completing(bench: &mut Bench, count: usize) -> Vec<Joined> {
    let joins: Vec<_> = (0..count).map(|_| bench.join(ask())).collect();
    bench.pass(2 * DELAY_MS);
    joins.into_iter().map(|join| bench.place(join)).collect()
}

#[test]
fn followers_wait_for_the_leader_and_everybody_gets_its_own_share() {
    let mut bench = Bench::default();
    let places = completing(&mut bench, 3);
    let early = bench.sync_place(&places[1]);
    assert_eq!(bench.synced(early), None);
    let leader = bench.sync_place(&places[0]);
    let late = bench.sync_place(&places[2]);
    for (sync, place) in [(early, &places[1]), (leader, &places[0]), (late, &places[2])] {
        let share = bench.synced(sync).unwrap().clone().unwrap();
        assert_eq!(share.assignment, format!("share-{}", place.member_id));
        assert_eq!(
            (share.protocol_type.as_deref(), share.protocol.as_deref()),
            (Some("consumer"), Some("range"))
        );
    }
}

#[test]
fn member_that_the_leader_forgot_gets_an_empty_share() {
    let mut bench = Bench::default();
    let mut places = completing(&mut bench, 2);
    let forgotten = places[1].member_id.clone();
    places[0].members.retain(|member| member.id != forgotten);
    bench.sync_place(&places[0]);
    let sync = bench.sync_place(&places[1]);
    assert_eq!(bench.synced(sync).unwrap().clone().unwrap().assignment, "");
}

#[test]
fn members_that_never_sync_are_dropped_after_the_rebalance_timeout() {
    let mut bench = Bench::default();
    let places = completing(&mut bench, 3);
    bench.sync_place(&places[0]);
    bench.sync_place(&places[1]);
    for _ in 0..REBALANCE_MS / 5_000 {
        bench.pass(5_000);
        for place in &places {
            let _ = bench.heartbeat(&place.member_id, 1);
        }
    }
    assert_eq!((bench.state(), bench.members()), (State::PreparingRebalance, 2));
    assert_eq!(bench.heartbeat(&places[2].member_id, 1), Err(GroupError::UnknownMember));
}

#[test]
fn leader_that_never_syncs_is_dropped_and_followers_are_told_to_rejoin() {
    let mut bench = Bench::default();
    let places = completing(&mut bench, 2);
    let waiting = bench.sync_place(&places[1]);
    bench.pass(SESSION_MS);
    assert_eq!(bench.synced(waiting), Some(&Err(GroupError::RebalanceInProgress)));
    let again = bench.join(with_id(ask(), &places[1].member_id));
    assert_eq!(bench.place(again).leader, places[1].member_id);
}

#[test]
fn sync_while_members_gather_is_told_to_rejoin() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    bench.join(ask());
    let sync = bench.sync_place(&a);
    assert_eq!(bench.synced(sync), Some(&Err(GroupError::RebalanceInProgress)));
}

#[test]
fn sync_of_a_stable_group_repeats_the_share() {
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let sync = bench.sync_place(&Joined { members: vec![], ..a.clone() });
    assert_eq!(bench.synced(sync).unwrap().clone().unwrap().assignment, format!("share-{}", a.member_id));
}

#[test]
fn sync_with_another_protocol_than_the_generation_s_is_refused() {
    let mut bench = Bench::default();
    let a = completing(&mut bench, 1).remove(0);
    for (kind, name) in [(Some("connect"), None), (None, Some("sticky"))] {
        let sync = bench.sync(SyncAsk {
            member_id: a.member_id.clone(),
            instance_id: None,
            generation: 1,
            protocol_type: kind.map(Into::into),
            protocol: name.map(Into::into),
            assignments: vec![],
        });
        assert_eq!(bench.synced(sync), Some(&Err(GroupError::InconsistentProtocol)));
    }
}

#[test]
fn sync_of_an_unknown_member_or_group_is_refused() {
    let mut bench = Bench::default();
    let place = Joined {
        generation: 1,
        protocol_type: None,
        protocol: None,
        leader: "a".into(),
        member_id: "a".into(),
        skip_assignment: false,
        members: vec![],
    };
    let sync = bench.sync_place(&place);
    assert_eq!(bench.synced(sync), Some(&Err(GroupError::UnknownMember)));
    bench.stable(vec![ask()]);
    let sync = bench.sync_place(&place);
    assert_eq!(bench.synced(sync), Some(&Err(GroupError::UnknownMember)));
}

#[test]
fn assignment_over_the_limit_fails_everybody_and_the_group_gathers_again() {
    let mut bench = Bench::default();
    let places = completing(&mut bench, 2);
    let follower = bench.sync_place(&places[1]);
    let leader = bench.sync(SyncAsk {
        member_id: places[0].member_id.clone(),
        instance_id: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: vec![(places[0].member_id.clone(), vec![0; limits::ASSIGNMENT_BYTES + 1].into())],
    });
    assert_eq!(bench.synced(leader), Some(&Err(GroupError::TooLarge)));
    assert_eq!(bench.synced(follower), Some(&Err(GroupError::TooLarge)));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn heartbeat_before_the_assignment_is_a_normal_one() {
    let mut bench = Bench::default();
    let places = completing(&mut bench, 2);
    assert_eq!(bench.heartbeat(&places[1].member_id, 1), Ok(()));
}

#[test]
fn metadata_and_assignments_are_shown_only_while_the_group_is_stable() {
    let mut bench = Bench::default();
    completing(&mut bench, 1);
    let view = bench.coordinator.describe(GROUP).unwrap();
    assert_eq!(
        (view.state.name(), &*view.protocol, view.members[0].metadata.len()),
        ("CompletingRebalance", "", 0)
    );
    let mut bench = Bench::default();
    let a = bench.stable(vec![ask()]).remove(0);
    let view = bench.coordinator.describe(GROUP).unwrap();
    assert_eq!((view.state.name(), &*view.protocol, &*view.protocol_type), ("Stable", "range", "consumer"));
    assert_eq!(
        (&view.members[0].metadata[..], &*view.members[0].client_host),
        (&b"m-range"[..], "/127.0.0.1")
    );
    assert_eq!(view.members[0].assignment, format!("share-{}", a.member_id));
}
