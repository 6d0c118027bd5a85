//! ElectLeaders: every partition has its leader, the only broker there is. Source: KIP-183, KIP-460.

use duolog_broker::{Action, Catalog};

use super::Client;
use super::lookup::{self, TopicRef};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopic, PartitionElectionResult,
    ReplicaElectionResult,
};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    if !client.session.may(Action::Manage, "*") {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return ElectLeadersResponse { error_code, ..Default::default() };
    }
    let catalog = client.session.catalog();
    // Of all partitions, those are answered that needed an election: none.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|topic| of_topic(&catalog, topic));
    ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
}

fn of_topic(catalog: &Catalog, asked: ElectLeadersTopic) -> ReplicaElectionResult {
    let found = TopicRef::Name(&asked.topic).find(catalog);
    let of_partition = |partition_id| {
        let (code, message) = match found.and_then(|topic| lookup::partition(topic, partition_id)) {
            Ok(_) => (ErrorCode::ElectionNotNeeded, "the partition has its leader"),
            Err(code) => (code, "no such partition"),
        };
        PartitionElectionResult {
            partition_id,
            error_code: code.code(),
            error_message: Some(message.to_owned()),
        }
    };
    let partition_result = asked.partitions.into_iter().map(of_partition).collect();
    ReplicaElectionResult { topic: asked.topic, partition_result }
}
