//! Batches that queues have opened: decompressed and checked once, each record decoded when it is asked for.
//!
//! A batch of many small records would take a multiple of its bytes if all were decoded, so only a sparse index of them is
//! kept. Records are slices of the whole: whoever keeps a few of a large batch copies them out ([`copy_out`]).
//!
//! The cache is bounded in entries and bytes, beside the room for batches that are being opened; small batches are not
//! kept, because opening them costs less than finding them here. What is kept is immutable, so nothing ever needs to be
//! invalidated: offsets are never reused.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use duolog_record::{BatchError, Header, Mark, Offset, PartitionId, Record, Records};
use duolog_storage::StoredBatch;
use parking_lot::Mutex;

use crate::limits::{DECODED_CACHE_BATCHES, DECODED_CACHE_BYTES};
use crate::room::Size;

/// Fewer records than this are opened again each time.
const WORTH_KEEPING: usize = 16;
/// Every so many records their place is noted: a record is found within so many steps.
const INDEX_STEP: usize = 64;

/// A batch, opened.
#[derive(Debug)]
pub(crate) struct Decoded {
    partition: PartitionId,
    base: Offset,
    end: Offset,
    /// `None` if not even the first can be read.
    records: Option<Records>,
    /// Places of some records, in order of offsets, the first included.
    index: Vec<(Offset, Mark)>,
    count: usize,
    /// Behind the last record that can be read.
    sound_end: Offset,
    /// The rest cannot be decoded.
    is_malformed: bool,
}

/// What is known of one offset of a batch.
pub(crate) enum Found {
    Record(Record),
    /// The batch is nonsense here, although its checksum holds.
    Malformed,
    /// The batch has no record of this offset.
    Hole,
}

impl Decoded {
    /// Opens a stored batch of at most this size. One that is nonsense is opened up to where it is.
    ///
    /// # Errors
    /// `NeedsMore` if it is larger than that, and may be.
    pub(crate) fn open(
        partition: PartitionId,
        stored: &StoredBatch,
        size: &mut Size,
    ) -> Result<Self, NeedsMore> {
        let end = stored.base.plus(u64::from(stored.offsets));
        let mut decoded = Self {
            partition,
            base: stored.base,
            end,
            records: None,
            index: Vec::new(),
            count: 0,
            sound_end: stored.base,
            is_malformed: false,
        };
        match size.open(stored) {
            Ok(records) => decoded.walk(records),
            Err(BatchError::TooLarge { .. }) if size.grow() => return Err(NeedsMore),
            Err(_) => decoded.is_malformed = true,
        }
        Ok(decoded)
    }

    /// The same, however large it becomes.
    pub(crate) fn open_any(partition: PartitionId, stored: &StoredBatch) -> Self {
        let mut size = Size::of(stored);
        loop {
            if let Ok(decoded) = Self::open(partition, stored, &mut size) {
                return decoded;
            }
        }
    }

    fn walk(&mut self, mut records: Records) {
        self.records = Some(records.clone());
        self.index.reserve_exact((records.left() as usize).div_ceil(INDEX_STEP));
        loop {
            let mark = records.mark();
            match records.skip_record() {
                None => return,
                Some(Ok(offset)) if offset >= self.sound_end => {
                    if self.count.is_multiple_of(INDEX_STEP) {
                        self.index.push((offset, mark));
                    }
                    self.count += 1;
                    self.sound_end = offset.plus(1);
                }
                // What cannot be read, or goes back, and all behind it.
                Some(Ok(_) | Err(_)) => {
                    self.is_malformed = true;
                    return;
                }
            }
        }
    }

    pub(crate) fn contains(&self, partition: PartitionId, offset: Offset) -> bool {
        self.partition == partition && self.base <= offset && offset < self.end
    }

    /// The first offset behind what could be decoded.
    pub(crate) fn first_malformed(&self) -> Offset {
        self.sound_end
    }

    /// Bytes that it, or a record of it, keeps from being freed, about.
    pub(crate) fn bytes(&self) -> usize {
        let section = self.records.as_ref().map_or(0, Records::section_bytes);
        section + self.index.capacity() * size_of::<(Offset, Mark)>()
    }
}

/// The batch is larger than expected; what is expected now is in the `Size`.
#[derive(Debug)]
pub(crate) struct NeedsMore;

/// Goes through an opened batch, faster if forward.
#[derive(Debug)]
pub(crate) struct Cursor {
    batch: Arc<Decoded>,
    /// Behind the record of this offset.
    at: Option<(Offset, Records)>,
}

impl Cursor {
    pub(crate) fn new(batch: Arc<Decoded>) -> Self {
        Self { batch, at: None }
    }

    pub(crate) fn batch(&self) -> &Decoded {
        &self.batch
    }

