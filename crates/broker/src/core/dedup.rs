//! Deduplication windows: which idempotency keys were appended lately, and where.
//!
//! Invariant: from the append of a record until the window is over its key is known, whatever comes between: a restart,
//! a settlement, a purge. Keys that are appended in one group stand in one chunk, which is written with the group,
//! never changes, and goes as a whole when its window is over. A refused group takes its chunks with it.
//! A window runs on the monotonic clock; over a restart, by the broker's wall time.
//! Source: SQS Developer Guide, "exactly-once processing": a message sent again is accepted and not delivered again.

mod table;

use duolog_record::{Batch, BatchBuilder, Offset, PartitionId, Timestamp};

pub(super) use self::table::{Chunk, Dedup};
use super::Core;
use super::appends::{Placed, Waiting};
use super::group::Group;
use super::producers::Sequenced;
use super::routed::Several;
use crate::errors::AppendError;
use crate::idempotency::{BatchKeys, ScopedKey};
use crate::limits::{DECODED_BATCH_BYTES, GROUP_BYTES};
use crate::state::Owner;
use crate::{DedupPolicy, Now, TopicId};

/// Where a record with a key is.
pub(super) type Place = (PartitionId, Offset);

/// What is to be done with a batch that has keys.
pub(super) enum Keyed {
    /// Nothing of it was there before.
    New,
    /// This is what was not.
    Rest(Batch, BatchKeys),
    /// All of it was there; the first of its records at this offset.
    Duplicate(Offset),
}

impl Core {
    fn dedup_of(&self, topic: TopicId) -> Option<DedupPolicy> {
        self.catalog.topic_by_id(topic)?.policy.deduplicates()
    }

    /// The first append of a key, if the topic deduplicates and the window is not over.
    pub(super) fn first_append(&self, now: Now, topic: TopicId, key: Option<&ScopedKey>) -> Option<Place> {
        self.dedup_of(topic)?;
        self.dedup.find(now.monotonic, topic, key?)
    }

    /// True if one of the keys is that of a record in a group in flight, or the batch was appended by one: the answer must
    /// wait for its fate.
    pub(super) fn rests_on_flight(&self, now: Now, group: &Group, waiting: &Waiting) -> bool {
        if self.in_flight.is_empty() {
            return false;
        }
        let is_in_flight = |topic: TopicId, key: Option<&ScopedKey>| {
            self.first_append(now, topic, key).is_some_and(|place| self.is_in_flight(group, place))
        };
        match waiting {
            Waiting::Batch { partition, batch, keys, .. } => {
                self.first_of_producer(*partition, batch)
                    .is_some_and(|base| self.is_in_flight(group, (*partition, base)))
                    || self
                        .catalog
                        .topic_of(*partition)
                        .is_some_and(|topic| keys.iter().any(|key| is_in_flight(topic.id, key.as_ref())))
            }
            Waiting::Publish { topic, records, .. } => {
                records.iter().any(|it| is_in_flight(*topic, it.key.as_ref()))
            }
            Waiting::Routed { records, .. } => {
                records.iter().flat_map(Several::keyed).any(|(topic, key)| is_in_flight(topic, key))
            }
        }
    }

    /// Where an idempotent producer's batch was appended before.
    fn first_of_producer(&self, partition: PartitionId, batch: &Batch) -> Option<Offset> {
        let header = batch.header();
        match self.producers.check(partition, header.producer.as_ref()?, header.offsets()) {
            Ok(Sequenced::Duplicate(base)) => Some(base),
            Ok(Sequenced::Next) | Err(_) => None,
        }
    }

    /// The record was appended by a group whose fate is open.
    fn is_in_flight(&self, group: &Group, (partition, offset): Place) -> bool {
        let Some(sequencer) = self.sequencer(partition) else {
            return false;
        };
        let own = group.firsts.get(&partition).copied().unwrap_or(sequencer.next);
        sequencer.durable <= offset && offset < own
    }

