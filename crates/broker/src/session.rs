//! [`Broker`] is the handle on a running shard; [`Session`] is one principal's way to its verbs.
//!
//! A verb that changes something is queued when it is called, in call order, and its [`Pending`] resolves when the
//! change is durable. Looks are answered from shared state without passing the shard's thread where that is possible.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use duolog_record::{Batch, Offset, PartitionId, Timestamp};
use duolog_storage::{Durability, Log};

use crate::errors::{AppendError, ChangeError, CursorError, FetchError, LeaseError, SettleError, Stopped};
use crate::{
    Appended, Authorizer, Catalog, Clock, CursorMove, Depth, GroupCursors, Labels, LeaseAsk, LeaseId, Leased,
    NewRecord, OffsetAt, Outcome, Overview, Principal, Published, QueueId, QueuePolicy, QueueSpec, ReadAsk,
    ReadSlice, Start, TopicId, TopicPolicy, TopicSpec,
};

/// An answer on its way. Dropping it does not undo what was asked, but a waiting receive is given up.
#[must_use = "the answer says whether it worked"]
pub struct Pending<T> {
    pub(crate) answer: tokio::sync::oneshot::Receiver<T>,
}

impl<T, E: From<Stopped>> Future for Pending<Result<T, E>> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            answer
                .unwrap_or_else(|_| Err(Stopped { reason: "the broker is shutting down".to_owned() }.into()))
        })
    }
}

/// Resolves when something that was not readable has become so, or a partition is gone.
pub struct Readable {}

impl Future for Readable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        unimplemented!()
    }
}

/// Settings of a shard.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// What an acknowledgement means where a topic does not say.
    pub durability: Durability,
    /// Seed of identities (topic ids, incarnations): randomness is a parameter.
    pub seed: u64,
    /// How often retention is applied, milliseconds.
    pub retention_check_ms: u64,
}

/// The handle on a running shard. Cheap to clone.
#[derive(Clone)]
pub struct Broker {}

impl Broker {
    /// Recovers the state from the log and starts the shard's thread.
    ///
    /// # Errors
    /// `Stopped` if the state partition cannot be read.
    pub fn start(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        authorizer: Arc<dyn Authorizer>,
        options: BrokerOptions,
    ) -> Result<Self, Stopped> {
        let _ = (log, clock, authorizer, options);
        unimplemented!()
    }

    /// A session for `principal`.
    #[must_use]
    pub fn session(&self, principal: Principal) -> Session {
        let _ = principal;
        unimplemented!()
    }

    /// Resolves when the shard has stopped by itself, with the reason: the process should exit and be restarted.
    pub async fn failed(&self) -> Stopped {
        unimplemented!()
    }

    /// The log under the shard, for metrics.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        unimplemented!()
    }

    /// Answers what is queued, stops the thread, closes the log. Blocks; waiting receives are answered empty.
    pub fn stop(&self) {}
}

/// One principal's verbs. Cheap to clone.
#[derive(Clone)]
pub struct Session {}

#[allow(unused_variables)]
impl Session {
    /// What exists now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// The broker's clock, wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }

    /// Appends a sealed batch whose CRC has been checked. Its idempotence and order are checked against the producers
    /// known in the partition; the offset is stamped outside the CRC.
    pub fn append(&self, partition: PartitionId, batch: Batch) -> Pending<Result<Appended, AppendError>> {
        unimplemented!()
    }

    /// Publishes records into a topic: each goes to the partition of its key's murmur2 hash, one without a key to the
    /// partitions in turn. All of one call are one commit. The answer has one entry per record, in order.
    pub fn publish(
        &self,
        topic: TopicId,
        records: Vec<NewRecord>,
    ) -> Pending<Result<Vec<Published>, AppendError>> {
        unimplemented!()
    }

    /// Reads whole batches. Does not wait. May touch the disk: see [`Self::is_cached`].
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn read(&self, ask: ReadAsk) -> Result<ReadSlice, FetchError> {
        unimplemented!()
    }

    /// True if a read from here would be served from memory and may be made on a thread that must not block.
    #[must_use]
    pub fn is_cached(&self, partition: PartitionId, from: Offset) -> bool {
        unimplemented!()
    }

    /// Waits until any of the partitions has more than the offset beside it, or is gone.
    #[must_use]
    pub fn readable(&self, beyond: &[(PartitionId, Offset)]) -> Readable {
        unimplemented!()
    }

    /// First and next readable offset.
    #[must_use]
    pub fn bounds(&self, partition: PartitionId) -> Option<Range<Offset>> {
        unimplemented!()
    }

    /// Epoch that new records of the partition are stamped with.
    #[must_use]
    pub fn leader_epoch(&self, partition: PartitionId) -> i32 {
        unimplemented!()
    }

