//! What the verbs take and give: plain values, shared by the core, the sessions and the frontends.

use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Header, Offset, PartitionId, Record, Timestamp};
use duolog_storage::StoredBatch;
use duolog_storage::limits::TARGETS_PER_ENTRY;

use crate::core::record_bytes;
use crate::limits::ATTEMPT_ID_BYTES;
use crate::{QueueId, TopicId};

/// What a reader sees of records whose transaction is undecided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything durable.
    #[default]
    ReadUncommitted,
    /// Only what lies below the last stable offset.
    ReadCommitted,
}

/// A batch took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base: Offset,
    /// The broker's time, if the topic stamps records with it.
    pub append_time: Option<Timestamp>,
    /// First offset of the partition.
    pub log_start: Offset,
    /// Nothing was stored, because all of it was appended before (idempotent producers, idempotency keys); `base` is
    /// from then.
    pub duplicate: bool,
}

/// A record to publish.
#[derive(Clone, Debug, Default)]
pub struct NewRecord {
    /// Routing and grouping key.
    pub key: Option<Bytes>,
    /// Body.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<Header>,
    /// Its time; `None` is the broker's now.
    pub timestamp: Option<Timestamp>,
    /// On a topic that deduplicates: a record with the same key within the window is not stored again. 1 to
    /// `limits::DEDUP_KEY_BYTES` bytes. It is not stored with the record: a frontend whose receivers are to see it puts
    /// it into the header [`headers::IDEMPOTENCY_KEY`](crate::headers::IDEMPOTENCY_KEY) as well.
    pub idempotency_key: Option<Bytes>,
    /// How long after its append it enters the topic, milliseconds; `None` or 0 is at once. Until then it is durable,
    /// counts as delayed in the queues on the topic, and nobody sees it. Its timestamp stays that of the append. Order
    /// with what is not delayed, or delayed otherwise, is lost.
    pub delay_ms: Option<u64>,
}

impl NewRecord {
    pub(crate) fn is_delayed(&self) -> bool {
        self.delay_ms.is_some_and(|ms| ms > 0)
    }
}

/// Whether a routed record is stored at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// It is.
    #[default]
    Open,
    /// Not if this one of its topics, which deduplicates, knows its idempotency key: then it goes to none of them, whatever they
    /// know themselves.
    Deduplicates(TopicId),
    /// If the record before it in the same call is let in: both are one to who publishes.
    Follows,
}

/// A record and the topics that were found for it: see [`crate::routing`].
#[derive(Clone, Debug)]
pub struct Routed {
    /// It. Its topics share one stored body.
    pub record: NewRecord,
    /// Where it goes; a topic that has gone meanwhile is left out.
    pub topics: Arc<[TopicId]>,
    /// Whether it goes there.
    pub gate: Gate,
    /// Its acknowledgement need not wait for the sync where topics follow the broker's setting: it is visible once it is written,
    /// and power loss may take it. A topic that says by itself that it syncs does so, and so does a delayed record.
    pub relaxed: bool,
}

impl Routed {
    /// Bytes that it takes in a commit: its body once for so many topics as one may be for, and once more where topics stamp
    /// records with their own time; a delayed one waits in each topic by itself.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let copies = match self.topics.len() {
            0 | 1 => 1,
            topics if self.record.is_delayed() => topics,
            topics => topics.div_ceil(TARGETS_PER_ENTRY) + 1,
        };
        record_bytes(&self.record).saturating_mul(copies)
    }
}

/// A published record took its place, or had it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Partition. That of a delayed record is a hidden one.
    pub partition: PartitionId,
    /// Index of the partition in its topic; [`Self::DELAYED`] for a delayed record.
    pub partition_index: u32,
    /// Offset there. A delayed record carries this place in the header [`headers::ORIGIN`](crate::headers::ORIGIN) when
    /// it enters the topic.
    pub offset: Offset,
    /// The record's time; that of this call, if it is a duplicate.
    pub timestamp: Timestamp,
    /// It was not stored, because a record with its idempotency key was appended before; the place is that record's.
    pub duplicate: bool,
}

impl Published {
    /// Stands for the index of the hidden partition that delayed records wait in.
    pub const DELAYED: u32 = u32::MAX;
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadAsk {
    /// Partition.
    pub partition: PartitionId,
    /// From the batch that contains this offset.
    pub from: Offset,
    /// Stop before exceeding this; the first batch is returned even if larger.
    pub bytes_max: usize,
    /// What of transactions is seen.
    pub isolation: Isolation,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct ReadSlice {
    /// Whole batches in order; the first may begin below the offset asked for.
    pub batches: Vec<StoredBatch>,
    /// First offset.
    pub log_start: Offset,
    /// Next offset to become readable.
    pub high_watermark: Offset,
    /// Below it every transaction is decided. Equal to the high watermark until transactions exist.
    pub last_stable: Offset,
}

/// A position found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its epoch.
    pub leader_epoch: i32,
}

/// Where an epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: i32,
    /// The first offset that is not of this epoch or an earlier one.
    pub end: Offset,
}

/// An idempotent producer that is known in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its id.
    pub id: i64,
    /// Its present epoch.
    pub epoch: i16,
    /// Sequence of the last record that it stored.
    pub last_sequence: i32,
    /// When it stored that, by the broker's clock.
    pub used_at: Timestamp,
}

