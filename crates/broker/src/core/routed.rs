//! Records that go to several topics: one body in the commit, and a place for it in each.
//!
//! Invariant: a record takes its places in all of its topics in one commit, or in none.

use std::sync::Arc;

use duolog_record::TimestampType;

use super::Core;
use super::appends::{Waiting, check_headers};
use super::command::Reply;
use super::group::Group;
use super::sealing::{Frame, Spread, record_bytes};
use crate::errors::AppendError;
use crate::idempotency::{self, ScopedKey};
use crate::limits::{BODY_TARGETS, GROUP_BYTES, PUBLISH_RECORDS, ROUTED_PLACES};
use crate::{NewRecord, Now, Routed, Topic, TopicId};

/// A routed record, waiting.
pub(super) struct Several {
    record: NewRecord,
    topics: Arc<[TopicId]>,
    /// Its idempotency key where a topic deduplicates, by the topics; empty where none does.
    keys: Vec<Option<ScopedKey>>,
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
}

impl Core {
    pub(super) fn route(
        &mut self,
        now: Now,
        records: Vec<Routed>,
        reply: Reply<Vec<Result<(), AppendError>>, AppendError>,
    ) {
        let places: usize = records.iter().map(|it| it.topics.len()).sum();
        let bytes: usize = records.iter().map(|it| record_bytes(&it.record)).sum();
        if bytes > GROUP_BYTES {
            let error = AppendError::TooLarge { bytes: bytes as u64, bytes_max: GROUP_BYTES as u64 };
            return drop(reply.send(Err(error)));
        }
        if records.len() > PUBLISH_RECORDS || places > ROUTED_PLACES {
            let error = AppendError::Malformed("more records or places than one publish may have");
            return drop(reply.send(Err(error)));
        }
        let records = records.into_iter().map(|it| self.check_routed(now, it)).collect();
        self.appends.push(Waiting::Routed { records, bytes, reply });
    }

    fn check_routed(&mut self, now: Now, routed: Routed) -> Several {
        let Routed { mut record, topics } = routed;
        record.timestamp.get_or_insert(now.wall);
        let mut several = Several { record, topics, keys: Vec::new(), refused: None };
        several.refused = self.check_topics_of(&mut several).err();
        several
    }

    fn check_topics_of(&mut self, several: &mut Several) -> Result<(), AppendError> {
        check_headers(&several.record)?;
        let bytes = record_bytes(&several.record) as u64;
        let mut any = false;
        for &id in &*Arc::clone(&several.topics) {
            let Some(topic) = self.catalog.topic_by_id(id).cloned() else {
                if !several.keys.is_empty() {
                    several.keys.push(None);
                }
                continue;
            };
            any = true;
            let bytes_max = u64::from(topic.policy.batch_bytes_max);
            if bytes > bytes_max {
                return Err(AppendError::TooLarge { bytes, bytes_max });
            }
            if topic.partitions.len() == 1 {
                self.check_sound(topic.partitions[0])?;
            }
            self.note_key_of(several, &topic)?;
            if several.record.is_delayed() {
                self.open_delays(id)?;
            }
        }
        if any { Ok(()) } else { Err(AppendError::NotFound) }
    }

    fn note_key_of(&self, several: &mut Several, topic: &Topic) -> Result<(), AppendError> {
        let Some(dedup) = topic.policy.deduplicates() else {
            if !several.keys.is_empty() {
                several.keys.push(None);
            }
            return Ok(());
        };
        if several.keys.is_empty() {
            let before = several.topics.iter().take_while(|id| **id != topic.id).count();
            several.keys = vec![None; before];
        }
        several.keys.push(idempotency::of_record(&dedup, &several.record)?);
        Ok(())
    }

    pub(super) fn seal_routed(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        records: Vec<Several>,
    ) -> Vec<Result<(), AppendError>> {
        records.into_iter().map(|several| self.seal_several(now, frame, group, several)).collect()
    }

    fn seal_several(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        several: Several,
    ) -> Result<(), AppendError> {
        let Several { record, topics, keys, refused } = several;
        if let Some(error) = refused {
            return Err(error);
        }
        let seats = self.places_of(now, &record, &topics, keys)?;
        if seats.is_empty() {
            return Err(AppendError::NotFound);
        }
        // The records of a batch carry one kind of time, so topics with the other get a body of their own.
        let mut spreads = [TimestampType::Create, TimestampType::Append].map(Spread::new);
        for Seat { topic, index, key, is_new } in seats {
            if !is_new {
                continue;
            }
            let place = if record.is_delayed() {
                let sealed = self.seal_delayed(now, frame, group, topic.id, record.clone());
                sealed.map(|(partition, offset, _)| (partition, offset))
            } else {
                let partition = topic.partitions[index as usize];
                self.partitions.get_mut(&partition).map(|sequencer| {
                    group.firsts.entry(partition).or_insert(sequencer.next);
                    let target = sequencer.take(partition, 1);
                    let spread = &mut spreads[usize::from(topic.policy.timestamps == TimestampType::Append)];
                    spread.add(&topic.policy, target, self.queues.wants_keys(topic.id));
                    (partition, target.base)
                })
            };
            if let (Some(key), Some(place)) = (key, place) {
                self.note_key(now, group, topic.id, key, place);
            }
        }
        for spread in spreads {
            spread.each_body(BODY_TARGETS, |spread| frame.push_spread(spread, &record));
        }
        Ok(())
    }

    /// The topics that are still there, the index of the partition in each, and whether the record is new to it.
    ///
    /// # Errors
    /// If one of them cannot take it: then none does.
    fn places_of(
        &mut self,
        now: Now,
        record: &NewRecord,
        topics: &[TopicId],
        keys: Vec<Option<ScopedKey>>,
    ) -> Result<Vec<Seat>, AppendError> {
        let mut places = Vec::with_capacity(topics.len());
        let mut keys = keys.into_iter();
        for id in topics {
            let key = keys.next().flatten();
            let Some(topic) = self.catalog.topic_by_id(*id).cloned() else { continue };
            let index = match topic.partitions.len() {
                1 => 0,
                _ => self.appends.place(&topic, record.key.as_deref()),
            };
            self.check_sound(topic.partitions[index as usize])?;
            if let Some(key) = &key {
                self.check_dedup_room(now, topic.id, std::iter::once(key))?;
            }
            let is_new = self.first_append(now, topic.id, key.as_ref()).is_none();
            places.push(Seat { topic, index, key, is_new });
        }
        Ok(places)
    }
}
