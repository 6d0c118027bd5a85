//! How much a partition holds: for retention by size. Computed from the index when asked, not counted, so that nothing can
//! drift; a sealed file that is wholly kept costs no look into its index.

use duolog_record::{Offset, PartitionId};
use parking_lot::RwLock;

use super::view::{Extent, View};
use crate::format::index::IndexEntry;
use crate::runs::Runs;

/// A partition as it was when the question came.
struct Picture {
    start: Offset,
    end: Offset,
    discarded: Runs,
    extents: Vec<Extent>,
    /// Those of the newest file.
    newest: Vec<IndexEntry>,
}

impl Picture {
    fn of(view: &RwLock<View>, partition: PartitionId) -> Option<Self> {
        let view = view.read();
        let it = view.partitions.get(&partition)?;
        let newest = it.recent.iter().filter(|recent| recent.file == view.active.id);
        Some(Self {
            start: it.start,
            end: it.end,
            discarded: it.discarded.clone(),
            extents: it.sealed.to_vec(),
            newest: newest.map(|recent| recent.entry).collect(),
        })
    }

    fn kept(&self, entry: &IndexEntry) -> u64 {
        let offsets = entry.base.max(self.start)..entry.end();
        let is_gone = offsets.start >= offsets.end || self.discarded.covers(&offsets);
        if is_gone { 0 } else { u64::from(entry.body_bytes) }
    }

    /// The whole of an extent, if that needs no look at its entries.
    fn kept_whole(&self, extent: &Extent) -> Option<u64> {
        let row = extent.row();
        let is_whole = row.first >= self.start && !self.discarded.touches(&(row.first..row.end));
        is_whole.then_some(row.bytes)
    }

    /// Its entries; where the index cannot be read, none: what cannot be read is not measured.
    fn entries(&self, extent: &Extent) -> Vec<IndexEntry> {
        extent.file.walk(extent.row(), self.start).map_while(Result::ok).flatten().collect()
    }
}

/// See `Log::partition_bytes`.
pub(crate) fn partition_bytes(view: &RwLock<View>, partition: PartitionId) -> u64 {
    let Some(picture) = Picture::of(view, partition) else { return 0 };
    let sealed = picture.extents.iter().map(|extent| {
        picture
            .kept_whole(extent)
            .unwrap_or_else(|| picture.entries(extent).iter().map(|it| picture.kept(it)).sum())
    });
    sealed.sum::<u64>() + picture.newest.iter().map(|it| picture.kept(it)).sum::<u64>()
}

/// See `Log::start_for_bytes`.
pub(crate) fn start_for_bytes(view: &RwLock<View>, partition: PartitionId, bytes_max: u64) -> Offset {
    let Some(picture) = Picture::of(view, partition) else { return Offset::default() };
    let mut start = picture.end;
    let mut bytes = 0;
    // False when it would be too much.
    let mut take = |entry: &IndexEntry| {
        bytes += picture.kept(entry);
        if bytes <= bytes_max {
            start = entry.base;
        }
        bytes <= bytes_max
    };
    if !picture.newest.iter().rev().all(&mut take) {
        return start;
    }
    for extent in picture.extents.iter().rev() {
        if let Some(whole) = picture.kept_whole(extent)
            && bytes + whole <= bytes_max
        {
            bytes += whole;
            start = extent.row().first;
            continue;
        }
        for entry in picture.entries(extent).iter().rev() {
            bytes += picture.kept(entry);
            if bytes > bytes_max {
                return start;
            }
            start = entry.base;
        }
    }
    picture.start
}
