//! DescribeConfigs: settings of topics and of the broker. Source: KIP-133, KIP-226, KIP-569.

use duolog_broker::Action;

use super::configs::{self, Config, ConfigSource};
use super::lookup::{is_topic_name, topic_named};
use super::{Client, broker_configs};
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

/// Types of resources. Source: Kafka `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

type Refused = (ErrorCode, String);

pub(super) async fn handle(
    client: &Client,
    _: &RequestHeader,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let show = Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.into_iter().map(|resource| {
        let described = match resource.resource_type {
            TOPIC => of_topic(client, &resource, show),
            BROKER => of_broker(client, &resource, show),
            other => Err((ErrorCode::InvalidRequest, format!("resources of type {other} have no settings"))),
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
        return Err((ErrorCode::InvalidTopic, format!("{name:?} is not a topic's name")));
    }
    if !client.session.may(Action::Describe, name) {
        return Err((ErrorCode::TopicAuthorizationFailed, "not allowed to describe this topic".to_owned()));
    }
    let catalog = client.session.catalog();
    let topic = topic_named(&catalog, name)
        .ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist")))?;
    let wanted = configs::of_topic(topic, &client.options).filter(|config| is_wanted(resource, config.name));
    Ok(wanted.map(|config| result(config, show)).collect())
}

fn result(config: Config, show: Show) -> DescribeConfigsResourceResult {
    let mut synonyms = Vec::new();
    if show.synonyms {
        let synonym = |value, source: ConfigSource| DescribeConfigsSynonym {
            name: config.name.to_owned(),
            value,
            source: source as i8,
        };
        if config.source == ConfigSource::Topic {
            synonyms.push(synonym(config.value.clone(), ConfigSource::Topic));
        }
        synonyms.push(synonym(config.default, ConfigSource::Default));
    }
    DescribeConfigsResourceResult {
        name: config.name.to_owned(),
        value: config.value,
        read_only: false,
        config_source: config.source as i8,
        is_sensitive: false,
        synonyms,
        config_type: config.setting.kind as i8,
        documentation: show.documentation.then(|| config.setting.documentation.to_owned()),
    }
}

fn of_broker(
    client: &Client,
    resource: &DescribeConfigsResource,
    show: Show,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let name = &resource.resource_name;
    // Empty is the default of all brokers.
    if !name.is_empty() && *name != client.options.node_id.to_string() {
        return Err((ErrorCode::InvalidRequest, format!("there is no broker {name:?}")));
    }
    if !client.session.may(Action::Describe, "*") {
        return Err((
            ErrorCode::ClusterAuthorizationFailed,
            "not allowed to describe the cluster".to_owned(),
        ));
    }
    let all = broker_configs::of(&client.options).into_iter();
    let wanted = all.filter(|(name, ..)| is_wanted(resource, name));
    let shown = wanted.map(|(name, kind, value)| DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: Some(value),
        // They are set in the broker's own configuration.
        read_only: true,
        config_source: ConfigSource::Static as i8,
        is_sensitive: false,
        synonyms: Vec::new(),
        config_type: kind as i8,
        documentation: show.documentation.then(String::new),
    });
    Ok(shown.collect())
}
