//! The log on disk: frames in preallocated files, one sync for all that waits, an index in memory and in footers.
//!
//! Place: `writer` writes what `commit` queues and publishes it to the `view`, which `read` and `sizes` look at; `store` makes
//! files and swaps the manifest; `recover`, `listing` and `scan` open a directory; `reclaim` unlinks dead files, `clean` rewrites
//! those that are mostly dead; `examine` looks without opening.
//! Invariant: visible means durable (for `Sync`), and a failed write or sync ends the log.
//! A new structure on disk goes to `format`; docs/storage-format.md describes all of them.

mod clean;
mod examine;
mod files;
mod listing;
mod options;
mod places;
mod read;
mod reclaim;
mod recover;
mod scan;
mod shared;
mod sizes;
mod store;
mod tail;
mod view;
mod watermark_file;
mod writer;

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use duolog_record::{Offset, PartitionId, Timestamp};
use parking_lot::Mutex;

use self::clean::{Cleaner, Step};
pub use self::examine::{Examination, Finding, Severity, examine, is_in_use};
pub use self::options::{OpenError, Options};
use self::recover::recover;
use self::shared::{Shared, Woken};
use self::writer::Writer;
use crate::disk::Disk;
use crate::{Bounds, Commit, Done, Log, LogError, LogStats, ReadError, ReadLimit, Span, StoredBatch, Volume};

/// All partitions of one directory.
pub struct DiskLog {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    has_thread: bool,
}

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

struct Inner {
    disk: Arc<dyn Disk>,
    shared: Shared,
    writer: Mutex<Writer>,
    cleaner: Mutex<Cleaner>,
}

impl DiskLog {
    /// Opens the log in a directory, or makes one there, with a thread that writes and one that rewrites.
    ///
    /// # Errors
    /// See [`OpenError`]; the directory is then as it was, and not locked.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let directory = disk.describe();
        let mut log = Self::open_manual(disk, options)?;
        log.has_thread = true;
        let (inner, cleaning) = (Arc::clone(&log.inner), Arc::clone(&log.inner));
        let works: [(&str, Work); 2] = [
            ("log", Box::new(move || inner.run())),
            ("cleaner", Box::new(move || clean::run(&cleaning.cleaner, &cleaning.shared, &cleaning.writer))),
        ];
        for (name, work) in works {
            match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
                Ok(thread) => log.threads.get_mut().push(thread),
                Err(error) => {
                    let what = format!("start the thread {name}");
                    return Err(OpenError::Io { directory, what, error });
                }
            }
        }
        Ok(log)
    }

    /// The same without a thread: commits wait until [`Self::pump`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_manual(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        disk.lock().map_err(|error| {
            let directory = disk.describe();
            if error.kind() == ErrorKind::WouldBlock {
                OpenError::Locked { directory }
            } else {
                OpenError::Io { directory, what: "lock the directory".to_owned(), error }
            }
        })?;
        match recover(Arc::clone(&disk), options.checked()) {
            Ok((writer, shared)) => Ok(Self {
                inner: Arc::new(Inner {
                    disk,
                    shared,
                    writer: Mutex::new(writer),
                    cleaner: Mutex::default(),
                }),
                threads: Mutex::default(),
                has_thread: false,
            }),
            Err(error) => {
                disk.unlock();
                Err(error)
            }
        }
    }

    /// Without a thread: writes one group of what waits and gives its answers. False if nothing waits; then what the
    /// thread would do when idle is done.
    pub fn pump(&self) -> bool {
        let pumped = self.inner.pump();
        if !pumped {
            self.inner.writer.lock().idle();
        }
        pumped
    }

    /// Without a thread: does the next piece of rewriting, a chunk of about a MiB or the swap at its end. False if there is
    /// nothing to rewrite, or no room for it.
    ///
    /// # Errors
    /// `Stopped` as for a commit.
    pub fn clean(&self, now: Timestamp) -> Result<bool, LogError> {
        let step = self.inner.cleaner.lock().step(&self.inner.shared, &self.inner.writer, now)?;
        Ok(step != Step::Nothing)
    }

    /// Number of commits that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.shared.waiting()
    }
}

impl Inner {
    fn pump(&self) -> bool {
        let group = self.writer.lock().write_group(&self.shared);
        let Some(group) = group else { return false };
        group.answers.into_iter().for_each(writer::Answer::give);
        if !group.rest.is_empty() {
            let answers = self.writer.lock().sync_group(&self.shared, group.rest);
            answers.into_iter().for_each(writer::Answer::give);
        }
        true
    }

    /// What the thread does until the log is closed.
    fn run(&self) {
        loop {
            let is_due = self.writer.lock().is_idle_due();
            match self.shared.wait(is_due.then_some(self.shared.options.idle)) {
                Woken::Commits => {
                    self.pump();
                }
                Woken::Idle => self.writer.lock().idle(),
                Woken::Closed => return,
            }
        }
    }

