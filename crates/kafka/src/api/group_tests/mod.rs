//! The group handlers over a broker in memory and a clock moved by hand, through the wire form of every message.

#![allow(clippy::unwrap_used)]

mod admin;
mod membership;
mod memory;
mod offsets;

use std::sync::Arc;

use duolog_broker::{
    Action, Authorizer, Broker, BrokerOptions, Clock, Permissive, Principal, Topic, TopicPolicy, TopicSpec,
};
use duolog_net::{Budget, Shutdown};
use duolog_record::Timestamp;
use duolog_storage::{Log, MemoryLog};
use duolog_testkit::ManualClock;

use super::Client;
use crate::codec::header::decode_response;
use crate::codec::messages::*;
use crate::codec::{Api, Decoder, RequestHeader, decode_body, encode_request, encode_response};
use crate::group::{GroupConfig, Groups};
use crate::{ErrorCode, KafkaOptions};

const DELAY_MS: u64 = 3_000;
const SESSION_MS: u64 = 10_000;
const REBALANCE_MS: u64 = 60_000;
const RETENTION_MS: u64 = 1_000_000;

/// A broker with its groups, and one connection.
struct Bench {
    broker: Broker,
    log: Arc<dyn Log>,
    clock: Arc<ManualClock>,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        Self::over(Arc::new(MemoryLog::new()), Arc::new(ManualClock::new()), Arc::new(Permissive))
    }

    fn guarded(authorizer: impl Authorizer + 'static) -> Self {
        Self::over(Arc::new(MemoryLog::new()), Arc::new(ManualClock::new()), Arc::new(authorizer))
    }

    fn over(log: Arc<dyn Log>, clock: Arc<ManualClock>, authorizer: Arc<dyn Authorizer>) -> Self {
        let options = BrokerOptions { seed: 1, retention_check_ms: 1_000, ..BrokerOptions::default() };
        let broker =
            Broker::start(Arc::clone(&log), clock.clone() as Arc<dyn Clock>, authorizer, options).unwrap();
        let session = broker.session(Principal::anonymous());
        let config = GroupConfig {
            initial_rebalance_delay_ms: DELAY_MS,
            offsets_retention_ms: RETENTION_MS,
            ..GroupConfig::default()
        };
        let client = Client {
            groups: Groups::new(session.clone(), config, clock.now().monotonic.0),
            session,
            options: Arc::new(KafkaOptions::default()),
            budget: Budget::new(256 << 20),
            fetching: Arc::new(tokio::sync::Semaphore::new(1)),
            fetch_session: Arc::default(),
            fetch_room: Arc::new(tokio::sync::Semaphore::new(0)),
            catch_up: Arc::new(crate::catch_up::CatchUp::new(None)),
            shutdown: Shutdown::new(),
            peer: "10.0.0.7:5555".parse().unwrap(),
            local: "127.0.0.1:9092".parse().unwrap(),
        };
        Self { broker, log, clock, client }
    }

    /// The same log under a new broker.
    fn restart(self) -> Self {
        let Self { broker, log, clock, client } = self;
        drop((broker, client));
        Self::over(log, clock, Arc::new(Permissive))
    }

    fn pass(&self, ms: u64) {
        self.clock.advance(ms);
        self.client.groups.tick();
    }

    /// Lets time pass in steps short enough that members in `alive` stay in their group.
    async fn pass_alive(&self, ms: u64, alive: &[(&str, i32)]) {
        for _ in 0..ms.div_ceil(SESSION_MS / 2) {
            self.pass(SESSION_MS / 2);
            for (member, generation) in alive {
                self.heartbeat(member, *generation).await;
            }
        }
    }

    async fn topic(&self, name: &str, partitions: u32) -> Arc<Topic> {
        let spec = TopicSpec::new(name, partitions, TopicPolicy::default());
        let id = self.client.session.create_topic(spec).await.unwrap();
        self.client.session.catalog().topic_by_id(id).unwrap().clone()
    }

    /// Sends a request at a version, as bytes, and gives back what the answer's bytes say.
    async fn call<T: Api>(
        &self,
        version: i16,
        request: T,
        handler: impl AsyncFn(&Client, &RequestHeader, T) -> T::Response,
    ) -> T::Response {
        assert!(T::KEY.versions().contains(&version), "{} {version} is not served", T::KEY.name());
        let frame = encode_request(version, 7, Some("app"), &request).to_bytes();
        let mut from = Decoder::new(frame.slice(4..), 0, false);
        let mut header = RequestHeader::decode_start(&mut from).unwrap();
        header.decode_rest(T::KEY, &mut from).unwrap();
        let response = handler(&self.client, &header, decode_body(&mut from).unwrap()).await;
        let frame = encode_response(T::KEY, version, 7, &response).to_bytes();
        decode_response::<T>(version, frame.slice(4..)).unwrap().1
    }

    async fn join(&self, version: i16, request: JoinGroupRequest) -> JoinGroupResponse {
        self.call(version, request, super::join_group::handle).await
    }

    async fn sync(&self, version: i16, request: SyncGroupRequest) -> SyncGroupResponse {
        self.call(version, request, super::sync_group::handle).await
    }

    async fn heartbeat(&self, member: &str, generation: i32) -> i16 {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            group_instance_id: None,
        };
        self.call(4, request, super::heartbeat::handle).await.error_code
    }

    async fn commit(&self, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
        self.call(version, request, super::offset_commit::handle).await
    }

    async fn fetch(&self, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let handle = async |client: &Client, header: &RequestHeader, request| {
            super::offset_fetch::handle(client, header, request).await.response
        };
        self.call(version, request, handle).await
    }

    /// The only member of the group `g`, stable in its first generation.
    async fn alone(&self) -> String {
        let id = self.join(9, join_request()).await.member_id;
        let join = self.join(9, JoinGroupRequest { member_id: id.clone(), ..join_request() });
        let placed = self.after_round(join).await;
        assert_eq!((placed.error_code, placed.generation_id), (0, 1));
        let share = self.sync(5, sync_request(&id, 1, &[(&id, "all")])).await;
        assert_eq!(share.error_code, 0);
        id
    }

    /// Begins to wait for a first round, lets it pass, and gives back what came. Each member that arrives after the first
    /// puts the end off once.
    async fn after_round<T>(&self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it did not wait");
        self.pass(DELAY_MS);
        self.pass(DELAY_MS);
        waiting.await
    }
}

