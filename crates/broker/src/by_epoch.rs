//! Where the records of a leader epoch end: what a client that was away asks to find out whether its position still holds.
//!
//! Epochs never fall within a partition, so the first batch of a later epoch is found by halving: at most 64 reads of one
//! batch each, and none at all for the epoch that holds now. Source: KIP-101, KIP-320.

use std::ops::Range;

use duolog_record::{Offset, PartitionId};
use duolog_storage::{Log, ReadError, ReadLimit};

use crate::EpochEnd;
use crate::errors::FetchError;

/// The largest epoch up to `asked` that has records, and the first offset behind them; `None` if `asked` has not come.
/// `current` is the epoch that new records get.
pub(crate) fn end_of(
    log: &dyn Log,
    partition: PartitionId,
    bounds: Range<Offset>,
    current: i32,
    asked: i32,
) -> Result<Option<EpochEnd>, FetchError> {
    if asked > current || asked < 0 {
        return Ok(None);
    }
    if asked == current {
        return Ok(Some(EpochEnd { epoch: current, end: bounds.end }));
    }
    // Below `low` all batches are at most of the epoch asked for; the first later one, if any, is `later`.
    let (mut low, mut high) = (bounds.start, bounds.end);
    let (mut epoch, mut end) = (asked, bounds.end);
    while low < high {
        let middle = Offset(low.0.midpoint(high.0));
        let limit = ReadLimit { bytes_max: 1, until: bounds.end };
        let batch = match log.read(partition, middle, limit) {
            Ok(batches) => batches.into_iter().next(),
            // Trimmed meanwhile.
            Err(ReadError::OutOfRange { start, .. }) if start > middle => {
                low = start;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(batch) = batch else {
            // Nothing is left from here on.
            high = middle;
            continue;
        };
        if batch.leader_epoch > asked {
            high = middle;
            end = batch.base.max(bounds.start);
        } else {
            epoch = batch.leader_epoch;
            low = batch.base.plus(u64::from(batch.offsets));
        }
    }
    Ok(Some(EpochEnd { epoch, end }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_record::{BatchBuilder, Timestamp};
    use duolog_storage::{Body, Commit, Durability, Entry, MemoryLog, Target, Trim};

    use super::*;

    const P: PartitionId = PartitionId(7);

    /// Batches of (epoch, number of records), one behind the other.
    fn log_of(batches: &[(i32, u64)]) -> MemoryLog {
        let log = MemoryLog::new();
        let mut base = Offset(0);
        for &(leader_epoch, count) in batches {
            let mut builder = BatchBuilder::new();
            (0..count).for_each(|_| builder.push(Timestamp(0), None, Some(b"x"), &[]));
            let target = Target { partition: P, base, leader_epoch };
            let entry = Entry {
                body: Body::of(&builder.build()),
                targets: vec![target],
                key_hashes: Vec::new(),
                abort_first: None,
            };
            commit(&log, vec![entry], Vec::new());
            base = base.plus(count);
        }
        log
    }

    fn commit(log: &MemoryLog, entries: Vec<Entry>, trims: Vec<Trim>) {
        let commit = Commit {
            entries,
            trims,
            durability: Durability::Sync,
            append_time: Timestamp(0),
            may_use_reserve: false,
        };
        log.commit(commit, Box::new(|done| done.unwrap()));
    }

    fn check(log: &MemoryLog, current: i32, asked: i32, expected: Option<(i32, u64)>) {
        let found = end_of(log, P, log.bounds(P).unwrap(), current, asked).unwrap();
        let expected = expected.map(|(epoch, end)| EpochEnd { epoch, end: Offset(end) });
        assert_eq!(found, expected, "epoch {asked} of {current}");
    }

    #[test]
    fn each_epoch_ends_where_the_next_begins() {
        let log = log_of(&[(0, 3), (0, 1), (2, 5), (2, 2), (3, 1), (6, 4)]);
        for current in [6, 7] {
            check(&log, current, 0, Some((0, 4)));
            check(&log, current, 1, Some((0, 4)));
            check(&log, current, 2, Some((2, 11)));
            check(&log, current, 3, Some((3, 12)));
            check(&log, current, 5, Some((3, 12)));
            check(&log, current, 6, Some((6, 16)));
            check(&log, current, 8, None);
            check(&log, current, -1, None);
        }
        check(&log, 7, 7, Some((7, 16)));
    }

    #[test]
    fn an_epoch_that_is_trimmed_ends_at_the_start() {
        let log = log_of(&[(1, 4), (2, 4)]);
        commit(&log, Vec::new(), vec![Trim::Start { partition: P, start: Offset(6) }]);
        check(&log, 2, 1, Some((1, 6)));
        commit(&log, Vec::new(), vec![Trim::Start { partition: P, start: Offset(8) }]);
        check(&log, 2, 1, Some((1, 8)));
    }

    #[test]
    fn every_split_is_found() {
        for first in 1..40 {
            for second in 1..20 {
                let log = log_of(&[(0, first), (1, second), (2, 1)]);
                check(&log, 2, 0, Some((0, first)));
                check(&log, 2, 1, Some((1, first + second)));
            }
        }
    }
}
