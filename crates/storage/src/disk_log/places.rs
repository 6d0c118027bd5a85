//! Where each partition stands in what has been written: what a commit is checked against before it is accepted.
//!
//! Invariant: `check` changes nothing but the note of refusals; `apply` follows a `check` that passed.

use std::collections::{BTreeSet, HashMap};

use duolog_record::{Offset, PartitionId};

use crate::check::{check_base, check_shape, invalid};
use crate::format::frame::BoundsTarget;
use crate::planted::{self, Bug};
use crate::{Commit, LogError, Trim};

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) leader_epoch: i32,
    /// Damage has put its end in doubt: it takes no appends.
    pub(crate) quarantined: bool,
}

impl Place {
    pub(crate) fn starting_at(start: Offset) -> Self {
        Self { start, end: start, leader_epoch: 0, quarantined: false }
    }
}

/// Why a commit is not written.
pub(crate) enum Refusal {
    /// Answered as it is.
    Error(LogError),
    /// It follows one that was refused for want of space.
    FollowsRefused,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Places {
    by_partition: HashMap<PartitionId, Place>,
    removed: BTreeSet<PartitionId>,
    /// Ends that commits expect which were queued before they could know of a refusal for want of space.
    refused_ends: HashMap<PartitionId, Offset>,
    /// Ends within the commit that is being checked.
    staged: HashMap<PartitionId, Offset>,
}

impl Places {
    pub(crate) fn new(by_partition: HashMap<PartitionId, Place>, removed: BTreeSet<PartitionId>) -> Self {
        Self { by_partition, removed, refused_ends: HashMap::new(), staged: HashMap::new() }
    }

    /// One of them.
    pub(crate) fn get(&self, partition: PartitionId) -> Option<&Place> {
        self.by_partition.get(&partition)
    }

    /// All that exist.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PartitionId, &Place)> {
        self.by_partition.iter().map(|(&partition, place)| (partition, place))
    }

    /// A planted mistake: the bounds of partitions that hold nothing, and have nothing in files, are lost.
    pub(crate) fn forget_empty(&mut self, is_in_files: impl Fn(PartitionId) -> bool) {
        self.by_partition.retain(|id, place| place.start < place.end || is_in_files(*id));
    }

    /// Number of partitions.
    pub(crate) fn len(&self) -> usize {
        self.by_partition.len()
    }

    /// The bounds of all partitions and the tombstones that `is_needed` wants, in rising order: what a new file begins with.
    pub(crate) fn carried(&self, is_needed: impl Fn(PartitionId) -> bool) -> Vec<BoundsTarget> {
        let alive = self.by_partition.iter().map(|(&partition, place)| bounds_of(partition, place));
        let removed = self.removed.iter().copied().filter(|&partition| is_needed(partition)).map(tombstone);
        let mut all: Vec<BoundsTarget> = alive.chain(removed).collect();
        if planted::is(Bug::OffsetReused) {
            all.retain(|it| it.removed || it.start < it.end);
        }
        all.sort_unstable_by_key(|it| it.partition);
        all
    }

    /// Refuses what breaks a limit or does not continue its partitions.
    pub(crate) fn check(&mut self, commit: &Commit) -> Result<(), Refusal> {
        check_shape(commit).map_err(Refusal::Error)?;
        self.staged.clear();
        for entry in &commit.entries {
            for target in &entry.targets {
                self.check_target(target.partition, target.base)?;
                self.staged.insert(target.partition, target.base.plus(u64::from(entry.body.offsets)));
            }
        }
        for trim in &commit.trims {
            if let Trim::Start { partition, start } = *trim
                && self.end_of(partition).is_some_and(|end| start > end)
            {
                let reason = format!("trim of partition {partition} to {start}, beyond its end");
                return Err(self.refuse(partition, start, invalid(reason)));
            }
        }
        Ok(())
    }

