//! Delayed records: durable at once in a hidden partition of their topic, and in the topic when they are due, so that
//! everybody sees them then and not before.
//!
//! Invariant: one commit appends the record to the topic and notes that it has left the hidden partition. It leaves in
//! the order of its time and place there, so that one key tells what has left. The clock of a delay is the wall's: it
//! goes on while the broker does not run; what is overdue at a start enters at once.
//! The hidden partition stays as long as its topic: a place in it, which a record's identity is made of, is never given
//! out again.

mod agenda;

use bytes::Bytes;
use duolog_record::{Batch, Header, Offset, PartitionId, Record, Timestamp, TimestampType};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Log, ReadError, ReadLimit, StoredBatch, Trim};

use self::agenda::{Delayed, Entering, Pass};
pub(super) use self::agenda::{Delays, DueKey};
use super::Core;
use super::dead_letter::{Copy, DeadFound};
use super::group::{Changes, Group};
use super::sealing::{Frame, record_bytes};
use super::sequencer::Sequencer;
use super::work::Work;
use crate::errors::AppendError;
use crate::limits::{
    DELAY_GAPS, DELAY_LOOK_RECORDS, DELAY_PASS_BYTES, DELAY_TRIM_RECORDS, DELAY_WAKE_MS, LOOK_RETRY_MS,
    MOVE_BYTES, PENDING_TRIMS,
};
use crate::state::{DelayValue, Owner};
use crate::{NewRecord, Now, Published, TopicId, TopicPolicy, headers};

const DELAYED_INDEX: u32 = Published::DELAYED;

/// The header that says when a record in a hidden partition is due, milliseconds since the epoch, as text.
const DUE: &str = "duolog-due";

fn header(key: &'static str, value: String) -> Header {
    Header { key: Bytes::from_static(key.as_bytes()), value: Some(Bytes::from(value)) }
}

/// When a record in a hidden partition is due; at once if it does not say, which cannot be.
fn due_of(record: &Record) -> i64 {
    let value = record.headers.iter().find(|header| header.key == DUE).and_then(|it| it.value.as_deref());
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(i64::MIN)
}

/// The records of a batch that the broker has built itself, so that its size is known.
fn records_of(stored: &StoredBatch) -> impl Iterator<Item = Record> {
    let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body);
    let records = batch.and_then(|batch| batch.records(stored.base, stored.body.len()));
    records.into_iter().flatten().map_while(Result::ok)
}

/// What a piece of a pass over a hidden partition found.
pub struct Passed {
    at: PassAt,
    keys: Vec<DueKey>,
    /// Where the next piece begins.
    next: Result<Offset, ReadError>,
}

/// A piece of a pass over a hidden partition that is to be made.
pub struct PassAt {
    topic: TopicId,
    generation: u64,
    partition: PartitionId,
    from: Offset,
    until: Offset,
    /// Records up to this key have left.
    after: DueKey,
}

impl PassAt {
    /// Reads and decodes.
    pub(super) fn perform(self, log: &dyn Log) -> Passed {
        let Self { partition, from, until, after, .. } = self;
        let mut keys = Vec::new();
        let limit = ReadLimit { bytes_max: DELAY_PASS_BYTES, until };
        let next = log.read(partition, from, limit).map(|batches| {
            let mut next = from;
            for stored in &batches {
                next = stored.base.plus(u64::from(stored.offsets));
                for record in records_of(stored) {
                    let key = (due_of(&record), record.offset.0);
                    if record.offset >= from && key > after {
                        keys.push(key);
                    }
                }
            }
            // What cannot be read as a batch is not there.
            if batches.is_empty() { until } else { next }
        });
        Passed { at: self, keys, next }
    }
}

impl Core {
    /// Makes sure that a topic has a hidden partition for what is delayed.
    ///
    /// # Errors
    /// `Overloaded`, `Quarantined`.
    pub(super) fn open_delays(&mut self, topic: TopicId) -> Result<(), AppendError> {
        if let Some(delayed) = self.delays.get(topic) {
            return match delayed.sequencer.quarantined {
                true => Err(AppendError::Quarantined(delayed.partition)),
                false => Ok(()),
            };
        }
        if self.changes.trims.len() >= PENDING_TRIMS {
            return Err(AppendError::Overloaded);
        }
        let partition = PartitionId(self.counters.next_partition);
        self.counters.next_partition += 1;
        self.changes.trims.push(Trim::Start { partition, start: Offset(0) });
        self.delays.insert(topic, Delayed::new(partition, Sequencer::new(topic, DELAYED_INDEX, 0)));
        self.dirty.extend([Owner::Broker, Owner::Delay(topic.0)]);
        Ok(())
    }

