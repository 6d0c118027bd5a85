//! The next offset of each partition: dense, rising, never reused within an epoch.
//!
//! Invariant: `start <= durable <= next`. Between `durable` and `next` lies what is in flight; a refused commit takes
//! `next` back, never below `durable`.

use duolog_record::{Offset, PartitionId};
use duolog_storage::Target;

use crate::TopicId;

/// Where one partition stands.
#[derive(Clone, Debug)]
pub(crate) struct Sequencer {
    pub(crate) topic: TopicId,
    /// Index in the topic.
    pub(crate) index: u32,
    /// First offset.
    pub(crate) start: Offset,
    /// Next offset to give out.
    pub(crate) next: Offset,
    /// Everything below is visible.
    pub(crate) durable: Offset,
    /// Stamped on what is appended.
    pub(crate) epoch: i32,
    /// Damage has put its end in doubt: it takes no appends.
    pub(crate) quarantined: bool,
}

impl Sequencer {
    /// A partition without records yet.
    pub(crate) fn new(topic: TopicId, index: u32, epoch: i32) -> Self {
        Self {
            topic,
            index,
            start: Offset(0),
            next: Offset(0),
            durable: Offset(0),
            epoch,
            quarantined: false,
        }
    }

    /// Gives out the next `offsets` positions.
    pub(crate) fn take(&mut self, partition: PartitionId, offsets: u32) -> Target {
        let base = self.next;
        self.next = base.plus(u64::from(offsets));
        Target { partition, base, leader_epoch: self.epoch }
    }
}
