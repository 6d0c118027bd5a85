//! What one fetch has gathered so far, partition by partition, within its limits.
//!
//! Invariant: the bytes gathered exceed `bytes_max` only by one batch, the first of all, without which a consumer could
//! never pass a batch larger than its limits. Source: KIP-74.

use std::sync::Arc;

use duolog_broker::errors::FetchError;
use duolog_broker::{ReadAsk, Session};
use duolog_net::{Budget, Reservation};
use duolog_record::{Batch, Codec, Offset, PREFIX_BYTES, PartitionId};
use duolog_storage::StoredBatch;

use super::Ask;
use super::session::{TOPIC_IDS_FROM, Wanted};
use crate::ErrorCode;
use crate::api::Client;
use crate::api::lookup::{self, TopicRef, check_epoch};
use crate::catch_up::{CatchUp, Turn};
use crate::codec::messages::FetchPartition;
use crate::error::of_fetch;
use crate::limits;

/// One partition of the request.
pub(super) struct Slice {
    pub state: Result<Reading, ErrorCode>,
}

/// A partition that is being read.
pub(super) struct Reading {
    partition: PartitionId,
    /// Next offset to read.
    next: Offset,
    /// What the client takes of this partition.
    bytes_max: usize,
    bytes: usize,
    /// No more fits, by the partition's own limit or by the request's.
    full: bool,
    pub batches: Vec<StoredBatch>,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub last_stable: Offset,
}

/// All partitions of the request, in its order.
pub(super) struct Gathered {
    session: Session,
    pub ask: Ask,
    pub slices: Vec<Slice>,
    pub bytes: usize,
    reserved: Reservation,
    /// What `bytes` may become in the next read: memory for it is reserved.
    granted: usize,
    budget: Budget,
    catch_up: Arc<CatchUp>,
    /// The first batch, which has to be given, needs so many bytes, and they are not free.
    short: Option<usize>,
}

impl Gathered {
    pub fn new(client: &Client, ask: Ask, wanted: &Wanted) -> Self {
        let session = client.session.clone();
        let catalog = session.catalog();
        let mut slices = Vec::new();
        for topic in &wanted.topics {
            let found =
                TopicRef::at(ask.version, TOPIC_IDS_FROM, &topic.topic, topic.topic_id).find(&catalog);
            for partition in &topic.partitions {
                let asked = &partition.asked;
                let state = found
                    .and_then(|topic| lookup::partition(topic, asked.partition))
                    .and_then(|partition| Reading::new(&session, partition, asked));
                slices.push(Slice { state });
            }
        }
        Self {
            session,
            ask,
            slices,
            bytes: 0,
            reserved: Reservation::default(),
            granted: 0,
            budget: client.budget.clone(),
            catch_up: Arc::clone(&client.catch_up),
            short: None,
        }
    }

    /// Looks at the ends: how many bytes the next read may bring at most, `None` if there is nothing to read.
    pub fn look(&mut self) -> Option<usize> {
        let mut want = None;
        for slice in &mut self.slices {
            let Ok(reading) = &mut slice.state else { continue };
            if reading.full {
                continue;
            }
            match self.session.bounds(reading.partition) {
                None => slice.state = Err(ErrorCode::UnknownTopicOrPartition),
                Some(bounds) if reading.next < bounds.start || reading.next > bounds.end => {
                    // What was gathered is worth more than the error, which the next request will meet.
                    reading.full = true;
                    if reading.bytes == 0 {
                        slice.state = Err(ErrorCode::OffsetOutOfRange);
                    }
                }
                Some(bounds) => {
                    reading.log_start = bounds.start;
                    reading.high_watermark = bounds.end;
                    reading.last_stable = bounds.end;
                    if reading.next < bounds.end {
                        *want.get_or_insert(0) += reading.bytes_max.saturating_sub(reading.bytes);
                    }
                }
            }
        }
        want.map(|want: usize| want.min(self.ask.bytes_max.saturating_sub(self.bytes)))
    }

    /// Reserves `want` bytes for the next read, or less if memory is short: a consumer then gets a smaller answer.
    pub async fn reserve(&mut self, want: usize) {
        let budget = &self.budget;
        let mut size = want.clamp(1, (budget.bytes_max() / limits::FETCH_BUDGET_PART).max(1));
        let granted = loop {
            match budget.try_reserve(size) {
                Ok(Some(reserved)) => break reserved,
                _ if size > limits::FETCH_LEAST_BYTES => size = (size / 2).max(limits::FETCH_LEAST_BYTES),
                // Nothing is read while this waits; what was gathered before stays reserved.
                _ => match budget.reserve(size).await {
                    Ok(reserved) => break reserved,
                    Err(_) => break Reservation::default(),
                },
            }
        };
        self.reserved.merge(granted);
        self.granted = self.bytes + size;
    }

    /// True if the next read finds everything in memory.
    pub fn is_cached(&self) -> bool {
        let readings = self.slices.iter().filter_map(|slice| slice.state.as_ref().ok());
        readings
            .filter(|reading| reading.is_behind())
            .all(|reading| self.session.is_cached(reading.partition, reading.next))
    }

    /// Waits for a turn to read from the disk.
    pub async fn turn(&self) -> Turn {
        let bytes = self.granted.saturating_sub(self.bytes);
        let look = || (self.session.clock().now().monotonic, self.session.written());
        self.catch_up.turn(look, bytes).await
    }

