//! Policies where things go in a bad moment: what a crash leaves undone between a policy and its queues.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, within};
use duolog_amqp::{AmqpFrontend, AmqpOptions, Policy, PolicyKind};
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::{Labels, QueuePolicy};
use serde_json::json;

impl Server {
    async fn frontend(&self) -> AmqpFrontend {
        AmqpFrontend::start(self.session.clone(), AmqpOptions::default()).await.unwrap()
    }

    fn length_max(&self) -> Option<u64> {
        self.session.catalog().queue(DEFAULT_NAMESPACE, "q").unwrap().policy.length_max
    }

    /// Makes the queue what it was at another time.
    async fn set(&self, length_max: Option<u64>, change: impl FnOnce(&mut Labels)) {
        let queue = self.session.catalog().queue(DEFAULT_NAMESPACE, "q").unwrap().clone();
        let mut labels = queue.labels.clone();
        change(&mut labels);
        let settings = QueuePolicy { length_max, ..queue.policy.clone() };
        assert!(self.session.set_queue(&queue, settings, labels).await.unwrap());
    }
}

fn longest(length: u64) -> Policy {
    let body = json!({ "pattern": "^q$", "definition": { "max-length": length }, "apply-to": "queues" });
    Policy::parse(PolicyKind::User, "p", body.as_object().unwrap()).unwrap()
}

#[tokio::test]
async fn what_a_crash_leaves_undone_the_next_start_does() {
    let server = Server::start().await;
    let _client = within(server.client()).await;
    let frontend = server.frontend().await;
    assert!(frontend.set_policy("/", PolicyKind::User, &longest(3)).await.unwrap());
    assert_eq!(server.length_max(), Some(3));
    // The policy is durable, the queue is not yet what it says.
    server.set(None, |labels| labels.clear()).await;
    server.frontend().await;
    assert_eq!(server.length_max(), Some(3));
    assert!(!frontend.set_policy("/", PolicyKind::User, &longest(2)).await.unwrap());
    let before = server.session.catalog().queue(DEFAULT_NAMESPACE, "q").unwrap().labels.clone();
    assert!(frontend.clear_policy("/", PolicyKind::User, "p").await.unwrap());
    assert_eq!(server.length_max(), None);
    // The policy is gone, the queue still has what it said.
    server.set(Some(2), |labels| *labels = before).await;
    let frontend = server.frontend().await;
    assert_eq!(server.length_max(), None);
    assert!(!frontend.clear_policy("/", PolicyKind::User, "p").await.unwrap());
    // What nobody has said of it by a policy is somebody else's.
    server.set(Some(9), |_| {}).await;
    server.frontend().await;
    assert_eq!(server.length_max(), Some(9));
}
