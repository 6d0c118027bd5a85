//! Delivers to endpoints: a worker for each queue of a subscription takes what is there, posts it, and settles it.
//!
//! Invariant: a message leaves its queue when the endpoint has taken it, when it is moved to the dead-letter queue, or when the delivery policy
//! gives it up, and by nothing else; a crash before that brings it again. Between two attempts it waits in the ledger, not in memory. Each
//! worker has a request of its own under way however many others wait for slow endpoints; more of them, and the bytes of all,
//! are bounded.
//! Source: SNS Developer Guide, "Amazon SNS message delivery retries", "Amazon SNS dead-letter queues".

mod sweep;
mod worker;

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_broker::QueueId;
use duolog_net::{Budget, Shutdown};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::error;

use super::http;
use crate::AwsFrontend;
use crate::limits::{SNS_DELIVERIES_MORE, SNS_DELIVERY_BYTES, SNS_SWEEP};
use crate::outbound::{Authorities, Network};

/// What all workers have in common.
pub(crate) struct Deliveries {
    network: Arc<Network>,
    /// Of messages under way.
    budget: Budget,
    /// Requests at a time beside one of each worker.
    more: Arc<Semaphore>,
    /// There is a queue without a worker.
    wake: Notify,
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
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// Has somebody look for queues without a worker.
    pub fn wake(&self) {
        self.wake.notify_one();
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
            if !served.contains(&queue.id) && http::subscription_of(&catalog, queue).is_some() {
                let worker = worker::Worker::new(Arc::clone(&frontend), queue, shutdown.clone());
                queues.insert(workers.spawn(worker.run()).id(), queue.id);
            }
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
