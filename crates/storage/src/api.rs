//! What the broker sees of the storage: one commit in, whole batches out.
//!
//! Invariant: a commit becomes durable and visible as a whole or not at all, and in the order of the calls.
//! Adding a verb: here, in `memory`, in the disk log, and in the simulator's model.

use std::ops::Range;

use bytes::Bytes;
use duolog_record::{Batch, Offset, PartitionId, Timestamp};

use crate::disk::Volume;

/// What an acknowledgement of a commit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Handed to the operating system: survives the process, not the machine. Visible when written.
    Os,
    /// On stable storage (fdatasync) before it is visible or acknowledged.
    Sync,
}

/// Where one body goes: its place in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the body's first record there. Must equal the partition's end at this point of the commit order.
    pub base: Offset,
    /// Stamped into the prefix at reading.
    pub leader_epoch: i32,
}

/// What of a batch the log stores: everything after the 16-byte prefix, and the header facts its index needs.
#[derive(Clone, Debug)]
pub struct Body {
    /// Bytes from `PREFIX_BYTES` on (magic, CRC, attributes, ..., records). Never touched.
    pub bytes: Bytes,
    /// Number of offsets that it takes (last offset delta + 1).
    pub offsets: u32,
    /// The batch's CRC-32C as its own header has it; the frame header's checksum covers it.
    pub crc: u32,
    /// Largest record timestamp, for the time index.
    pub max_timestamp: Timestamp,
    /// Every offset has a record, and none has a key: whoever is after keys need not read it. False where that is not known.
    pub unkeyed: bool,
    /// Some record brings a time to live along: whoever is after that must read it.
    pub timed: bool,
}

impl Body {
    /// The stored part of a sealed batch, of whose keys nothing is known. Shares its bytes.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        let header = batch.header();
        Self {
            bytes: batch.body(),
            offsets: header.last_offset_delta + 1,
            crc: header.crc,
            max_timestamp: header.max_timestamp,
            unkeyed: false,
            timed: false,
        }
    }
}

/// One body and all the places it goes to, at most `limits::TARGETS_PER_ENTRY`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The body, once, however many targets.
    pub body: Body,
    /// Where it goes.
    pub targets: Vec<Target>,
    /// Opaque hashes of its keys, for structures above the log; usually empty.
    pub key_hashes: Vec<u64>,
    /// For an abort mark: the first offset of the aborted transaction in that partition.
    pub abort_first: Option<Offset>,
}

/// A new start of a partition, or its end altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Records below `start` are gone. Idempotent; never moves backwards; at most the partition's end.
    Start {
        /// Which partition.
        partition: PartitionId,
        /// Its new first offset.
        start: Offset,
    },
    /// The partition is gone. Its id is never used again.
    Remove {
        /// Which partition.
        partition: PartitionId,
    },
}

/// Appends and trims that become durable and visible together: one frame.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The appends, in order. Partitions come into being with their first append (at any base) or trim.
    pub entries: Vec<Entry>,
    /// The trims, applied after the appends.
    pub trims: Vec<Trim>,
    /// The level of durability that its acknowledgement promises.
    pub durability: Durability,
    /// The broker's time of append, kept per entry for retention.
    pub append_time: Timestamp,
    /// True for what leads to free space or settles work (acknowledgements, state): on a full disk it may use the
    /// reserve, where others are refused with `DiskFull`. A commit of trims alone always may.
    pub may_use_reserve: bool,
}

/// Called once when a commit is as durable as it asked to be, and visible to readers; or has failed.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// First and next offset of a partition, `start..end`, durable ones only.
pub type Bounds = Range<Offset>;

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Stop before exceeding this many bytes; the first batch is returned even if larger.
    pub bytes_max: usize,
    /// Stop before this offset.
    pub until: Offset,
}

/// A whole batch as stored.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base: Offset,
    /// Number of offsets that it takes.
    pub offsets: u32,
    /// The epoch to stamp.
    pub leader_epoch: i32,
    /// When the broker appended it.
    pub append_time: Timestamp,
    /// Everything after the prefix (`Batch::prefix` makes the prefix).
    pub body: Bytes,
}

/// What the index knows of a batch without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first record.
    pub base: Offset,
    /// Number of offsets that it takes.
    pub offsets: u32,
    /// When the broker appended it.
    pub append_time: Timestamp,
    /// Largest record timestamp in it.
    pub max_timestamp: Timestamp,
    /// Stored bytes of its body.
    pub bytes: u32,
    /// See [`Body::unkeyed`].
    pub unkeyed: bool,
    /// See [`Body::timed`].
    pub timed: bool,
}

/// Why a commit failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// No blocks could be had for it; nothing was written, a later commit may succeed.
    #[error("no space left for {bytes} bytes in {directory}")]
    DiskFull {
        /// What the commit would have needed.
        bytes: u64,
        /// The data directory.
        directory: String,
    },
    /// A write or sync failed, now or earlier: the log takes no more commits until it is opened anew.
    #[error("the log has stopped: {reason}")]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// Damage has put the end of a partition in doubt: it can be read where it is sound, trimmed and removed.
    #[error(
        "partition {partition} is quarantined after damage to its files and takes no appends: restore or remove it"
    )]
    Quarantined {
        /// Which partition.
        partition: PartitionId,
    },
    /// The commit breaks a limit or an order; a mistake of the caller.
    #[error("the commit is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// Why a read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// No such partition, or removed.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// The offset lies outside what is readable.
    #[error("offset {at} of partition {partition} is outside {start}..{end}")]
    OutOfRange {
        /// Which partition.
        partition: PartitionId,
        /// Asked for.
        at: Offset,
        /// First readable.
        start: Offset,
        /// Next to be written.
        end: Offset,
    },
    /// The stored bytes are damaged; the partition serves nothing across the damage, the rest serve on.
    #[error("partition {partition} is damaged at offset {at}: {reason}")]
    Damaged {
        /// Which partition.
        partition: PartitionId,
        /// Where.
        at: Offset,
        /// What was found.
        reason: String,
    },
    /// The read itself failed.
    #[error("cannot read partition {partition}: {reason}")]
    Io {
        /// Which partition.
        partition: PartitionId,
        /// The system's word.
        reason: String,
    },
}

