//! Queues with a limit of length: the oldest leave them, or the newest are refused.
//!
//! Only what is available counts, not what is leased. Records are counted by the ledger; their bytes by [`Sizes`], from the moment
//! that they are given their place, so that what is still on its way to the disk counts when others are judged.
//! Source: RabbitMQ documentation, "Queue Length Limit".

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use duolog_record::{Offset, PartitionId};
use duolog_storage::Target;
use duolog_storage::planted::{self, Bug};

use super::Core;
use super::dead_letter::{Copy, Reason};
use super::group::Group;
use super::queues::{QueueState, Queues};
use super::sealing::Frame;
use super::work::Work;
use crate::errors::AppendError;
use crate::ledger::{Ledger, Outlived};
use crate::limits::SIZE_CHUNKS;
use crate::{NewRecord, Now, Overflow, Queue, QueueId, QueuePolicy, TopicId};

/// Bytes of records that stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first record.
    pub base: Offset,
    /// How many.
    pub offsets: u64,
    /// Of all of them.
    pub bytes: u64,
}

impl Chunk {
    fn end(&self) -> Offset {
        self.base.plus(self.offsets)
    }
}

/// How many bytes stand where in a queue. Exact for the latest few thousand records; of what came before those together that are
/// neighbours, as if they were of one size.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    chunks: BTreeMap<PartitionId, VecDeque<Chunk>>,
    bytes: u64,
}

impl Sizes {
    /// A record has been given its place.
    fn push(&mut self, partition: PartitionId, chunk: Chunk) {
        self.bytes += chunk.bytes;
        let chunks = self.chunks.entry(partition).or_default();
        chunks.push_back(chunk);
        if chunks.len() > SIZE_CHUNKS {
            // The older half, two by two.
            let rest = chunks.split_off(SIZE_CHUNKS / 2);
            let old: Vec<Chunk> = chunks.drain(..).collect();
            chunks.extend(old.chunks(2).map(joined));
            chunks.extend(rest);
        }
    }

    /// What was there before it was watched.
    fn prepend(&mut self, partition: PartitionId, before: Vec<Chunk>) {
        let chunks = self.chunks.entry(partition).or_default();
        let known = chunks.front().map_or(Offset(u64::MAX), |chunk| chunk.base);
        for chunk in before.into_iter().rev().filter(|chunk| chunk.end() <= known) {
            self.bytes += chunk.bytes;
            chunks.push_front(chunk);
        }
    }

    /// Places from here on were given in vain.
    fn take_back(&mut self, partition: PartitionId, from: Offset) {
        let Some(chunks) = self.chunks.get_mut(&partition) else { return };
        while let Some(last) = chunks.back().filter(|chunk| chunk.base >= from) {
            self.bytes -= last.bytes;
            chunks.pop_back();
        }
    }

    /// Forgets what is settled.
    fn prune(&mut self, ledger: &Ledger) {
        for (partition, chunks) in &mut self.chunks {
            let floor = ledger.floor(*partition).unwrap_or(Offset(0));
            while let Some(first) = chunks.front().filter(|chunk| chunk.end() <= floor) {
                self.bytes -= first.bytes;
                chunks.pop_front();
            }
        }
    }

    /// Bytes of what is available or on its way to the disk, if they may be more than `most`; else `None`.
    fn over(&mut self, ledger: &Ledger, most: u64) -> Option<u64> {
        if self.bytes <= most {
            return None;
        }
        self.prune(ledger);
        if self.bytes <= most {
            return None;
        }
        let all = self.chunks.iter().flat_map(|(partition, chunks)| {
            chunks.iter().map(|chunk| available_bytes(ledger, *partition, chunk).1)
        });
        Some(all.sum::<u64>()).filter(|bytes| *bytes > most)
    }

    /// How many of the oldest must go, so that no more than `most` bytes are left.
    fn excess(&mut self, ledger: &Ledger, most: u64) -> u64 {
        let Some(bytes) = self.over(ledger, most) else { return 0 };
        let (mut left, mut records) = (bytes - most, 0);
        for (partition, chunks) in self.chunks.iter().rev() {
            for chunk in chunks {
                let (count, bytes) = available_bytes(ledger, *partition, chunk);
                if bytes >= left {
                    // As many as it takes, if they are all of one size.
                    return records + (left * count).div_ceil(bytes.max(1));
                }
                (left, records) = (left - bytes, records + count);
            }
        }
        records
    }
}

