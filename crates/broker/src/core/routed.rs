//! Records that go to several topics: one body in the commit, and a place for it in each.
//!
//! Invariant: a record takes its places in all of its topics in one commit, or in none. What a gate knows already takes none. A cursor
//! that moves with them does so in the same commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use duolog_record::TimestampType;
use duolog_storage::Durability;
use duolog_storage::limits::TARGETS_PER_ENTRY;
use duolog_storage::planted::{self, Bug};

use super::Core;
use super::appends::{Placed, Waiting, check_headers};
use super::command::Reply;
use super::dead_letter::Copy;
use super::group::Group;
use super::length::value_bytes;
use super::sealing::{Frame, Spread, record_bytes};
use crate::catalog::RELAXED;
use crate::errors::AppendError;
use crate::idempotency::{self, ScopedKey};
use crate::limits::{GROUP_BYTES, PUBLISH_RECORDS, ROUTED_PLACES};
use crate::state::Owner;
use crate::{Advance, Gate, NewRecord, Now, Overflow, Queue, Routed, Topic, TopicId};

/// A routed record, waiting.
pub(super) struct Several {
    record: NewRecord,
    topics: Arc<[TopicId]>,
    /// Its idempotency key where a topic deduplicates, by the topics; empty where none does.
    keys: Vec<Option<ScopedKey>>,
    gate: Gate,
    relaxed: bool,
    /// What is wrong with it.
    refused: Option<AppendError>,
}

/// Where a record is to go in one topic.
struct Seat {
    topic: Arc<Topic>,
    /// Index of the partition.
    index: u32,
    key: Option<ScopedKey>,
    /// The topic has no record with its key.
    is_new: bool,
}

impl Several {
    /// Its topics and its keys there.
    pub(super) fn keyed(&self) -> impl Iterator<Item = (TopicId, Option<&ScopedKey>)> {
        self.topics.iter().copied().zip(self.keys.iter().map(Option::as_ref))
    }

    /// Why none of those with it can be stored either. That its topics have gone is no reason: it goes nowhere.
    fn is_in_the_way(&self) -> Option<AppendError> {
        self.refused.clone().filter(|error| !matches!(error, AppendError::NotFound))
    }
}

impl Core {
    pub(super) fn route(
        &mut self,
        now: Now,
        records: Vec<Routed>,
        whole: bool,
        advance: Option<Advance>,
        reply: Reply<Vec<Result<(), AppendError>>, AppendError>,
    ) {
        let places: usize = records.iter().map(|it| it.topics.len()).sum();
        let bytes: usize = records.iter().map(Routed::stored_bytes).sum();
        if bytes > GROUP_BYTES {
            let error = AppendError::TooLarge { bytes: bytes as u64, bytes_max: GROUP_BYTES as u64 };
            return drop(reply.send(Err(error)));
        }
        if records.len() > PUBLISH_RECORDS || places > ROUTED_PLACES {
            let error = AppendError::Malformed("more records or places than one publish may have");
            return drop(reply.send(Err(error)));
        }
        // Who moves a cursor has looked at sizes: what one topic took is not measured as if a client sent it.
        let is_measured = advance.is_some();
        let records: Vec<_> = records.into_iter().map(|it| self.check_routed(now, it, is_measured)).collect();
        if whole && let Some(error) = records.iter().find_map(Several::is_in_the_way) {
            return drop(reply.send(Err(error)));
        }
        self.appends.push(Waiting::Routed { records, whole, advance, bytes, reply });
    }

    fn check_routed(&mut self, now: Now, routed: Routed, is_measured: bool) -> Several {
        let Routed { mut record, topics, gate, relaxed } = routed;
        record.timestamp.get_or_insert(now.wall);
        let relaxed = relaxed && !record.is_delayed();
        let mut several = Several { record, topics, keys: Vec::new(), gate, relaxed, refused: None };
        several.refused = self.check_topics_of(&mut several, is_measured).err();
        several
    }

    fn check_topics_of(&mut self, several: &mut Several, is_measured: bool) -> Result<(), AppendError> {
        check_headers(&several.record)?;
        let bytes = record_bytes(&several.record) as u64;
        let (mut any, mut deduplicates) = (false, false);
        for &id in &*several.topics {
            let Some(topic) = self.catalog.topic_by_id(id).cloned() else { continue };
            any = true;
            let bytes_max = u64::from(topic.policy.batch_bytes_max);
            if bytes > bytes_max && !is_measured {
                return Err(AppendError::TooLarge { bytes, bytes_max });
            }
            deduplicates |= topic.policy.deduplicates().is_some();
            if several.record.is_delayed() {
                self.open_delays(id)?;
            }
        }
        if deduplicates {
            let keys = several.topics.iter().map(|id| self.key_of(*id, &several.record));
            several.keys = keys.collect::<Result<_, _>>()?;
        }
        if any { Ok(()) } else { Err(AppendError::NotFound) }
    }

