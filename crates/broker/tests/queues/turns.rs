//! The shard is driven by whoever puts something into it: nothing is left lying, and a panic there ends the broker for all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duolog_broker::errors::CursorError;
use duolog_broker::{Clock, Now, Principal};

use super::Bench;

/// The one part of a shard that a test can make fail.
#[derive(Default)]
struct BrokenClock(AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Now {
        assert!(!self.0.load(Ordering::Relaxed), "the clock of this test is broken");
        Now::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_ask_at_once_is_answered() {
    let bench = Bench::new();
    let asking = (0..8).map(|_| {
        let session = bench.session.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..2_000 {
                ids.push(session.new_producer_id().await.unwrap());
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for task in asking.collect::<Vec<_>>() {
        ids.extend(task.await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 16_000);
}

#[tokio::test]
async fn a_panic_on_the_shard_ends_the_broker_and_hangs_nobody() {
    let clock = Arc::new(BrokenClock::default());
    let broker = super::broker(clock.clone());
    let session = broker.session(Principal::anonymous());
    session.new_producer_id().await.unwrap();
    clock.0.store(true, Ordering::Relaxed);
    // Whether it panics here or on a thread of the broker's, nobody waits for ever.
    if let Ok(pending) = catch_unwind(AssertUnwindSafe(|| session.new_producer_id())) {
        assert!(matches!(pending.await, Err(CursorError::Stopped(_))));
    }
    let stopped = broker.failed().await;
    assert!(stopped.reason.contains("panic"), "{stopped:?}");
    assert!(matches!(session.new_producer_id().await, Err(CursorError::Stopped(_))));
}
