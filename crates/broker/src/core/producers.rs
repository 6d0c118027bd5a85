//! Idempotent producers: per partition and producer id the epoch and the last batches, so that a batch sent twice is
//! stored once.
//!
//! Invariant: a batch is accepted only if its first sequence follows the last one stored of its producer and epoch; an
//! unknown producer may begin anywhere, a new epoch at 0. A repeated batch is answered with its first offset. What is
//! known of a producer does not go with its records: only being idle, and the cap, forgets it.
//! Source: KIP-98 (idempotent producer), Kafka `ProducerStateManager`, `ProducerAppendInfo`.

use std::collections::{BTreeMap, VecDeque};

use duolog_record::{Offset, PartitionId, Producer, Timestamp};

use super::Core;
use super::command::Reply;
use super::verdict::when_durable;
use crate::KnownProducer;
use crate::errors::{AppendError, CursorError};
use crate::limits::{PRODUCER_BATCHES, PRODUCER_IDLE_MS, PRODUCERS};
use crate::state::ProducerValue;

/// A producer in a partition.
pub(super) type ProducerKey = (PartitionId, i64);

/// A batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredSequence {
    first: i32,
    last: i32,
    base: Offset,
}

/// What is known of one producer in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProducerState {
    epoch: i16,
    /// Oldest first, never empty, at most `PRODUCER_BATCHES`.
    batches: VecDeque<StoredSequence>,
    used_at: Timestamp,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequenced {
    /// Store it.
    Next,
    /// It was stored at this offset.
    Duplicate(Offset),
}

/// The sequence `by` further on: they wrap from `i32::MAX` to 0.
fn advance(sequence: i32, by: u32) -> i32 {
    const COUNT: i64 = 1 << 31;
    let wrapped = (i64::from(sequence) + i64::from(by)) % COUNT;
    i32::try_from(wrapped).expect("a remainder of 2^31 fits")
}

impl ProducerState {
    fn check(&self, sent: &Producer, offsets: u32) -> Result<Sequenced, AppendError> {
        if sent.epoch < self.epoch {
            return Err(AppendError::StaleEpoch { got: sent.epoch, current: self.epoch });
        }
        if sent.epoch > self.epoch {
            return match sent.base_sequence {
                0 => Ok(Sequenced::Next),
                got => Err(AppendError::OutOfOrder { got, expected: 0 }),
            };
        }
        let last = advance(sent.base_sequence, offsets - 1);
        let same = |stored: &&StoredSequence| stored.first == sent.base_sequence && stored.last == last;
        if let Some(stored) = self.batches.iter().find(same) {
            return Ok(Sequenced::Duplicate(stored.base));
        }
        let expected = self.batches.back().map_or(0, |stored| advance(stored.last, 1));
        if sent.base_sequence == expected {
            Ok(Sequenced::Next)
        } else {
            // One from before the batches that are remembered is no duplicate for certain: it may be the first of
            // several in flight, overtaken after the producer was forgotten.
            Err(AppendError::OutOfOrder { got: sent.base_sequence, expected })
        }
    }

    /// As it is written down.
    pub(super) fn to_value(&self) -> ProducerValue {
        ProducerValue {
            epoch: self.epoch,
            batches: self.batches.iter().map(|it| (it.first, it.last, it.base.0)).collect(),
            used_at: self.used_at.0,
        }
    }

    /// From what was written down; `None` if no producer can be in such a state.
    pub(super) fn from_value(value: &ProducerValue) -> Option<Self> {
        let is_sound = |&(first, last, _): &(i32, i32, u64)| first >= 0 && last >= 0;
        let count = value.batches.len();
        if value.epoch < 0 || count == 0 || count > PRODUCER_BATCHES || !value.batches.iter().all(is_sound) {
            return None;
        }
        let stored =
            |&(first, last, base): &(i32, i32, u64)| StoredSequence { first, last, base: Offset(base) };
        Some(Self {
            epoch: value.epoch,
            batches: value.batches.iter().map(stored).collect(),
            used_at: Timestamp(value.used_at),
        })
    }

    /// Forgets the batches at or above `end`: false if nothing is left.
    pub(super) fn keep_below(&mut self, end: Offset) -> bool {
        self.batches.retain(|stored| stored.base < end);
        !self.batches.is_empty()
    }
}

/// All producers of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    known: BTreeMap<ProducerKey, ProducerState>,
}

