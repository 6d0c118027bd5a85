//! OffsetCommit and OffsetFetch.

use super::*;

/// All offsets of a group at a version from 8 on: (topic, partition, offset, metadata, epoch).
async fn all_of(bench: &Bench, version: i16, group: &str) -> Vec<(String, i32, i64, String)> {
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let answer = bench.fetch(version, request).await;
    assert_eq!(answer.groups[0].error_code, 0);
    let catalog = bench.client.session.catalog();
    let mut all = Vec::new();
    for topic in &answer.groups[0].topics {
        let by_id = catalog.topic_by_id(duolog_broker::TopicId(topic.topic_id));
        let name = if version >= 10 { by_id.unwrap().name.clone() } else { topic.name.clone() };
        for at in &topic.partitions {
            assert_eq!(at.error_code, 0);
            all.push((name.clone(), at.partition_index, at.committed_offset, at.metadata.clone().unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn commit_of_nobody_in_particular_is_found_again_at_every_version() {
    let bench = Bench::new();
    let topic = bench.topic("t", 2).await;
    for version in 2..=10 {
        let offset = i64::from(version) * 10;
        let answer = bench.commit(version, commit_request(&topic, &[(1, offset, "note")])).await;
        assert_eq!(codes(&answer), [0], "commit {version}");
        assert_eq!(answer.topics[0].topic_id, if version >= 10 { topic.id.0 } else { 0 });

        for version in 1..=7 {
            let asked = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] };
            let topics = Some(vec![asked]);
            let request = OffsetFetchRequest { group_id: "g".into(), topics, ..Default::default() };
            let answer = bench.fetch(version, request).await;
            let [none, some] = &answer.topics[0].partitions[..] else { panic!("two were asked for") };
            assert_eq!((none.committed_offset, none.metadata.as_deref(), none.error_code), (-1, Some(""), 0));
            assert_eq!((some.committed_offset, some.metadata.as_deref()), (offset, Some("note")));
        }
        for version in 8..=10 {
            let found = all_of(&bench, version, "g").await;
            assert_eq!(found, [("t".to_owned(), 1, offset, "note".to_owned())], "fetch {version}");
        }
    }
}

#[tokio::test]
async fn leader_epoch_is_kept() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    bench.commit(9, commit_request(&topic, &[(0, 5, "")])).await;
    let request = OffsetFetchRequest { group_id: "g".into(), topics: None, ..Default::default() };
    let answer = bench.fetch(7, request).await;
    assert_eq!(answer.topics[0].partitions[0].committed_leader_epoch, 3);
}

#[tokio::test]
async fn null_topics_are_all_and_no_topics_are_none() {
    let bench = Bench::new();
    for name in ["b", "a"] {
        let topic = bench.topic(name, 2).await;
        bench.commit(9, commit_request(&topic, &[(1, 1, ""), (0, 2, "")])).await;
    }
    for version in 2..=7 {
        let request = OffsetFetchRequest { group_id: "g".into(), topics: None, ..Default::default() };
        let answer = bench.fetch(version, request).await;
        let names: Vec<_> = answer.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["a", "b"]);
        let found: Vec<_> =
            answer.topics[0].partitions.iter().map(|at| (at.partition_index, at.committed_offset)).collect();
        assert_eq!(found, [(0, 2), (1, 1)]);
        let request = OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![]), ..Default::default() };
        assert_eq!(bench.fetch(version, request).await.topics, []);
    }
}

#[tokio::test]
async fn many_groups_are_fetched_at_once_in_the_order_asked() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    for (group, offset) in [("x", 1), ("y", 2)] {
        let request = commit_request(&topic, &[(0, offset, "")]);
        bench.commit(9, OffsetCommitRequest { group_id: group.into(), ..request }).await;
    }
    let group =
        |id: &str, topics| OffsetFetchRequestGroup { group_id: id.into(), topics, ..Default::default() };
    let asked = || {
        let topic =
            OffsetFetchRequestTopics { name: "t".into(), topic_id: topic.id.0, partition_indexes: vec![0] };
        Some(vec![topic])
    };
    for version in 8..=10 {
        let groups = vec![group("y", asked()), group("none", asked()), group("x", None)];
        let answer = bench.fetch(version, OffsetFetchRequest { groups, ..Default::default() }).await;
        let found: Vec<_> = answer
            .groups
            .iter()
            .map(|group| (&*group.group_id, group.topics[0].partitions[0].committed_offset, group.error_code))
            .collect();
        assert_eq!(found, [("y", 2, 0), ("none", -1, 0), ("x", 1, 0)], "version {version}");
    }
}