    /// The record at `offset`.
    pub(crate) fn find(&mut self, offset: Offset) -> Found {
        if offset >= self.batch.sound_end {
            return if self.batch.is_malformed { Found::Malformed } else { Found::Hole };
        }
        let before = self.batch.index.partition_point(|(first, _)| *first <= offset);
        let Some((first, mark)) = before.checked_sub(1).and_then(|index| self.batch.index.get(index)) else {
            return Found::Hole;
        };
        let goes_on = self.at.take().filter(|(last, _)| (*first..offset).contains(last));
        let Some(mut records) = goes_on.map(|(_, records)| records).or_else(|| {
            let mut records = self.batch.records.clone()?;
            records.seek(*mark);
            Some(records)
        }) else {
            return Found::Hole;
        };
        loop {
            let mark = records.mark();
            match records.skip_record() {
                Some(Ok(at)) if at < offset => {}
                Some(Ok(at)) if at == offset => {
                    records.seek(mark);
                    let record = records.next();
                    self.at = Some((offset, records));
                    return record.and_then(Result::ok).map_or(Found::Hole, Found::Record);
                }
                _ => return Found::Hole,
            }
        }
    }
}

/// Bytes of a record's content.
pub(crate) fn content_bytes(record: &Record) -> usize {
    let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|it| it.key.len() + part(&it.value) + size_of::<Header>());
    part(&record.key) + part(&record.value) + headers.sum::<usize>()
}

/// Copies records out of what they are slices of, so that it can be freed: one allocation for all.
pub(crate) fn copy_out<'a>(records: impl Iterator<Item = &'a mut Record>, content: usize) {
    let mut room = BytesMut::with_capacity(content);
    let mut copy = |bytes: &mut Bytes| {
        room.extend_from_slice(bytes);
        *bytes = room.split().freeze();
    };
    for record in records {
        record.key.iter_mut().for_each(&mut copy);
        record.value.iter_mut().for_each(&mut copy);
        for header in &mut record.headers {
            copy(&mut header.key);
            header.value.iter_mut().for_each(&mut copy);
        }
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
        if decoded.count < WORTH_KEEPING {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use duolog_record::{BatchBuilder, Codec, Timestamp};

    use super::*;

    fn open(body: Bytes, offsets: u32) -> Cursor {
        let base = Offset(1_000);
        let stored = StoredBatch { base, offsets, leader_epoch: 0, append_time: Timestamp(1), body };
        Cursor::new(Arc::new(Decoded::open_any(PartitionId(1), &stored)))
    }

    fn value_at(cursor: &mut Cursor, offset: u64) -> Option<u32> {
        match cursor.find(Offset(offset)) {
            Found::Record(record) => {
                assert_eq!(record.offset, Offset(offset));
                Some(u32::from_be_bytes(record.value.unwrap()[..].try_into().unwrap()))
            }
            Found::Malformed | Found::Hole => None,
        }
    }

    #[test]
    fn records_are_found_forward_backward_and_far_apart() {
        let mut builder = BatchBuilder::new().codec(Codec::Lz4);
        for n in 0..1_000_u32 {
            builder.push(Timestamp(1), None, Some(&n.to_be_bytes()), &[]);
        }
        let mut cursor = open(builder.build().body(), 1_000);
        for n in [0, 1, 2, 63, 64, 65, 999, 998, 500, 501, 700, 3, 3] {
            assert_eq!(value_at(&mut cursor, 1_000 + n), Some(n as u32));
        }
        assert!(matches!(cursor.find(Offset(2_000)), Found::Hole));
        assert_eq!(cursor.batch().index.len(), 16);
    }

    #[test]
    fn what_stands_before_the_damage_is_found_and_the_rest_is_malformed() {
        let mut builder = BatchBuilder::new();
        for n in 0..3_u32 {
            builder.push(Timestamp(1), None, Some(&n.to_be_bytes()), &[]);
        }
        let mut body = builder.build().body().to_vec();
        // The last record's number of headers.
        *body.last_mut().unwrap() = 2;
        let mut cursor = open(body.into(), 3);
        assert_eq!(value_at(&mut cursor, 1_001), Some(1));
        assert!(matches!(cursor.find(Offset(1_002)), Found::Malformed));
        assert_eq!(cursor.batch().first_malformed(), Offset(1_002));
    }

    #[test]
    fn a_copied_record_no_longer_shares_the_batch() {
        let whole = Bytes::from(vec![7; 1 << 20]);
        let header = Header { key: whole.slice(..3), value: Some(whole.slice(3..5)) };
        let mut record = Record {
            offset: Offset(1),
            timestamp: Timestamp(1),
            key: Some(whole.slice(..1)),
            value: Some(whole.slice(1..9)),
            headers: vec![header],
        };
        let before = record.clone();
        copy_out(std::iter::once(&mut record), content_bytes(&before));
        assert_eq!(record, before);
        drop(before);
        assert!(whole.is_unique());
    }
}
