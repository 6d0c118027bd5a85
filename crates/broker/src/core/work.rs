//! Looks at the log that may take long: the core asks, another thread looks, the finding comes back as a command.
//!
//! Pure but for the log. Adding a look: a `Work`, a `Finding`, an arm in `perform` and one in `Core::found`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Batch, Offset, PartitionId, Timestamp};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Log, ReadError, ReadLimit, Span, StoredBatch};

use super::Core;
use super::dead_letter::{DeadFound, Place};
use super::delay::{DueKey, PassAt, Passed};
use super::depth::Depths;
use super::length::{Chunk, joined};
use super::queues::{by_ttl, ledger_span};
use super::retention::{Look, Looked};
use super::rewind::AtTime;
use crate::by_time;
use crate::decoded::{Cursor, Decoded, Found, content_bytes, copy_out};
use crate::errors::{FetchError, Stopped};
use crate::headers;
use crate::ledger::{KeyedSpan, Keys, LedgerSpan, NO_TTL, Sought, key_hash};
use crate::limits::{
    DEAD_LOOK_BYTES, DELAY_LOOK_BATCHES, KEY_LOOK_BYTES, MOVE_RECORD_BYTES, SIZE_CHUNKS, UNKEYED_LOOK_BATCHES,
};
use crate::room::{Room, Size};
use crate::{LeaseId, MoveFilter, MoveId, Now, QueueId, TopicId};

/// A look that is to be made.
pub enum Work {
    /// Ages and sizes of a partition.
    Retention(Look),
    /// What is settled and need not be kept. Nothing comes back.
    Discard {
        /// In which partition.
        partition: PartitionId,
        /// What.
        runs: Vec<Range<Offset>>,
    },
    /// Space is to be freed. Nothing comes back.
    Reclaim {
        /// By the broker's clock.
        now: Timestamp,
    },
    /// The batches that a queue's window lacks.
    Spans {
        /// For which queue.
        queue: QueueId,
        /// Of which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// How many.
        count: usize,
        /// What lies behind is none of the queue's business yet.
        until: Offset,
        /// The queue needs the keys of the records, and so the batches themselves.
        keys: bool,
    },
    /// Records that are to be moved to a dead-letter queue.
    Dead {
        /// From which queue.
        queue: QueueId,
        /// Which, in rising order.
        places: Vec<(PartitionId, Offset)>,
    },
    /// Records of a move task, in no order.
    Redrive {
        /// Whose.
        task: MoveId,
        /// Which.
        leases: Vec<LeaseId>,
    },
    /// Records that a move task is to take by its filter.
    Seek {
        /// Whose.
        task: MoveId,
        /// In which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// What lies behind came after the task.
        until: Offset,
        /// How many.
        count: usize,
        /// Which; `None` is all.
        filter: Option<MoveFilter>,
    },
    /// Delayed records that are due.
    Delayed {
        /// Of which topic.
        topic: TopicId,
        /// For whom they are meant.
        generation: u64,
        /// The hidden partition.
        partition: PartitionId,
        /// Which, in the order in which they enter the topic.
        keys: Vec<(i64, u64)>,
    },
    /// When delayed records are due.
    DelayPass(PassAt),
    /// The first records at or after a time.
    Times {
        /// Of which partitions.
        partitions: Vec<PartitionId>,
        /// The time.
        at: Timestamp,
        /// What it is for.
        then: AtTime,
    },
    /// Bytes and ages behind the counts of queues. Answered from there.
    Depths(Depths),
    /// Bytes of what a queue holds.
    Sizes {
        /// Which queue.
        queue: QueueId,
        /// In which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// Up to where.
        until: Offset,
    },
}

/// What lies ahead of a queue.
pub enum Ahead {
    /// Batches, cut where the times to live change that their records bring along.
    Spans(Vec<LedgerSpan>),
    /// Batches with the hashes of their records' keys.
    Keys(Vec<KeyedSpan>),
    /// From here on nothing can be read: damage, which only a receiver can be told of.
    Damage(Offset, ReadError),
}

