//! Counting queues some at a time, while what is counted changes, or the shard stops.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use duolog_broker::Stepper;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::DEPTHS_PER_TURN;
use duolog_storage::LogError;

use super::*;

/// Beyond so many steps an answer does not come.
const STEPS: usize = 20;

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    // The runtime lets one turn of a task have only so many answers.
    tokio::task::yield_now().await;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A shard that is stepped by hand, with more queues than one turn counts.
struct Stepped {
    log: Arc<MemoryLog>,
    session: Session,
    stepper: Stepper,
    queues: Vec<QueueId>,
}

impl Stepped {
    async fn new() -> Self {
        let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
        let (log, clock) = (Arc::new(MemoryLog::new()), Arc::new(HandClock::default()));
        let (broker, stepper) =
            Broker::start_manual(log.clone(), clock, Arc::new(Permissive), options).unwrap();
        let session = broker.session(Principal::anonymous());
        let mut it = Self { log, session, stepper, queues: Vec::new() };
        for number in 0..DEPTHS_PER_TURN + 100 {
            let spec = QueueSpec::new(&format!("q{number}"), QueuePolicy::default());
            let created = it.session.create_queue(spec);
            let queue = it.drive(pin!(created)).await.unwrap();
            it.queues.push(queue);
        }
        it
    }

    async fn drive<F: Future>(&mut self, mut future: Pin<&mut F>) -> F::Output {
        for _ in 0..STEPS {
            if let Some(output) = poll_once(future.as_mut()).await {
                return output;
            }
            self.stepper.step();
        }
        panic!("no answer comes");
    }

    /// The first queues are counted, and the others are not asked for yet.
    async fn count_first<F: Future>(&mut self, mut overview: Pin<&mut F>) {
        for _ in 0..2 {
            assert!(poll_once(overview.as_mut()).await.is_none());
            self.stepper.step();
        }
    }
}

#[tokio::test]
async fn queues_that_go_between_two_slices_do_not_hide_others() {
    let mut it = Stepped::new().await;
    let (session, queues) = (it.session.clone(), it.queues.clone());
    let mut overview = pin!(session.overview());
    it.count_first(overview.as_mut()).await;
    // The last that was counted, behind which the count goes on, and one that was not.
    let gone = [queues[DEPTHS_PER_TURN - 1], queues[DEPTHS_PER_TURN + 50]];
    for queue in gone {
        let deleted = session.delete_queue(queue);
        it.drive(pin!(deleted)).await.unwrap();
    }
    let counted = it.drive(overview).await.unwrap().queues;
    let expected: Vec<_> = queues.into_iter().filter(|&queue| queue != gone[1]).collect();
    assert_eq!(counted.iter().map(|it| it.0).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_shard_that_stops_between_two_slices_says_so() {
    let mut it = Stepped::new().await;
    let (session, first) = (it.session.clone(), it.queues[0]);
    let mut overview = pin!(session.overview());
    it.count_first(overview.as_mut()).await;
    it.log.fail_next(LogError::Stopped { reason: "the disk is gone".to_owned() });
    let deleted = session.delete_queue(first);
    assert!(matches!(it.drive(pin!(deleted)).await, Err(ChangeError::Stopped(_))));
    assert!(matches!(it.drive(overview).await, Err(ChangeError::Stopped(_))));
}

#[tokio::test]
async fn a_broker_that_ends_between_two_slices_says_so() {
    let mut it = Stepped::new().await;
    let session = it.session.clone();
    let mut overview = pin!(session.overview());
    it.count_first(overview.as_mut()).await;
    assert!(poll_once(overview.as_mut()).await.is_none(), "the next slice is asked for");
    drop(it);
    assert!(matches!(poll_once(overview).await, Some(Err(ChangeError::Stopped(_)))));
}
