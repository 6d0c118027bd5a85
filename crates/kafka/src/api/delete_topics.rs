//! DeleteTopics, by name and by id. Source: KIP-4, KIP-516, KIP-599.

use duolog_broker::errors::ChangeError;
use duolog_broker::{Action, Catalog, Pending};

use super::Client;
use super::lookup::TopicRef;
use crate::ErrorCode;
use crate::codec::RequestHeader;
use crate::codec::messages::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::error::of_change;

type Begun = Result<Pending<Result<(), ChangeError>>, (ErrorCode, String)>;

pub(super) async fn handle(
    client: &Client,
    header: &RequestHeader,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if header.api_version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: 0 };
        request.topic_names.into_iter().map(by_name).collect()
    };
    // All are asked for before the first is awaited: they share a commit.
    let begun: Vec<(DeletableTopicResult, Begun)> = {
        let catalog = client.session.catalog();
        asked.into_iter().map(|topic| begin(client, &catalog, topic)).collect()
    };
    let mut responses = Vec::with_capacity(begun.len());
    for (mut result, begun) in begun {
        let deleted = match begun {
            Ok(pending) => pending.await.map_err(|error| (of_change(&error), error.to_string())),
            Err(refused) => Err(refused),
        };
        if let Err((code, message)) = deleted {
            result.error_code = code.code();
            result.error_message = Some(message);
        }
        responses.push(result);
    }
    DeleteTopicsResponse { throttle_time_ms: 0, responses }
}

fn begin(client: &Client, catalog: &Catalog, asked: DeleteTopicState) -> (DeletableTopicResult, Begun) {
    let mut result =
        DeletableTopicResult { name: asked.name, topic_id: asked.topic_id, ..Default::default() };
    let found = match &result.name {
        Some(name) => TopicRef::Name(name).find(catalog),
        None => TopicRef::Id(asked.topic_id).find(catalog),
    };
    let topic = match found {
        Ok(topic) => topic,
        Err(code) => return (result, Err((code, "no such topic".to_owned()))),
    };
    if !client.session.may(Action::Manage, &topic.name) {
        // Who asks by id and may not is not told the name.
        let refused = (ErrorCode::TopicAuthorizationFailed, "not allowed to delete this topic".to_owned());
        return (result, Err(refused));
    }
    result.topic_id = topic.id.0;
    result.name.get_or_insert_with(|| topic.name.clone());
    (result, Ok(client.session.delete_topic(topic.id)))
}