/// What was found.
pub enum Finding {
    /// See [`Work::Retention`].
    Retention(Looked),
    /// See [`Work::Spans`].
    Spans {
        /// For which queue.
        queue: QueueId,
        /// Of which partition.
        partition: PartitionId,
        /// From where on.
        from: Offset,
        /// The batches, and up to where they are all that there is.
        found: Result<(Ahead, Offset), ReadError>,
    },
    /// See [`Work::Dead`].
    Dead {
        /// From which queue.
        queue: QueueId,
        /// What was read.
        found: Vec<((PartitionId, Offset), DeadFound)>,
        /// What would have been too much for one look.
        rest: Vec<(PartitionId, Offset)>,
    },
    /// See [`Work::Redrive`].
    Redrive {
        /// Whose.
        task: MoveId,
        /// What was read, in rising order.
        found: Vec<(LeaseId, DeadFound)>,
        /// What would have been too much for one look.
        rest: Vec<LeaseId>,
    },
    /// See [`Work::Seek`].
    Sought {
        /// Whose.
        task: MoveId,
        /// In which partition.
        partition: PartitionId,
        /// What matches, in rising order, and up to where it is all.
        found: Result<(Vec<Sought>, Offset), ReadError>,
    },
    /// See [`Work::Delayed`].
    Delayed {
        /// Of which topic.
        topic: TopicId,
        /// For whom they are meant.
        generation: u64,
        /// What was read.
        found: Vec<((i64, u64), DeadFound)>,
        /// What would have been too much for one look.
        rest: Vec<(i64, u64)>,
    },
    /// See [`Work::DelayPass`].
    DelayPass(Passed),
    /// See [`Work::Times`].
    Times {
        /// By partition; `None` if all records are older.
        found: Result<Vec<(PartitionId, Option<Offset>)>, FetchError>,
        /// What it is for.
        then: AtTime,
    },
    /// See [`Work::Sizes`].
    Sizes {
        /// Which queue.
        queue: QueueId,
        /// In which partition.
        partition: PartitionId,
        /// In order.
        chunks: Vec<Chunk>,
    },
}

impl Work {
    /// Makes the look. Blocks on the disk. Gives what the core is to hear of it.
    #[must_use]
    pub fn perform(self, log: &dyn Log) -> Option<Finding> {
        match self {
            Self::Retention(look) => Some(Finding::Retention(look.perform(log))),
            Self::Discard { partition, runs } => {
                log.discard(partition, &runs);
                None
            }
            Self::Reclaim { now } => {
                // If the log has stopped, the next commit says so to everybody.
                if let Err(error) = log.reclaim(now) {
                    tracing::warn!(%error, "no space was reclaimed");
                }
                None
            }
            Self::Spans { queue, partition, from, count, until, keys } => {
                let found = if keys {
                    keyed_spans(log, partition, from, until)
                } else {
                    spans(log, partition, from, count, until)
                };
                Some(Finding::Spans { queue, partition, from, found })
            }
            Self::Dead { queue, places } => {
                let (found, rest) = dead(log, places);
                Some(Finding::Dead { queue, found, rest })
            }
            Self::Redrive { task, leases } => {
                let by_place: BTreeMap<Place, LeaseId> =
                    leases.into_iter().map(|lease| ((lease.partition, lease.offset), lease)).collect();
                let (found, rest) = dead(log, by_place.keys().copied().collect());
                let found = found.into_iter().filter_map(|(place, it)| Some((*by_place.get(&place)?, it)));
                let rest = rest.iter().filter_map(|place| by_place.get(place).copied()).collect();
                Some(Finding::Redrive { task, found: found.collect(), rest })
            }
            Self::Seek { task, partition, from, until, count, filter } => {
                let found = seek(log, partition, from..until, count, filter.as_ref());
                Some(Finding::Sought { task, partition, found })
            }
            Self::Delayed { topic, generation, partition, keys } => {
                let (found, rest) = delayed(log, partition, keys);
                Some(Finding::Delayed { topic, generation, found, rest })
            }
            Self::DelayPass(at) => Some(Finding::DelayPass(at.perform(log))),
            Self::Times { partitions, at, then } => {
                // This thread alone looks, at one batch at a time: it need not stand in line with the sessions.
                let room = Room::default();
                let found = partitions.into_iter().map(|partition| {
                    match by_time::offset_at(log, &room, partition, at) {
                        Ok(found) => Ok((partition, found.map(|found| found.offset))),
                        Err(FetchError::NotFound(_)) => Ok((partition, None)),
                        Err(error) => Err(error),
                    }
                });
                Some(Finding::Times { found: found.collect(), then })
            }
            Self::Depths(depths) => {
                depths.answer(log);
                None
            }
            Self::Sizes { queue, partition, from, until } => {
                let chunks = sizes(log, partition, from, until);
                Some(Finding::Sizes { queue, partition, chunks })
            }
        }
    }
}

