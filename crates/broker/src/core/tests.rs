//! Queues through the core: every test drives commands, commits, looks and the clock by hand.
#![allow(clippy::unwrap_used)]

mod attempts;
mod dead_letter;
mod declare;
mod dedup;
mod delay;
mod durable;
mod herd;
mod lease;
mod order;
mod partitions;
mod policies;
mod random;
mod redrive;
mod relaxed;
mod retention;
mod rewind;
mod routing;
mod standings;
mod waiting;
mod waits;

use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, Offset, PartitionId, Record};
use duolog_storage::{Log, ReadLimit, StoredBatch};
use tokio::sync::oneshot;

use super::harness::Harness;
use super::line::lease_id;
use super::{Command, Granted, LeaseReply};
use crate::catalog::DEFAULT_NAMESPACE;
use crate::errors::{ChangeError, LeaseError, SettleError};
use crate::ledger::Grant;
use crate::{
    Backoff, Depth, Labels, LeaseAsk, LeaseId, NewRecord, Order, Outcome, Queue, QueueId, QueuePolicy,
    QueueSpec, Start, TopicId,
};

type Answer = oneshot::Receiver<Result<Granted, LeaseError>>;

/// The visibility timeout of queues that do not say otherwise.
const VISIBILITY_MS: u64 = 30_000;

fn queue_policy() -> QueuePolicy {
    QueuePolicy { visibility_timeout_ms: VISIBILITY_MS, in_flight_max: 1_000, ..QueuePolicy::default() }
}

fn queue_spec(name: &str) -> QueueSpec {
    QueueSpec {
        namespace: DEFAULT_NAMESPACE.to_owned(),
        name: name.to_owned(),
        topic: None,
        dedup: None,
        durability: None,
        start: Start::Earliest,
        policy: queue_policy(),
        labels: Labels::new(),
    }
}

impl Harness {
    fn queue(&mut self, name: &str) -> QueueId {
        self.declare(queue_spec(name)).unwrap()
    }

    fn declare(&mut self, spec: QueueSpec) -> Result<QueueId, ChangeError> {
        self.done(|reply| Command::CreateQueue { spec: Box::new(spec), reply })
    }

    fn queue_of(&self, id: QueueId) -> &Arc<Queue> {
        self.core.catalog.queue_by_id(id).unwrap()
    }

    /// Changes a queue from what it is now.
    fn set_queue(&mut self, id: QueueId, policy: QueuePolicy, labels: Labels) -> Result<bool, ChangeError> {
        let known = self.queue_of(id).clone();
        self.done(|reply| Command::SetQueue { known, policy, labels, reply })
    }

    fn topic_of(&self, id: QueueId) -> TopicId {
        self.queue_of(id).topic
    }

    /// Sends values into the queue's topic, durable.
    fn send(&mut self, id: QueueId, values: &[&str]) {
        let topic = self.topic_of(id);
        self.send_to(topic, values);
    }

    fn send_to(&mut self, topic: TopicId, values: &[&str]) {
        let record = |value: &&str| NewRecord {
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..NewRecord::default()
        };
        let records = values.iter().map(record).collect();
        self.done(|reply| Command::Publish { topic, records, reply }).unwrap();
    }

    /// Asks for leases and leaves the answer open.
    fn wait(&mut self, queue: QueueId, count: u32, wait_ms: u64) -> Answer {
        let (reply, answer) = LeaseReply::new(None);
        let ask =
            LeaseAsk { queue, count, visibility_ms: None, wait_ms, attempt: None, priority: 0, bound: false };
        self.core.handle(self.now, Command::Lease { ask, reply });
        answer
    }

    /// Leases without waiting.
    fn try_lease(&mut self, queue: QueueId, count: u32) -> Result<Vec<Grant>, LeaseError> {
        let mut answer = self.wait(queue, count, 0);
        self.look();
        taken(&mut answer)
    }

    fn lease(&mut self, queue: QueueId, count: u32) -> Vec<Grant> {
        self.try_lease(queue, count).unwrap()
    }

    fn offsets(&mut self, queue: QueueId, count: u32) -> Vec<u64> {
        offsets(&self.lease(queue, count))
    }

    fn settle_one(&mut self, id: LeaseId, outcome: Outcome) -> Result<(), SettleError> {
        self.settle_all(id.queue, vec![(id, outcome)]).remove(0)
    }

    fn settle_all(
        &mut self,
        queue: QueueId,
        outcomes: Vec<(LeaseId, Outcome)>,
    ) -> Vec<Result<(), SettleError>> {
        self.done(|reply| Command::Settle { queue, outcomes, reply }).unwrap()
    }

    fn ack(&mut self, queue: QueueId, grants: &[Grant]) -> Vec<Result<(), SettleError>> {
        let outcomes = grants.iter().map(|grant| (lease_id(queue, grant), Outcome::Ack)).collect();
        self.settle_all(queue, outcomes)
    }

    fn depth(&mut self, queue: QueueId) -> Depth {
        self.done(|reply| Command::Depth { queue, reply }).unwrap()
    }

    /// Every record of a partition.
    fn records(&self, partition: PartitionId) -> Vec<Record> {
        let bounds = self.log.bounds(partition).unwrap();
        let limit = ReadLimit { bytes_max: usize::MAX, until: bounds.end };
        let batches = self.log.read(partition, bounds.start, limit).unwrap();
        let open =
            |it: &StoredBatch| Batch::open_body(it.base, it.leader_epoch, &it.body, usize::MAX).unwrap();
        batches.iter().flat_map(open).map(Result::unwrap).collect()
    }

    /// The values in a queue's only partition, settled or not.
    fn values(&self, id: QueueId) -> Vec<String> {
        let partition = self.partition(self.topic_of(id), 0);
        self.records(partition).iter().map(value).collect()
    }
}

fn value(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
}

/// What a receiver has been answered; panics if it still waits.
fn taken(answer: &mut Answer) -> Result<Vec<Grant>, LeaseError> {
    let granted = answer.try_recv().expect("an answer")?;
    let grants = granted.grants().to_vec();
    granted.accept();
    Ok(grants)
}

fn waits(answer: &mut Answer) -> bool {
    matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

fn offsets(grants: &[Grant]) -> Vec<u64> {
    grants.iter().map(|grant| grant.offset.0).collect()
}

fn harness() -> Harness {
    Harness::new(|_| {})
}

const FIRST: Offset = Offset(0);
