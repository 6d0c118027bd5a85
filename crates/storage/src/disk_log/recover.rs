//! Opening a directory: which files there are, what they hold, and a new file to go on in.
//!
//! The newest file is read frame by frame (`scan`), its unsure tail is written again and synced before anybody sees it (after a
//! failed sync a page may look written and not be), then it is sealed; sealed files are known by their footers. The
//! manifest swap that lists the new file is what makes all of this count: a crash before it repeats the whole.
//! Nothing that may have been acknowledged is ever deleted here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use tracing::{info, warn};

use super::files::{Index, LogFile, SealedFile};
use super::listing::Directory;
use super::options::{OpenError, Options};
use super::places::{Place, Places};
use super::scan::{Known, Scanned, lost_entries, scan};
use super::shared::Shared;
use super::store::{RoomError, Sequences, Store, preamble_bytes};
use super::view::View;
use super::watermark_file::WatermarkFile;
use super::writer::Writer;
use crate::disk::Disk;
use crate::format::file_header::FileHeader;
use crate::format::footer::{self, TRAILER_BYTES, Trailer, footer_bytes, rows_of};
use crate::format::index::IndexEntry;
use crate::format::manifest::{Manifest, ManifestFile};
use crate::format::{BLOCK_BYTES, FormatError, VERSION};
use crate::limits::READ_BYTES;
use crate::planted::{self, Bug};

/// Opens the directory, whose lock is held.
pub(crate) fn recover(disk: Arc<dyn Disk>, options: Options) -> Result<(Writer, Shared), OpenError> {
    let directory = Directory { name: disk.describe() };
    let mut store = directory.read(&disk, &options)?;
    let watermark = WatermarkFile::open(&*disk).map_err(directory.io("open the watermark"))?;
    let mut found = Files::default();
    for file in store.manifest.files.clone() {
        found.open(&directory, &store, &file, watermark.durable_upto())?;
    }
    found.judge_holes();
    let places = found.places();
    found.doubt_holes(&places);
    let (last, dropped) = found.settle_newest(&directory, &mut store, &places)?;
    let mut sequences = Sequences { last, durable: last };

    let incarnation = store.manifest.incarnation + 1;
    let is_in_sealed =
        |id| found.sealed.iter().any(|it| it.rows().binary_search_by_key(&id, |row| row.partition).is_ok());
    let carried = places.carried(is_in_sealed);
    let capacity = options.file_bytes.max(preamble_bytes(carried.len()) + footer_bytes(0, 0));
    let room = |error: RoomError| directory.room(error);
    let empty = store.create_file(capacity, true).map_err(room)?;
    let mut active = store.begin_file(empty, incarnation, &mut sequences, &carried).map_err(room)?;

    let next = Manifest {
        incarnation,
        files: found.listing(&active, last),
        dropped: store.manifest.dropped.iter().copied().chain(dropped.as_ref().map(|it| it.id)).collect(),
        ..store.manifest.clone()
    };
    let prepared = store.prepare_manifest(next.encoded_bytes()).map_err(room)?;
    store.swap_manifest(&*prepared, next).map_err(room)?;
    if let Some(dropped) = dropped {
        dropped.drop_when_unread();
    }
    // Where the reserve cannot be made whole, the new file is part of it.
    active.from_reserve |= !store.restore_reserve().map_err(room)?;

    let mut view = View::new(Arc::clone(&active.file), options.cache_bytes);
    for (partition, place) in places.iter() {
        view.restore(partition, place);
    }
    for sealed in found.sealed {
        view.add_sealed(Arc::new(sealed));
    }
    info!(directory = %directory.name, incarnation, files = store.manifest.files.len(), "the log is open");
    let shared = Shared::new(options, incarnation, view);
    let writer = Writer {
        store,
        active,
        places,
        sequences,
        watermark,
        stopped: None,
        cleaning: BTreeSet::new(),
        headers: Vec::new(),
    };
    Ok((writer, shared))
}