    /// Gives a record its place in the hidden partition; `None` if the topic is gone.
    pub(super) fn seal_delayed(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        topic: TopicId,
        mut record: NewRecord,
    ) -> Option<(PartitionId, Offset, Timestamp)> {
        let policy = &self.catalog.topic_by_id(topic)?.policy;
        // The topic's own time is given when it enters the topic.
        let policy = TopicPolicy { timestamps: TimestampType::Create, ..policy.clone() };
        let delayed = self.delays.get_mut(topic)?;
        let delay_ms = record.delay_ms.unwrap_or_default();
        let due = delayed.due(now.wall.0.saturating_add_unsigned(delay_ms));
        record.headers.push(header(DUE, due.to_string()));
        group.firsts.entry(delayed.partition).or_insert(delayed.sequencer.next);
        let target = delayed.sequencer.take(delayed.partition, 1);
        delayed.count += 1;
        delayed.give((due, target.base.0));
        let timestamp = frame.push_record(&policy, target, &record, false);
        group.delayed.push((topic, (due, target.base.0)));
        self.dirty.insert(Owner::Delay(topic.0));
        Some((target.partition, target.base, timestamp))
    }

    /// Delayed records of a group were refused.
    pub(super) fn forget_delayed(&mut self, group: &mut Group) {
        for (topic, key) in std::mem::take(&mut group.delayed) {
            self.delays.drop_in_flight(topic, key);
        }
    }

    /// Delayed records of a group have become durable.
    pub(super) fn show_delayed(&mut self, now: Now, group: &mut Group) {
        for (topic, key) in std::mem::take(&mut group.delayed) {
            self.delays.add(topic, key);
        }
        self.wake_delays(now);
    }

    /// Lets in what is due.
    pub(super) fn tick_delays(&mut self, now: Now) {
        if self.delays.wake_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        for topic in self.delays.due(now.wall.0) {
            self.look_at_delayed(now, topic);
        }
        self.wake_delays(now);
    }

    /// Sets the time at which the agenda is looked at next; not too far off, because the wall clock may be set.
    fn wake_delays(&mut self, now: Now) {
        self.delays.wake_at = self.delays.next_due().map(|at| {
            let in_ms = u64::try_from(at.saturating_sub(now.wall.0)).unwrap_or_default();
            now.monotonic.plus_ms(in_ms.min(DELAY_WAKE_MS))
        });
    }

    fn look_at_delayed(&mut self, now: Now, topic: TopicId) {
        let Some(delayed) = self.delays.get_mut(topic) else {
            return;
        };
        if delayed.retry_at.is_some_and(|at| at > now.monotonic) {
            return;
        }
        delayed.retry_at = None;
        let (partition, generation) = (delayed.partition, delayed.generation);
        if let Some(after) = self.delays.needs_pass(topic) {
            if let Some(delayed) = self.delays.get_mut(topic) {
                delayed.pass = Some(Pass::default());
                let (from, until) = (delayed.sequencer.start, delayed.sequencer.durable);
                let at = PassAt { topic, generation, partition, from, until, after };
                self.queues.work.push_back(Work::DelayPass(at));
            }
        } else {
            let keys = self.delays.take_due(topic, now.wall.0, DELAY_LOOK_RECORDS);
            if !keys.is_empty() {
                self.queues.work.push_back(Work::Delayed { topic, generation, partition, keys });
            }
        }
        self.delays.relist(topic);
    }

    /// A piece of a pass has come.
    pub(super) fn found_pass(&mut self, now: Now, passed: Passed) {
        let Passed { at, keys, next } = passed;
        let PassAt { topic, generation, after, .. } = at;
        let Some(delayed) = self.delays.get_mut(topic).filter(|it| it.generation == generation) else {
            return;
        };
        match next {
            Ok(from) => {
                let (partition, until) = (delayed.partition, delayed.sequencer.durable);
                self.delays.pass_found(topic, &keys);
                if from < until {
                    let at = PassAt { topic, generation, partition, from, until, after };
                    self.queues.work.push_back(Work::DelayPass(at));
                    return;
                }
                let first = self.delays.pass_over(topic);
                // What was moved last may still be refused.
                if self.in_flight.is_empty() && !self.carried {
                    self.move_delay_start(topic, first.map(Offset));
                }
            }
            Err(ReadError::OutOfRange { .. }) => {
                // The start was moved up meanwhile: the next pass begins there.
                delayed.pass = None;
            }
            Err(error) => {
                tracing::warn!(topic = %topic.0, %error, "delayed records cannot be read");
                delayed.pass = None;
                delayed.retry_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
            }
        }
        self.delays.relist(topic);
        self.wake_delays_again(now, topic);
    }