    fn key_of(&self, topic: TopicId, record: &NewRecord) -> Result<Option<ScopedKey>, AppendError> {
        match self.catalog.topic_by_id(topic).and_then(|topic| topic.policy.deduplicates()) {
            Some(dedup) => idempotency::of_record(&dedup, record),
            None => Ok(None),
        }
    }

    pub(super) fn seal_routed(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        (records, whole): (Vec<Several>, bool),
        advance: Option<Advance>,
    ) -> Result<Vec<Result<(), AppendError>>, AppendError> {
        advance.as_ref().map_or(Ok(()), |advance| self.check_advance(advance))?;
        if whole {
            self.check_all(now, &records, advance.is_some())?;
        }
        if let Some(advance) = advance {
            self.advance(now, group, &advance);
        }
        let mut is_let_in = true;
        let seal = |several: Several| {
            is_let_in = self.lets_in(now, &several, is_let_in);
            match is_let_in {
                true => self.seal_several(now, frame, group, several),
                false => several.refused.map_or(Ok(()), Err),
            }
        };
        Ok(records.into_iter().map(seal).collect())
    }

    /// Whether a record is to be stored, by what became of the one before it.
    fn lets_in(&self, now: Now, several: &Several, before: bool) -> bool {
        match several.gate {
            Gate::Open => true,
            Gate::Follows => before,
            Gate::Deduplicates(topic) => {
                let key = several.keyed().find(|(its, _)| *its == topic).and_then(|(_, key)| key);
                self.first_append(now, topic, key).is_none()
            }
        }
    }

    /// # Errors
    /// If one of the records could not take a place in one of its topics, wherever in it that would be. Where a cursor moves with them
    /// (`is_moved`), a full queue that gives up to where the dead go is no reason.
    fn check_all(&mut self, now: Now, records: &[Several], is_moved: bool) -> Result<(), AppendError> {
        let mut keys: BTreeMap<TopicId, Vec<&ScopedKey>> = BTreeMap::new();
        // Records and bytes for topics on which a queue may refuse them.
        let mut lengths: BTreeMap<TopicId, (u64, u64)> = BTreeMap::new();
        let mut is_let_in = true;
        for several in records {
            is_let_in = self.lets_in(now, several, is_let_in);
            if !is_let_in {
                continue;
            }
            for &id in &*several.topics {
                let Some(topic) = self.catalog.topic_by_id(id) else { continue };
                topic.partitions.iter().try_for_each(|it| self.check_sound(*it))?;
                if self.may_refuse(id) {
                    let (count, bytes) = lengths.entry(id).or_default();
                    (*count, *bytes) = (*count + 1, *bytes + value_bytes(&several.record));
                }
            }
            for (id, key) in several.keyed() {
                keys.entry(id).or_default().extend(key);
            }
        }
        for (id, (count, bytes)) in lengths {
            // What has somewhere to go is moved on with the cursor.
            let is_in_the_way =
                |it: &&Arc<Queue>| !is_moved || it.policy.overflow != Overflow::RejectDeadLetter;
            if let Some(queue) = self.full_queues(id, count, bytes).iter().find(is_in_the_way) {
                return Err(AppendError::QueueFull(queue.name.clone()));
            }
        }
        keys.into_iter().try_for_each(|(id, keys)| self.check_dedup_room(now, id, keys.into_iter()))
    }

    fn seal_several(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        several: Several,
    ) -> Result<(), AppendError> {
        let Several { record, topics, keys, relaxed, refused, .. } = several;
        if let Some(error) = refused {
            return Err(error);
        }
        frame.relax(relaxed && self.may_relax(&topics));
        let sealed = self.seal_at(now, frame, group, &topics, (record, keys));
        frame.relax(false);
        sealed
    }

