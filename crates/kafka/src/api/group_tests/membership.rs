//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use super::*;

#[tokio::test]
async fn coordinator_of_every_group_is_this_broker() {
    let bench = Bench::new();
    for version in 0..=3 {
        let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
        let found = bench.call(version, request, crate::api::find_coordinator::handle).await;
        let place = (found.error_code, found.node_id, &*found.host, found.port);
        assert_eq!(place, (0, 1, "127.0.0.1", 9092), "version {version}");
    }
    for version in 4..=6 {
        let coordinator_keys = vec!["g".into(), "h".into()];
        let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
        let found = bench.call(version, request, crate::api::find_coordinator::handle).await;
        let places: Vec<_> =
            found.coordinators.iter().map(|at| (&*at.key, at.error_code, at.node_id, at.port)).collect();
        assert_eq!(places, [("g", 0, 1, 9092), ("h", 0, 1, 9092)], "version {version}");
    }
}

#[tokio::test]
async fn coordinator_of_what_does_not_exist_is_refused_with_a_reason() {
    let bench = Bench::new();
    for (key_type, error) in [
        (1, ErrorCode::TransactionalIdAuthorizationFailed),
        (2, ErrorCode::InvalidRequest),
        (9, ErrorCode::InvalidRequest),
    ] {
        let request = FindCoordinatorRequest { key: "t".into(), key_type, ..Default::default() };
        let found = bench.call(3, request, crate::api::find_coordinator::handle).await;
        assert_eq!((found.error_code, found.node_id, found.port), (code(error), -1, -1));
        assert!(found.error_message.is_some());
        let coordinator_keys = vec!["t".into()];
        let request = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
        let found = bench.call(6, request, crate::api::find_coordinator::handle).await;
        assert_eq!(found.coordinators[0].error_code, code(error));
    }
}

#[tokio::test]
async fn newcomer_is_given_an_id_first_from_version_4_on() {
    let bench = Bench::new();
    let told = bench.join(4, join_request()).await;
    assert_eq!(told.error_code, code(ErrorCode::MemberIdRequired));
    assert_eq!(told.generation_id, -1);
    assert!(told.member_id.starts_with("app-"), "{}", told.member_id);
    let again = JoinGroupRequest { member_id: told.member_id.clone(), ..join_request() };
    let placed = bench.after_round(bench.join(4, again)).await;
    assert_eq!((placed.error_code, placed.generation_id), (0, 1));
    assert_eq!((&placed.leader, &placed.member_id), (&told.member_id, &told.member_id));
}

#[tokio::test]
async fn newcomer_of_an_old_client_is_placed_at_once() {
    for version in 0..=3 {
        let bench = Bench::new();
        let placed = bench.after_round(bench.join(version, join_request())).await;
        assert_eq!((placed.error_code, placed.generation_id), (0, 1), "version {version}");
        assert_eq!(placed.protocol_name.as_deref(), Some("range"));
        let members: Vec<_> = placed.members.iter().map(|member| &member.metadata[..]).collect();
        assert_eq!(members, [b"wants"], "the leader sees what everybody wants");
    }
}

#[tokio::test]
async fn refused_join_names_no_protocol() {
    let bench = Bench::new();
    for version in 0..=9 {
        let request = JoinGroupRequest { session_timeout_ms: 1, ..join_request() };
        let refused = bench.join(version, request).await;
        assert_eq!(refused.error_code, code(ErrorCode::InvalidSessionTimeout));
        let none = if version < 7 { Some("") } else { None };
        assert_eq!(refused.protocol_name.as_deref(), none, "version {version}");
    }
}

