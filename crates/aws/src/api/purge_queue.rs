//! PurgeQueue: settles everything that is in the queue now. It is over when it is answered.

use super::{Answer, Call};
use crate::codec::request;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::QueueOnly<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    call.session.purge_queue(queue.id).await?;
    call.done()
}
