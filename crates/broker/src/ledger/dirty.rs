//! Which offsets of a partition have changed since its changes were last written.

/// Ranges in the order in which they changed, merged now and then.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    ranges: Vec<(u64, u64)>,
    /// Length at which the ranges are merged next: twice what they came to, so that merging stays cheap.
    merge_at: usize,
}

/// Ranges below which merging is not worth it.
const MERGE_MIN: usize = 1024;

impl Dirty {
    /// Adds a range.
    pub(super) fn mark(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some(last) = self.ranges.last_mut()
            && last.0 <= start
            && start <= last.1
        {
            last.1 = last.1.max(end);
            return;
        }
        if self.ranges.len() >= self.merge_at.max(MERGE_MIN) {
            self.merge();
            self.merge_at = self.ranges.len() * 2;
        }
        self.ranges.push((start, end));
    }

    /// Takes all ranges, merged and rising.
    pub(super) fn take(&mut self) -> Vec<(u64, u64)> {
        self.merge();
        self.merge_at = 0;
        std::mem::take(&mut self.ranges)
    }

    /// Puts ranges back that were not written.
    pub(super) fn put_back(&mut self, ranges: Vec<(u64, u64)>) {
        self.ranges = ranges;
    }

    fn merge(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, last| {
            let touches = next.0 <= last.1;
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
    }
}
