//! The table of keys, by topic, in chunks that expire as a whole.

use std::collections::{BTreeMap, VecDeque};

use duolog_record::{Offset, PartitionId, Timestamp};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Place;
use crate::idempotency::ScopedKey;
use crate::limits::{DEDUP_BYTES, DEDUP_CHUNK_KEYS, DEDUP_EXPIRE_KEYS, DEDUP_KEY_OVERHEAD, DEDUP_KEYS};
use crate::state::DedupValue;
use crate::{Monotonic, Now, TopicId};

/// A key that is known.
#[derive(Debug)]
struct Known {
    key: ScopedKey,
    chunk: u64,
    place: Place,
}

/// Keys that were appended in one group, as they are written down.
#[derive(Clone, Debug)]
pub(in crate::core) struct Chunk {
    id: u64,
    /// The window is over.
    deadline: Monotonic,
    expires_at: Timestamp,
    keys: Vec<(ScopedKey, Place)>,
}

impl Chunk {
    pub(in crate::core) fn from_value(value: DedupValue) -> Self {
        let key = |(key, partition, offset)| (key, (PartitionId(partition), Offset(offset)));
        Self {
            id: 0,
            deadline: Monotonic::default(),
            expires_at: Timestamp(value.expires_at),
            keys: value.keys.into_iter().map(key).collect(),
        }
    }

    fn to_value(&self) -> DedupValue {
        let key = |(key, (partition, offset)): &(ScopedKey, Place)| (key.clone(), partition.0, offset.0);
        DedupValue { expires_at: self.expires_at.0, keys: self.keys.iter().map(key).collect() }
    }
}

/// Keys by their hash. In parts, so that no turn of the shard waits until millions of keys have been moved to a larger
/// table.
#[derive(Debug, Default)]
struct Table {
    parts: [HashTable<Known>; 16],
}

impl Table {
    /// By bits that a part's own table looks at last.
    fn part(&self, key: &ScopedKey) -> usize {
        (key.hash() >> 48) as usize % self.parts.len()
    }

    fn get(&self, key: &ScopedKey) -> Option<&Known> {
        self.parts[self.part(key)].find(key.hash(), |known| known.key == *key)
    }

    fn insert(&mut self, known: Known) {
        let part = self.part(&known.key);
        let (hash, is_it) = (known.key.hash(), |it: &Known| it.key == known.key);
        match self.parts[part].entry(hash, is_it, |it| it.key.hash()) {
            Entry::Occupied(mut entry) => *entry.get_mut() = known,
            Entry::Vacant(entry) => drop(entry.insert(known)),
        }
    }

    fn remove(&mut self, key: &ScopedKey) {
        let part = self.part(key);
        if let Ok(entry) = self.parts[part].find_entry(key.hash(), |known| known.key == *key) {
            entry.remove();
        }
    }
}

/// The keys of one topic.
#[derive(Debug, Default)]
struct Window {
    known: Table,
    /// By rising id.
    chunks: VecDeque<Chunk>,
}

impl Window {
    fn chunk(&self, id: u64) -> Option<&Chunk> {
        self.chunks.binary_search_by_key(&id, |chunk| chunk.id).ok().map(|index| &self.chunks[index])
    }

    /// Takes the keys of a chunk out of the table, except those that a later chunk has.
    fn forget(&mut self, chunk: &Chunk) {
        for (key, _) in &chunk.keys {
            if self.known.get(key).is_some_and(|known| known.chunk == chunk.id) {
                self.known.remove(key);
            }
        }
    }
}

/// All keys of a shard.
#[derive(Debug)]
pub(in crate::core) struct Dedup {
    /// Tests make it small.
    pub(in crate::core) keys_max: usize,
    topics: BTreeMap<TopicId, Window>,
    /// Of all chunks.
    keys: usize,
    bytes: usize,
    next_chunk: u64,
}

impl Default for Dedup {
    fn default() -> Self {
        Self { keys_max: DEDUP_KEYS, topics: BTreeMap::new(), keys: 0, bytes: 0, next_chunk: 0 }
    }
}

fn bytes_of(key: &ScopedKey) -> usize {
    key.len() + DEDUP_KEY_OVERHEAD
}

impl Dedup {
    /// Where the record of a key is, if the window is not over.
    pub(super) fn find(&self, now: Monotonic, topic: TopicId, key: &ScopedKey) -> Option<Place> {
        let window = self.topics.get(&topic)?;
        let known = window.known.get(key)?;
        (window.chunk(known.chunk)?.deadline > now).then_some(known.place)
    }

    /// Whether so many keys of so many bytes fit.
    pub(super) fn has_room(&self, keys: usize, bytes: usize) -> bool {
        self.keys + keys <= self.keys_max && self.bytes + bytes + keys * DEDUP_KEY_OVERHEAD <= DEDUP_BYTES
    }