/// A request for leases.
#[derive(Clone, Copy, Debug)]
pub struct LeaseAsk {
    /// From which queue.
    pub queue: QueueId,
    /// At most so many, 1 to `limits::LEASES_MAX`.
    pub count: u32,
    /// How long the leases last, milliseconds; `None` is the queue's setting. 0 makes records visible again at once.
    pub visibility_ms: Option<u64>,
    /// How long to wait for the first record, milliseconds; 0 does not wait.
    pub wait_ms: u64,
    /// The receiver's name for this attempt, if it may have to be repeated: see [`AttemptId`].
    pub attempt: Option<AttemptId>,
    /// Higher ones are served first. Source: RabbitMQ documentation, "Consumer Priorities".
    pub priority: i64,
    /// The leases are those of a connection, which ends with the broker: after a restart the records are available again,
    /// one attempt up, however long the leases were to last.
    pub bound: bool,
}

/// A receiver's name for a receive on a queue by key. The same name within five minutes brings the same records again, in
/// the same leases with their visibility begun anew, as long as nothing has become of any of them: the answer to the first
/// attempt may have been lost, and the keys would be blocked until the leases are over. Forgotten by a restart.
/// Source: SQS API reference, ReceiveMessage, "ReceiveRequestAttemptId".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId {
    bytes: [u8; ATTEMPT_ID_BYTES],
    len: u8,
}

impl AttemptId {
    /// `None` if it has more than `limits::ATTEMPT_ID_BYTES` bytes.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; ATTEMPT_ID_BYTES];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len: u8::try_from(name.len()).ok()? })
    }
}

/// Names one lease of one record. Opaque to clients; a handle from before a restart, a replay or a redelivery never
/// settles somebody else's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// The queue.
    pub queue: QueueId,
    /// The partition.
    pub partition: PartitionId,
    /// The record.
    pub offset: Offset,
    /// Which life of the ledger and of this record the lease belongs to: restarts, replays.
    pub incarnation: u64,
    /// Which attempt it is.
    pub attempt: u32,
}

impl LeaseId {
    /// Bytes of the encoded form.
    pub const BYTES: usize = 36;

    /// Fixed-width, big-endian: queue, partition, offset, incarnation, attempt.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.queue.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.partition.0.to_be_bytes());
        out[16..24].copy_from_slice(&self.offset.0.to_be_bytes());
        out[24..32].copy_from_slice(&self.incarnation.to_be_bytes());
        out[32..36].copy_from_slice(&self.attempt.to_be_bytes());
        out
    }

    /// The inverse of [`Self::to_bytes`]; any bytes of the right length give some id, which need not exist.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(eight)
        };
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[32..36]);
        Self {
            queue: QueueId(word(0)),
            partition: PartitionId(word(8)),
            offset: Offset(word(16)),
            incarnation: word(24),
            attempt: u32::from_be_bytes(four),
        }
    }
}

/// A record under lease.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The handle.
    pub id: LeaseId,
    /// Index of the partition in its topic.
    pub partition_index: u32,
    /// How many times it has been leased, this one included.
    pub attempts: u32,
    /// When it was first leased (since the last replay).
    pub first_leased_at: Timestamp,
    /// The record.
    pub record: Record,
}

/// What becomes of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Settled for good.
    Ack,
    /// Available again after so many milliseconds, at its old place.
    Release {
        /// Milliseconds from now; 0 is as the queue's back-off says, at once if it has none.
        after_ms: u64,
    },
    /// The lease ends so many milliseconds from now instead.
    Extend {
        /// Milliseconds from now; 0 makes it available at once.
        for_ms: u64,
    },
    /// Moved to the dead-letter queue now, whatever its attempts.
    DeadLetter,
}

/// How full a queue is. Counts are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Could be leased now.
    pub available: u64,
    /// Under lease.
    pub in_flight: u64,
    /// Released with a delay that is not over, or on their way into the topic with one.
    pub delayed: u64,
    /// Stored bytes from the oldest unsettled record to the end, whole batches.
    pub backlog_bytes: u64,
    /// Age of the oldest unsettled record, milliseconds since its append.
    pub oldest_age_ms: Option<u64>,
    /// Moved to the dead-letter queue since the broker started.
    pub dead_lettered: u64,
    /// How often, since the broker started, a record that should have gone to a dead-letter queue stayed where it is,
    /// because that queue does not exist.
    pub undeliverable: u64,
    /// Records that left the queue since the broker started because they cannot be decoded.
    pub malformed: u64,
    /// Receivers that wait.
    pub waiting: u64,
}

/// Where a group stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Next offset to read.
    pub offset: Offset,
    /// Epoch of the last record read, -1 if the client did not say.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: String,
    /// When it was moved.
    pub moved_at: Timestamp,
}

/// A cursor to move.
#[derive(Clone, Debug)]
pub struct CursorMove {
    /// Partition.
    pub partition: PartitionId,
    /// Next offset to read.
    pub offset: Offset,
    /// As in [`Cursor`].
    pub leader_epoch: i32,
    /// As in [`Cursor`].
    pub metadata: String,
}

/// A cursor that moves with what is published: both become durable, or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Whose.
    pub group: Arc<str>,
    /// Where.
    pub partition: PartitionId,
    /// From where: if it is elsewhere, nothing is published.
    pub from: Offset,
    /// To where.
    pub to: Offset,
}

/// All cursors of one group, by partition.
pub type GroupCursors = Vec<(PartitionId, Cursor)>;

/// A look at everything, for metrics and the admin API.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Depth per queue.
    pub queues: Vec<(QueueId, Depth)>,
    /// Cursors per group.
    pub groups: Vec<(String, GroupCursors)>,
    /// Records that a queue holds in a partition although the topic's policy would have let them go.
    pub pinned: Vec<(QueueId, PartitionId, u64)>,
    /// Idempotency keys that are remembered, and the bytes of memory that they take, about.
    pub dedup_keys: (u64, u64),
    /// Group commits made since start.
    pub group_commits: u64,
    /// Records appended since start.
    pub records_appended: u64,
    /// Bytes appended since start.
    pub bytes_appended: u64,
}