    /// True if all topics may have records that are not synced. One that gets the first is marked, in the commit that brings it, which
    /// is synced for that: after a run that does not end in order its readers are to notice.
    fn may_relax(&mut self, topics: &[TopicId]) -> bool {
        if self.durability == Durability::Os {
            return true;
        }
        let mut may = true;
        for &id in topics {
            let Some(topic) = self.catalog.topic_by_id(id) else { continue };
            match topic.policy.durability {
                Some(Durability::Os) => {}
                Some(Durability::Sync) => may = false,
                None if topic.labels.contains_key(RELAXED) => {}
                None => {
                    let mut topic = Topic::clone(topic);
                    topic.labels.insert(RELAXED.to_owned(), String::new());
                    self.catalog.put_topic(topic);
                    self.catalog_changed = true;
                    self.dirty.extend([Owner::Broker, Owner::Topic(id.0)]);
                    may = false;
                }
            }
        }
        may
    }

    fn seal_at(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        topics: &[TopicId],
        (record, keys): (NewRecord, Vec<Option<ScopedKey>>),
    ) -> Result<(), AppendError> {
        let mut keys = keys.into_iter();
        if let &[id] = topics {
            let key = keys.next().flatten();
            let Some(Seat { topic, index, key, is_new }) = self.seat_of(now, id, &record, key)? else {
                return Err(AppendError::NotFound);
            };
            if is_new {
                self.check_length(now, frame, group, id, &[&record])?;
            }
            let wants_keys = self.queues.wants_keys(id);
            let placed = Placed { partition: topic.partitions[index as usize], index, record, key };
            return self.seal_record(now, frame, group, &topic, placed, wants_keys).map(|_| ());
        }
        let mut seats = Vec::with_capacity(topics.len());
        for &id in topics {
            seats.extend(self.seat_of(now, id, &record, keys.next().flatten())?);
        }
        if seats.is_empty() {
            return Err(AppendError::NotFound);
        }
        // A queue that takes no more does not keep the record from the others.
        let mut taken = Ok(());
        seats.retain(|Seat { topic, is_new, .. }| {
            let checked = match is_new {
                true => self.check_length(now, frame, group, topic.id, &[&record]),
                false => Ok(()),
            };
            let fits = checked.is_ok();
            taken = std::mem::replace(&mut taken, Ok(())).and(checked);
            fits
        });
        self.seal_seats(now, frame, group, &record, seats);
        taken
    }

    /// A record to its places, which can take it.
    fn seal_seats(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        record: &NewRecord,
        mut seats: Vec<Seat>,
    ) {
        if planted::is(Bug::RoutedPartly)
            && seats.len() > 1
            && let Some(Seat { topic, index, .. }) = seats.pop()
        {
            let places = vec![(topic.id, topic.partitions[index as usize])];
            self.changes.moves.push(Copy { places, record: record.clone(), packed: false });
        }
        // The records of a batch carry one kind of time, so topics with the other get a body of their own.
        let mut spreads = [TimestampType::Create, TimestampType::Append].map(Spread::new);
        for Seat { topic, index, key, is_new } in seats {
            let partition = topic.partitions[index as usize];
            if record.is_delayed() {
                // It waits in a hidden partition, which was opened for it when it came.
                let placed = Placed { partition, index, record: record.clone(), key };
                let _ = self.seal_record(now, frame, group, &topic, placed, false);
                continue;
            }
            if !is_new {
                continue;
            }
            let Some(target) = self.take_place(group, topic.id, partition, record) else { continue };
            let spread = &mut spreads[usize::from(topic.policy.timestamps == TimestampType::Append)];
            spread.add(&topic.policy, target, self.queues.wants_keys(topic.id));
            if let Some(key) = key {
                self.note_key(now, group, topic.id, key, (partition, target.base));
            }
        }
        for spread in spreads {
            spread.each_body(TARGETS_PER_ENTRY, |spread| frame.push_spread(spread, record));
        }
    }

    /// Where a record is to go in a topic; `None` if that has gone.
    ///
    /// # Errors
    /// If it cannot take the record: then none of them does.
    fn seat_of(
        &mut self,
        now: Now,
        id: TopicId,
        record: &NewRecord,
        key: Option<ScopedKey>,
    ) -> Result<Option<Seat>, AppendError> {
        let Some(topic) = self.catalog.topic_by_id(id).cloned() else { return Ok(None) };
        let index = self.place_of(&topic, record.key.as_deref(), &record.headers);
        self.check_sound(topic.partitions[index as usize])?;
        if let Some(key) = &key {
            self.check_dedup_room(now, id, std::iter::once(key))?;
        }
        let is_new = self.first_append(now, id, key.as_ref()).is_none();
        Ok(Some(Seat { topic, index, key, is_new }))
    }
}
