//! What is delayed, by topic: where it is kept, how much it is, and what comes next.
//!
//! Invariant: a delayed record has a key, when it is due and its offset in the hidden partition. What has entered the
//! topic are the keys up to `moved`, exactly; every other record between the partition's bounds is still to come.
//! The index holds all of those up to the horizon, or all there are without one; so memory is bounded, and what lies
//! beyond the horizon is found by a pass over the partition when the index has run empty.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use duolog_record::{Offset, PartitionId};
use duolog_storage::Trim;

use crate::core::dead_letter::Copy;
use crate::core::sequencer::Sequencer;
use crate::limits::{DELAY_INDEX, DELAY_INDEX_MIN};
use crate::state::DelayValue;
use crate::{Monotonic, TopicId};

/// When a record is due, milliseconds since the epoch, and its offset.
pub(in crate::core) type DueKey = (i64, u64);

/// Below every key of a record.
const BEFORE_ALL: DueKey = (i64::MIN, 0);

/// A pass over the partition, to find what is due next.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) found: BTreeSet<DueKey>,
    /// More was found than there is room for.
    is_cut: bool,
    /// The first record that is still to come.
    pub(super) first: Option<u64>,
}

/// The delayed records of one topic.
#[derive(Debug)]
pub(in crate::core) struct Delayed {
    pub(in crate::core) partition: PartitionId,
    pub(in crate::core) sequencer: Sequencer,
    /// Still to come, those in flight included.
    pub(super) count: u64,
    /// What has entered the topic.
    pub(super) moved: DueKey,
    /// The latest time of what was taken from the index: what comes later is due later.
    pub(super) reached: i64,
    index: BTreeSet<DueKey>,
    /// Given out and not durable yet: nothing behind the first of them may leave before it.
    in_flight: BTreeSet<DueKey>,
    horizon: Option<DueKey>,
    /// Rises when what is being looked at is no longer wanted.
    pub(super) generation: u64,
    /// A look is being made.
    pub(super) is_looking: bool,
    /// Read, and waiting for a commit.
    pub(super) moving: usize,
    pub(super) pass: Option<Pass>,
    pub(super) retry_at: Option<Monotonic>,
    /// Moved since the partition's start was last moved up.
    pub(super) moved_since: u64,
    /// Where it stands in the agenda.
    listed: Option<i64>,
}

impl Delayed {
    pub(super) fn new(partition: PartitionId, sequencer: Sequencer) -> Self {
        Self {
            partition,
            sequencer,
            count: 0,
            moved: BEFORE_ALL,
            reached: i64::MIN,
            index: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            horizon: None,
            generation: 0,
            is_looking: false,
            moving: 0,
            pass: None,
            retry_at: None,
            moved_since: 0,
            listed: None,
        }
    }

    /// As it was written; what is still to come is found by a pass.
    pub(super) fn recovered(value: &DelayValue, sequencer: Sequencer) -> Self {
        let moved = (value.moved_due, value.moved_offset);
        Self {
            count: value.count,
            moved,
            reached: value.moved_due,
            horizon: (sequencer.start < sequencer.durable).then_some(moved),
            ..Self::new(PartitionId(value.partition), sequencer)
        }
    }

    pub(in crate::core) fn to_value(&self) -> DelayValue {
        let (moved_due, moved_offset) = self.moved;
        DelayValue { partition: self.partition.0, moved_due, moved_offset, count: self.count }
    }

    /// When a record may be due that is to be due at `at`: behind all that was taken.
    pub(super) fn due(&self, at: i64) -> i64 {
        at.max(self.reached.saturating_add(1))
    }

    /// Nothing but what is in flight is still to come.
    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.index.clear();
        self.horizon = None;
        self.is_looking = false;
        self.moving = 0;
        self.pass = None;
        self.count = self.sequencer.next.since(self.sequencer.durable);
    }

    /// Moves the start of the partition up, at most to what is durable; without one, to there.
    pub(super) fn move_start(&mut self, start: Option<Offset>) -> Option<Trim> {
        let durable = self.sequencer.durable;
        let start = start.map_or(durable, |start| start.min(durable));
        if start <= self.sequencer.start {
            return None;
        }
        self.sequencer.start = start;
        self.moved_since = 0;
        Some(Trim::Start { partition: self.partition, start })
    }

    /// The next that may leave.
    fn first(&self) -> Option<DueKey> {
        let first = self.index.first().copied()?;
        self.in_flight.first().is_none_or(|&in_flight| first < in_flight).then_some(first)
    }

    /// A record was given its place.
    pub(super) fn give(&mut self, key: DueKey) {
        self.in_flight.insert(key);
    }

    /// All that is to come is in the index.
    pub(super) fn is_complete(&self) -> bool {
        self.horizon.is_none() && !self.is_looking && self.moving == 0 && self.pass.is_none()
    }

    /// Offsets of what is to come, rising; only if the index is complete.
    pub(super) fn offsets(&self) -> BTreeSet<u64> {
        self.index.iter().map(|&(_, offset)| offset).collect()
    }
}

