//! PurgeQueue: settles everything that is in the queue now. It is over when it is answered.

use super::{Answer, Call, done};
use crate::codec::request;
use crate::error::{ErrorCode, SqsError};

pub(super) async fn handle(call: &Call<'_>) -> Answer {
    let request: request::QueueOnly<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    if call.options.strict_timing && !call.recent.may_purge(queue.id, call.session.clock().now().monotonic) {
        return Err(SqsError::new(
            ErrorCode::PurgeQueueInProgress,
            format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name),
        ));
    }
    call.session.purge_queue(queue.id).await?;
    done()
}