    /// The first record whose timestamp is at or after `at`. May touch the disk.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn offset_at(&self, partition: PartitionId, at: Timestamp) -> Result<Option<OffsetAt>, FetchError> {
        unimplemented!()
    }

    /// The record with the largest timestamp, the first of several. May touch the disk.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn offset_of_max_timestamp(&self, partition: PartitionId) -> Result<Option<OffsetAt>, FetchError> {
        unimplemented!()
    }

    /// Leases records, oldest first within a partition, round robin across; waits in line with other receivers.
    /// Records that can no longer be decoded are dead-lettered on the way and not returned.
    ///
    /// # Errors
    /// See [`LeaseError`]. An empty vector is a normal answer.
    pub async fn lease(&self, ask: LeaseAsk) -> Result<Vec<Leased>, LeaseError> {
        unimplemented!()
    }

    /// Settles leases of one queue; one result for each, in order. An ack or dead-letter move is durable when answered.
    pub fn settle(
        &self,
        queue: QueueId,
        outcomes: Vec<(LeaseId, Outcome)>,
    ) -> Pending<Result<Vec<Result<(), SettleError>>, SettleError>> {
        unimplemented!()
    }

    /// How full a queue is.
    pub fn depth(&self, queue: QueueId) -> Pending<Result<Depth, LeaseError>> {
        unimplemented!()
    }

    /// Moves cursors of a group, all or none.
    pub fn move_cursors(&self, group: &str, moves: Vec<CursorMove>) -> Pending<Result<(), CursorError>> {
        unimplemented!()
    }

    /// All cursors of a group; empty if it has none.
    pub fn cursors(&self, group: &str) -> Pending<Result<GroupCursors, CursorError>> {
        unimplemented!()
    }

    /// Names of all groups that have a cursor.
    pub fn groups(&self) -> Pending<Result<Vec<String>, CursorError>> {
        unimplemented!()
    }

    /// Forgets some (`Some`) or all (`None`) cursors of a group. True if there were any.
    pub fn forget_cursors(
        &self,
        group: &str,
        partitions: Option<Vec<PartitionId>>,
    ) -> Pending<Result<bool, CursorError>> {
        unimplemented!()
    }

    /// A producer id that was never given out before, durable.
    pub fn new_producer_id(&self) -> Pending<Result<i64, CursorError>> {
        unimplemented!()
    }

    /// Creates a topic.
    pub fn create_topic(&self, spec: TopicSpec) -> Pending<Result<TopicId, ChangeError>> {
        unimplemented!()
    }

    /// Deletes a topic, its records and the queues that read it; waiting receives are answered `NotFound`.
    pub fn delete_topic(&self, topic: TopicId) -> Pending<Result<(), ChangeError>> {
        unimplemented!()
    }

    /// Replaces policy and labels of a topic.
    pub fn set_topic(
        &self,
        topic: TopicId,
        policy: TopicPolicy,
        labels: Labels,
    ) -> Pending<Result<(), ChangeError>> {
        unimplemented!()
    }

    /// Moves a partition's start up to `start`; answers the start that then holds.
    pub fn trim(&self, partition: PartitionId, start: Offset) -> Pending<Result<Offset, ChangeError>> {
        unimplemented!()
    }

    /// Declares a queue. `Exists` if the name is taken, whatever its settings: the frontend compares.
    pub fn create_queue(&self, spec: QueueSpec) -> Pending<Result<QueueId, ChangeError>> {
        unimplemented!()
    }

    /// Deletes a queue, and its topic if a queue made that and no other queue reads it.
    pub fn delete_queue(&self, queue: QueueId) -> Pending<Result<(), ChangeError>> {
        unimplemented!()
    }

    /// Replaces policy and labels of a queue. A shorter or longer visibility timeout holds for later leases.
    pub fn set_queue(
        &self,
        queue: QueueId,
        policy: QueuePolicy,
        labels: Labels,
    ) -> Pending<Result<(), ChangeError>> {
        unimplemented!()
    }

    /// Settles everything that is in the queue now, in flight and delayed included. Answers how many.
    pub fn purge_queue(&self, queue: QueueId) -> Pending<Result<u64, ChangeError>> {
        unimplemented!()
    }

    /// Makes settled records from `from` on available again: attempts start at 0, old handles are fenced, records that
    /// are still unsettled are left alone. Answers how many became available.
    pub fn replay_queue(&self, queue: QueueId, from: Start) -> Pending<Result<u64, ChangeError>> {
        unimplemented!()
    }

    /// A look at everything, for metrics and the admin API.
    pub fn overview(&self) -> Pending<Result<Overview, ChangeError>> {
        unimplemented!()
    }
}
