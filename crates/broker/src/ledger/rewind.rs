//! Moving whole ranges: what is gone from the log, a purge, a replay.

use duolog_record::{Offset, PartitionId};
use duolog_storage::planted::{self, Bug};

use super::Ledger;
use super::changes::ReplayMark;
use crate::Now;

impl Ledger {
    /// Records below `start` are gone (retention, trim).
    pub fn start_moved(&mut self, partition: PartitionId, start: Offset) {
        let Some(index) = self.index(partition) else { return };
        self.partitions[index as usize].settle_below(start.0, &mut self.timers);
        self.refresh(index);
    }

    /// Settles everything below the known end, whatever its state. Answers how many.
    pub fn purge(&mut self) -> u64 {
        let mut settled = 0;
        for index in 0..self.partitions.len() as u32 {
            let it = &mut self.partitions[index as usize];
            settled += it.settle_below(it.end, &mut self.timers);
            self.refresh(index);
        }
        settled
    }

    /// The same, but for what is leased or on the way to the dead-letter queue.
    pub fn purge_unheld(&mut self) -> u64 {
        let mut settled = 0;
        for index in 0..self.partitions.len() as u32 {
            settled += self.partitions[index as usize].settle_unheld(&mut self.timers);
            self.refresh(index);
        }
        settled
    }

    /// Makes settled records from `from` on available again with no attempts, their time to live counted from now.
    /// The caller keeps `from` at or above the log's start. Answers how many; holes count until their turn comes.
    pub fn replay(&mut self, now: Now, partition: PartitionId, from: Offset) -> u64 {
        let Some(index) = self.index(partition) else { return 0 };
        let it = &mut self.partitions[index as usize];
        let again = it.settled.remove(from.0, it.end);
        if again.is_empty() {
            return 0;
        }
        let mut count = 0;
        for (start, end) in again {
            count += end - start;
            it.mark(start, end);
        }
        it.replay = ReplayMark { below: it.end, at: now.wall.0.max(it.replay.at) };
        it.restart_at(it.scan.min(from.0));
        // Handles from before name leases of another life.
        if !planted::is(Bug::ReplayNotFenced) {
            self.incarnation += 1;
        }
        self.refresh(index);
        count
    }
}