#[tokio::test]
async fn each_partition_is_refused_for_its_own_reason_and_the_rest_committed() {
    let bench = Bench::new();
    let topic = bench.topic("t", 2).await;
    let long = "x".repeat(4097);
    let full = "x".repeat(4096);
    let mut request =
        commit_request(&topic, &[(0, 7, &full), (1, 7, &long), (2, 7, ""), (-1, 7, ""), (1, -1, "")]);
    let mut unknown = request.topics[0].clone();
    (unknown.name, unknown.topic_id) = ("missing".into(), 77);
    request.topics.push(unknown);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let own =
        [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge, unknown, unknown, ErrorCode::OffsetOutOfRange];
    for (version, missing) in [(9, unknown), (10, ErrorCode::UnknownTopicId)] {
        let expected: Vec<_> = own.iter().chain(&[missing; 5]).map(|error| error.code()).collect();
        assert_eq!(codes(&bench.commit(version, request.clone()).await), expected, "version {version}");
    }
    assert_eq!(all_of(&bench, 9, "g").await, [("t".to_owned(), 0, 7, full)]);
}

#[tokio::test]
async fn metadata_of_one_request_is_bounded() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let full = "x".repeat(4096);
    let fits = crate::limits::COMMIT_METADATA_BYTES / full.len();
    let places = vec![(0, 1, &*full); fits + 1];
    let answer = codes(&bench.commit(9, commit_request(&topic, &places)).await);
    assert_eq!(answer.iter().filter(|code| **code == 0).count(), fits);
    assert_eq!(answer.last(), Some(&code(ErrorCode::OffsetMetadataTooLarge)));
}

#[tokio::test]
async fn fetch_of_an_unknown_topic_has_no_offset_and_by_id_is_an_error() {
    let bench = Bench::new();
    let topics = || {
        Some(vec![OffsetFetchRequestTopics {
            name: "missing".into(),
            topic_id: 77,
            partition_indexes: vec![0],
        }])
    };
    for (version, error) in [(9, ErrorCode::None), (10, ErrorCode::UnknownTopicId)] {
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: topics(), ..Default::default() };
        let answer =
            bench.fetch(version, OffsetFetchRequest { groups: vec![group], ..Default::default() }).await;
        let at = &answer.groups[0].topics[0].partitions[0];
        assert_eq!((at.committed_offset, at.error_code), (-1, code(error)));
    }
}

#[tokio::test]
async fn member_commits_in_its_generation_only_and_strangers_not_at_all() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let id = bench.alone().await;
    for version in 2..=10 {
        let as_member = |id: &str, generation| OffsetCommitRequest {
            member_id: id.into(),
            generation_id_or_member_epoch: generation,
            ..commit_request(&topic, &[(0, 1, "")])
        };
        let cases = [
            (as_member(&id, 1), ErrorCode::None),
            (as_member(&id, 0), ErrorCode::IllegalGeneration),
            (as_member("who", 1), ErrorCode::UnknownMemberId),
            (commit_request(&topic, &[(0, 1, "")]), ErrorCode::UnknownMemberId),
        ];
        for (request, error) in cases {
            assert_eq!(codes(&bench.commit(version, request).await), [code(error)], "version {version}");
        }
    }
}

#[tokio::test]
async fn offsets_outlive_the_broker_and_members_do_not() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let id = bench.alone().await;
    let request = || OffsetCommitRequest {
        member_id: id.clone(),
        generation_id_or_member_epoch: 1,
        ..commit_request(&topic, &[(0, 42, "kept")])
    };
    assert_eq!(codes(&bench.commit(9, request()).await), [0]);
    let bench = bench.restart();
    assert_eq!(all_of(&bench, 9, "g").await, [("t".to_owned(), 0, 42, "kept".to_owned())]);
    let illegal = code(ErrorCode::IllegalGeneration);
    assert_eq!(codes(&bench.commit(9, request()).await), [illegal], "a generation of before the restart");
    assert_eq!(bench.heartbeat(&id, 1).await, code(ErrorCode::UnknownMemberId), "joins again");
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_gone() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    bench.commit(9, commit_request(&topic, &[(0, 42, "")])).await;
    bench.client.session.delete_topic(topic.id).await.unwrap();
    assert_eq!(all_of(&bench, 9, "g").await, []);
    let again = bench.topic("t", 1).await;
    assert_eq!(all_of(&bench, 9, "g").await, []);
    let unknown = code(ErrorCode::UnknownTopicId);
    assert_eq!(codes(&bench.commit(10, commit_request(&topic, &[(0, 1, "")])).await), [unknown]);
    assert_eq!(codes(&bench.commit(10, commit_request(&again, &[(0, 1, "")])).await), [0]);
}

