//! Forwards: what is appended to a topic, by any protocol, is published to an exchange, which leads it on.
//!
//! Place: beside [`routing`](crate::routing): there a topic is where a record ends up, here it is where it comes from. Which
//! forwards there are is a label of their exchanges, so they go with either end. Where one stands in a partition is a cursor of a group
//! of its own, which moves in the commit that stores the copies: a record is forwarded once, in order within its partition,
//! whatever happens to the broker. The topic keeps its records as its own policy says: a forward does not hold them.

mod forwarder;
mod onward;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_record::{Offset, PartitionId};

use self::forwarder::Forwarder;
use crate::errors::{ChangeError, CursorError};
use crate::limits::FORWARDS;
use crate::ready::LazyThread;
use crate::routing::{Exchange, ExchangeId};
use crate::{Action, CursorMove, Labels, Session, Topic, TopicId};

/// What begins the names of the groups of forwards.
const GROUP_PREFIX: &str = "duolog-forward.";
/// The label of an exchange with the topics that are forwarded to it: a line for each, its id in hexadecimal digits and the number of the
/// forward. Numbers are not used again, so a forward that ends and begins anew is another.
const FROM_TOPICS: &str = "from-topics";

/// A topic and the exchange that its records are published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forward {
    /// From where.
    pub topic: TopicId,
    /// To where.
    pub exchange: ExchangeId,
}

/// Counts of all forwards since the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Records that were stored in a topic at least.
    pub forwarded: u64,
    /// Records that no binding takes.
    pub unrouted: u64,
    /// Records that a topic refused for good: too large for it, say.
    pub refused: u64,
    /// Offsets that were passed over because they are damaged, or were gone before their turn.
    pub lost: u64,
    /// Partitions that wait for something to change, and try again: a full disk, a full queue.
    pub waiting: u64,
}

/// The thread, and what it has done.
#[derive(Default)]
pub(crate) struct Forwards {
    /// One at a time changes which there are: to begin one takes two steps.
    changing: tokio::sync::Mutex<()>,
    thread: LazyThread,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    forwarded: AtomicU64,
    unrouted: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
}

impl Forwards {
    pub(crate) fn stats(&self) -> ForwardStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ForwardStats {
            forwarded: get(&self.counts.forwarded),
            unrouted: get(&self.counts.unrouted),
            refused: get(&self.counts.refused),
            lost: get(&self.counts.lost),
            waiting: get(&self.counts.waiting),
        }
    }

    /// Has the thread see what has changed; the first start it. `session` is the broker's own.
    fn look(&self, session: Session) {
        self.thread.wake("forward", move || Forwarder::new(session).run());
    }

    /// Ends the thread, and waits for it.
    pub(crate) fn stop(&self) {
        self.thread.stop();
    }
}

/// True for the name of a group of a forward: its cursors are the broker's.
pub(crate) fn is_group(name: &str) -> bool {
    name.starts_with(GROUP_PREFIX)
}

/// The group whose cursors say where a forward stands.
fn group_of(exchange: &Exchange, number: i64) -> Arc<str> {
    format!("{GROUP_PREFIX}{}.{number}", exchange.name).into()
}

/// The number of the forward of such a group.
fn number_in(group: &str) -> Option<i64> {
    group.strip_prefix(GROUP_PREFIX)?.rsplit_once('.')?.1.parse().ok()
}

/// The topics that the labels of an exchange name, and the numbers of their forwards.
pub(crate) fn topics_in(labels: &Labels) -> Vec<(TopicId, i64)> {
    let read = |line: &str| {
        let (topic, number) = line.split_once(' ')?;
        Some((TopicId(u128::from_str_radix(topic, 16).ok()?), number.parse().ok()?))
    };
    labels.get(FROM_TOPICS).map_or("", String::as_str).lines().filter_map(read).collect()
}

/// The labels of an exchange to which these are forwarded.
fn with_topics(labels: &Labels, topics: &[(TopicId, i64)]) -> Labels {
    let mut labels = labels.clone();
    if topics.is_empty() {
        labels.remove(FROM_TOPICS);
    } else {
        let lines: Vec<_> =
            topics.iter().map(|(topic, number)| format!("{:032x} {number}", topic.0)).collect();
        labels.insert(FROM_TOPICS.to_owned(), lines.join("\n"));
    }
    labels
}

