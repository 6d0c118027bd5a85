//! One commit while it is put together: entries in order, and per partition the batch that small publishes go into.

use std::collections::BTreeMap;

use duolog_record::{Batch, BatchBuilder, Codec, PartitionId, Timestamp, TimestampType};
use duolog_storage::{Body, Commit, Durability, Entry, Span, Target, Trim};

use crate::core::group::AppendedSpans;
use crate::core::sequencer::Sequencer;
use crate::ledger::key_hash;
use crate::limits::MERGED_BATCH_BYTES;
use crate::state::{STATE_PARTITION, StateRecord};
use crate::{NewRecord, Now, TopicPolicy};

/// Records that are merged into one batch, open until something else comes to the partition.
struct Open {
    builder: BatchBuilder,
    codec: Codec,
    target: Target,
    bytes_max: usize,
    /// Hashes of the records' keys, if a queue needs them.
    keys: Vec<u64>,
    /// No record has a key.
    unkeyed: bool,
}

pub(in crate::core) struct Frame {
    now: Now,
    /// What topics follow that do not say, and the state.
    durability_default: Durability,
    durability: Durability,
    entries: Vec<Entry>,
    open: BTreeMap<PartitionId, Open>,
    appended: AppendedSpans,
    bytes: usize,
    client_appends: bool,
}

impl Frame {
    pub(super) fn new(now: Now, durability_default: Durability) -> Self {
        Self {
            now,
            durability_default,
            durability: Durability::Os,
            entries: Vec::new(),
            open: BTreeMap::new(),
            appended: AppendedSpans::default(),
            bytes: 0,
            client_appends: false,
        }
    }

    /// Bytes of bodies so far, about.
    pub(in crate::core) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Places taken so far.
    pub(super) fn targets(&self) -> usize {
        self.entries.len() + self.open.len()
    }

    /// A sealed batch to its place.
    pub(super) fn push_batch(&mut self, policy: &TopicPolicy, target: Target, batch: &Batch) {
        self.raise(policy);
        self.close_open(target.partition);
        self.bytes += batch.bytes().len();
        self.push_appended(target, batch, false);
    }

    /// One record to its place, merged with its neighbours. Gives the time that it carries.
    pub(in crate::core) fn push_record(
        &mut self,
        policy: &TopicPolicy,
        target: Target,
        record: &NewRecord,
        wants_keys: bool,
    ) -> Timestamp {
        self.push_copy(policy, target, record, Codec::None, wants_keys)
    }

    /// The same, compressed with its neighbours of the same codec.
    pub(in crate::core) fn push_copy(
        &mut self,
        policy: &TopicPolicy,
        target: Target,
        record: &NewRecord,
        codec: Codec,
        wants_keys: bool,
    ) -> Timestamp {
        self.raise(policy);
        let timestamp = match policy.timestamps {
            TimestampType::Create => record.timestamp.unwrap_or(self.now.wall),
            TimestampType::Append => self.now.wall,
        };
        let bytes = record_bytes(record);
        let is_other = |open: &Open| open.codec != codec || open.builder.bytes() + bytes > open.bytes_max;
        if self.open.get(&target.partition).is_some_and(is_other) {
            self.close_open(target.partition);
        }
        let open = self.open.entry(target.partition).or_insert_with(|| Open {
            builder: BatchBuilder::new().codec(codec).timestamp_type(policy.timestamps),
            codec,
            target,
            bytes_max: MERGED_BATCH_BYTES.min(policy.batch_bytes_max as usize),
            keys: Vec::new(),
            unkeyed: true,
        });
        if wants_keys {
            open.keys.push(key_hash(record.key.as_deref()));
        }
        open.unkeyed &= record.key.is_none();
        open.builder.push(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        self.bytes += bytes;
        timestamp
    }

    /// The state batch.
    pub(super) fn push_state<'a>(
        &mut self,
        state: &mut Sequencer,
        records: impl Iterator<Item = &'a StateRecord>,
    ) {
        let mut builder = BatchBuilder::new();
        for record in records {
            builder.push(self.now.wall, Some(&record.owner.encode()), record.value.as_deref(), &[]);
        }
        let batch = builder.build();
        let target = state.take(STATE_PARTITION, batch.header().offsets());
        self.push_entry(target, &batch, false);
    }

    /// What is in so far came from clients: it may be refused without harm, and is not to use up the reserve.
    pub(super) fn note_client_appends(&mut self) {
        self.client_appends = !self.entries.is_empty() || !self.open.is_empty();
    }

    /// The commit. `is_awaited`: somebody waits for what is in it besides appends.
    pub(super) fn close(mut self, trims: Vec<Trim>, is_awaited: bool) -> (Commit, AppendedSpans) {
        while let Some((&partition, _)) = self.open.first_key_value() {
            self.close_open(partition);
        }
        let is_more_than_appends = is_awaited || !trims.is_empty() || self.appended.spans.is_empty();
        let floor = if is_more_than_appends { self.durability_default } else { Durability::Os };
        let commit = Commit {
            entries: self.entries,
            trims,
            durability: self.durability.max(floor),
            append_time: self.now.wall,
            may_use_reserve: !self.client_appends,
        };
        (commit, self.appended)
    }

    fn raise(&mut self, policy: &TopicPolicy) {
        self.durability = self.durability.max(policy.durability.unwrap_or(self.durability_default));
    }

    fn close_open(&mut self, partition: PartitionId) {
        if let Some(Open { builder, target, keys, unkeyed, .. }) = self.open.remove(&partition) {
            if !keys.is_empty() {
                self.appended.keys.insert(self.appended.spans.len(), keys);
            }
            self.push_appended(target, &builder.build(), unkeyed);
        }
    }

    fn push_appended(&mut self, target: Target, batch: &Batch, unkeyed: bool) {
        let body_bytes = batch.bytes().len().saturating_sub(duolog_record::PREFIX_BYTES);
        let span = Span {
            base: target.base,
            offsets: batch.header().offsets(),
            append_time: self.now.wall,
            max_timestamp: batch.header().max_timestamp,
            bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
            unkeyed,
        };
        self.appended.records += u64::from(batch.header().records);
        self.appended.bytes += body_bytes as u64;
        self.appended.spans.push((target.partition, span));
        self.push_entry(target, batch, unkeyed);
    }

    fn push_entry(&mut self, target: Target, batch: &Batch, unkeyed: bool) {
        let body = Body { unkeyed, ..Body::of(batch) };
        let entry = Entry { body, targets: vec![target], key_hashes: Vec::new(), abort_first: None };
        self.entries.push(entry);
    }
}

/// Bytes that a record takes in a batch, at most.
pub(crate) fn record_bytes(record: &NewRecord) -> usize {
    /// Lengths and deltas of one record, at most.
    const OVERHEAD: usize = 40;
    /// Lengths of one header, at most.
    const HEADER_OVERHEAD: usize = 10;
    let part = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize =
        record.headers.iter().map(|it| it.key.len() + part(&it.value) + HEADER_OVERHEAD).sum();
    part(&record.key) + part(&record.value) + headers + OVERHEAD
}