    /// Adds a key to the chunk `open`, or to a new one; gives the chunk's id.
    pub(super) fn add(
        &mut self,
        now: Now,
        topic: TopicId,
        open: Option<u64>,
        window_ms: u64,
        key: ScopedKey,
        place: Place,
    ) -> u64 {
        self.keys += 1;
        self.bytes += bytes_of(&key);
        let window = self.topics.entry(topic).or_default();
        let has_open = window
            .chunks
            .back()
            .is_some_and(|chunk| Some(chunk.id) == open && chunk.keys.len() < DEDUP_CHUNK_KEYS);
        if !has_open {
            window.chunks.push_back(Chunk {
                id: self.next_chunk,
                deadline: now.monotonic.plus_ms(window_ms),
                expires_at: Timestamp(now.wall.0.saturating_add_unsigned(window_ms)),
                keys: Vec::new(),
            });
            self.next_chunk += 1;
        }
        let chunk = window.chunks.back_mut().expect("it was pushed right here if there was none");
        window.known.insert(Known { key: key.clone(), chunk: chunk.id, place });
        chunk.keys.push((key, place));
        chunk.id
    }

    /// Takes a chunk out.
    pub(super) fn remove(&mut self, topic: TopicId, id: u64) {
        let Some(window) = self.topics.get_mut(&topic) else {
            return;
        };
        let Ok(index) = window.chunks.binary_search_by_key(&id, |chunk| chunk.id) else {
            return;
        };
        if let Some(chunk) = window.chunks.remove(index) {
            window.forget(&chunk);
            self.uncount(topic, &chunk);
        }
    }

    fn uncount(&mut self, topic: TopicId, chunk: &Chunk) {
        self.keys -= chunk.keys.len();
        self.bytes -= chunk.keys.iter().map(|(key, _)| bytes_of(key)).sum::<usize>();
        if self.topics.get(&topic).is_some_and(|window| window.chunks.is_empty()) {
            self.topics.remove(&topic);
        }
    }

    /// Forgets chunks whose windows are over, a bounded number of keys at a time; gives which.
    pub(super) fn expire(&mut self, now: Monotonic) -> Vec<(TopicId, u64)> {
        let mut gone = Vec::new();
        let mut keys = 0;
        let is_due = |window: &Window| window.chunks.front().is_some_and(|chunk| chunk.deadline <= now);
        let due: Vec<TopicId> =
            self.topics.iter().filter(|(_, window)| is_due(window)).map(|(&topic, _)| topic).collect();
        for topic in due {
            while keys < DEDUP_EXPIRE_KEYS
                && let Some(window) = self.topics.get_mut(&topic)
                && is_due(window)
                && let Some(chunk) = window.chunks.pop_front()
            {
                keys += chunk.keys.len();
                window.forget(&chunk);
                self.uncount(topic, &chunk);
                gone.push((topic, chunk.id));
            }
        }
        gone
    }

    /// Forgets a topic that is gone. That needs no record of its own: the topic's says so.
    pub(in crate::core) fn forget_topic(&mut self, topic: TopicId) {
        if let Some(window) = self.topics.remove(&topic) {
            for chunk in &window.chunks {
                self.uncount(topic, chunk);
            }
        }
    }

    /// Puts back a chunk that was read. What is left of its window is at most a whole one, wherever the clock went.
    pub(super) fn recover(
        &mut self,
        now: Now,
        topic: TopicId,
        id: u64,
        window_ms: Option<u64>,
        chunk: Chunk,
    ) {
        let left = u64::try_from(chunk.expires_at.0.saturating_sub(now.wall.0)).unwrap_or_default();
        let deadline = now.monotonic.plus_ms(left.min(window_ms.unwrap_or(u64::MAX)));
        let chunk = Chunk { id, deadline, ..chunk };
        self.next_chunk = self.next_chunk.max(id + 1);
        self.keys += chunk.keys.len();
        self.bytes += chunk.keys.iter().map(|(key, _)| bytes_of(key)).sum::<usize>();
        let window = self.topics.entry(topic).or_default();
        for (key, place) in &chunk.keys {
            window.known.insert(Known { key: key.clone(), chunk: id, place: *place });
        }
        window.chunks.push_back(chunk);
    }

    /// A chunk as it is written down.
    pub(in crate::core) fn value(&self, topic: TopicId, id: u64) -> Option<DedupValue> {
        Some(self.topics.get(&topic)?.chunk(id)?.to_value())
    }

    /// The first chunk after one, in order.
    pub(in crate::core) fn next_after(&self, after: Option<(TopicId, u64)>) -> Option<(TopicId, u64)> {
        use std::ops::Bound::{Excluded, Unbounded};
        if let Some((topic, id)) = after
            && let Some(window) = self.topics.get(&topic)
        {
            let index = window.chunks.partition_point(|chunk| chunk.id <= id);
            if let Some(chunk) = window.chunks.get(index) {
                return Some((topic, chunk.id));
            }
        }
        let from = after.map_or(Unbounded, |(topic, _)| Excluded(topic));
        let (&topic, window) = self.topics.range((from, Unbounded)).next()?;
        Some((topic, window.chunks.front()?.id))
    }

    /// Keys that are remembered, and their bytes.
    pub(in crate::core) fn size(&self) -> (u64, u64) {
        (self.keys as u64, self.bytes as u64)
    }
}
