//! One commit while it is put together: entries in order, and per partition the batch that small publishes go into.

use std::collections::BTreeMap;

use duolog_record::{Batch, BatchBuilder, Codec, Header, PartitionId, Timestamp, TimestampType};
use duolog_storage::{Body, Commit, Durability, Entry, Span, Target, Trim};

use crate::core::group::AppendedSpans;
use crate::core::sequencer::Sequencer;
use crate::headers;
use crate::ledger::{NO_TTL, key_hash};
use crate::limits::MERGED_BATCH_BYTES;
use crate::state::{STATE_PARTITION, StateRecord};
use crate::{NewRecord, Now, TopicPolicy};

/// Records that are merged into one batch, open until something else comes to one of its partitions.
struct Open {
    builder: BatchBuilder,
    codec: Codec,
    targets: Vec<Target>,
    /// Which of the targets have a queue that needs the keys.
    wants_keys: Vec<bool>,
    bytes_max: usize,
    /// Hashes of the records' keys, if a queue needs them.
    keys: Vec<u64>,
    /// No record has a key.
    unkeyed: bool,
    /// The times to live that the records bring along, as far as the last that does; `NO_TTL` for those before it that do not.
    ttls: Vec<u64>,
    records: usize,
}

/// What is known of the records of a batch without reading it.
#[derive(Clone, Copy, Default)]
struct Hints {
    unkeyed: bool,
    timed: bool,
}

pub(in crate::core) struct Frame {
    now: Now,
    /// What topics follow that do not say, and the state.
    durability_default: Durability,
    durability: Durability,
    /// Nobody waits for the sync of what comes in now.
    relaxed: bool,
    entries: Vec<Entry>,
    /// By the first of its partitions.
    open: BTreeMap<PartitionId, Open>,
    /// The other partitions of those with several, and the first.
    shared: BTreeMap<PartitionId, PartitionId>,
    /// Targets of the entries.
    sealed_targets: usize,
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
            relaxed: false,
            entries: Vec::new(),
            open: BTreeMap::new(),
            shared: BTreeMap::new(),
            sealed_targets: 0,
            appended: AppendedSpans::default(),
            bytes: 0,
            client_appends: false,
        }
    }

    /// Bytes of bodies so far, about.
    pub(in crate::core) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the commit need not be synced for the sake of what comes in from now on.
    pub(in crate::core) fn relax(&mut self, relaxed: bool) {
        self.relaxed = relaxed;
    }

    /// Places taken so far.
    pub(super) fn targets(&self) -> usize {
        self.sealed_targets + self.open.len() + self.shared.len()
    }

    /// A sealed batch to its place.
    pub(super) fn push_batch(&mut self, policy: &TopicPolicy, target: Target, batch: &Batch) {
        self.raise(policy);
        self.close_open(target.partition);
        self.bytes += batch.bytes().len();
        self.push_appended(&[target], batch, Hints::default());
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
        let bytes = record_bytes(record);
        let fits = |open: &Open| {
            open.codec == codec && open.builder.bytes() + bytes <= open.bytes_max && open.targets.len() == 1
        };
        if !self.open.get(&target.partition).is_some_and(fits) {
            self.close_open(target.partition);
            let mut spread = Spread { codec, ..Spread::new(policy.timestamps) };
            spread.add(policy, target, wants_keys);
            self.open.insert(target.partition, Open::new(spread));
        }
        self.push_open(target.partition, policy.timestamps, record, bytes)
    }

    /// One record to all its places, merged with its neighbours that have the same.
    pub(in crate::core) fn push_spread(&mut self, spread: Spread, record: &NewRecord) {
        let Some(first) = spread.targets.first().map(|target| target.partition) else { return };
        if !self.relaxed {
            self.durability = self.durability.max(spread.durability.unwrap_or(self.durability_default));
        }
        let bytes = record_bytes(record);
        let fits = |open: &Open| {
            open.codec == spread.codec
                && open.builder.bytes() + bytes <= open.bytes_max
                && open.targets.len() == spread.targets.len()
                && open.targets.iter().zip(&spread.targets).all(|(is, it)| is.partition == it.partition)
        };
        let timestamps = spread.timestamps;
        if !self.open.get(&first).is_some_and(fits) {
            spread.targets.iter().for_each(|target| self.close_open(target.partition));
            self.shared.extend(spread.targets.iter().skip(1).map(|target| (target.partition, first)));
            self.open.insert(first, Open::new(spread));
        }
        self.push_open(first, timestamps, record, bytes);
    }

    /// Into what is open there. Gives the time that the record carries.
    fn push_open(
        &mut self,
        first: PartitionId,
        timestamps: TimestampType,
        record: &NewRecord,
        bytes: usize,
    ) -> Timestamp {
        let timestamp = match timestamps {
            TimestampType::Create => record.timestamp.unwrap_or(self.now.wall),
            TimestampType::Append => self.now.wall,
        };
        if let Some(open) = self.open.get_mut(&first) {
            if open.wants_keys.contains(&true) {
                open.keys.push(key_hash(record.key.as_deref()));
            }
            open.unkeyed &= record.key.is_none();
            if let Some(ttl_ms) = headers::ttl_ms(&record.headers) {
                open.ttls.resize(open.records, NO_TTL);
                open.ttls.push(ttl_ms);
            }
            open.records += 1;
            open.builder.push(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        }
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
        self.push_entry(&[target], &batch, Hints::default());
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
        if !self.relaxed {
            self.durability = self.durability.max(policy.durability.unwrap_or(self.durability_default));
        }
    }

    fn close_open(&mut self, partition: PartitionId) {
        let first = self.shared.get(&partition).copied().unwrap_or(partition);
        if let Some(Open { builder, targets, wants_keys, keys, unkeyed, mut ttls, records, .. }) =
            self.open.remove(&first)
        {
            for target in &targets[1..] {
                self.shared.remove(&target.partition);
            }
            for (at, _) in (self.appended.spans.len()..).zip(&wants_keys).filter(|&(_, wants)| *wants) {
                self.appended.keys.insert(at, keys.clone());
            }
            let timed = !ttls.is_empty();
            if timed {
                ttls.resize(records, NO_TTL);
                let at = self.appended.spans.len();
                self.appended.ttls.extend((at..at + targets.len()).map(|at| (at, ttls.clone())));
            }
            self.push_appended(&targets, &builder.build(), Hints { unkeyed, timed });
        }
    }

    fn push_appended(&mut self, targets: &[Target], batch: &Batch, hints: Hints) {
        let body_bytes = batch.bytes().len().saturating_sub(duolog_record::PREFIX_BYTES);
        for target in targets {
            let span = Span {
                base: target.base,
                offsets: batch.header().offsets(),
                append_time: self.now.wall,
                max_timestamp: batch.header().max_timestamp,
                bytes: u32::try_from(body_bytes).unwrap_or(u32::MAX),
                unkeyed: hints.unkeyed,
                timed: hints.timed,
            };
            self.appended.spans.push((target.partition, span));
        }
        self.appended.records += u64::from(batch.header().records) * targets.len() as u64;
        self.appended.bytes += body_bytes as u64;
        self.push_entry(targets, batch, hints);
    }

    fn push_entry(&mut self, targets: &[Target], batch: &Batch, Hints { unkeyed, timed }: Hints) {
        let body = Body { unkeyed, timed, ..Body::of(batch) };
        let entry = Entry { body, targets: targets.to_vec(), key_hashes: Vec::new(), abort_first: None };
        self.sealed_targets += targets.len();
        self.entries.push(entry);
    }
}

