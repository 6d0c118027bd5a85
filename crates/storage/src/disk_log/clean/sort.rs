//! The order in which survivors are written: by retention class, partition, offset; one body with many targets once, and all
//! partitions that share bodies in one file.
//!
//! The last is what keeps the stretches of a partition few: were some of its batches in another file than the rest, because
//! they are shared with a partition there, the two would alternate.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use duolog_record::{Offset, PartitionId};
use parking_lot::RwLock;

use super::plan::{Input, body_cost};
use crate::disk_log::view::View;
use crate::format::index::IndexEntry;
use crate::planted::{self, Bug};

/// A survivor and which input it is in.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) input: u16,
    pub(super) entry: IndexEntry,
}

/// One body: the items that are its targets.
#[derive(Clone, Copy)]
pub(super) struct BodyOf {
    pub(super) from: u32,
    pub(super) targets: u32,
}

/// Everything that a rewrite writes, in order.
pub(super) struct Sorted {
    pub(super) items: Vec<Item>,
    pub(super) bodies: Vec<BodyOf>,
    /// Which bodies each output holds.
    pub(super) outputs: Vec<Range<usize>>,
}

impl Sorted {
    pub(super) fn targets(&self, body: BodyOf) -> &[Item] {
        &self.items[body.from as usize..(body.from + body.targets) as usize]
    }

    /// Entries and bytes of bodies of one output.
    pub(super) fn measure(&self, bodies: &Range<usize>) -> (usize, u64) {
        let bodies = &self.bodies[bodies.clone()];
        let entries = bodies.iter().map(|it| it.targets as usize).sum();
        (entries, bodies.iter().map(|it| u64::from(self.targets(*it)[0].entry.body_bytes)).sum())
    }
}

/// Partitions that share bodies, as a forest: the root of each is its lowest.
#[derive(Default)]
struct Together {
    parents: HashMap<PartitionId, PartitionId>,
}

impl Together {
    fn root(&self, of: PartitionId) -> PartitionId {
        let mut at = of;
        while let Some(&parent) = self.parents.get(&at) {
            at = parent;
        }
        at
    }

    fn join(&mut self, one: PartitionId, other: PartitionId) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.parents.insert(one.max(other), one.min(other));
        }
    }
}

/// Brings the survivors in order and divides them into outputs of about `file_bytes`.
pub(super) fn sort(view: &RwLock<View>, inputs: &mut [Input], file_bytes: u64) -> Sorted {
    let mut items = Vec::with_capacity(inputs.iter().map(|it| it.entries.len()).sum());
    for (number, input) in inputs.iter_mut().enumerate() {
        let entries = std::mem::take(&mut input.entries);
        items.extend(entries.into_iter().map(|entry| Item { input: number as u16, entry }));
    }
    items.sort_unstable_by_key(|it| (it.input, it.entry.body_position, it.entry.partition, it.entry.base));
    let is_same = |one: &Item, other: &Item| {
        (one.input, one.entry.body_position) == (other.input, other.entry.body_position)
            && !planted::is(Bug::TargetsMultiplied)
    };
    let mut bodies = Vec::new();
    let mut from = 0;
    for body in items.chunk_by(is_same) {
        bodies.push(BodyOf { from, targets: body.len() as u32 });
        from += body.len() as u32;
    }
    let mut together = Together::default();
    for body in &bodies {
        let targets = &items[body.from as usize..(body.from + body.targets) as usize];
        targets.iter().skip(1).for_each(|it| together.join(targets[0].entry.partition, it.entry.partition));
    }
    let partitions: HashSet<PartitionId> = items.iter().map(|it| it.entry.partition).collect();
    let shared: HashSet<PartitionId> = together.parents.keys().map(|it| together.root(*it)).collect();
    let classes = classes(view, &partitions, &together);
    let key = |body: &BodyOf| {
        let first = &items[body.from as usize].entry;
        let root = together.root(first.partition);
        (classes.get(&root).copied().unwrap_or(0), root, first.partition, first.base)
    };
    bodies.sort_by_cached_key(key);
    let outputs = divide(&items, &bodies, file_bytes, |body| {
        let (class, root, _, _) = key(body);
        Group { class, root, is_shared: shared.contains(&root) }
    });
    Sorted { items, bodies, outputs }
}

/// The retention class of each root.
fn classes(
    view: &RwLock<View>,
    partitions: &HashSet<PartitionId>,
    together: &Together,
) -> HashMap<PartitionId, u8> {
    let roots: HashSet<PartitionId> = partitions.iter().map(|it| together.root(*it)).collect();
    // A lock for each: who writes is not to wait for all of them.
    let class = |root: &PartitionId| {
        view.read().partitions.get(root).map_or(0, super::super::view::Partition::retention_class)
    };
    roots.iter().map(|root| (*root, class(root))).collect()
}

/// What a body has in common with others.
struct Group {
    class: u8,
    root: PartitionId,
    is_shared: bool,
}

/// Cuts where an output is full; within partitions that share bodies, never; between two classes, where neither side would
/// be a small file.
fn divide(
    items: &[Item],
    bodies: &[BodyOf],
    file_bytes: u64,
    group: impl Fn(&BodyOf) -> Group,
) -> Vec<Range<usize>> {
    let mut outputs = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    let mut before: Option<Group> = None;
    for (index, body) in bodies.iter().enumerate() {
        let own = body_cost(body.targets as usize) + u64::from(items[body.from as usize].entry.body_bytes);
        let it = group(body);
        let is_inside = it.is_shared && before.as_ref().is_some_and(|before| before.root == it.root);
        let is_full = bytes + own > file_bytes;
        let is_other_class =
            before.as_ref().is_some_and(|before| before.class != it.class) && bytes >= file_bytes / 4;
        if index > from && !is_inside && (is_full || is_other_class) {
            outputs.push(from..index);
            (from, bytes) = (index, 0);
        }
        bytes += own;
        before = Some(it);
    }
    if from < bodies.len() {
        outputs.push(from..bodies.len());
    }
    outputs
}

/// Where other files have something between two entries of a partition: what has to be known to write its rows.
pub(super) struct Others {
    by_partition: HashMap<PartitionId, Vec<Range<Offset>>>,
}

impl Others {
    /// Of all partitions of these items, without the inputs themselves.
    pub(super) fn of(view: &RwLock<View>, items: &[Item], is_input: impl Fn(u64) -> bool) -> Self {
        let mut by_partition = HashMap::new();
        for item in items {
            let partition = item.entry.partition;
            if by_partition.contains_key(&partition) {
                continue;
            }
            // A lock for each: what comes or goes meanwhile lies outside of what is rewritten.
            let view = view.read();
            let Some(it) = view.partitions.get(&partition) else { continue };
            let others = it.sealed.iter().filter(|extent| !is_input(extent.file.file.id));
            let stretches = others.map(|extent| extent.row().first..extent.row().end).collect();
            by_partition.insert(partition, stretches);
        }
        Self { by_partition }
    }

    /// True if another file has something between the two.
    pub(super) fn is_apart(&self, before: &IndexEntry, next: &IndexEntry) -> bool {
        let hole = before.end()..next.base;
        if hole.start >= hole.end {
            return false;
        }
        let Some(others) = self.by_partition.get(&next.partition) else { return false };
        let index = others.partition_point(|it| it.end <= hole.start);
        others.get(index).is_some_and(|it| it.start < hole.end)
    }
}
