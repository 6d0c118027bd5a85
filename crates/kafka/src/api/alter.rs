//! What both apis that change settings have in common: who may, one change of a topic at a time, one answer per resource.
//!
//! Invariant: a topic's settings are read, changed and written by one request at a time, so that two clients that change
//! different settings do not undo each other. Each resource changes as a whole or not at all.

use duolog_broker::errors::ChangeError;
use duolog_broker::{Action, Catalog, Labels, Pending, Topic, TopicPolicy};

use super::lookup::{is_topic_name, topic_named};
use super::refused::{Refused, refused};
use super::repeated::repeated;
use super::{Client, configs};
use crate::ErrorCode;
use crate::codec::messages::AlterConfigsResourceResponse;
use crate::error::{of_change, of_config};
use crate::topic_config::ConfigError;

/// A resource, and what is asked for.
pub(super) struct Asked<T> {
    pub resource_type: i8,
    pub resource_name: String,
    pub changes: Vec<T>,
}

/// A change that was asked for; `None` was only to be checked.
type Begun = Option<Pending<Result<(), ChangeError>>>;

/// Changes the settings of resources as `change` says; one answer for each, in order.
pub(super) async fn all<T>(
    client: &Client,
    asked: Vec<Asked<T>>,
    validate_only: bool,
    change: impl Fn(&Topic, &[T]) -> Result<(TopicPolicy, Labels), ConfigError>,
) -> Vec<AlterConfigsResourceResponse> {
    // Held until all is durable, and so in the catalog that the next one reads. Never closed.
    let _turn = client.changing.acquire().await;
    let begun: Vec<Result<Begun, Refused>> = {
        let catalog = client.session.catalog();
        let twice = repeated(asked.iter().map(Asked::resource));
        let begin = |it: &Asked<T>| {
            if twice.contains(&it.resource()) {
                return refused(ErrorCode::InvalidRequest, "the resource is named twice in the request");
            }
            let topic = find(client, &catalog, it)?;
            let changed = change(topic, &it.changes);
            let (policy, labels) = changed.map_err(|error| (of_config(&error), error.to_string()))?;
            Ok((!validate_only).then(|| client.session.set_topic(topic.id, policy, labels)))
        };
        asked.iter().map(begin).collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for (asked, begun) in asked.into_iter().zip(begun) {
        let changed = match begun {
            Ok(Some(pending)) => pending.await.map_err(|error| (of_change(&error), error.to_string())),
            Ok(None) => Ok(()),
            Err(refused) => Err(refused),
        };
        responses.push(answer(asked, changed));
    }
    responses
}

impl<T> Asked<T> {
    /// Type and name, which identify it.
    fn resource(&self) -> (i8, &str) {
        (self.resource_type, &self.resource_name)
    }
}

/// The topic whose settings the client may change.
fn find<'a, T>(client: &Client, catalog: &'a Catalog, asked: &Asked<T>) -> Result<&'a Topic, Refused> {
    let name = &asked.resource_name;
    match asked.resource_type {
        configs::TOPIC => {}
        configs::BROKER => {
            return refused(
                ErrorCode::InvalidRequest,
                "the broker's settings are read-only here: they are set in its configuration, with a restart",
            );
        }
        other => {
            return refused(
                ErrorCode::InvalidRequest,
                format!("resources of type {other} have no settings here; topics (2) have"),
            );
        }
    }
    if !is_topic_name(name) {
        return refused(ErrorCode::InvalidTopic, format!("{name:?} is not a topic's name"));
    }
    if !client.session.may(Action::Manage, name) {
        return refused(ErrorCode::TopicAuthorizationFailed, "not allowed to change this topic");
    }
    match topic_named(catalog, name) {
        Some(topic) => Ok(topic),
        None => refused(ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist")),
    }
}

fn answer<T>(asked: Asked<T>, changed: Result<(), Refused>) -> AlterConfigsResourceResponse {
    let (code, error_message) = match changed {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message)),
    };
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message,
        resource_type: asked.resource_type,
        resource_name: asked.resource_name,
    }
}
