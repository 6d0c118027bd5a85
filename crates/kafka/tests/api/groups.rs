//! Consumer groups: members on connections of their own.

use duolog_kafka::ErrorCode;
use duolog_kafka::codec::messages::*;

use crate::common::{Client, Server, batch, within};

pub(crate) fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: "wants".into() }],
        ..Default::default()
    }
}

pub(crate) fn sync(
    group: &str,
    member_id: &str,
    generation_id: i32,
    shares: &[(&str, &str)],
) -> SyncGroupRequest {
    let share = |(member_id, share): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member_id).to_owned(),
        assignment: share.as_bytes().to_vec().into(),
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: shares.iter().map(share).collect(),
        ..Default::default()
    }
}

fn heartbeat(group: &str, member_id: &str, generation_id: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        group_instance_id: None,
    }
}

pub(crate) fn commit(
    group: &str,
    member: &str,
    generation: i32,
    topic: &str,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some("note".to_owned()),
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            topic_id: 0,
            partitions: vec![partition],
        }],
        ..Default::default()
    }
}

/// An id for a newcomer.
pub(crate) async fn id_of(client: &mut Client, group: &str) -> String {
    let told = client.ask(9, &join(group, "")).await;
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired.code());
    told.member_id
}

#[tokio::test]
async fn two_members_live_through_a_group() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    first.create("t", 1, &[]).await;
    first.produce("t", 0, batch(&[b"0", b"1"])).await;

    let a = id_of(&mut first, "g").await;
    let placed = first.ask(9, &join("g", &a)).await;
    assert_eq!((placed.error_code, placed.generation_id, &placed.leader), (0, 1, &a));
    assert_eq!(first.ask(5, &sync("g", &a, 1, &[(&a, "all")])).await.assignment, "all");

    let b = id_of(&mut second, "g").await;
    second.send(9, &join("g", &b)).await;
    // The join waits for the first member, which hears of it from its heartbeat.
    let told = within(async {
        loop {
            let told = first.ask(4, &heartbeat("g", &a, 1)).await;
            if told.error_code != 0 {
                break told.error_code;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(told.await, ErrorCode::RebalanceInProgress.code());
    let again = first.ask(9, &join("g", &a)).await;
    let placed = second.receive::<JoinGroupRequest>(9, 0).await;
    assert_eq!((again.generation_id, placed.generation_id), (2, 2));
    assert_eq!((again.members.len(), placed.members.len()), (2, 0));
    second.send(5, &sync("g", &b, 2, &[])).await;
    let one = first.ask(5, &sync("g", &a, 2, &[(&a, "p0"), (&b, "nothing")])).await;
    let two = second.receive::<SyncGroupRequest>(5, 0).await;
    assert_eq!((&one.assignment[..], &two.assignment[..]), (&b"p0"[..], &b"nothing"[..]));

    let late = first.ask(9, &commit("g", &a, 1, "t", 1)).await;
    assert_eq!(late.topics[0].partitions[0].error_code, ErrorCode::IllegalGeneration.code());
    let done = first.ask(9, &commit("g", &a, 2, "t", 2)).await;
    assert_eq!(done.topics[0].partitions[0].error_code, 0);
    let group = OffsetFetchRequestGroup { group_id: "g".to_owned(), ..Default::default() };
    let found = second
        .ask(9, &OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() })
        .await;
    let place = &found.groups[0].topics[0].partitions[0];
    assert_eq!((place.committed_offset, place.metadata.as_deref()), (2, Some("note")));

    let described = first
        .ask(6, &DescribeGroupsRequest { groups: vec!["g".to_owned()], include_authorized_operations: false })
        .await;
    assert_eq!((&*described.groups[0].group_state, described.groups[0].members.len()), ("Stable", 2));
    let gone = |id: &str| MemberIdentity { member_id: id.to_owned(), ..Default::default() };
    let leave = LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: vec![gone(&a), gone(&b)],
        ..Default::default()
    };
    assert!(first.ask(5, &leave).await.members.iter().all(|member| member.error_code == 0));
    let deleted = first.ask(2, &DeleteGroupsRequest { groups_names: vec!["g".to_owned()] }).await;
    assert_eq!(deleted.results[0].error_code, 0);
    assert_eq!(first.ask(5, &ListGroupsRequest::default()).await.groups, []);
    drop((first, second));
    server.stop().await;
}

#[tokio::test]
async fn requests_behind_a_waiting_join_are_served_and_answered_after_it() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    first.create("t", 1, &[]).await;
    let a = id_of(&mut first, "g").await;
    first.ask(9, &join("g", &a)).await;
    first.ask(5, &sync("g", &a, 1, &[(&a, "all")])).await;
    let b = id_of(&mut second, "g").await;
    second.send(9, &join("g", &b)).await;
    second.send(9, &commit("other", "", -1, "t", 7)).await;
    // The commit is done though its answer waits behind the join.
    let ask = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup { group_id: "other".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    within(async {
        while first.ask(9, &ask).await.groups[0].topics.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(first.ask(9, &join("g", &a)).await.generation_id, 2);
    assert_eq!(second.receive::<JoinGroupRequest>(9, 1).await.generation_id, 2);
    let done = second.receive::<OffsetCommitRequest>(9, 0).await;
    assert_eq!(done.topics[0].partitions[0].error_code, 0);
    drop((first, second));
    server.stop().await;
}

#[tokio::test]
async fn waiting_members_are_answered_when_the_broker_stops() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    let a = id_of(&mut first, "g").await;
    first.ask(9, &join("g", &a)).await;
    let b = id_of(&mut second, "g").await;
    second.send(9, &join("g", &b)).await;
    within(async {
        while first.ask(4, &heartbeat("g", &a, 1)).await.error_code == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.shutdown.begin();
    let refused = second.receive::<JoinGroupRequest>(9, 0).await;
    assert_eq!(refused.error_code, ErrorCode::CoordinatorNotAvailable.code());
    drop((first, second));
    server.stop().await;
}