#[tokio::test]
async fn offsets_expire_once_the_group_has_been_empty_for_the_retention_time() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    let id = bench.alone().await;
    let request = OffsetCommitRequest {
        member_id: id.clone(),
        generation_id_or_member_epoch: 1,
        ..commit_request(&topic, &[(0, 42, "")])
    };
    assert_eq!(codes(&bench.commit(9, request).await), [0]);
    bench.pass_alive(2 * RETENTION_MS, &[(&id, 1)]).await;
    bench.client.groups.sweep().await;
    assert_eq!(all_of(&bench, 9, "g").await.len(), 1, "the group has a member");
    bench.pass(SESSION_MS);
    bench.pass(RETENTION_MS - 1);
    bench.client.groups.sweep().await;
    assert_eq!(all_of(&bench, 9, "g").await.len(), 1, "empty for less than the retention time");
    bench.pass(1);
    bench.client.groups.sweep().await;
    assert_eq!(all_of(&bench, 9, "g").await, []);
}

#[tokio::test]
async fn topic_that_may_not_be_read_is_refused_by_itself() {
    let bench = Bench::guarded(Except(Action::Consume, "secret"));
    let mut request = commit_request(&*bench.topic("t", 1).await, &[(0, 1, "")]);
    request.topics.extend(commit_request(&*bench.topic("secret", 1).await, &[(0, 1, "")]).topics);
    let denied = code(ErrorCode::TopicAuthorizationFailed);
    assert_eq!(codes(&bench.commit(9, request).await), [0, denied]);
}

#[tokio::test]
async fn group_that_may_not_be_seen_is_refused_where_the_version_has_a_place_for_it() {
    let bench = Bench::guarded(Except(Action::Describe, "g"));
    let denied = code(ErrorCode::GroupAuthorizationFailed);
    let asked = || Some(vec![OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] }]);
    let request = || OffsetFetchRequest { group_id: "g".into(), topics: asked(), ..Default::default() };
    let first = bench.fetch(1, request()).await;
    assert_eq!(first.topics[0].partitions[0].error_code, denied);
    let later = bench.fetch(7, request()).await;
    assert_eq!((later.error_code, later.topics.len()), (denied, 0));
    let group = OffsetFetchRequestGroup { group_id: "g".into(), ..Default::default() };
    let latest = bench.fetch(9, OffsetFetchRequest { groups: vec![group], ..Default::default() }).await;
    assert_eq!(latest.groups[0].error_code, denied);
}

#[tokio::test]
async fn answer_is_bounded_and_its_memory_reserved() {
    let bench = Bench::new();
    let topic = bench.topic("t", 1).await;
    bench.commit(9, commit_request(&topic, &[(0, 1, &"x".repeat(4096))])).await;
    let fits = crate::limits::OFFSETS_BYTES / (crate::limits::OFFSET_OVERHEAD_BYTES + 2 * 4096);
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group.clone(); fits + 1], ..Default::default() };
    // Not through the wire: a client of ours would not read so much.
    let header = RequestHeader { api_version: 9, ..Default::default() };
    let answer = crate::api::offset_fetch::handle(&bench.client, &header, request).await.response;
    assert_eq!(answer.groups.iter().filter(|group| group.error_code == 0).count(), fits);
    assert_eq!(answer.groups[fits].error_code, code(ErrorCode::InvalidRequest));

    let budget = &bench.client.budget;
    let mut all = budget.try_reserve(Budget::largest(budget.bytes_max())).unwrap().unwrap();
    while let Some(more) = budget.try_reserve(1024).unwrap() {
        all.merge(more);
    }
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = bench.fetch(9, request.clone()).await;
    assert_eq!(answer.groups[0].error_code, code(ErrorCode::CoordinatorLoadInProgress), "to be asked again");
    drop(all);
    assert_eq!(bench.fetch(9, request).await.groups[0].error_code, 0);
}
