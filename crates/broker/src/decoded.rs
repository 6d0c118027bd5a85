//! Batches that queues have opened lately, so that a batch is decompressed and decoded once, not once per receive.
//!
//! Invariant: bounded in entries and bytes; small batches are not kept, because opening them costs less than finding
//! them here. What is kept is immutable, so nothing ever needs to be invalidated: offsets are never reused.

use std::collections::VecDeque;
use std::sync::Arc;

use duolog_record::{Batch, Offset, PartitionId, Record};
use duolog_storage::StoredBatch;
use parking_lot::Mutex;

use crate::limits::{DECODED_BATCH_BYTES, DECODED_CACHE_BATCHES, DECODED_CACHE_BYTES};

/// Fewer records than this are decoded again each time.
const WORTH_KEEPING: usize = 16;

/// A batch, opened.
#[derive(Debug)]
pub(crate) struct Decoded {
    partition: PartitionId,
    base: Offset,
    end: Offset,
    /// In order of offsets; if it is malformed, those before the damage.
    records: Vec<Record>,
    /// The rest cannot be decoded.
    is_malformed: bool,
}

/// What is known of one offset of a batch.
pub(crate) enum Found<'a> {
    Record(&'a Record),
    /// The batch is nonsense here, although its checksum holds.
    Malformed,
    /// The batch has no record of this offset.
    Hole,
}

impl Decoded {
    /// Opens a stored batch; never fails, but remembers where it had to stop.
    pub(crate) fn open(partition: PartitionId, stored: &StoredBatch) -> Self {
        let end = stored.base.plus(u64::from(stored.offsets));
        let mut decoded =
            Self { partition, base: stored.base, end, records: Vec::new(), is_malformed: false };
        let records = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body)
            .and_then(|batch| batch.records(stored.base, DECODED_BATCH_BYTES));
        match records {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) => decoded.records.push(record),
                        Err(_) => decoded.is_malformed = true,
                    }
                }
            }
            Err(_) => decoded.is_malformed = true,
        }
        decoded
    }

    pub(crate) fn contains(&self, partition: PartitionId, offset: Offset) -> bool {
        self.partition == partition && self.base <= offset && offset < self.end
    }

    /// The record at `offset`.
    pub(crate) fn find(&self, offset: Offset) -> Found<'_> {
        match self.records.binary_search_by_key(&offset, |record| record.offset) {
            Ok(index) => Found::Record(&self.records[index]),
            Err(_) if self.is_malformed && self.first_malformed() <= offset => Found::Malformed,
            Err(_) => Found::Hole,
        }
    }

    #[cfg(test)]
    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The first offset behind what could be decoded.
    pub(crate) fn first_malformed(&self) -> Offset {
        self.records.last().map_or(self.base, |record| record.offset.plus(1))
    }

    /// Bytes that it keeps from being freed, about.
    fn bytes(&self) -> usize {
        let part = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let payload = |it: &Record| {
            let headers: usize = it.headers.iter().map(|header| header.key.len() + part(&header.value)).sum();
            part(&it.key) + part(&it.value) + headers + it.headers.len() * size_of::<duolog_record::Header>()
        };
        self.records.iter().map(payload).sum::<usize>() + self.records.len() * size_of::<Record>()
    }
}

/// The latest of them.
#[derive(Default)]
pub(crate) struct DecodedCache {
    /// Latest last.
    kept: Mutex<VecDeque<(Arc<Decoded>, usize)>>,
}

impl DecodedCache {
    /// The opened batch that holds this offset, if it is kept.
    pub(crate) fn get(&self, partition: PartitionId, offset: Offset) -> Option<Arc<Decoded>> {
        let kept = self.kept.lock();
        let found = kept.iter().rev().find(|(it, _)| it.contains(partition, offset))?;
        Some(Arc::clone(&found.0))
    }

    /// Keeps an opened batch, if it is worth it; the oldest make room.
    pub(crate) fn put(&self, decoded: &Arc<Decoded>) {
        if decoded.records.len() < WORTH_KEEPING {
            return;
        }
        let bytes = decoded.bytes();
        if bytes > DECODED_CACHE_BYTES {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.iter().any(|(it, _)| it.contains(decoded.partition, decoded.base)) {
            return;
        }
        let mut total: usize = kept.iter().map(|(_, bytes)| bytes).sum::<usize>() + bytes;
        while total > DECODED_CACHE_BYTES || kept.len() >= DECODED_CACHE_BATCHES {
            let Some((_, bytes)) = kept.pop_front() else {
                break;
            };
            total -= bytes;
        }
        kept.push_back((Arc::clone(decoded), bytes));
    }
}
