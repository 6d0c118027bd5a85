//! The durable form of a ledger: changes as absolute values, and the state that they fold to.
//!
//! Invariant: the fold of all changes, or of a snapshot's pieces and the changes after it, is the live ledger's
//! durable state, byte for byte. Changes assign states to ranges of offsets, so applying them twice does no harm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settled::SettledSet;

/// What is written of one record that has a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordState {
    /// How many times it has been leased.
    pub attempts: u32,
    /// Incarnation of its last lease.
    pub incarnation: u64,
    /// When its time to live began, milliseconds since the epoch: its append or a replay.
    pub live_from: i64,
    /// When it was first leased, milliseconds since the epoch.
    pub first_leased_at: i64,
    /// Hash of its key, if the queue is one that looks at keys; else 0.
    pub key: u64,
    /// What keeps it from being leased. Not rewritten when its time is over.
    pub hold: Hold,
    /// The time to live that it brought along, milliseconds; `NO_TTL` if none. Written beside the state: see [`Part::Timed`].
    #[serde(skip, default = "no_ttl")]
    pub ttl_ms: u64,
}

/// A record brings no time to live along.
pub const NO_TTL: u64 = u64::MAX;

fn no_ttl() -> u64 {
    NO_TTL
}

/// What keeps a record from being leased. Times are wall-clock milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Nothing.
    Free,
    /// Released with a delay.
    Delayed {
        /// When it is over.
        not_before: i64,
        /// The delay asked for, milliseconds.
        granted_ms: u64,
    },
    /// A lease.
    Leased {
        /// When it began.
        leased_at: i64,
        /// When it ends.
        until: i64,
        /// What was granted last, milliseconds.
        granted_ms: u64,
    },
}

/// One assignment of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// These offsets (start, count) are settled.
    Settled(u64, u64),
    /// These offsets (start, count) are as if never leased.
    Fresh(u64, u64),
    /// This record has a history.
    Record(u64, RecordState),
    /// The same, and this time to live of its own, milliseconds.
    Timed(u64, RecordState, u64),
}

/// Records below an offset whose time to live counts from a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayMark {
    /// Records below this offset ...
    pub below: u64,
    /// ... live from this time at the earliest, milliseconds since the epoch.
    pub at: i64,
}

/// What changed in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionChanges {
    /// Partition.
    pub partition: u64,
    /// All below are settled.
    pub floor: u64,
    /// The last replay.
    pub replay: ReplayMark,
    /// In order; a later part overrides an earlier one.
    pub parts: Vec<Part>,
}

/// What changed in a ledger, at most `limits::LEDGER_CHANGE_PARTS` parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerChanges {
    /// By partition.
    pub partitions: Vec<PartitionChanges>,
}

/// Where the next piece of a snapshot begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAt {
    pub(super) index: usize,
    pub(super) offset: u64,
}

/// The durable state of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionState {
    pub(super) settled: SettledSet,
    pub(super) replay: ReplayMark,
    pub(super) records: BTreeMap<u64, RecordState>,
}

/// The durable state of a ledger while it is folded at start-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// By partition.
    pub(super) partitions: BTreeMap<u64, PartitionState>,
}

impl LedgerState {
    /// Applies changes or a piece of a snapshot, in the order in which they were written. Never fails: nonsense
    /// (empty ranges, ranges past the last offset) is left out.
    pub fn apply(&mut self, changes: &LedgerChanges) {
        for changes in &changes.partitions {
            let partition = self.partitions.entry(changes.partition).or_default();
            partition.replay = changes.replay;
            partition.settle(0, changes.floor);
            for part in &changes.parts {
                partition.assign(part);
            }
        }
    }
}

impl PartitionState {
    fn assign(&mut self, part: &Part) {
        match *part {
            Part::Settled(start, count) => {
                if let Some(end) = start.checked_add(count) {
                    self.settle(start, end);
                }
            }
            Part::Fresh(start, count) => {
                if let Some(end) = start.checked_add(count) {
                    self.settled.remove(start, end);
                    self.forget(start, end);
                }
            }
            Part::Record(offset, state) => self.note_record(offset, state),
            Part::Timed(offset, state, ttl_ms) => self.note_record(offset, RecordState { ttl_ms, ..state }),
        }
    }

    fn note_record(&mut self, offset: u64, state: RecordState) {
        if offset < u64::MAX {
            self.settled.remove(offset, offset + 1);
            self.records.insert(offset, state);
        }
    }

    fn settle(&mut self, start: u64, end: u64) {
        self.settled.add(start, end);
        self.forget(start, end);
    }

    fn forget(&mut self, start: u64, end: u64) {
        if start < end {
            while let Some((&offset, _)) = self.records.range(start..end).next() {
                self.records.remove(&offset);
            }
        }
    }
}
