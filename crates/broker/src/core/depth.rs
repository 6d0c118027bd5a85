//! How full queues are. The counts are the ledger's; bytes and ages are looked up in the log by the reader's thread.

use std::collections::BTreeMap;

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::Log;

use super::Core;
use super::command::Reply;
use super::work::Work;
use crate::errors::{ChangeError, LeaseError};
use crate::limits::{DEPTHS_PARTITIONS_PER_TURN, DEPTHS_PER_TURN};
use crate::{Depth, Now, Overview, QueueId};

/// What is known of one queue before the look.
struct Counted {
    depth: Depth,
    /// The oldest unsettled record of each partition that has one.
    oldest: Vec<(PartitionId, Offset)>,
    /// Up to where the queue counted, and how long its records are delayed, if they are.
    delay: Option<(BTreeMap<PartitionId, Offset>, u64)>,
}

/// Who asked.
enum Asked {
    One(Counted, Reply<Depth, LeaseError>),
    Some(Vec<(QueueId, Counted)>, Reply<Vec<(QueueId, Depth)>, ChangeError>),
}

/// Counts whose bytes and ages are to be looked up, and whom to tell.
pub struct Depths {
    now: Timestamp,
    asked: Asked,
}

impl Depths {
    /// Looks and answers. A partition that has gone meanwhile, or cannot be read, counts nothing.
    pub(super) fn answer(self, log: &dyn Log) {
        // A caller that no longer listens needs no answer.
        match self.asked {
            Asked::One(counted, reply) => drop(reply.send(Ok(counted.complete(self.now, log)))),
            Asked::Some(some, reply) => {
                let complete = |(id, counted): (QueueId, Counted)| (id, counted.complete(self.now, log));
                drop(reply.send(Ok(some.into_iter().map(complete).collect())));
            }
        }
    }
}

impl Counted {
    fn complete(mut self, now: Timestamp, log: &dyn Log) -> Depth {
        self.count_delayed(now, log);
        let mut oldest_at: Option<Timestamp> = None;
        for (partition, oldest) in self.oldest {
            self.depth.backlog_bytes += bytes_from(log, partition, oldest);
            if let Ok(spans) = log.spans(partition, oldest, 1)
                && let Some(span) = spans.first()
            {
                oldest_at = Some(oldest_at.map_or(span.append_time, |it| it.min(span.append_time)));
            }
        }
        self.depth.oldest_age_ms =
            oldest_at.map(|at| u64::try_from(now.0.saturating_sub(at.0)).unwrap_or_default());
        self.depth
    }
}

impl Counted {
    /// What was appended lately waits for the queue's delay. It stands at the end, and has no history.
    fn count_delayed(&mut self, now: Timestamp, log: &dyn Log) {
        let Some((ends, delay_ms)) = &self.delay else { return };
        let undue = Timestamp(now.0.saturating_sub_unsigned(*delay_ms).saturating_add(1));
        for (partition, oldest) in &self.oldest {
            let end = ends.get(partition).copied().unwrap_or(*oldest);
            if let Ok(Some(span)) = log.first_appended_at_or_after(*partition, undue) {
                let delayed = end.0.saturating_sub(span.base.max(*oldest).0).min(self.depth.available);
                self.depth.available -= delayed;
                self.depth.delayed += delayed;
            }
        }
    }
}

/// Bytes of a partition from the batch that holds `from` on. The log tells where a number of bytes begins; the least
/// number that reaches down to `from` is found by halving.
fn bytes_from(log: &dyn Log, partition: PartitionId, from: Offset) -> u64 {
    let (mut low, mut high) = (0, log.partition_bytes(partition));
    while low < high {
        let middle = u64::midpoint(low, high);
        if log.start_for_bytes(partition, middle) <= from {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

impl Core {
    fn counted(&mut self, now: Now, id: QueueId) -> Option<Counted> {
        let state = self.queues.get_mut(id)?;
        state.ledger.expire(now);
        self.settle_outlived(now, id);
        let state = self.queues.get_mut(id)?;
        let (topic, counts) = (state.topic, state.ledger.depth());
        let delayed = self.delayed_count(topic);
        let state = self.queues.get(id)?;
        let depth = Depth {
            available: counts.available,
            in_flight: counts.in_flight,
            delayed: counts.delayed + delayed,
            backlog_bytes: 0,
            oldest_age_ms: None,
            dead_lettered: state.dead.moved,
            undeliverable: state.undeliverable,
            malformed: state.malformed,
            waiting: state.line.len() as u64,
        };
        self.settle_down(now, id);
        let delay_ms = self.catalog.queue_by_id(id).map_or(0, |queue| queue.policy.delay_ms);
        let end = |&(partition, _): &(PartitionId, Offset)| {
            Some((partition, self.partitions.get(&partition)?.durable))
        };
        let delay = (delay_ms > 0).then(|| (counts.oldest.iter().filter_map(end).collect(), delay_ms));
        Some(Counted { depth, oldest: counts.oldest, delay })
    }

    pub(super) fn depth(&mut self, now: Now, id: QueueId, reply: Reply<Depth, LeaseError>) {
        match self.counted(now, id) {
            None => drop(reply.send(Err(LeaseError::NotFound))),
            Some(counted) if counted.oldest.is_empty() => drop(reply.send(Ok(counted.depth))),
            Some(counted) => self.look_up(now, Asked::One(counted, reply)),
        }
    }

    pub(super) fn depths(
        &mut self,
        now: Now,
        after: Option<QueueId>,
        reply: Reply<Vec<(QueueId, Depth)>, ChangeError>,
    ) {
        let mut some = Vec::new();
        let mut partitions = 0;
        for id in self.queues.ids_after(after, DEPTHS_PER_TURN) {
            let Some(counted) = self.counted(now, id) else { continue };
            some.push((id, counted));
            partitions += self.partitions_of(id);
            if partitions >= DEPTHS_PARTITIONS_PER_TURN {
                break;
            }
        }
        if some.iter().any(|(_, counted)| !counted.oldest.is_empty()) {
            return self.look_up(now, Asked::Some(some, reply));
        }
        // Of empty queues the log has nothing to tell.
        drop(reply.send(Ok(some.into_iter().map(|(id, counted)| (id, counted.depth)).collect())));
    }

    /// How many partitions a queue reads.
    fn partitions_of(&self, id: QueueId) -> usize {
        let topic = self.queues.get(id).and_then(|state| self.catalog.topic_by_id(state.topic));
        topic.map_or(0, |topic| topic.partitions.len())
    }

    pub(super) fn overview(&mut self, reply: Reply<Overview, ChangeError>) {
        let groups = self.cursors.groups().map(|group| (group.clone(), self.cursors.of(group))).collect();
        let overview = Overview {
            queues: Vec::new(),
            groups,
            pinned: self.retention.pinned(),
            dedup_keys: self.dedup.size(),
            group_commits: self.stats.group_commits,
            records_appended: self.stats.records_appended,
            bytes_appended: self.stats.bytes_appended,
        };
        // A caller that no longer listens needs no answer.
        drop(reply.send(Ok(overview)));
    }

    fn look_up(&mut self, now: Now, asked: Asked) {
        self.queues.work.push_back(Work::Depths(Depths { now: now.wall, asked }));
    }
}
