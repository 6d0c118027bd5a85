//! An ordered map whose copies share what they have in common: the catalog is copied with every change, and most of it
//! stays as it was.
//!
//! Invariant: no chunk is empty, a chunk holds at most `CHUNK`, keys rise within chunks and from one to the next. A copy
//! costs one count; the first change after it copies one chunk and the list of chunks: of 100,000 entries about a hundredth.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

/// Entries of one chunk: at a hundred thousand entries a change copies as many entries as it counts up chunks.
const CHUNK: usize = 256;
/// Neighbours that together have no more than this become one.
const MERGED: usize = CHUNK / 2;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(|it| it.cmp(key))
    }

    /// The value of the key that compares as equal; `order` tells how a key stands to it, and must rise with the keys.
    pub(crate) fn find(&self, order: impl Fn(&K) -> Ordering) -> Option<&V> {
        let chunk = &self.chunks[self.chunk_of(&order)?];
        let index = chunk.binary_search_by(|(key, _)| order(key)).ok()?;
        Some(&chunk[index].1)
    }

    /// Adds an entry; gives the value that it replaces. The key that was there stays.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(at) = self.chunk_of(|it| it.cmp(&key)) else {
            Arc::make_mut(&mut self.chunks).push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks[at].binary_search_by(|(it, _)| it.cmp(&key)) {
            Ok(index) => {
                let entry = &mut Arc::make_mut(&mut chunks[at])[index];
                return Some(std::mem::replace(&mut entry.1, value));
            }
            // Keys that rise, as most ids do, leave full chunks behind.
            Err(CHUNK) if at + 1 == chunks.len() => chunks.push(Arc::new(vec![(key, value)])),
            Err(index) => {
                let chunk = Arc::make_mut(&mut chunks[at]);
                chunk.insert(index, (key, value));
                if chunk.len() > CHUNK {
                    let upper = chunk.split_off(CHUNK / 2);
                    chunk.shrink_to_fit();
                    chunks.insert(at + 1, Arc::new(upper));
                }
            }
        }
        self.len += 1;
        None
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_of(|it| it.cmp(key))?;
        let index = self.chunks[at].binary_search_by(|(it, _)| it.cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let (_, value) = Arc::make_mut(&mut chunks[at]).remove(index);
        self.len -= 1;
        if chunks[at].is_empty() {
            chunks.remove(at);
        } else if at > 0 && chunks[at - 1].len() + chunks[at].len() <= MERGED {
            merge(chunks, at - 1);
        } else if chunks.get(at + 1).is_some_and(|next| chunks[at].len() + next.len() <= MERGED) {
            merge(chunks, at);
        }
        Some(value)
    }

    /// All entries, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// All values, by key.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries from a bound on, by key.
    pub(crate) fn range_from(&self, from: Bound<&K>) -> impl Iterator<Item = (&K, &V)> {
        self.range_by(move |key| match from {
            Bound::Unbounded => true,
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
        })
    }

    /// The entries for whose keys `is_in` is true, which must be so of all behind the first such.
    pub(crate) fn range_by(&self, is_in: impl Fn(&K) -> bool) -> impl Iterator<Item = (&K, &V)> {
        let is_out = |key: &K| !is_in(key);
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(key, _)| is_out(key)));
        let index = self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|(key, _)| is_out(key)));
        let chunks = self.chunks[at..].iter();
        chunks.flat_map(|chunk| chunk.iter()).skip(index).map(|(key, value)| (key, value))
    }

    /// The chunk in which a key is or belongs; `None` if there is no chunk.
    fn chunk_of(&self, order: impl Fn(&K) -> Ordering) -> Option<usize> {
        let is_below = |chunk: &Chunk<K, V>| chunk.first().is_some_and(|(key, _)| order(key).is_le());
        let behind = self.chunks.partition_point(is_below);
        (!self.chunks.is_empty()).then(|| behind.saturating_sub(1))
    }
}

/// Makes one chunk of two neighbours.
fn merge<K: Clone, V: Clone>(chunks: &mut Vec<Chunk<K, V>>, first: usize) {
    let second = chunks.remove(first + 1);
    Arc::make_mut(&mut chunks[first]).extend(second.iter().cloned());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::ops::Bound::{Excluded, Included, Unbounded};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{CHUNK, Map};

    fn check(map: &Map<u16, u32>, model: &BTreeMap<u16, u32>, probe: u16) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        assert_eq!(map.get(&probe), model.get(&probe));
        for from in [Unbounded, Included(&probe), Excluded(&probe)] {
            assert!(map.range_from(from).eq(model.range((from, Unbounded))));
        }
        for chunk in map.chunks.iter() {
            assert!((1..=CHUNK).contains(&chunk.len()));
        }
    }

    proptest! {
        /// Each step is a stretch of keys that is put in or taken out, so that chunks fill, split, merge and go.
        #[test]
        fn it_is_an_ordered_map_and_its_copies_stay_as_they_were(
            steps in vec((any::<bool>(), 0_u16..2_000, 1_u16..700, 1_u16..4), 1..12),
            probe in 0_u16..3_000,
        ) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (round, (puts, first, count, stride)) in (0_u32..).zip(steps) {
                copies.push((map.clone(), model.clone()));
                for key in (0..count).map(|it| first + it * stride) {
                    if puts {
                        prop_assert_eq!(map.insert(key, round), model.insert(key, round));
                    } else {
                        prop_assert_eq!(map.remove(&key), model.remove(&key));
                    }
                }
                check(&map, &model, probe);
            }
            for (map, model) in copies {
                check(&map, &model, probe);
            }
        }
    }

    #[test]
    fn a_change_after_a_copy_leaves_nearly_all_shared() {
        let mut map = Map::default();
        (0..100_000_u32).for_each(|key| assert!(map.insert(key, ()).is_none()));
        assert_eq!(map.chunks.len(), 100_000_usize.div_ceil(CHUNK));
        let copy = map.clone();
        map.insert(50_000, ());
        map.insert(100_000, ());
        let shared =
            copy.chunks.iter().filter(|it| map.chunks.iter().any(|other| std::sync::Arc::ptr_eq(it, other)));
        assert!(shared.count() >= copy.chunks.len() - 2);
        assert_eq!(copy.len(), 100_000);
    }

    #[test]
    fn chunks_do_not_stay_small() {
        let mut map = Map::default();
        (0..100_000_u32).for_each(|key| assert!(map.insert(key, ()).is_none()));
        (0..100_000).filter(|key| key % 100 != 0).for_each(|key| assert!(map.remove(&key).is_some()));
        assert_eq!(map.len(), 1_000);
        assert!(map.chunks.len() <= 2 * map.len().div_ceil(CHUNK / 2), "{} chunks", map.chunks.len());
    }
}
