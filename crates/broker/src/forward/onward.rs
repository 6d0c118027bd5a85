//! Reads records of a topic as those that are published on.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Header, Offset, Record, Timestamp};
use tracing::warn;

use super::forwarder::{Forwarder, Stage};
use crate::core::bytes_of;
use crate::errors::FetchError;
use crate::limits::{
    DEDUP_KEY_BYTES, ECHO_LOOK_BYTES, ECHO_RECORD_BYTES, FORWARD_HOPS, FORWARD_TURN_BYTES, GROUP_BYTES,
    ROUTED_PLACES,
};
use crate::routing::{Exchange, Router, Seen};
use crate::{Catalog, Gap, Gate, NewRecord, Routed, Topic, TopicId, headers};

/// What is to be published, and what becomes of the cursor then.
pub(super) struct Onward {
    pub(super) records: Vec<Routed>,
    /// Where the first of them was, and the bytes of its value.
    pub(super) first: Offset,
    pub(super) first_bytes: u64,
    pub(super) to: Offset,
    /// Records that no binding takes.
    pub(super) unrouted: u64,
    /// Damaged offsets.
    pub(super) lost: u64,
    /// Records that a topic at least never takes; the others get them.
    pub(super) refused: u64,
    /// Of the records.
    pub(super) bytes: usize,
}

impl Onward {
    /// Nothing, as far as that.
    pub(super) fn past(to: Offset) -> Self {
        Self {
            records: Vec::new(),
            first: to,
            first_bytes: 0,
            to,
            unrouted: 0,
            lost: 0,
            refused: 0,
            bytes: 0,
        }
    }
}

/// Records in one buffer of their own: they wait for the disk, and one of a large batch is not to keep all of it alive.
#[derive(Default)]
struct Packing {
    buffer: Vec<u8>,
    records: Vec<Packed>,
    stored: usize,
    places: usize,
}

struct Packed {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
    timestamp: Timestamp,
    topics: Arc<[TopicId]>,
}

/// What is the same for all records of a partition.
struct Way<'a> {
    catalog: &'a Catalog,
    exchange: &'a Exchange,
    topic: &'a Topic,
    /// Index of the partition.
    index: usize,
}

/// What is taken from a partition in one turn.
struct Taking<'a> {
    way: Way<'a>,
    stage: &'a Stage,
    onward: Onward,
    packing: Packing,
    /// Of all records, bound for somewhere or not.
    looked_at: usize,
    has_broken_off: bool,
}

impl Forwarder {
    /// As many records as are stored in one commit. A gap ends it: what comes before it is stored first.
    ///
    /// # Errors
    /// If what comes next cannot be read now.
    pub(super) fn read(&mut self, stage: &Stage, from: Offset) -> Result<Onward, FetchError> {
        let catalog = self.session.catalog();
        let topic = catalog.topic_by_id(stage.forward.topic);
        let ends = topic.zip(catalog.exchange_by_id(stage.forward.exchange));
        let (topic, exchange) = ends.ok_or(FetchError::NotFound(stage.partition))?;
        let index = topic.partitions.iter().position(|it| *it == stage.partition).unwrap_or_default();
        // Before it is read: what comes meanwhile is not to be passed over.
        let end = self.session.bounds(stage.partition).map_or(from, |bounds| bounds.end.max(from));
        let mut taking = Taking {
            way: Way { catalog: &catalog, exchange, topic, index },
            stage,
            onward: Onward::past(from),
            packing: Packing::default(),
            looked_at: 0,
            has_broken_off: false,
        };
        let router = &mut self.router;
        self.session.scan_on(stage.partition, from, &mut self.kept, |seen| {
            let goes_on = match seen {
                Ok(record) => taking.take(router, &record),
                Err(gap) => taking.pass(&gap),
            };
            taking.has_broken_off = goes_on.is_break();
            goes_on
        })?;
        let Taking { mut onward, packing, has_broken_off, .. } = taking;
        if !has_broken_off {
            // Behind the last record there may be offsets without any.
            onward.to = onward.to.max(end);
        }
        onward.bytes = packing.buffer.len();
        onward.records = packing.unpack();
        Ok(onward)
    }
}