#[tokio::test]
async fn join_that_cannot_be_is_refused_with_its_error() {
    let bench = Bench::new();
    let cases = [
        (JoinGroupRequest { group_id: String::new(), ..join_request() }, ErrorCode::InvalidGroupId),
        (JoinGroupRequest { session_timeout_ms: -5, ..join_request() }, ErrorCode::InvalidSessionTimeout),
        (JoinGroupRequest { protocols: vec![], ..join_request() }, ErrorCode::InconsistentGroupProtocol),
        (
            JoinGroupRequest { protocol_type: String::new(), ..join_request() },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (JoinGroupRequest { member_id: "who".into(), ..join_request() }, ErrorCode::UnknownMemberId),
    ];
    for (request, error) in cases {
        assert_eq!(bench.join(9, request).await.error_code, code(error), "{error:?}");
    }
}

#[tokio::test]
async fn two_members_share_what_the_leader_assigns() {
    let bench = Bench::new();
    let first = bench.join(9, join_request()).await.member_id;
    let second = bench.join(9, join_request()).await.member_id;
    let join = |id: &str| bench.join(9, JoinGroupRequest { member_id: id.into(), ..join_request() });
    let both = async { tokio::join!(join(&first), join(&second)) };
    let (one, two) = bench.after_round(both).await;
    assert_eq!((one.generation_id, two.generation_id), (1, 1));
    assert_eq!((one.members.len(), two.members.len()), (2, 0), "only the leader is told of all");
    let follower = bench.sync(5, sync_request(&second, 1, &[]));
    let mut follower = std::pin::pin!(follower);
    assert!(futures_util::poll!(follower.as_mut()).is_pending());
    let leader = bench.sync(5, sync_request(&first, 1, &[(&first, "p0"), (&second, "p1")])).await;
    let follower = follower.await;
    assert_eq!((&leader.assignment[..], &follower.assignment[..]), (&b"p0"[..], &b"p1"[..]));
    assert_eq!(follower.protocol_name.as_deref(), Some("range"));
}

#[tokio::test]
async fn sync_must_name_the_protocol_from_version_5_on() {
    let bench = Bench::new();
    let id = bench.alone().await;
    let silent = SyncGroupRequest { protocol_type: None, ..sync_request(&id, 1, &[]) };
    let refused = bench.sync(5, silent).await;
    assert_eq!(refused.error_code, code(ErrorCode::InconsistentGroupProtocol));
    for version in 0..=4 {
        let share = bench.sync(version, sync_request(&id, 1, &[])).await;
        assert_eq!((share.error_code, &share.assignment[..]), (0, &b"all"[..]), "version {version}");
    }
}

#[tokio::test]
async fn generation_that_is_over_is_fenced() {
    let bench = Bench::new();
    let id = bench.alone().await;
    assert_eq!(bench.heartbeat(&id, 1).await, 0);
    assert_eq!(bench.heartbeat(&id, 0).await, code(ErrorCode::IllegalGeneration));
    assert_eq!(bench.heartbeat("who", 1).await, code(ErrorCode::UnknownMemberId));
    let late = bench.sync(5, sync_request(&id, 0, &[])).await;
    assert_eq!(late.error_code, code(ErrorCode::IllegalGeneration));
}

#[tokio::test]
async fn silent_member_is_dropped_and_the_other_told_to_rejoin() {
    let bench = Bench::new();
    let first = bench.alone().await;
    let second = bench.join(9, join_request()).await.member_id;
    let join = |id: &str| bench.join(9, JoinGroupRequest { member_id: id.into(), ..join_request() });
    let (one, two) = tokio::join!(join(&first), join(&second));
    assert_eq!((one.generation_id, two.generation_id), (2, 2));
    let shares = [(&*first, "p0"), (&*second, "p1")];
    let (one, two) = tokio::join!(
        bench.sync(5, sync_request(&first, 2, &shares)),
        bench.sync(5, sync_request(&second, 2, &[]))
    );
    assert_eq!((one.error_code, two.error_code), (0, 0));
    bench.pass(SESSION_MS / 2);
    assert_eq!(bench.heartbeat(&first, 2).await, 0);
    bench.pass(SESSION_MS / 2);
    assert_eq!(bench.heartbeat(&first, 2).await, code(ErrorCode::RebalanceInProgress));
    assert_eq!(bench.heartbeat(&second, 2).await, code(ErrorCode::UnknownMemberId));
    assert_eq!(join(&first).await.generation_id, 3);
}

#[tokio::test]
async fn one_member_leaves_in_old_versions() {
    for version in 0..=2 {
        let bench = Bench::new();
        let id = bench.alone().await;
        let leave =
            |id: &str| LeaveGroupRequest { group_id: "g".into(), member_id: id.into(), members: vec![] };
        let left = bench.call(version, leave(&id), crate::api::leave_group::handle).await;
        assert_eq!(left.error_code, 0);
        let again = bench.call(version, leave(&id), crate::api::leave_group::handle).await;
        assert_eq!(again.error_code, code(ErrorCode::UnknownMemberId));
    }
}

#[tokio::test]
async fn many_members_leave_with_an_answer_each() {
    let bench = Bench::new();
    let id = bench.alone().await;
    let member = |id: &str, instance: Option<&str>| MemberIdentity {
        member_id: id.into(),
        group_instance_id: instance.map(str::to_owned),
        reason: Some("the test ends".into()),
    };
    let request = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![member(&id, None), member("who", None), member("", Some("static"))],
        ..Default::default()
    };
    let left = bench.call(5, request, crate::api::leave_group::handle).await;
    assert_eq!(left.error_code, 0);
    let answers: Vec<_> = left
        .members
        .iter()
        .map(|member| (&*member.member_id, member.group_instance_id.as_deref(), member.error_code))
        .collect();
    let unknown = code(ErrorCode::UnknownMemberId);
    assert_eq!(answers, [(&*id, None, 0), ("who", None, unknown), ("", Some("static"), unknown)]);
    let nameless = LeaveGroupRequest { members: vec![member(&id, None)], ..Default::default() };
    let refused = bench.call(3, nameless, crate::api::leave_group::handle).await;
    assert_eq!((refused.error_code, refused.members.len()), (code(ErrorCode::InvalidGroupId), 0));
}

