//! The log alone on the simulated disk: random commits, trims, settlements, rewrites, power cuts, kills and rot, by seed.
//!
//! After each restart the log must be in a state that some prefix of the commits had made, with all that was acknowledged in it;
//! what was settled may be there or not. At the end something rots at rest: what is served must still be what was written.
//! Beside `sim`, which judges the whole broker by what its clients see, this one can settle and fan out as no client does yet.

mod model;
mod rot;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use duolog_record::{BatchBuilder, Offset, PartitionId, Timestamp};
use duolog_storage::disk::Disk;
use duolog_storage::{Body, Commit, DiskLog, Durability, Entry, Log, OpenError, Options, Target, Trim};

use self::model::{Append, Model, Planned};
pub use self::rot::FileKind;
use crate::disk::{Damage, Faults, Hits};
use crate::{Random, SimDisk};

const PARTITIONS: u64 = 5;
/// Starts and ends of one run.
const LIVES: u32 = 6;

/// What a run did, so that a run in which nothing happened is noticed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Faults of the disk that struck.
    pub hits: Hits,
    /// Files rewritten.
    pub rewritten: u64,
    /// Rewrites that a power cut or kill ended.
    pub rewrites_cut: u64,
    /// Openings that were refused because of rot.
    pub refused: u64,
    /// Reads that were refused because of rot.
    pub damaged: u64,
    /// Reads that were refused though the batch lies in files that are whole: in the shadow of what another has lost.
    pub in_doubt: u64,
    /// Damages at rest by what was damaged, those aside that changed nothing.
    pub rot: BTreeMap<(FileKind, Damage), u64>,
    /// Appends taken, and refused for their partitions' sake, by logs that opened in spite of rot.
    pub appended: (u64, u64),
    /// Directories that a doctor looked at, and what it found.
    pub examined: (u64, u64),
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.hits.add(&other.hits);
        self.rewritten += other.rewritten;
        self.rewrites_cut += other.rewrites_cut;
        self.refused += other.refused;
        self.damaged += other.damaged;
        self.in_doubt += other.in_doubt;
        for (&what, &times) in &other.rot {
            *self.rot.entry(what).or_default() += times;
        }
        self.appended = (self.appended.0 + other.appended.0, self.appended.1 + other.appended.1);
        self.examined = (self.examined.0 + other.examined.0, self.examined.1 + other.examined.1);
    }
}

struct Run {
    random: Random,
    disk: SimDisk,
    options: Options,
    /// What is certain.
    model: Model,
    /// Commits whose fate is open, in order; the model with all of them.
    open: Vec<Planned>,
    hoped: Model,
    discarded: BTreeSet<(u64, u64)>,
    /// Values that went to several partitions at once.
    shared: Vec<String>,
    /// In which files a value lies, by the number that it begins with: as it was before anything was damaged.
    lies_in: HashMap<u64, BTreeSet<String>>,
    /// A doctor looks too.
    examines: bool,
    next_partition: u64,
    incarnation: u32,
    written: u64,
    report: Report,
}

/// Runs one seed.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64) -> Result<Report, String> {
    let mut run = Run::new(seed);
    let mut play = || {
        for _ in 0..LIVES {
            run.life()?;
        }
        let log = run.wake()?;
        drop(log);
        run.disk.kill_process();
        run.look_at_healthy();
        run.examines = true;
        run.rot()
    };
    play().map_err(|broken| format!("seed {seed}: {broken}"))?;
    run.report.hits = run.disk.hits();
    Ok(run.report)
}

