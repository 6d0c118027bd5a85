//! What stands behind the records that receivers of a backlog were given, read along with them.
//!
//! Such receivers take few records at a time, one receiver after the other. Read for itself, each take costs a thread that
//! may block, pages of the index and a read of little. So whoever goes on where its partition was read last reads further
//! than it was granted, twice as far each time, and those who come next find their records here. That may be in several
//! places of a partition at once: receivers of one group after the other go through the same records.
//!
//! Bounded in stretches and bytes, however many partitions are received from. Where more of them take turns than there are
//! stretches, the last of a partition is forgotten before it is gone on with, and nothing is read in vain.
//! What is kept was checked when it was read and never changes, so nothing needs to be invalidated: offsets are never reused.

use std::collections::VecDeque;
use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use duolog_storage::StoredBatch;
use parking_lot::Mutex;

use crate::limits::{
    AHEAD_BYTES, AHEAD_NEAR, AHEAD_RECORDS_MAX, AHEAD_RECORDS_MIN, AHEAD_STRETCH_BYTES, AHEAD_STRETCHES,
};

/// Neighbouring batches of one partition, as they were read.
#[derive(Debug)]
pub(crate) struct Stretch {
    partition: PartitionId,
    from: Offset,
    end: Offset,
    /// Rising. Where two of them do not meet there is a hole.
    batches: Vec<StoredBatch>,
    /// So many records were read beyond those that were asked for, had there been so many.
    ahead: u64,
}

impl Stretch {
    /// What a read from `from` on has found.
    pub(crate) fn new(partition: PartitionId, from: Offset, ahead: u64, batches: Vec<StoredBatch>) -> Self {
        let end = batches.last().map_or(from, end_of);
        Self { partition, from, end, batches, ahead }
    }

    /// True if it is known here what stands at this offset, if only a hole.
    pub(crate) fn covers(&self, partition: PartitionId, offset: Offset) -> bool {
        self.partition == partition && (self.from..self.end).contains(&offset)
    }

    /// The batch that holds this offset.
    pub(crate) fn find(&self, offset: Offset) -> Option<&StoredBatch> {
        let index = self.batches.partition_point(|it| end_of(it) <= offset);
        self.batches.get(index).filter(|it| it.base <= offset)
    }

    /// Bytes of memory that it, or a record of it, keeps from being freed, about: what was read is in one piece.
    pub(crate) fn bytes(&self) -> usize {
        let bodies: usize = self.batches.iter().map(|it| it.body.len()).sum();
        bodies + self.batches.len() * size_of::<StoredBatch>()
    }

    /// The same without its end, the batches for which this is true.
    pub(crate) fn without_end(self: Arc<Self>, is_end: impl Fn(PartitionId, Offset) -> bool) -> Arc<Self> {
        let kept = self.batches.partition_point(|it| !is_end(self.partition, it.base));
        if kept == self.batches.len() {
            return self;
        }
        Arc::new(Self::new(self.partition, self.from, self.ahead, self.batches[..kept].to_vec()))
    }

    /// How far its end is from here, if it is near.
    fn ends_near(&self, partition: PartitionId, offset: Offset) -> Option<u64> {
        let far = self.end.0.abs_diff(offset.0);
        (self.partition == partition && far <= AHEAD_NEAR).then_some(far)
    }

    /// True if this one knows all that the other does.
    fn includes(&self, other: &Self) -> bool {
        self.partition == other.partition && self.from <= other.from && other.end <= self.end
    }
}

fn end_of(batch: &StoredBatch) -> Offset {
    batch.base.plus(u64::from(batch.offsets))
}

/// A stretch that is kept.
struct Kept {
    stretch: Arc<Stretch>,
    bytes: usize,
    /// Somebody reads on behind it: others who come to its end meanwhile read what they need themselves.
    is_continued: bool,
}

/// The latest of them.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Latest used last.
    kept: Mutex<VecDeque<Kept>>,
}