impl Finding {
    /// Answers that the shard has stopped.
    pub(super) fn refuse(self, stopped: &Stopped) {
        match self {
            Self::Spans { .. }
            | Self::Dead { .. }
            | Self::Redrive { .. }
            | Self::Sought { .. }
            | Self::Delayed { .. }
            | Self::DelayPass(_)
            | Self::Sizes { .. }
            | Self::Retention(_) => {}
            Self::Times { then, .. } => then.refuse(stopped.clone().into()),
        }
    }
}

impl Core {
    pub(super) fn found(&mut self, now: Now, finding: Finding) {
        match finding {
            Finding::Retention(looked) => self.found_retention(now, looked),
            Finding::Spans { queue, partition, from, found } => {
                self.found_spans(now, queue, partition, from, found);
            }
            Finding::Dead { queue, found, rest } => self.found_dead(now, queue, found, rest),
            Finding::Redrive { task, found, rest } => self.found_redrive(now, task, found, rest),
            Finding::Sought { task, partition, found } => self.found_sought(now, task, partition, found),
            Finding::Delayed { topic, generation, found, rest } => {
                self.found_delayed(now, topic, generation, found, rest);
            }
            Finding::DelayPass(passed) => self.found_pass(now, passed),
            Finding::Times { found, then } => self.found_times(now, found, then),
            Finding::Sizes { queue, partition, chunks } => self.found_sizes(now, queue, partition, chunks),
        }
    }
}

fn spans(
    log: &dyn Log,
    partition: PartitionId,
    from: Offset,
    count: usize,
    until: Offset,
) -> Result<(Ahead, Offset), ReadError> {
    let mut spans = match log.spans(partition, from, count) {
        Err(error @ ReadError::Damaged { .. }) => return damage(log, partition, from, until, error),
        spans => spans?,
    };
    spans.retain(|span| span.base < until);
    // Fewer than were asked for are not all that there is: they may end where damage begins.
    let is_end = spans.is_empty();
    let mut cut = Vec::with_capacity(spans.len());
    let mut bytes = 0;
    for span in &spans {
        bytes += if span.timed { span.bytes as usize } else { 0 };
        if bytes > KEY_LOOK_BYTES && !cut.is_empty() {
            return Ok((Ahead::Spans(cut), span.base));
        }
        let is_timed = span.timed && !planted::is(Bug::TtlForgotten);
        let ttls = match is_timed.then(|| ttls(log, partition, span)) {
            Some(Ok(ttls)) => ttls,
            // What is damaged goes where all such records go, once somebody is to receive it.
            Some(Err(ReadError::Damaged { .. })) | None => Vec::new(),
            Some(Err(error)) => return Err(error),
        };
        cut.extend(by_ttl(ledger_span(span), &ttls));
    }
    let end = spans.last().map_or(from, |span| span.base.plus(u64::from(span.offsets)));
    Ok((Ahead::Spans(cut), if is_end { until } else { end }))
}

/// What is damaged from its first offset to the next batch that can be read. What lies between `from` and the damage holds no record.
fn damage(
    log: &dyn Log,
    partition: PartitionId,
    from: Offset,
    until: Offset,
    error: ReadError,
) -> Result<(Ahead, Offset), ReadError> {
    let at = match &error {
        ReadError::Damaged { at, .. } => from.max(*at),
        _ => from,
    };
    if at >= until {
        return Ok((Ahead::Spans(Vec::new()), until));
    }
    let behind = log.readable_behind(partition, at)?.unwrap_or(until);
    Ok((Ahead::Damage(at, error), behind.clamp(at.plus(1), until)))
}

