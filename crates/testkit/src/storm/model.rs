//! What a log should hold: plain maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, Offset, PartitionId};
use duolog_storage::{DiskLog, Durability, Log, LogError, ReadLimit, StoredBatch, Trim};
use parking_lot::Mutex;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Base to end, append time and value.
    pub(super) batches: BTreeMap<u64, (u64, i64, String)>,
}

/// What the log should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) partitions: BTreeMap<u64, Partition>,
    pub(super) removed: BTreeSet<u64>,
}

/// An append of one batch to one partition.
#[derive(Clone)]
pub(super) struct Append {
    pub(super) partition: u64,
    pub(super) base: u64,
    pub(super) records: u32,
    pub(super) at: i64,
    pub(super) value: String,
}

/// A commit that was asked for, and what came of it.
pub(super) struct Planned {
    pub(super) appends: Vec<Append>,
    pub(super) trims: Vec<Trim>,
    pub(super) durability: Durability,
    pub(super) answer: Arc<Mutex<Option<Result<(), LogError>>>>,
}

impl Planned {
    pub(super) fn is_answered_well(&self) -> bool {
        matches!(&*self.answer.lock(), Some(Ok(())))
    }
}

impl Model {
    pub(super) fn append(&mut self, it: &Append) {
        let partition = self.partitions.entry(it.partition).or_insert_with(|| Partition {
            start: it.base,
            end: it.base,
            ..Partition::default()
        });
        assert_eq!(partition.end, it.base, "the run appends at the end");
        partition.end += u64::from(it.records);
        partition.batches.insert(it.base, (partition.end, it.at, it.value.clone()));
    }

    pub(super) fn apply(&mut self, planned: &Planned) {
        planned.appends.iter().for_each(|it| self.append(it));
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
                    it.batches.retain(|_, (end, _, _)| *end > start);
                }
            }
        }
    }

    /// Why the log is not in this state, those discarded aside.
    pub(super) fn differs(&self, log: &DiskLog, discarded: &BTreeSet<(u64, u64)>) -> Option<String> {
        let bounds: Vec<_> =
            log.partitions().into_iter().map(|(id, it)| (id.0, it.start.0, it.end.0)).collect();
        let expected: Vec<_> = self.partitions.iter().map(|(&id, it)| (id, it.start, it.end)).collect();
        if bounds != expected {
            return Some(format!("bounds are {bounds:?}, expected {expected:?}"));
        }
        for (&id, it) in &self.partitions {
            let is_kept = |base: u64| !discarded.contains(&(id, base));
            let found = match values(log, id, it.start) {
                Ok(found) => found,
                Err(error) => return Some(error),
            };
            let found: Vec<_> = found.into_iter().filter(|(base, _, _)| is_kept(*base)).collect();
            let kept = it.batches.iter().filter(|(base, _)| is_kept(**base));
            let expected: Vec<_> =
                kept.map(|(base, (_, at, value))| (*base, *at, Bytes::from(value.clone()))).collect();
            if found != expected {
                return Some(format!("partition {id} holds {found:?}, expected {expected:?}"));
            }
        }
        None
    }
}

/// Base, append time and value of each batch of a partition.
fn values(log: &DiskLog, partition: u64, from: u64) -> Result<Vec<(u64, i64, Bytes)>, String> {
    let limit = ReadLimit { bytes_max: usize::MAX, until: Offset(u64::MAX) };
    let batches = log
        .read(PartitionId(partition), Offset(from), limit)
        .map_err(|error| format!("reading partition {partition}: {error}"))?;
    batches.iter().map(|it| Ok((it.base.0, it.append_time.0, value_of(it)?))).collect()
}

/// Value of a batch's first record.
pub(super) fn value_of(batch: &StoredBatch) -> Result<Bytes, String> {
    let read = || {
        let whole = Batch::from_parts(batch.base, batch.leader_epoch, &batch.body)?;
        whole.records(batch.base, usize::MAX)?.next().transpose()
    };
    let record = read().map_err(|error| format!("batch {} was served damaged: {error}", batch.base))?;
    Ok(record.and_then(|record| record.value).unwrap_or_default())
}
