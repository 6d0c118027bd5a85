//! The ledger: which records of a queue are available, leased, delayed, on the way to the dead-letter queue, settled.

mod changes;
mod types;

use std::ops::Range;

use duolog_record::{Offset, PartitionId};

use crate::errors::SettleError;
use crate::{LeaseId, Monotonic, Now, Outcome, QueuePolicy};

pub use changes::{
    Hold, LedgerChanges, LedgerState, Part, PartitionChanges, RecordState, ReplayMark, SnapshotAt,
};
pub use types::{DeadRecord, Grant, LeaseResult, LedgerDepth, LedgerSpan, Settled};

/// The ledger of one queue over all partitions of its topic.
#[derive(Debug)]
pub struct Ledger {}

#[allow(unused_variables, clippy::unimplemented)]
impl Ledger {
    /// A ledger that begins at these floors (in the order of the topic's partitions); all of it counts as changed.
    /// `opening` is the log's incarnation: it must rise with every restart.
    #[must_use]
    pub fn new(partitions: &[(PartitionId, Offset)], opening: u32) -> Self {
        unimplemented!()
    }

    /// The ledger that was folded to `state`, over the partitions of its topic with their bounds in the log. A timed
    /// lease or delay keeps the lesser of what remains by the wall clock and what was granted; handles given before
    /// stay valid. What lies outside the bounds is forgotten.
    #[must_use]
    pub fn recover(
        state: LedgerState,
        partitions: &[(PartitionId, Range<Offset>)],
        now: Now,
        opening: u32,
    ) -> Self {
        unimplemented!()
    }

    /// Adds a partition behind the others.
    pub fn add_partition(&mut self, partition: PartitionId, floor: Offset) {
        unimplemented!()
    }

    /// Everything below `end` is readable. Never moves back.
    pub fn set_end(&mut self, partition: PartitionId, end: Offset) {
        unimplemented!()
    }

    /// A live append has become readable: moves the end, and the window if that reaches this far and has room.
    pub fn appended(&mut self, partition: PartitionId, span: LedgerSpan) {
        unimplemented!()
    }

    /// Partitions whose look-ahead window is low although there is more in the log: where to read spans from and how
    /// many at most. Answer each with `extend_window`.
    pub fn needs_window(&self) -> impl Iterator<Item = (PartitionId, Offset, usize)> + '_ {
        std::iter::empty()
    }

    /// The log's spans from `from` (as `needs_window` asked) up to `to`, complete: what no span covers are holes
    /// and are settled silently. `to` is the end of the last span, or the known end if the log had no more. Ignored
    /// if the window has moved since.
    pub fn extend_window(&mut self, partition: PartitionId, from: Offset, spans: &[LedgerSpan], to: Offset) {
        unimplemented!()
    }

    /// Forgets the look-ahead window (the queue is idle); it is asked for again.
    pub fn drop_window(&mut self) {
        unimplemented!()
    }

    /// Leases up to `count` available records for `visibility_ms` (at most 12 hours).
    pub fn lease(
        &mut self,
        now: Now,
        policy: &QueuePolicy,
        count: u32,
        visibility_ms: u64,
        dead_letter_exists: bool,
    ) -> LeaseResult {
        unimplemented!()
    }

    /// Settles at the heads of the partitions what has outlived `policy.message_ttl_ms`. Answers how many.
    pub fn settle_outlived(&mut self, now: Now, policy: &QueuePolicy) -> u64 {
        unimplemented!()
    }

    /// Records leased now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        unimplemented!()
    }

    /// True if `lease` would find something (after `expire`), unless the in-flight cap forbids it.
    #[must_use]
    pub fn has_available(&self) -> bool {
        unimplemented!()
    }

    /// Ends or changes a lease.
    ///
    /// # Errors
    /// `Settled`, `Expired`, `Unknown`, `TooLong`.
    pub fn settle(&mut self, now: Now, id: LeaseId, outcome: Outcome) -> Result<Settled, SettleError> {
        unimplemented!()
    }

    /// The move to the dead-letter queue is part of the commit being made: the record is settled.
    pub fn moved(&mut self, partition: PartitionId, offset: Offset) {
        unimplemented!()
    }

    /// The move cannot be made: the record is available again.
    pub fn move_failed(&mut self, partition: PartitionId, offset: Offset) {
        unimplemented!()
    }

    /// The receiver was gone before it got the record: as if this lease had never been.
    pub fn undo_lease(&mut self, id: LeaseId) {
        unimplemented!()
    }

    /// Ends leases and delays that are due; true if something became available.
    pub fn expire(&mut self, now: Now) -> bool {
        unimplemented!()
    }

    /// When `expire` has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        unimplemented!()
    }

    /// All below are settled; `None` for a partition that is not the queue's.
    #[must_use]
    pub fn floor(&self, partition: PartitionId) -> Option<Offset> {
        unimplemented!()
    }

    /// Settled runs above the floor, rising.
    #[must_use]
    pub fn settled_runs(&self, partition: PartitionId) -> Vec<Range<Offset>> {
        unimplemented!()
    }

    /// Records below `start` are gone (retention, trim).
    pub fn start_moved(&mut self, partition: PartitionId, start: Offset) {
        unimplemented!()
    }

    /// Settles everything below the known end, whatever its state. Answers how many.
    pub fn purge(&mut self) -> u64 {
        unimplemented!()
    }

    /// Makes settled records from `from` on available again with no attempts, their time to live counted from now.
    /// The caller keeps `from` at or above the log's start. Answers how many.
    pub fn replay(&mut self, now: Now, partition: PartitionId, from: Offset) -> u64 {
        unimplemented!()
    }

    /// How full it is.
    #[must_use]
    pub fn depth(&self) -> LedgerDepth {
        unimplemented!()
    }

    /// The net change since the last call as absolute values; bounded, so call it until it gives `None` and write all
    /// of them in one commit.
    pub fn take_changes(&mut self) -> Option<LedgerChanges> {
        unimplemented!()
    }

    /// One bounded piece of the whole durable state from `at` (`None` is the beginning), and where the next begins
    /// (`None` after the last). Pieces may be written in different commits, each after the changes of its commit.
    #[must_use]
    pub fn snapshot(&self, at: Option<SnapshotAt>) -> (LedgerChanges, Option<SnapshotAt>) {
        unimplemented!()
    }
}
