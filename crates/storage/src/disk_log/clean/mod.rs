//! The cleaner: rewrites the survivors of sealed files into new files of the same kind, sorted by partition.
//!
//! Place: beside the writer, on a thread of its own or stepped by hand; the writer is kept waiting only while a file is created
//! and while the manifest is swapped. Invariants: a body is verified before it is copied, and an input that does not pass stays,
//! whole and listed; outputs are synced, then the directory, then the manifest is swapped, then the inputs are unlinked when
//! their last reader has gone; while a job runs, nobody else takes its inputs off the list.
//! `plan` decides, `alive` computes what is alive, `sort` orders, `job` copies, `output` writes a file, `install` swaps.

mod alive;
mod install;
mod job;
mod memo;
mod output;
mod plan;
mod sort;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use duolog_record::Timestamp;
use parking_lot::{Condvar, Mutex};
use tracing::{debug, info, warn};

use self::job::{Copied, Failed, Job};
use self::memo::Memos;
use self::output::Output;
use super::files::LogFile;
use super::shared::Shared;
use super::store::{EmptyFile, RoomError};
use super::writer::Writer;
use crate::format::file_seed;
use crate::limits::REWRITE_BYTES;
use crate::{CleanStats, LogError};

/// What the cleaner knows from one step to the next.
pub(crate) struct Cleaner {
    memos: Memos,
    job: Option<Box<Job>>,
    /// The most that a job takes: less after one found no room.
    bytes_max: u64,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self { memos: Memos::default(), job: None, bytes_max: REWRITE_BYTES }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing to rewrite, or no room for it.
    Nothing,
    /// So many bytes were read and written.
    Did(u64),
}

impl Cleaner {
    /// Does the next piece of work: plans a job, copies a chunk, or installs what is whole.
    pub(crate) fn step(
        &mut self,
        shared: &Shared,
        writer: &Mutex<Writer>,
        now: Timestamp,
    ) -> Result<Step, LogError> {
        let Some(mut job) = self.job.take() else {
            return self.begin(shared, writer, now);
        };
        let result = match (&job.output, job.next_capacity()) {
            (Some(_), _) => job.step(),
            (None, Some(capacity)) => {
                Self::begin_output(&mut job, shared, writer, capacity).map(|()| Copied::default())
            }
            (None, None) => return self.install(shared, writer, job),
        };
        match result {
            Ok(copied) => {
                self.job = Some(job);
                shared.cleaned.copied(copied);
                Ok(Step::Did(copied.read + copied.written))
            }
            Err(Failed::Damaged(file, why)) => {
                self.memos.leave(&file, &why);
                shared.cleaned.damaged.store(self.memos.left(), Ordering::Relaxed);
                give_up(writer, *job);
                Ok(Step::Did(0))
            }
            Err(Failed::Full) => Ok(self.no_room(writer, *job)),
            Err(Failed::Io(error)) => {
                let mut writer = writer.lock();
                writer.stop(format!("cannot write a rewritten file: {error}"));
                Err(writer.stopped_error())
            }
        }
    }

    /// The log is being closed: what is half done is taken back.
    pub(crate) fn abandon(&mut self, writer: &Mutex<Writer>) {
        if let Some(job) = self.job.take() {
            give_up(writer, *job);
        }
    }

    fn begin(&mut self, shared: &Shared, writer: &Mutex<Writer>, now: Timestamp) -> Result<Step, LogError> {
        let inputs = plan::plan(&shared.view, &shared.options, &mut self.memos, now, self.bytes_max);
        shared.cleaned.damaged.store(self.memos.left(), Ordering::Relaxed);
        let Some(inputs) = inputs else { return Ok(Step::Nothing) };
        {
            let mut writer = writer.lock();
            if writer.stopped.is_some() {
                return Err(writer.stopped_error());
            }
            let listed: BTreeSet<u64> = writer.store.manifest.files.iter().map(|it| it.file).collect();
            let ids: BTreeSet<u64> = inputs.iter().map(|it| it.file.file.id).collect();
            if !ids.is_subset(&listed) {
                // Something was reclaimed meanwhile: the next plan knows.
                return Ok(Step::Did(0));
            }
            writer.cleaning = ids;
        }
        self.job = Some(Box::new(Job::new(&shared.view, inputs, shared.options.file_bytes)));
        Ok(Step::Did(0))
    }

