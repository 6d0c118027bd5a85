//! The worker of a subscription that is fed from its topic's log: copies what its filter takes to its queue, in order.
//!
//! Invariant: a record is settled when its copy is durable, so a crash copies it again at most. The copy carries an idempotency key that is
//! the same each time, so a FIFO queue stores it once: that of the message if it is new, one of the replay and the offset if it is replayed,
//! because the queue may know the message's own from the first time.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::{AppendError, ChangeError, LeaseError};
use duolog_broker::routing::{Binding, BindingSpec, Seen};
use duolog_broker::{
    Catalog, Labels, LeaseAsk, Leased, NewRecord, Outcome, Queue, Session, Start, TopicId, headers,
};
use duolog_net::Shutdown;
use duolog_record::{Offset, Record};
use tracing::{debug, warn};

use super::PAUSE;
use crate::AwsFrontend;
use crate::codec::arn;
use crate::limits::{SNS_ATTEMPT_MS, SNS_COPIES, SNS_DELIVERY_LEASE_BYTES, SNS_DELIVERY_WAIT_MS};
use crate::sns::replay::{self, State};
use crate::sns::subscription::Subscription;
use crate::sns::{envelope, http, log};

/// See the module.
pub(super) struct Copier {
    frontend: Arc<AwsFrontend>,
    queue: Arc<Queue>,
    shutdown: Shutdown,
}

/// Why there is nothing more to do now.
enum Stop {
    /// The subscription is gone, or the broker ends.
    Gone,
    /// It may work another time.
    Failed(String),
}

impl From<ChangeError> for Stop {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Stopped(_) => Self::Gone,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<LeaseError> for Stop {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::NotFound | LeaseError::Stopped(_) => Self::Gone,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Copier {
    pub fn new(frontend: Arc<AwsFrontend>, queue: &Arc<Queue>, shutdown: Shutdown) -> Self {
        Self { frontend, queue: Arc::clone(queue), shutdown }
    }

