//! Runs of offsets, kept merged: what of a partition has been discarded.
//!
//! Invariant: runs are not empty, do not touch each other, and rise.

use std::collections::BTreeMap;
use std::ops::Range;

use duolog_record::Offset;

/// A set of offsets as disjoint half-open runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Start of each run to its end.
    by_start: BTreeMap<u64, u64>,
}

impl Runs {
    /// Adds a run, merging it with those that it touches.
    pub(crate) fn add(&mut self, run: &Range<Offset>) {
        let (mut start, mut end) = (run.start.0, run.end.0);
        if start >= end {
            return;
        }
        if let Some((&before, &before_end)) = self.by_start.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
            self.by_start.remove(&before);
        }
        while let Some((&next, &next_end)) = self.by_start.range(start..=end).next() {
            end = end.max(next_end);
            self.by_start.remove(&next);
        }
        self.by_start.insert(start, end);
    }

    /// True if every offset of `range` is in one run.
    pub(crate) fn covers(&self, range: &Range<Offset>) -> bool {
        range.start >= range.end
            || self
                .by_start
                .range(..=range.start.0)
                .next_back()
                .is_some_and(|(_, &run_end)| run_end >= range.end.0)
    }

    /// True if any offset of `range` is in a run.
    pub(crate) fn touches(&self, range: &Range<Offset>) -> bool {
        range.start < range.end
            && self
                .by_start
                .range(..range.end.0)
                .next_back()
                .is_some_and(|(_, &run_end)| run_end > range.start.0)
    }

    /// How many offsets of `range` are in runs.
    pub(crate) fn count_in(&self, range: &Range<Offset>) -> u64 {
        self.pieces(range).map(|(start, end)| end - start).sum()
    }

    /// The runs within `range`, cut to it.
    pub(crate) fn within(&self, range: &Range<Offset>) -> Self {
        Self { by_start: self.pieces(range).collect() }
    }

    fn pieces(&self, range: &Range<Offset>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (from, until) = (range.start.0, range.end.0.max(range.start.0));
        let first = self.by_start.range(..from).next_back().map_or(from, |(&start, _)| start);
        self.by_start
            .range(first..until)
            .map(move |(&start, &end)| (start.max(from), end.min(until)))
            .filter(|(start, end)| start < end)
    }

    /// True if nothing is in a run.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Forgets everything below `start`.
    pub(crate) fn trim(&mut self, start: Offset) {
        let mut kept = self.by_start.split_off(&start.0);
        if let Some((_, &end)) = self.by_start.iter().next_back()
            && end > start.0
        {
            kept.insert(start.0, end);
        }
        self.by_start = kept;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn run(start: u64, end: u64) -> Range<Offset> {
        Offset(start)..Offset(end)
    }

    #[test]
    fn runs_that_touch_become_one() {
        let mut runs = Runs::default();
        runs.add(&run(0, 5));
        runs.add(&run(10, 15));
        assert!(!runs.covers(&run(0, 15)));
        runs.add(&run(5, 10));
        assert!(runs.covers(&run(0, 15)));
        assert_eq!(runs.by_start.len(), 1);
    }

    #[test]
    fn trimming_cuts_a_run_in_two() {
        let mut runs = Runs::default();
        runs.add(&run(0, 10));
        runs.trim(Offset(4));
        assert!(!runs.covers(&run(3, 10)));
        assert!(runs.covers(&run(4, 10)));
    }

    proptest! {
        #[test]
        fn runs_hold_the_same_offsets_as_a_plain_set(
            added in prop::collection::vec((0u64..60, 0u64..12), 0..20), start in 0u64..60,
        ) {
            let mut runs = Runs::default();
            let mut model = std::collections::BTreeSet::new();
            for (from, length) in added {
                runs.add(&run(from, from + length));
                model.extend(from..from + length);
            }
            runs.trim(Offset(start));
            model.retain(|&at| at >= start);
            for at in 0..80 {
                prop_assert_eq!(runs.covers(&run(at, at + 1)), model.contains(&at));
            }
            let range = run(start / 2, start + 7);
            let within = runs.within(&range);
            let count = (0..80).filter(|at| range.contains(&Offset(*at)) && model.contains(at)).count();
            prop_assert_eq!(runs.count_in(&range), count as u64);
            for at in 0..80 {
                let is_in = range.contains(&Offset(at)) && model.contains(&at);
                prop_assert_eq!(within.covers(&run(at, at + 1)), is_in);
            }
            let ends: Vec<_> = runs.by_start.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
