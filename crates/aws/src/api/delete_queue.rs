//! DeleteQueue: drops the ledger, and the topic with it if a queue made it and no other reads it.

use super::{Answer, Call};
use crate::codec::request;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::QueueOnly<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    call.session.delete_queue(queue.id).await?;
    call.done()
}
