//! The records behind grants: batches read several at a time, opened one at a time, each within the room there is. A backlog
//! is read further than what was granted, for those who receive next (`ahead`).
//!
//! Invariant: `taken` covers what was read, what is open and what was kept of it, each before it is allocated.

use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use duolog_storage::{ReadError, ReadLimit};

use crate::ahead::Stretch;
use crate::broker::Inner;
use crate::core::Granted;
use crate::decoded::{Cursor, Decoded, Found, content_bytes, copy_out};
use crate::ledger::Grant;
use crate::limits::{LEASE_READ_BYTES, LEASE_READ_GAP};
use crate::room::{Size, Taken};
use crate::{LeaseId, Leased};

/// What became of the grants.
#[derive(Default)]
pub(super) struct Fetched {
    pub leased: Vec<Leased>,
    /// Nonsense under a valid checksum.
    pub malformed: Vec<LeaseId>,
    /// No longer, or never, in the log.
    pub gone: Vec<LeaseId>,
    pub unreadable: Option<ReadError>,
    /// Bytes of the records in `leased`.
    pub content: usize,
    /// So many grants were seen to; the rest is left for another call, because the answer is large enough or there is no
    /// room for more.
    pub grants: usize,
    /// Room that the records keep.
    _taken: Taken,
}

/// A fetch under way.
pub(super) struct Fetch {
    grants_max: usize,
    bytes_max: usize,
    fetched: Fetched,
    source: Source,
}

/// There is no room for the next batch; there may be once so many bytes are free.
struct Needs(usize);

impl Fetch {
    /// Of the first `grants_max` grants, up to `bytes_max` bytes of records and the one that reaches them.
    pub(super) fn new(grants_max: usize, bytes_max: usize) -> Self {
        let leased = Vec::with_capacity(grants_max);
        let fetched = Fetched { leased, ..Fetched::default() };
        Self { grants_max, bytes_max, fetched, source: Source::default() }
    }

    /// True if everything can be had without the disk.
    pub(super) fn is_at_hand(&mut self, inner: &Inner, granted: &Granted) -> bool {
        granted.grants().iter().all(|grant| self.source.is_at_hand(inner, grant.partition, grant.offset))
    }

    /// Goes as far as it can. Gives how much room it needs to begin with, if it has nothing yet and finds none.
    pub(super) fn run(&mut self, inner: &Inner, granted: &Granted) -> Option<usize> {
        let Self { fetched, source, .. } = self;
        let grants = &granted.grants()[..self.grants_max];
        while let Some(grant) = grants.get(fetched.grants)
            && fetched.content < self.bytes_max
        {
            let id = granted.id(grant);
            match source.seek(inner, &grants[fetched.grants..], &mut fetched.leased) {
                Err(Needs(_)) if !fetched.leased.is_empty() => break,
                Err(Needs(bytes)) => {
                    source.close();
                    return Some(bytes);
                }
                // It goes back, so that the next who receives is told of it.
                Ok(Err(_)) if !fetched.leased.is_empty() => break,
                Ok(Err(error)) => {
                    tracing::warn!(queue = id.queue.0, %error, "a leased record cannot be read");
                    fetched.unreadable = Some(error);
                    // What stands behind it may be of its key, and comes with another call if it is not.
                    fetched.grants += 1;
                    break;
                }
                Ok(Ok(false)) => fetched.gone.push(id),
                Ok(Ok(true)) => match source.find(grant.offset) {
                    Found::Record(record) => {
                        fetched.content += content_bytes(&record);
                        fetched.leased.push(Leased {
                            id,
                            partition_index: grant.partition_index,
                            attempts: grant.attempt,
                            first_leased_at: grant.first_leased_at,
                            record,
                        });
                    }
                    Found::Malformed => fetched.malformed.push(id),
                    Found::Hole => fetched.gone.push(id),
                },
            }
            fetched.grants += 1;
        }
        source.finish(&mut fetched.leased);
        None
    }

    /// Goes on with room that was waited for.
    pub(super) fn resume(&mut self, taken: Taken) {
        self.source.taken = taken;
    }

    pub(super) fn into_fetched(mut self) -> Fetched {
        self.source.close();
        self.source.taken.shrink_to(self.source.kept);
        self.fetched._taken = self.source.taken;
        self.fetched
    }
}

/// The batches of one fetch.
#[derive(Default)]
struct Source {
    taken: Taken,
    /// Room that the records of earlier batches keep.
    kept: usize,
    /// What was read last.
    read: Option<Arc<Stretch>>,
    /// What others have read along, to be gone on with: it is not forgotten between the question and the fetch.
    next: Option<Arc<Stretch>>,
    /// Bytes that were allocated for what was read last, or that it keeps from being freed.
    chunk: usize,
    current: Option<Open>,
    /// How large the next batch may become, if it was larger than expected.
    expected: Option<Size>,
}

/// The batch that is open.
struct Open {
    cursor: Cursor,
    /// Where its first record stands among those fetched.
    first: usize,
    /// Bytes that its records keep from being freed.
    backing: usize,
}

