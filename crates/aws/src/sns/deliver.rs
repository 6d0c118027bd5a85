//! Delivers to endpoints: a worker for each queue of a subscription takes what is there, posts it, and settles it.
//!
//! Invariant: a message leaves its queue when the endpoint has taken it, when it is moved to the dead-letter queue, or when the delivery policy
//! gives it up, and by nothing else; a crash before that brings it again. Between two attempts it waits in the ledger, not in memory. Each
//! worker has a request of its own under way however many others wait for slow endpoints; more of them, and the bytes of all,
//! are bounded.
//! Source: SNS Developer Guide, "Amazon SNS message delivery retries", "Amazon SNS dead-letter queues".

mod copier;
mod sweep;
mod worker;

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use duolog_broker::QueueId;
use duolog_net::{Budget, Shutdown};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::error;

use super::{http, replay};
use crate::AwsFrontend;
use crate::limits::{SNS_DELIVERIES_MORE, SNS_DELIVERY_BYTES, SNS_SWEEP};
use crate::outbound::{Authorities, Network};

/// How long to wait after a failure of the broker's own.
const PAUSE: Duration = Duration::from_secs(1);

/// What all workers have in common.
pub(crate) struct Deliveries {
    network: Arc<Network>,
    /// Of messages under way.
    budget: Budget,
    /// Requests at a time beside one of each worker.
    more: Arc<Semaphore>,
    /// There is a queue without a worker.
    wake: Notify,
    /// Subscriptions that are fed from a log may have changed.
    changed: Notify,
    delivered: AtomicU64,
    failed: AtomicU64,
    dead_lettered: AtomicU64,
    given_up: AtomicU64,
}

impl Deliveries {
    pub fn new(allow_private: bool, authorities: Authorities) -> Self {
        Self {
            network: Arc::new(Network::new(allow_private, authorities)),
            budget: Budget::new(SNS_DELIVERY_BYTES),
            more: Arc::new(Semaphore::new(SNS_DELIVERIES_MORE)),
            wake: Notify::new(),
            changed: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// Has somebody look for queues without a worker, and those who have one look again at what they are to do.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.changed.notify_waiters();
    }

    /// Endpoints may be at private addresses.
    pub fn allow_private(&self) -> bool {
        self.network.allows_private()
    }

    /// How many attempts came to what.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("delivered", &self.delivered),
            ("failed", &self.failed),
            ("dead_lettered", &self.dead_lettered),
            ("given_up", &self.given_up),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// Keeps a worker for each subscription of an endpoint until `shutdown` begins.
pub(crate) async fn run(frontend: Arc<AwsFrontend>, shutdown: Shutdown) {
    let mut workers = JoinSet::new();
    let mut queues: HashMap<Id, QueueId> = HashMap::new();
    'all: loop {
        sweep::sweep(&frontend.session).await;
        let catalog = frontend.session.catalog();
        let served: HashSet<QueueId> = queues.values().copied().collect();
        for queue in http::queues(&catalog) {
            let it = http::subscription_of(&catalog, queue).filter(|_| !served.contains(&queue.id));
            let Some((_, it)) = it else { continue };
            let (own, shutdown) = (Arc::clone(&frontend), shutdown.clone());
            let task = match replay::is_fed(it) {
                true => workers.spawn(copier::Copier::new(own, queue, shutdown).run()),
                false => workers.spawn(worker::Worker::new(own, queue, shutdown).run()),
            };
            queues.insert(task.id(), queue.id);
        }
        drop(catalog);
        let mut pause = pin!(tokio::time::sleep(SNS_SWEEP));
        loop {
            tokio::select! {
                () = shutdown.begun() => break 'all,
                () = frontend.deliveries.wake.notified() => break,
                () = pause.as_mut() => break,
                Some(ended) = workers.join_next_with_id(), if !workers.is_empty() => {
                    queues.remove(&id_of(ended));
                }
            }
        }
    }
    while workers.join_next().await.is_some() {}
}

/// The worker that has ended.
fn id_of(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => {
            error!(%error, "a worker that delivers to an endpoint has failed; another follows");
            error.id()
        }
    }
}
