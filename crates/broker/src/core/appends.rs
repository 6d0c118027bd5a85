//! Appends that wait for a group. They are judged here for what cannot change; offsets and sequences are given when
//! the group is sealed, in the order of arrival, so that a refused group never leaves a gap.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use duolog_record::limits::HEADERS_PER_RECORD;
use duolog_record::{Batch, Header, PartitionId, partitioner};

use super::Core;
use super::command::Reply;
use super::routed::Several;
use super::sealing::record_bytes;
use super::verdict::Verdict;
use crate::errors::AppendError;
use crate::headers;
use crate::idempotency::{self, BatchKeys, ScopedKey};
use crate::limits::{PENDING_APPENDS, PENDING_BYTES, PUBLISH_RECORDS};
use crate::{Advance, Appended, NewRecord, Now, Published, Topic, TopicId};

/// One append, waiting.
pub(super) enum Waiting {
    Batch {
        partition: PartitionId,
        batch: Batch,
        keys: BatchKeys,
        reply: Reply<Appended, AppendError>,
    },
    Publish {
        topic: TopicId,
        records: Vec<Placed>,
        bytes: usize,
        reply: Reply<Vec<Published>, AppendError>,
    },
    Routed {
        records: Vec<Several>,
        /// All or none of them.
        whole: bool,
        /// Moves with them.
        advance: Option<Advance>,
        bytes: usize,
        reply: Reply<Vec<Result<(), AppendError>>, AppendError>,
    },
}

/// A record and its partition.
pub(super) struct Placed {
    pub(super) partition: PartitionId,
    pub(super) index: u32,
    pub(super) record: NewRecord,
    /// Its idempotency key, if the topic deduplicates.
    pub(super) key: Option<ScopedKey>,
}

impl Waiting {
    /// Bytes that it is going to take in a commit.
    fn stored_bytes(&self) -> usize {
        match self {
            Self::Batch { batch, .. } => batch.bytes().len(),
            Self::Publish { bytes, .. } | Self::Routed { bytes, .. } => *bytes,
        }
    }

    /// Bytes that it takes while it waits.
    fn bytes(&self) -> usize {
        let keys = match self {
            Self::Batch { keys, .. } => idempotency::bytes_of(keys),
            // They are part of the records.
            Self::Publish { .. } | Self::Routed { .. } => 0,
        };
        self.stored_bytes() + keys
    }