impl Source {
    /// Opens the batch that holds the first grant's record; false if it is no longer there.
    fn seek(
        &mut self,
        inner: &Inner,
        grants: &[Grant],
        leased: &mut [Leased],
    ) -> Result<Result<bool, ReadError>, Needs> {
        let Some(&Grant { partition, offset, .. }) = grants.first() else { return Ok(Ok(false)) };
        if self.current.as_ref().is_some_and(|open| open.cursor.batch().contains(partition, offset)) {
            return Ok(Ok(true));
        }
        self.finish(leased);
        if let Some(batch) = inner.shared.decoded.get(partition, offset) {
            let backing = batch.bytes();
            self.make_room(inner, backing + backing / 2)?;
            self.current = Some(Open { cursor: Cursor::new(batch), first: leased.len(), backing });
            return Ok(Ok(true));
        }
        if !self.read.as_ref().is_some_and(|it| it.covers(partition, offset)) {
            match self.read(inner, partition, offset, grants)? {
                Ok(()) => {}
                // Trimmed or deleted after it was leased.
                Err(ReadError::OutOfRange { at, start, .. }) if at < start => return Ok(Ok(false)),
                Err(ReadError::UnknownPartition(_)) => return Ok(Ok(false)),
                Err(error) => return Ok(Err(error)),
            }
        }
        let Some(stored) = self.read.as_ref().and_then(|it| it.find(offset)).cloned() else {
            return Ok(Ok(false));
        };
        let mut size = self.expected.unwrap_or_else(|| Size::of(&stored));
        let batch = loop {
            self.expected = Some(size);
            self.make_room(inner, size.room())?;
            if let Ok(batch) = Decoded::open(partition, &stored, &mut size) {
                break Arc::new(batch);
            }
        };
        self.expected = None;
        inner.shared.decoded.put(&batch);
        // Records that are not decompressed are slices of all that was read together.
        let backing = batch.bytes().max(if size.is_plain() { self.chunk } else { 0 });
        self.current = Some(Open { cursor: Cursor::new(batch), first: leased.len(), backing });
        Ok(Ok(true))
    }

    fn is_at_hand(&mut self, inner: &Inner, partition: PartitionId, offset: Offset) -> bool {
        if self.next.as_ref().is_some_and(|it| it.covers(partition, offset))
            || inner.log.is_cached(partition, offset)
        {
            return true;
        }
        if let Some(next) = inner.shared.ahead.get(partition, offset) {
            self.next = Some(next);
            return true;
        }
        inner.shared.decoded.get(partition, offset).is_some()
    }

    /// Has the batches of these grants from here on, as far as they are in one partition and lie close together.
    fn read(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
        offset: Offset,
        grants: &[Grant],
    ) -> Result<Result<(), ReadError>, Needs> {
        (self.chunk, self.read) = (0, None);
        let next = self.next.take().filter(|it| it.covers(partition, offset));
        let is_cached = next.is_none() && inner.log.is_cached(partition, offset);
        if !is_cached && let Some(read) = next.or_else(|| inner.shared.ahead.get(partition, offset)) {
            self.make_room(inner, read.bytes())?;
            (self.chunk, self.read) = (read.bytes(), Some(read));
            return Ok(Ok(()));
        }
        let mut ahead = 0;
        if !is_cached {
            let bytes = match inner.log.spans(partition, offset, 1) {
                Ok(spans) => spans.first().map_or(0, |span| span.bytes as usize).max(LEASE_READ_BYTES),
                Err(error) => return Ok(Err(error)),
            };
            self.make_room(inner, bytes)?;
            self.chunk = bytes;
            ahead = inner.shared.ahead.records_behind(partition, offset);
        }
        let read = |ahead: u64| {
            let limit = ReadLimit { bytes_max: LEASE_READ_BYTES, until: near_end(grants).plus(ahead) };
            let batches = inner.log.read(partition, offset, limit)?;
            Ok(Arc::new(Stretch::new(partition, offset, ahead, batches)))
        };
        // What cannot be read further on does not keep anybody from what was granted.
        let read = match read(ahead) {
            Err(_) if ahead > 0 => read(0),
            read => read,
        };
        Ok(read.map(|read| {
            if !is_cached {
                // What is in memory anyway is not kept twice.
                let known =
                    Arc::clone(&read).without_end(|partition, base| inner.log.is_cached(partition, base));
                inner.shared.ahead.put(known);
            }
            self.read = Some(read);
        }))
    }

    fn find(&mut self, offset: Offset) -> Found {
        self.current.as_mut().map_or(Found::Hole, |open| open.cursor.find(offset))
    }

    /// Closes the batch that is open. If little of it was fetched, that is copied, so that the rest can be freed.
    fn finish(&mut self, leased: &mut [Leased]) {
        if let Some(open) = self.current.take() {
            let records = &mut leased[open.first..];
            let content: usize = records.iter().map(|it| content_bytes(&it.record)).sum();
            if open.backing / 2 > content {
                copy_out(records.iter_mut().map(|it| &mut it.record), content);
                self.kept += content;
            } else {
                self.kept += open.backing;
            }
        }
        self.taken.shrink_to(self.kept + self.chunk);
    }

    /// Frees all that is read or open.
    fn close(&mut self) {
        self.current = None;
        self.read = None;
        self.chunk = 0;
        self.taken.shrink_to(self.kept);
    }

    fn make_room(&mut self, inner: &Inner, bytes: usize) -> Result<(), Needs> {
        let all = self.kept + self.chunk + bytes;
        if inner.shared.room.try_grow(&mut self.taken, all) { Ok(()) } else { Err(Needs(all)) }
    }
}

/// Behind the last of these grants that lies near those before it, in the partition of the first.
fn near_end(grants: &[Grant]) -> Offset {
    let is_near = |(one, next): &(&Grant, &Grant)| {
        one.partition == next.partition && next.offset.0.saturating_sub(one.offset.0) <= LEASE_READ_GAP
    };
    let near = grants.iter().zip(grants.iter().skip(1)).take_while(is_near).count();
    grants.get(near).map_or(Offset(0), |last| last.offset.plus(1))
}