    fn check_target(&self, partition: PartitionId, base: Offset) -> Result<(), Refusal> {
        if self.removed.contains(&partition) {
            return Err(Refusal::Error(invalid(format!("partition {partition} was removed"))));
        }
        if self.by_partition.get(&partition).is_some_and(|place| place.quarantined) {
            return Err(Refusal::Error(LogError::Quarantined { partition }));
        }
        check_base(partition, base, self.end_of(partition))
            .map_err(|error| self.refuse(partition, base, error))
    }

    /// The same refusal, unless the place is where a commit would have ended that found no space.
    fn refuse(&self, partition: PartitionId, at: Offset, error: LogError) -> Refusal {
        if self.refused_ends.get(&partition).is_some_and(|&end| at <= end) {
            Refusal::FollowsRefused
        } else {
            Refusal::Error(error)
        }
    }

    fn end_of(&self, partition: PartitionId) -> Option<Offset> {
        self.staged
            .get(&partition)
            .copied()
            .or_else(|| self.by_partition.get(&partition).map(|place| place.end))
    }

    /// Remembers where this commit would have ended: what is queued behind it was made in that belief.
    pub(crate) fn note_refused(&mut self, commit: &Commit) {
        for entry in &commit.entries {
            for target in &entry.targets {
                self.refused_ends.insert(target.partition, target.base.plus(u64::from(entry.body.offsets)));
            }
        }
    }

    /// The bounds targets that the commit's trims write, as they stand after its appends.
    pub(crate) fn bounds_for(&self, commit: &Commit) -> Vec<BoundsTarget> {
        let mut bounds: Vec<BoundsTarget> = Vec::with_capacity(commit.trims.len());
        for trim in &commit.trims {
            match *trim {
                Trim::Remove { partition } => bounds.push(tombstone(partition)),
                Trim::Start { partition, start } => {
                    let gone = bounds.iter().any(|it| it.partition == partition && it.removed);
                    if gone || self.removed.contains(&partition) {
                        continue;
                    }
                    let mut place = self.by_partition.get(&partition).copied().unwrap_or_else(|| {
                        Place::starting_at(commit_base(commit, partition).unwrap_or(start))
                    });
                    place.end = self.end_of(partition).unwrap_or(start);
                    place.start = place.start.max(start);
                    bounds.push(bounds_of(partition, &place));
                }
            }
        }
        bounds
    }

    /// The commit has been written.
    pub(crate) fn apply(&mut self, commit: &Commit, bounds: &[BoundsTarget]) {
        for entry in &commit.entries {
            for target in &entry.targets {
                let place = self
                    .by_partition
                    .entry(target.partition)
                    .or_insert_with(|| Place::starting_at(target.base));
                place.end = target.base.plus(u64::from(entry.body.offsets));
                place.leader_epoch = target.leader_epoch;
                if !self.refused_ends.is_empty() {
                    self.refused_ends.remove(&target.partition);
                }
            }
        }
        for target in bounds {
            self.apply_bounds(target);
        }
    }

    fn apply_bounds(&mut self, target: &BoundsTarget) {
        if target.removed {
            self.by_partition.remove(&target.partition);
            self.removed.insert(target.partition);
        } else {
            let place = Place {
                start: target.start,
                end: target.end,
                leader_epoch: target.leader_epoch,
                quarantined: target.quarantined,
            };
            self.by_partition.insert(target.partition, place);
        }
    }
}

/// Base of the first append of a commit to this partition.
fn commit_base(commit: &Commit, partition: PartitionId) -> Option<Offset> {
    let targets = commit.entries.iter().flat_map(|entry| &entry.targets);
    targets.filter(|it| it.partition == partition).map(|it| it.base).next()
}

fn bounds_of(partition: PartitionId, place: &Place) -> BoundsTarget {
    BoundsTarget {
        partition,
        start: place.start,
        end: place.end,
        leader_epoch: place.leader_epoch,
        removed: false,
        quarantined: place.quarantined,
    }
}

fn tombstone(partition: PartitionId) -> BoundsTarget {
    BoundsTarget {
        partition,
        start: Offset(0),
        end: Offset(0),
        leader_epoch: 0,
        removed: true,
        quarantined: false,
    }
}
