//! Twenty times full and back with one opening of the log, for want of blocks or of room for names: what was acknowledged stays,
//! what was refused never appears, and what frees space goes on meanwhile. Again: `DUOLOG_SEED=n DUOLOG_SEEDS=1`.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use common::{Pumped, all, append, commit_of, open, remove, seeds, tiny, trim, trims, value_of};
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Log, LogError, Options, Trim};
use duolog_testkit::disk::Faults;
use duolog_testkit::{Random, SimDisk};

/// How often the disk runs full.
const TIMES: u32 = 20;
const CAPACITY_BYTES: u64 = 3 << 20;
const FILE_BYTES: u64 = 128 << 10;
/// What a directory has besides files of the log: the manifest, the next one, the watermark.
const OTHER_FILES: usize = 3;
/// Where settlements are kept: the only one whose appends may use the reserve.
const STATE: u64 = 0;

/// A partition as it must be.
#[derive(Default)]
struct Held {
    start: u64,
    end: u64,
    /// Base to end and value.
    batches: BTreeMap<u64, (u64, Bytes)>,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug)]
enum Scarce {
    Blocks,
    Names,
}

struct Run {
    seed: u64,
    scarce: Scarce,
    random: Random,
    disk: SimDisk,
    log: DiskLog,
    held: BTreeMap<u64, Held>,
    /// Partition and base of what was discarded: it may be there or not.
    settled: BTreeSet<(u64, u64)>,
    refused: HashSet<Bytes>,
    written: u64,
    /// Partitions that take appends; ids are never used again.
    live: Vec<u64>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    acknowledged: u64,
    refused: u64,
    files_unlinked: u64,
    files_rewritten: u64,
}

type Planned = (Vec<(u64, u64, u64, Bytes)>, Arc<parking_lot::Mutex<Option<Result<(), LogError>>>>);

impl Run {
    fn new(seed: u64, scarce: Scarce) -> Self {
        let disk = SimDisk::new(seed);
        let log = open(&disk, options());
        Self {
            seed,
            scarce,
            random: Random::new(seed),
            disk,
            log,
            held: BTreeMap::new(),
            settled: BTreeSet::new(),
            refused: HashSet::new(),
            written: 0,
            live: vec![1, 2, 3, 4],
            counts: Counts::default(),
        }
    }

    /// So much, or what is used already: nobody can take from us what we have.
    fn capacity(&self, bytes: u64) {
        let names = self.disk.names();
        let faults = match self.scarce {
            Scarce::Blocks => {
                let used = names.iter().filter_map(|it| self.disk.contents(it)).map(|it| it.len() as u64);
                Faults { capacity_bytes: Some(bytes.max(used.sum())), ..Faults::default() }
            }
            Scarce::Names => {
                let files = (bytes / FILE_BYTES) as usize + OTHER_FILES;
                Faults { files_max: Some(files.max(names.len())), ..Faults::default() }
            }
        };
        self.disk.set_faults(faults);
    }

    /// Queues some commits at once, some of them to two partitions, and notes what became of each. Gives how many were refused.
    fn appends(&mut self, commits: u64) -> u64 {
        let mut ends: BTreeMap<u64, u64> = self.held.iter().map(|(&id, it)| (id, it.end)).collect();
        let planned: Vec<Planned> = (0..commits)
            .map(|_| {
                let mut ids = BTreeSet::from([*self.random.pick(&self.live)]);
                if self.random.one_in(4) {
                    ids.insert(*self.random.pick(&self.live));
                }
                self.queue(&ids, &mut ends, false)
            })
            .collect();
        while self.log.pump() {}
        self.note(planned)
    }