impl Ahead {
    /// The stretch in which this offset is known.
    pub(crate) fn get(&self, partition: PartitionId, offset: Offset) -> Option<Arc<Stretch>> {
        let mut kept = self.kept.lock();
        let index = kept.iter().rposition(|it| it.stretch.covers(partition, offset))?;
        let found = kept.remove(index)?;
        let stretch = Arc::clone(&found.stretch);
        kept.push_back(found);
        Some(stretch)
    }

    /// How many records to read beyond those that are asked for from this offset on; none if nothing was read before it, or
    /// somebody else has asked.
    pub(crate) fn records_behind(&self, partition: PartitionId, offset: Offset) -> u64 {
        let mut kept = self.kept.lock();
        let Some(index) = nearest(&kept, partition, offset) else { return 0 };
        let before = &mut kept[index];
        if std::mem::replace(&mut before.is_continued, true) {
            return 0;
        }
        (2 * before.stretch.ahead).clamp(AHEAD_RECORDS_MIN, AHEAD_RECORDS_MAX)
    }

    /// Keeps what was read, if it is not known; what it goes on from, or else the oldest, makes room.
    pub(crate) fn put(&self, stretch: Arc<Stretch>) {
        let (partition, from, bytes) = (stretch.partition, stretch.from, stretch.bytes());
        if stretch.batches.is_empty() || bytes > AHEAD_STRETCH_BYTES {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.iter().any(|it| it.stretch.covers(partition, from) && it.stretch.end >= stretch.end) {
            return;
        }
        if let Some(index) = nearest(&kept, partition, from) {
            kept.remove(index);
        }
        kept.retain(|it| !stretch.includes(&it.stretch));
        let mut total: usize = kept.iter().map(|it| it.bytes).sum::<usize>() + bytes;
        while total > AHEAD_BYTES || kept.len() >= AHEAD_STRETCHES {
            let Some(oldest) = kept.pop_front() else { break };
            total -= oldest.bytes;
        }
        kept.push_back(Kept { stretch, bytes, is_continued: false });
    }
}

/// What was read last near before this offset.
fn nearest(kept: &VecDeque<Kept>, partition: PartitionId, offset: Offset) -> Option<usize> {
    let near = kept.iter().enumerate().filter_map(|(index, it)| {
        let far = it.stretch.ends_near(partition, offset)?;
        (!it.stretch.covers(partition, offset)).then_some((far, index))
    });
    near.min().map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use duolog_record::Timestamp;

    use super::*;

    const P: PartitionId = PartitionId(1);

    /// Batches of two records and `bytes` bytes at these offsets.
    fn stretch(partition: PartitionId, from: u64, ahead: u64, bases: &[u64], bytes: usize) -> Arc<Stretch> {
        let batch = |base: &u64| StoredBatch {
            base: Offset(*base),
            offsets: 2,
            leader_epoch: 0,
            append_time: Timestamp(1),
            body: Bytes::from(vec![0; bytes]),
        };
        Arc::new(Stretch::new(partition, Offset(from), ahead, bases.iter().map(batch).collect()))
    }

    #[test]
    fn a_stretch_knows_its_batches_and_the_holes_before_and_between_them() {
        let it = stretch(P, 8, 0, &[10, 12, 20], 5);
        let found =
            |offset| it.covers(P, Offset(offset)).then(|| it.find(Offset(offset)).map(|it| it.base.0));
        assert_eq!(
            [7, 8, 10, 11, 13].map(found),
            [None, Some(None), Some(Some(10)), Some(Some(10)), Some(Some(12))]
        );
        assert_eq!([14, 19, 21, 22].map(found), [Some(None), Some(None), Some(Some(20)), None]);
        assert!(!it.covers(PartitionId(2), Offset(10)));
        let shorter = Arc::clone(&it).without_end(|_, base| base >= Offset(12));
        assert!(shorter.covers(P, Offset(11)) && !shorter.covers(P, Offset(12)));
    }

    #[test]
    fn who_goes_on_reads_further_each_time() {
        let ahead = Ahead::default();
        assert_eq!(ahead.records_behind(P, Offset(2)), 0);
        let mut asked = vec![0];
        for from in 0..10 {
            let records = ahead.records_behind(P, Offset(2 * from));
            asked.push(records);
            ahead.put(stretch(P, 2 * from, records, &[2 * from], 5));
        }
        assert_eq!(asked[..5], [0, 0, AHEAD_RECORDS_MIN, 2 * AHEAD_RECORDS_MIN, 4 * AHEAD_RECORDS_MIN]);
        assert_eq!(asked.last(), Some(&AHEAD_RECORDS_MAX));
        assert_eq!(ahead.kept.lock().len(), 1, "each made room for the next");
        assert_eq!(ahead.records_behind(P, Offset(21 + AHEAD_NEAR)), 0, "elsewhere it begins anew");
        assert_eq!(ahead.records_behind(PartitionId(2), Offset(20)), 0);
    }

    #[test]
    fn of_several_who_come_to_the_end_one_reads_on() {
        let ahead = Ahead::default();
        ahead.put(stretch(P, 0, 128, &[0], 5));
        assert_eq!(ahead.records_behind(P, Offset(2)), 256);
        assert_eq!(ahead.records_behind(P, Offset(4)), 0);
        ahead.put(stretch(P, 2, 256, &[2, 4, 6, 8], 5));
        // What another has read meanwhile for itself is known here.
        ahead.put(stretch(P, 4, 0, &[4], 5));
        assert!(ahead.get(P, Offset(8)).is_some());
        assert_eq!(ahead.kept.lock().len(), 1);
        assert_eq!(ahead.records_behind(P, Offset(10)), 512);
    }

    #[test]
    fn several_places_of_a_partition_are_gone_on_with_side_by_side() {
        let ahead = Ahead::default();
        let mut asked = [0; 3];
        for turn in 0..4 {
            for place in 0..3 {
                let from = 1_000 * place + 2 * turn;
                asked[place as usize] = ahead.records_behind(P, Offset(from));
                ahead.put(stretch(P, from, asked[place as usize], &[from], 5));
            }
        }
        assert_eq!(asked, [4 * AHEAD_RECORDS_MIN; 3]);
        assert_eq!(ahead.kept.lock().len(), 3);
    }

    #[test]
    fn the_stretches_used_last_are_kept_within_their_number_and_bytes() {
        let ahead = Ahead::default();
        let put = |partition, bytes| ahead.put(stretch(PartitionId(partition), 0, 0, &[0], bytes));
        let has = |partition| ahead.get(PartitionId(partition), Offset(0)).is_some();
        for partition in 0..AHEAD_STRETCHES as u64 {
            put(partition, 5);
        }
        assert!(has(0));
        put(99, 5);
        assert!(has(0) && !has(1) && has(2) && has(99));
        put(100, AHEAD_STRETCH_BYTES + 1);
        assert!(!has(100), "too large to be worth it");
        let large = AHEAD_STRETCH_BYTES - size_of::<StoredBatch>();
        for partition in 200..230 {
            put(partition, large);
        }
        let fit = AHEAD_BYTES / AHEAD_STRETCH_BYTES;
        assert_eq!((200..230).filter(|it| has(*it)).count(), fit);
        assert_eq!(ahead.kept.lock().len(), fit);
    }

    #[test]
    fn where_too_many_partitions_take_turns_nothing_is_read_ahead() {
        let ahead = Ahead::default();
        for turn in 0..3 {
            for partition in 0..=AHEAD_STRETCHES as u64 {
                assert_eq!(ahead.records_behind(PartitionId(partition), Offset(2 * turn)), 0);
                ahead.put(stretch(PartitionId(partition), 2 * turn, 0, &[2 * turn], 5));
            }
        }
    }
}
