//! A disk that counts what is read from it: for promises that are kept in reads and bytes, not in time.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use duolog_storage::disk::{Disk, DiskFile};

/// Calls and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    pub calls: u64,
    pub bytes: u64,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    bytes: AtomicU64,
}

/// Another disk, counted. Clones share the count.
#[derive(Clone)]
pub struct Counted {
    disk: Arc<dyn Disk>,
    counters: Arc<Counters>,
}

impl Counted {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, counters: Arc::default() }
    }

    /// What was read since the last time this was asked.
    pub fn take(&self) -> Reads {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Reads { calls: take(&self.counters.calls), bytes: take(&self.counters.bytes) }
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountedFile { file, counters: Arc::clone(&self.counters) })
    }
}

impl Disk for Counted {
    fn lock(&self) -> io::Result<()> {
        self.disk.lock()
    }

    fn unlock(&self) {
        self.disk.unlock();
    }

    fn describe(&self) -> String {
        self.disk.describe()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
}

struct CountedFile {
    file: Arc<dyn DiskFile>,
    counters: Arc<Counters>,
}

impl DiskFile for CountedFile {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(into.len() as u64, Ordering::Relaxed);
        self.file.read_at(into, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_at(parts, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.file.allocate(position, length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