    /// Reads on in every partition that has more. False if it must be done again once `reserve_short` has found memory for
    /// the first batch.
    pub fn read(&mut self) -> bool {
        for slice in &mut self.slices {
            let Ok(reading) = &mut slice.state else { continue };
            if !reading.is_behind() {
                continue;
            }
            let room = self.granted.min(self.ask.bytes_max).saturating_sub(self.bytes);
            let (is_first, next) = (self.bytes == 0, reading.next);
            match reading.read(&self.session, self.ask, room, is_first) {
                Ok(bytes) if is_first && bytes > self.granted => match self.budget.try_reserve(bytes) {
                    Ok(Some(reserved)) => {
                        (self.reserved, self.granted, self.bytes) = (reserved, bytes, bytes);
                    }
                    Ok(None) | Err(_) => {
                        reading.forget(next);
                        self.short = Some(bytes);
                        break;
                    }
                },
                Ok(bytes) => self.bytes += bytes,
                Err(code) => slice.state = Err(code),
            }
        }
        self.reserved.shrink_to(self.bytes);
        self.short.is_none()
    }

    /// Waits for memory for a first batch that is larger than what was reserved, or for as much as there ever is; holds none
    /// meanwhile.
    pub async fn reserve_short(&mut self) {
        if let Some(bytes) = self.short.take() {
            self.reserved = Reservation::default();
            let size = bytes.min(Budget::largest(self.budget.bytes_max()));
            self.reserved = self.budget.reserve(size).await.unwrap_or_default();
            self.granted = bytes;
        }
    }

    /// True if the answer need not wait: enough bytes, nothing more that fits, or an error to tell.
    pub fn is_enough(&self) -> bool {
        self.bytes >= self.ask.bytes_min
            || self.slices.is_empty()
            || self.slices.iter().any(|slice| match &slice.state {
                Err(_) => true,
                Ok(reading) => reading.full,
            })
    }

    /// Each partition and the offset beyond which something new can be read.
    pub fn beyond(&self) -> Vec<(PartitionId, Offset)> {
        let readings = self.slices.iter().filter_map(|slice| slice.state.as_ref().ok());
        readings.map(|reading| (reading.partition, reading.next)).collect()
    }

    pub fn into_parts(self) -> (Ask, Vec<Slice>, Reservation) {
        (self.ask, self.slices, self.reserved)
    }
}

impl Reading {
    fn new(session: &Session, partition: PartitionId, asked: &FetchPartition) -> Result<Self, ErrorCode> {
        check_epoch(session, partition, asked.current_leader_epoch)?;
        let next = u64::try_from(asked.fetch_offset).map_err(|_| ErrorCode::OffsetOutOfRange)?;
        Ok(Self {
            partition,
            next: Offset(next),
            bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or_default(),
            bytes: 0,
            full: false,
            batches: Vec::new(),
            log_start: Offset(0),
            high_watermark: Offset(0),
            last_stable: Offset(0),
        })
    }

    /// As if nothing had been read from `next` on.
    fn forget(&mut self, next: Offset) {
        (self.next, self.bytes, self.full) = (next, 0, false);
        self.batches.clear();
    }

    fn is_behind(&self) -> bool {
        !self.full && self.next < self.high_watermark
    }

    /// Reads on within `room`; gives the bytes that came. The `first` batch of an answer may break every limit.
    fn read(&mut self, session: &Session, ask: Ask, room: usize, first: bool) -> Result<usize, ErrorCode> {
        let room = room.min(self.bytes_max.saturating_sub(self.bytes));
        if room == 0 && !first {
            self.full = true;
            return Ok(0);
        }
        let read = session.read(ReadAsk {
            partition: self.partition,
            from: self.next,
            bytes_max: room,
            isolation: ask.isolation,
        });
        let mut slice = match read {
            Ok(slice) => slice,
            Err(_) if self.bytes > 0 => {
                self.full = true;
                return Ok(0);
            }
            Err(error) => return Err(code_of(self.partition, &error)),
        };
        let mut bytes = bytes_of(&slice.batches);
        // A read brings one batch in any case.
        if bytes > room && !first {
            slice.batches.clear();
            bytes = 0;
            self.full = true;
        }
        if ask.version < 10 && slice.batches.iter().any(is_zstd) {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        self.log_start = slice.log_start;
        self.high_watermark = slice.high_watermark;
        self.last_stable = slice.last_stable;
        if let Some(last) = slice.batches.last() {
            self.next = last.base.plus(u64::from(last.offsets));
        }
        self.bytes += bytes;
        // Something is left although it was asked for: it does not fit.
        self.full |= self.bytes >= self.bytes_max || self.next < self.high_watermark;
        if self.batches.is_empty() {
            self.batches = slice.batches;
        } else {
            self.batches.append(&mut slice.batches);
        }
        Ok(bytes)
    }
}

fn code_of(partition: PartitionId, error: &FetchError) -> ErrorCode {
    if let FetchError::Storage(error) = error {
        tracing::warn!(%partition, %error, "a consumer cannot read");
    }
    of_fetch(error)
}

fn bytes_of(batches: &[StoredBatch]) -> usize {
    batches.iter().map(|batch| PREFIX_BYTES + batch.body.len()).sum()
}

fn is_zstd(batch: &StoredBatch) -> bool {
    Batch::header_of_body(batch.base, batch.leader_epoch, &batch.body)
        .is_ok_and(|header| header.codec == Codec::Zstd)
}
