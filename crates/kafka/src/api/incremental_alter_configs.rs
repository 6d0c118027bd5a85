//! IncrementalAlterConfigs: some settings of a resource changed, all of them or none. Source: KIP-339.

use super::Client;
use super::alter::{self, Asked};
use crate::codec::RequestHeader;
use crate::codec::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterConfigsResponse,
    IncrementalAlterableConfig,
};
use crate::topic_config::{Change, ConfigError, changed};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = |resource| {
        let IncrementalAlterConfigsResource { resource_type, resource_name, configs } = resource;
        Asked { resource_type, resource_name, changes: configs }
    };
    let asked = request.resources.into_iter().map(asked).collect();
    let responses = alter::all(client, asked, request.validate_only, |topic, configs| {
        let changes: Vec<_> = configs.iter().map(change).collect::<Result<_, _>>()?;
        changed(topic, &client.options, changes.into_iter())
    });
    IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: responses.await }
}

fn change(config: &IncrementalAlterableConfig) -> Result<(&str, Change<'_>), ConfigError> {
    let name = config.name.as_str();
    Ok((name, Change::of_wire(name, config.config_operation, config.value.as_deref())?))
}