    /// Until the subscription is gone, or the broker ends.
    pub async fn run(self) {
        loop {
            // Before the subscription is looked at, so that no change of it is missed.
            let mut changed = pin!(self.frontend.deliveries.changed.notified());
            changed.as_mut().enable();
            match self.step(changed).await {
                Ok(()) => {}
                Err(Stop::Gone) => return,
                Err(Stop::Failed(why)) => {
                    warn!(queue = %self.queue.name, why, "messages cannot be copied from a topic's log yet");
                    tokio::select! {
                        () = self.shutdown.begun() => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    fn session(&self) -> &Session {
        &self.frontend.session
    }

    /// Some messages, or a step of a replay; nothing if the subscription changes before there is any.
    async fn step(&self, changed: impl Future<Output = ()>) -> Result<(), Stop> {
        let catalog = self.session().catalog();
        let (_, it) = http::subscription_of(&catalog, &self.queue).ok_or(Stop::Gone)?;
        let state = State::of(it).ok_or(Stop::Gone)?;
        // What is new is delivered before a replay begins, and what is replayed before it is over.
        if (state.is_pending || is_under_way(state)) && self.is_empty().await? {
            return match state.replay.filter(|_| state.is_pending) {
                Some(replay) => self.begin(it, replay.from).await,
                None => self.label(it.binding, replay::done).await.map(drop),
            };
        }
        let ask = LeaseAsk {
            queue: self.queue.id,
            count: SNS_COPIES,
            visibility_ms: Some(SNS_ATTEMPT_MS),
            wait_ms: SNS_DELIVERY_WAIT_MS,
            attempt: None,
            priority: 0,
            bound: true,
        };
        let room = |_| std::future::ready(Ok::<_, LeaseError>(()));
        let leased = tokio::select! {
            biased;
            () = self.shutdown.begun() => return Err(Stop::Gone),
            leased = self.session().lease_within(ask, SNS_DELIVERY_LEASE_BYTES, room) => leased?.0,
            () = changed => return Ok(()),
        };
        let Some(last) = leased.last().map(|leased| leased.record.offset) else { return Ok(()) };
        self.copy(&catalog, it, state, leased).await?;
        match is_under_way(state) && last >= state.live_from {
            true => self.label(it.binding, replay::done).await.map(drop),
            false => Ok(()),
        }
    }

    /// True if nothing is left to copy.
    async fn is_empty(&self) -> Result<bool, Stop> {
        let depth = self.session().depth(self.queue.id).await?;
        Ok(depth.available + depth.in_flight + depth.delayed == 0)
    }

    /// Sets the queue back to where the replay begins.
    async fn begin(&self, it: Subscription<'_>, from: duolog_record::Timestamp) -> Result<(), Stop> {
        let session = self.session();
        let catalog = session.catalog();
        let topic = catalog.exchange_by_id(it.binding.spec.source).ok_or(Stop::Gone)?;
        let partition = log::of(&catalog, topic).and_then(|log| log.partitions.first()).ok_or(Stop::Gone)?;
        let end = session.bounds(*partition).map_or(Offset(0), |bounds| bounds.end);
        if !self.label(it.binding, |labels| replay::about_to_begin(labels, end)).await? {
            return Ok(());
        }
        session.replay_queue(self.queue.id, Start::Time(from)).await?;
        let catalog = session.catalog();
        match http::subscription_of(&catalog, &self.queue) {
            // Unless another one has been asked for meanwhile.
            Some((_, now)) if State::of(now).map(|it| it.live_from) == Some(end) => {
                self.label(now.binding, replay::begun).await.map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Changes the labels of the subscription, if it is as it is known; else it is to be looked at again.
    async fn label(&self, known: &Arc<Binding>, change: impl FnOnce(&mut Labels)) -> Result<bool, Stop> {
        let mut spec: BindingSpec = known.spec.clone();
        change(&mut spec.labels);
        match self.session().rebind(known, spec).await {
            Ok(is_done) => Ok(is_done),
            Err(ChangeError::NotFound(_)) => Err(Stop::Gone),
            Err(error) => Err(error.into()),
        }
    }

    async fn copy(
        &self,
        catalog: &Catalog,
        it: Subscription<'_>,
        state: State<'_>,
        leased: Vec<Leased>,
    ) -> Result<(), Stop> {
        let name = arn::queue_name(it.endpoint);
        let target = name.and_then(|name| catalog.queue(DEFAULT_NAMESPACE, name)).map(|queue| queue.topic);
        // A queue that is not there misses what comes, like one that the topic leads to.
        let copies =
            target.map(|to| leased.iter().filter_map(move |leased| copy_of(it, state, to, &leased.record)));
        let copies: Vec<NewRecord> = copies.into_iter().flatten().collect();
        let ids: Vec<_> = leased.iter().map(|leased| leased.id).collect();
        if let Some(target) = target.filter(|_| !copies.is_empty())
            && let Err(error) = self.publish(target, copies).await
        {
            // In their places, so that they come in order.
            self.session().give_back(self.queue.id, ids);
            return match error {
                AppendError::Stopped(_) => Err(Stop::Gone),
                // The queue has just gone.
                AppendError::NotFound => Ok(()),
                error => Err(Stop::Failed(error.to_string())),
            };
        }
        let outcomes = ids.into_iter().map(|id| (id, Outcome::Ack)).collect();
        if let Err(error) = self.session().settle(self.queue.id, outcomes).await {
            debug!(queue = %self.queue.name, %error, "copied messages cannot be settled; they are copied again");
        }
        Ok(())
    }

    /// Publishes copies in order, but for what the queue can never take.
    async fn publish(&self, target: TopicId, copies: Vec<NewRecord>) -> Result<(), AppendError> {
        match self.session().publish(target, copies.clone()).await {
            Err(AppendError::TooLarge { .. } | AppendError::Malformed(_)) => {}
            answered => return answered.map(drop),
        }
        for copy in copies {
            match self.session().publish(target, vec![copy]).await {
                Ok(_) => {}
                Err(error @ (AppendError::TooLarge { .. } | AppendError::Malformed(_))) => {
                    warn!(queue = %self.queue.name, %error, "a message is nothing that the subscriber's queue takes");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A replay has begun and is not over.
fn is_under_way(state: State<'_>) -> bool {
    state.replay.is_some() && !state.is_pending && !state.is_done
}

/// A record of the log as it goes to the subscriber's queue; `None` if it does not.
fn copy_of(it: Subscription<'_>, state: State<'_>, to: TopicId, record: &Record) -> Option<NewRecord> {
    let is_new = record.offset >= state.live_from;
    if !is_new {
        // A replay that has not begun, or was ended, skips what it has before it.
        let replay = state.replay.filter(|_| !state.is_pending)?;
        let is_wanted =
            record.timestamp >= replay.from && replay.until.is_none_or(|until| record.timestamp <= until);
        if !is_wanted {
            return None;
        }
    }
    let body = record.value.clone().unwrap_or_default();
    if !it.binding.spec.filter.takes(&Seen::new(&record.headers, &body)) {
        return None;
    }
    let own = record.headers.iter().find(|header| header.key == headers::IDEMPOTENCY_KEY);
    let own = own.and_then(|header| header.value.clone());
    let of_replay = || Bytes::from(format!("sns-replay/{}/{}", state.started, record.offset.0));
    Some(NewRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: envelope::readdressed(&record.headers, (!it.is_raw()).then_some(to.0), !is_new),
        idempotency_key: if is_new { own } else { Some(of_replay()) },
        ..NewRecord::default()
    })
}