impl Session {
    /// Publishes what is appended to a topic to an exchange as well, from `starts` on, an offset for each partition, or else the first
    /// that is kept. False if that was so already: then it goes on from where it is. Holds for a partition that is
    /// added later from its beginning. Source: RabbitMQ's shovels do the same between brokers.
    ///
    /// # Errors
    /// `NotFound` if one of them is not there; `Invalid` if they are of different namespaces; `OverLimit` above
    /// `limits::FORWARDS`.
    pub async fn forward(
        &self,
        forward: Forward,
        starts: Vec<(PartitionId, Offset)>,
    ) -> Result<bool, ChangeError> {
        let _one_at_a_time = self.inner.forwards.changing.lock().await;
        let (topic, exchange) = self.ends_of(forward)?;
        if topic.namespace != exchange.namespace {
            return Err(ChangeError::Invalid {
                what: "topic",
                why: format!("it is not in the exchange's namespace {:?}", exchange.namespace),
            });
        }
        let catalog = self.catalog();
        if catalog.forwards_to(exchange.id).any(|it| it == forward) {
            return Ok(false);
        }
        if catalog.forwards().count() >= FORWARDS {
            return Err(ChangeError::OverLimit("there are as many forwards as may be"));
        }
        // Of a counter whose numbers are never given out again.
        let number = self.of_broker().new_producer_id().await.map_err(of_cursors)?;
        let group = group_of(&exchange, number);
        let at =
            |(partition, offset)| CursorMove { partition, offset, leader_epoch: -1, metadata: String::new() };
        self.place_cursors(&group, starts.into_iter().map(at).collect()).await.map_err(of_cursors)?;
        let changed = self
            .change_forwards(forward.exchange, |topics| {
                topics.push((forward.topic, number));
                true
            })
            .await;
        if changed.is_err() {
            // Where nothing is forwarded there is nothing to remember.
            let _ = self.drop_cursors(&group, None).await;
        }
        self.inner.forwards.look(self.of_broker());
        changed
    }

    /// Ends a forward; what is on its way may still be stored. False if there is none such.
    ///
    /// # Errors
    /// `NotFound` if one of its ends is not there.
    pub async fn end_forward(&self, forward: Forward) -> Result<bool, ChangeError> {
        let _one_at_a_time = self.inner.forwards.changing.lock().await;
        let (_, exchange) = self.ends_of(forward)?;
        let Some(number) = self.catalog().number_of(forward) else { return Ok(false) };
        self.change_forwards(forward.exchange, |topics| {
            topics.retain(|(topic, _)| *topic != forward.topic);
            true
        })
        .await?;
        // Whatever is stored from now on with a move of these cursors is refused.
        self.drop_cursors(&group_of(&exchange, number), None).await.map_err(of_cursors)?;
        self.inner.forwards.look(self.of_broker());
        Ok(true)
    }

    fn ends_of(&self, forward: Forward) -> Result<(Arc<Topic>, Arc<Exchange>), ChangeError> {
        let catalog = self.catalog();
        let topic = catalog.topic_by_id(forward.topic).cloned();
        let exchange = catalog.exchange_by_id(forward.exchange).cloned();
        let topic = topic.ok_or_else(|| ChangeError::NotFound("the topic".to_owned()))?;
        let exchange = exchange.ok_or_else(|| ChangeError::NotFound("the exchange".to_owned()))?;
        if !self.may(Action::Consume, &topic.name) {
            return Err(ChangeError::Denied);
        }
        Ok((topic, exchange))
    }

    /// Changes what is forwarded to an exchange: from what it is now, and anew if somebody else was faster. False if `change` says that
    /// there is nothing to change.
    async fn change_forwards(
        &self,
        exchange: ExchangeId,
        change: impl Fn(&mut Vec<(TopicId, i64)>) -> bool,
    ) -> Result<bool, ChangeError> {
        loop {
            let catalog = self.catalog();
            let known = catalog.exchange_by_id(exchange);
            let known = known.ok_or_else(|| ChangeError::NotFound("the exchange".to_owned()))?;
            // Those that are gone need not be remembered.
            let mut topics = topics_in(&known.labels);
            topics.retain(|(topic, _)| catalog.topic_by_id(*topic).is_some());
            if !change(&mut topics) {
                return Ok(false);
            }
            let labels = with_topics(&known.labels, &topics);
            if self.set_exchange(known, known.alternate.clone(), labels).await? {
                return Ok(true);
            }
        }
    }

    /// Counts of all forwards.
    #[must_use]
    pub fn forward_stats(&self) -> ForwardStats {
        self.inner.forwards.stats()
    }

    /// Forwards what is to be forwarded, from now on. For who starts the broker, once.
    ///
    /// # Errors
    /// If it cannot be found out whether there is something to do.
    pub async fn start_forwards(&self) -> Result<(), CursorError> {
        let is_any = self.catalog().forwards().next().is_some();
        if is_any || self.groups().await?.iter().any(|group| is_group(group)) {
            self.inner.forwards.look(self.of_broker());
        }
        Ok(())
    }

    /// What forwards read and publish by: who may is asked when one is made.
    fn of_broker(&self) -> Session {
        let principal = Arc::new(crate::Principal { name: "forward".to_owned() });
        Session { inner: Arc::clone(&self.inner), principal }
    }
}

fn of_cursors(error: CursorError) -> ChangeError {
    match error {
        CursorError::Denied => ChangeError::Denied,
        CursorError::DiskFull => ChangeError::DiskFull,
        CursorError::Stopped(stopped) => stopped.into(),
        error => ChangeError::Invalid { what: "cursors", why: error.to_string() },
    }
}
