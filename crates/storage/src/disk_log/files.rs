//! The files of a log: a handle each, and the unlink when the last reader of a reclaimed one has gone.
//!
//! Invariant: a file is unlinked only after a manifest without it is durable; until the unlink itself is known to be
//! durable its id stays in the manifest's list of dropped files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;

use crate::disk::{Disk, DiskFile};
use crate::format::footer::{Footer, Row};
use crate::format::index::{ENTRIES_PER_PAGE, IndexEntry, decode_page};
use crate::format::names::log_name;
use crate::format::{BLOCK_BYTES, FormatError};
use crate::limits::UNLINK_STEP_BYTES;
use duolog_record::Offset;

/// Ids of files whose unlink was called.
pub(crate) type Unlinked = Arc<Mutex<Vec<u64>>>;

/// One file, open for reading.
pub(crate) struct LogFile {
    pub(crate) id: u64,
    /// What its checksums are seeded with.
    pub(crate) seed: u64,
    pub(crate) handle: Arc<dyn DiskFile>,
    /// Bytes of disk that it takes, for metrics.
    pub(crate) bytes: AtomicU64,
    disk: Arc<dyn Disk>,
    /// Reads that had to gather small pieces of it, since the last time it was asked.
    pub(crate) scattered_reads: AtomicU64,
    is_dropped: AtomicBool,
    unlinked: Unlinked,
}

impl LogFile {
    pub(crate) fn new(
        (id, seed): (u64, u64),
        handle: Arc<dyn DiskFile>,
        bytes: u64,
        disk: Arc<dyn Disk>,
        unlinked: Unlinked,
    ) -> Self {
        Self {
            id,
            seed,
            handle,
            bytes: AtomicU64::new(bytes),
            disk,
            scattered_reads: AtomicU64::new(0),
            is_dropped: AtomicBool::new(false),
            unlinked,
        }
    }

    /// To be unlinked when the last handle goes: the manifest no longer lists it.
    pub(crate) fn drop_when_unread(&self) {
        self.is_dropped.store(true, Ordering::Release);
    }

    /// `bytes` bytes at `position`.
    pub(crate) fn read(&self, position: u64, bytes: usize) -> std::io::Result<Bytes> {
        let mut buffer = vec![0; bytes];
        self.handle.read_at(&mut buffer, position)?;
        Ok(Bytes::from(buffer))
    }
}

impl LogFile {
    /// Gives the blocks back in steps: a file system that frees all of a file at once keeps every sync waiting meanwhile.
    fn shrink(&self) {
        let mut length = self.bytes.load(Ordering::Relaxed);
        while length > 2 * UNLINK_STEP_BYTES {
            length -= UNLINK_STEP_BYTES;
            if self.handle.set_len(length).is_err() {
                // The unlink frees the rest, or says what is wrong.
                return;
            }
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if !self.is_dropped.load(Ordering::Acquire) {
            return;
        }
        self.shrink();
        match self.disk.unlink(&log_name(self.id)) {
            Ok(()) => self.unlinked.lock().push(self.id),
            // It stays in the manifest's list of dropped files, and the next opening tries again.
            Err(error) => warn!(file = self.id, %error, "cannot unlink a reclaimed file"),
        }
    }
}

/// Where the index of a sealed file is.
pub(crate) enum Index {
    /// In its footer.
    Footer(Footer),
    /// In memory, because the footer is damaged: sorted by (partition, base).
    Memory { entries: Vec<IndexEntry>, rows: Vec<Row> },
}

/// A file that never changes again.
pub(crate) struct SealedFile {
    pub(crate) file: Arc<LogFile>,
    pub(crate) index: Index,
}

/// Why the index could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("index page {page} of file {file:016x}: {error}")]
    Format { file: u64, page: usize, error: FormatError },
}

impl SealedFile {
    /// One row a stretch of a partition, rising.
    pub(crate) fn rows(&self) -> &[Row] {
        match &self.index {
            Index::Footer(footer) => &footer.rows,
            Index::Memory { rows, .. } => rows,
        }
    }

    /// Number of index pages.
    pub(crate) fn pages(&self) -> usize {
        match &self.index {
            Index::Footer(footer) => footer.fences.len(),
            Index::Memory { entries, .. } => entries.len().div_ceil(ENTRIES_PER_PAGE),
        }
    }

    /// The entries of one page.
    pub(crate) fn page(&self, page: usize) -> Result<Vec<IndexEntry>, IndexError> {
        match &self.index {
            Index::Footer(footer) => {
                let position = footer.pages_at + (page * BLOCK_BYTES) as u64;
                let mut bytes = [0; BLOCK_BYTES];
                self.file.handle.read_at(&mut bytes, position)?;
                decode_page(&bytes, self.file.seed, position).map_err(|error| IndexError::Format {
                    file: self.file.id,
                    page,
                    error,
                })
            }
            Index::Memory { entries, .. } => {
                Ok(entries.chunks(ENTRIES_PER_PAGE).nth(page).unwrap_or_default().to_vec())
            }
        }
    }

    /// The page that holds the entry of this row that contains `at`, or the first above it.
    fn seek(&self, row: &Row, at: Offset) -> usize {
        let (first, last) = pages_of(row);
        let below = match &self.index {
            Index::Footer(footer) => {
                // The fence of any but the row's first page is an offset of the row's partition.
                footer.fences.get(first + 1..=last).unwrap_or_default().partition_point(|fence| *fence <= at)
            }
            Index::Memory { entries, .. } => (first + 1..=last)
                .take_while(|page| entries.get(page * ENTRIES_PER_PAGE).is_some_and(|it| it.base <= at))
                .count(),
        };
        first + below
    }

    /// The entries of a row that end above `at`, a page at a time.
    pub(crate) fn walk<'a>(&'a self, row: &'a Row, at: Offset) -> Walk<'a> {
        Walk { file: self, row, at, page: self.seek(row, at) }
    }
}

fn pages_of(row: &Row) -> (usize, usize) {
    let first = row.entry_first as usize;
    (first / ENTRIES_PER_PAGE, (first + row.entries as usize - 1) / ENTRIES_PER_PAGE)
}

/// See [`SealedFile::walk`].
pub(crate) struct Walk<'a> {
    file: &'a SealedFile,
    row: &'a Row,
    at: Offset,
    page: usize,
}

impl Iterator for Walk<'_> {
    type Item = Result<Vec<IndexEntry>, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page > pages_of(self.row).1 {
            return None;
        }
        let page = self.file.page(self.page);
        self.page += 1;
        Some(page.map(|mut entries| {
            let within = self.row.first..self.row.end;
            entries.retain(|it| {
                it.partition == self.row.partition && within.contains(&it.base) && it.end() > self.at
            });
            entries
        }))
    }
}