/// The places of one record that can share a stored body.
pub(in crate::core) struct Spread {
    timestamps: TimestampType,
    codec: Codec,
    /// The strongest that one of the topics asks for; `None` follows the broker.
    durability: Option<Durability>,
    bytes_max: usize,
    targets: Vec<Target>,
    wants_keys: Vec<bool>,
}

impl Spread {
    pub(in crate::core) fn new(timestamps: TimestampType) -> Self {
        let (durability, bytes_max) = (Some(Durability::Os), MERGED_BATCH_BYTES);
        let (targets, wants_keys) = (Vec::new(), Vec::new());
        Self { timestamps, codec: Codec::None, durability, bytes_max, targets, wants_keys }
    }

    /// The same, compressed.
    pub(in crate::core) fn packed(timestamps: TimestampType, codec: Codec) -> Self {
        Self { codec, ..Self::new(timestamps) }
    }

    /// One more, in a topic of this policy.
    pub(in crate::core) fn add(&mut self, policy: &TopicPolicy, target: Target, wants_keys: bool) {
        self.durability = match (self.durability, policy.durability) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (Some(Durability::Sync), None) | (None, Some(Durability::Sync)) => Some(Durability::Sync),
            (Some(Durability::Os) | None, None) | (None, Some(Durability::Os)) => None,
        };
        self.bytes_max = self.bytes_max.min(policy.batch_bytes_max as usize);
        self.targets.push(target);
        self.wants_keys.push(wants_keys);
    }

    /// Bodies with at most so many targets.
    pub(in crate::core) fn each_body(mut self, targets_max: usize, mut each: impl FnMut(Self)) {
        while self.targets.len() > targets_max {
            let at = self.targets.len() - targets_max;
            let (targets, wants_keys) = (self.targets.split_off(at), self.wants_keys.split_off(at));
            each(Self { targets, wants_keys, ..self });
        }
        each(self);
    }
}

impl Open {
    fn new(spread: Spread) -> Self {
        Self {
            builder: BatchBuilder::new().codec(spread.codec).timestamp_type(spread.timestamps),
            codec: spread.codec,
            targets: spread.targets,
            wants_keys: spread.wants_keys,
            bytes_max: spread.bytes_max,
            keys: Vec::new(),
            unkeyed: true,
            ttls: Vec::new(),
            records: 0,
        }
    }
}

/// Bytes that a record takes in a batch, at most.
pub(crate) fn record_bytes(record: &NewRecord) -> usize {
    bytes_of(record.key.as_deref(), record.value.as_deref(), &record.headers)
}

/// The same of its parts.
pub(crate) fn bytes_of(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
    /// Lengths and deltas of one record, at most.
    const OVERHEAD: usize = 40;
    /// Lengths of one header, at most.
    const HEADER_OVERHEAD: usize = 10;
    let part = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize =
        headers.iter().map(|it| it.key.len() + part(it.value.as_deref()) + HEADER_OVERHEAD).sum();
    part(key) + part(value) + headers + OVERHEAD
}