/// Neighbours as one.
pub(super) fn joined(two: &[Chunk]) -> Chunk {
    // What lies between them has no records.
    let end = two.iter().map(Chunk::end).max().unwrap_or(Offset(0));
    let base = two[0].base;
    Chunk { base, offsets: end.since(base), bytes: two.iter().map(|chunk| chunk.bytes).sum() }
}

/// How many records of a chunk are available, and their bytes.
fn available_bytes(ledger: &Ledger, partition: PartitionId, chunk: &Chunk) -> (u64, u64) {
    let count = ledger.available_in(partition, chunk.base..chunk.end());
    let share = u128::from(chunk.bytes) * u128::from(count) / u128::from(chunk.offsets.max(1));
    (count, u64::try_from(share).unwrap_or(chunk.bytes))
}

/// What counts of a record.
pub(super) fn value_bytes(record: &NewRecord) -> u64 {
    record.value.as_ref().map_or(0, |value| value.len() as u64)
}

impl Queues {
    /// Records have been given their places.
    fn note_sizes(&mut self, topic: TopicId, partition: PartitionId, chunk: Chunk) {
        if self.sized == 0 {
            return;
        }
        for id in self.on(topic).to_vec() {
            if let Some(sizes) = self.get_mut(id).and_then(|state| state.sizes.as_mut()) {
                sizes.push(partition, chunk);
            }
        }
    }

    /// Places were given in vain.
    pub(super) fn take_sizes_back(&mut self, topic: TopicId, partition: PartitionId, from: Offset) {
        if self.sized == 0 {
            return;
        }
        for id in self.on(topic).to_vec() {
            if let Some(sizes) = self.get_mut(id).and_then(|state| state.sizes.as_mut()) {
                sizes.take_back(partition, from);
            }
        }
    }
}

impl QueueState {
    /// How many of the oldest are too many.
    fn excess(&mut self, policy: &QueuePolicy) -> u64 {
        let records = policy.length_max.map_or(0, |most| self.ledger.available().saturating_sub(most));
        let bytes = match (&mut self.sizes, policy.length_bytes_max) {
            (Some(sizes), Some(most)) => sizes.excess(&self.ledger, most),
            _ => 0,
        };
        records.max(bytes)
    }
}

impl Core {
    /// A queue has a policy now that may limit its bytes: what it holds already is measured once.
    pub(super) fn watch_sizes(&mut self, id: QueueId) {
        let Some(queue) = self.catalog.queue_by_id(id) else { return };
        let is_limited = queue.policy.length_bytes_max.is_some();
        let Some(state) = self.queues.get_mut(id) else { return };
        if is_limited == state.sizes.is_some() {
            return;
        }
        state.sizes = is_limited.then(Box::default);
        let backlog: Vec<_> = match self.catalog.topic_by_id(queue.topic) {
            Some(topic) if is_limited => topic.partitions.clone(),
            Some(_) | None => Vec::new(),
        };
        let backlog = backlog.into_iter().filter_map(|partition| {
            let (from, until) = (state.ledger.floor(partition)?, self.partitions.get(&partition)?.next);
            (from < until).then_some(Work::Sizes { queue: id, partition, from, until })
        });
        let backlog: Vec<_> = backlog.collect();
        self.queues.work.extend(backlog);
        match is_limited {
            true => self.queues.sized += 1,
            false => self.queues.sized -= 1,
        }
    }

    /// What a queue held already has been measured.
    pub(super) fn found_sizes(&mut self, now: Now, id: QueueId, partition: PartitionId, chunks: Vec<Chunk>) {
        if let Some(sizes) = self.queues.get_mut(id).and_then(|state| state.sizes.as_mut()) {
            sizes.prepend(partition, chunks);
        }
        self.settle_down(now, id);
    }