    fn queue(
        &mut self,
        ids: &BTreeSet<u64>,
        ends: &mut BTreeMap<u64, u64>,
        may_use_reserve: bool,
    ) -> Planned {
        let (mut entries, mut appends) = (Vec::new(), Vec::new());
        for &id in ids {
            self.written += 1;
            let filling = if may_use_reserve { 100 } else { 100 + self.random.index(1500) };
            let value = Bytes::from(format!("<{}> {}", self.written, "f".repeat(filling)));
            let records = 1 + self.random.below(2);
            let end = ends.entry(id).or_default();
            entries.push(append(id, *end, records as u32, &value));
            appends.push((id, *end, *end + records, value));
            *end += records;
        }
        (appends, self.log.queue(Commit { may_use_reserve, ..commit_of(entries) }))
    }

    fn note(&mut self, planned: Vec<Planned>) -> u64 {
        let mut refused = 0;
        for (appends, answer) in planned {
            match answer.lock().take().expect("an answer, as nothing waits") {
                Ok(()) => {
                    self.counts.acknowledged += 1;
                    for (id, base, end, value) in appends {
                        let held = self.held.entry(id).or_default();
                        assert_eq!(held.end, base, "seed {}: accepted where it does not continue", self.seed);
                        held.end = end;
                        held.batches.insert(base, (end, value));
                    }
                }
                Err(LogError::DiskFull { .. }) => {
                    refused += 1;
                    self.refused.extend(appends.into_iter().map(|(_, _, _, value)| value));
                }
                Err(error) => panic!("seed {}: {error}", self.seed),
            }
        }
        self.counts.refused += refused;
        refused
    }

    /// Appends until there is no room. Gives how many commits were accepted.
    fn fill(&mut self) -> u64 {
        let before = self.counts.acknowledged;
        for _ in 0..2_000 {
            let commits = 1 + self.random.below(6);
            if self.appends(commits) > 0 {
                return self.counts.acknowledged - before;
            }
        }
        panic!("seed {}: the disk never was full", self.seed);
    }

    fn trim(&mut self, changes: Vec<Trim>) {
        for change in &changes {
            match *change {
                Trim::Start { partition, start } => {
                    let held = self.held.get_mut(&partition.0).unwrap();
                    held.start = start.0;
                    held.batches.retain(|_, (end, _)| *end > start.0);
                }
                Trim::Remove { partition } => drop(self.held.remove(&partition.0)),
            }
        }
        self.log.outcome(trims(changes)).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
    }

    /// What a broker does on a full disk when its consumers go on: settlements are written, older ones trimmed.
    fn settlements(&mut self) {
        for _ in 0..15 {
            let mut ends = self.held.iter().map(|(&id, it)| (id, it.end)).collect();
            let planned = self.queue(&BTreeSet::from([STATE]), &mut ends, true);
            while self.log.pump() {}
            assert_eq!(self.note(vec![planned]), 0, "seed {}: a settlement was refused", self.seed);
        }
        let end = self.held[&STATE].end;
        self.trim(vec![trim(STATE, end - 5)]);
    }

    /// Space comes back in one of five ways.
    fn free(&mut self, time: u32) {
        let ids = self.live.clone();
        match time % 5 {
            // Whole files die.
            0 => {
                let halves = ids.iter().filter_map(|id| self.held.get(id).map(|it| (*id, it)));
                let changes = halves.map(|(id, it)| trim(id, it.start + (it.end - it.start) / 2)).collect();
                self.trim(changes);
            }
            // Here and there something is left: only rewriting helps.
            1 => {
                for id in ids {
                    self.settle_most(id);
                }
            }
            // Most of each file is gone with its partitions.
            2 => {
                self.trim(ids[..3].iter().map(|id| remove(*id)).collect());
                let last = *self.live.last().unwrap();
                self.live = vec![last, last + 1, last + 2, last + 3];
            }
            // Somebody else's files go; at the next time there are others, and not a byte is free.
            3 => self.capacity(CAPACITY_BYTES + (900 << 10)),
            // Purged.
            _ => {
                let changes = ids.iter().filter_map(|id| self.held.get(id).map(|it| trim(*id, it.end)));
                let changes = changes.collect();
                self.trim(changes);
            }
        }
        let before = self.log.stats().files;
        for _ in 0..6 {
            self.log.reclaim(Timestamp(0)).unwrap();
            while self.log.clean(Timestamp(0)).unwrap() {}
        }
        self.counts.files_unlinked += before.saturating_sub(self.log.stats().files);
        self.counts.files_rewritten = self.log.stats().clean.files_rewritten;
    }

