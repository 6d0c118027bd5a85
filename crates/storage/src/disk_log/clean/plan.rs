//! Which files to rewrite, and why it pays.
//!
//! In this order: files under half alive; files with something dead for longer than the purge bound; many small files; files
//! whose partitions are scattered over many. Each reason has its own rule of what counts as a gain, so that no file is rewritten
//! again and again: fewer bytes, something dead gone, fewer files, fewer stretches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use duolog_record::{PartitionId, Timestamp};
use parking_lot::RwLock;
use tracing::debug;

use super::alive::{Outlook, kept, survivors};
use super::memo::Memos;
use crate::disk_log::files::SealedFile;
use crate::disk_log::options::Options;
use crate::disk_log::view::View;
use crate::format::BLOCK_BYTES;
use crate::format::footer::footer_bytes;
use crate::format::frame::rewritten_entry_bytes;
use crate::format::index::{ENTRIES_PER_PAGE, IndexEntry};
use crate::limits::{
    INPUTS_PER_FILE, REWRITE_BYTES, REWRITE_ENTRIES, SCATTERED_BYTES, SCATTERED_READS, SMALL_FILES,
};

/// A file to be rewritten.
pub(super) struct Input {
    pub(super) file: Arc<SealedFile>,
    /// What of it is alive.
    pub(super) entries: Vec<IndexEntry>,
}

/// A sealed file and what its rows let expect.
struct Candidate {
    file: Arc<SealedFile>,
    outlook: Outlook,
}

impl Candidate {
    fn id(&self) -> u64 {
        self.file.file.id
    }

    fn bytes(&self) -> u64 {
        self.file.file.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of a partition's stretch, on average.
    fn stretch(&self) -> u64 {
        self.outlook.alive / (self.outlook.rows as u64).max(1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Dead,
    Purge,
    Small,
    Scattered,
}

/// Bytes of the files that hold so many entries and bytes of bodies: what a rewrite would leave, about.
fn rewritten_bytes(entries: usize, bodies: u64) -> u64 {
    let headers = entries * rewritten_entry_bytes(1, 0);
    (BLOCK_BYTES + headers) as u64 + bodies + footer_bytes(entries, 1)
}

/// What one body with so many targets costs besides its bytes, about: its entry in a frame, and its places in the index.
pub(super) const fn body_cost(targets: usize) -> u64 {
    (rewritten_entry_bytes(targets, 0) + targets * (BLOCK_BYTES / ENTRIES_PER_PAGE)) as u64
}

/// Decides what to rewrite next; `bytes_max` is the most that there may be room for.
pub(super) fn plan(
    view: &RwLock<View>,
    options: &Options,
    memos: &mut Memos,
    now: Timestamp,
    bytes_max: u64,
) -> Option<Vec<Input>> {
    let candidates = candidates(view, memos, now);
    let limit = bytes_max.min(REWRITE_BYTES).min(options.file_bytes.saturating_mul(16));
    for reason in [Reason::Dead, Reason::Purge, Reason::Small, Reason::Scattered] {
        let chosen = choose(view, reason, &candidates, options, memos, now, limit);
        if chosen.is_empty() {
            continue;
        }
        let inputs = gather(view, reason, &chosen, memos, limit);
        if pays(reason, &inputs) {
            debug!(?reason, files = inputs.len(), "rewriting");
            return Some(inputs);
        }
        // Alone they may not pay even where each is half dead: a file has a header and a footer.
        for it in chosen.iter().filter(|it| inputs.iter().any(|input| input.file.file.id == it.id())) {
            memos.does_not_pay(it.id(), &it.outlook);
        }
    }
    None
}

fn candidates(view: &RwLock<View>, memos: &mut Memos, now: Timestamp) -> Vec<Candidate> {
    let files: Vec<Arc<SealedFile>> = view.read().sealed.values().cloned().collect();
    let ids: HashSet<u64> = files.iter().map(|it| it.file.id).collect();
    memos.keep(|file| ids.contains(&file));
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        // A lock for each: looking at ten thousand rows takes its time.
        let outlook = Outlook::of(&view.read(), &file);
        memos.note(file.file.id, &outlook, now);
        // Where nothing is alive there is nothing to rewrite: such files are unlinked.
        if outlook.alive > 0 && !memos.is_left(file.file.id) {
            found.push(Candidate { file, outlook });
        }
    }
    found
}

fn choose<'a>(
    view: &RwLock<View>,
    reason: Reason,
    all: &'a [Candidate],
    options: &Options,
    memos: &Memos,
    now: Timestamp,
    bytes_max: u64,
) -> Vec<&'a Candidate> {
    match reason {
        Reason::Dead => all
            .iter()
            .filter(|it| it.outlook.alive * 2 < it.bytes() && memos.is_worth_a_look(it.id(), &it.outlook))
            .collect(),
        Reason::Purge => all.iter().filter(|it| memos.is_purge_due(it.id(), now, options.purge_ms)).collect(),
        Reason::Small => {
            let mut small: Vec<_> = all.iter().filter(|it| it.bytes() < options.file_bytes / 4).collect();
            if small.len() < SMALL_FILES {
                return Vec::new();
            }
            small.sort_by_key(|it| it.bytes());
            small
        }
        Reason::Scattered => scattered(view, all, options, bytes_max),
    }
}