/// What the listed files hold.
#[derive(Default)]
struct Files {
    sealed: Vec<SealedFile>,
    /// Where partitions ended in sealed files that lost a header.
    lost: Vec<(usize, HashMap<PartitionId, Place>)>,
    /// Sealed files that lost a header, and the partitions of which they say where they stood.
    doubtful: Vec<(usize, HashSet<PartitionId>)>,
    newest: Option<(Arc<LogFile>, Scanned)>,
    listed: Vec<ManifestFile>,
}

impl Files {
    fn open(
        &mut self,
        directory: &Directory,
        store: &Store,
        listed: &ManifestFile,
        durable_upto: u64,
    ) -> Result<(), OpenError> {
        let file = directory.open_listed(store, listed.file)?;
        if listed.sealed {
            match read_footer(&file) {
                Ok(footer) => {
                    self.sealed.push(SealedFile { file, index: Index::Footer(footer) });
                    self.listed.push(*listed);
                    return Ok(());
                }
                Err(ReadFooter::Format(FormatError::Newer(found))) => {
                    return Err(directory.newer(file.id, found));
                }
                Err(ReadFooter::Format(error)) => {
                    warn!(file = file.id, %error, "a footer is damaged: reading the whole file");
                }
                Err(ReadFooter::Io(error)) => return Err(directory.io("read a footer")(error)),
            }
        }
        let known = known_of(directory, &file, listed, durable_upto)?;
        let scanned = scan(&file, &known).map_err(directory.io("read a log file"))?;
        if !listed.sealed {
            self.newest = Some((file, scanned));
            return Ok(());
        }
        let Scanned { entries, places, told, has_lost_header, is_rewritten, .. } = scanned;
        let is_rewritten = is_rewritten || Self::was_rewritten(&file);
        if has_lost_header {
            self.doubtful.push((self.sealed.len(), if is_rewritten { HashSet::new() } else { told }));
        }
        if has_lost_header && !is_rewritten {
            self.lost.push((self.sealed.len(), places));
        }
        self.sealed.push(SealedFile { file, index: in_memory(entries) });
        self.listed.push(*listed);
        Ok(())
    }

    /// A sealed file that lost a header may have lost batches without a trace: up to where the partition goes on, that
    /// is damage and not a hole.
    fn judge_holes(&mut self) {
        for (index, places) in std::mem::take(&mut self.lost) {
            let mut entries = match &self.sealed[index].index {
                Index::Memory { entries, .. } => entries.clone(),
                Index::Footer(_) => continue,
            };
            for (partition, place) in places {
                if let Some(next) = self.goes_on_at(partition, place.end) {
                    entries.extend(lost_entries(partition, place.end, next));
                }
            }
            self.sealed[index].index = in_memory(entries);
        }
    }

    /// True if a file's header says that it was made from others.
    fn was_rewritten(file: &LogFile) -> bool {
        let header =
            file.read(0, BLOCK_BYTES).ok().and_then(|block| FileHeader::decode(&block, file.id).ok());
        header.is_some_and(|it| !it.inputs.is_empty())
    }

    /// Files that lost a header may have lost anything that no other file has: holes of the partitions of which they do not say
    /// where they stood are in doubt.
    fn doubt_holes(&mut self, places: &Places) {
        if self.doubtful.is_empty() {
            return;
        }
        let newest = self.newest.as_ref().map_or_else(Vec::new, |(_, it)| it.entries.clone());
        for (index, told) in std::mem::take(&mut self.doubtful) {
            let mut entries = match &self.sealed[index].index {
                Index::Memory { entries, .. } => entries.clone(),
                Index::Footer(_) => continue,
            };
            entries.extend(self.holes(places, &newest, &told));
            self.sealed[index].index = in_memory(entries);
        }
    }

