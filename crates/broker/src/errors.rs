//! Why a verb failed: one enum per operation. Frontends turn these into their wire codes.

use duolog_record::{Offset, PartitionId};
use duolog_storage::ReadError;

/// The shard no longer runs: the broker is shutting down, or its disk failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard has stopped: {reason}")]
pub struct Stopped {
    /// Why.
    pub reason: String,
}

/// Why an append or publish was refused. Nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No such topic or partition.
    #[error("no such topic or partition")]
    NotFound,
    /// The principal may not.
    #[error("not allowed to produce")]
    Denied,
    /// Larger than the topic allows.
    #[error("{bytes} bytes are more than the {bytes_max} that the topic allows")]
    TooLarge {
        /// As sent.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The batch breaks the format, or has control or transactional bits that no client may set here.
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
    /// The producer's sequence leaves a gap.
    #[error("sequence {got} where {expected} was expected")]
    OutOfOrder {
        /// Sent.
        got: i32,
        /// Next in order.
        expected: i32,
    },
    /// A newer instance of this producer exists.
    #[error("producer epoch {got} is older than {current}")]
    StaleEpoch {
        /// Sent.
        got: i16,
        /// Known.
        current: i16,
    },
    /// Transactions are not supported yet.
    #[error("transactions are not supported")]
    TransactionsUnsupported,
    /// Its files are damaged and its end is in doubt: it is read where it is sound, and takes nothing more.
    #[error("partition {0} is quarantined after damage to its files: restore them, or delete its topic")]
    Quarantined(PartitionId),
    /// No disk space; may work later.
    #[error("no space left on the data directory's disk")]
    DiskFull,
    /// Too much is waiting; may work later.
    #[error("too many appends are waiting")]
    Overloaded,
    /// A queue on the topic holds as much as it may, and refuses more. Of a routed record, the other topics have taken it.
    #[error("queue {0} holds as much as it may")]
    QueueFull(String),
    /// The cursor that was to move with what is published is elsewhere by now, or gone.
    #[error("the cursor has been moved meanwhile")]
    CursorMoved,
    /// As many idempotency keys are remembered as may be, and none is forgotten before its window is over: works later.
    #[error("too many idempotency keys are remembered; try again when their windows have passed")]
    DedupFull,
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why records could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// No such partition.
    #[error("no such partition {0}")]
    NotFound(PartitionId),
    /// The principal may not.
    #[error("not allowed to consume")]
    Denied,
    /// Below the log's start or above its end.
    #[error("offset {at} is outside {start}..{end}")]
    OutOfRange {
        /// Asked for.
        at: Offset,
        /// First readable.
        start: Offset,
        /// Next to be written.
        end: Offset,
    },
    /// The storage's word.
    #[error(transparent)]
    Storage(ReadError),
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why nothing was leased; an empty answer is not an error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeaseError {
    /// No such queue, or it was deleted while waiting.
    #[error("no such queue")]
    NotFound,
    /// The principal may not.
    #[error("not allowed to consume")]
    Denied,
    /// The in-flight cap of the queue is reached.
    #[error("{in_flight} records are in flight, the most this queue allows")]
    OverLimit {
        /// Leased now.
        in_flight: u32,
    },
    /// Too many receivers wait on this queue.
    #[error("too many receivers wait")]
    Overloaded,
    /// The record behind the lease cannot be read.
    #[error(transparent)]
    Storage(ReadError),
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a lease could not be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// No such queue.
    #[error("no such queue")]
    NotFound,
    /// The principal may not.
    #[error("not allowed to consume")]
    Denied,
    /// The record was settled before: by this lease, another, a purge.
    #[error("already settled")]
    Settled,
    /// The lease ran out; the record is available or leased by another.
    #[error("the lease is over")]
    Expired,
    /// A crash has lost the lease before it was written, and the record has not been leased since: it will come again.
    #[error("the lease was lost in a crash")]
    Lost,
    /// The lease id names nothing that was ever leased.
    #[error("unknown lease")]
    Unknown,
    /// The extension would keep the record longer than `limits::VISIBILITY_MS` after it was leased.
    #[error("a lease lasts at most {ms_max} ms")]
    TooLong {
        /// The limit.
        ms_max: u64,
    },
    /// No disk space.
    #[error("no space left on the data directory's disk")]
    DiskFull,
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a cursor could not be moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// No such partition.
    #[error("no such partition {0}")]
    NotFound(PartitionId),
    /// The principal may not.
    #[error("not allowed to consume")]
    Denied,
    /// Longer than `limits::CURSOR_METADATA_BYTES`.
    #[error("metadata of {0} bytes is too long")]
    MetadataTooLarge(usize),
    /// The broker remembers as many cursors as `limits::CURSORS` allows.
    #[error("{0} cursors are the most that the broker remembers")]
    TooMany(usize),
    /// Names of groups and metadata take as much as `limits::CURSORS_BYTES` allows.
    #[error(
        "the names of groups and the metadata of cursors take {0} bytes, the most that the broker remembers"
    )]
    Full(usize),
    /// No disk space.
    #[error("no space left on the data directory's disk")]
    DiskFull,
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why something was not created, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// No such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The principal may not.
    #[error("not allowed to manage")]
    Denied,
    /// The value is not acceptable.
    #[error("{what}: {why}")]
    Invalid {
        /// Which part of the request.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A limit of the broker is reached.
    #[error("{0}")]
    OverLimit(&'static str),
    /// It was to happen only to something that nobody uses.
    #[error("{0}")]
    InUse(&'static str),
    /// No disk space.
    #[error("no space left on the data directory's disk")]
    DiskFull,
    /// The shard is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