/// A record on its way into its topic.
pub(super) struct Entering {
    pub(super) topic: TopicId,
    pub(super) generation: u64,
    pub(super) key: DueKey,
    /// `None` if the log no longer has it.
    pub(super) copy: Option<Copy>,
}

/// All delayed records of a shard.
pub(in crate::core) struct Delays {
    /// Keys that all indexes together may hold; tests make it small.
    pub(in crate::core) room_max: usize,
    topics: BTreeMap<TopicId, Delayed>,
    partitions: BTreeMap<PartitionId, TopicId>,
    /// When each topic has something to do next.
    agenda: BTreeSet<(i64, TopicId)>,
    pub(super) line: VecDeque<Entering>,
    /// When the agenda is to be looked at.
    pub(super) wake_at: Option<Monotonic>,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            room_max: DELAY_INDEX,
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            agenda: BTreeSet::new(),
            line: VecDeque::new(),
            wake_at: None,
        }
    }
}

impl Delays {
    pub(in crate::core) fn get(&self, topic: TopicId) -> Option<&Delayed> {
        self.topics.get(&topic)
    }

    pub(super) fn get_mut(&mut self, topic: TopicId) -> Option<&mut Delayed> {
        self.topics.get_mut(&topic)
    }

    pub(in crate::core) fn of_partition(
        &mut self,
        partition: PartitionId,
    ) -> Option<(TopicId, &mut Delayed)> {
        let topic = *self.partitions.get(&partition)?;
        Some((topic, self.topics.get_mut(&topic)?))
    }

    pub(in crate::core) fn sequencer(&self, partition: PartitionId) -> Option<&Sequencer> {
        Some(&self.topics.get(self.partitions.get(&partition)?)?.sequencer)
    }

    pub(super) fn insert(&mut self, topic: TopicId, delayed: Delayed) {
        self.partitions.insert(delayed.partition, topic);
        self.topics.insert(topic, delayed);
        self.relist(topic);
    }

    pub(super) fn remove(&mut self, topic: TopicId) -> Option<Delayed> {
        let delayed = self.topics.remove(&topic)?;
        self.partitions.remove(&delayed.partition);
        if let Some(at) = delayed.listed {
            self.agenda.remove(&(at, topic));
        }
        Some(delayed)
    }

    /// The first topic from there on that has a hidden partition.
    pub(in crate::core) fn next_after(&self, from: Bound<TopicId>) -> Option<TopicId> {
        self.topics.range((from, Bound::Unbounded)).next().map(|(&topic, _)| topic)
    }

    pub(in crate::core) fn topics(&self) -> impl Iterator<Item = (TopicId, &Delayed)> {
        self.topics.iter().map(|(&topic, delayed)| (topic, delayed))
    }

    pub(in crate::core) fn is_empty_line(&self) -> bool {
        self.line.is_empty()
    }

    pub(in crate::core) fn next_deadline(&self) -> Option<Monotonic> {
        self.wake_at
    }

    /// Keys that one topic may have in its index.
    fn room(&self) -> usize {
        (self.room_max / self.topics.len().max(1)).max(DELAY_INDEX_MIN.min(self.room_max))
    }

    /// A record has become durable.
    pub(super) fn add(&mut self, topic: TopicId, key: DueKey) {
        let room = self.room();
        let Some(delayed) = self.topics.get_mut(&topic) else {
            return;
        };
        delayed.in_flight.remove(&key);
        if delayed.horizon.is_none_or(|horizon| key <= horizon) {
            delayed.index.insert(key);
            if delayed.index.len() > room {
                delayed.index.pop_last();
                delayed.horizon = delayed.index.last().copied();
            }
        }
        self.relist(topic);
    }

