//! SetQueueAttributes: all of the request or nothing of it.

use super::{Answer, Call};
use crate::codec::request;
use crate::error::SqsError;
use crate::limits::NAMES;
use crate::settings::Settings;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::SetQueueAttributes<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    if request.attributes.count == 0 {
        return Err(SqsError::missing("Attribute.Name"));
    }
    if request.attributes.count > NAMES {
        return Err(SqsError::invalid("The request has too many attributes."));
    }
    let catalog = call.session.catalog();
    let mut settings = Settings::from(&*queue);
    for (attribute, value) in &request.attributes.kept {
        settings.set(&catalog, &queue.name, attribute, value)?;
    }
    call.session.set_queue(queue.id, settings.policy, settings.labels).await?;
    call.done()
}
