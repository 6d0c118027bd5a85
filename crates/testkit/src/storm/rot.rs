//! Rot: something goes bad at rest in a directory whose contents are known, and the log is opened on it.
//!
//! Promises: an opening that is refused names the file; what is served is what was written; nothing is passed over in silence;
//! no file with anything alive in it is deleted, and none that is damaged is changed; partitions that are not quarantined take
//! appends; the next opening finds it all the same; a doctor finds what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::{Commit, DiskLog, Durability, Log, LogError, ReadError, ReadLimit, Target, examine};
use parking_lot::Mutex;

use super::model::value_of;
use super::{Run, entry};
use crate::SimDisk;
use crate::disk::Damage;

/// Where a file's header has the number of files that it was made from.
const HEADER_INPUTS: std::ops::Range<usize> = 52..56;
/// A partition of which the run knows nothing.
const NEW_PARTITION: u64 = 1 << 40;

/// What a file of a directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// The log file that commits were last written to.
    Active,
    /// A log file that was filled.
    Sealed,
    /// A log file that was made from others.
    Rewritten,
    /// The list of files.
    Manifest,
    /// What is known to be durable.
    Watermark,
    /// Space in reserve.
    Spare,
}

impl FileKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Sealed, Self::Rewritten, Self::Manifest, Self::Watermark, Self::Spare];
}

/// The files of a directory by what they are for.
fn by_kind(disk: &SimDisk) -> BTreeMap<FileKind, Vec<String>> {
    let mut kinds: BTreeMap<FileKind, Vec<String>> = BTreeMap::new();
    for name in disk.names() {
        let kind = match name.as_str() {
            "manifest" => FileKind::Manifest,
            "watermark" => FileKind::Watermark,
            spare if spare.starts_with("spare-") => FileKind::Spare,
            log if log.ends_with(".log") => {
                let bytes = disk.contents(log).unwrap_or_default();
                let is_rewritten =
                    bytes.get(HEADER_INPUTS).is_some_and(|it| it.iter().any(|byte| *byte != 0));
                if is_rewritten { FileKind::Rewritten } else { FileKind::Sealed }
            }
            _ => continue,
        };
        kinds.entry(kind).or_default().push(name);
    }
    // Names rise with the ids.
    if let Some(active) = kinds.get_mut(&FileKind::Sealed).and_then(Vec::pop) {
        kinds.insert(FileKind::Active, vec![active]);
    }
    kinds.retain(|_, names| !names.is_empty());
    kinds
}

/// The number with which a value begins: `<17> ...`.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b"<")?;
    let end = digits.iter().take(8).position(|byte| !byte.is_ascii_digit())?;
    if !digits[end..].starts_with(b"> ") {
        return None;
    }
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

impl Run {
    /// Notes what lies where.
    pub(super) fn look_at_healthy(&mut self) {
        self.lies_in.clear();
        for name in self.disk.names().into_iter().filter(|name| name.ends_with(".log")) {
            let bytes = self.disk.contents(&name).unwrap_or_default();
            let marks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<');
            for number in marks.filter_map(|(at, _)| number_of(&bytes[at..])) {
                self.lies_in.entry(number).or_default().insert(name.clone());
            }
        }
    }

    /// Damages a file or two, and looks what becomes of it.
    pub(super) fn rot(&mut self) -> Result<(), String> {
        let names = self.disk.names();
        let rotten = self.damage();
        if rotten.is_empty() {
            return Ok(());
        }
        self.look(&names, &rotten).map_err(|broken| format!("with {rotten:?} of {names:?} rotten: {broken}"))
    }

    fn damage(&mut self) -> BTreeMap<String, (FileKind, Damage)> {
        let kinds = by_kind(&self.disk);
        let present: Vec<FileKind> = kinds.keys().copied().collect();
        let mut rotten = BTreeMap::new();
        for times in 0..1 + self.random.below(2) {
            let kind = *self.random.pick(&present);
            // Together with the last frame it is the only witness of the last group: both at once are too much to ask.
            if times > 0 && kind == FileKind::Watermark {
                break;
            }
            let name = self.random.pick(&kinds[&kind]).clone();
            let damage = *self.random.pick(&Damage::ALL);
            if self.disk.rot(&name, damage) {
                *self.report.rot.entry((kind, damage)).or_default() += 1;
                rotten.insert(name, (kind, damage));
            }
            if kind == FileKind::Watermark {
                break;
            }
        }
        rotten
    }

    fn look(
        &mut self,
        names: &[String],
        rotten: &BTreeMap<String, (FileKind, Damage)>,
    ) -> Result<(), String> {
        let found = if self.examines && self.random.one_in(8) { Some(self.examine()?) } else { None };
        let before: BTreeMap<&String, Vec<u8>> = rotten
            .iter()
            .filter(|(_, (kind, _))| matches!(kind, FileKind::Sealed | FileKind::Rewritten))
            .filter_map(|(name, _)| self.disk.contents(name).map(|bytes| (name, bytes)))
            .collect();
        let damaged = self.report.damaged;
        let mut is_refused = false;
        match DiskLog::open_manual(self.disk(), self.options.clone()) {
            Ok(log) => self.look_at_open(log, rotten)?,
            Err(error) => {
                is_refused = true;
                self.report.refused += 1;
                let said = error.to_string();
                if !rotten.keys().any(|name| said.contains(name.as_str())) {
                    return Err(format!("refused without the name of what is damaged: {said}"));
                }
            }
        }
        let left = self.disk.names();
        for name in names.iter().filter(|name| name.ends_with(".log") && !left.contains(name)) {
            if is_refused || self.holds_alive(name) {
                return Err(format!("{name} was deleted"));
            }
        }
        for (name, bytes) in before {
            if self.disk.contents(name).is_some_and(|it| it != bytes) {
                return Err(format!("{name} was changed"));
            }
        }
        if let Some(found) = found
            && (is_refused || self.report.damaged > damaged)
            && !rotten.keys().any(|name| found.contains(name))
        {
            let what = if is_refused { "an opening is refused" } else { "records are lost" };
            return Err(format!("{what}, and the doctor found nothing wrong with it, only {found:?}"));
        }
        Ok(())
    }

