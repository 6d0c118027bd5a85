//! From what waits to one commit, and from its fate to answers.
//!
//! Invariant: a group is one frame. Offsets and sequences are given here, in the order of arrival; what is refused is
//! taken back in reverse order once nothing is in flight behind it.

#[cfg(test)]
mod disk_full;
mod frame;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use duolog_record::{Batch, Offset, PartitionId, Producer, TimestampType};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Commit, LogError, Trim};

pub(super) use self::frame::{Frame, Spread};
pub(crate) use self::frame::{bytes_of, record_bytes};
use super::Core;
use super::appends::{Placed, Waiting};
use super::dedup::{Keyed, Place};
use super::group::Group;
use super::producers::Sequenced;
use super::sequencer::Sequencer;
use super::verdict::{Verdict, when_durable};
use crate::errors::{AppendError, Stopped};
use crate::idempotency::BatchKeys;
use crate::limits::{
    DISK_FULL_RETRY_MS, GROUP_APPENDS, GROUP_BYTES, GROUPS_IN_FLIGHT, LAZY_MS, SECOND_GROUP_BYTES,
    STATE_CURSOR_BYTES,
};
use crate::state::{Owner, STATE_PARTITION};
use crate::{Appended, Monotonic, Now, Published, QueueId, Topic, TopicId};

/// A group on its way to the log.
pub struct Sealed {
    /// Names the group in [`Core::committed`].
    pub group: u64,
    /// What the log is to make durable.
    pub commit: Commit,
}

impl Core {
    /// The next commit, if there is something to commit and not enough in flight. The caller hands it to the log and
    /// its fate to [`Self::committed`], in order.
    pub fn seal(&mut self, now: Now) -> Option<Sealed> {
        if !self.may_seal(now) {
            return None;
        }
        self.retry_at = None;
        let mut group = Group::new(self.next_group);
        let mut frame = Frame::new(now, self.durability);
        if self.carried {
            // What was refused goes first and alone: it grows no larger while it waits for room, and appends of clients
            // do not use up the space that it needs.
            group.changes = std::mem::take(&mut self.kept);
            self.seal_kept_moves(&mut frame, &mut group);
        } else {
            self.lazy_since = None;
            self.publish_catalog();
            group.changes = std::mem::take(&mut self.changes);
            if planted::is(Bug::RoutedPartly) || planted::is(Bug::BuriedPartly) {
                self.seal_kept_moves(&mut frame, &mut group);
            }
            self.seal_appends(now, &mut frame, &mut group);
            self.seal_moves(now, &mut frame, &mut group);
            self.seal_entering(now, &mut frame, &mut group);
            self.take_dirty(&mut group);
        }
        self.seal_state(&mut frame, &mut group);
        let sealed = self.finish(now, frame, group);
        if sealed.is_none() && std::mem::take(&mut self.carried) {
            // Only answers were left of what was refused: what waits behind them need not wait any longer.
            return self.seal(now);
        }
        sealed
    }

    fn may_seal(&self, now: Now) -> bool {
        if self.stopped.is_some() || self.in_flight.len() >= GROUPS_IN_FLIGHT {
            return false;
        }
        if self.in_flight.iter().any(|group| group.refused) {
            return false;
        }
        if !self.in_flight.is_empty() && self.appends.bytes() < SECOND_GROUP_BYTES {
            return false;
        }
        if self.retry_at.is_some_and(|at| at > now.monotonic) {
            return false;
        }
        if self.carried {
            return !self.kept.is_empty();
        }
        if !self.in_flight.is_empty() && self.changes.gives_up_records() {
            // What is given up rests on settlements and moves that may be in flight: if they find no space and it does,
            // the record is nowhere after a crash.
            return false;
        }
        let is_due = |since: Monotonic| since.plus_ms(LAZY_MS) <= now.monotonic || self.clean;
        let lazy_is_due = self.lazy_since.is_some_and(is_due);
        lazy_is_due
            || !self.queues.moves.is_empty()
            || !self.delays.is_empty_line()
            || !self.appends.is_empty()
            || !self.changes.is_empty()
            || !self.dirty.is_empty()
    }