    /// As `wake_delays`, and not before a look that failed is to be tried again.
    fn wake_delays_again(&mut self, now: Now, topic: TopicId) {
        self.wake_delays(now);
        let retry_at = self.delays.get(topic).and_then(|delayed| delayed.retry_at);
        if let (Some(retry_at), Some(wake_at)) = (retry_at, self.delays.wake_at) {
            self.delays.wake_at = Some(wake_at.max(retry_at));
        }
    }

    /// Delayed records that are due were read, in order; `rest` was left for another look.
    pub(super) fn found_delayed(
        &mut self,
        now: Now,
        topic: TopicId,
        generation: u64,
        found: Vec<(DueKey, DeadFound)>,
        mut rest: Vec<DueKey>,
    ) {
        let is_open = self.catalog.topic_by_id(topic).is_none() || self.has_sound_partition(topic);
        let Some(delayed) = self.delays.get_mut(topic).filter(|it| it.generation == generation) else {
            return;
        };
        delayed.is_looking = false;
        let mut entering = Vec::with_capacity(found.len());
        let mut retry_at = None;
        for (key, found) in found {
            match found {
                _ if retry_at.is_some() => rest.push(key),
                DeadFound::Record { .. } if !is_open => {
                    tracing::warn!(topic = %topic.0, "what is delayed stays out: its topic takes no records after damage");
                    retry_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
                    rest.push(key);
                }
                DeadFound::Record { record, .. } => entering.push((key, Some(record))),
                DeadFound::Gone | DeadFound::Malformed(_) => {
                    tracing::error!(topic = %topic.0, offset = key.1, "a delayed record is not there any more");
                    entering.push((key, None));
                }
                DeadFound::Unreadable(error) => {
                    tracing::warn!(topic = %topic.0, %error, "delayed records cannot be read");
                    retry_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
                    rest.push(key);
                }
            }
        }
        delayed.moving += entering.len();
        delayed.retry_at = retry_at;
        self.delays.put_back(topic, rest.into_iter());
        for (key, record) in entering {
            let copy = record.and_then(|record| self.entering_copy(topic, record));
            self.delays.line.push_back(Entering { topic, generation, key, copy });
        }
        self.delays.relist(topic);
        self.wake_delays_again(now, topic);
    }

    /// A delayed record as it enters its topic: without the time, with its first place.
    fn entering_copy(&mut self, topic: TopicId, record: Record) -> Option<Copy> {
        let Record { offset, timestamp, key, value, mut headers } = record;
        headers.retain(|header| header.key != DUE);
        if !headers.iter().any(|header| header.key == headers::ORIGIN) {
            headers.push(header(headers::ORIGIN, format!("{:032x}/{DELAYED_INDEX}/{offset}", topic.0)));
        }
        let partition = self.sound_place(topic, key.as_deref(), &headers)?;
        let record = NewRecord { key, value, headers, timestamp: Some(timestamp), ..NewRecord::default() };
        Some(Copy { places: vec![(topic, partition)], record, packed: false })
    }

    /// Puts records that are due into the frame, and with them that they have left the hidden partition.
    pub(super) fn seal_entering(&mut self, now: Now, frame: &mut Frame, group: &mut Group) {
        let bytes_max = frame.bytes() + MOVE_BYTES;
        let mut touched = std::collections::BTreeSet::new();
        while let Some(entering) = self.delays.line.pop_front() {
            let bytes = entering.copy.as_ref().map_or(0, |copy| record_bytes(&copy.record));
            if !touched.is_empty() && frame.bytes() + bytes > bytes_max {
                self.delays.line.push_front(entering);
                break;
            }
            let Entering { topic, generation, key, copy } = entering;
            if self.delays.get(topic).is_none_or(|delayed| delayed.generation != generation) {
                continue;
            }
            if let Some(copy) = copy {
                // A topic that is gone has taken its delayed records with it.
                self.seal_copy(frame, group, copy);
            }
            if let Some(delayed) = self.delays.get_mut(topic) {
                delayed.moving -= 1;
                delayed.moved = key;
                delayed.moved_since += 1;
                delayed.count = delayed.count.saturating_sub(1);
            }
            touched.insert(topic);
        }
        for topic in touched {
            if !planted::is(Bug::DelayInTwo) {
                self.dirty.insert(Owner::Delay(topic.0));
            }
            self.delays.relist(topic);
            // With everything gone the hidden partition can go up to its end, in the same commit.
            if group.changes.trims.len() < PENDING_TRIMS
                && let Some(delayed) = self.delays.get_mut(topic).filter(|delayed| delayed.count == 0)
            {
                group.changes.trims.extend(delayed.move_start(None));
            }
        }
        self.wake_delays(now);
    }

