//! Rolling snapshots: beside what changed, a group writes the whole state of the next few owners, so that the state
//! partition can be trimmed below the last whole round and start-up reads a bounded tail.
//!
//! Invariant: a round writes every owner that exists from its start to its end, from what is in memory when its group is
//! sealed, in the groups that write state anyway; nothing is written when nothing changes. The trim to a round's start
//! is part of the commit that ends the round, so it is never durable before what it relies on. A refused commit ends
//! the round: its offsets are given out anew.
//! Adding an owner: its place in [`Core::next_owner`].

#[cfg(test)]
mod tests;

use std::ops::Bound::{self, Excluded, Unbounded};

use duolog_record::{Offset, PartitionId};
use duolog_storage::Trim;

use super::Core;
use super::group::Group;
use crate::ledger::SnapshotAt;
use crate::limits::{STATE_ROUND_BYTES, STATE_SNAPSHOT_BYTES_MIN, STATE_SNAPSHOT_SHARE};
use crate::routing::{BindingId, ExchangeId};
use crate::state::{Owner, STATE_PARTITION, StateRecord};
use crate::{MoveId, QueueId, TopicId};

/// How fast rounds follow each other; tests make them short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes of state before a round begins.
    pub(super) round_bytes: u64,
    /// Bytes of snapshots that a group may write at least.
    pub(super) bytes_min: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { round_bytes: STATE_ROUND_BYTES, bytes_min: STATE_SNAPSHOT_BYTES_MIN }
    }
}

/// Where the snapshots stand.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) pace: Pace,
    /// Bytes of the state partition, about, including what is in flight.
    tail_bytes: u64,
    round: Option<Round>,
}

/// A round that has begun.
#[derive(Debug)]
struct Round {
    /// First offset of the state partition in the group in which it began.
    start: Offset,
    /// Bytes of the state partition below `start`.
    bytes_below: u64,
    /// What it has written last.
    after: Option<Owner>,
    /// Where the next piece of that begins, if it is a ledger that is not written to its end.
    within: Option<SnapshotAt>,
    /// Bytes that may be written: what a large owner took too much, the next groups make up for.
    allowance: i64,
}

impl Rounds {
    /// The tail that was read at start-up counts as if it had been written since the last round.
    pub(super) fn recovered(tail_bytes: u64) -> Self {
        Self { tail_bytes, ..Self::default() }
    }

    /// Offsets of the state partition are about to be given out anew.
    pub(super) fn abandon(&mut self) {
        self.round = None;
    }

    /// Counts `delta` bytes and gives the round, if one is going on or it is time for one.
    fn advance(&mut self, delta: u64, start: Offset) -> Option<&mut Round> {
        let bytes_below = self.tail_bytes;
        self.tail_bytes += delta;
        if self.round.is_none() && bytes_below >= self.pace.round_bytes {
            self.round = Some(Round { start, bytes_below, after: None, within: None, allowance: 0 });
        }
        let round = self.round.as_mut()?;
        let share = (delta / STATE_SNAPSHOT_SHARE).saturating_add(self.pace.bytes_min);
        round.allowance = round.allowance.saturating_add_unsigned(share);
        Some(round)
    }
}

impl Core {
    /// Adds the next pieces of the snapshot to a group whose changes are complete, and the trim if that ends the round.
    pub(super) fn seal_snapshot(&mut self, group: &mut Group) {
        let delta = group.changes.records.iter().map(|it| it.bytes() as u64).sum();
        if self.carried {
            // The disk is full: only what cannot wait is written.
            return;
        }
        let mut rounds = std::mem::take(&mut self.rounds);
        if let Some(round) = rounds.advance(delta, self.state.next) {
            let (written, is_whole) = self.snapshot_pieces(round, &mut group.snapshot);
            rounds.tail_bytes += written;
            if is_whole && let Some(round) = rounds.round.take() {
                rounds.tail_bytes = rounds.tail_bytes.saturating_sub(round.bytes_below);
                group.state_trim = Some(Trim::Start { partition: STATE_PARTITION, start: round.start });
            }
        }
        self.rounds = rounds;
    }

