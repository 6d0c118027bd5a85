//! ListGroups, DescribeGroups, DeleteGroups.

use super::*;

async fn list(bench: &Bench, version: i16, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
    let answer = bench.call(version, request, crate::api::list_groups::handle).await;
    assert_eq!(answer.error_code, 0);
    answer.groups
}

fn names(groups: &[ListedGroup]) -> Vec<&str> {
    groups.iter().map(|group| &*group.group_id).collect()
}

/// A stable group `g` and a group `h` of which there are only offsets.
async fn two_groups() -> (Bench, String) {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let request = commit_request(&topic, &[(0, 1, "")]);
    bench.commit(9, OffsetCommitRequest { group_id: "h".into(), ..request }).await;
    let member = bench.alone().await;
    (bench, member)
}

#[tokio::test]
async fn groups_with_members_or_offsets_are_listed() {
    let (bench, _) = two_groups().await;
    for version in 0..=5 {
        assert_eq!(names(&list(&bench, version, &[], &[]).await), ["g", "h"], "version {version}");
    }
    let all = list(&bench, 5, &[], &[]).await;
    let views: Vec<_> = all.iter().map(|g| (&*g.protocol_type, &*g.group_state, &*g.group_type)).collect();
    assert_eq!(views, [("consumer", "Stable", "classic"), ("", "Empty", "classic")]);
}

#[tokio::test]
async fn listing_is_filtered_by_state_and_type() {
    let (bench, _) = two_groups().await;
    let cases: [(&[&str], &[&str], &[&str]); 6] = [
        (&["Stable"], &[], &["g"]),
        (&["empty", "Dead"], &[], &["h"]),
        (&["nonsense"], &[], &[]),
        (&[], &["Classic"], &["g", "h"]),
        (&[], &["consumer"], &[]),
        (&["Stable"], &["consumer", "classic"], &["g"]),
    ];
    for (states, types, expected) in cases {
        assert_eq!(names(&list(&bench, 5, states, types).await), expected, "{states:?} {types:?}");
    }
}

async fn describe(bench: &Bench, version: i16, ids: &[&str]) -> Vec<DescribedGroup> {
    let request = DescribeGroupsRequest {
        groups: ids.iter().map(|id| (*id).to_owned()).collect(),
        include_authorized_operations: true,
    };
    bench.call(version, request, crate::api::describe_groups::handle).await.groups
}

#[tokio::test]
async fn stable_group_is_described_with_its_members_and_what_they_hold() {
    let (bench, id) = two_groups().await;
    for version in 0..=6 {
        let [group] = &describe(&bench, version, &["g"]).await[..] else { panic!("one was asked for") };
        assert_eq!((group.error_code, &*group.group_state), (0, "Stable"), "version {version}");
        assert_eq!((&*group.protocol_type, &*group.protocol_data), ("consumer", "range"));
        let [member] = &group.members[..] else { panic!("one member") };
        assert_eq!((&*member.member_id, &*member.client_id), (&*id, "app"));
        assert_eq!(member.client_host, "/10.0.0.7");
        assert_eq!(
            (&member.member_metadata[..], &member.member_assignment[..]),
            (&b"wants"[..], &b"all"[..])
        );
    }
}

#[tokio::test]
async fn group_of_offsets_alone_is_empty_and_an_unknown_one_dead_or_not_found() {
    let (bench, _) = two_groups().await;
    for version in 0..=6 {
        let groups = describe(&bench, version, &["h", "none"]).await;
        let states: Vec<_> = groups.iter().map(|group| (&*group.group_state, group.error_code)).collect();
        let missing = if version >= 6 { code(ErrorCode::GroupIdNotFound) } else { 0 };
        assert_eq!(states, [("Empty", 0), ("Dead", missing)], "version {version}");
        assert_eq!(groups[1].error_message.is_some(), version >= 6);
    }
}

#[tokio::test]
async fn operations_are_those_that_the_authorizer_allows() {
    let everything = 1 << 3 | 1 << 6 | 1 << 8;
    let (bench, _) = two_groups().await;
    assert_eq!(describe(&bench, 6, &["g"]).await[0].authorized_operations, everything);
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let silent = bench.call(6, request, crate::api::describe_groups::handle).await;
    assert_eq!(silent.groups[0].authorized_operations, i32::MIN, "not asked for");

    let bench = Bench::guarded(Except(Action::Manage, "g"));
    bench.alone().await;
    assert_eq!(describe(&bench, 6, &["g"]).await[0].authorized_operations, everything & !(1 << 6));
}

#[tokio::test]
async fn group_named_again_and_again_does_not_multiply_its_cost() {
    let bench = Bench::new();
    let metadata = bytes::Bytes::from(vec![7; (1 << 20) - 100]);
    let protocols = vec![JoinGroupRequestProtocol { name: "range".into(), metadata: metadata.clone() }];
    let request = JoinGroupRequest { protocols, ..join_request() };
    let id = bench.join(9, request.clone()).await.member_id;
    let join = bench.join(9, JoinGroupRequest { member_id: id.clone(), ..request });
    bench.after_round(join).await;
    bench.sync(5, sync_request(&id, 1, &[])).await;
    let fits = crate::limits::DESCRIBED_BYTES / (1 << 20);
    let groups = describe(&bench, 6, &vec!["g"; fits + 2]).await;
    assert_eq!(groups.iter().filter(|group| group.error_code == 0).count(), fits);
    assert_eq!(groups[fits].error_code, code(ErrorCode::InvalidRequest));
}

async fn delete(bench: &Bench, version: i16, ids: &[&str]) -> Vec<i16> {
    let request = DeleteGroupsRequest { groups_names: ids.iter().map(|id| (*id).to_owned()).collect() };
    let answer = bench.call(version, request, crate::api::delete_groups::handle).await;
    let named: Vec<_> = answer.results.iter().map(|result| &*result.group_id).collect();
    assert_eq!(named, ids);
    answer.results.iter().map(|result| result.error_code).collect()
}

#[tokio::test]
async fn only_a_group_without_members_is_deleted_and_its_offsets_with_it() {
    for version in 0..=2 {
        let (bench, id) = two_groups().await;
        let expected = [ErrorCode::NonEmptyGroup, ErrorCode::None, ErrorCode::GroupIdNotFound].map(code);
        assert_eq!(delete(&bench, version, &["g", "h", "none"]).await, expected);
        assert_eq!(names(&list(&bench, 5, &[], &[]).await), ["g"]);
        let member = MemberIdentity { member_id: id, ..Default::default() };
        let leave = LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() };
        bench.call(5, leave, crate::api::leave_group::handle).await;
        assert_eq!(delete(&bench, version, &["g"]).await, [0]);
        assert_eq!(names(&list(&bench, 5, &[], &[]).await), [""; 0]);
    }
}

#[tokio::test]
async fn who_may_not_manage_the_group_does_not_delete_it() {
    let bench = Bench::guarded(Except(Action::Manage, "g"));
    let topic = bench.topic("t", 1).await;
    bench.commit(9, commit_request(&topic, &[(0, 1, "")])).await;
    assert_eq!(delete(&bench, 2, &["g"]).await, [code(ErrorCode::GroupAuthorizationFailed)]);
    assert_eq!(names(&list(&bench, 5, &[], &[]).await), ["g"]);
}
