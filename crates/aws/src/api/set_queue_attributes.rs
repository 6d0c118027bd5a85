//! SetQueueAttributes: all of the request or nothing of it.

use super::create_queue::keep_dedup;
use super::{Answer, Call, change_queue};
use crate::codec::request;
use crate::error::SqsError;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::SetQueueAttributes<'_> = call.read()?;
    let (queue, settings) = change_queue(call, request.queue_url.as_ref(), |queue, settings| {
        if request.attributes.count == 0 {
            return Err(SqsError::missing("Attribute.Name"));
        }
        settings.set_all(&call.session.catalog(), &queue.name, &request.attributes)
    })
    .await?;
    keep_dedup(call, &queue, settings.dedup(), &request.attributes).await?;
    call.done()
}