    fn settle_most(&mut self, id: u64) {
        let Some(held) = self.held.get(&id) else { return };
        let mut runs = Vec::new();
        for (base, (end, _)) in &held.batches {
            if !self.random.one_in(10) {
                self.settled.insert((id, *base));
                runs.push(Offset((*base).max(held.start))..Offset(*end));
            }
        }
        self.log.discard(PartitionId(id), &runs);
    }

    /// Everything is as it was answered.
    fn compare(&self, when: &str) {
        let seed = self.seed;
        let bounds: Vec<_> =
            self.log.partitions().into_iter().map(|(id, it)| (id.0, it.start.0, it.end.0)).collect();
        let expected: Vec<_> = self.held.iter().map(|(&id, it)| (id, it.start, it.end)).collect();
        assert_eq!(bounds, expected, "seed {seed}, {when}");
        for (&id, held) in &self.held {
            let is_kept = |base: u64| !self.settled.contains(&(id, base));
            let batches = self.log.read(PartitionId(id), Offset(held.start), all()).unwrap();
            let found: Vec<_> = batches.iter().map(|it| (it.base.0, value_of(it))).collect();
            assert!(
                found.iter().all(|(_, value)| !self.refused.contains(value)),
                "seed {seed}, {when}: partition {id} has what was refused"
            );
            let found: Vec<_> = found.into_iter().filter(|it| is_kept(it.0)).collect();
            let kept = held.batches.iter().filter(|it| is_kept(*it.0));
            let expected: Vec<_> = kept.map(|(base, (_, value))| (*base, value.clone())).collect();
            assert!(found == expected, "seed {seed}, {when}: partition {id} is not what was acknowledged");
        }
    }

    fn play(mut self) -> Counts {
        for time in 0..TIMES {
            self.capacity(CAPACITY_BYTES);
            let accepted = self.fill();
            // Where somebody else took the space there is none to begin with.
            let is_squeezed = time > 0 && (time - 1) % 5 == 3;
            assert!(is_squeezed || accepted >= 100, "seed {}, time {time}: {accepted} accepted", self.seed);
            self.compare("full");
            self.settlements();
            assert!(self.appends(200) > 0, "seed {}, time {time}: the reserve is not for all", self.seed);
            self.free(time);
            self.compare("freed");
            assert_eq!(self.appends(50), 0, "seed {}, time {time}: refused where there is room", self.seed);
        }
        self.compare("at the end");
        assert_eq!(self.log.incarnation(), 1, "one opening");
        let counts = std::mem::take(&mut self.counts);
        // What was synced is there after a power loss, and so again after a clean stop.
        self.disk.power_off();
        for _ in 0..2 {
            self.disk.power_on();
            self.log = open(&self.disk, options());
            self.compare("opened again");
            assert!(self.log.quarantined().is_empty());
            assert_eq!(self.appends(5), 0);
            self.log.close();
        }
        counts
    }
}

/// Files that are small, and yet much larger than what each has beside its batches.
fn options() -> Options {
    Options { reserve_files: 2, file_bytes: FILE_BYTES, file_targets: 200, ..tiny() }
}

fn plays(scarce: Scarce) {
    for seed in seeds(2, 30) {
        let counts = Run::new(seed, scarce).play();
        println!("seed {seed}, {scarce:?}: {counts:?}");
        assert!(counts.refused >= u64::from(TIMES) && counts.acknowledged > 3_000, "{counts:?}");
        assert!(counts.files_unlinked > 100 && counts.files_rewritten > 20, "{counts:?}");
    }
}

#[test]
fn twenty_times_full_and_back_loses_nothing_and_shows_nothing_refused() {
    plays(Scarce::Blocks);
}

#[test]
fn twenty_times_without_room_for_a_name_and_back_loses_nothing_either() {
    plays(Scarce::Names);
}
