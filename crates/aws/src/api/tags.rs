//! TagQueue, UntagQueue, ListQueueTags. Tags are labels of the queue.

use duolog_broker::Labels;

use super::{Answer, Call, change_queue};
use crate::codec::{request, response, rules};
use crate::error::SqsError;
use crate::limits::TAGS;

/// Prefix of labels that are tags.
const LABEL_PREFIX: &str = "aws.tag.";

pub(super) async fn tag(call: &Call<'_>) -> Answer {
    let request: request::TagQueue<'_> = call.read()?;
    let tags = &request.tags;
    change_queue(call, request.queue_url.as_ref(), |_, settings| {
        if tags.count == 0 { Err(SqsError::missing("Tags")) } else { add(&mut settings.labels, tags) }
    })
    .await?;
    call.done()
}

pub(super) async fn untag(call: &Call<'_>) -> Answer {
    let request: request::UntagQueue<'_> = call.read()?;
    change_queue(call, request.queue_url.as_ref(), |_, settings| {
        if request.tag_keys.count == 0 {
            return Err(SqsError::missing("TagKeys"));
        }
        for key in &request.tag_keys.kept {
            settings.labels.remove(&format!("{LABEL_PREFIX}{}", key.as_str()));
        }
        Ok(())
    })
    .await?;
    call.done()
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let request: request::QueueOnly<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let tags = queue
        .labels
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(LABEL_PREFIX)?.into(), value.as_str())))
        .collect();
    call.answer(&response::Tags { tags: response::Map(tags) })
}

/// Adds tags to a queue's labels.
pub(super) fn add(labels: &mut Labels, tags: &request::Tags<'_>) -> Result<(), SqsError> {
    for (key, value) in &tags.kept {
        if !rules::is_tag_key(key) {
            return Err(SqsError::invalid(
                "Tag keys have 1 to 128 letters, digits, spaces or any of _ . : / = + - @, and do not begin \
                 with aws:.",
            ));
        }
        if !rules::is_tag_value(value) {
            return Err(SqsError::invalid(
                "Tag values have at most 256 letters, digits, spaces or any of _ . : / = + - @.",
            ));
        }
        labels.insert(format!("{LABEL_PREFIX}{}", key.as_str()), value.as_str().to_owned());
    }
    let count = labels.keys().filter(|key| key.starts_with(LABEL_PREFIX)).count();
    if count > TAGS || tags.count > TAGS {
        return Err(SqsError::invalid(format!("Too many tags; a queue has at most {TAGS}.")));
    }
    Ok(())
}

/// The value of a tag.
pub(super) fn get<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.get(&format!("{LABEL_PREFIX}{key}")).map(String::as_str)
}