/// Bytes of batches as they are stored, in so few chunks that they take little memory. What cannot be read is left out.
fn sizes(log: &dyn Log, partition: PartitionId, mut from: Offset, until: Offset) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    while from < until
        && let Ok(spans) = log.spans(partition, from, SIZE_CHUNKS / 2)
        && let Some(last) = spans.last()
    {
        from = last.base.plus(u64::from(last.offsets));
        let within = spans.iter().filter(|span| span.base < until);
        chunks.extend(within.map(|span| Chunk {
            base: span.base,
            offsets: u64::from(span.offsets),
            bytes: u64::from(span.bytes),
        }));
        if chunks.len() > SIZE_CHUNKS / 2 {
            chunks = chunks.chunks(2).map(joined).collect();
        }
    }
    chunks
}

/// The times to live that the records of a batch bring along; none for one that cannot be decoded.
fn ttls(log: &dyn Log, partition: PartitionId, span: &Span) -> Result<Vec<u64>, ReadError> {
    // By its last offset: the partition may start within it.
    let last = span.base.plus(u64::from(span.offsets.saturating_sub(1)));
    let Some(stored) = read_one(log, partition, last)? else { return Ok(Vec::new()) };
    let mut opened = Cursor::new(Arc::new(Decoded::open_any(partition, &stored)));
    let ttl_of = |at| match opened.find(stored.base.plus(at)) {
        Found::Record(record) => headers::ttl_ms(&record.headers).unwrap_or(NO_TTL),
        Found::Malformed | Found::Hole => NO_TTL,
    };
    Ok((0..u64::from(stored.offsets)).map(ttl_of).collect())
}

/// Batches with the keys in them. Those that the index knows to be without keys are not read; of the others a record
/// that cannot be decoded is in the group of those without a key, so that it comes to a receiver and goes where such records go.
fn keyed_spans(
    log: &dyn Log,
    partition: PartitionId,
    from: Offset,
    until: Offset,
) -> Result<(Ahead, Offset), ReadError> {
    // An error of the index comes again from the read, which tells what is damaged.
    let ahead = |count| log.spans(partition, from, count).unwrap_or_default();
    // Where keys have to be read the index is not walked in vain.
    let is_unkeyed = ahead(1).first().is_some_and(|span| span.unkeyed);
    let known = if is_unkeyed { ahead(UNKEYED_LOOK_BATCHES) } else { Vec::new() };
    let mut bytes = 0;
    let unkeyed = known.iter().take_while(|span| {
        bytes += span.bytes as usize;
        span.unkeyed && span.base < until && bytes <= KEY_LOOK_BYTES
    });
    let unkeyed: Vec<KeyedSpan> = unkeyed.map(without_keys).collect();
    if let Some(last) = unkeyed.last() {
        let to = last.span.base.plus(u64::from(last.span.offsets));
        return Ok((Ahead::Keys(unkeyed), to));
    }
    let batches = match log.read(partition, from, ReadLimit { bytes_max: KEY_LOOK_BYTES, until }) {
        Err(error @ ReadError::Damaged { .. }) => return damage(log, partition, from, until, error),
        batches => batches?,
    };
    let to = batches.last().map_or(until, |last| last.base.plus(u64::from(last.offsets)));
    let keyed = batches.iter().map(|stored| {
        let mut opened = Cursor::new(Arc::new(Decoded::open_any(partition, stored)));
        let keys = (0..u64::from(stored.offsets)).map(|at| match opened.find(stored.base.plus(at)) {
            Found::Record(record) => key_hash(record.key.as_deref()),
            Found::Malformed => key_hash(None),
            Found::Hole => 0,
        });
        let (base, offsets, append_time) = (stored.base, stored.offsets, stored.append_time);
        let span = LedgerSpan { base, offsets, append_time, skip: false, ttl_ms: NO_TTL };
        KeyedSpan::new(span, keys.collect::<Vec<u64>>())
    });
    Ok((Ahead::Keys(keyed.collect()), to))
}

fn without_keys(span: &Span) -> KeyedSpan {
    KeyedSpan { span: ledger_span(span), keys: Keys::All(key_hash(None)) }
}