impl Producers {
    /// Whether a batch of `offsets` records may be stored now.
    pub(super) fn check(
        &self,
        partition: PartitionId,
        sent: &Producer,
        offsets: u32,
    ) -> Result<Sequenced, AppendError> {
        match self.known.get(&(partition, sent.id)) {
            Some(state) => state.check(sent, offsets),
            None => Ok(Sequenced::Next),
        }
    }

    /// Notes a batch that `check` let pass.
    pub(super) fn note(
        &mut self,
        partition: PartitionId,
        sent: &Producer,
        offsets: u32,
        base: Offset,
        now: Timestamp,
    ) {
        let state = self.known.entry((partition, sent.id)).or_insert_with(|| ProducerState {
            epoch: sent.epoch,
            batches: VecDeque::with_capacity(PRODUCER_BATCHES),
            used_at: now,
        });
        if state.epoch != sent.epoch {
            state.epoch = sent.epoch;
            state.batches.clear();
        }
        if state.batches.len() >= PRODUCER_BATCHES {
            state.batches.pop_front();
        }
        let last = advance(sent.base_sequence, offsets - 1);
        state.batches.push_back(StoredSequence { first: sent.base_sequence, last, base });
        state.used_at = now;
    }

    pub(super) fn get(&self, key: ProducerKey) -> Option<&ProducerState> {
        self.known.get(&key)
    }

    /// Sets (or forgets) what is known: recovery, and appends that did not become durable.
    pub(super) fn set(&mut self, key: ProducerKey, state: Option<ProducerState>) {
        match state {
            Some(state) => self.known.insert(key, state),
            None => self.known.remove(&key),
        };
    }

    /// Forgets those of a partition that is gone.
    pub(super) fn remove_partition(&mut self, partition: PartitionId) -> Vec<ProducerKey> {
        let keys: Vec<_> =
            self.known.range((partition, i64::MIN)..=(partition, i64::MAX)).map(|(&key, _)| key).collect();
        for key in &keys {
            self.known.remove(key);
        }
        keys
    }

    /// Those of a partition, by rising id.
    fn of(&self, partition: PartitionId) -> Vec<KnownProducer> {
        let known = self.known.range((partition, i64::MIN)..=(partition, i64::MAX));
        let known = known.map(|(&(_, id), state)| KnownProducer {
            id,
            epoch: state.epoch,
            last_sequence: state.batches.back().map_or(-1, |stored| stored.last),
            used_at: state.used_at,
        });
        known.collect()
    }

    /// Looks at `count` producers behind `after` and forgets who was idle too long; gives their keys, and where to go on.
    pub(super) fn expire_some(
        &mut self,
        now: Timestamp,
        after: Option<ProducerKey>,
        count: usize,
    ) -> (Vec<ProducerKey>, Option<ProducerKey>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let idle_since = Timestamp(now.0.saturating_sub(PRODUCER_IDLE_MS));
        let (mut gone, mut last, mut seen) = (Vec::new(), None, 0);
        for (&key, state) in self.known.range((after.map_or(Unbounded, Excluded), Unbounded)).take(count) {
            if state.used_at < idle_since {
                gone.push(key);
            }
            last = Some(key);
            seen += 1;
        }
        for key in &gone {
            self.known.remove(key);
        }
        (gone, last.filter(|_| seen == count))
    }

    /// Forgets who was idle too long and, over the cap, who was idle longest (one in eight, so that the search for them
    /// is rare); gives their keys.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<ProducerKey> {
        let (mut gone, _) = self.expire_some(now, None, usize::MAX);
        if self.is_full() && gone.is_empty() {
            let mut by_age: Vec<_> = self.known.iter().map(|(&key, it)| (it.used_at, key)).collect();
            by_age.sort_unstable();
            gone = by_age.into_iter().take(PRODUCERS.div_ceil(8)).map(|(_, key)| key).collect();
            for key in &gone {
                self.known.remove(key);
            }
        }
        gone
    }

    /// Forgets batches at or above the end of their partition (`None`: there is no such partition); gives the keys of
    /// those that this changed.
    pub(super) fn keep_below(&mut self, end_of: impl Fn(PartitionId) -> Option<Offset>) -> Vec<ProducerKey> {
        let mut changed = Vec::new();
        self.known.retain(|&key, state| {
            let batches = state.batches.len();
            let is_left = end_of(key.0).is_some_and(|end| state.keep_below(end));
            if !is_left || state.batches.len() < batches {
                changed.push(key);
            }
            is_left
        });
        changed
    }

    /// The cap is reached: `expire` before the next.
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= PRODUCERS
    }

    /// The first producer after `key`, in order.
    pub(super) fn next_after(&self, key: Option<ProducerKey>) -> Option<(ProducerKey, &ProducerState)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = key.map_or(Unbounded, Excluded);
        self.known.range((from, Unbounded)).next().map(|(&key, state)| (key, state))
    }
}

