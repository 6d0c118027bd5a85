//! [`Session`] is one principal's way to the verbs of a running shard.
//!
//! A verb that changes something is queued when it is called, in call order, and its [`Pending`] resolves when the
//! change is durable. Looks are answered from shared state without passing the shard where that is possible.

mod lease;
mod look;
mod routes;

pub use look::Gap;
pub(crate) use look::KeptOpen;

use std::future::Future;
use std::ops::{ControlFlow, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use duolog_record::{Batch, Offset, PartitionId, Record, Timestamp};
use duolog_storage::Volume;
use tokio::sync::oneshot;

use crate::broker::Inner;
use crate::core::{Command, Reply, Stand};
use crate::errors::{AppendError, ChangeError, CursorError, FetchError, LeaseError, SettleError, Stopped};
use crate::forward;
use crate::idempotency::{self, BatchKeys};
use crate::limits::LEASE_ANSWER_BYTES;
use crate::live::{Listener, ListenerOptions, Live, Publisher};
use crate::principal::authorize;
use crate::routing::ExchangeId;
use crate::watch::Readable;
use crate::{
    Action, Appended, Catalog, Clock, CursorMove, Depth, EpochEnd, GroupCursors, KnownProducer, Labels,
    LeaseAsk, LeaseId, Leased, MoveId, MoveSpec, MoveTask, NewRecord, OffsetAt, Outcome, Overview, Principal,
    Published, Queue, QueueId, QueuePolicy, QueueSpec, ReadAsk, ReadSlice, Standing, Start, Topic, TopicId,
    TopicPolicy, TopicSpec, Written,
};
use crate::{by_epoch, by_time};

/// An answer on its way. Dropping it does not undo what was asked, but a waiting receive is given up.
#[must_use = "the answer says whether it worked"]
pub struct Pending<T> {
    pub(crate) answer: oneshot::Receiver<T>,
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

/// One principal's verbs. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
    pub(crate) principal: Arc<Principal>,
}

impl Session {
    /// What exists now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.shared.catalog()
    }

    /// The broker's clock, wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now().wall
    }

    /// The broker's clock, for frontends that keep deadlines of their own.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The last commits; `None` if none became durable since the start. Those who read much let who writes go first.
    #[must_use]
    pub fn written(&self) -> Option<Written> {
        self.inner.shared.written()
    }

    /// Appends a sealed batch whose CRC has been checked. Its idempotence and order are checked against the producers
    /// known in the partition; the offset is stamped outside the CRC. On a topic that deduplicates, records whose key in the
    /// header [`IDEMPOTENCY_KEY`](crate::headers::IDEMPOTENCY_KEY) is known are left out; if that leaves nothing, the
    /// answer is the first append's.
    pub fn append(&self, partition: PartitionId, batch: Batch) -> Pending<Result<Appended, AppendError>> {
        if !self.may_on_partition(Action::Produce, partition) {
            return refused(AppendError::Denied);
        }
        match self.keys_of(partition, &batch) {
            Ok(keys) => self.ask(|reply| Command::Append { partition, batch, keys, reply }),
            Err(error) => refused(error),
        }
    }

    /// The idempotency keys of a batch for a topic that deduplicates. It is opened here, by who sends it: the core would keep
    /// everybody else waiting meanwhile.
    fn keys_of(&self, partition: PartitionId, batch: &Batch) -> Result<Option<BatchKeys>, AppendError> {
        let catalog = self.inner.shared.catalog.load();
        let policy = catalog.topic_of(partition).and_then(|topic| topic.policy.deduplicates());
        policy.map(|policy| idempotency::of_batch(&policy, batch)).transpose()
    }

    /// Publishes records into a topic: each goes to the partition of its key's murmur2 hash, one without a key to the
    /// partitions in turn. All of one call are one commit. The answer has one entry per record, in order.
    pub fn publish(
        &self,
        topic: TopicId,
        records: Vec<NewRecord>,
    ) -> Pending<Result<Vec<Published>, AppendError>> {
        if !self.may_on_topic(Action::Produce, topic) {
            return refused(AppendError::Denied);
        }
        self.ask(|reply| Command::Publish { topic, records, reply })
    }

    /// The same on behalf of an operator's binding, whoever's session it is.
    pub(crate) fn publish_unasked(
        &self,
        topic: TopicId,
        records: Vec<NewRecord>,
    ) -> Pending<Result<Vec<Published>, AppendError>> {
        self.ask(|reply| Command::Publish { topic, records, reply })
    }

    /// Reads whole batches. Does not wait. May touch the disk: see [`Self::is_cached`].
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn read(&self, ask: ReadAsk) -> Result<ReadSlice, FetchError> {
        if !self.may_on_partition(Action::Consume, ask.partition) {
            return Err(FetchError::Denied);
        }
        look::read(&self.inner, ask)
    }

    /// Decodes the records from `from` on, one after the other, until `visit` breaks or there are no more. What cannot be read for
    /// damage is visited as a [`Gap`], and the scan goes on behind it. One batch is open at a time; a record keeps that alive. Blocks: on
    /// the disk, and until there is room for the batch.
    ///
    /// # Errors
    /// See [`FetchError`]; `Storage` only where the read itself has failed, and may succeed another time.
    pub fn scan(
        &self,
        partition: PartitionId,
        from: Offset,
        visit: impl FnMut(Result<Record, Gap>) -> ControlFlow<()>,
    ) -> Result<(), FetchError> {
        self.scan_on(partition, from, &mut KeptOpen::default(), visit)
    }

    /// The same for one who comes again where it broke off: a batch that it has not come through stays open in `kept`.
    pub(crate) fn scan_on(
        &self,
        partition: PartitionId,
        from: Offset,
        kept: &mut KeptOpen,
        visit: impl FnMut(Result<Record, Gap>) -> ControlFlow<()>,
    ) -> Result<(), FetchError> {
        if !self.may_on_partition(Action::Consume, partition) {
            return Err(FetchError::Denied);
        }
        look::scan(&self.inner, partition, from, kept, visit)
    }

    /// True if a read from here would be served from memory and may be made on a thread that must not block.
    #[must_use]
    pub fn is_cached(&self, partition: PartitionId, from: Offset) -> bool {
        self.inner.log.is_cached(partition, from)
    }

    /// Waits until any of the partitions has more than the offset beside it, or is gone.
    pub fn readable(&self, beyond: &[(PartitionId, Offset)]) -> Readable {
        self.inner.shared.watch.wait(beyond, |partition| Some(self.inner.log.bounds(partition)?.end))
    }

    /// First and next readable offset.
    #[must_use]
    pub fn bounds(&self, partition: PartitionId) -> Option<Range<Offset>> {
        look::bounds(&self.inner, partition)
    }

    /// The size of the volume that everything is stored on, if there is one. May block.
    #[must_use]
    pub fn volume(&self) -> Option<Volume> {
        self.inner.log.volume()
    }

    /// Epoch that new records of the partition are stamped with.
    #[must_use]
    pub fn leader_epoch(&self, partition: PartitionId) -> i32 {
        self.inner.shared.catalog.load().epochs.get(&partition).copied().unwrap_or_default()
    }

    /// The first record whose timestamp is at or after `at`. May touch the disk.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn offset_at(&self, partition: PartitionId, at: Timestamp) -> Result<Option<OffsetAt>, FetchError> {
        if !self.may_on_partition(Action::Describe, partition) {
            return Err(FetchError::Denied);
        }
        look::bounds(&self.inner, partition).ok_or(FetchError::NotFound(partition))?;
        by_time::offset_at(&*self.inner.log, &self.inner.shared.room, partition, at)
    }

    /// The record with the largest timestamp, the first of several. May touch the disk.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn offset_of_max_timestamp(&self, partition: PartitionId) -> Result<Option<OffsetAt>, FetchError> {
        if !self.may_on_partition(Action::Describe, partition) {
            return Err(FetchError::Denied);
        }
        look::bounds(&self.inner, partition).ok_or(FetchError::NotFound(partition))?;
        by_time::offset_of_max_timestamp(&*self.inner.log, &self.inner.shared.room, partition)
    }

    /// Where the records of an epoch end. May touch the disk: see `by_epoch`.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn end_of_epoch(&self, partition: PartitionId, epoch: i32) -> Result<Option<EpochEnd>, FetchError> {
        if !self.may_on_partition(Action::Describe, partition) {
            return Err(FetchError::Denied);
        }
        let bounds = look::bounds(&self.inner, partition).ok_or(FetchError::NotFound(partition))?;
        by_epoch::end_of(&*self.inner.log, partition, bounds, self.leader_epoch(partition), epoch)
    }

    /// Stored bytes of a partition; 0 if there is none.
    #[must_use]
    pub fn partition_bytes(&self, partition: PartitionId) -> u64 {
        self.inner.log.partition_bytes(partition)
    }

    /// Leases records, oldest first within a partition, round robin across; waits in line with other receivers.
    /// Records that can no longer be decoded are dead-lettered on the way and not returned.
    ///
    /// # Errors
    /// See [`LeaseError`]. An empty vector is a normal answer.
    pub async fn lease(&self, ask: LeaseAsk) -> Result<Vec<Leased>, LeaseError> {
        let (leased, _) = self
            .lease_within(ask, LEASE_ANSWER_BYTES, |_| std::future::ready(Ok::<_, LeaseError>(())))
            .await?;
        Ok(leased)
    }

    /// The same, for a receiver with little room: at most `bytes_max` bytes of records (and the one that reaches them),
    /// and only once `reserve` has found room for the bytes that it is given. What is left keeps its place and its
    /// attempts; so does everything if `reserve` fails or the receiver goes away meanwhile.
    ///
    /// # Errors
    /// See [`LeaseError`], and what `reserve` says.
    pub async fn lease_within<R, E: From<LeaseError>, F: Future<Output = Result<R, E>>>(
        &self,
        ask: LeaseAsk,
        bytes_max: usize,
        reserve: impl Fn(usize) -> F,
    ) -> Result<(Vec<Leased>, Option<R>), E> {
        if !self.may_on_queue(Action::Consume, ask.queue) {
            return Err(LeaseError::Denied.into());
        }
        lease::lease(&self.inner, ask, bytes_max.min(LEASE_ANSWER_BYTES), reserve).await
    }

    /// Stands for a queue until it is dropped: one that consumes for longer than one receive. Those of a higher `priority` go
    /// first as long as they have credit, also between two of their receives. Where all that stand for a queue are
    /// `single` ones, one at a time is active: the first, and after it the highest priority and then the oldest; it is
    /// to receive only then, and is told by `woken`. Who receives without standing for the queue has priority 0.
    ///
    /// # Errors
    /// Denied, as for a receive; that the queue is gone is told by the next receive.
    pub fn stand(
        &self,
        queue: QueueId,
        priority: i64,
        single: bool,
        woken: Waker,
    ) -> Result<Standing, LeaseError> {
        if !self.may_on_queue(Action::Consume, queue) {
            return Err(LeaseError::Denied);
        }
        let number = self.inner.stands.fetch_add(1, Ordering::Relaxed);
        let stand = Stand::new(priority, number, single, woken);
        Ok(Standing::new(queue, stand, Arc::clone(&self.inner.desk)))
    }

    /// Settles leases of one queue; one result for each, in order. An ack or dead-letter move is durable when answered.
    pub fn settle(
        &self,
        queue: QueueId,
        outcomes: Vec<(LeaseId, Outcome)>,
    ) -> Pending<Result<Vec<Result<(), SettleError>>, SettleError>> {
        if !self.may_on_queue(Action::Consume, queue) {
            return refused(SettleError::Denied);
        }
        self.ask(|reply| Command::Settle { queue, outcomes, reply })
    }

    /// Gives back leases of one queue whose records did not reach anybody, as if they had never been leased.
    pub fn give_back(&self, queue: QueueId, leases: Vec<LeaseId>) {
        if self.may_on_queue(Action::Consume, queue) && !leases.is_empty() {
            self.inner.send(Command::GiveBack { leases });
        }
    }

    /// How full a queue is.
    pub fn depth(&self, queue: QueueId) -> Pending<Result<Depth, LeaseError>> {
        if !self.may_on_queue(Action::Describe, queue) {
            return refused(LeaseError::Denied);
        }
        self.ask(|reply| Command::Depth { queue, reply })
    }

    /// Moves cursors of a group, all or none. Those of a forward are its own: `Denied`.
    pub fn move_cursors(&self, group: &str, moves: Vec<CursorMove>) -> Pending<Result<(), CursorError>> {
        if forward::is_group(group) || !self.may(Action::Consume, group) {
            return refused(CursorError::Denied);
        }
        self.place_cursors(group, moves)
    }

    /// The same, also where the group is a forward's.
    pub(crate) fn place_cursors(
        &self,
        group: &str,
        moves: Vec<CursorMove>,
    ) -> Pending<Result<(), CursorError>> {
        let group = group.to_owned();
        self.ask(|reply| Command::MoveCursors { group, moves, reply })
    }

    /// All cursors of a group; empty if it has none.
    pub fn cursors(&self, group: &str) -> Pending<Result<GroupCursors, CursorError>> {
        if !self.may(Action::Describe, group) {
            return refused(CursorError::Denied);
        }
        let group = group.to_owned();
        self.ask(|reply| Command::Cursors { group, reply })
    }

    /// Names of all groups that have a cursor.
    pub fn groups(&self) -> Pending<Result<Vec<String>, CursorError>> {
        if !self.may(Action::Describe, "*") {
            return refused(CursorError::Denied);
        }
        self.ask(|reply| Command::Groups { reply })
    }

    /// Forgets some (`Some`) or all (`None`) cursors of a group. True if there were any. Those of a forward are its own: `Denied`.
    pub fn forget_cursors(
        &self,
        group: &str,
        partitions: Option<Vec<PartitionId>>,
    ) -> Pending<Result<bool, CursorError>> {
        if forward::is_group(group) || !self.may(Action::Consume, group) {
            return refused(CursorError::Denied);
        }
        self.drop_cursors(group, partitions)
    }

    /// The same, also where the group is a forward's.
    pub(crate) fn drop_cursors(
        &self,
        group: &str,
        partitions: Option<Vec<PartitionId>>,
    ) -> Pending<Result<bool, CursorError>> {
        let group = group.to_owned();
        self.ask(|reply| Command::ForgetCursors { group, partitions, reply })
    }

    /// A producer id that was never given out before, durable.
    pub fn new_producer_id(&self) -> Pending<Result<i64, CursorError>> {
        if !self.may(Action::Produce, "*") {
            return refused(CursorError::Denied);
        }
        self.ask(|reply| Command::NewProducerId { reply })
    }

    /// The idempotent producers that are known in a partition, by rising id.
    pub fn producers(&self, partition: PartitionId) -> Pending<Result<Vec<KnownProducer>, CursorError>> {
        if !self.may_on_partition(Action::Consume, partition) {
            return refused(CursorError::Denied);
        }
        self.ask(|reply| Command::Producers { partition, reply })
    }

    /// Creates a topic.
    pub fn create_topic(&self, spec: TopicSpec) -> Pending<Result<TopicId, ChangeError>> {
        if !self.may(Action::Manage, &spec.name) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::CreateTopic { spec, reply })
    }

    /// Adds partitions to a topic until it has `total`; its queues read the new ones from their beginning. `Invalid` if
    /// it has as many or more, or if a queue on it hands out records in the order of their keys: more partitions would
    /// send a key elsewhere than what was sent before.
    pub fn add_partitions(&self, topic: TopicId, total: u32) -> Pending<Result<(), ChangeError>> {
        if !self.may_on_topic(Action::Manage, topic) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::AddPartitions { topic, total, reply })
    }

    /// Deletes a topic, its records and the queues that read it; waiting receives are answered `NotFound`.
    pub fn delete_topic(&self, topic: TopicId) -> Pending<Result<(), ChangeError>> {
        if !self.may_on_topic(Action::Manage, topic) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::DeleteTopic { topic, reply })
    }

    /// Replaces policy and labels of a topic, if it is still what `known` says: of changes at the same time none is undone. Else
    /// nothing is done, and the answer is `false` once what it is instead is durable, and so in the catalog.
    pub fn set_topic(
        &self,
        known: &Arc<Topic>,
        policy: TopicPolicy,
        labels: Labels,
    ) -> Pending<Result<bool, ChangeError>> {
        if !self.may_on_topic(Action::Manage, known.id) {
            return refused(ChangeError::Denied);
        }
        let known = Arc::clone(known);
        self.ask(|reply| Command::SetTopic { known, policy, labels, reply })
    }

    /// Moves a partition's start up to `start`, over what queues still hold; answers the start that then holds.
    pub fn trim(&self, partition: PartitionId, start: Offset) -> Pending<Result<Offset, ChangeError>> {
        if !self.may_on_partition(Action::Manage, partition) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::Trim { partition, start, over_queues: true, reply })
    }

    /// The same, but `Invalid` and nothing done if a queue has not settled everything below.
    pub fn trim_unneeded(
        &self,
        partition: PartitionId,
        start: Offset,
    ) -> Pending<Result<Offset, ChangeError>> {
        if !self.may_on_partition(Action::Manage, partition) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::Trim { partition, start, over_queues: false, reply })
    }

    /// Declares a queue. `Exists` if the name is taken, whatever its settings: the frontend compares.
    pub fn create_queue(&self, spec: QueueSpec) -> Pending<Result<QueueId, ChangeError>> {
        if !self.may(Action::Manage, &spec.name) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::CreateQueue { spec: Box::new(spec), reply })
    }

    /// Deletes a queue, and its topic if a queue made that and no other queue reads it.
    pub fn delete_queue(&self, queue: QueueId) -> Pending<Result<(), ChangeError>> {
        if !self.may_on_queue(Action::Manage, queue) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::DeleteQueue { queue, reply })
    }

    /// The same for a queue. A shorter or longer visibility timeout holds for later leases.
    pub fn set_queue(
        &self,
        known: &Arc<Queue>,
        policy: QueuePolicy,
        labels: Labels,
    ) -> Pending<Result<bool, ChangeError>> {
        if !self.may_on_queue(Action::Manage, known.id) {
            return refused(ChangeError::Denied);
        }
        let known = Arc::clone(known);
        self.ask(|reply| Command::SetQueue { known, policy, labels, reply })
    }

    /// Settles everything that is in the queue now, in flight and delayed included. Answers how many.
    pub fn purge_queue(&self, queue: QueueId) -> Pending<Result<u64, ChangeError>> {
        if !self.may_on_queue(Action::Manage, queue) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::PurgeQueue { queue, reply })
    }

    /// The same, but for what is leased or delayed. Answers how many.
    pub fn purge_unheld(&self, queue: QueueId) -> Pending<Result<u64, ChangeError>> {
        if !self.may_on_queue(Action::Manage, queue) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::PurgeUnheld { queue, reply })
    }

    /// Makes settled records from `from` on available again: attempts start at 0, old handles are fenced, records that
    /// are still unsettled are left alone. Answers how many became available.
    pub fn replay_queue(&self, queue: QueueId, from: Start) -> Pending<Result<u64, ChangeError>> {
        if !self.may_on_queue(Action::Manage, queue) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::ReplayQueue { queue, from, reply })
    }

    /// Starts moving records of a queue back to where they were dead-lettered from, or to another queue's topic. Each
    /// is in one place or the other, never in both; attempts begin at 0 there, and the origin is kept. The task goes on
    /// after a restart. It takes as many records as the queue has now, those that nobody else has leased.
    /// `Exists` if one is running from this queue; `OverLimit` with `limits::MOVE_TASKS` of them.
    pub fn start_move(&self, spec: MoveSpec) -> Pending<Result<MoveId, ChangeError>> {
        let destination = spec.destination.into_iter().all(|queue| self.may_on_queue(Action::Produce, queue));
        if !self.may_on_queue(Action::Manage, spec.source) || !destination {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::StartMove { spec: Box::new(spec), reply })
    }

    /// Move tasks from one queue, or all, latest first: the running, and the last `limits::MOVE_TASKS_KEPT` of each queue
    /// that are over.
    pub fn list_moves(&self, source: Option<QueueId>) -> Pending<Result<Vec<MoveTask>, ChangeError>> {
        if !source.map_or_else(
            || self.may(Action::Describe, "*"),
            |source| self.may_on_queue(Action::Describe, source),
        ) {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::ListMoves { source, reply })
    }

    /// Ends a move task; answers how it then stands. What it has moved stays moved. `Invalid` if it is over.
    pub fn cancel_move(&self, id: MoveId) -> Pending<Result<MoveTask, ChangeError>> {
        if !self.may(Action::Manage, "*") {
            return refused(ChangeError::Denied);
        }
        self.ask(|reply| Command::CancelMove { id, reply })
    }

    /// A look at everything, for metrics and the admin API. Queues are counted some at a time, so that nobody has to wait
    /// until all are; each as it is at its turn.
    ///
    /// # Errors
    /// `Denied` without the permission to describe everything; `Stopped`.
    pub async fn overview(&self) -> Result<Overview, ChangeError> {
        if !self.may(Action::Describe, "*") {
            return Err(ChangeError::Denied);
        }
        let mut overview = self.ask(|reply| Command::Overview { reply }).await?;
        let mut after = None;
        loop {
            let some = self.ask(|reply| Command::Depths { after, reply }).await?;
            let Some(&(last, _)) = some.last() else { return Ok(overview) };
            after = Some(last);
            overview.queues.extend(some);
        }
    }

    /// A connection's end of the live channels: it hears what it subscribes to.
    #[must_use]
    pub fn listen(&self, options: ListenerOptions) -> Listener {
        self.inner.live.listen(Arc::clone(&self.principal), options)
    }

    /// A connection's way into the live channels; `own` is the end of the same connection.
    #[must_use]
    pub fn publisher(&self, own: Option<&Listener>) -> Publisher {
        self.inner.live.publisher(Arc::clone(&self.principal), own, Some(self.clone()))
    }

    /// The live channels, to look at.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.inner.live
    }

    /// Sends a command; the answer comes when it is decided.
    fn ask<T, E: From<Stopped>>(
        &self,
        command: impl FnOnce(Reply<T, E>) -> Command,
    ) -> Pending<Result<T, E>> {
        let (reply, answer) = oneshot::channel();
        self.inner.send(command(reply));
        Pending { answer }
    }

    /// Asks the authorizer about a thing by name: for lists, and for what a principal is told of its rights.
    #[must_use]
    pub fn may(&self, action: Action, resource: &str) -> bool {
        authorize(&*self.inner.authorizer, &self.principal, action, resource).is_some()
    }

    /// As `may`, of a topic by id; one that does not exist is refused by the verb itself.
    fn may_on_topic(&self, action: Action, topic: TopicId) -> bool {
        let catalog = self.inner.shared.catalog.load();
        catalog.topic_by_id(topic).is_none_or(|topic| self.may(action, &topic.name))
    }

    fn may_on_queue(&self, action: Action, queue: QueueId) -> bool {
        let catalog = self.inner.shared.catalog.load();
        catalog.queue_by_id(queue).is_none_or(|queue| self.may(action, &queue.name))
    }

    fn may_on_exchange(&self, action: Action, exchange: ExchangeId) -> bool {
        let catalog = self.inner.shared.catalog.load();
        catalog.exchange_by_id(exchange).is_none_or(|exchange| self.may(action, &exchange.name))
    }

    fn may_on_partition(&self, action: Action, partition: PartitionId) -> bool {
        let catalog = self.inner.shared.catalog.load();
        catalog.topic_of(partition).is_none_or(|topic| self.may(action, &topic.name))
    }
}

/// An answer that is known without asking the shard.
fn refused<T, E: From<Stopped>>(error: E) -> Pending<Result<T, E>> {
    let (reply, answer) = oneshot::channel();
    // The receiver is held right here.
    let _ = reply.send(Err(error));
    Pending { answer }
}