#[tokio::test]
async fn static_member_returns_to_its_place_without_a_rebalance_and_its_former_self_is_fenced() {
    let bench = Bench::new();
    let request = || JoinGroupRequest { group_instance_id: Some("one".into()), ..join_request() };
    let old = bench.after_round(bench.join(9, request())).await;
    assert_eq!((old.error_code, old.generation_id), (0, 1));
    let share = |id: &str| SyncGroupRequest {
        group_instance_id: Some("one".into()),
        ..sync_request(id, 1, &[(&old.member_id, "all")])
    };
    assert_eq!(bench.sync(5, share(&old.member_id)).await.error_code, 0);

    let new = bench.join(9, request()).await;
    assert_eq!((new.error_code, new.generation_id), (0, 1), "the generation stands");
    assert_ne!(new.member_id, old.member_id);
    assert!(new.skip_assignment, "the leader came back: it must not assign anew");
    assert_eq!(&bench.sync(5, share(&new.member_id)).await.assignment[..], b"all");

    let beat = |id: &str| HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: id.into(),
        group_instance_id: Some("one".into()),
    };
    let fenced = bench.call(4, beat(&old.member_id), crate::api::heartbeat::handle).await;
    assert_eq!(fenced.error_code, code(ErrorCode::FencedInstanceId));
    assert_eq!(bench.call(4, beat(&new.member_id), crate::api::heartbeat::handle).await.error_code, 0);
}

#[tokio::test]
async fn static_leader_of_an_old_client_is_told_that_another_leads() {
    let bench = Bench::new();
    let request = || JoinGroupRequest { group_instance_id: Some("one".into()), ..join_request() };
    let old = bench.after_round(bench.join(5, request())).await;
    let share = SyncGroupRequest {
        group_instance_id: Some("one".into()),
        ..sync_request(&old.member_id, 1, &[(&old.member_id, "all")])
    };
    assert_eq!(bench.sync(3, share).await.error_code, 0);
    let new = bench.join(5, request()).await;
    assert_eq!((new.error_code, new.generation_id, &new.leader), (0, 1, &old.member_id));
}

#[tokio::test]
async fn who_may_not_read_the_group_is_refused_everywhere() {
    let bench = Bench::guarded(Except(Action::Consume, "g"));
    let denied = code(ErrorCode::GroupAuthorizationFailed);
    assert_eq!(bench.join(9, join_request()).await.error_code, denied);
    assert_eq!(bench.sync(5, sync_request("a", 1, &[])).await.error_code, denied);
    assert_eq!(bench.heartbeat("a", 1).await, denied);
    let leave = LeaveGroupRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(bench.call(5, leave, crate::api::leave_group::handle).await.error_code, denied);
    let topic = bench.topic("t", 1).await;
    assert_eq!(codes(&bench.commit(9, commit_request(&topic, &[(0, 1, "")])).await), [denied]);
}

#[tokio::test]
async fn waiting_members_are_answered_when_the_broker_stops() {
    let bench = Bench::new();
    let id = bench.join(9, join_request()).await.member_id;
    let join = bench.join(9, JoinGroupRequest { member_id: id.clone(), ..join_request() });
    let mut join = std::pin::pin!(join);
    assert!(futures_util::poll!(join.as_mut()).is_pending());
    bench.client.groups.stop();
    let answer = join.await;
    assert_eq!((answer.error_code, answer.member_id), (code(ErrorCode::CoordinatorNotAvailable), id));
}
