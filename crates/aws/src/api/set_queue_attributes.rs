//! SetQueueAttributes: all of the request or nothing of it.

use super::create_queue::keep_dedup;
use super::{Answer, Call};
use crate::codec::request;
use crate::error::SqsError;
use crate::settings::Settings;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::SetQueueAttributes<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    if request.attributes.count == 0 {
        return Err(SqsError::missing("Attribute.Name"));
    }
    let catalog = call.session.catalog();
    let mut settings = Settings::from(&*queue);
    settings.set_all(&catalog, &queue.name, &request.attributes)?;
    let dedup = settings.dedup();
    call.session.set_queue(queue.id, settings.policy, settings.labels).await?;
    keep_dedup(call, &queue, dedup).await?;
    call.done()
}