impl Taking<'_> {
    fn take(&mut self, router: &mut Router, record: &Record) -> ControlFlow<()> {
        let (key, value) =
            (record.key.as_deref().unwrap_or_default(), record.value.as_deref().unwrap_or_default());
        let seen = Seen::new(&record.headers, value);
        let found = router.route(self.way.catalog, self.way.exchange, key, &seen);
        let bound_for = self.way.forth(record, found);
        let (at, without) = &self.stage.without;
        let without = if *at == record.offset { &without[..] } else { &[] };
        let topics = self.way.fitting(record, &bound_for, without);
        if !topics.is_empty() {
            if !self.packing.has_room(record, &topics) {
                return ControlFlow::Break(());
            }
            if self.packing.records.is_empty() {
                (self.onward.first, self.onward.first_bytes) = (record.offset, value.len() as u64);
            }
        }
        let is_left_out = topics.len() < bound_for.len();
        self.onward.refused += u64::from(is_left_out);
        self.onward.unrouted += u64::from(bound_for.is_empty());
        if !topics.is_empty() {
            self.packing.add(&self.way, record, topics);
        }
        self.onward.to = record.offset.plus(1);
        self.looked_at += value.len() + ECHO_RECORD_BYTES;
        let is_full =
            self.packing.stored >= FORWARD_TURN_BYTES || self.packing.records.len() >= self.stage.records_max;
        // One that is kept from some is alone: what is known of it holds until the cursor has moved.
        match is_full || !without.is_empty() || self.looked_at >= ECHO_LOOK_BYTES {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Damage is passed over alone, so that what comes before it is stored first.
    fn pass(&mut self, gap: &Gap) -> ControlFlow<()> {
        let from = gap.offsets.start.max(self.onward.to);
        if self.packing.records.is_empty() {
            self.onward.lost = gap.offsets.end.0.saturating_sub(from.0);
            self.onward.to = gap.offsets.end;
        } else {
            self.onward.to = from;
        }
        ControlFlow::Break(())
    }
}

impl Way<'_> {
    /// Of the topics that were found for a record, those that it did not come through: circles end.
    fn forth(&self, record: &Record, found: Arc<[TopicId]>) -> Arc<[TopicId]> {
        let through = record.headers.iter().filter(|header| header.key == headers::FORWARDED_FROM);
        let through: Vec<_> = through.filter_map(|header| header.value.as_deref()).collect();
        if through.len() >= FORWARD_HOPS {
            return Arc::default();
        }
        let is_back = |id: &TopicId| {
            *id == self.topic.id
                || self.catalog.topic_by_id(*id).is_some_and(|topic| through.contains(&topic.name.as_bytes()))
        };
        match found.iter().any(is_back) {
            true => found.iter().copied().filter(|id| !is_back(id)).collect(),
            false => found,
        }
    }

    /// Of these topics, those that are not to be left out and whose limit the record keeps to: what the source took compressed may be too
    /// large elsewhere. What the broker adds does not count.
    fn fitting(&self, record: &Record, topics: &Arc<[TopicId]>, without: &[TopicId]) -> Arc<[TopicId]> {
        let bytes = bytes_of(record.key.as_deref(), record.value.as_deref(), &record.headers);
        let fits = |id: &TopicId| {
            let topic = self.catalog.topic_by_id(*id);
            !without.contains(id) && topic.is_none_or(|it| bytes <= it.policy.batch_bytes_max as usize)
        };
        if topics.iter().all(fits) {
            return Arc::clone(topics);
        }
        warn!(
            topic = self.topic.name,
            partition = self.index,
            offset = record.offset.0,
            bytes,
            "a record is too large for a topic that it is bound for"
        );
        topics.iter().copied().filter(fits).collect()
    }
}

impl Packing {
    /// True if a record goes into the same commit as those before it. The first one may be as large as any.
    fn has_room(&self, record: &Record, topics: &[TopicId]) -> bool {
        let bytes = record.value.as_ref().map_or(0, |value| value.len());
        let is_small = self.stored + bytes.saturating_mul(2) <= GROUP_BYTES / 2;
        self.records.is_empty() || (is_small && self.places + topics.len() <= ROUTED_PLACES)
    }

    /// With its headers, and those that say where it comes from.
    fn add(&mut self, way: &Way<'_>, record: &Record, topics: Arc<[TopicId]>) {
        let before = self.buffer.len();
        let key = record.key.as_deref().map(|key| self.put(key));
        let value = record.value.as_deref().map(|value| self.put(value));
        let mut all = Vec::with_capacity(record.headers.len() + 3);
        let mut has_origin = false;
        for Header { key, value } in &record.headers {
            if key != headers::EXCHANGE {
                has_origin |= key == headers::ORIGIN;
                all.push((self.put(key), value.as_deref().map(|value| self.put(value))));
            }
        }
        if !has_origin {
            let origin = format!("{:032x}/{}/{}", way.topic.id.0, way.index, record.offset);
            all.push((self.put(headers::ORIGIN.as_bytes()), Some(self.put(origin.as_bytes()))));
        }
        for (name, value) in
            [(headers::FORWARDED_FROM, &way.topic.name), (headers::EXCHANGE, &way.exchange.name)]
        {
            all.push((self.put(name.as_bytes()), Some(self.put(value.as_bytes()))));
        }
        self.places += topics.len();
        self.stored += self.buffer.len() - before;
        self.records.push(Packed { key, value, headers: all, timestamp: record.timestamp, topics });
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        from..self.buffer.len()
    }

    fn unpack(self) -> Vec<Routed> {
        let buffer = Bytes::from(self.buffer);
        let unpack = |packed: Packed| {
            let header = |(key, value): (Range<usize>, Option<Range<usize>>)| Header {
                key: buffer.slice(key),
                value: value.map(|it| buffer.slice(it)),
            };
            let all: Vec<_> = packed.headers.into_iter().map(header).collect();
            let idempotency_key = all.iter().find(|it| it.key == headers::IDEMPOTENCY_KEY);
            let record = NewRecord {
                key: packed.key.map(|it| buffer.slice(it)),
                value: packed.value.map(|it| buffer.slice(it)),
                timestamp: Some(packed.timestamp),
                // One that is none could not be refused to its producer: nobody deduplicated there.
                idempotency_key: idempotency_key
                    .and_then(|it| it.value.clone())
                    .filter(|key| (1..=DEDUP_KEY_BYTES).contains(&key.len())),
                headers: all,
                delay_ms: None,
            };
            Routed { record, topics: packed.topics, gate: Gate::Open, relaxed: false }
        };
        self.records.into_iter().map(unpack).collect()
    }
}
