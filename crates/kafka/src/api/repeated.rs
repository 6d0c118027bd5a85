//! What a request names more than once, where it may name each thing once.

use std::collections::HashSet;
use std::hash::Hash;

/// Those that occur again.
pub(super) fn repeated<T: Copy + Eq + Hash>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|it| !seen.insert(*it)).collect()
}
