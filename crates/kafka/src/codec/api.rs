//! Every api the broker knows: its key, its versions, its messages.
//!
//! The windows are those of one release, 4.2, because clients infer "the broker's version" from single keys.
//! Source: Kafka protocol guide, "Api keys"; KIP-896 (removed versions); KAFKA-18659 (Produce stays at 0).

use std::ops::RangeInclusive;

use super::Wire;
use super::messages::*;

/// A request type and its response type.
pub trait Api: Wire {
    /// The key.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Wire;
}

macro_rules! apis {
    ($($name:ident = $key:literal, $versions:expr, flexible $flexible:literal, $request:ident => $response:ident;)*) => {
        /// An api that is advertised.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// Every api, by rising key.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The api of a key, if it is one of ours.
            #[must_use]
            pub fn of(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Versions that are advertised and served.
            #[must_use]
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$name => $versions,)*
                }
            }

            /// True if this version has compact lengths and tagged fields.
            #[must_use]
            pub fn is_flexible(self, version: i16) -> bool {
                let from: i16 = match self {
                    $(Self::$name => $flexible,)*
                };
                version >= from
            }

            /// The name in logs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }

        $(
            impl Api for $request {
                const KEY: ApiKey = ApiKey::$name;
                type Response = $response;
            }
        )*
    };
}

apis! {
    Produce = 0, 0..=13, flexible 9, ProduceRequest => ProduceResponse;
    Fetch = 1, 4..=18, flexible 12, FetchRequest => FetchResponse;
    ListOffsets = 2, 1..=11, flexible 6, ListOffsetsRequest => ListOffsetsResponse;
    Metadata = 3, 0..=13, flexible 9, MetadataRequest => MetadataResponse;
    OffsetCommit = 8, 2..=10, flexible 8, OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch = 9, 1..=10, flexible 6, OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator = 10, 0..=6, flexible 3, FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup = 11, 0..=9, flexible 6, JoinGroupRequest => JoinGroupResponse;
    Heartbeat = 12, 0..=4, flexible 4, HeartbeatRequest => HeartbeatResponse;
    LeaveGroup = 13, 0..=5, flexible 4, LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup = 14, 0..=5, flexible 4, SyncGroupRequest => SyncGroupResponse;
    DescribeGroups = 15, 0..=6, flexible 5, DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups = 16, 0..=5, flexible 3, ListGroupsRequest => ListGroupsResponse;
    ApiVersions = 18, 0..=4, flexible 3, ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics = 19, 2..=7, flexible 5, CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics = 20, 1..=6, flexible 4, DeleteTopicsRequest => DeleteTopicsResponse;
    DeleteRecords = 21, 0..=2, flexible 2, DeleteRecordsRequest => DeleteRecordsResponse;
    InitProducerId = 22, 0..=5, flexible 2, InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4, OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DescribeConfigs = 32, 1..=4, flexible 4, DescribeConfigsRequest => DescribeConfigsResponse;
    AlterConfigs = 33, 0..=2, flexible 2, AlterConfigsRequest => AlterConfigsResponse;
    DescribeLogDirs = 35, 1..=4, flexible 2, DescribeLogDirsRequest => DescribeLogDirsResponse;
    CreatePartitions = 37, 0..=3, flexible 2, CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups = 42, 0..=2, flexible 2, DeleteGroupsRequest => DeleteGroupsResponse;
    ElectLeaders = 43, 0..=2, flexible 2, ElectLeadersRequest => ElectLeadersResponse;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    ListPartitionReassignments = 46, 0..=0, flexible 0,
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse;
    OffsetDelete = 47, 0..=0, flexible 1, OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeClientQuotas = 48, 0..=1, flexible 1, DescribeClientQuotasRequest => DescribeClientQuotasResponse;
    AlterClientQuotas = 49, 0..=1, flexible 1, AlterClientQuotasRequest => AlterClientQuotasResponse;
    DescribeCluster = 60, 0..=2, flexible 0, DescribeClusterRequest => DescribeClusterResponse;
    DescribeProducers = 61, 0..=0, flexible 0, DescribeProducersRequest => DescribeProducersResponse;
    ListConfigResources = 74, 0..=1, flexible 0, ListConfigResourcesRequest => ListConfigResourcesResponse;
    DescribeTopicPartitions = 75, 0..=0, flexible 0,
        DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse;
}