    fn seal_appends(&mut self, now: Now, frame: &mut Frame, group: &mut Group) {
        while frame.targets() < GROUP_APPENDS
            && let Some(waiting) = self.appends.take(GROUP_BYTES.saturating_sub(frame.bytes()))
        {
            if self.rests_on_flight(now, group, &waiting) {
                self.appends.put_back(waiting);
                break;
            }
            match waiting {
                Waiting::Batch { partition, batch, keys, reply } => {
                    match self.seal_batch(now, frame, group, partition, batch, keys) {
                        Ok(appended) => group.append_answers.push(when_durable(reply, appended)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Waiting::Routed { records, whole, advance, reply, .. } => {
                    match self.seal_routed(now, frame, group, (records, whole), advance) {
                        Ok(results) => group.append_answers.push(when_durable(reply, results)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                Waiting::Publish { topic, records, reply, .. } => {
                    match self.seal_publish(now, frame, group, topic, records) {
                        Ok(published) => group.append_answers.push(when_durable(reply, published)),
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
            }
        }
        frame.note_client_appends();
    }

    fn seal_batch(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        partition: PartitionId,
        batch: Batch,
        keys: BatchKeys,
    ) -> Result<Appended, AppendError> {
        let topic = self.catalog.topic_of(partition).ok_or(AppendError::NotFound)?.clone();
        let log_start = self.partitions.get(&partition).ok_or(AppendError::NotFound)?.start;
        let (sent, producer) = (batch.header().offsets(), batch.header().producer);
        if let Some(producer) = &producer {
            match self.producers.check(partition, producer, sent)? {
                Sequenced::Next => {}
                Sequenced::Duplicate(base) => {
                    return Ok(Appended { base, append_time: None, log_start, duplicate: true });
                }
            }
        }
        let (batch, keys, duplicate) = match self.judge_keys(now, topic.id, &batch, &keys)? {
            Keyed::New => (batch, keys, None),
            Keyed::Rest(batch, keys) => (batch, keys, None),
            Keyed::Duplicate(base) => (batch, keys, Some(base)),
        };
        if let Some(base) = duplicate {
            if let Some(producer) = producer {
                self.note_producer(now, group, (partition, base), &producer, sent);
            }
            return Ok(Appended { base, append_time: None, log_start, duplicate: true });
        }
        let offsets = batch.header().offsets();
        let append_time = (topic.policy.timestamps == TimestampType::Append).then_some(now.wall);
        let batch = match append_time {
            Some(at) => batch.with_append_time(at),
            None => batch,
        };
        let bytes = batch.bytes().len() as u64;
        let target = self.take_places(group, topic.id, partition, offsets, bytes);
        let target = target.ok_or(AppendError::NotFound)?;
        frame.push_batch(&topic.policy, target, &batch);
        for (delta, key) in (0..).zip(keys) {
            if let Some(key) = key {
                self.note_key(now, group, topic.id, key, (partition, target.base.plus(delta)));
            }
        }
        // Of a batch that lost records the last one's place is told as it is: nobody waits for what will not come.
        let base = Offset((target.base.0 + u64::from(offsets)).saturating_sub(u64::from(sent)));
        if let Some(producer) = producer {
            self.note_producer(now, group, (partition, base), &producer, sent);
        }
        Ok(Appended { base, append_time, log_start, duplicate: false })
    }

    fn note_producer(
        &mut self,
        now: Now,
        group: &mut Group,
        (partition, base): Place,
        producer: &Producer,
        offsets: u32,
    ) {
        if self.producers.is_full() {
            self.expire_producers(now);
        }
        let key = (partition, producer.id);
        group.producers_before.entry(key).or_insert_with(|| self.producers.get(key).cloned());
        self.producers.note(partition, producer, offsets, base, now.wall);
        self.dirty.insert(Owner::Producer(key.0.0, key.1));
    }

    pub(super) fn expire_producers(&mut self, now: Now) {
        for (partition, producer) in self.producers.expire(now.wall) {
            self.dirty.insert(Owner::Producer(partition.0, producer));
        }
    }

    fn seal_publish(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        topic: TopicId,
        records: Vec<Placed>,
    ) -> Result<Vec<Published>, AppendError> {
        let topic = self.catalog.topic_by_id(topic).ok_or(AppendError::NotFound)?.clone();
        self.check_publish_keys(now, topic.id, &records)?;
        if self.may_refuse(topic.id) {
            let is_new = |it: &&Placed| self.first_append(now, topic.id, it.key.as_ref()).is_none();
            let new: Vec<_> = records.iter().filter(is_new).map(|it| &it.record).collect();
            self.check_length(now, frame, group, topic.id, &new)?;
        }
        let mut published = Vec::with_capacity(records.len());
        let wants_keys = self.queues.wants_keys(topic.id);
        for placed in records {
            published.push(self.seal_record(now, frame, group, &topic, placed, wants_keys)?);
        }
        Ok(published)
    }

    /// One record to its place in a topic, unless it is there already.
    pub(super) fn seal_record(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        topic: &Topic,
        placed: Placed,
        wants_keys: bool,
    ) -> Result<Published, AppendError> {
        let Placed { partition, index, record, key } = placed;
        if let Some((partition, offset)) = self.first_append(now, topic.id, key.as_ref()) {
            let partition_index = self.sequencer(partition).map_or(index, |it| it.index);
            let timestamp = record.timestamp.unwrap_or(now.wall);
            return Ok(Published { partition, partition_index, offset, timestamp, duplicate: true });
        }
        let (partition, partition_index, offset, timestamp) = if record.is_delayed() {
            let sealed = self.seal_delayed(now, frame, group, topic.id, record);
            let (partition, offset, timestamp) = sealed.ok_or(AppendError::NotFound)?;
            (partition, Published::DELAYED, offset, timestamp)
        } else {
            let target = self.take_place(group, topic.id, partition, &record);
            let target = target.ok_or(AppendError::NotFound)?;
            (partition, index, target.base, frame.push_record(&topic.policy, target, &record, wants_keys))
        };
        if let Some(key) = key {
            self.note_key(now, group, topic.id, key, (partition, offset));
        }
        Ok(Published { partition, partition_index, offset, timestamp, duplicate: false })
    }

    /// Takes the state of everything dirty.
    fn take_dirty(&mut self, group: &mut Group) {
        let mut cursor_bytes = 0;
        let lazy = std::mem::take(&mut self.queues.lazy);
        self.dirty.extend(lazy.iter().map(|id| Owner::Ledger(id.0)));
        for owner in std::mem::take(&mut self.dirty) {
            if let Owner::Ledger(id) = owner {
                self.ledger_records(QueueId(id), &mut group.changes.records);
                continue;
            }
            let is_cursor = matches!(owner, Owner::Cursor(..));
            if is_cursor && cursor_bytes >= STATE_CURSOR_BYTES {
                self.dirty.insert(owner);
                continue;
            }
            let record = self.state_record(owner);
            cursor_bytes += if is_cursor { record.bytes() } else { 0 };
            group.changes.records.push(record);
        }
        if !self.dirty.is_empty() {
            // Whoever waits for a cursor that is left waits for the group that has it.
            self.changes.answers = std::mem::take(&mut group.changes.answers);
        }
    }

    /// Writes the state records, and beside them a piece of the snapshot.
    fn seal_state(&mut self, frame: &mut Frame, group: &mut Group) {
        if group.changes.records.is_empty() {
            return;
        }
        group.firsts.insert(STATE_PARTITION, self.state.next);
        self.seal_snapshot(group);
        let records = group.changes.records.iter().chain(&group.snapshot);
        frame.push_state(&mut self.state, records);
    }

    fn finish(&mut self, now: Now, frame: Frame, mut group: Group) -> Option<Sealed> {
        // What these answers and discards rest on may still be in flight, and of groups in flight only those with state share
        // a fate: the appends of this one may find space where that did not.
        if !group.has_state()
            && let Some(last) = self.last_state_in_flight()
        {
            last.adopt(&mut group.changes);
        }
        let is_awaited = !group.changes.answers.is_empty();
        let trims = group.changes.trims.iter().copied().chain(group.state_trim).collect();
        let (commit, appended) = frame.close(trims, is_awaited);
        group.appended = appended;
        if commit.entries.is_empty() && commit.trims.is_empty() {
            // Nothing to write, and nothing in flight that it rests on.
            self.show_retention(now, &mut group);
            group.answer_all(&Verdict::Durable);
            return None;
        }
        let id = group.id;
        self.next_group += 1;
        self.in_flight.push_back(group);
        self.shared.note_writing(true);
        Some(Sealed { group: id, commit })
    }

    /// The last group in flight that changes the state.
    pub(super) fn last_state_in_flight(&mut self) -> Option<&mut Group> {
        self.in_flight.iter_mut().rev().find(|group| group.has_state())
    }

    /// The fate of a sealed group. Shows and answers what became durable.
    pub fn committed(&mut self, now: Now, group: u64, result: Result<(), LogError>) {
        let Some(index) = self.in_flight.iter().position(|it| it.id == group) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(group) = self.in_flight.remove(index) {
                    self.shared.note_written(now.monotonic);
                    self.carried &= self.in_flight.iter().any(|it| it.refused);
                    self.show(now, group);
                }
            }
            Err(LogError::DiskFull { bytes, directory }) => {
                tracing::warn!(bytes, %directory, "no space left: appends are refused");
                self.in_flight[index].refused = true;
            }
            Err(LogError::Stopped { reason }) => self.stop(Stopped { reason }),
            // A commit that the log finds wrong is our mistake; going on would build on what is not there.
            Err(error @ (LogError::Invalid { .. } | LogError::Quarantined { .. })) => {
                self.stop(Stopped { reason: error.to_string() })
            }
        }
        if !self.in_flight.is_empty() && self.in_flight.iter().all(|it| it.refused) {
            self.take_back(now);
        }
        self.shared.note_writing(!self.in_flight.is_empty() && self.stopped.is_none());
    }

    /// Makes a durable group visible, then answers.
    fn show(&mut self, now: Now, mut group: Group) {
        self.stats.group_commits += 1;
        self.stats.records_appended += group.appended.records;
        self.stats.bytes_appended += group.appended.bytes;
        let mut touched = BTreeSet::new();
        for (index, (partition, span)) in group.appended.spans.iter().enumerate() {
            if let Some(sequencer) = self.partitions.get_mut(partition) {
                sequencer.durable = span.base.plus(u64::from(span.offsets));
                self.retention.note_holding(*partition);
            } else if let Some((_, delayed)) = self.delays.of_partition(*partition) {
                delayed.sequencer.durable = span.base.plus(u64::from(span.offsets));
            }
            let keys = group.appended.keys.get(&index).map_or(&[][..], Vec::as_slice);
            let ttls = group.appended.ttls.get(&index).map_or(&[][..], Vec::as_slice);
            self.queue_appended(now, *partition, span, keys, ttls, &mut touched);
        }
        self.show_delayed(now, &mut group);
        self.show_catalog(&mut group);
        self.show_retention(now, &mut group);
        for partition in group.firsts.keys() {
            if let Some(sequencer) = self.partitions.get(partition) {
                self.shared.watch.advance(*partition, sequencer.durable);
            }
        }
        group.answer_all(&Verdict::Durable);
        for queue in touched {
            self.settle_down(now, queue);
        }
    }

    fn show_catalog(&self, group: &mut Group) {
        for trim in &group.changes.trims {
            if let Trim::Start { partition, .. } = trim {
                self.shared.watch.add(*partition);
            }
        }
        if let Some(catalog) = group.changes.catalog.take() {
            self.shared.catalog.store(catalog);
        }
        for &partition in &group.changes.removed {
            self.shared.watch.remove(partition);
        }
    }

    /// All that is in flight was refused: undoes the appends from the last to the first, keeps the rest for a retry.
    fn take_back(&mut self, now: Now) {
        self.rounds.abandon();
        self.retention.hurry();
        let mut later = std::mem::take(&mut self.kept);
        let mut had_appends = false;
        while let Some(mut group) = self.in_flight.pop_back() {
            had_appends |= !group.append_answers.is_empty();
            self.undo_appends(&mut group);
            let mut carried = std::mem::take(&mut group.changes);
            carried.extend(later);
            later = carried;
            group.answer_all(&Verdict::DiskFull);
        }
        self.rewrite_delays(&mut later);
        self.kept = later;
        self.carried = !self.kept.is_empty();
        if self.carried {
            self.retry_at = Some(now.monotonic.plus_ms(DISK_FULL_RETRY_MS));
        }
        if !had_appends {
            // Not even the reserve had room: new appends would fare no better.
            self.appends.refuse_all(&Verdict::DiskFull);
        }
    }

    /// The place of a partition of a topic, hidden or not.
    pub(super) fn sequencer(&self, partition: PartitionId) -> Option<&Sequencer> {
        self.partitions.get(&partition).or_else(|| self.delays.sequencer(partition))
    }

    fn undo_appends(&mut self, group: &mut Group) {
        for (partition, first) in &group.firsts {
            if *partition == STATE_PARTITION {
                self.state.next = *first;
            } else if let Some(sequencer) = self.partitions.get_mut(partition) {
                sequencer.next = *first;
                self.queues.take_sizes_back(sequencer.topic, *partition, *first);
            } else {
                self.delays.take_back(*partition, *first);
            }
        }
        self.forget_keys(group);
        self.forget_delayed(group);
        for (key, before) in std::mem::take(&mut group.producers_before) {
            let owner = Owner::Producer(key.0.0, key.1);
            group.changes.records.retain(|record| record.owner != owner);
            // The partition may have been removed since.
            let before = before.filter(|_| self.partitions.contains_key(&key.0));
            self.producers.set(key, before);
            self.dirty.insert(owner);
        }
        self.take_advances_back(group);
    }
}
