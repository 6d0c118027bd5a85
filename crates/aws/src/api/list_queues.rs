//! ListQueues: the queues whose names SQS could have given, by name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use duolog_broker::catalog::DEFAULT_NAMESPACE;

use super::{Answer, Call};
use crate::codec::{request, response, rules, text::Text};
use crate::error::SqsError;
use crate::limits::LIST_PAGE;

pub(super) fn handle(call: &Call<'_>) -> Answer {
    let request: request::ListQueues<'_> = call.read()?;
    let page = Page::read(request.next_token.as_ref(), request.max_results)?;
    let prefix = request.queue_name_prefix.as_deref().unwrap_or("");
    let catalog = call.session.catalog();
    let names = catalog
        .queues_from(DEFAULT_NAMESPACE, page.first().max(prefix))
        .map(|queue| queue.name.as_str())
        .take_while(|name| name.starts_with(prefix))
        .filter(|name| rules::is_queue_name(name));
    let (names, next_token) = page.take(names);
    let queue_urls = names.into_iter().map(|name| call.url_of(name)).collect();
    call.answer(&response::QueueUrls { queue_urls, next_token })
}

/// Which part of a sorted list is asked for.
pub(super) struct Page {
    after: Option<String>,
    count: usize,
}

impl Page {
    /// Reads the token and the size of a page.
    pub fn read(token: Option<&Text<'_>>, count: Option<i64>) -> Result<Self, SqsError> {
        let count = match count {
            None => LIST_PAGE,
            Some(count) => {
                usize::try_from(count).ok().filter(|count| (1..=LIST_PAGE).contains(count)).ok_or_else(
                    || SqsError::invalid_value(count, "MaxResults", "Must be an integer between 1 and 1000."),
                )?
            }
        };
        let after = match token.map(Text::as_str) {
            None | Some("") => None,
            Some(token) => {
                let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
                Some(name.ok_or_else(|| SqsError::invalid("The NextToken is not one that was given out."))?)
            }
        };
        Ok(Self { after, count })
    }

    /// No name before this one is on the page.
    pub fn first(&self) -> &str {
        self.after.as_deref().unwrap_or("")
    }

    /// The page of a list sorted by name, and the token of the next.
    pub fn take<'a>(&self, names: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Option<String>) {
        let mut names = names.filter(|name| self.after.as_deref().is_none_or(|after| *name > after));
        let page: Vec<&str> = names.by_ref().take(self.count).collect();
        let more = names.next().is_some();
        let token = page.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(last));
        (page, token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let names = ["a", "b", "c"];
        let (page, token) = Page::read(None, Some(2)).unwrap().take(names.into_iter());
        assert_eq!(page, ["a", "b"]);
        let token = Text(token.unwrap().into());
        let (page, token) = Page::read(Some(&token), Some(2)).unwrap().take(names.into_iter());
        assert_eq!((page, token), (vec!["c"], None));
    }

    #[test]
    fn nonsense_is_refused() {
        for count in [0, -1, 1001, i64::MAX, i64::MIN] {
            assert!(Page::read(None, Some(count)).is_err());
        }
        assert!(Page::read(Some(&Text("!".into())), None).is_err());
    }
}
