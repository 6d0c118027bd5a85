//! Purging a queue, replaying it, and beginning one at a time: what moves many records at once.

use std::collections::BTreeMap;

use duolog_record::{Offset, PartitionId, Timestamp};

use super::Core;
use super::command::Reply;
use super::declare::no_queue;
use super::verdict::when_durable;
use super::work::Work;
use crate::errors::{ChangeError, FetchError};
use crate::state::Owner;
use crate::{Now, QueueId, QueueSpec, Start, TopicId};

/// Offsets by partition that a look by time has found; `None` if all records are older.
pub(super) type Found = BTreeMap<PartitionId, Option<Offset>>;

/// What positions by time are looked up for.
pub enum AtTime {
    /// A queue that is to begin there.
    Create {
        /// Which.
        spec: Box<QueueSpec>,
        /// Its answer.
        reply: Reply<QueueId, ChangeError>,
    },
    /// A replay from there.
    Replay {
        /// Of which queue.
        queue: QueueId,
        /// Its answer.
        reply: Reply<u64, ChangeError>,
    },
}

impl AtTime {
    pub(super) fn refuse(self, error: ChangeError) {
        match self {
            Self::Create { reply, .. } => drop(reply.send(Err(error))),
            Self::Replay { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

impl Core {
    pub(super) fn purge_queue(&mut self, now: Now, id: QueueId, reply: Reply<u64, ChangeError>) {
        let Some(state) = self.queues.get_mut(id) else {
            drop(reply.send(Err(no_queue())));
            return;
        };
        let (topic, mut settled) = (state.topic, state.ledger.purge());
        // What is delayed is the topic's: others may wait for it.
        let is_own = self.catalog.topic_by_id(topic).is_some_and(|topic| topic.made_by_queue);
        if is_own && self.queues.on(topic).len() == 1 {
            settled += self.purge_delays(topic);
        }
        self.dirty.insert(Owner::Ledger(id.0));
        self.abandon_dead(id, &Ok(()));
        self.abandon_move(now, id);
        self.answer_when_durable(when_durable(reply, settled));
        self.settle_down(now, id);
    }

    /// What somebody holds stays with them, and what is delayed waits on.
    pub(super) fn purge_unheld(&mut self, now: Now, id: QueueId, reply: Reply<u64, ChangeError>) {
        let Some(state) = self.queues.get_mut(id) else {
            drop(reply.send(Err(no_queue())));
            return;
        };
        let settled = state.ledger.purge_unheld();
        self.dirty.insert(Owner::Ledger(id.0));
        self.answer_when_durable(when_durable(reply, settled));
        self.settle_down(now, id);
    }

    pub(super) fn replay_queue(
        &mut self,
        now: Now,
        id: QueueId,
        from: Start,
        reply: Reply<u64, ChangeError>,
    ) {
        let Some(topic) = self.queues.get(id).map(|state| state.topic) else {
            drop(reply.send(Err(no_queue())));
            return;
        };
        match from {
            Start::Time(at) => self.look_by_time(topic, at, AtTime::Replay { queue: id, reply }),
            Start::Earliest | Start::Latest | Start::Offset(_) => {
                self.replay(now, id, from, &Found::new(), reply);
            }
        }
    }

    fn replay(&mut self, now: Now, id: QueueId, from: Start, found: &Found, reply: Reply<u64, ChangeError>) {
        let starts = self.queues.get(id).map(|state| state.topic).map(|it| self.starts(it, from, found));
        let Some(Ok(starts)) = starts else {
            drop(reply.send(Err(no_queue())));
            return;
        };
        let mut available = 0;
        if let Some(state) = self.queues.get_mut(id) {
            for (partition, from) in starts {
                available += state.ledger.replay(now, partition, from);
            }
        }
        self.dirty.insert(Owner::Ledger(id.0));
        self.answer_when_durable(when_durable(reply, available));
        self.settle_down(now, id);
    }

    /// Looks up where a time begins in each partition of a topic.
    pub(super) fn look_by_time(&mut self, topic: TopicId, at: Timestamp, then: AtTime) {
        let partitions = self.catalog.topic_by_id(topic).map(|it| it.partitions.clone()).unwrap_or_default();
        self.queues.work.push_back(Work::Times { partitions, at, then });
    }

    /// What was looked up by time.
    pub(super) fn found_times(
        &mut self,
        now: Now,
        found: Result<Vec<(PartitionId, Option<Offset>)>, FetchError>,
        then: AtTime,
    ) {
        let found: Found = match found {
            Ok(found) => found.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "a position by time cannot be looked up");
                return then.refuse(ChangeError::Invalid { what: "start", why: error.to_string() });
            }
        };
        match then {
            AtTime::Create { spec, reply } => self.declare(now, *spec, &found, reply),
            // The time itself is in what was found.
            AtTime::Replay { queue, reply } => {
                self.replay(now, queue, Start::Time(now.wall), &found, reply);
            }
        }
    }

    /// Where `start` is in each partition of a topic.
    pub(super) fn starts(
        &self,
        topic: TopicId,
        start: Start,
        found: &Found,
    ) -> Result<Vec<(PartitionId, Offset)>, ChangeError> {
        let topic =
            self.catalog.topic_by_id(topic).ok_or_else(|| ChangeError::NotFound("the topic".to_owned()))?;
        let offset_of = |partition: &PartitionId| {
            let sequencer = self.partitions.get(partition)?;
            // What is in flight may still be refused, and its offset given to something else.
            let end = sequencer.durable;
            let offset = match start {
                Start::Earliest => sequencer.start,
                Start::Latest => end,
                Start::Offset(offset) => offset,
                Start::Time(_) => found.get(partition).copied().flatten().unwrap_or(end),
            };
            Some((*partition, offset.clamp(sequencer.start, end)))
        };
        Ok(topic.partitions.iter().filter_map(offset_of).collect())
    }
}
