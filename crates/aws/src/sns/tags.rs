//! TagResource, UntagResource, ListTagsForResource: labels of the exchange.

use duolog_broker::Labels;

use super::{Answer, Call, Params, SnsCode, SnsError};
use crate::codec::rules;
use crate::limits::TAGS;

/// Prefix of labels that are tags.
const PREFIX: &str = "aws.tag.";

/// All tags.
pub(super) fn all(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
}

/// Adds the tags of a request.
pub(super) fn add(labels: &mut Labels, params: Params<'_>) -> Result<(), SnsError> {
    let mut seen = Vec::new();
    for tag in params.members("Tags") {
        let (key, value) = (tag.required("Key")?, tag.get("Value").unwrap_or(""));
        if !rules::is_tag_key(key) || !rules::is_tag_value(value) {
            let reason = "A key has 1 to 128 and a value at most 256 letters, digits, spaces or any of _ . : / = + - @";
            return Err(SnsError::invalid_because("Tags", reason));
        }
        if seen.contains(&key) {
            return Err(SnsError::invalid("Invalid parameter: Duplicated keys are not allowed."));
        }
        seen.push(key);
        labels.insert(format!("{PREFIX}{key}"), value.to_owned());
    }
    match all(labels).count() > TAGS {
        true => Err(SnsError::new(
            SnsCode::TagLimitExceeded,
            format!("Could not complete request: tag quota of per resource exceeded ({TAGS})"),
        )),
        false => Ok(()),
    }
}

/// A topic that is missing has another code here than elsewhere.
fn missing(error: SnsError) -> SnsError {
    match error == SnsError::no_topic() {
        true => SnsError::new(SnsCode::ResourceNotFound, "Resource does not exist"),
        false => error,
    }
}

pub(super) async fn tag(call: &Call<'_>) -> Answer {
    if call.params.members("Tags").next().is_none() {
        return Err(SnsError::missing("Tags"));
    }
    let add = |_: &_, labels: &mut Labels| add(labels, call.params);
    call.change_topic("ResourceArn", add).await.map_err(missing)?;
    call.answer(|_| ())
}

pub(super) async fn untag(call: &Call<'_>) -> Answer {
    let keys: Vec<&str> = call.params.values("TagKeys").collect();
    if keys.is_empty() {
        return Err(SnsError::missing("TagKeys"));
    }
    let remove = |_: &_, labels: &mut Labels| {
        labels.retain(|label, _| label.strip_prefix(PREFIX).is_none_or(|key| !keys.contains(&key)));
        Ok(())
    };
    call.change_topic("ResourceArn", remove).await.map_err(missing)?;
    call.answer(|_| ())
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let topic = call.topic("ResourceArn").map_err(missing)?;
    call.answer(|xml| {
        xml.element("Tags", |xml| {
            for (key, value) in all(&topic.labels) {
                xml.element("member", |xml| {
                    xml.text("Key", key);
                    xml.text("Value", value);
                });
            }
        });
    })
}
