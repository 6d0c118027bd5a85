//! One module per api: takes a decoded request, asks the broker, gives the response.
//!
//! A handler has the shape `async fn handle(client: &Client, header: &RequestHeader, request: X) -> XResponse`. Adding
//! an api: its messages in `codec/messages`, its row in `codec/api.rs`, a module here, a line in `begin`.

mod alter;
mod alter_client_quotas;
mod alter_configs;
mod api_versions;
mod broker_configs;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod lookup;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod refused;
mod repeated;
mod sync_group;

#[cfg(test)]
mod group_tests;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::Session;
use duolog_net::{Budget, Reservation, Shutdown};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::KafkaOptions;
use crate::catch_up::CatchUp;
use crate::codec::{ApiKey, DecodeError, Decoder, Frame, RequestHeader, decode_body, encode_response};
use crate::group::Groups;

/// What a handler knows of the connection that asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    /// The broker's verbs, as the principal of the connection.
    pub session: Session,
    /// The consumer groups.
    pub groups: Arc<Groups>,
    /// Settings.
    pub options: Arc<KafkaOptions>,
    /// To reserve from what an answer holds.
    pub budget: Budget,
    /// One fetch of a connection at a time, until its answer is sent: what a client that does not read can hold.
    pub fetching: Arc<Semaphore>,
    /// The fetch session of the connection.
    pub fetch_session: Arc<Mutex<fetch::FetchSlot>>,
    /// Room for the partitions of all fetch sessions, of all connections.
    pub fetch_room: Arc<Semaphore>,
    /// What consumers that are far behind share, of all connections.
    pub catch_up: Arc<CatchUp>,
    /// What may wait for long ends early when it begins.
    pub shutdown: Shutdown,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client reached.
    pub local: SocketAddr,
}

impl Client {
    /// Host and port that clients are told to connect to.
    pub fn advertised(&self) -> (String, i32) {
        match &self.options.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.local.ip().to_string(), i32::from(self.local.port())),
        }
    }
}

/// What becomes of a request.
pub(crate) enum Reply {
    /// A response, and what it holds until it is sent.
    Frame(Frame, Held),
    /// The client wants no response.
    Silent,
    /// The client wants no response, and has to learn that it failed: only the end of the connection can say so.
    Close,
}

/// What a response holds until it is sent.
#[derive(Default)]
pub(crate) struct Held {
    /// Memory of its bodies.
    memory: Reservation,
    /// Its turn among the fetches of the connection.
    _turn: Option<OwnedSemaphorePermit>,
    /// Memory was reserved for it by whoever made it.
    is_paid: bool,
}

impl Reply {
    /// Bytes that it keeps until it is sent and nobody has reserved.
    pub(crate) fn unpaid_bytes(&self) -> usize {
        match self {
            Self::Frame(frame, held) if !held.is_paid => frame.bytes,
            Self::Frame(..) | Self::Silent | Self::Close => 0,
        }
    }

    /// The reply with memory that was reserved for it.
    pub(crate) fn paid(self, memory: Reservation) -> Self {
        match self {
            Self::Frame(frame, mut held) => {
                held.memory.merge(memory);
                held.is_paid = true;
                Self::Frame(frame, held)
            }
            other @ (Self::Silent | Self::Close) => other,
        }
    }
}

impl From<Reservation> for Held {
    fn from(memory: Reservation) -> Self {
        Self { memory, _turn: None, is_paid: true }
    }
}

/// A reply on its way.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Why a request ends its connection, as it does in Kafka: there is no response that the client could read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not an api of ours, or not at this version.
    #[error("api {key} at version {version} is not supported")]
    Unsupported {
        /// As sent.
        key: i16,
        /// As sent.
        version: i16,
    },
    /// Bytes that are no header.
    #[error("a request without a header: {0}")]
    Header(DecodeError),
    /// Bytes that are not what the header says.
    #[error("{api} version {version}: {error}")]
    Body {
        /// The api's name.
        api: &'static str,
        /// Its version.
        version: i16,
        /// What is wrong.
        error: DecodeError,
    },
}

/// The table of apis: each decodes its request, awaits its handler and encodes the response.
macro_rules! handlers {
    ($($api:ident => $module:ident;)*) => {
        fn handler(
            client: Client,
            header: RequestHeader,
            api: ApiKey,
            body: &mut Decoder,
            reserved: Reservation,
        ) -> Result<Answer, DecodeError> {
            match api {
                $(ApiKey::$api => {
                    let request = decode_body(body)?;
                    Ok(Box::pin(async move {
                        let response = $module::handle(&client, &header, request).await;
                        // The request's payload has been stored or dropped.
                        drop(reserved);
                        response.into_reply(api, &header)
                    }))
                })*
            }
        }
    };
}

handlers! {
    Produce => produce;
    Fetch => fetch;
    ListOffsets => list_offsets;
    Metadata => metadata;
    OffsetCommit => offset_commit;
    OffsetFetch => offset_fetch;
    FindCoordinator => find_coordinator;
    JoinGroup => join_group;
    Heartbeat => heartbeat;
    LeaveGroup => leave_group;
    SyncGroup => sync_group;
    DescribeGroups => describe_groups;
    ListGroups => list_groups;
    ApiVersions => api_versions;
    CreateTopics => create_topics;
    DeleteTopics => delete_topics;
    DeleteRecords => delete_records;
    InitProducerId => init_producer_id;
    OffsetForLeaderEpoch => offset_for_leader_epoch;
    DescribeConfigs => describe_configs;
    AlterConfigs => alter_configs;
    DescribeLogDirs => describe_log_dirs;
    CreatePartitions => create_partitions;
    DeleteGroups => delete_groups;
    ElectLeaders => elect_leaders;
    IncrementalAlterConfigs => incremental_alter_configs;
    ListPartitionReassignments => list_partition_reassignments;
    OffsetDelete => offset_delete;
    DescribeClientQuotas => describe_client_quotas;
    AlterClientQuotas => alter_client_quotas;
    DescribeCluster => describe_cluster;
    DescribeProducers => describe_producers;
    ListConfigResources => list_config_resources;
    DescribeTopicPartitions => describe_topic_partitions;
}

/// What a handler gives: a response, mostly.
trait IntoReply {
    fn into_reply(self, api: ApiKey, header: &RequestHeader) -> Reply;
}

impl<T: crate::codec::Wire> IntoReply for T {
    fn into_reply(self, api: ApiKey, header: &RequestHeader) -> Reply {
        let frame = encode_response(api, header.api_version, header.correlation_id, &self);
        Reply::Frame(frame, Held::default())
    }
}

/// Decodes a request and sets out to serve it; nothing happens until the answer is polled.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn begin(client: &Client, request: Bytes, reserved: Reservation) -> Result<Answer, Refusal> {
    let mut from = Decoder::new(request, 0, false);
    let mut header = RequestHeader::decode_start(&mut from).map_err(Refusal::Header)?;
    let (key, version) = (header.api_key, header.api_version);
    let api = ApiKey::of(key).ok_or(Refusal::Unsupported { key, version })?;
    if !api.versions().contains(&version) {
        if api == ApiKey::ApiVersions {
            let reply = api_versions::unsupported(header.correlation_id);
            return Ok(Box::pin(std::future::ready(reply)));
        }
        return Err(Refusal::Unsupported { key, version });
    }
    header.decode_rest(api, &mut from).map_err(Refusal::Header)?;
    handler(client.clone(), header, api, &mut from, reserved).map_err(|error| Refusal::Body {
        api: api.name(),
        version,
        error,
    })
}

/// Does what may block on a thread that is there for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: nobody waits for the answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}
