//! GetQueueUrl.

use super::{Answer, Call, required};
use crate::codec::{request, response};

pub(super) fn handle(call: &Call<'_>) -> Answer {
    let request: request::GetQueueUrl<'_> = call.read()?;
    let name = required(request.queue_name.as_ref(), "QueueName")?;
    let queue = call.queue_named(name)?;
    call.answer(&response::QueueUrl { queue_url: call.url_of(&queue.name) })
}