/// Counters since opening, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStats {
    /// Frames written.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// fdatasync calls on files of the log.
    pub syncs: u64,
    /// Files that exist now.
    pub files: u64,
    /// Bytes of disk that they take now.
    pub disk_bytes: u64,
    /// What was given back and rewritten.
    pub clean: CleanStats,
}

/// What rewriting and unlinking of files have done since opening, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanStats {
    /// Files that were rewritten into others.
    pub files_rewritten: u64,
    /// Bytes of bodies read for it.
    pub bytes_read: u64,
    /// Bytes of frames written for it.
    pub bytes_written: u64,
    /// Bytes of disk given back, by it and by unlinking files in which nothing was alive.
    pub bytes_freed: u64,
    /// Files that are not rewritten because they are damaged.
    pub files_damaged: u64,
}

/// All partitions of one shard. Object-safe; shared by an `Arc`; every method may be called from any thread.
///
/// Bounds, reads and spans see only what is visible: durable for `Sync`, written for `Os`.
pub trait Log: Send + Sync {
    /// Queues a commit, in the order of the calls, and returns at once. `done` is called from the log's own thread
    /// (or from `pump`, where there is no thread), in the same order, and must not block.
    ///
    /// A commit larger than `limits::COMMIT_BYTES` is `Invalid`. After a `DiskFull` the commits that were queued
    /// behind it and continue where it would have ended are `DiskFull` too; the next to fit the true end succeeds.
    fn commit(&self, commit: Commit, done: Done);

    /// Whole batches from the one that contains `from` on, in order; empty at the end of the partition.
    ///
    /// # Errors
    /// `OutOfRange` below the start or above the end; `Damaged` if the first batch cannot be verified.
    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError>;

    /// The same as `read` from the index alone: at most `count` spans.
    ///
    /// # Errors
    /// As `read`.
    fn spans(&self, partition: PartitionId, from: Offset, count: usize) -> Result<Vec<Span>, ReadError>;

    /// Where the next batch begins behind `at` that the index does not know to be damaged, whatever pages of the index itself cannot be
    /// read; `None` if none does. For going on behind what `read` has called damaged: `read` itself never skips damage.
    ///
    /// # Errors
    /// If the index could not be read now; another time it may be.
    fn readable_behind(&self, partition: PartitionId, at: Offset) -> Result<Option<Offset>, ReadError>;

    /// True if `read` from here would be served from memory, so that it may be called on a thread that must not block.
    fn is_cached(&self, partition: PartitionId, from: Offset) -> bool;

    /// First and next offset, or `None` if there is no such partition.
    fn bounds(&self, partition: PartitionId) -> Option<Bounds>;

    /// Every partition that exists, in rising order, with its bounds.
    fn partitions(&self) -> Vec<(PartitionId, Bounds)>;

    /// The first batch whose largest record timestamp is at or after `at`, or `None`.
    ///
    /// # Errors
    /// As `read`.
    fn first_at_or_after(&self, partition: PartitionId, at: Timestamp) -> Result<Option<Span>, ReadError>;

    /// The first batch that was appended at or after `at` by the broker's clock, or `None`: for retention.
    ///
    /// # Errors
    /// As `read`.
    fn first_appended_at_or_after(
        &self,
        partition: PartitionId,
        at: Timestamp,
    ) -> Result<Option<Span>, ReadError>;

    /// Stored bytes of a partition between its start and its end, without those discarded.
    fn partition_bytes(&self, partition: PartitionId) -> u64;

    /// The first offset such that the partition from there on holds at most `bytes_max`: for retention by size.
    fn start_for_bytes(&self, partition: PartitionId, bytes_max: u64) -> Offset;

    /// These records are settled and need not be kept: they are reclaimed when it pays. Not durable: whoever calls
    /// tells it again after a restart. Until reclaimed they stay readable.
    fn discard(&self, partition: PartitionId, runs: &[Range<Offset>]);

    /// Reclaims what is dead: files in which nothing is alive, before it returns; those in which little is, by rewriting
    /// them in the background. Called from time to time by the owner, whose clock says `now`.
    ///
    /// # Errors
    /// `Stopped` as for a commit.
    fn reclaim(&self, now: Timestamp) -> Result<(), LogError>;

    /// Partitions whose end is in doubt after damage, in rising order: an append to one of them is refused. Does not change
    /// while the log is open, but for removals.
    fn quarantined(&self) -> Vec<PartitionId> {
        Vec::new()
    }

    /// How many times the log has been opened, counted from 1, this time included: higher than at any earlier
    /// opening, so fit for leader epochs and lease ids.
    fn incarnation(&self) -> u32;

    /// The size of the volume that the log lies on; `None` if it is on none, or the system does not say. Asks the system: it
    /// may block.
    fn volume(&self) -> Option<Volume> {
        None
    }

    /// Counters for metrics.
    fn stats(&self) -> LogStats;

    /// Takes no more commits, makes durable what was queued, releases the directory. Blocks.
    fn close(&self);
}
