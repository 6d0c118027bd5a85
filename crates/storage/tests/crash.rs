//! Random commits, trims, discards, power cuts and kills, by seed: after each the log is a state that some prefix of the
//! commits had made, with all that was acknowledged in it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{Pumped, append, arc, commit_of, remove, trim};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Durability, Log, LogError, OpenError, Options, Trim};
use duolog_testkit::disk::{Faults, Hits};
use duolog_testkit::{Random, SimDisk};
use parking_lot::Mutex;

const PARTITIONS: u64 = 5;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Partition {
    start: u64,
    end: u64,
    /// Base to end and value.
    batches: BTreeMap<u64, (u64, String)>,
}

/// What the log should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    partitions: BTreeMap<u64, Partition>,
    removed: BTreeSet<u64>,
}

impl Model {
    fn apply(&mut self, planned: &Planned) {
        for (partition, base, records, value) in &planned.appends {
            let it = self.partitions.entry(*partition).or_insert_with(|| Partition {
                start: *base,
                end: *base,
                ..Partition::default()
            });
            assert_eq!(it.end, *base);
            it.end += u64::from(*records);
            it.batches.insert(*base, (it.end, value.clone()));
        }
        for change in &planned.trims {
            match *change {
                Trim::Remove { partition } => {
                    self.partitions.remove(&partition.0);
                    self.removed.insert(partition.0);
                }
                Trim::Start { partition, start } => {
                    let it = self.partitions.entry(partition.0).or_insert_with(|| Partition {
                        start: start.0,
                        end: start.0,
                        ..Partition::default()
                    });
                    it.start = it.start.max(start.0);
                    let start = it.start;
                    it.batches.retain(|_, (end, _)| *end > start);
                }
            }
        }
    }

    /// Why the log is not in this state, those discarded aside.
    fn differs(&self, log: &DiskLog, discarded: &BTreeSet<(u64, u64)>) -> Option<String> {
        let bounds: Vec<_> =
            log.partitions().into_iter().map(|(id, it)| (id.0, it.start.0, it.end.0)).collect();
        let expected: Vec<_> = self.partitions.iter().map(|(&id, it)| (id, it.start, it.end)).collect();
        if bounds != expected {
            return Some(format!("bounds are {bounds:?}, expected {expected:?}"));
        }
        for (id, it) in &self.partitions {
            let is_kept = |base: u64| !discarded.contains(&(*id, base));
            let found: Vec<_> = log.values(*id).into_iter().filter(|(base, _)| is_kept(*base)).collect();
            let kept = it.batches.iter().filter(|(base, _)| is_kept(**base));
            let expected: Vec<_> = kept.map(|(base, (_, value))| (*base, value.clone().into())).collect();
            if found != expected {
                return Some(format!("partition {id} holds {found:?}, expected {expected:?}"));
            }
        }
        None
    }
}

struct Planned {
    appends: Vec<(u64, u64, u32, String)>,
    trims: Vec<Trim>,
    durability: Durability,
    answer: Arc<Mutex<Option<Result<(), LogError>>>>,
}