    /// Writes owners as far as the allowance goes; gives the bytes, and whether there are no more owners.
    fn snapshot_pieces(&self, round: &mut Round, pieces: &mut Vec<StateRecord>) -> (u64, bool) {
        let mut written = 0;
        while round.allowance > 0 {
            let Some(piece) = self.next_piece(round) else {
                return (written, true);
            };
            let bytes = piece.bytes() as u64;
            written += bytes;
            round.allowance = round.allowance.saturating_sub_unsigned(bytes);
            pieces.push(piece);
        }
        (written, false)
    }

    /// The next owner, or the next piece of a ledger.
    fn next_piece(&self, round: &mut Round) -> Option<StateRecord> {
        if let Some(at) = round.within.take()
            && let Some(Owner::Ledger(id)) = round.after
            && let Some((piece, next)) = self.ledger_piece(QueueId(id), Some(at))
        {
            round.within = next;
            return Some(piece);
        }
        let owner = self.next_owner(round.after.as_ref())?;
        round.after = Some(owner.clone());
        if let Owner::Ledger(id) = owner
            && let Some((piece, next)) = self.ledger_piece(QueueId(id), None)
        {
            round.within = next;
            return Some(piece);
        }
        Some(self.state_record(owner))
    }

    /// The first owner after `after` that has state, in the order of owners.
    pub(super) fn next_owner(&self, after: Option<&Owner>) -> Option<Owner> {
        let topic = |from: Bound<TopicId>| {
            self.catalog.topics.range_from(from.as_ref()).next().map(|(id, _)| Owner::Topic(id.0))
        };
        let queue = |from: Bound<QueueId>| {
            self.catalog.queues.range_from(from.as_ref()).next().map(|(id, _)| Owner::Queue(id.0))
        };
        let cursor = |after| {
            let next = self.cursors.next_after(after);
            next.map(|(group, partition)| Owner::Cursor(group.clone(), partition.0))
        };
        let producer = |after| {
            self.producers.next_after(after).map(|((partition, id), _)| Owner::Producer(partition.0, id))
        };
        let dedup = |after| self.dedup.next_after(after).map(|(topic, id)| Owner::Dedup(topic.0, id));
        let delay = |from| self.delays.next_after(from).map(|topic| Owner::Delay(topic.0));
        let task = |from| self.tasks.next_after(from).map(|id| Owner::Move(id.0));
        let exchange = |from| self.catalog.next_exchange(from).map(|id| Owner::Exchange(id.0));
        let binding = |from| self.catalog.next_binding(from).map(|id| Owner::Binding(id.0));
        let exchanges = || exchange(Unbounded).or_else(|| binding(Unbounded));
        let tasks = || task(Unbounded).or_else(exchanges);
        let delays = || delay(Unbounded).or_else(tasks);
        let dedups = || dedup(None).or_else(delays);
        let producers = || producer(None).or_else(dedups);
        let cursors = || cursor(None).or_else(producers);
        let ledger = |from: Bound<QueueId>| {
            self.catalog.queues.range_from(from.as_ref()).next().map(|(id, _)| Owner::Ledger(id.0))
        };
        let ledgers = || ledger(Unbounded).or_else(cursors);
        let queues = || queue(Unbounded).or_else(ledgers);
        match after {
            None => Some(Owner::Broker),
            Some(Owner::Broker) => topic(Unbounded).or_else(queues),
            Some(Owner::Topic(id)) => topic(Excluded(TopicId(*id))).or_else(queues),
            Some(Owner::Queue(id)) => queue(Excluded(QueueId(*id))).or_else(ledgers),
            Some(Owner::Ledger(id)) => ledger(Excluded(QueueId(*id))).or_else(cursors),
            Some(Owner::Cursor(group, partition)) => {
                cursor(Some((group.as_str(), PartitionId(*partition)))).or_else(producers)
            }
            Some(Owner::Producer(partition, id)) => {
                producer(Some((PartitionId(*partition), *id))).or_else(dedups)
            }
            Some(Owner::Dedup(topic, id)) => dedup(Some((TopicId(*topic), *id))).or_else(delays),
            Some(Owner::Delay(topic)) => delay(Excluded(TopicId(*topic))).or_else(tasks),
            Some(Owner::Move(id)) => task(Excluded(MoveId(*id))).or_else(exchanges),
            Some(Owner::Exchange(id)) => exchange(Excluded(ExchangeId(*id))).or_else(|| binding(Unbounded)),
            Some(Owner::Binding(id)) => binding(Excluded(BindingId(*id))),
        }
    }
}
