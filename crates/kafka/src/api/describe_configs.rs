//! DescribeConfigs: settings of topics and of the broker. Source: KIP-133, KIP-226, KIP-569.

use duolog_broker::Action;

use super::configs::{self, Config};
use super::lookup::{is_topic_name, topic_named};
use super::refused::{Refused, refused};
use super::{Client, broker_configs};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let show = Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.into_iter().map(|resource| {
        let described = match resource.resource_type {
            configs::TOPIC => of_topic(client, &resource, show),
            configs::BROKER => of_broker(client, &resource, show),
            other => refused(
                ErrorCode::InvalidRequest,
                format!("resources of type {other} have no settings here; topics (2) and brokers (4) have"),
            ),
        };
        let (error_code, error_message, configs) = match described {
            Ok(configs) => (0, None, configs),
            Err((code, message)) => (code.code(), Some(message), Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() }
}

/// What the client wants beside values.
#[derive(Clone, Copy)]
struct Show {
    synonyms: bool,
    documentation: bool,
}

/// Only settings that were asked for; null asks for all.
fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == name))
}

fn of_topic(
    client: &Client,
    resource: &DescribeConfigsResource,
    show: Show,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &resource.resource_name;
    if !is_topic_name(name) {
        return refused(ErrorCode::InvalidTopic, format!("{name:?} is not a topic's name"));
    }
    if !client.session.may(Action::Describe, name) {
        return refused(ErrorCode::TopicAuthorizationFailed, "not allowed to describe this topic");
    }
    let catalog = client.session.catalog();
    let Some(topic) = topic_named(&catalog, name) else {
        return refused(ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist"));
    };
    let wanted = configs::of_topic(topic, &client.options).filter(|config| is_wanted(resource, config.name));
    Ok(wanted.map(|config| result(config, show)).collect())
}

fn of_broker(
    client: &Client,
    resource: &DescribeConfigsResource,
    show: Show,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &resource.resource_name;
    // Empty is the default of all brokers.
    if !name.is_empty() && *name != client.options.node_id.to_string() {
        return refused(ErrorCode::InvalidRequest, format!("there is no broker {name:?}"));
    }
    if !client.session.may(Action::Describe, "*") {
        return refused(ErrorCode::ClusterAuthorizationFailed, "not allowed to describe the cluster");
    }
    let wanted = broker_configs::of(&client.options).filter(|config| is_wanted(resource, config.name));
    Ok(wanted.map(|config| result(config, show)).collect())
}

fn result(config: Config, show: Show) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: config.name.to_owned(),
        value: config.value().map(str::to_owned),
        read_only: config.is_read_only,
        config_source: config.source() as i8,
        is_sensitive: false,
        config_type: config.kind as i8,
        documentation: show.documentation.then(|| config.documentation.to_owned()),
        synonyms: if show.synonyms { synonyms(config) } else { Vec::new() },
    }
}

fn synonyms(config: Config) -> Vec<DescribeConfigsSynonym> {
    let of_wire = config.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: synonym.value,
        source: synonym.source as i8,
    });
    of_wire.collect()
}
