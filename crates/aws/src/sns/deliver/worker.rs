//! The worker of one subscription: takes a message when it has a hand free, posts it, and settles it by what comes back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::LeaseError;
use duolog_broker::routing::{Binding, Exchange};
use duolog_broker::{Catalog, DeadLetter, LeaseAsk, Leased, Monotonic, Outcome, Queue};
use duolog_net::{OverBudget, Reservation, Shutdown};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use super::PAUSE;
use crate::AwsFrontend;
use crate::limits::{
    ENDPOINT_LANES, SNS_ANSWER_WAIT, SNS_ATTEMPT_MS, SNS_DELIVERY_LEASE_BYTES, SNS_DELIVERY_WAIT_MS,
    SNS_NO_DEAD_LETTER_MS,
};
use crate::outbound::{Endpoint, PostError, Way};
use crate::sns::delivery_policy::DeliveryPolicy;
use crate::sns::subscription::{HOST, Subscription, TOPIC_ARN};
use crate::sns::{attributes, confirmation, http, notification};

/// How long what is under way may take when the broker ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(4);

/// Why there is no message.
enum Halt {
    Lease(LeaseError),
    Room(OverBudget),
}

impl From<LeaseError> for Halt {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error)
    }
}

/// A subscription as it is delivered to: made anew when it or its topic has changed.
struct Plan {
    binding: Arc<Binding>,
    topic: Arc<Exchange>,
    policy: DeliveryPolicy,
    host: String,
    /// ARN of the topic, for what was not published by SNS.
    arn: String,
    /// Name of the queue for what cannot be delivered.
    dead_letter: Option<String>,
    is_pending: bool,
}

