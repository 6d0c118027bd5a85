//! DeleteQueue: drops the ledger, and the topic with it if a queue made it and no other reads it. Subscriptions of the queue stay, for a
//! queue of its name.

use super::{Answer, Call};
use crate::codec::request;
use crate::sns;

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::QueueOnly<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    sns::park(call.session, &queue).await;
    if let Err(error) = call.session.delete_queue(queue.id).await {
        sns::unpark(call.session, &queue.name).await;
        return Err(error.into());
    }
    call.done()
}
