//! What readers see: bounds and index of every partition, as of the last commit that became visible.
//!
//! Invariant: changed only by the writer, a whole group at a time, under the write lock; no disk is touched under either
//! lock. `recent` holds every visible batch of the newest file, and before those the ones whose bodies are cached.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use duolog_record::{Offset, PartitionId, Timestamp};

use super::files::{LogFile, SealedFile};
use super::places::Place;
use super::tail::TailCache;
use crate::format::footer::Row;
use crate::format::frame::BoundsTarget;
use crate::format::index::IndexEntry;
use crate::runs::Runs;
use crate::{Bounds, Commit};

/// A batch whose index entry is in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recent {
    pub(crate) file: u64,
    pub(crate) entry: IndexEntry,
}

/// What a sealed file holds of a partition.
#[derive(Clone)]
pub(crate) struct Extent {
    pub(crate) file: Arc<SealedFile>,
    row: usize,
}

impl Extent {
    pub(crate) fn row(&self) -> &Row {
        &self.file.rows()[self.row]
    }
}

/// One partition.
#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) quarantined: bool,
    /// Rising by offset.
    pub(crate) sealed: Arc<Vec<Extent>>,
    /// Rising by offset.
    pub(crate) recent: VecDeque<Recent>,
    pub(crate) discarded: Runs,
    /// How old the newest record was that the last trim removed, milliseconds.
    lifetime_ms: Option<u64>,
}

impl Partition {
    pub(crate) fn bounds(&self) -> Bounds {
        self.start..self.end
    }

    /// Index of the first recent batch that ends above `at`.
    pub(crate) fn recent_from(&self, at: Offset) -> usize {
        self.recent.partition_point(|it| it.entry.end() <= at)
    }

    /// The first extent that ends above `at`.
    pub(crate) fn extent_from(&self, at: Offset) -> Option<&Extent> {
        self.sealed.get(self.sealed.partition_point(|it| it.row().end <= at))
    }

    pub(crate) fn discard(&mut self, runs: &[Range<Offset>]) {
        for run in runs {
            self.discarded.add(run);
        }
        self.discarded.trim(self.start);
    }

    /// Which partitions are likely to lose their records together: 0 those that never lost any, 1 those that lose single
    /// ones, then by how long they keep them, a class for each factor of four.
    pub(crate) fn retention_class(&self) -> u8 {
        if !self.discarded.is_empty() {
            return 1;
        }
        self.lifetime_ms.map_or(0, |ms| 2 + (ms.max(1).ilog2() / 2) as u8)
    }

    fn trim(&mut self, start: Offset, now: Timestamp) {
        let start = self.start.max(start);
        self.start = start;
        let mut last = None;
        while let Some(gone) = self.recent.front().filter(|it| it.entry.end() <= start) {
            last = Some(gone.entry.append_time);
            self.recent.pop_front();
        }
        if let Some(gone) = self.sealed.iter().take_while(|it| it.row().end <= start).last() {
            last = last.max(Some(gone.row().append_time_max));
        }
        if let Some(last) = last {
            self.lifetime_ms = Some(now.0.saturating_sub(last.0).max(0) as u64);
        }
        if self.sealed.first().is_some_and(|it| it.row().end <= self.start) {
            Arc::make_mut(&mut self.sealed).retain(|it| it.row().end > start);
        }
        self.discarded.trim(self.start);
    }
}

/// Where a commit was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameAt {
    pub(crate) position: u64,
    pub(crate) header_bytes: usize,
}

/// Everything that is visible.
pub(crate) struct View {
    pub(crate) partitions: HashMap<PartitionId, Partition>,
    /// Sealed files that the manifest lists, by id.
    pub(crate) sealed: BTreeMap<u64, Arc<SealedFile>>,
    pub(crate) active: Arc<LogFile>,
    pub(crate) cache: TailCache,
}

impl View {
    pub(crate) fn new(active: Arc<LogFile>, cache_bytes: usize) -> Self {
        Self {
            partitions: HashMap::new(),
            sealed: BTreeMap::new(),
            active,
            cache: TailCache::new(cache_bytes),
        }
    }

    /// The file with this id, if it is still listed.
    pub(crate) fn file(&self, id: u64) -> Option<&Arc<LogFile>> {
        if id == self.active.id { Some(&self.active) } else { self.sealed.get(&id).map(|it| &it.file) }
    }

    /// A partition as recovery found it.
    pub(crate) fn restore(&mut self, partition: PartitionId, place: &Place) {
        let it = self.partitions.entry(partition).or_default();
        (it.start, it.end, it.quarantined) = (place.start, place.end, place.quarantined);
    }

