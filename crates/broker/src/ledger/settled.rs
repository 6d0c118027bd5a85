//! Which offsets of a partition are settled: a floor, and runs above it.
//!
//! Invariant: runs are not empty, rise, touch neither each other nor the floor; so equal sets are equal values.

use std::collections::BTreeMap;

/// A set of offsets that holds everything below its floor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SettledSet {
    floor: u64,
    /// Start of each run to its end.
    runs: BTreeMap<u64, u64>,
    /// Offsets in runs.
    above: u64,
}

impl SettledSet {
    /// Everything below `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Self { floor, runs: BTreeMap::new(), above: 0 }
    }

    /// All below are in the set, the offset itself is not.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Number of runs above the floor.
    pub(super) fn runs_len(&self) -> usize {
        self.runs.len()
    }

    /// Number of offsets above the floor.
    pub(super) fn above(&self) -> u64 {
        self.above
    }

    /// The runs above the floor that end behind `from`, rising.
    pub(super) fn runs(&self, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let first = self.runs.range(..=from).next_back().filter(|&(_, &end)| end > from);
        let start = first.map_or(from, |(&start, _)| start);
        self.runs.range(start..).map(|(&start, &end)| (start, end))
    }

    /// The first offset at or behind `offset` that is not in the set.
    pub(super) fn next_outside(&self, offset: u64) -> u64 {
        if offset < self.floor {
            return self.floor;
        }
        match self.runs.range(..=offset).next_back() {
            Some((_, &end)) if end > offset => end,
            Some(_) | None => offset,
        }
    }

    /// Where the first run behind `offset` begins; `u64::MAX` if there is none.
    pub(super) fn next_run(&self, offset: u64) -> u64 {
        self.runs.range(offset..).next().map_or(u64::MAX, |(&start, _)| start)
    }

    /// True if the offset is in the set.
    pub(super) fn contains(&self, offset: u64) -> bool {
        self.next_outside(offset) != offset
    }

    /// True if there is nothing between `offset` and the settled offsets before it.
    pub(super) fn touches(&self, offset: u64) -> bool {
        offset.checked_sub(1).is_none_or(|before| self.contains(before))
    }

    /// Adds a range; answers how many offsets of it were not in the set.
    pub(super) fn add(&mut self, start: u64, end: u64) -> u64 {
        let (start, mut end) = (start.max(self.floor), end);
        if start >= end {
            return 0;
        }
        // Either a run is continued where it stands, or the floor moves, or a run begins.
        let before = self.runs.range(..=start).next_back().filter(|&(_, &before_end)| before_end >= start);
        let before = before.map(|(&run, &run_end)| (run, run_end));
        let from = before.map_or(start, |(_, run_end)| run_end);
        if from >= end {
            return 0;
        }
        let mut known = 0;
        while let Some((&next, &next_end)) = self.runs.range(from..=end).next() {
            known += next_end - next;
            end = end.max(next_end);
            self.runs.remove(&next);
        }
        let added = end - from - known;
        match before {
            _ if start == self.floor => {
                self.floor = end;
                self.above -= known;
                return added;
            }
            Some((run, _)) => drop(self.runs.insert(run, end)),
            None => drop(self.runs.insert(start, end)),
        }
        self.above += added;
        added
    }

    /// Takes a range out; answers which parts of it were in the set.
    pub(super) fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut removed = Vec::new();
        if start >= end {
            return removed;
        }
        if start < self.floor {
            let floor = std::mem::replace(&mut self.floor, start);
            removed.push((start, end.min(floor)));
            if end < floor {
                self.insert(end, floor);
                return removed;
            }
        }
        let first = self.runs.range(..start).next_back().filter(|&(_, &run_end)| run_end > start);
        let mut at = first.map_or(start, |(&run, _)| run);
        while at < end
            && let Some((&run, &run_end)) = self.runs.range(at..end).next()
        {
            self.runs.remove(&run);
            self.above -= run_end - run;
            self.insert(run, start);
            self.insert(end, run_end);
            removed.push((run.max(start), run_end.min(end)));
            at = run_end;
        }
        removed
    }

    /// Inserts a run that touches nothing.
    fn insert(&mut self, start: u64, end: u64) {
        if start < end {
            self.runs.insert(start, end);
            self.above += end - start;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::SettledSet;

    const SPACE: u64 = 40;

    proptest! {
        #[test]
        fn is_the_set_of_its_offsets(ops in prop::collection::vec((any::<bool>(), 0..SPACE, 0..12u64), 0..40)) {
            let mut set = SettledSet::new(0);
            let mut model = BTreeSet::new();
            for (add, start, count) in ops {
                let range = start..(start + count).min(SPACE);
                if add {
                    let new = range.clone().filter(|&at| model.insert(at)).count() as u64;
                    prop_assert_eq!(set.add(range.start, range.end), new);
                } else {
                    let gone: Vec<u64> = range.clone().filter(|at| model.remove(at)).collect();
                    let removed = set.remove(range.start, range.end);
                    prop_assert_eq!(removed.into_iter().flat_map(|(from, to)| from..to).collect::<Vec<_>>(), gone);
                }
                let floor = (0..).find(|at| !model.contains(at)).unwrap();
                prop_assert_eq!(set.floor(), floor);
                prop_assert_eq!(set.above(), model.len() as u64 - floor);
                for at in 0..SPACE {
                    prop_assert_eq!(set.contains(at), model.contains(&at));
                    prop_assert_eq!(set.touches(at), at == 0 || model.contains(&(at - 1)));
                    let run = (at..SPACE).find(|&at| at > floor && model.contains(&at) && !model.contains(&(at - 1)));
                    prop_assert_eq!(set.next_run(at), run.unwrap_or(u64::MAX));
                    let ends: Vec<_> = set.runs(at).map(|(_, end)| end).collect();
                    prop_assert!(ends.iter().all(|&end| end > at));
                    prop_assert_eq!(ends.len(), set.runs(0).filter(|&(_, end)| end > at).count());
                }
                let mut last = floor;
                for (start, end) in set.runs(0) {
                    prop_assert!(start > last && end > start);
                    last = end;
                }
            }
        }
    }
}