    /// A record was refused.
    pub(in crate::core) fn drop_in_flight(&mut self, topic: TopicId, key: DueKey) {
        if let Some(delayed) = self.topics.get_mut(&topic) {
            delayed.in_flight.remove(&key);
        }
        self.relist(topic);
    }

    /// Takes what is due from the index, at most so many; they are being looked at from now on.
    pub(super) fn take_due(&mut self, topic: TopicId, now: i64, count: usize) -> Vec<DueKey> {
        let Some(delayed) = self.topics.get_mut(&topic) else {
            return Vec::new();
        };
        let mut due = Vec::new();
        while due.len() < count
            && let Some(key) = delayed.first().filter(|&(at, _)| at <= now)
        {
            delayed.index.pop_first();
            delayed.reached = delayed.reached.max(key.0);
            due.push(key);
        }
        delayed.is_looking = !due.is_empty();
        due
    }

    /// Puts back what was taken in vain.
    pub(super) fn put_back(&mut self, topic: TopicId, keys: impl Iterator<Item = DueKey>) {
        if let Some(delayed) = self.topics.get_mut(&topic) {
            delayed.index.extend(keys);
        }
    }

    /// The index is empty and there is more beyond the horizon: gives behind which key.
    pub(super) fn needs_pass(&self, topic: TopicId) -> Option<DueKey> {
        let delayed = self.topics.get(&topic)?;
        let is_idle = delayed.index.is_empty() && !delayed.is_looking && delayed.moving == 0;
        delayed.horizon.filter(|_| is_idle && delayed.pass.is_none())
    }

    /// A piece of a pass has come.
    pub(super) fn pass_found(&mut self, topic: TopicId, keys: &[DueKey]) {
        let room = self.room();
        let Some(pass) = self.topics.get_mut(&topic).and_then(|delayed| delayed.pass.as_mut()) else {
            return;
        };
        for &key in keys {
            pass.first = Some(pass.first.map_or(key.1, |first| first.min(key.1)));
            pass.found.insert(key);
            if pass.found.len() > room {
                pass.found.pop_last();
                pass.is_cut = true;
            }
        }
    }

    /// The pass has come to the end; gives the first offset that is still to come.
    pub(super) fn pass_over(&mut self, topic: TopicId) -> Option<u64> {
        let delayed = self.topics.get_mut(&topic)?;
        let pass = delayed.pass.take()?;
        let in_index = delayed.index.iter().map(|&(_, offset)| offset).min();
        delayed.index.extend(&pass.found);
        delayed.horizon = if pass.is_cut { delayed.index.last().copied() } else { None };
        pass.first.into_iter().chain(in_index).min()
    }

    /// Puts a topic into the agenda where it now belongs.
    pub(super) fn relist(&mut self, topic: TopicId) {
        let needs_pass = self.needs_pass(topic).is_some();
        let Some(delayed) = self.topics.get_mut(&topic) else {
            return;
        };
        let is_busy = delayed.is_looking || delayed.moving > 0 || delayed.pass.is_some();
        let at = match delayed.first() {
            _ if is_busy => None,
            Some((due, _)) => Some(due),
            None if !delayed.index.is_empty() => None,
            None => needs_pass.then_some(i64::MIN),
        };
        if at == delayed.listed {
            return;
        }
        if let Some(before) = std::mem::replace(&mut delayed.listed, at) {
            self.agenda.remove(&(before, topic));
        }
        if let Some(at) = at {
            self.agenda.insert((at, topic));
        }
    }

    /// Topics that have something to do by now.
    pub(super) fn due(&self, now: i64) -> Vec<TopicId> {
        self.agenda.iter().take_while(|&&(at, _)| at <= now).map(|&(_, topic)| topic).collect()
    }

    /// When the next topic has something to do, milliseconds since the epoch.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.agenda.first().map(|&(at, _)| at)
    }

    /// Offsets given out of a partition, taken back by a refusal.
    pub(in crate::core) fn take_back(&mut self, partition: PartitionId, first: Offset) -> Option<TopicId> {
        let (topic, delayed) = self.of_partition(partition)?;
        delayed.count = delayed.count.saturating_sub(delayed.sequencer.next.since(first));
        delayed.sequencer.next = first;
        Some(topic)
    }
}