    /// What no file holds of any partition but those `told`, as lost entries; `newest` are those of the newest file.
    fn holes(&self, places: &Places, newest: &[IndexEntry], told: &HashSet<PartitionId>) -> Vec<IndexEntry> {
        let mut held: HashMap<PartitionId, Vec<Range<Offset>>> = HashMap::new();
        for row in self.sealed.iter().flat_map(SealedFile::rows) {
            held.entry(row.partition).or_default().push(row.first..row.end);
        }
        for entry in newest {
            held.entry(entry.partition).or_default().push(entry.base..entry.end());
        }
        let mut lost = Vec::new();
        for (partition, place) in places.iter().filter(|(partition, _)| !told.contains(partition)) {
            let mut held = held.remove(&partition).unwrap_or_default();
            held.sort_unstable_by_key(|it| it.start);
            let mut at = place.start;
            for stretch in held.into_iter().chain([place.end..place.end]) {
                lost.extend(lost_entries(partition, at, stretch.start.max(at)));
                at = at.max(stretch.end);
            }
        }
        lost
    }

    /// The next known offset of a partition from `end` on.
    fn goes_on_at(&self, partition: PartitionId, end: Offset) -> Option<Offset> {
        let (_, newest) = self.newest.as_ref()?;
        let rows = self.sealed.iter().flat_map(SealedFile::rows);
        let firsts = rows.filter(|row| row.partition == partition).map(|row| row.first);
        let recent = newest.entries.iter().filter(|it| it.partition == partition).map(|it| it.base);
        let next = firsts.chain(recent).filter(|first| *first >= end).min();
        next.or_else(|| newest.places.get(&partition).map(|place| place.end))
    }

    /// Makes the newest file a sealed one: rewrites and syncs what is not known to be durable, adds its footer. Gives
    /// the last sequence, and the file itself if nothing in it is alive.
    fn settle_newest(
        &mut self,
        directory: &Directory,
        store: &mut Store,
        places: &Places,
    ) -> Result<(u64, Option<Arc<LogFile>>), OpenError> {
        let Some((file, scanned)) = &mut self.newest else {
            return Ok((0, None));
        };
        let (file, last) = (Arc::clone(file), scanned.last_sequence);
        let mut entries = std::mem::take(&mut scanned.entries);
        let (is_damaged, is_doubtful) = (scanned.is_damaged, scanned.has_lost_header);
        let told = std::mem::take(&mut scanned.told);
        let (unsure_from, end) = (scanned.unsure_from, scanned.end);
        if is_doubtful {
            // What it held of a partition before it was seen again is in doubt.
            entries.extend(self.holes(places, &entries, &told));
        }
        entries.retain(|it| places.get(it.partition).is_some_and(|place| it.end() > place.start));
        if entries.is_empty() && !is_damaged {
            return Ok((last, Some(file)));
        }
        entries.sort_unstable_by_key(|it| (it.partition, it.base));
        if !planted::is(Bug::TailNotSynced) {
            rewrite(&file, unsure_from, end).map_err(directory.io("write the recovered tail"))?;
        }
        // Damaged bytes stay where they are, for whoever can make something of them.
        let length = file.handle.len().map_err(directory.io("look at a log file"))?;
        let frames_end = if is_damaged { end.max(length) } else { end };
        let first = directory.first_sequence(store, file.id);
        let (bytes, footer) =
            footer::encode((file.id, file.seed), frames_end, (first, last), &entries, |before, next| {
                // Between two doubtful holes lies what other files hold.
                is_doubtful && before.end() < next.base
            });
        let end = footer.pages_at + bytes.len() as u64;
        store.allocate_with_relief(&*file.handle, end).map_err(|error| directory.room(error))?;
        let write = || {
            file.handle.write_at(&[IoSlice::new(&bytes)], footer.pages_at)?;
            file.handle.set_len(end)?;
            if planted::is(Bug::TailNotSynced) { Ok(()) } else { file.handle.sync_data() }
        };
        write().map_err(directory.io("seal a log file"))?;
        file.bytes.store(end, std::sync::atomic::Ordering::Relaxed);
        self.listed.push(ManifestFile {
            file: file.id,
            sealed: true,
            first_sequence: first,
            last_sequence: last,
            frames_end,
        });
        self.sealed.push(SealedFile { file, index: Index::Footer(footer) });
        Ok((last, None))
    }