/// Reads records one batch at a time, until it has become too much. What is found is copied out of its batch, so that
/// beside it no more than one batch is open, whatever a batch becomes when it is decompressed.
fn dead(log: &dyn Log, places: Vec<Place>) -> (Vec<(Place, DeadFound)>, Vec<Place>) {
    let mut found = Vec::with_capacity(places.len());
    let mut current: Option<(StoredBatch, Cursor)> = None;
    let mut bytes = 0;
    let mut places = places.into_iter();
    for (partition, offset) in places.by_ref() {
        if !current.as_ref().is_some_and(|(_, cursor)| cursor.batch().contains(partition, offset)) {
            drop(current.take());
            current = match read_one(log, partition, offset) {
                Ok(stored) => stored.map(|stored| {
                    bytes += stored.body.len();
                    let decoded = Decoded::open_any(partition, &stored);
                    (stored, Cursor::new(Arc::new(decoded)))
                }),
                Err(error) => {
                    found.push(((partition, offset), DeadFound::Unreadable(error)));
                    continue;
                }
            };
        }
        let what = match &mut current {
            None => DeadFound::Gone,
            Some((stored, cursor)) => match cursor.find(offset) {
                Found::Record(mut record) => {
                    let content = content_bytes(&record);
                    if content > MOVE_RECORD_BYTES {
                        bytes += stored.body.len();
                        DeadFound::Malformed(Some(raw(stored)))
                    } else {
                        bytes += content;
                        copy_out(std::iter::once(&mut record), content);
                        DeadFound::Record { record, packed: !Size::of(stored).is_plain() }
                    }
                }
                Found::Malformed => {
                    let is_first = offset == cursor.batch().first_malformed();
                    bytes += if is_first { stored.body.len() } else { 0 };
                    DeadFound::Malformed(is_first.then(|| raw(stored)))
                }
                Found::Hole => DeadFound::Gone,
            },
        };
        found.push(((partition, offset), what));
        if bytes >= DEAD_LOOK_BYTES {
            break;
        }
    }
    (found, places.collect())
}

/// Looks for records that match, at most so many, until it has read much. What is damaged, and what cannot be decoded, matches nothing.
fn seek(
    log: &dyn Log,
    partition: PartitionId,
    range: Range<Offset>,
    count: usize,
    filter: Option<&MoveFilter>,
) -> Result<(Vec<Sought>, Offset), ReadError> {
    let mut sought = Vec::new();
    let Range { start: from, end: until } = range;
    let batches = match log.read(partition, from, ReadLimit { bytes_max: DEAD_LOOK_BYTES, until }) {
        Ok(batches) => batches,
        Err(error @ ReadError::Damaged { .. }) => {
            tracing::warn!(%partition, %error, "a move passes over damage");
            let behind = log.readable_behind(partition, from)?;
            return Ok((sought, behind.map_or(until, |behind| behind.clamp(from.plus(1), until))));
        }
        Err(ReadError::OutOfRange { at, start, .. }) if at < start => return Ok((sought, start)),
        Err(ReadError::UnknownPartition(_)) => return Ok((sought, until)),
        Err(error) => return Err(error),
    };
    let mut to = if batches.is_empty() { until } else { from };
    for stored in &batches {
        let end = stored.base.plus(u64::from(stored.offsets)).min(until);
        let mut opened = Cursor::new(Arc::new(Decoded::open_any(partition, stored)));
        to = to.max(stored.base);
        while to < end {
            if sought.len() >= count {
                return Ok((sought, to));
            }
            let offset = to;
            to = to.plus(1);
            let Found::Record(record) = opened.find(offset) else { continue };
            if filter.is_none_or(|filter| filter.matches(&record)) {
                let (append_time, key) = (stored.append_time, key_hash(record.key.as_deref()));
                let ttl_ms = headers::ttl_ms(&record.headers).unwrap_or(NO_TTL);
                sought.push(Sought { offset, append_time, key, ttl_ms });
            }
        }
    }
    Ok((sought, to))
}

/// Reads delayed records in the order of their keys, until it has become too much. Their batches may take turns, so the
/// last few stay open.
fn delayed(
    log: &dyn Log,
    partition: PartitionId,
    keys: Vec<(i64, u64)>,
) -> (Vec<(DueKey, DeadFound)>, Vec<DueKey>) {
    let mut found = Vec::with_capacity(keys.len());
    let mut open: VecDeque<Cursor> = VecDeque::with_capacity(DELAY_LOOK_BATCHES);
    let mut bytes = 0;
    let mut keys = keys.into_iter();
    for key in keys.by_ref() {
        let offset = Offset(key.1);
        let mut index = open.iter().position(|it| it.batch().contains(partition, offset));
        if index.is_none() {
            match read_one(log, partition, offset) {
                Ok(Some(stored)) => {
                    bytes += stored.body.len();
                    open.truncate(DELAY_LOOK_BATCHES - 1);
                    open.push_front(Cursor::new(Arc::new(Decoded::open_any(partition, &stored))));
                    index = Some(0);
                }
                Ok(None) => {}
                Err(error) => {
                    found.push((key, DeadFound::Unreadable(error)));
                    continue;
                }
            }
        }
        let what = match index.map(|index| open[index].find(offset)) {
            Some(Found::Record(record)) => DeadFound::Record { record, packed: false },
            Some(Found::Malformed) => DeadFound::Malformed(None),
            Some(Found::Hole) | None => DeadFound::Gone,
        };
        found.push((key, what));
        if bytes >= DEAD_LOOK_BYTES {
            break;
        }
    }
    (found, keys.collect())
}