struct Run {
    seed: u64,
    random: Random,
    disk: SimDisk,
    options: Options,
    /// What is certain.
    model: Model,
    /// Commits whose fate is open, in order; the model with all of them.
    open: Vec<Planned>,
    hoped: Model,
    discarded: BTreeSet<(u64, u64)>,
    next_partition: u64,
    incarnation: u32,
    written: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let options = Options {
            file_bytes: 32 << 10,
            file_targets: 1 + random.index(60),
            cache_bytes: random.index(2) * 4096,
            reserve_files: random.below(3) as u32,
            ..Options::default()
        };
        Self {
            seed,
            disk: SimDisk::new(random.draw()),
            random,
            options,
            model: Model::default(),
            open: Vec::new(),
            hoped: Model::default(),
            discarded: BTreeSet::new(),
            next_partition: PARTITIONS,
            incarnation: 0,
            written: 0,
        }
    }

    /// Opens, with the power failing now and then in the middle of it.
    fn open(&mut self) -> DiskLog {
        loop {
            if self.random.one_in(3) {
                let after = self.random.below(30);
                self.disk.set_faults(Faults { power_off_after: Some(after), ..Faults::default() });
            }
            match DiskLog::open_manual(arc(&self.disk), self.options.clone()) {
                Ok(log) => {
                    self.disk.set_faults(Faults::default());
                    if !self.disk.is_on() {
                        drop(log);
                        self.disk.power_on();
                        continue;
                    }
                    assert!(log.incarnation() > self.incarnation, "seed {}", self.seed);
                    self.incarnation = log.incarnation();
                    return log;
                }
                Err(OpenError::Io { .. }) if !self.disk.is_on() => self.disk.power_on(),
                Err(error) => panic!("seed {}: {error}", self.seed),
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
        let mut entries = Vec::new();
        let mut state = self.hoped.clone();
        for _ in 0..self.random.below(4) {
            let partition = if self.random.one_in(20) {
                self.next_partition += 1;
                self.next_partition
            } else {
                self.random.below(PARTITIONS)
            };
            if state.removed.contains(&partition) {
                continue;
            }
            let base = state.partitions.get(&partition).map_or(0, |it| it.end);
            let records = 1 + self.random.below(3) as u32;
            self.written += 1;
            let value = format!("{partition}/{base}/{} {}", self.written, "y".repeat(self.random.index(300)));
            entries.push(append(partition, base, records, value.as_bytes()));
            let one = Planned {
                appends: vec![(partition, base, records, value)],
                trims: Vec::new(),
                durability: Durability::Sync,
                answer: Arc::default(),
            };
            state.apply(&one);
            planned.appends.extend(one.appends);
        }
        if self.random.one_in(4) {
            let ids: Vec<u64> = state.partitions.keys().copied().collect();
            if !ids.is_empty() {
                let id = *self.random.pick(&ids);
                let it = &state.partitions[&id];
                let start = it.start + self.random.below(it.end - it.start + 1);
                planned.trims.push(if id >= PARTITIONS && self.random.one_in(3) {
                    remove(id)
                } else {
                    trim(id, start)
                });
            }
        }
        if entries.is_empty() && planned.trims.is_empty() {
            return;
        }
        let commit = Commit {
            trims: planned.trims.clone(),
            durability: planned.durability,
            append_time: Timestamp(self.written as i64),
            ..commit_of(entries)
        };
        let answer = Arc::clone(&planned.answer);
        log.commit(commit, Box::new(move |result| *answer.lock() = Some(result)));
        self.hoped.apply(&planned);
        self.open.push(planned);
    }

    fn discard(&mut self, log: &DiskLog) {
        let ids: Vec<u64> = self.model.partitions.keys().copied().collect();
        let Some(id) = ids.get(self.random.index(ids.len().max(1))) else { return };
        let it = &self.model.partitions[id];
        let until = it.start + self.random.below(it.end - it.start + 1);
        for (base, (end, _)) in &it.batches {
            if *end <= until {
                self.discarded.insert((*id, *base));
                log.discard(PartitionId(*id), &[Offset(*base)..Offset(*end)]);
            }
        }
    }

    /// Commits answered well become certain; the log must show exactly them, while nothing is in flight.
    fn settle(&mut self, log: &DiskLog) {
        let answered = self.open.iter().take_while(|it| matches!(&*it.answer.lock(), Some(Ok(())))).count();
        for planned in self.open.drain(..answered) {
            self.model.apply(&planned);
        }
        if let Some(difference) = self.model.differs(log, &self.discarded) {
            panic!("seed {}: {difference}", self.seed);
        }
    }

    /// The log must be in a state after the certain commits and some of those whose fate was open.
    fn judge(&mut self, log: &DiskLog, candidates: Vec<Planned>, least: usize) {
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
                    return;
                }
                Some(difference) => differences.push(difference),
            }
        }
        panic!("seed {}: none of {} states: {:#?}", self.seed, differences.len(), differences);
    }

    fn life(&mut self) {
        let log = self.open();
        let candidates = std::mem::take(&mut self.open);
        // How many of them were acknowledged with a promise that held.
        let least = candidates
            .iter()
            .rposition(|it| matches!(&*it.answer.lock(), Some(Ok(()))) && it.durability == Durability::Sync);
        self.judge(&log, candidates, least.map_or(0, |it| it + 1));
        let mut is_certain = true;
        let cut_after = 20 + self.random.below(200);
        let (sync_fails, write_fails) = (self.random.one_in(8), self.random.one_in(8));
        let after = self.random.below(40);
        self.disk.set_faults(Faults {
            power_off_after: self.random.one_in(2).then_some(cut_after),
            sync_fails_after: sync_fails.then_some(after),
            write_fails_after: write_fails.then_some(after),
            ..Faults::default()
        });
        for _ in 0..self.random.below(120) {
            match self.random.below(12) {
                0 => self.discard(&log),
                1 => {
                    let _ = log.reclaim(Timestamp(0));
                }
                2..=4 => {
                    while log.pump() {}
                    is_certain &= self.open.iter().all(|it| matches!(&*it.answer.lock(), Some(Ok(()))));
                    if is_certain
                        && self.disk.is_on()
                        && self.open.iter().all(|it| it.durability == Durability::Sync)
                    {
                        self.settle(&log);
                    }
                }
                _ => self.commit(&log),
            }
        }
        match self.random.below(4) {
            0 => {
                log.close();
                let stopped = self.open.iter().any(|it| !matches!(&*it.answer.lock(), Some(Ok(()))));
                if !stopped && self.disk.is_on() {
                    // Closed in good order: nothing is lost, `Os` commits included.
                    for planned in self.open.drain(..) {
                        self.model.apply(&planned);
                    }
                }
                drop(log);
                self.disk.kill_process_or_power_on();
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

trait Restart {
    fn kill_process_or_power_on(&self);
}

impl Restart for SimDisk {
    fn kill_process_or_power_on(&self) {
        if self.is_on() { self.kill_process() } else { self.power_on() }
    }
}

#[test]
fn whatever_happens_acknowledged_commits_are_there_and_the_rest_is_a_prefix() {
    let seeds: u64 = std::env::var("DUOLOG_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(150);
    let first: u64 = std::env::var("DUOLOG_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut hits = Hits::default();
    for seed in first..first + seeds {
        let mut run = Run::new(seed);
        for _ in 0..6 {
            run.life();
        }
        hits.add(&run.disk.hits());
    }
    if seeds >= 100 {
        assert!(hits.power_cuts > 100 && hits.writes_torn > 20 && hits.names_lost > 20, "{hits:?}");
        assert!(hits.sync_errors > 10 && hits.write_errors > 10, "{hits:?}");
    }
}
