//! What a shard's core is asked: one command per verb, each with the sender that its answer goes to.
//!
//! Adding a verb: a variant here, an arm in [`Core::handle`](super::Core::handle), a method of `Session`.

use std::sync::Arc;

use duolog_record::{Batch, Offset, PartitionId};
use tokio::sync::oneshot;

use super::line::LeaseReply;
use super::standings::Stand;
use super::work::Finding;
use crate::errors::{AppendError, ChangeError, CursorError, LeaseError, SettleError, Stopped};
use crate::idempotency::BatchKeys;
use crate::routing::{Binding, BindingId, BindingSpec, Exchange, ExchangeId, ExchangeSpec};
use crate::{
    Advance, Appended, CursorMove, Depth, GroupCursors, KnownProducer, Labels, LeaseAsk, LeaseId, MoveId,
    MoveSpec, MoveTask, NewRecord, Outcome, Overview, Published, Queue, QueueId, QueuePolicy, QueueSpec,
    Routed, Start, Topic, TopicId, TopicPolicy, TopicSpec,
};

/// Where an answer goes. A receiver that is gone is no error.
pub type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// One verb on its way to the core.
pub enum Command {
    /// A sealed batch to a partition.
    Append {
        /// Where to.
        partition: PartitionId,
        /// The batch, its checksum verified.
        batch: Batch,
        /// Its idempotency keys, if somebody has looked; else the core does where the topic deduplicates.
        keys: Option<BatchKeys>,
        /// Answered when durable.
        reply: Reply<Appended, AppendError>,
    },
    /// Records into a topic.
    Publish {
        /// Where to.
        topic: TopicId,
        /// What.
        records: Vec<NewRecord>,
        /// Answered when durable.
        reply: Reply<Vec<Published>, AppendError>,
    },
    /// Records to the topics that were found for each.
    Route {
        /// What, and where to.
        records: Vec<Routed>,
        /// One that cannot be stored refuses all.
        whole: bool,
        /// A cursor that moves with them.
        advance: Option<Advance>,
        /// Answered when durable: one result for each record.
        reply: Reply<Vec<Result<(), AppendError>>, AppendError>,
    },
    /// Declares an exchange.
    CreateExchange {
        /// What.
        spec: Box<ExchangeSpec>,
        /// Answered when durable.
        reply: Reply<ExchangeId, ChangeError>,
    },
    /// Deletes an exchange and its bindings.
    DeleteExchange {
        /// Which.
        exchange: ExchangeId,
        /// Only if nothing is bound to it.
        if_unused: bool,
        /// Answered when durable.
        reply: Reply<(), ChangeError>,
    },
    /// Makes a binding.
    Bind {
        /// What.
        spec: Box<BindingSpec>,
        /// Answered when durable: the one that is the same, if there is one.
        reply: Reply<BindingId, ChangeError>,
    },
    /// Undoes a binding.
    Unbind {
        /// Which.
        spec: Box<BindingSpec>,
        /// Answered when durable: whether it was there.
        reply: Reply<bool, ChangeError>,
    },
    /// Replaces the alternate and the labels of an exchange.
    SetExchange {
        /// Which, as it is known.
        known: Arc<Exchange>,
        /// New alternate.
        alternate: Option<String>,
        /// New labels.
        labels: Labels,
        /// Answered when durable: whether it was still what is known.
        reply: Reply<bool, ChangeError>,
    },
    /// Puts a binding in the place of another.
    Rebind {
        /// Of which, as it is known.
        known: Arc<Binding>,
        /// What.
        spec: Box<BindingSpec>,
        /// Answered when durable: whether the other was still there.
        reply: Reply<bool, ChangeError>,
    },
    /// Moves cursors of a group, all or none.
    MoveCursors {
        /// Whose.
        group: String,
        /// To where.
        moves: Vec<CursorMove>,
        /// Answered when durable.
        reply: Reply<(), CursorError>,
    },
    /// Looks at all cursors of a group.
    Cursors {
        /// Whose.
        group: String,
        /// Answered when what it shows is durable.
        reply: Reply<GroupCursors, CursorError>,
    },
    /// Names of all groups that have a cursor.
    Groups {
        /// Answered when what it shows is durable.
        reply: Reply<Vec<String>, CursorError>,
    },
    /// Forgets cursors.
    ForgetCursors {
        /// Whose.
        group: String,
        /// Which; `None` is all.
        partitions: Option<Vec<PartitionId>>,
        /// Answered when durable: whether there were any.
        reply: Reply<bool, CursorError>,
    },
    /// What is known of the idempotent producers of a partition.
    Producers {
        /// Which.
        partition: PartitionId,
        /// Answered when what it shows is durable.
        reply: Reply<Vec<KnownProducer>, CursorError>,
    },
    /// A producer id that was never given out.
    NewProducerId {
        /// Answered when durable.
        reply: Reply<i64, CursorError>,
    },
    /// Creates a topic.
    CreateTopic {
        /// What.
        spec: TopicSpec,
        /// Answered when durable.
        reply: Reply<TopicId, ChangeError>,
    },
    /// Adds partitions to a topic.
    AddPartitions {
        /// Which.
        topic: TopicId,
        /// How many it is to have.
        total: u32,
        /// Answered when durable.
        reply: Reply<(), ChangeError>,
    },
    /// Deletes a topic and what reads it as a queue.
    DeleteTopic {
        /// Which.
        topic: TopicId,
        /// Answered when durable.
        reply: Reply<(), ChangeError>,
    },
    /// Replaces policy and labels, if the topic still is what the sender has seen.
    SetTopic {
        /// As it was seen.
        known: Arc<Topic>,
        /// New policy.
        policy: TopicPolicy,
        /// New labels.
        labels: Labels,
        /// Answered when durable: whether it was.
        reply: Reply<bool, ChangeError>,
    },
    /// Moves a partition's start up.
    Trim {
        /// Which.
        partition: PartitionId,
        /// To where.
        start: Offset,
        /// Even if that takes from a queue what it has not settled.
        over_queues: bool,
        /// Answered when durable: the start that then holds.
        reply: Reply<Offset, ChangeError>,
    },
    /// Leases records, or waits in line for some.
    Lease {
        /// What is asked for.
        ask: LeaseAsk,
        /// Answered when there is something, or the wait is over.
        reply: LeaseReply,
    },
    /// Somebody consumes from a queue from now on.
    Join {
        /// Which.
        queue: QueueId,
        /// Who.
        stand: Arc<Stand>,
    },
    /// Somebody who stood for a queue goes.
    Leave {
        /// Which.
        queue: QueueId,
        /// Who.
        stand: Arc<Stand>,
    },
    /// Somebody whom others waited for would take nothing now.
    Serve {
        /// From which queue.
        queue: QueueId,
    },
    /// Leases whose receivers went away before they got them.
    GiveBack {
        /// Which, all of one queue.
        leases: Vec<LeaseId>,
    },
    /// Leases of records that could not be handed out.
    Unreceivable {
        /// Of which queue.
        queue: QueueId,
        /// They cannot be decoded.
        malformed: Vec<LeaseId>,
        /// The log no longer has them.
        gone: Vec<LeaseId>,
    },
    /// Ends or changes leases.
    Settle {
        /// Of which queue.
        queue: QueueId,
        /// Which, and what becomes of them.
        outcomes: Vec<(LeaseId, Outcome)>,
        /// Answered when what was settled is durable.
        reply: Reply<Vec<Result<(), SettleError>>, SettleError>,
    },
    /// Declares a queue.
    CreateQueue {
        /// What.
        spec: Box<QueueSpec>,
        /// Answered when durable.
        reply: Reply<QueueId, ChangeError>,
    },
    /// Deletes a queue.
    DeleteQueue {
        /// Which.
        queue: QueueId,
        /// Answered when durable.
        reply: Reply<(), ChangeError>,
    },
    /// Replaces policy and labels of a queue, if it still is what the sender has seen.
    SetQueue {
        /// As it was seen.
        known: Arc<Queue>,
        /// New policy.
        policy: QueuePolicy,
        /// New labels.
        labels: Labels,
        /// Answered when durable: whether it was.
        reply: Reply<bool, ChangeError>,
    },
    /// Settles everything in a queue.
    PurgeQueue {
        /// Which.
        queue: QueueId,
        /// Answered when durable: how many.
        reply: Reply<u64, ChangeError>,
    },
    /// The same but for what is leased or delayed.
    PurgeUnheld {
        /// Which.
        queue: QueueId,
        /// Answered when durable: how many.
        reply: Reply<u64, ChangeError>,
    },
    /// Makes settled records available again.
    ReplayQueue {
        /// Of which queue.
        queue: QueueId,
        /// From where on.
        from: Start,
        /// Answered when durable: how many.
        reply: Reply<u64, ChangeError>,
    },
    /// Starts a move task.
    StartMove {
        /// What.
        spec: Box<MoveSpec>,
        /// Answered when durable.
        reply: Reply<MoveId, ChangeError>,
    },
    /// Looks at move tasks.
    ListMoves {
        /// From which queue; `None` is all.
        source: Option<QueueId>,
        /// Answered when what it shows is durable: latest first.
        reply: Reply<Vec<MoveTask>, ChangeError>,
    },
    /// Ends a move task.
    CancelMove {
        /// Which.
        id: MoveId,
        /// Answered when durable: as it then stands.
        reply: Reply<MoveTask, ChangeError>,
    },
    /// How full a queue is.
    Depth {
        /// Which.
        queue: QueueId,
        /// Answered after a look at the log.
        reply: Reply<Depth, LeaseError>,
    },
    /// The depths of the queues that come next by id, so many that a turn does not become long; none after the last.
    Depths {
        /// After which.
        after: Option<QueueId>,
        /// Answered after a look at the log; at once if all are empty.
        reply: Reply<Vec<(QueueId, Depth)>, ChangeError>,
    },
    /// A look at everything else.
    Overview {
        /// Answered at once; without queues.
        reply: Reply<Overview, ChangeError>,
    },
    /// What a look at the log has found.
    Found(Finding),
}