/// Runs one seed for its rot alone: a healthy life, then as many damages as asked for, each in a copy of the directory.
///
/// # Errors
/// The first promise that was broken.
pub fn run_rot(seed: u64, damages: u32) -> Result<Report, String> {
    let mut run = Run::new(seed);
    let mut play = || {
        let log = run.open()?;
        for _ in 0..150 {
            run.step(&log);
        }
        while log.pump() {}
        run.settle(&log)?;
        // What was only handed to the system becomes durable, and the watermark says so.
        log.close();
        run.report.rewritten += log.stats().clean.files_rewritten;
        drop(log);
        run.disk.kill_process();
        let healthy = run.disk.clone();
        run.look_at_healthy();
        run.examines = true;
        for _ in 0..damages {
            run.disk = healthy.copy(run.random.draw());
            run.rot()?;
            run.report.hits.add(&run.disk.hits());
        }
        Ok(())
    };
    play().map_err(|broken: String| format!("seed {seed}: {broken}"))?;
    Ok(run.report)
}

fn entry(value: &str, records: u32, targets: Vec<Target>, hashes: u64) -> Entry {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(Timestamp(1), None, Some(value.as_bytes()), &[]);
    }
    let key_hashes = (0..hashes).collect();
    Entry { body: Body::of(&builder.build()), targets, key_hashes, abort_first: None }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let options = Options {
            file_bytes: 32 << 10,
            file_targets: 1 + random.index(60),
            cache_bytes: random.index(2) * 4096,
            reserve_files: random.below(3) as u32,
            extents_max: if random.one_in(2) { 1 + random.index(30) } else { usize::MAX },
            purge_ms: if random.one_in(2) { random.below(60) } else { u64::MAX },
            ..Options::default()
        };
        Self {
            disk: SimDisk::new(random.draw()),
            random,
            options,
            model: Model::default(),
            open: Vec::new(),
            hoped: Model::default(),
            discarded: BTreeSet::new(),
            shared: Vec::new(),
            lies_in: HashMap::new(),
            examines: false,
            next_partition: PARTITIONS,
            incarnation: 0,
            written: 0,
            report: Report::default(),
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    /// Opens, with the power failing now and then in the middle of it.
    fn open(&mut self) -> Result<DiskLog, String> {
        loop {
            if self.random.one_in(3) {
                let after = self.random.below(30);
                self.disk.set_faults(Faults { power_off_after: Some(after), ..Faults::default() });
            }
            match DiskLog::open_manual(self.disk(), self.options.clone()) {
                Ok(log) => {
                    self.disk.set_faults(Faults::default());
                    if !self.disk.is_on() {
                        drop(log);
                        self.disk.power_on();
                        continue;
                    }
                    if log.incarnation() <= self.incarnation {
                        return Err(format!("incarnation {} came twice", log.incarnation()));
                    }
                    self.incarnation = log.incarnation();
                    return Ok(log);
                }
                Err(OpenError::Io { .. }) if !self.disk.is_on() => self.disk.power_on(),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn commit(&mut self, log: &DiskLog) {
        let mut planned = Planned {
            appends: Vec::new(),
            trims: Vec::new(),
            durability: if self.random.one_in(5) { Durability::Os } else { Durability::Sync },
            answer: Arc::default(),
        };
        let mut state = self.hoped.clone();
        let mut entries = Vec::new();
        for _ in 0..self.random.below(4) {
            let (entry, appends) = self.append(&mut state);
            entries.extend(entry);
            planned.appends.extend(appends);
        }
        if self.random.one_in(4) {
            planned.trims.extend(self.trim(&state));
        }
        if entries.is_empty() && planned.trims.is_empty() {
            return;
        }
        let commit = Commit {
            entries,
            trims: planned.trims.clone(),
            durability: planned.durability,
            append_time: Timestamp(self.written as i64),
            may_use_reserve: false,
        };
        for append in &mut planned.appends {
            append.at = self.written as i64;
        }
        let answer = Arc::clone(&planned.answer);
        log.commit(commit, Box::new(move |result| *answer.lock() = Some(result)));
        self.hoped.apply(&planned);
        self.open.push(planned);
    }

    /// One body to one partition, or to several.
    fn append(&mut self, state: &mut Model) -> (Option<Entry>, Vec<Append>) {
        let mut partitions = BTreeSet::new();
        let count = if self.random.one_in(5) { 1 + self.random.below(PARTITIONS) } else { 1 };
        for _ in 0..count {
            partitions.insert(if self.random.one_in(20) {
                self.next_partition += 1;
                self.next_partition
            } else {
                self.random.below(PARTITIONS)
            });
        }
        partitions.retain(|partition| !state.removed.contains(partition));
        if partitions.is_empty() {
            return (None, Vec::new());
        }
        let records = 1 + self.random.below(3) as u32;
        self.written += 1;
        let value = format!("<{}> {}", self.written, "y".repeat(self.random.index(300)));
        let (mut targets, mut appends) = (Vec::new(), Vec::new());
        for &partition in &partitions {
            let base = state.partitions.get(&partition).map_or(0, |it| it.end);
            targets.push(Target { partition: PartitionId(partition), base: Offset(base), leader_epoch: 1 });
            let it = Append { partition, base, records, at: 0, value: value.clone() };
            state.append(&it);
            appends.push(it);
        }
        if targets.len() > 1 {
            self.shared.push(value.clone());
        }
        let hashes = if self.random.one_in(6) { self.random.below(4) } else { 0 };
        (Some(entry(&value, records, targets, hashes)), appends)
    }

    fn trim(&mut self, state: &Model) -> Option<Trim> {
        let ids: Vec<u64> = state.partitions.keys().copied().collect();
        let id = *ids.get(self.random.index(ids.len().max(1)))?;
        let it = &state.partitions[&id];
        let partition = PartitionId(id);
        let start = Offset(it.start + self.random.below(it.end - it.start + 1));
        let goes = id >= PARTITIONS && self.random.one_in(3);
        Some(if goes { Trim::Remove { partition } } else { Trim::Start { partition, start } })
    }

    /// Settles some, or most, of what is certain.
    fn discard(&mut self, log: &DiskLog) {
        let ids: Vec<u64> = self.model.partitions.keys().copied().collect();
        let Some(id) = ids.get(self.random.index(ids.len().max(1))) else { return };
        let it = &self.model.partitions[id];
        let until = it.start + self.random.below(it.end - it.start + 1);
        let keep_one_in = 2 + self.random.below(8);
        for (base, (end, _, _)) in &it.batches {
            if *end <= until && !self.random.one_in(keep_one_in) {
                self.discarded.insert((*id, *base));
                log.discard(PartitionId(*id), &[Offset(*base)..Offset(*end)]);
            }
        }
    }

    /// Commits answered well become certain; the log must show exactly them, while nothing is in flight.
    fn settle(&mut self, log: &DiskLog) -> Result<(), String> {
        let answered = self.open.iter().take_while(|it| it.is_answered_well()).count();
        for planned in self.open.drain(..answered) {
            self.model.apply(&planned);
        }
        self.model.differs(log, &self.discarded).map_or(Ok(()), Err)
    }

    /// The log must be in a state after the certain commits and some of those whose fate was open.
    fn judge(&mut self, log: &DiskLog, candidates: &[Planned], least: usize) -> Result<(), String> {
        let mut state = self.model.clone();
        let mut differences = Vec::new();
        for taken in 0..=candidates.len() {
            if taken > 0 {
                state.apply(&candidates[taken - 1]);
            }
            if taken < least {
                continue;
            }
            match state.differs(log, &self.discarded) {
                None => {
                    self.model = state.clone();
                    self.hoped = state;
                    return Ok(());
                }
                Some(difference) => differences.push(difference),
            }
        }
        Err(format!("none of {} states: {differences:#?}", differences.len()))
    }

    /// Something small. True if commits were completed.
    fn step(&mut self, log: &DiskLog) -> bool {
        let now = Timestamp(self.written as i64);
        // What fails is noticed by the next commit.
        match self.random.below(16) {
            0 | 1 => self.discard(log),
            2 => drop(log.reclaim(now)),
            3..=5 => {
                for _ in 0..self.random.below(6) {
                    drop(log.clean(now));
                }
            }
            6..=8 => {
                while log.pump() {}
                return true;
            }
            _ => self.commit(log),
        }
        false
    }

    /// Opens after whatever ended the last life, and decides what became of the commits whose fate was open.
    fn wake(&mut self) -> Result<DiskLog, String> {
        let log = self.open()?;
        let candidates = std::mem::take(&mut self.open);
        // How many of them were acknowledged with a promise that held.
        let least =
            candidates.iter().rposition(|it| it.is_answered_well() && it.durability == Durability::Sync);
        self.judge(&log, &candidates, least.map_or(0, |it| it + 1))?;
        Ok(log)
    }

    fn life(&mut self) -> Result<(), String> {
        let log = self.wake()?;
        self.tell_again(&log);
        self.arm();
        let mut is_certain = true;
        for _ in 0..self.random.below(160) {
            if self.step(&log) {
                is_certain &= self.open.iter().all(Planned::is_answered_well);
                let all_synced = self.open.iter().all(|it| it.durability == Durability::Sync);
                if is_certain && all_synced && self.disk.is_on() {
                    self.settle(&log)?;
                }
            }
        }
        self.report.rewritten += log.stats().clean.files_rewritten;
        let logs = self.disk.names().iter().filter(|name| name.ends_with(".log")).count() as u64;
        self.report.rewrites_cut += u64::from(logs > log.stats().files);
        if self.random.one_in(3) {
            self.one_body_each()?;
        }
        self.die(log);
        Ok(())
    }

    /// The owner tells after each start what is settled.
    fn tell_again(&mut self, log: &DiskLog) {
        for &(id, base) in &self.discarded {
            if let Some((end, _, _)) = self.model.partitions.get(&id).and_then(|it| it.batches.get(&base)) {
                log.discard(PartitionId(id), &[Offset(base)..Offset(*end)]);
            }
        }
    }

    fn arm(&mut self) {
        let cut_after = 20 + self.random.below(200);
        let (sync_fails, write_fails) = (self.random.one_in(8), self.random.one_in(8));
        let after = self.random.below(40);
        self.disk.set_faults(Faults {
            power_off_after: self.random.one_in(2).then_some(cut_after),
            sync_fails_after: sync_fails.then_some(after),
            write_fails_after: write_fails.then_some(after),
            ..Faults::default()
        });
    }

    /// A body that went to several partitions lies in no file twice, rewritten or not.
    fn one_body_each(&self) -> Result<(), String> {
        let logs = self.disk.names().into_iter().filter(|name| name.ends_with(".log"));
        let files: Vec<Vec<u8>> = logs.filter_map(|name| self.disk.contents(&name)).collect();
        for value in self.shared.iter().rev().take(5) {
            let mark = value.as_bytes().split_inclusive(|it| *it == b' ').next().unwrap_or_default();
            for file in &files {
                // A batch of several records has its value as often.
                let bodies = file.windows(mark.len()).filter(|it| *it == mark).count();
                if bodies > 3 {
                    return Err(format!("the body {} lies in one file {bodies} times", value.len()));
                }
            }
        }
        Ok(())
    }

    fn die(&mut self, log: DiskLog) {
        match self.random.below(4) {
            0 => {
                log.close();
                let stopped = self.open.iter().any(|it| !it.is_answered_well());
                if !stopped && self.disk.is_on() {
                    // Closed in good order: nothing is lost, `Os` commits included.
                    for planned in self.open.drain(..) {
                        self.model.apply(&planned);
                    }
                }
                drop(log);
                if self.disk.is_on() { self.disk.kill_process() } else { self.disk.power_on() }
            }
            1 if self.disk.is_on() => {
                drop(log);
                self.disk.kill_process();
            }
            _ => {
                self.disk.power_off();
                drop(log);
                self.disk.power_on();
            }
        }
    }
}