    /// Makes a commit visible.
    pub(crate) fn publish(&mut self, commit: &Commit, bounds: &[BoundsTarget], at: FrameAt) {
        let file = self.active.id;
        let mut body_position = at.position + at.header_bytes as u64;
        for entry in &commit.entries {
            let body = &entry.body;
            self.cache.push(file, body_position as u32, body.bytes.clone());
            for target in &entry.targets {
                let it = self.partitions.entry(target.partition).or_insert_with(|| Partition {
                    start: target.base,
                    end: target.base,
                    ..Partition::default()
                });
                assert_eq!(it.end, target.base, "an append continues partition {}", target.partition);
                let entry = IndexEntry {
                    partition: target.partition,
                    base: target.base,
                    max_timestamp: body.max_timestamp,
                    append_time: commit.append_time,
                    body_position: body_position as u32,
                    body_bytes: body.bytes.len() as u32,
                    offsets: body.offsets,
                    body_crc: body.crc,
                    leader_epoch: target.leader_epoch,
                    frame_position: at.position as u32,
                    damaged: false,
                    abort_mark: entry.abort_first.is_some(),
                    key_hashes: !entry.key_hashes.is_empty(),
                    unkeyed: body.unkeyed,
                    timed: body.timed,
                };
                it.end = entry.end();
                it.recent.push_back(Recent { file, entry });
            }
            body_position += body.bytes.len() as u64;
        }
        for target in bounds {
            if target.removed {
                self.partitions.remove(&target.partition);
            } else {
                let it = self.partitions.entry(target.partition).or_insert_with(|| Partition {
                    start: target.start,
                    end: target.end,
                    ..Partition::default()
                });
                it.trim(target.start, commit.append_time);
            }
        }
    }

    /// The visible batches of the newest file, sorted by (partition, offset): its index.
    pub(crate) fn active_index(&self) -> Vec<IndexEntry> {
        let file = self.active.id;
        let mut ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        ids.sort_unstable();
        let recents = ids.iter().filter_map(|id| self.partitions.get(id)).flat_map(|it| &it.recent);
        recents.filter(|it| it.file == file).map(|it| it.entry).collect()
    }

    /// Adds a sealed file to its partitions; a partition that it does not know was removed.
    pub(crate) fn add_sealed(&mut self, file: Arc<SealedFile>) {
        for (row, facts) in file.rows().iter().enumerate() {
            let Some(it) = self.partitions.get_mut(&facts.partition).filter(|it| facts.end > it.start) else {
                continue;
            };
            let extents = Arc::make_mut(&mut it.sealed);
            let index = extents.partition_point(|other| other.row().first < facts.first);
            extents.insert(index, Extent { file: Arc::clone(&file), row });
        }
        self.sealed.insert(file.file.id, file);
    }

    /// The newest file has been sealed and another has begun: what is not cached leaves the memory.
    pub(crate) fn roll(&mut self, sealed: Arc<SealedFile>, active: Arc<LogFile>) {
        self.add_sealed(sealed);
        self.active = active;
        let cache = &self.cache;
        for it in self.partitions.values_mut() {
            let gone =
                it.recent.iter().take_while(|it| cache.is_below(it.file, it.entry.body_position)).count();
            it.recent.drain(..gone);
            it.recent.shrink_to(gone);
        }
    }

    /// Forgets sealed files that the manifest no longer lists, and gives them, so that the last handle need not go under the lock.
    pub(crate) fn remove_sealed(&mut self, ids: &[u64]) -> Vec<Arc<SealedFile>> {
        let gone: Vec<Arc<SealedFile>> = ids.iter().filter_map(|id| self.sealed.remove(id)).collect();
        let touched: HashSet<PartitionId> =
            gone.iter().flat_map(|file| file.rows().iter().map(|row| row.partition)).collect();
        for partition in touched {
            if let Some(it) = self.partitions.get_mut(&partition) {
                Arc::make_mut(&mut it.sealed).retain(|extent| !ids.contains(&extent.file.file.id));
                // What lies in memory before a batch that no longer does is read from the files too: no gap between them.
                let last = it.recent.iter().rposition(|recent| ids.contains(&recent.file));
                it.recent.drain(..last.map_or(0, |last| last + 1));
            }
        }
        gone
    }

    /// True if any sealed file holds batches of this partition.
    pub(crate) fn is_in_sealed(&self, partition: PartitionId) -> bool {
        self.sealed
            .values()
            .any(|file| file.rows().binary_search_by_key(&partition, |row| row.partition).is_ok())
    }
}
