//! ListDeadLetterSourceQueues: the queues that have this one as their dead-letter target.

use duolog_broker::DeadLetter;
use duolog_broker::catalog::DEFAULT_NAMESPACE;

use super::list_queues::Page;
use super::{Answer, Call};
use crate::codec::{request, response, rules};

pub(super) fn handle(call: &Call<'_>) -> Answer {
    let request: request::ListDeadLetterSourceQueues<'_> = call.read()?;
    let queue = call.queue(request.queue_url.as_ref())?;
    let page = Page::read(request.next_token.as_ref(), request.max_results)?;
    let catalog = call.session.catalog();
    let names = catalog
        .queues(DEFAULT_NAMESPACE)
        .filter(|source| source.policy.dead_letter.as_ref().and_then(DeadLetter::queue) == Some(&queue.name))
        .map(|source| source.name.as_str())
        .filter(|name| rules::is_queue_name(name));
    let (names, next_token) = page.take(names);
    let queue_urls = names.into_iter().map(|name| call.url_of(name)).collect();
    call.answer(&response::SourceQueueUrls { queue_urls, next_token })
}
