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
            let ends: Vec<_> = runs.by_start.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