    fn release(&self) {
        if !self.shared.released.swap(true, Ordering::AcqRel) {
            self.disk.unlock();
        }
    }
}

impl Log for DiskLog {
    fn commit(&self, commit: Commit, done: Done) {
        self.inner.shared.push(commit, done);
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        read::read(&self.inner.shared.view, partition, from, limit)
    }

    fn spans(&self, partition: PartitionId, from: Offset, count: usize) -> Result<Vec<Span>, ReadError> {
        read::spans(&self.inner.shared.view, partition, from, count)
    }

    fn readable_behind(&self, partition: PartitionId, at: Offset) -> Result<Option<Offset>, ReadError> {
        read::readable_behind(&self.inner.shared.view, partition, at)
    }

    fn is_cached(&self, partition: PartitionId, from: Offset) -> bool {
        // By hand there is no thread that a read could keep waiting.
        !self.has_thread || read::is_cached(&self.inner.shared.view, partition, from)
    }

    fn bounds(&self, partition: PartitionId) -> Option<Bounds> {
        self.inner.shared.view.read().partitions.get(&partition).map(view::Partition::bounds)
    }

    fn partitions(&self) -> Vec<(PartitionId, Bounds)> {
        let view = self.inner.shared.view.read();
        let mut all: Vec<_> = view.partitions.iter().map(|(&id, it)| (id, it.bounds())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    fn first_at_or_after(&self, partition: PartitionId, at: Timestamp) -> Result<Option<Span>, ReadError> {
        let view = &self.inner.shared.view;
        read::first(view, partition, |row| row.max_timestamp >= at, |entry| entry.max_timestamp >= at)
    }

    fn first_appended_at_or_after(
        &self,
        partition: PartitionId,
        at: Timestamp,
    ) -> Result<Option<Span>, ReadError> {
        let view = &self.inner.shared.view;
        read::first(view, partition, |row| row.append_time_max >= at, |entry| entry.append_time >= at)
    }

    fn partition_bytes(&self, partition: PartitionId) -> u64 {
        sizes::partition_bytes(&self.inner.shared.view, partition)
    }

    fn start_for_bytes(&self, partition: PartitionId, bytes_max: u64) -> Offset {
        sizes::start_for_bytes(&self.inner.shared.view, partition, bytes_max)
    }

    fn discard(&self, partition: PartitionId, runs: &[Range<Offset>]) {
        let mut view = self.inner.shared.view.write();
        if let Some(it) = view.partitions.get_mut(&partition) {
            it.discard(runs);
        }
    }

    fn quarantined(&self) -> Vec<PartitionId> {
        let view = self.inner.shared.view.read();
        let mut all: Vec<_> =
            view.partitions.iter().filter(|(_, it)| it.quarantined).map(|(&id, _)| id).collect();
        all.sort_unstable();
        all
    }

    fn reclaim(&self, now: Timestamp) -> Result<(), LogError> {
        let gone = self.inner.writer.lock().reclaim(&self.inner.shared)?;
        self.inner.shared.clean.ask(now);
        if gone.is_empty() {
            return Ok(());
        }
        // Where nobody reads them, the files are unlinked here, while commits go on.
        drop(gone);
        self.inner.writer.lock().after_reclaim()
    }

    fn incarnation(&self) -> u32 {
        self.inner.shared.incarnation
    }

    fn volume(&self) -> Option<Volume> {
        self.inner.disk.volume().unwrap_or_else(|error| {
            tracing::debug!(%error, "the system does not say how large the volume is");
            None
        })
    }

    fn stats(&self) -> LogStats {
        let (frames, bytes, syncs) = self.inner.shared.counters.read();
        let view = self.inner.shared.view.read();
        let files = view.sealed.values().map(|it| &it.file).chain([&view.active]);
        let disk_bytes = files.map(|it| it.bytes.load(Ordering::Relaxed)).sum();
        let clean = self.inner.shared.cleaned.stats();
        LogStats { frames, bytes, syncs, files: view.sealed.len() as u64 + 1, disk_bytes, clean }
    }

    fn close(&self) {
        self.inner.shared.close();
        self.inner.shared.clean.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() {
                // A panic of the thread has been reported by its hook; what it left queued is answered below.
                let _ = thread.join();
            }
        }
        while self.inner.pump() {}
        self.inner.cleaner.lock().abandon(&self.inner.writer);
        let mut writer = self.inner.writer.lock();
        writer.finish(&self.inner.shared);
        writer.stop_quietly();
        drop(writer);
        self.inner.release();
    }
}

impl Drop for DiskLog {
    /// With a thread: as `close`. Without: as a process that dies, nothing is written.
    fn drop(&mut self) {
        if self.has_thread {
            self.close();
        } else {
            self.inner.release();
        }
    }
}