    pub(super) fn refuse(self, error: AppendError) {
        match self {
            Self::Batch { reply, .. } => drop(reply.send(Err(error))),
            Self::Publish { reply, .. } => drop(reply.send(Err(error))),
            Self::Routed { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// All of them, in order of arrival.
#[derive(Default)]
pub(super) struct Appends {
    line: VecDeque<Waiting>,
    bytes: usize,
    /// Where the next record without a key goes, by topic.
    turns: BTreeMap<TopicId, u32>,
}

impl Appends {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first, if it fits into `room` bytes.
    pub(super) fn take(&mut self, room: usize) -> Option<Waiting> {
        self.line.front().filter(|waiting| waiting.stored_bytes() <= room)?;
        let waiting = self.line.pop_front()?;
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    /// The first must wait a little longer.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.line.push_front(waiting);
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        if self.line.len() >= PENDING_APPENDS || self.bytes + waiting.bytes() > PENDING_BYTES {
            return waiting.refuse(AppendError::Overloaded);
        }
        self.bytes += waiting.bytes();
        self.line.push_back(waiting);
    }

    /// Answers all with what `verdict` says; it is not `Durable`.
    pub(super) fn refuse_all(&mut self, verdict: &Verdict) {
        self.bytes = 0;
        for waiting in self.line.drain(..) {
            waiting.refuse(match verdict {
                Verdict::Stopped(stopped) => stopped.clone().into(),
                Verdict::DiskFull | Verdict::Durable => AppendError::DiskFull,
            });
        }
    }

    pub(super) fn forget_topic(&mut self, topic: TopicId) {
        self.turns.remove(&topic);
    }

    /// The index of the partition for a record: its key's, or the next in turn.
    pub(super) fn place(&mut self, topic: &Topic, key: Option<&[u8]>) -> u32 {
        let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        if let Some(key) = key {
            return partitioner::partition_of_key(key, partitions);
        }
        let turn = self.turns.entry(topic.id).or_default();
        let index = *turn % partitions.max(1);
        *turn = turn.wrapping_add(1);
        index
    }
}

/// A record with more could not be decoded again.
pub(super) fn check_headers(record: &NewRecord) -> Result<(), AppendError> {
    match record.headers.len() {
        0..=HEADERS_PER_RECORD => Ok(()),
        _ => Err(AppendError::Malformed("more headers than a record may have (10,000)")),
    }
}

impl Core {
    pub(super) fn append(
        &mut self,
        partition: PartitionId,
        batch: Batch,
        keys: Option<BatchKeys>,
        reply: Reply<Appended, AppendError>,
    ) {
        let checked =
            self.check_batch(partition, &batch).and_then(|()| self.keys_of(partition, &batch, keys));
        match checked {
            Ok(keys) => self.appends.push(Waiting::Batch { partition, batch, keys, reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The idempotency keys of a batch, if its topic deduplicates.
    fn keys_of(
        &self,
        partition: PartitionId,
        batch: &Batch,
        keys: Option<BatchKeys>,
    ) -> Result<BatchKeys, AppendError> {
        match (keys, self.catalog.topic_of(partition).and_then(|topic| topic.policy.deduplicates())) {
            (Some(keys), _) => Ok(keys),
            (None, Some(policy)) => idempotency::of_batch(&policy, batch),
            (None, None) => Ok(BatchKeys::new()),
        }
    }

    fn check_batch(&self, partition: PartitionId, batch: &Batch) -> Result<(), AppendError> {
        let topic = self.catalog.topic_of(partition).ok_or(AppendError::NotFound)?;
        self.check_sound(partition)?;
        let header = batch.header();
        let (bytes, bytes_max) = (batch.bytes().len() as u64, u64::from(topic.policy.batch_bytes_max));
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        if header.control {
            return Err(AppendError::Malformed("control batches are the broker's own"));
        }
        if header.transactional {
            return Err(AppendError::TransactionsUnsupported);
        }
        if header.records == 0 || header.records != header.offsets() {
            return Err(AppendError::Malformed("the record count is not the number of offsets"));
        }
        if header.producer.is_some_and(|producer| producer.epoch < 0 || producer.base_sequence < 0) {
            return Err(AppendError::Malformed("a producer id without epoch or sequence"));
        }
        Ok(())
    }

    pub(super) fn publish(
        &mut self,
        now: Now,
        topic: TopicId,
        records: Vec<NewRecord>,
        reply: Reply<Vec<Published>, AppendError>,
    ) {
        if records.is_empty() {
            drop(reply.send(Ok(Vec::new())));
            return;
        }
        match self.place_records(now, topic, records) {
            Ok((records, bytes)) => {
                self.appends.push(Waiting::Publish { topic, records, bytes, reply });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn place_records(
        &mut self,
        now: Now,
        topic: TopicId,
        records: Vec<NewRecord>,
    ) -> Result<(Vec<Placed>, usize), AppendError> {
        let id = topic;
        let topic = self.catalog.topic_by_id(topic).ok_or(AppendError::NotFound)?.clone();
        if records.len() > PUBLISH_RECORDS {
            return Err(AppendError::Malformed("more records than one publish may hold"));
        }
        let bytes_max = u64::from(topic.policy.batch_bytes_max);
        let mut total = 0;
        for record in &records {
            check_headers(record)?;
            let bytes = record_bytes(record);
            if bytes as u64 > bytes_max {
                return Err(AppendError::TooLarge { bytes: bytes as u64, bytes_max });
            }
            total += bytes;
        }
        if total > crate::limits::GROUP_BYTES {
            let bytes_max = crate::limits::GROUP_BYTES as u64;
            return Err(AppendError::TooLarge { bytes: total as u64, bytes_max });
        }
        let mut placed = Vec::with_capacity(records.len());
        for mut record in records {
            record.timestamp.get_or_insert(now.wall);
            let dedup = topic.policy.deduplicates();
            let dedup = dedup.as_ref();
            let key = dedup.map(|dedup| idempotency::of_record(dedup, &record)).transpose()?.flatten();
            let index = self.place_of(&topic, record.key.as_deref(), &record.headers);
            placed.push(Placed { partition: topic.partitions[index as usize], index, record, key });
        }
        placed.iter().try_for_each(|it| self.check_sound(it.partition))?;
        if placed.iter().any(|it| it.record.is_delayed()) {
            self.open_delays(id)?;
        }
        Ok((placed, total))
    }

    /// The index of the partition for a record: its priority's, its key's, or the next in turn.
    pub(super) fn place_of(&mut self, topic: &Topic, key: Option<&[u8]>, headers: &[Header]) -> u32 {
        let levels = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        if levels == 1 {
            return 0;
        }
        match self.queues.priority_max(topic.id) {
            Some(max) => {
                let priority = u32::from(headers::priority(headers).unwrap_or_default().min(max));
                (priority * levels / (u32::from(max) + 1)).min(levels - 1)
            }
            None => self.appends.place(topic, key),
        }
    }

    /// The partition for a copy that is to find a place: its own, or the next one behind that which is sound. `None` if none is.
    pub(super) fn sound_place(
        &mut self,
        topic: TopicId,
        key: Option<&[u8]>,
        headers: &[Header],
    ) -> Option<PartitionId> {
        let topic = self.catalog.topic_by_id(topic)?.clone();
        let (before, from) = topic.partitions.split_at(self.place_of(&topic, key, headers) as usize);
        from.iter().chain(before).copied().find(|partition| self.is_sound(*partition))
    }

    /// False for a topic that takes no records because of damage, or is gone.
    pub(super) fn has_sound_partition(&self, topic: TopicId) -> bool {
        let partitions = self.catalog.topic_by_id(topic).map(|topic| &topic.partitions);
        partitions.is_some_and(|all| all.iter().any(|partition| self.is_sound(*partition)))
    }

    fn is_sound(&self, partition: PartitionId) -> bool {
        self.partitions.get(&partition).is_some_and(|sequencer| !sequencer.quarantined)
    }

    /// The log would refuse the whole group, so damage in one partition must not come that far.
    pub(super) fn check_sound(&self, partition: PartitionId) -> Result<(), AppendError> {
        match self.partitions.get(&partition) {
            Some(sequencer) if sequencer.quarantined => Err(AppendError::Quarantined(partition)),
            Some(_) | None => Ok(()),
        }
    }
}
