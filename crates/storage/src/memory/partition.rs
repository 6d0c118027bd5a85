//! One partition in memory: its bounds and its batches.
//!
//! Invariant: batches rise and do not overlap; those wholly below `start` are dropped.

use std::collections::VecDeque;
use std::ops::Range;

use duolog_record::{Offset, PREFIX_BYTES, PartitionId, Timestamp};

use crate::runs::Runs;
use crate::{Body, Bounds, ReadError, ReadLimit, Span, StoredBatch, Target};

pub(super) struct Partition {
    start: Offset,
    end: Offset,
    batches: VecDeque<(StoredBatch, Known)>,
    discarded: Runs,
}

/// What its body told of a batch.
#[derive(Clone, Copy)]
struct Known {
    max_timestamp: Timestamp,
    unkeyed: bool,
    timed: bool,
}

fn span((batch, known): &(StoredBatch, Known)) -> Span {
    Span {
        base: batch.base,
        offsets: batch.offsets,
        append_time: batch.append_time,
        max_timestamp: known.max_timestamp,
        // A body is at most `COMMIT_BYTES` long, which fits.
        bytes: u32::try_from(batch.body.len()).unwrap_or(u32::MAX),
        unkeyed: known.unkeyed,
        timed: known.timed,
    }
}

impl Partition {
    pub(super) fn starting_at(start: Offset) -> Self {
        Self { start, end: start, batches: VecDeque::new(), discarded: Runs::default() }
    }

    /// The same without what was discarded: that is told again after a restart.
    pub(super) fn reopen(&self) -> Self {
        let batches = self.batches.clone();
        Self { start: self.start, end: self.end, batches, discarded: Runs::default() }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.start..self.end
    }

    pub(super) fn append(&mut self, target: &Target, body: &Body, append_time: Timestamp) {
        assert_eq!(target.base, self.end, "an append continues its partition");
        let batch = StoredBatch {
            base: target.base,
            offsets: body.offsets,
            leader_epoch: target.leader_epoch,
            append_time,
            body: body.bytes.clone(),
        };
        self.end = target.base.plus(u64::from(body.offsets));
        let known = Known { max_timestamp: body.max_timestamp, unkeyed: body.unkeyed, timed: body.timed };
        self.batches.push_back((batch, known));
    }

    pub(super) fn trim(&mut self, start: Offset) {
        self.start = self.start.max(start);
        let alive = self.position_of(self.start);
        self.batches.drain(..alive);
        self.discarded.trim(self.start);
    }

    pub(super) fn discard(&mut self, runs: &[Range<Offset>]) {
        for run in runs {
            self.discarded.add(run);
        }
        self.discarded.trim(self.start);
    }

    /// Index of the batch that contains `at`, or of the first one above it.
    fn position_of(&self, at: Offset) -> usize {
        self.batches.partition_point(|(batch, _)| batch.base.plus(u64::from(batch.offsets)) <= at)
    }

    fn check_range(&self, partition: PartitionId, at: Offset) -> Result<(), ReadError> {
        if at < self.start || at > self.end {
            return Err(ReadError::OutOfRange { partition, at, start: self.start, end: self.end });
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        self.check_range(partition, from)?;
        let mut found = Vec::new();
        let mut bytes = 0usize;
        for (batch, _) in self.batches.range(self.position_of(from)..) {
            bytes += batch.body.len() + PREFIX_BYTES;
            if batch.base >= limit.until || (bytes > limit.bytes_max && !found.is_empty()) {
                break;
            }
            found.push(batch.clone());
        }
        Ok(found)
    }

    pub(super) fn spans(
        &self,
        partition: PartitionId,
        from: Offset,
        count: usize,
    ) -> Result<Vec<Span>, ReadError> {
        self.check_range(partition, from)?;
        Ok(self.batches.range(self.position_of(from)..).take(count).map(span).collect())
    }

    pub(super) fn first(&self, wanted: impl Fn(&Span) -> bool) -> Option<Span> {
        self.batches.iter().map(span).find(wanted)
    }

    fn kept_bytes(&self, batch: &StoredBatch) -> u64 {
        let offsets = batch.base.max(self.start)..batch.base.plus(u64::from(batch.offsets));
        if self.discarded.covers(&offsets) { 0 } else { batch.body.len() as u64 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.batches.iter().map(|(batch, _)| self.kept_bytes(batch)).sum()
    }

    pub(super) fn start_for_bytes(&self, bytes_max: u64) -> Offset {
        let mut start = self.end;
        let mut bytes = 0u64;
        for (batch, _) in self.batches.iter().rev() {
            bytes += self.kept_bytes(batch);
            if bytes > bytes_max {
                return start;
            }
            start = batch.base;
        }
        self.start
    }
}