impl Command {
    /// Answers that the shard has stopped.
    pub(crate) fn refuse(self, stopped: &Stopped) {
        fn tell<T, E: From<Stopped>>(reply: Reply<T, E>, stopped: &Stopped) {
            // A caller that no longer listens needs no answer.
            let _ = reply.send(Err(stopped.clone().into()));
        }
        match self {
            Self::Append { reply, .. } => tell(reply, stopped),
            Self::Publish { reply, .. } => tell(reply, stopped),
            Self::Route { reply, .. } => tell(reply, stopped),
            Self::CreateExchange { reply, .. } => tell(reply, stopped),
            Self::DeleteExchange { reply, .. } => tell(reply, stopped),
            Self::Bind { reply, .. } => tell(reply, stopped),
            Self::Unbind { reply, .. } | Self::SetExchange { reply, .. } | Self::Rebind { reply, .. } => {
                tell(reply, stopped);
            }
            Self::MoveCursors { reply, .. } => tell(reply, stopped),
            Self::Cursors { reply, .. } => tell(reply, stopped),
            Self::Groups { reply } => tell(reply, stopped),
            Self::ForgetCursors { reply, .. } => tell(reply, stopped),
            Self::Producers { reply, .. } => tell(reply, stopped),
            Self::NewProducerId { reply } => tell(reply, stopped),
            Self::CreateTopic { reply, .. } => tell(reply, stopped),
            Self::DeleteTopic { reply, .. } | Self::AddPartitions { reply, .. } => tell(reply, stopped),
            Self::SetTopic { reply, .. } | Self::SetQueue { reply, .. } => tell(reply, stopped),
            Self::Trim { reply, .. } => tell(reply, stopped),
            Self::Lease { reply, .. } => reply.refuse(stopped.clone().into()),
            Self::Join { .. } | Self::Leave { .. } | Self::Serve { .. } => {}
            Self::GiveBack { .. } | Self::Unreceivable { .. } => {}
            Self::Settle { reply, .. } => tell(reply, stopped),
            Self::CreateQueue { reply, .. } => tell(reply, stopped),
            Self::DeleteQueue { reply, .. } => tell(reply, stopped),
            Self::PurgeQueue { reply, .. }
            | Self::PurgeUnheld { reply, .. }
            | Self::ReplayQueue { reply, .. } => tell(reply, stopped),
            Self::StartMove { reply, .. } => tell(reply, stopped),
            Self::ListMoves { reply, .. } => tell(reply, stopped),
            Self::CancelMove { reply, .. } => tell(reply, stopped),
            Self::Depth { reply, .. } => tell(reply, stopped),
            Self::Depths { reply, .. } => tell(reply, stopped),
            Self::Overview { reply } => tell(reply, stopped),
            Self::Found(finding) => finding.refuse(stopped),
        }
    }
}