/// The files in which partitions lie most scattered, if sorting as many of them as one rewrite takes halves the stretches.
fn scattered<'a>(
    view: &RwLock<View>,
    all: &'a [Candidate],
    options: &Options,
    bytes_max: u64,
) -> Vec<&'a Candidate> {
    let rows: usize = all.iter().map(|it| it.file.rows().len()).sum();
    let is_over = rows > options.extents_max;
    let mut found: Vec<_> = all.iter().filter(|it| is_over || it.stretch() < SCATTERED_BYTES).collect();
    let reads: u64 = found.iter().map(|it| it.file.file.scattered_reads.load(Ordering::Relaxed)).sum();
    if !is_over && reads < SCATTERED_READS {
        return Vec::new();
    }
    for it in &found {
        it.file.file.scattered_reads.store(0, Ordering::Relaxed);
    }
    // Those of about the same kind in the order of their making, so that what is sorted together goes on from one to the next.
    found.sort_by_key(|it| (it.stretch().max(1).ilog2(), it.id()));
    let (mut bytes, mut rows, mut count) = (0, 0, 0);
    let mut partitions = HashSet::new();
    let mut inputs = HashSet::new();
    for it in &found {
        bytes += it.outlook.alive;
        if bytes > bytes_max {
            break;
        }
        (rows, count) = (rows + it.outlook.rows, count + 1);
        inputs.insert(it.id());
        partitions.extend(it.file.rows().iter().map(|row| row.partition));
    }
    // What lies in other files between two inputs keeps them apart; and each output begins in the middle of a partition.
    let apart: usize = partitions.iter().map(|it| stretches(view, *it, &inputs)).sum();
    let after = apart + (bytes.min(bytes_max) / options.file_bytes) as usize;
    let pays = count > 1 && after * 2 <= rows;
    found.truncate(if pays { count } else { 0 });
    found
}

/// Runs of neighbouring stretches of a partition that all lie in these files.
fn stretches(view: &RwLock<View>, partition: PartitionId, inputs: &HashSet<u64>) -> usize {
    let view = view.read();
    let Some(it) = view.partitions.get(&partition) else { return 0 };
    it.sealed
        .chunk_by(|one, other| inputs.contains(&one.file.file.id) == inputs.contains(&other.file.file.id))
        .filter(|run| inputs.contains(&run[0].file.file.id))
        .count()
}

/// Reads the indexes of as many of these files as one rewrite takes.
fn gather(
    view: &RwLock<View>,
    reason: Reason,
    chosen: &[&Candidate],
    memos: &mut Memos,
    bytes_max: u64,
) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for it in chosen.iter().take(INPUTS_PER_FILE) {
        if !inputs.is_empty() && bytes + it.outlook.alive > bytes_max {
            // A later one may be smaller.
            continue;
        }
        let kept = kept(&view.read(), &it.file);
        let count_max = if inputs.is_empty() { usize::MAX } else { REWRITE_ENTRIES - count };
        let entries = match survivors(&it.file, &kept, count_max) {
            Ok(Some(entries)) => entries,
            Ok(None) => break,
            Err(why) => {
                memos.leave(&it.file, &why);
                continue;
            }
        };
        let alive = bodies_bytes(&entries);
        match reason {
            Reason::Dead if alive * 2 >= it.bytes() => {
                memos.does_not_pay(it.id(), &it.outlook);
                continue;
            }
            Reason::Purge if entries.len() == entries_of(&it.file) => {
                memos.nothing_dead(it.id());
                continue;
            }
            Reason::Dead | Reason::Purge | Reason::Small | Reason::Scattered => {}
        }
        count += entries.len();
        bytes += alive;
        inputs.push(Input { file: Arc::clone(&it.file), entries });
        if count >= REWRITE_ENTRIES {
            break;
        }
    }
    inputs
}

fn entries_of(file: &SealedFile) -> usize {
    file.rows().iter().map(|row| row.entries as usize).sum()
}

/// Bytes of the bodies of one file that these entries stand for: a body that went to several partitions lies there once.
fn bodies_bytes(entries: &[IndexEntry]) -> u64 {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().filter(|it| seen.insert(it.body_position)).map(|it| u64::from(it.body_bytes)).sum()
}

fn pays(reason: Reason, inputs: &[Input]) -> bool {
    match reason {
        Reason::Dead => {
            let before: u64 = inputs.iter().map(|it| it.file.file.bytes.load(Ordering::Relaxed)).sum();
            let entries = inputs.iter().map(|it| it.entries.len()).sum();
            let bodies = inputs.iter().map(|it| bodies_bytes(&it.entries)).sum();
            !inputs.is_empty() && rewritten_bytes(entries, bodies) <= before - before / 4
        }
        Reason::Purge => !inputs.is_empty(),
        Reason::Small => inputs.len() >= SMALL_FILES,
        Reason::Scattered => inputs.len() > 1,
    }
}
