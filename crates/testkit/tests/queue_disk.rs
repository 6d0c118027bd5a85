//! What a queue leaves on disk: the broker and its log stepped by hand, counted in bytes of all files.
#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use duolog_broker::{
    Broker, BrokerOptions, Clock, LeaseAsk, NewRecord, Outcome, Permissive, Principal, QueueId, QueuePolicy,
    QueueSpec, Session, Stepper,
};
use duolog_storage::{DiskLog, Log, Options};
use duolog_testkit::{ManualClock, SimDisk};

const FILE_BYTES: u64 = 256 << 10;
const MESSAGE_BYTES: usize = 1 << 10;
/// Through the queue: 32 files' worth.
const MESSAGES: u64 = 32 * FILE_BYTES / MESSAGE_BYTES as u64;
/// One message in so many is received and never settled: one a file.
const STUCK_ONE_IN: u64 = FILE_BYTES / MESSAGE_BYTES as u64;

struct Node {
    disk: SimDisk,
    log: Arc<DiskLog>,
    clock: Arc<ManualClock>,
    session: Session,
    stepper: Stepper,
}

impl Node {
    fn start() -> Self {
        let disk = SimDisk::new(1);
        let options =
            Options { file_bytes: FILE_BYTES, cache_bytes: 64 << 10, reserve_files: 2, ..Options::default() };
        let log = Arc::new(DiskLog::open_manual(Arc::new(disk.clone()), options).unwrap());
        let clock = Arc::new(ManualClock::new());
        let options = BrokerOptions { seed: 1, retention_check_ms: 30_000, ..BrokerOptions::default() };
        let (broker, stepper) =
            Broker::start_manual(log.clone(), clock.clone(), Arc::new(Permissive), options).unwrap();
        let session = broker.session(Principal::anonymous());
        Self { disk, log, clock, session, stepper }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.clock.advance(ms);
        self.stepper.step();
        while self.log.pump() {
            self.stepper.step();
        }
    }

    fn complete<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..100_000 {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return answer;
            }
            self.stepper.step();
            if !self.log.pump() {
                self.pass_ms(1);
            }
        }
        panic!("no answer");
    }

    fn queue(&mut self) -> QueueId {
        let policy = QueuePolicy { visibility_timeout_ms: 12 * 60 * 60 * 1000, ..QueuePolicy::default() };
        let spec = QueueSpec::new("work", policy);
        let session = self.session.clone();
        self.complete(session.create_queue(spec)).unwrap()
    }

    /// Sends so many and acks all that come but those that are stuck. Gives the values of these.
    fn pass(&mut self, queue: QueueId, numbers: std::ops::Range<u64>) -> Vec<u64> {
        let session = self.session.clone();
        let topic = session.catalog().queue_by_id(queue).unwrap().topic;
        for number in numbers {
            let text = format!("{number:010} {}", "m".repeat(MESSAGE_BYTES - 11));
            let record = NewRecord { value: Some(Bytes::from(text)), ..NewRecord::default() };
            self.complete(session.publish(topic, vec![record])).unwrap();
        }
        let mut stuck = Vec::new();
        loop {
            let ask = LeaseAsk {
                queue,
                count: 500,
                visibility_ms: None,
                wait_ms: 0,
                attempt: None,
                priority: 0,
                bound: false,
            };
            let leased = self.complete(session.lease(ask)).unwrap();
            if leased.is_empty() {
                return stuck;
            }
            let number = |value: &Option<Bytes>| -> u64 {
                std::str::from_utf8(&value.as_ref().unwrap()[..10]).unwrap().parse().unwrap()
            };
            let (kept, done): (Vec<_>, Vec<_>) =
                leased.iter().partition(|it| number(&it.record.value) % STUCK_ONE_IN == STUCK_ONE_IN / 2);
            stuck.extend(kept.iter().map(|it| number(&it.record.value)));
            let outcomes = done.iter().map(|it| (it.id, Outcome::Ack)).collect();
            let results = self.complete(session.settle(queue, outcomes)).unwrap();
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
    }

    /// Lets time pass and the cleaner work until neither finds anything to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.pass_ms(2_000);
            while self.log.clean(self.clock.now().wall).unwrap() {}
        }
    }

    fn disk_bytes(&self) -> u64 {
        let names = self.disk.names().into_iter();
        names.filter_map(|name| self.disk.contents(&name)).map(|it| it.len() as u64).sum()
    }
}

#[test]
fn one_stuck_message_a_file_leaves_less_than_four_files_worth_of_disk() {
    let mut node = Node::start();
    let queue = node.queue();
    let mut stuck = Vec::new();
    let mut most = 0;
    for number in (0..MESSAGES).step_by(1_000) {
        stuck.extend(node.pass(queue, number..(number + 1_000).min(MESSAGES)));
        most = most.max(node.disk_bytes());
    }
    assert_eq!(stuck.len() as u64, MESSAGES / STUCK_ONE_IN);
    assert!(node.log.stats().bytes > MESSAGES * MESSAGE_BYTES as u64);
    node.settle();
    let left = node.disk_bytes();
    // The reserve and the newest file are three of them.
    assert!(left < 4 * FILE_BYTES, "{left} bytes of disk are left, {most} at most: {:?}", node.log.stats());
    // The stuck ones are there for all who wait long enough.
    node.pass_ms(13 * 60 * 60 * 1000);
    let again = node.pass(queue, 0..0);
    assert_eq!(again, stuck);
}