/// What a request needs to be under way, beside room.
struct Hand(#[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

/// What became of an attempt.
enum Fate {
    Delivered,
    /// To be tried again; why.
    Failed(String),
    /// Not to be tried again; why.
    Refused(String),
}

/// See the module.
pub(super) struct Worker {
    frontend: Arc<AwsFrontend>,
    queue: Arc<Queue>,
    shutdown: Shutdown,
    /// The endpoint of a subscription is always the same.
    way: Mutex<Option<Arc<Way>>>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Worker {
    pub fn new(frontend: Arc<AwsFrontend>, queue: &Arc<Queue>, shutdown: Shutdown) -> Self {
        let queue = Arc::clone(queue);
        Self { frontend, queue, shutdown, way: Mutex::default(), plan: Mutex::default() }
    }

    /// Until the subscription is gone, or the broker ends.
    pub async fn run(self) {
        let mut under_way = FuturesUnordered::new();
        let mut next_at = Monotonic::default();
        while let Some(plan) = self.plan(&self.frontend.session.catalog()) {
            let Some(hand) = self.hand(under_way.len()) else {
                tokio::select! {
                    () = self.shutdown.begun() => break,
                    _ = under_way.next() => continue,
                }
            };
            let now = || self.frontend.session.clock().now().monotonic;
            let pause_ms = plan.policy.per_second.map_or(0, |_| next_at.ms_since(now()));
            let mut next = pin!(self.next(pause_ms));
            let next = loop {
                tokio::select! {
                    biased;
                    () = self.shutdown.begun() => break None,
                    next = next.as_mut() => break Some(next),
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            };
            match next {
                None => break,
                Some(Ok(Some((leased, room)))) => {
                    next_at =
                        now().plus_ms(plan.policy.per_second.map_or(0, |it| 1000 / u64::from(it.max(1))));
                    under_way.push(self.attempt(leased, room, hand));
                }
                Some(Ok(None)) => self.rest(under_way.is_empty()),
                Some(Err(error)) => {
                    if !self.goes_on(error).await {
                        return;
                    }
                }
            }
        }
        let rest = async { while under_way.next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, rest).await.is_err() {
            debug!(queue = %self.queue.name, "deliveries are broken off; they come again");
        }
    }

    /// Something to post with, if there is: the worker's own hand, or one of those for all.
    fn hand(&self, under_way: usize) -> Option<Hand> {
        match under_way {
            0 => Some(Hand(None)),
            1..ENDPOINT_LANES => {
                let more = Arc::clone(&self.frontend.deliveries.more).try_acquire_owned().ok()?;
                Some(Hand(Some(more)))
            }
            _ => None,
        }
    }

    /// The next message, and the room that it takes; `None` if none comes for a while.
    async fn next(&self, pause_ms: u64) -> Result<Option<(Leased, Option<Reservation>)>, Halt> {
        if pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        let ask = LeaseAsk {
            queue: self.queue.id,
            count: 1,
            visibility_ms: Some(SNS_ATTEMPT_MS),
            wait_ms: SNS_DELIVERY_WAIT_MS,
            attempt: None,
            priority: 0,
            bound: true,
        };
        // The record, and the envelope that is made of it.
        let reserve = async |content: usize| {
            let reserved = self.frontend.deliveries.budget.reserve(content.saturating_mul(3)).await;
            reserved.map_err(Halt::Room)
        };
        let leasing = self.frontend.session.lease_within(ask, SNS_DELIVERY_LEASE_BYTES, reserve);
        let (mut leased, room) = leasing.await?;
        Ok(leased.pop().map(|leased| (leased, room)))
    }

    /// Nothing has come for a while.
    fn rest(&self, is_idle: bool) {
        if let Some(way) = self.way.lock().as_ref().filter(|_| is_idle) {
            way.rest();
        }
    }

    /// True if there may be a next message after a failure.
    async fn goes_on(&self, error: Halt) -> bool {
        match error {
            // The subscription is gone, or the broker.
            Halt::Lease(LeaseError::NotFound | LeaseError::Denied | LeaseError::Stopped(_)) => return false,
            Halt::Lease(error) => warn!(queue = %self.queue.name, %error, "a delivery has to wait"),
            Halt::Room(error) => {
                warn!(queue = %self.queue.name, %error, "a message is too large to be posted")
            }
        }
        tokio::time::sleep(PAUSE).await;
        true
    }

    /// How the subscription is delivered to now; `None` if it is gone.
    fn plan(&self, catalog: &Catalog) -> Option<Arc<Plan>> {
        let (topic, it) = http::subscription_of(catalog, &self.queue)?;
        let mut plan = self.plan.lock();
        if let Some(plan) = plan.as_ref()
            && Arc::ptr_eq(&plan.topic, topic)
            && Arc::ptr_eq(&plan.binding, it.binding)
        {
            return Some(Arc::clone(plan));
        }
        let made = Arc::new(self.planned(topic, it));
        *plan = Some(Arc::clone(&made));
        Some(made)
    }

    fn planned(&self, topic: &Arc<Exchange>, it: Subscription<'_>) -> Plan {
        let options = &self.frontend.options;
        let advertised = options.advertised.as_ref().map(|(host, port)| format!("{host}:{port}"));
        let of_topic = attributes::get(&topic.labels, "DeliveryPolicy");
        Plan {
            binding: Arc::clone(it.binding),
            topic: Arc::clone(topic),
            policy: DeliveryPolicy::of_subscription(of_topic, it.attribute("DeliveryPolicy")),
            host: advertised.or_else(|| it.label(HOST).map(str::to_owned)).unwrap_or_default(),
            arn: it.label(TOPIC_ARN).map(str::to_owned).unwrap_or_default(),
            dead_letter: it.attribute("RedrivePolicy").and_then(attributes::dead_letter_queue),
            is_pending: it.is_pending(),
        }
    }

    /// One attempt, from the lease to what becomes of it.
    async fn attempt(&self, leased: Leased, _room: Option<Reservation>, _hand: Hand) {
        let session = &self.frontend.session;
        let catalog = session.catalog();
        // With the subscription goes its queue, and with that the lease.
        let Some(plan) = self.plan(&catalog) else { return };
        let fate = self.post(&plan, &catalog, &leased).await;
        drop(catalog);
        let outcome = self.outcome(&plan, &leased, fate).await;
        match session.settle(self.queue.id, vec![(leased.id, outcome)]).await {
            Ok(settled) => {
                let failed = settled.into_iter().find_map(Result::err);
                if let Some(error) = failed {
                    debug!(queue = %self.queue.name, %error, "a message was settled by somebody else");
                }
            }
            Err(error) => {
                debug!(queue = %self.queue.name, %error, "a message cannot be settled; it comes again")
            }
        }
    }

    async fn post(&self, plan: &Plan, catalog: &Catalog, leased: &Leased) -> Fate {
        if confirmation::is_one(&leased.record) && !plan.is_pending {
            return Fate::Delivered;
        }
        let way = match self.way(plan) {
            Ok(way) => way,
            Err(why) => return Fate::Refused(why.to_owned()),
        };
        let (headers, body) = notification::of(
            leased,
            notification::To {
                host: &plan.host,
                catalog,
                queue: &self.queue.name,
                topic: self.queue.topic.0,
                arn: &plan.arn,
                id: http::id_in(&self.queue.name).unwrap_or_default(),
                content_type: plan.policy.content_type(),
            },
        );
        let counts = &self.frontend.deliveries;
        let fate = match way.post(&headers, &body, SNS_ANSWER_WAIT).await {
            Ok(status) if status.is_success() => Fate::Delivered,
            Ok(status) if status.is_server_error() || status.as_u16() == 429 => {
                Fate::Failed(format!("the endpoint answers {}", status.as_u16()))
            }
            Ok(status) => Fate::Refused(format!("the endpoint answers {}", status.as_u16())),
            Err(error @ PostError::Private { .. }) => Fate::Refused(error.to_string()),
            Err(error) => Fate::Failed(error.to_string()),
        };
        count(match fate {
            Fate::Delivered => &counts.delivered,
            Fate::Failed(_) | Fate::Refused(_) => &counts.failed,
        });
        fate
    }

    fn way(&self, plan: &Plan) -> Result<Arc<Way>, &'static str> {
        let mut way = self.way.lock();
        if let Some(way) = way.as_ref() {
            return Ok(Arc::clone(way));
        }
        let it = Subscription::of(&plan.binding).ok_or("it is no subscription")?;
        let endpoint = Endpoint::parse(it.protocol, it.endpoint)?;
        let made = Arc::new(Way::new(Arc::clone(&self.frontend.deliveries.network), endpoint));
        *way = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn outcome(&self, plan: &Plan, leased: &Leased, fate: Fate) -> Outcome {
        let why = match fate {
            Fate::Delivered => return Outcome::Ack,
            Fate::Failed(why) => match plan.policy.wait_ms(leased.attempts) {
                Some(after_ms) => {
                    debug!(queue = %self.queue.name, attempts = leased.attempts, after_ms, why, "a delivery has failed");
                    return Outcome::Release { after_ms };
                }
                None => why,
            },
            Fate::Refused(why) => why,
        };
        // A confirmation is nothing that anybody has published.
        match plan.dead_letter.as_deref().filter(|_| !confirmation::is_one(&leased.record)) {
            Some(target) => self.dead_letter(target, &why).await,
            None => {
                count(&self.frontend.deliveries.given_up);
                info!(queue = %self.queue.name, attempts = leased.attempts, why, "a delivery is given up");
                Outcome::Ack
            }
        }
    }

    /// To the dead-letter queue of the subscription, or, while that is missing, once more.
    async fn dead_letter(&self, target: &str, why: &str) -> Outcome {
        let session = &self.frontend.session;
        let later = Outcome::Release { after_ms: SNS_NO_DEAD_LETTER_MS };
        if session.catalog().queue(DEFAULT_NAMESPACE, target).is_none() {
            warn!(queue = %self.queue.name, target, why, "a message that cannot be delivered stays: its dead-letter queue is missing");
            return later;
        }
        loop {
            let catalog = session.catalog();
            let Some(own) = catalog.queue_by_id(self.queue.id) else { return later };
            if own.policy.dead_letter.as_ref().and_then(DeadLetter::queue) == Some(target) {
                break;
            }
            let mut policy = own.policy.clone();
            policy.dead_letter = Some(DeadLetter::Queue(target.to_owned()));
            if let Err(error) = session.set_queue(own, policy, own.labels.clone()).await {
                warn!(queue = %self.queue.name, target, %error, "a dead-letter queue cannot be named");
                return later;
            }
        }
        count(&self.frontend.deliveries.dead_lettered);
        debug!(queue = %self.queue.name, target, why, "a message that cannot be delivered is moved");
        Outcome::DeadLetter
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