    /// # Errors
    /// `DedupFull` if there is no room for keys that are not known yet.
    pub(super) fn check_dedup_room<'a>(
        &mut self,
        now: Now,
        topic: TopicId,
        keys: impl Iterator<Item = &'a ScopedKey> + Clone,
    ) -> Result<(), AppendError> {
        let all = keys.clone().fold((0, 0), |(keys, bytes), key| (keys + 1, bytes + key.len()));
        if self.dedup.has_room(all.0, all.1) {
            return Ok(());
        }
        let count = |it: &Dedup| {
            keys.clone()
                .filter(|key| it.find(now.monotonic, topic, key).is_none())
                .fold((0, 0), |(keys, bytes), key| (keys + 1, bytes + key.len()))
        };
        let (new, bytes) = count(&self.dedup);
        if new == 0 || self.dedup.has_room(new, bytes) {
            return Ok(());
        }
        self.expire_dedup(now);
        if self.dedup.has_room(new, bytes) { Ok(()) } else { Err(AppendError::DedupFull) }
    }

    /// Whether the records of a publish may be appended.
    ///
    /// # Errors
    /// See `check_dedup_room`.
    pub(super) fn check_publish_keys(
        &mut self,
        now: Now,
        topic: TopicId,
        records: &[Placed],
    ) -> Result<(), AppendError> {
        if self.dedup_of(topic).is_none() {
            return Ok(());
        }
        self.check_dedup_room(now, topic, records.iter().filter_map(|it| it.key.as_ref()))
    }

    /// What of a batch is to be appended. Its records keep their order; offsets stay dense.
    ///
    /// # Errors
    /// See `check_dedup_room`.
    pub(super) fn judge_keys(
        &mut self,
        now: Now,
        topic: TopicId,
        batch: &Batch,
        keys: &BatchKeys,
    ) -> Result<Keyed, AppendError> {
        if keys.is_empty() || self.dedup_of(topic).is_none() {
            return Ok(Keyed::New);
        }
        self.check_dedup_room(now, topic, keys.iter().flatten())?;
        let mut own = std::collections::BTreeSet::new();
        let mut first = None;
        let mut is_new = Vec::with_capacity(keys.len());
        for key in keys {
            let place = key.as_ref().and_then(|key| self.dedup.find(now.monotonic, topic, key));
            first = first.or(place);
            is_new.push(place.is_none() && key.as_ref().is_none_or(|key| own.insert(key)));
        }
        if is_new.iter().all(|&it| it) {
            return Ok(Keyed::New);
        }
        match first {
            Some((_, offset)) if !is_new.contains(&true) => Ok(Keyed::Duplicate(offset)),
            Some(_) | None => {
                let batch = without(batch, &is_new)?;
                let kept = keys.iter().zip(&is_new).filter(|&(_, &is_new)| is_new);
                Ok(Keyed::Rest(batch, kept.map(|(key, _)| key.clone()).collect()))
            }
        }
    }

    /// Remembers the key of a record that was given its place in this group.
    pub(super) fn note_key(
        &mut self,
        now: Now,
        group: &mut Group,
        topic: TopicId,
        key: ScopedKey,
        place: Place,
    ) {
        let Some(policy) = self.dedup_of(topic) else {
            return;
        };
        let open = group.dedup.iter().rev().find(|(of, _)| *of == topic).map(|&(_, chunk)| chunk);
        let chunk = self.dedup.add(now, topic, open, policy.window_ms, key, place);
        if open != Some(chunk) {
            group.dedup.push((topic, chunk));
            self.dirty.insert(Owner::Dedup(topic.0, chunk));
        }
    }

    /// A group was refused: its keys were never appended.
    pub(super) fn forget_keys(&mut self, group: &mut Group) {
        for (topic, chunk) in std::mem::take(&mut group.dedup) {
            self.dedup.remove(topic, chunk);
            let owner = Owner::Dedup(topic.0, chunk);
            group.changes.records.retain(|record| record.owner != owner);
        }
    }

    /// Forgets keys whose windows are over.
    pub(super) fn expire_dedup(&mut self, now: Now) {
        for (topic, chunk) in self.dedup.expire(now.monotonic) {
            self.dirty.insert(Owner::Dedup(topic.0, chunk));
        }
    }

    /// What was remembered when the last run ended.
    pub(super) fn recover_dedup(&mut self, now: Now, chunks: impl Iterator<Item = (u128, u64, Chunk)>) {
        for (topic, id, chunk) in chunks {
            let topic = TopicId(topic);
            if self.catalog.topic_by_id(topic).is_some() {
                let window_ms = self.dedup_of(topic).map(|policy| policy.window_ms);
                self.dedup.recover(now, topic, id, window_ms, chunk);
            }
        }
    }
}

/// The records of a batch that are to be kept, as a batch of the same kind.
fn without(batch: &Batch, keep: &[bool]) -> Result<Batch, AppendError> {
    let header = batch.header();
    let mut builder = BatchBuilder::new().codec(header.codec).timestamp_type(header.timestamp_type);
    if let Some(producer) = header.producer {
        builder = builder.producer(producer);
    }
    const UNREADABLE: AppendError = AppendError::Malformed("records that cannot be decoded");
    let records = batch.records(Offset(0), DECODED_BATCH_BYTES).map_err(|_| UNREADABLE)?;
    for (record, _) in records.zip(keep).filter(|&(_, &keep)| keep) {
        let record = record.map_err(|_| UNREADABLE)?;
        let Timestamp(at) = record.timestamp;
        builder.push(Timestamp(at), record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    let batch = builder.build();
    // What was compressed better than it is here may have become larger than a commit takes.
    let bytes = batch.bytes().len();
    if bytes > GROUP_BYTES {
        return Err(AppendError::TooLarge { bytes: bytes as u64, bytes_max: GROUP_BYTES as u64 });
    }
    Ok(batch)
}