    /// Where every partition stands: what the newest file says; or, if what it carried is lost, what the others hold.
    fn places(&mut self) -> Places {
        let Some((_, scanned)) = &mut self.newest else {
            return Places::default();
        };
        let mut places = std::mem::take(&mut scanned.places);
        let removed = std::mem::take(&mut scanned.removed);
        if !scanned.has_carried {
            for row in self.sealed.iter().flat_map(SealedFile::rows) {
                if removed.contains(&row.partition) {
                    continue;
                }
                let place = places
                    .entry(row.partition)
                    .or_insert(Place { quarantined: true, ..Place::starting_at(row.first) });
                place.start = place.start.min(row.first);
                place.end = place.end.max(row.end);
            }
        }
        Places::new(places, removed)
    }

    fn listing(&self, active: &super::store::Active, last: u64) -> Vec<ManifestFile> {
        let mut files = self.listed.clone();
        files.push(ManifestFile {
            file: active.file.id,
            sealed: false,
            first_sequence: last + 1,
            last_sequence: 0,
            frames_end: 0,
        });
        // Rewritten files have later ids than the one that was the newest.
        files.sort_unstable_by_key(|it| it.file);
        files
    }
}

fn in_memory(mut entries: Vec<IndexEntry>) -> Index {
    entries.sort_unstable_by_key(|it| (it.partition, it.base));
    // Whether another file has something in a hole is not known here.
    let rows = rows_of(&entries, |before, next| before.end() < next.base);
    Index::Memory { entries, rows }
}

/// What is known of a file that has to be read whole.
fn known_of(
    directory: &Directory,
    file: &LogFile,
    listed: &ManifestFile,
    durable_upto: u64,
) -> Result<Known, OpenError> {
    let length = file.handle.len().map_err(directory.io("look at a log file"))?;
    let block = file
        .read(0, BLOCK_BYTES.min(usize::try_from(length).unwrap_or(BLOCK_BYTES)))
        .map_err(directory.io("read a file header"))?;
    let carried_upto = match FileHeader::decode(&block, file.id) {
        Ok(header) => header.carried_upto,
        Err(FormatError::Newer(found)) => return Err(directory.newer(file.id, found)),
        Err(error) => {
            warn!(file = file.id, %error, "a file header is damaged");
            listed.first_sequence
        }
    };
    let durable_upto = if listed.sealed { listed.last_sequence } else { durable_upto.max(carried_upto) };
    Ok(Known {
        frames_at: BLOCK_BYTES as u64,
        first_sequence: listed.first_sequence,
        carried_upto,
        durable_upto,
        frames_end: listed.sealed.then_some(listed.frames_end),
    })
}

/// Why a footer could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFooter {
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// The footer of a sealed file.
pub(crate) fn read_footer(file: &LogFile) -> Result<footer::Footer, ReadFooter> {
    let length = file.handle.len().map_err(ReadFooter::Io)?;
    let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else {
        return Err(FormatError::Absent.into());
    };
    let trailer = file.read(at, TRAILER_BYTES).map_err(ReadFooter::Io)?;
    let trailer = Trailer::decode(&trailer, file.seed, length)?;
    let meta = file.read(trailer.meta_at(), trailer.meta_bytes()).map_err(ReadFooter::Io)?;
    Ok(trailer.decode_meta(&meta, file.seed)?)
}

/// Writes bytes again where they are: a page that a failed sync left clean is dirty afterwards, and the next sync writes it.
fn rewrite(file: &LogFile, from: u64, end: u64) -> io::Result<()> {
    let mut at = from;
    while at < end {
        let bytes = file.read(at, READ_BYTES.min(usize::try_from(end - at).unwrap_or(READ_BYTES)))?;
        file.handle.write_at(&[IoSlice::new(&bytes)], at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// True for a name that is not there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// The version that this release reads.
pub(crate) const KNOWN_VERSION: u32 = VERSION;