/// The batch that holds this offset; `None` if it is no longer there.
fn read_one(log: &dyn Log, partition: PartitionId, offset: Offset) -> Result<Option<StoredBatch>, ReadError> {
    let limit = ReadLimit { bytes_max: 1, until: offset.plus(1) };
    match log.read(partition, offset, limit) {
        Ok(batches) => Ok(batches.into_iter().next()),
        Err(ReadError::OutOfRange { at, start, .. }) if at < start => Ok(None),
        Err(ReadError::UnknownPartition(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A stored batch as it was sent.
fn raw(stored: &StoredBatch) -> Bytes {
    let prefix = Batch::prefix(stored.base, stored.body.len(), stored.leader_epoch);
    [&prefix[..], &stored.body[..]].concat().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use duolog_record::BatchBuilder;
    use duolog_storage::{Body, Commit, Durability, Entry, MemoryLog, Target};

    use super::*;

    const P: PartitionId = PartitionId(7);

    /// A batch of two records with the same key behind the others.
    fn append(log: &MemoryLog, key: Option<&[u8]>, unkeyed: bool) {
        let base = log.bounds(P).map_or(Offset(0), |bounds| bounds.end);
        let mut builder = BatchBuilder::new();
        (0..2).for_each(|_| builder.push(Timestamp(0), key, Some(b"x"), &[]));
        let body = Body { unkeyed, ..Body::of(&builder.build()) };
        let targets = vec![Target { partition: P, base, leader_epoch: 0 }];
        let commit = Commit {
            entries: vec![Entry { body, targets, key_hashes: Vec::new(), abort_first: None }],
            trims: Vec::new(),
            durability: Durability::Sync,
            append_time: Timestamp(5),
            may_use_reserve: false,
        };
        log.commit(commit, Box::new(|done| done.unwrap()));
    }

    /// Base and keys of what one look finds, and up to where it is all.
    fn look(log: &MemoryLog, from: u64, until: u64) -> (Vec<(u64, Vec<u64>)>, u64) {
        let (ahead, to) = keyed_spans(log, P, Offset(from), Offset(until)).unwrap();
        let Ahead::Keys(spans) = ahead else { panic!("no keys") };
        (spans.into_iter().map(|it| (it.span.base.0, keys_of(&it))).collect(), to.0)
    }

    fn keys_of(span: &KeyedSpan) -> Vec<u64> {
        (0..u64::from(span.span.offsets)).map_while(|at| span.keys.at(at)).collect()
    }

    #[test]
    fn batches_without_keys_are_not_read_for_their_keys() {
        let log = MemoryLog::new();
        let (none, a) = (key_hash(None), key_hash(Some(b"a")));
        append(&log, None, true);
        // The index is believed: were it read, its key would be found.
        append(&log, Some(b"a"), true);
        append(&log, Some(b"a"), false);
        append(&log, None, false);
        append(&log, None, true);
        let unread = vec![(0, vec![none; 2]), (2, vec![none; 2])];
        assert_eq!(look(&log, 0, 10), (unread.clone(), 4));
        assert_eq!(look(&log, 1, 10), (unread.clone(), 4));
        assert_eq!(look(&log, 0, 2), (unread[..1].to_vec(), 2));
        let read = vec![(4, vec![a; 2]), (6, vec![none; 2])];
        assert_eq!(look(&log, 4, 8), (read, 8));
        assert_eq!(look(&log, 8, 10), (vec![(8, vec![none; 2])], 10));
        assert_eq!(look(&log, 8, 8), (Vec::new(), 8));
    }
}
