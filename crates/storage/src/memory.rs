//! The log in memory: the same verbs and the same order, nothing survives.
//!
//! Invariant: `done` is called in the order of the commits, never under the lock. In manual mode nothing becomes
//! durable until [`MemoryLog::pump`], so that a test decides what was in flight when something happened.
//! A verb added to `Log` is added here first: the tests of the disk log compare against this one.

mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use duolog_record::{Offset, PartitionId, Timestamp};
use parking_lot::Mutex;

use self::partition::Partition;
use crate::check::{check_base, check_shape, invalid};
use crate::{Bounds, Commit, Done, Log, LogError, LogStats, ReadError, ReadLimit, Span, StoredBatch, Trim};

/// All partitions in memory.
pub struct MemoryLog {
    manual: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Commit, Done)>,
    /// A thread is completing the queue: others leave their commits to it, so that the order holds.
    pumping: bool,
    partitions: BTreeMap<PartitionId, Partition>,
    removed: BTreeSet<PartitionId>,
    /// Errors that the next commits are answered with, in order.
    failures: VecDeque<LogError>,
    stopped: Option<String>,
    stats: LogStats,
    /// How many of the oldest waiting commits were queued when another was refused for want of space, and that refusal:
    /// those that continue where it would have ended are refused as well.
    behind_refused: (usize, Option<LogError>),
    /// How many times it was reopened.
    reopened: u32,
}

impl MemoryLog {
    /// Commits complete within the call.
    #[must_use]
    pub fn new() -> Self {
        Self { manual: false, state: Mutex::default() }
    }

    /// Commits wait until [`Self::pump`].
    #[must_use]
    pub fn manual() -> Self {
        Self { manual: true, state: Mutex::default() }
    }