    fn begin_output(
        job: &mut Job,
        shared: &Shared,
        writer: &Mutex<Writer>,
        capacity: u64,
    ) -> Result<(), Failed> {
        let (empty, file) = {
            let mut writer = writer.lock();
            // A file that frees much more than it takes may lie in the reserve until then.
            let frees_more = job.is_one_output() && capacity <= shared.options.file_bytes / 2;
            let empty = match writer.store.create_file(capacity, frees_more) {
                Ok(empty) => empty,
                Err(RoomError::Full { .. }) => return Err(Failed::Full),
                Err(RoomError::Failed(reason)) => return Err(Failed::Io(std::io::Error::other(reason))),
            };
            let file = log_file(&writer, &empty);
            (empty, file)
        };
        let inputs = job.input_ids();
        let begun = Output::begin(&empty, Arc::clone(&file), shared.incarnation, inputs);
        match begun {
            Ok(output) => job.output = Some(output),
            Err(error) => {
                take_back(&mut writer.lock(), &file);
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn install(
        &mut self,
        shared: &Shared,
        writer: &Mutex<Writer>,
        mut job: Box<Job>,
    ) -> Result<Step, LogError> {
        let before: u64 = job.inputs.iter().map(|it| it.file.bytes.load(Ordering::Relaxed)).sum();
        let after: u64 = job.finished.iter().map(|(it, _)| it.file.bytes.load(Ordering::Relaxed)).sum();
        let installed = writer.lock().install(shared, &job.input_ids(), &job.finished);
        match installed {
            Ok(gone) => {
                let files = job.inputs.len();
                info!(files, into = job.finished.len(), before, after, "rewritten");
                shared.cleaned.did(files as u64, before.saturating_sub(after));
                job.inputs.clear();
                drop(job);
                // Where nobody reads them, the inputs are unlinked here, while commits go on.
                drop(gone);
                writer.lock().after_reclaim()?;
                // What it freed may be all that there is room for.
                self.bytes_max = self.bytes_max.saturating_mul(4).min(REWRITE_BYTES);
                Ok(Step::Did(0))
            }
            Err(RoomError::Full { .. }) => Ok(self.no_room(writer, *job)),
            Err(RoomError::Failed(reason)) => {
                let mut writer = writer.lock();
                writer.stop(reason);
                Err(writer.stopped_error())
            }
        }
    }

    /// The outputs are dropped, and the next job is a smaller one: at once, unless it was of one file, which is the smallest.
    fn no_room(&mut self, writer: &Mutex<Writer>, job: Job) -> Step {
        let (files, bytes) = (job.inputs.len(), job.bytes());
        debug!(files, bytes, "no room to rewrite files");
        give_up(writer, job);
        self.bytes_max = (self.bytes_max.min(bytes) / 4).max(1);
        if files > 1 { Step::Did(0) } else { Step::Nothing }
    }
}

fn log_file(writer: &Writer, empty: &EmptyFile) -> Arc<LogFile> {
    let store = &writer.store;
    Arc::new(LogFile::new(
        (empty.id, file_seed(store.manifest.salt, empty.id)),
        Arc::clone(&empty.handle),
        empty.capacity,
        Arc::clone(&store.disk),
        Arc::clone(&store.unlinked),
    ))
}

/// Takes back the files of a job and lets go of its inputs.
fn give_up(writer: &Mutex<Writer>, job: Job) {
    let mut writer = writer.lock();
    for (sealed, _) in &job.finished {
        take_back(&mut writer, &sealed.file);
    }
    if let Some(output) = &job.output {
        take_back(&mut writer, &output.file);
    }
    writer.cleaning.clear();
}

/// A file that no manifest ever listed goes. Until that is durable its id is among the dropped, as its inputs may leave the
/// list first.
fn take_back(writer: &mut Writer, file: &Arc<LogFile>) {
    writer.store.manifest.dropped.push(file.id);
    file.drop_when_unread();
}

/// What the cleaner has done since opening.
#[derive(Default)]
pub(crate) struct Cleaned {
    files: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    bytes_freed: AtomicU64,
    damaged: AtomicU64,
}

impl Cleaned {
    fn copied(&self, copied: Copied) {
        self.bytes_read.fetch_add(copied.read, Ordering::Relaxed);
        self.bytes_written.fetch_add(copied.written, Ordering::Relaxed);
    }

    fn did(&self, files: u64, freed: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes_freed.fetch_add(freed, Ordering::Relaxed);
    }

    /// Files left the list because nothing in them was alive.
    pub(crate) fn freed(&self, bytes: u64) {
        self.bytes_freed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> CleanStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CleanStats {
            files_rewritten: read(&self.files),
            bytes_read: read(&self.bytes_read),
            bytes_written: read(&self.bytes_written),
            bytes_freed: read(&self.bytes_freed),
            files_damaged: read(&self.damaged),
        }
    }
}

/// How the cleaner's thread is told what to do.
#[derive(Default)]
pub(crate) struct Signal {
    /// Work may have come up, at this time.
    asked: Mutex<Option<Timestamp>>,
    closed: AtomicBool,
    wake: Condvar,
    /// What ends a pause: a question does not.
    end: Condvar,
}

impl Signal {
    /// Something may have died.
    pub(crate) fn ask(&self, now: Timestamp) {
        *self.asked.lock() = Some(now);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        let _asked = self.asked.lock();
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
        self.end.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until asked; `None` when it is over.
    fn wait(&self) -> Option<Timestamp> {
        let mut asked = self.asked.lock();
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(now) = asked.take() {
                return Some(now);
            }
            self.wake.wait(&mut asked);
        }
    }

    /// Lets the disk to others for so long.
    fn pause(&self, pause: Duration) {
        let mut asked = self.asked.lock();
        if !self.is_closed() {
            self.end.wait_for(&mut asked, pause);
        }
    }
}

/// How long so many bytes are allowed to take.
fn rest(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64)
}

/// What the cleaner's thread does until the log is closed. After each step it rests for as long as its bytes are allowed to take.
pub(crate) fn run(cleaner: &Mutex<Cleaner>, shared: &Shared, writer: &Mutex<Writer>) {
    while let Some(now) = shared.clean.wait() {
        loop {
            if shared.clean.is_closed() {
                return;
            }
            match cleaner.lock().step(shared, writer, now) {
                Ok(Step::Did(bytes)) => {
                    shared.clean.pause(rest(bytes, shared.options.clean_bytes_per_second));
                }
                Ok(Step::Nothing) => break,
                Err(error) => {
                    warn!(%error, "the cleaner stops");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REWRITE_CHUNK_BYTES;

    #[test]
    fn a_question_does_not_end_a_rest_and_the_end_does() {
        let signal = Signal::default();
        std::thread::scope(|scope| {
            let resting = scope.spawn(|| signal.pause(Duration::from_secs(3600)));
            // True once somebody rests who is to be woken so.
            while !signal.end.notify_one() {
                assert!(!resting.is_finished(), "a question has ended it");
                signal.ask(Timestamp(0));
                std::thread::yield_now();
            }
            resting.join().expect("it does not panic");
            signal.close();
            signal.pause(Duration::from_secs(3600));
        });
    }

    #[test]
    fn the_rests_between_steps_bound_the_bandwidth() {
        let rate = 64 << 20;
        let steps = 1 << 10;
        // A step reads a chunk and writes it.
        let spent: Duration = (0..steps).map(|_| rest(2 * REWRITE_CHUNK_BYTES, rate)).sum();
        let bytes = steps * 2 * REWRITE_CHUNK_BYTES;
        assert!(spent >= Duration::from_secs(bytes / rate), "{bytes} bytes in {spent:?}");
        assert_eq!(rest(0, rate), Duration::ZERO);
        assert_eq!(rest(10, 1), Duration::from_secs(10));
    }
}