/// A dynamic consumer of the group `g` that has no id yet.
fn join_request() -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: SESSION_MS as i32,
        rebalance_timeout_ms: REBALANCE_MS as i32,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: "wants".into() }],
        ..Default::default()
    }
}

fn sync_request(member: &str, generation: i32, shares: &[(&str, &str)]) -> SyncGroupRequest {
    let share = |(member, share): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: bytes::Bytes::copy_from_slice(share.as_bytes()),
    };
    SyncGroupRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member.into(),
        group_instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: shares.iter().map(share).collect(),
    }
}

/// A commit of nobody in particular into the group `g`: (partition, offset, metadata) of one topic.
fn commit_request(topic: &Topic, places: &[(i32, i64, &str)]) -> OffsetCommitRequest {
    let partition = |&(index, offset, metadata): &(i32, i64, &str)| OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_leader_epoch: 3,
        committed_metadata: Some(metadata.into()),
    };
    OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.name.clone(),
            topic_id: topic.id.0,
            partitions: places.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

fn codes(response: &OffsetCommitResponse) -> Vec<i16> {
    response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

/// Forbids one action on one name.
struct Except(Action, &'static str);

impl Authorizer for Except {
    fn allows(&self, _: &Principal, action: Action, resource: &str) -> bool {
        (action, resource) != (self.0, self.1)
    }
}