    /// Moves the start of a hidden partition up, at most to what is durable.
    fn move_delay_start(&mut self, topic: TopicId, start: Option<Offset>) {
        if self.changes.trims.len() < PENDING_TRIMS
            && let Some(delayed) = self.delays.get_mut(topic)
        {
            self.changes.trims.extend(delayed.move_start(start));
        }
    }

    /// From time to time gives back what delayed records no longer need.
    pub(super) fn retain_delays(&mut self) {
        if !self.in_flight.is_empty() || self.carried {
            // What was moved last may still be refused.
            return;
        }
        let due: Vec<TopicId> = self
            .delays
            .topics()
            .filter(|(_, it)| it.is_complete() && it.moved_since >= DELAY_TRIM_RECORDS)
            .map(|(topic, _)| topic)
            .collect();
        for topic in due {
            let Some(delayed) = self.delays.get_mut(topic) else { continue };
            delayed.moved_since = 0;
            let (partition, end) = (delayed.partition, delayed.sequencer.durable);
            let offsets: Vec<u64> = delayed.offsets().into_iter().collect();
            let first = offsets.first().map_or(end, |&first| Offset(first));
            let next = offsets.iter().skip(1).copied().chain([end.0]);
            let gaps = offsets.iter().zip(next).map(|(&at, next)| Offset(at + 1)..Offset(next));
            let gaps: Vec<_> = gaps.filter(|gap| gap.start < gap.end).take(DELAY_GAPS).collect();
            self.move_delay_start(topic, Some(first));
            if !gaps.is_empty() {
                self.discard_when_durable(partition, gaps);
            }
        }
    }

    /// Drops what is delayed; gives how many that were.
    pub(super) fn purge_delays(&mut self, topic: TopicId) -> u64 {
        let Some(delayed) = self.delays.get_mut(topic) else {
            return 0;
        };
        let before = delayed.count;
        delayed.clear();
        let purged = before - delayed.count;
        self.move_delay_start(topic, None);
        self.dirty.insert(Owner::Delay(topic.0));
        self.delays.relist(topic);
        purged
    }

    /// Takes the hidden partition away with its topic.
    pub(super) fn remove_delays(&mut self, topic: TopicId) {
        if let Some(delayed) = self.delays.remove(topic) {
            self.changes.trims.push(Trim::Remove { partition: delayed.partition });
            self.changes.removed.push(delayed.partition);
            self.dirty.insert(Owner::Delay(topic.0));
        }
    }

    /// What is delayed has changed with the appends that were refused, and what has left has not: the records that say
    /// both are made anew.
    pub(super) fn rewrite_delays(&self, kept: &mut Changes) {
        for record in &mut kept.records {
            if let Owner::Delay(_) = record.owner {
                *record = self.state_record(record.owner.clone());
            }
        }
    }

    /// How many records of a topic are still to come.
    pub(super) fn delayed_count(&self, topic: TopicId) -> u64 {
        self.delays.get(topic).map_or(0, |delayed| delayed.count)
    }

    /// What was delayed when the last run ended.
    pub(super) fn recover_delays(
        &mut self,
        now: Now,
        log: &dyn Log,
        delays: impl Iterator<Item = (u128, DelayValue)>,
    ) {
        let quarantined = log.quarantined();
        for (topic, value) in delays {
            let topic = TopicId(topic);
            let partition = PartitionId(value.partition);
            let mut sequencer = Sequencer::new(topic, DELAYED_INDEX, 0);
            if let Some(bounds) = log.bounds(partition) {
                (sequencer.start, sequencer.next, sequencer.durable) = (bounds.start, bounds.end, bounds.end);
            }
            sequencer.quarantined = quarantined.contains(&partition);
            self.delays.insert(topic, Delayed::recovered(&value, sequencer));
        }
        self.wake_delays(now);
    }
}
