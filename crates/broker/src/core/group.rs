//! A group: everything that one commit makes durable, and what is to happen when it is.
//!
//! Client appends of a refused commit are undone and answered; everything else (state, dead-letter moves, trims) has
//! happened already in memory, is never undone, and is carried into the next commit until the log takes it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use duolog_storage::{Span, Trim};

use super::cursors::Advanced;
use super::dead_letter::Copy;
use super::delay::DueKey;
use super::producers::{ProducerKey, ProducerState};
use super::verdict::{Answer, Verdict};
use crate::state::{STATE_PARTITION, StateRecord};
use crate::{Catalog, TopicId};

/// What a group carries besides appends; survives a refusal.
#[derive(Default)]
pub(super) struct Changes {
    /// State records in order; later ones win.
    pub(super) records: Vec<StateRecord>,
    pub(super) trims: Vec<Trim>,
    /// Copies of dead records whose sources `records` settles.
    pub(super) moves: Vec<Copy>,
    pub(super) answers: Vec<Answer>,
    /// The catalog to show once durable.
    pub(super) catalog: Option<Arc<Catalog>>,
    /// Runs that every queue has settled by then.
    pub(super) discards: Vec<(PartitionId, Vec<Range<Offset>>)>,
    /// Partitions that are gone then.
    pub(super) removed: Vec<PartitionId>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.trims.is_empty()
            && self.moves.is_empty()
            && self.answers.is_empty()
            && self.catalog.is_none()
    }

    /// Records go with it that nobody needs, by what was settled before.
    pub(super) fn gives_up_records(&self) -> bool {
        !self.trims.is_empty() || !self.discards.is_empty()
    }

    /// Puts what came later behind.
    pub(super) fn extend(&mut self, later: Self) {
        self.records.extend(later.records);
        self.trims.extend(later.trims);
        self.moves.extend(later.moves);
        self.answers.extend(later.answers);
        self.removed.extend(later.removed);
        self.discards.extend(later.discards);
        if later.catalog.is_some() {
            self.catalog = later.catalog;
        }
    }
}

/// What a group appends to topics.
#[derive(Default)]
pub(super) struct AppendedSpans {
    /// In order of append within a partition.
    pub(super) spans: Vec<(PartitionId, Span)>,
    /// The hashes of the keys of a span's records, by its index; only of those that queues need and that are known.
    pub(super) keys: BTreeMap<usize, Vec<u64>>,
    /// The times to live that a span's records bring along, milliseconds, by its index; only where one does.
    pub(super) ttls: BTreeMap<usize, Vec<u64>>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// A sealed group on its way to the disk.
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) appended: AppendedSpans,
    /// The offset that the partition would have had next without this group.
    pub(super) firsts: BTreeMap<PartitionId, Offset>,
    /// Answers of client appends.
    pub(super) append_answers: Vec<Answer>,
    /// What producers were before this group; `None` were unknown.
    pub(super) producers_before: BTreeMap<ProducerKey, Option<ProducerState>>,
    /// Cursors that it moves with what it appends.
    pub(super) advances: Vec<Advanced>,
    /// Chunks of idempotency keys that it adds.
    pub(super) dedup: Vec<(TopicId, u64)>,
    /// Delayed records that it appends, and when they are due.
    pub(super) delayed: Vec<(TopicId, DueKey)>,
    pub(super) changes: Changes,
    /// Whole states of some owners, written behind the changes. Not carried over: the round begins anew.
    pub(super) snapshot: Vec<StateRecord>,
    /// Ends a round of snapshots.
    pub(super) state_trim: Option<Trim>,
    /// Set when the log has refused it; handled once nothing is in flight behind it.
    pub(super) refused: bool,
}

impl Group {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            appended: AppendedSpans::default(),
            firsts: BTreeMap::new(),
            append_answers: Vec::new(),
            producers_before: BTreeMap::new(),
            advances: Vec::new(),
            dedup: Vec::new(),
            delayed: Vec::new(),
            changes: Changes::default(),
            snapshot: Vec::new(),
            state_trim: None,
            refused: false,
        }
    }

    /// It changes the state; of such groups none becomes durable before those that were sealed earlier.
    pub(super) fn has_state(&self) -> bool {
        self.firsts.contains_key(&STATE_PARTITION)
    }

    /// Takes over what was to be done when changes without a state of their own are durable.
    pub(super) fn adopt(&mut self, later: &mut Changes) {
        self.changes.answers.append(&mut later.answers);
        self.changes.discards.append(&mut later.discards);
    }

    /// Tells everybody the same.
    pub(super) fn answer_all(self, verdict: &Verdict) {
        for answer in self.append_answers.into_iter().chain(self.changes.answers) {
            answer(verdict);
        }
    }
}