impl Core {
    pub(super) fn look_at_producers(
        &mut self,
        partition: PartitionId,
        reply: Reply<Vec<KnownProducer>, CursorError>,
    ) {
        if self.catalog.topic_of(partition).is_none() {
            // A caller that no longer listens needs no answer.
            let _ = reply.send(Err(CursorError::NotFound(partition)));
            return;
        }
        let known = self.producers.of(partition);
        self.answer_when_durable(when_durable(reply, known));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use duolog_record::{Offset, PartitionId, Producer, Timestamp};

    use super::{Producers, Sequenced, advance};
    use crate::errors::AppendError;

    const P: PartitionId = PartitionId(16);

    fn batch(epoch: i16, base_sequence: i32) -> Producer {
        Producer { id: 7, epoch, base_sequence }
    }

    fn store(producers: &mut Producers, epoch: i16, base_sequence: i32, offsets: u32, base: u64) {
        let sent = batch(epoch, base_sequence);
        assert_eq!(producers.check(P, &sent, offsets), Ok(Sequenced::Next));
        producers.note(P, &sent, offsets, Offset(base), Timestamp(0));
    }

    #[test]
    fn a_repeated_batch_gets_its_first_offset() {
        let mut producers = Producers::default();
        for n in 0..6 {
            store(&mut producers, 0, n * 10, 10, 100 + n as u64 * 10);
        }
        assert_eq!(producers.check(P, &batch(0, 50), 10), Ok(Sequenced::Duplicate(Offset(150))));
        assert_eq!(producers.check(P, &batch(0, 10), 10), Ok(Sequenced::Duplicate(Offset(110))));
        let too_old = AppendError::OutOfOrder { got: 0, expected: 60 };
        assert_eq!(producers.check(P, &batch(0, 0), 10), Err(too_old));
    }

    #[test]
    fn a_gap_is_out_of_order() {
        let mut producers = Producers::default();
        store(&mut producers, 0, 0, 10, 0);
        assert_eq!(
            producers.check(P, &batch(0, 11), 1),
            Err(AppendError::OutOfOrder { got: 11, expected: 10 })
        );
        assert_eq!(
            producers.check(P, &batch(0, 5), 10),
            Err(AppendError::OutOfOrder { got: 5, expected: 10 })
        );
    }

    #[test]
    fn an_unknown_producer_begins_anywhere_and_a_new_epoch_at_zero() {
        let mut producers = Producers::default();
        store(&mut producers, 3, 77, 1, 0);
        assert_eq!(
            producers.check(P, &batch(4, 78), 1),
            Err(AppendError::OutOfOrder { got: 78, expected: 0 })
        );
        store(&mut producers, 4, 0, 1, 1);
        assert_eq!(producers.check(P, &batch(3, 78), 1), Err(AppendError::StaleEpoch { got: 3, current: 4 }));
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        store(&mut producers, 0, i32::MAX - 1, 2, 0);
        store(&mut producers, 0, 0, 5, 2);
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(producers.check(P, &batch(0, i32::MAX - 1), 2), Ok(Sequenced::Duplicate(Offset(0))));
        store(&mut producers, 0, 5, 1, 7);
    }

    #[test]
    fn a_batch_across_the_wrap_is_found_again() {
        let mut producers = Producers::default();
        store(&mut producers, 0, i32::MAX - 1, 5, 0);
        assert_eq!(producers.check(P, &batch(0, i32::MAX - 1), 5), Ok(Sequenced::Duplicate(Offset(0))));
        store(&mut producers, 0, 3, 1, 5);
    }

    #[test]
    fn idle_producers_are_forgotten() {
        let mut producers = Producers::default();
        store(&mut producers, 0, 0, 1, 0);
        store(&mut producers, 1, 0, 1, 1);
        assert!(producers.expire(Timestamp(1000)).is_empty());
        assert_eq!(producers.expire_some(Timestamp(1000), None, 1), (vec![], Some((P, 7))));
        assert_eq!(producers.expire_some(Timestamp(1000), Some((P, 7)), 1), (vec![], None));
        assert_eq!(producers.expire(Timestamp(crate::limits::PRODUCER_IDLE_MS + 1)), vec![(P, 7)]);
        assert_eq!(producers.check(P, &batch(0, 99), 1), Ok(Sequenced::Next));
    }
}