    /// The names of the files with which a doctor finds something wrong.
    fn examine(&mut self) -> Result<BTreeSet<String>, String> {
        let found = examine(&self.disk()).map_err(|error| format!("the doctor gave up: {error}"))?;
        let found: BTreeSet<String> = found.findings.into_iter().map(|it| it.file).collect();
        self.report.examined.0 += 1;
        self.report.examined.1 += found.len() as u64;
        Ok(found)
    }

    /// True if a batch that must be kept lies in this file alone.
    fn holds_alive(&self, name: &str) -> bool {
        self.model.partitions.iter().any(|(id, it)| {
            it.batches.iter().any(|(base, (_, _, value))| {
                !self.discarded.contains(&(*id, *base))
                    && self.files_of(value).is_some_and(|files| files.len() == 1 && files.contains(name))
            })
        })
    }

    fn files_of(&self, value: &str) -> Option<&BTreeSet<String>> {
        self.lies_in.get(&number_of(value.as_bytes())?)
    }

    fn look_at_open(
        &mut self,
        log: DiskLog,
        rotten: &BTreeMap<String, (FileKind, Damage)>,
    ) -> Result<(), String> {
        self.look_at_all(&log, rotten)?;
        self.goes_on(&log)?;
        if !self.random.one_in(4) {
            return Ok(());
        }
        let quarantined = log.quarantined();
        drop(log);
        self.disk.kill_process();
        let log = DiskLog::open_manual(self.disk(), self.options.clone())
            .map_err(|error| format!("it opened, and did not again: {error}"))?;
        if log.quarantined() != quarantined {
            let now = log.quarantined();
            return Err(format!("quarantined were {quarantined:?}, and then {now:?}"));
        }
        self.look_at_all(&log, rotten)
    }

    fn look_at_all(
        &mut self,
        log: &DiskLog,
        rotten: &BTreeMap<String, (FileKind, Damage)>,
    ) -> Result<(), String> {
        let quarantined = log.quarantined();
        let ids: Vec<u64> = self.model.partitions.keys().copied().collect();
        ids.into_iter().try_for_each(|id| {
            let is_quarantined = quarantined.contains(&PartitionId(id));
            self.look_at_partition(log, id, is_quarantined, rotten)
        })
    }

    fn look_at_partition(
        &mut self,
        log: &DiskLog,
        id: u64,
        is_quarantined: bool,
        rotten: &BTreeMap<String, (FileKind, Damage)>,
    ) -> Result<(), String> {
        let partition = &self.model.partitions[&id];
        for (base, (_, at, value)) in &partition.batches {
            let from = (*base).max(partition.start);
            let limit = ReadLimit { bytes_max: 1, until: Offset(u64::MAX) };
            let is_kept = !self.discarded.contains(&(id, *base));
            let files = self.files_of(value);
            let is_whole =
                is_kept && files.is_some_and(|files| files.iter().all(|name| !rotten.contains_key(name)));
            match log.read(PartitionId(id), Offset(from), limit) {
                Ok(batches) => match batches.first().filter(|it| it.base.0 == *base) {
                    Some(found) if value_of(found)? == value.as_bytes() && found.append_time.0 == *at => {}
                    Some(found) => {
                        return Err(format!("{id}/{base} was served as {:?}, was {value}", value_of(found)));
                    }
                    None if !is_kept => {}
                    // At the end there is nothing to pass over.
                    None if is_quarantined && batches.is_empty() && !is_whole => {}
                    None => {
                        let bounds = log.bounds(PartitionId(id));
                        return Err(format!(
                            "{id}/{base} was passed over in silence, of {bounds:?}, quarantined {is_quarantined}: \
                             {batches:?}"
                        ));
                    }
                },
                Err(ReadError::Io { reason, .. }) => return Err(format!("{id}/{base}: {reason}")),
                // Not false, but more than has to be given up.
                Err(_) if is_whole => self.report.in_doubt += 1,
                Err(_) => self.report.damaged += 1,
            }
        }
        Ok(())
    }

    /// Partitions that are not quarantined take appends, and so does a new one.
    fn goes_on(&mut self, log: &DiskLog) -> Result<(), String> {
        let quarantined = log.quarantined();
        let ends = log.partitions().into_iter().map(|(id, bounds)| (id, bounds.end));
        for (partition, base) in ends.chain([(PartitionId(NEW_PARTITION), Offset(0))]) {
            let targets = vec![Target { partition, base, leader_epoch: 2 }];
            let commit = Commit {
                entries: vec![entry("behind the damage", 1, targets, 0)],
                trims: Vec::new(),
                durability: Durability::Sync,
                append_time: Timestamp(self.written as i64),
                may_use_reserve: false,
            };
            let answer = std::sync::Arc::new(Mutex::new(None));
            let there = std::sync::Arc::clone(&answer);
            log.commit(commit, Box::new(move |result| *there.lock() = Some(result)));
            while log.pump() {}
            let answer = answer.lock().take();
            match (answer, quarantined.contains(&partition)) {
                (Some(Ok(())), false) => self.report.appended.0 += 1,
                (Some(Err(LogError::Quarantined { .. })), true) => self.report.appended.1 += 1,
                (answer, is_quarantined) => {
                    return Err(format!(
                        "an append to partition {partition}, quarantined {is_quarantined}, was answered {answer:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
