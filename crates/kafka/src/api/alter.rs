//! What both apis that change settings have in common: who may, one answer per resource.
//!
//! Invariant: a topic's settings are changed from what they are: if somebody else, by whatever door, was faster, they are read
//! anew. So changes of different settings do not undo each other. Each resource changes as a whole or not at all.

use std::sync::Arc;

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
type Begun = Option<Pending<Result<bool, ChangeError>>>;

/// Changes the settings of resources as `change` says; one answer for each, in order.
pub(super) async fn all<T>(
    client: &Client,
    asked: Vec<Asked<T>>,
    validate_only: bool,
    change: impl Fn(&Topic, &[T]) -> Result<(TopicPolicy, Labels), ConfigError>,
) -> Vec<AlterConfigsResourceResponse> {
    let twice = repeated(asked.iter().map(Asked::resource));
    let begin = |catalog: &Catalog, it: &Asked<T>| -> Result<Begun, Refused> {
        if twice.contains(&it.resource()) {
            return refused(ErrorCode::InvalidRequest, "the resource is named twice in the request");
        }
        let topic = find(client, catalog, it)?;
        let changed = change(topic, &it.changes);
        let (policy, labels) = changed.map_err(|error| (of_config(&error), error.to_string()))?;
        Ok((!validate_only).then(|| client.session.set_topic(topic, policy, labels)))
    };
    let mut outcomes: Vec<Option<Result<(), Refused>>> = asked.iter().map(|_| None).collect();
    while outcomes.iter().any(Option::is_none) {
        // All are asked for before the first is awaited: they share a commit.
        let begun: Vec<_> = {
            let catalog = client.session.catalog();
            let open = asked.iter().zip(&outcomes);
            open.map(|(it, outcome)| outcome.is_none().then(|| begin(&catalog, it))).collect()
        };
        for (outcome, begun) in outcomes.iter_mut().zip(begun) {
            if let Some(begun) = begun {
                *outcome = ended(begun).await;
            }
        }
    }
    asked.iter().zip(outcomes.into_iter().flatten()).map(|(asked, outcome)| answer(asked, outcome)).collect()
}

/// What became of a change; `None` if somebody else was faster, and it is to be begun anew.
async fn ended(begun: Result<Begun, Refused>) -> Option<Result<(), Refused>> {
    let Some(pending) = (match begun {
        Ok(pending) => pending,
        Err(refused) => return Some(Err(refused)),
    }) else {
        return Some(Ok(()));
    };
    match pending.await {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err((of_change(&error), error.to_string()))),
    }
}

impl<T> Asked<T> {
    /// Type and name, which identify it.
    fn resource(&self) -> (i8, &str) {
        (self.resource_type, &self.resource_name)
    }
}

/// The topic whose settings the client may change.
fn find<'a, T>(client: &Client, catalog: &'a Catalog, asked: &Asked<T>) -> Result<&'a Arc<Topic>, Refused> {
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

fn answer<T>(asked: &Asked<T>, changed: Result<(), Refused>) -> AlterConfigsResourceResponse {
    let (code, error_message) = match changed {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message)),
    };
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message,
        resource_type: asked.resource_type,
        resource_name: asked.resource_name.clone(),
    }
}
