//! AlterConfigs: the settings of a resource replaced; what is not named follows the default again. Source: KIP-133.

use super::Client;
use super::alter::{self, Asked};
use crate::codec::RequestHeader;
use crate::codec::messages::{AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse};
use crate::topic_config::replaced;

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let asked = |resource| {
        let AlterConfigsResource { resource_type, resource_name, configs } = resource;
        Asked { resource_type, resource_name, changes: configs }
    };
    let asked = request.resources.into_iter().map(asked).collect();
    let responses = alter::all(client, asked, request.validate_only, |topic, configs| {
        let set = configs.iter().map(|config| (config.name.as_str(), config.value.as_deref()));
        replaced(topic, &client.options, set)
    });
    AlterConfigsResponse { throttle_time_ms: 0, responses: responses.await }
}