    /// What an opening after the end of the process would find: everything that is durable, nothing that waits, no
    /// stop, a higher incarnation. This one stays as it is.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let state = self.state.lock();
        let partitions = state.partitions.iter().map(|(&id, it)| (id, it.reopen())).collect();
        let (removed, reopened) = (state.removed.clone(), state.reopened + 1);
        let state = State { partitions, removed, reopened, ..State::default() };
        Self { manual: self.manual, state: Mutex::new(state) }
    }

    /// Completes the oldest waiting commit; false if none waits.
    pub fn pump(&self) -> bool {
        let completed = {
            let mut state = self.state.lock();
            let Some((commit, done)) = state.queue.pop_front() else {
                return false;
            };
            let result = state.complete(commit);
            (result, done)
        };
        let (result, done) = completed;
        done(result);
        true
    }

    /// Number of commits that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Answers the next commit to be completed with `error`; `Stopped` stops the log for ever, as on a disk.
    pub fn fail_next(&self, error: LogError) {
        self.state.lock().failures.push_back(error);
    }

    fn pump_all(&self) {
        {
            let mut state = self.state.lock();
            if state.pumping {
                return;
            }
            state.pumping = true;
        }
        loop {
            while self.pump() {}
            let mut state = self.state.lock();
            if state.queue.is_empty() {
                state.pumping = false;
                return;
            }
        }
    }

    fn with<T>(
        &self,
        partition: PartitionId,
        look: impl FnOnce(&Partition) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let state = self.state.lock();
        look(state.partitions.get(&partition).ok_or(ReadError::UnknownPartition(partition))?)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn complete(&mut self, commit: Commit) -> Result<(), LogError> {
        if let Some(reason) = &self.stopped {
            return Err(LogError::Stopped { reason: reason.clone() });
        }
        let (behind, refusal) = &mut self.behind_refused;
        let refusal = if *behind > 0 { refusal.clone() } else { None };
        *behind = behind.saturating_sub(1);
        if let Some(error) = self.failures.pop_front() {
            match &error {
                LogError::Stopped { reason } => self.stopped = Some(reason.clone()),
                LogError::DiskFull { .. } => self.behind_refused = (self.queue.len(), Some(error.clone())),
                LogError::Invalid { .. } | LogError::Quarantined { .. } => {}
            }
            return Err(error);
        }
        self.check(&commit).map_err(|error| refusal.unwrap_or(error))?;
        self.apply(commit);
        Ok(())
    }

    /// All or nothing: whatever could be refused is refused here, before anything changes.
    fn check(&self, commit: &Commit) -> Result<(), LogError> {
        check_shape(commit)?;
        let mut ends: BTreeMap<PartitionId, Offset> = BTreeMap::new();
        let end_of = |ends: &BTreeMap<PartitionId, Offset>, id| {
            ends.get(&id).copied().or_else(|| self.partitions.get(&id).map(|it| it.bounds().end))
        };
        for entry in &commit.entries {
            for target in &entry.targets {
                if self.removed.contains(&target.partition) {
                    return Err(invalid(format!("partition {} was removed", target.partition)));
                }
                check_base(target.partition, target.base, end_of(&ends, target.partition))?;
                ends.insert(target.partition, target.base.plus(u64::from(entry.body.offsets)));
            }
        }
        for trim in &commit.trims {
            if let Trim::Start { partition, start } = *trim
                && end_of(&ends, partition).is_some_and(|end| start > end)
            {
                return Err(invalid(format!("trim of partition {partition} to {start}, beyond its end")));
            }
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit) {
        self.stats.frames += 1;
        for entry in &commit.entries {
            self.stats.bytes += entry.body.bytes.len() as u64;
            for target in &entry.targets {
                self.partitions
                    .entry(target.partition)
                    .or_insert_with(|| Partition::starting_at(target.base))
                    .append(target, &entry.body, commit.append_time);
            }
        }
        for trim in commit.trims {
            match trim {
                Trim::Start { partition, start } => {
                    if !self.removed.contains(&partition) {
                        self.partitions
                            .entry(partition)
                            .or_insert_with(|| Partition::starting_at(start))
                            .trim(start);
                    }
                }
                Trim::Remove { partition } => {
                    self.partitions.remove(&partition);
                    self.removed.insert(partition);
                }
            }
        }
    }
}

impl Log for MemoryLog {
    fn commit(&self, commit: Commit, done: Done) {
        self.state.lock().queue.push_back((commit, done));
        if !self.manual {
            self.pump_all();
        }
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        self.with(partition, |it| it.read(partition, from, limit))
    }

    fn spans(&self, partition: PartitionId, from: Offset, count: usize) -> Result<Vec<Span>, ReadError> {
        self.with(partition, |it| it.spans(partition, from, count))
    }

    fn readable_behind(&self, partition: PartitionId, at: Offset) -> Result<Option<Offset>, ReadError> {
        let spans = self.spans(partition, at, 2)?;
        Ok(spans.iter().map(|span| span.base).find(|base| *base > at))
    }

    fn is_cached(&self, _: PartitionId, _: Offset) -> bool {
        true
    }

    fn bounds(&self, partition: PartitionId) -> Option<Bounds> {
        self.state.lock().partitions.get(&partition).map(Partition::bounds)
    }

    fn partitions(&self) -> Vec<(PartitionId, Bounds)> {
        self.state.lock().partitions.iter().map(|(&id, it)| (id, it.bounds())).collect()
    }

    fn first_at_or_after(&self, partition: PartitionId, at: Timestamp) -> Result<Option<Span>, ReadError> {
        self.with(partition, |it| Ok(it.first(|span| span.max_timestamp >= at)))
    }

    fn first_appended_at_or_after(
        &self,
        partition: PartitionId,
        at: Timestamp,
    ) -> Result<Option<Span>, ReadError> {
        self.with(partition, |it| Ok(it.first(|span| span.append_time >= at)))
    }

    fn partition_bytes(&self, partition: PartitionId) -> u64 {
        self.with(partition, |it| Ok(it.bytes())).unwrap_or(0)
    }

    fn start_for_bytes(&self, partition: PartitionId, bytes_max: u64) -> Offset {
        self.with(partition, |it| Ok(it.start_for_bytes(bytes_max))).unwrap_or_default()
    }

    fn discard(&self, partition: PartitionId, runs: &[Range<Offset>]) {
        if let Some(it) = self.state.lock().partitions.get_mut(&partition) {
            it.discard(runs);
        }
    }

    /// Trimmed and removed batches are gone at once; discarded ones stay readable, as `Log` allows.
    fn reclaim(&self, _: Timestamp) -> Result<(), LogError> {
        match &self.state.lock().stopped {
            Some(reason) => Err(LogError::Stopped { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn incarnation(&self) -> u32 {
        self.state.lock().reopened + 1
    }

    fn stats(&self) -> LogStats {
        self.state.lock().stats
    }

    fn close(&self) {
        self.pump_all();
        self.state.lock().stopped.get_or_insert_with(|| "the log was closed".to_owned());
    }
}
