//! Holds every message at every version against another implementation, byte for byte.
//!
//! `Sample` fills a message with values that fit its version (the `message!` macro derives it for tests). What we write,
//! the other must read to the end and write as the same bytes; and we must read it back as it was.

#![allow(clippy::unwrap_used)]

use bytes::{Buf, Bytes};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, VersionRange};

use super::messages as ours;
use super::{Api, ApiKey, Decoder, Encoder, Nullable, RecordParts, RequestHeader, StampedBody, Wire};

/// Well-mixed numbers, the same each time.
pub(crate) struct Source(u64);

impl Source {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A value that fits a version.
pub(crate) trait Sample: Sized {
    fn sample(from: &mut Source, version: i16) -> Self;

    /// The same where null cannot be.
    fn present(from: &mut Source, version: i16) -> Self {
        Self::sample(from, version)
    }
}

macro_rules! integers {
    ($($kind:ty)*) => {$(
        impl Sample for $kind {
            fn sample(from: &mut Source, _: i16) -> Self {
                match from.below(4) {
                    0 => -1,
                    1 => <$kind>::MAX,
                    _ => from.next() as $kind,
                }
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 }

impl Sample for u128 {
    fn sample(from: &mut Source, _: i16) -> Self {
        (u128::from(from.next()) << 64) | u128::from(from.next())
    }
}

impl Sample for bool {
    fn sample(from: &mut Source, _: i16) -> Self {
        from.below(2) == 1
    }
}

impl Sample for String {
    fn sample(from: &mut Source, _: i16) -> Self {
        // Around the length at which a compact length takes a second byte.
        let length = [0, 1, 5, 126, 127, 128, 300][from.below(7) as usize];
        (0..length).map(|_| char::from(b'a' + from.below(26) as u8)).collect()
    }
}

impl Sample for Bytes {
    fn sample(from: &mut Source, _: i16) -> Self {
        let length = [0, 1, 16, 200, 5000][from.below(5) as usize];
        (0..length).map(|_| from.next() as u8).collect()
    }
}

impl Sample for f64 {
    fn sample(from: &mut Source, _: i16) -> Self {
        from.next() as Self / 8.0
    }
}

impl<T: Sample> Sample for Nullable<T> {
    fn sample(from: &mut Source, version: i16) -> Self {
        Self((from.below(3) > 0).then(|| T::sample(from, version)))
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(from: &mut Source, version: i16) -> Self {
        (from.below(3) > 0).then(|| T::sample(from, version))
    }

    fn present(from: &mut Source, version: i16) -> Self {
        Some(T::sample(from, version))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(from: &mut Source, version: i16) -> Self {
        (0..from.below(4)).map(|_| T::sample(from, version)).collect()
    }
}

impl Sample for RecordParts {
    fn sample(from: &mut Source, version: i16) -> Self {
        if from.below(3) == 0 {
            return Self::default();
        }
        let body = Bytes::sample(from, version);
        Self(vec![StampedBody { prefix: [from.next() as u8; duolog_record::PREFIX_BYTES], body }])
    }
}

fn encode<T: Wire>(value: &T, version: i16, flexible: bool) -> Bytes {
    let mut to = Encoder::new(version, flexible);
    value.encode(&mut to);
    to.finish().to_bytes().slice(4..)
}

/// Compares one message at all versions that both sides know; gives those that only we know.
fn compare<O, T>(api: ApiKey) -> Vec<i16>
where
    O: Wire + Sample + PartialEq + std::fmt::Debug,
    T: Encodable + Decodable + Message,
{
    let VersionRange { min, max } = T::VERSIONS;
    let mut unknown = Vec::new();
    for version in api.versions() {
        for seed in 0..200 {
            let value = O::sample(&mut Source::new(seed), version);
            let bytes = encode(&value, version, api.is_flexible(version));
            let place = format!("{} v{version} seed {seed}", api.name());
            let mut from = Decoder::new(bytes.clone(), version, api.is_flexible(version));
            let back = O::decode(&mut from);
            assert_eq!(back.as_ref(), Ok(&value), "{place}");
            assert_eq!(from.finish(), Ok(()), "{place}");
            if !(min..=max).contains(&version) {
                continue;
            }
            let mut rest = bytes.clone();
            let read = T::decode(&mut rest, version);
            let read = read.unwrap_or_else(|error| panic!("{place}: {error}: {value:?}"));
            assert_eq!(rest.remaining(), 0, "{place}: bytes are left");
            let mut written = bytes::BytesMut::new();
            read.encode(&mut written, version).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(written, bytes, "{place}: {value:?}");
        }
        if !(min..=max).contains(&version) {
            unknown.push(version);
        }
    }
    unknown
}

macro_rules! compare_all {
    ($($api:ident $request:ident $response:ident $only_ours:expr;)*) => {$(
        #[allow(non_snake_case)]
        mod $api {
            use super::*;

            #[test]
            fn request_is_the_same_in_another_implementation() {
                let unknown = compare::<ours::$request, theirs::$request>(ApiKey::$api);
                assert_eq!(unknown, $only_ours);
            }

            #[test]
            fn response_is_the_same_in_another_implementation() {
                let unknown = compare::<ours::$response, theirs::$response>(ApiKey::$api);
                // The other may know the response of a version whose request it does not know.
                assert!(unknown.iter().all(|version| $only_ours.contains(version)), "{unknown:?}");
            }

            #[test]
            fn headers_are_the_same_in_another_implementation() {
                for version in ApiKey::$api.versions() {
                    if $only_ours.contains(&version) {
                        continue;
                    }
                    compare_headers::<ours::$request>(
                        version,
                        <theirs::$request as HeaderVersion>::header_version(version),
                        <theirs::$response as HeaderVersion>::header_version(version),
                    );
                }
            }
        }
    )*};
}

const NONE: [i16; 0] = [];

compare_all! {
    Produce ProduceRequest ProduceResponse [0, 1, 2];
    Fetch FetchRequest FetchResponse NONE;
    ListOffsets ListOffsetsRequest ListOffsetsResponse [11];
    Metadata MetadataRequest MetadataResponse NONE;
    OffsetCommit OffsetCommitRequest OffsetCommitResponse [10];
    OffsetFetch OffsetFetchRequest OffsetFetchResponse [10];
    FindCoordinator FindCoordinatorRequest FindCoordinatorResponse NONE;
    JoinGroup JoinGroupRequest JoinGroupResponse NONE;
    Heartbeat HeartbeatRequest HeartbeatResponse NONE;
    LeaveGroup LeaveGroupRequest LeaveGroupResponse NONE;
    SyncGroup SyncGroupRequest SyncGroupResponse NONE;
    DescribeGroups DescribeGroupsRequest DescribeGroupsResponse NONE;
    ListGroups ListGroupsRequest ListGroupsResponse NONE;
    ApiVersions ApiVersionsRequest ApiVersionsResponse NONE;
    CreateTopics CreateTopicsRequest CreateTopicsResponse NONE;
    DeleteTopics DeleteTopicsRequest DeleteTopicsResponse NONE;
    DeleteRecords DeleteRecordsRequest DeleteRecordsResponse NONE;
    InitProducerId InitProducerIdRequest InitProducerIdResponse NONE;
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse NONE;
    DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse NONE;
    AlterConfigs AlterConfigsRequest AlterConfigsResponse NONE;
    DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse NONE;
    CreatePartitions CreatePartitionsRequest CreatePartitionsResponse NONE;
    DeleteGroups DeleteGroupsRequest DeleteGroupsResponse NONE;
    ElectLeaders ElectLeadersRequest ElectLeadersResponse NONE;
    IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse NONE;
    ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse NONE;
    OffsetDelete OffsetDeleteRequest OffsetDeleteResponse NONE;
    DescribeClientQuotas DescribeClientQuotasRequest DescribeClientQuotasResponse NONE;
    AlterClientQuotas AlterClientQuotasRequest AlterClientQuotasResponse NONE;
    DescribeCluster DescribeClusterRequest DescribeClusterResponse NONE;
    DescribeProducers DescribeProducersRequest DescribeProducersResponse NONE;
    ListConfigResources ListConfigResourcesRequest ListConfigResourcesResponse NONE;
    DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse NONE;
}

/// The headers around a default request and its default response.
fn compare_headers<O>(version: i16, request_header: i16, response_header: i16)
where
    O: Api + Default,
    O::Response: Default,
{
    let frame = super::encode_request(version, 77, Some("a client"), &O::default()).to_bytes();
    assert_eq!(frame.len() - 4, u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
    let mut theirs = frame.slice(4..);
    let header = theirs::RequestHeader::decode(&mut theirs, request_header).unwrap();
    assert_eq!(
        (header.request_api_key, header.request_api_version, header.correlation_id),
        (O::KEY as i16, version, 77)
    );
    assert_eq!(header.client_id.as_deref(), Some("a client"));

    let mut from = Decoder::new(frame.slice(4..), 0, false);
    let mut header = RequestHeader::decode_start(&mut from).unwrap();
    header.decode_rest(O::KEY, &mut from).unwrap();
    assert_eq!(from.left(), theirs.remaining(), "{} v{version}: the body begins elsewhere", O::KEY.name());

    let frame = super::encode_response(O::KEY, version, 78, &O::Response::default()).to_bytes();
    let mut rest = frame.slice(4..);
    let header = theirs::ResponseHeader::decode(&mut rest, response_header).unwrap();
    assert_eq!(header.correlation_id, 78);
    let (correlation_id, _) = super::decode_response::<O>(version, frame.slice(4..)).unwrap();
    assert_eq!(correlation_id, 78);
}
