//! ListConfigResources: what has settings, the topics and the broker. Source: KIP-1142.

use duolog_broker::Action;

use super::{Client, configs, lookup};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse, ListedConfigResource};

/// Loggers of the broker, client metrics and groups are known and have no settings here.
/// Source: Kafka `ConfigResource.Type`.
const WITHOUT_ANY: [i8; 3] = [8, 16, 32];

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    if !client.session.may(Action::Describe, "*") {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let asked = request.resource_types;
    let is_known = |kind: &i8| [configs::TOPIC, configs::BROKER].contains(kind) || WITHOUT_ANY.contains(kind);
    if !asked.iter().all(is_known) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    // The first version lists client metrics only.
    let is_wanted = |kind| header.api_version > 0 && (asked.is_empty() || asked.contains(&kind));
    let listed = |resource_type, resource_name| ListedConfigResource { resource_name, resource_type };
    let mut config_resources = Vec::new();
    if is_wanted(configs::TOPIC) {
        let catalog = client.session.catalog();
        let topics = lookup::topics(&catalog).map(|topic| listed(configs::TOPIC, topic.name.clone()));
        config_resources.extend(topics);
    }
    if is_wanted(configs::BROKER) {
        config_resources.push(listed(configs::BROKER, client.options.node_id.to_string()));
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}