    /// Takes the oldest out of a queue that holds too many.
    pub(super) fn shorten(&mut self, now: Now, id: QueueId) {
        let Some(queue) = self.catalog.queue_by_id(id).filter(|queue| queue.policy.drops_oldest()).cloned()
        else {
            return;
        };
        // Once more, because what has gone may have been smaller than it seemed.
        while let Some(state) = self.queues.get_mut(id) {
            let excess = state.excess(&queue.policy);
            if excess == 0 {
                return;
            }
            let excess = if planted::is(Bug::DroppedTooMany) { 2 * excess } else { excess };
            let Outlived { settled, dead, .. } = state.ledger.drop_oldest(now, &queue.policy, excess);
            let taken = settled + dead.len() as u64;
            if taken < excess {
                // The window did not reach as far, or enough are on their way already: there is another look soon.
                state.stay_awake(now);
            }
            for record in dead {
                self.bury(id, record, Reason::Overflow, None);
            }
            if taken > 0 {
                self.note_lazy(now, id);
            }
            if taken < excess {
                return;
            }
        }
    }

    /// Gives one record its place in a partition of a topic; `None` if that has gone.
    pub(super) fn take_place(
        &mut self,
        group: &mut Group,
        topic: TopicId,
        partition: PartitionId,
        record: &NewRecord,
    ) -> Option<Target> {
        self.take_places(group, topic, partition, 1, value_bytes(record))
    }

    /// The same for records that stand in one batch, with the bytes that a limit counts.
    pub(super) fn take_places(
        &mut self,
        group: &mut Group,
        topic: TopicId,
        partition: PartitionId,
        offsets: u32,
        bytes: u64,
    ) -> Option<Target> {
        let sequencer = self.partitions.get_mut(&partition)?;
        group.firsts.entry(partition).or_insert(sequencer.next);
        let target = sequencer.take(partition, offsets);
        let chunk = Chunk { base: target.base, offsets: u64::from(offsets), bytes };
        self.queues.note_sizes(topic, partition, chunk);
        Some(target)
    }

    /// A queue on the topic refuses the newest when it is full.
    pub(super) fn may_refuse(&self, topic: TopicId) -> bool {
        let refuses =
            |id: &QueueId| self.catalog.queue_by_id(*id).is_some_and(|queue| queue.policy.refuses_newest());
        self.queues.on(topic).iter().any(refuses)
    }

    /// The queues on a topic that do not take so many records more, of so many bytes.
    pub(super) fn full_queues(&mut self, topic: TopicId, records: u64, bytes: u64) -> Vec<Arc<Queue>> {
        let mut full = Vec::new();
        for id in self.queues.on(topic).to_vec() {
            let Some(queue) = self.catalog.queue_by_id(id).filter(|queue| queue.policy.refuses_newest())
            else {
                continue;
            };
            let Some(state) = self.queues.get_mut(id) else { continue };
            let partitions = &self.partitions;
            let on_its_way =
                state.ledger.beyond_end(|partition| partitions.get(&partition).map(|it| it.next));
            let on_its_way = if planted::is(Bug::LengthBehind) { 0 } else { on_its_way };
            let available = state.ledger.available() + on_its_way;
            let is_long = queue.policy.length_max.is_some_and(|most| available + records > most);
            let is_large = match (&mut state.sizes, queue.policy.length_bytes_max) {
                (Some(_), Some(most)) if bytes > most => true,
                (Some(sizes), Some(most)) => sizes.over(&state.ledger, most - bytes).is_some(),
                _ => false,
            };
            if is_long || is_large {
                full.push(queue.clone());
            }
        }
        full
    }

    /// Whether a topic takes these records. What a full queue refuses goes where the dead go if its policy says so.
    ///
    /// # Errors
    /// `QueueFull` if a queue on it refuses them.
    pub(super) fn check_length(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        topic: TopicId,
        records: &[&NewRecord],
    ) -> Result<(), AppendError> {
        if !self.may_refuse(topic) {
            return Ok(());
        }
        let bytes = records.iter().copied().map(value_bytes).sum();
        let full = self.full_queues(topic, records.len() as u64, bytes);
        for queue in full.iter().filter(|queue| queue.policy.overflow == Overflow::RejectDeadLetter) {
            for record in records {
                let record = self.refused_copy(now, queue, NewRecord::clone(record));
                let places = self.dead_letter_places(queue, Reason::Overflow, &record);
                if let Some(places) = places.filter(|places| !places.is_empty()) {
                    self.seal_copy(frame, group, Copy { places, record, packed: false });
                }
            }
        }
        match full.first() {
            Some(queue) => Err(AppendError::QueueFull(queue.name.clone())),
            None => Ok(()),
        }
    }
}
