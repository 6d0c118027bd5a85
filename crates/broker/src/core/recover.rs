//! A core from what the log holds: the fold over the state partition, set beside the bounds of the partitions.
//!
//! Invariant: the log's bounds decide where a partition stands, the state decides everything else.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use duolog_record::{Batch, Offset, PartitionId};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Durability, Log, ReadLimit};

use super::cursors::{self, Cursors};
use super::dedup::{Chunk, Dedup};
use super::delay::Delays;
use super::producers::{ProducerState, Producers};
use super::queues::Queues;
use super::redrive::Tasks;
use super::retention::Retention;
use super::rounds::Rounds;
use super::sequencer::Sequencer;
use super::verdict::Verdict;
use super::written::{queue_of, topic_of};
use super::{Core, Counters};
use crate::catalog::RELAXED;
use crate::errors::Stopped;
use crate::ledger::LedgerState;
use crate::limits::{GROUP_BYTES, STATE_READ_BYTES};
use crate::seed::Seed;
use crate::shared::Shared;
use crate::state::{
    BindingValue, BrokerValue, DedupValue, DelayValue, ExchangeValue, FIRST_PARTITION, MoveValue, Owner,
    QueueValue, STATE_PARTITION, StateRecord, TopicValue, Value,
};
use crate::{Catalog, Now, QueueId, TopicId};

/// The state as the records of the state partition add up to it.
#[derive(Default)]
pub(super) struct Fold {
    pub(super) broker: Option<BrokerValue>,
    pub(super) topics: BTreeMap<u128, TopicValue>,
    pub(super) queues: BTreeMap<u64, QueueValue>,
    cursors: Cursors,
    producers: Producers,
    /// Bytes of the state partition.
    tail_bytes: u64,
    ledgers: BTreeMap<u64, LedgerState>,
    dedup: BTreeMap<(u128, u64), DedupValue>,
    pub(super) delays: BTreeMap<u128, DelayValue>,
    moves: BTreeMap<u64, MoveValue>,
    pub(super) exchanges: BTreeMap<u64, ExchangeValue>,
    pub(super) bindings: BTreeMap<u64, BindingValue>,
}

impl Fold {
    /// Adds one record.
    ///
    /// # Errors
    /// What is wrong with it, for the message that stops the start.
    pub(super) fn apply(&mut self, record: &StateRecord) -> Result<(), String> {
        let value =
            record.value.as_deref().map(Value::decode).transpose().map_err(|error| error.to_string())?;
        match (&record.owner, value) {
            (Owner::Broker, Some(Value::Broker(value))) => self.broker = Some(value),
            (Owner::Topic(id), Some(Value::Topic(value))) => drop(self.topics.insert(*id, value)),
            (Owner::Topic(id), None) => {
                self.topics.remove(id);
                self.delays.remove(id);
                // They have no end of their own.
                let keys: Vec<_> =
                    self.dedup.range((*id, 0)..=(*id, u64::MAX)).map(|(&key, _)| key).collect();
                keys.iter().for_each(|key| drop(self.dedup.remove(key)));
            }
            (Owner::Queue(id), Some(Value::Queue(value))) => drop(self.queues.insert(*id, value)),
            (Owner::Queue(id), None) => drop(self.queues.remove(id)),
            (Owner::Ledger(id), Some(Value::Ledger(changes))) => {
                self.ledgers.entry(*id).or_default().apply(&changes);
            }
            (Owner::Ledger(id), None) => drop(self.ledgers.remove(id)),
            (Owner::Cursor(group, partition), Some(_))
                if planted::is(Bug::StaleSnapshot)
                    && self.cursors.get(group, PartitionId(*partition)).is_some() => {}
            (Owner::Cursor(group, partition), Some(Value::Cursor(value))) => {
                self.cursors.set(group, PartitionId(*partition), cursors::from_value(value));
            }
            (Owner::Cursor(group, partition), None) => {
                self.cursors.remove(group, PartitionId(*partition));
            }
            (Owner::Producer(partition, id), Some(Value::Producer(value))) => {
                let state =
                    ProducerState::from_value(&value).ok_or("batches of a producer that cannot be")?;
                self.producers.set((PartitionId(*partition), *id), Some(state));
            }
            (Owner::Producer(partition, id), None) => {
                self.producers.set((PartitionId(*partition), *id), None)
            }
            (Owner::Dedup(..), Some(Value::Dedup(_))) if planted::is(Bug::WindowForgotten) => {}
            (Owner::Dedup(topic, chunk), Some(Value::Dedup(value))) => {
                self.dedup.insert((*topic, *chunk), value);
            }
            (Owner::Dedup(topic, chunk), None) => drop(self.dedup.remove(&(*topic, *chunk))),
            (Owner::Delay(topic), Some(Value::Delay(value))) => drop(self.delays.insert(*topic, value)),
            (Owner::Delay(topic), None) => drop(self.delays.remove(topic)),
            (Owner::Move(id), Some(Value::Move(value))) => drop(self.moves.insert(*id, value)),
            (Owner::Move(id), None) => drop(self.moves.remove(id)),
            (Owner::Exchange(id), Some(Value::Exchange(value))) => drop(self.exchanges.insert(*id, value)),
            (Owner::Exchange(id), None) => drop(self.exchanges.remove(id)),
            (Owner::Binding(id), Some(Value::Binding(value))) => drop(self.bindings.insert(*id, value)),
            (Owner::Binding(id), None) => drop(self.bindings.remove(id)),
            (owner, _) => return Err(format!("the state of {owner:?} is of another kind")),
        }
        Ok(())
    }
}

/// Reads the state partition from its start to its end.
fn read_state(log: &dyn Log) -> Result<Fold, String> {
    let mut fold = Fold::default();
    let Some(bounds) = log.bounds(STATE_PARTITION) else {
        return Ok(fold);
    };
    let mut at = bounds.start;
    while at < bounds.end {
        let limit = ReadLimit { bytes_max: STATE_READ_BYTES, until: bounds.end };
        let batches = log.read(STATE_PARTITION, at, limit).map_err(|error| error.to_string())?;
        if batches.is_empty() {
            return Err(format!("the state ends at {at} instead of {}", bounds.end));
        }
        for stored in batches {
            let batch = Batch::from_parts(stored.base, stored.leader_epoch, &stored.body)
                .map_err(|error| error.to_string())?;
            fold_batch(&mut fold, &batch, stored.base, bounds.start)?;
            fold.tail_bytes += stored.body.len() as u64;
            at = stored.base.plus(u64::from(stored.offsets));
        }
    }
    Ok(fold)
}

/// Adds the records of one batch from `start` on.
fn fold_batch(fold: &mut Fold, batch: &Batch, base: Offset, start: Offset) -> Result<(), String> {
    let records = batch.records(base, GROUP_BYTES.saturating_mul(4)).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset < start {
            continue;
        }
        let owner = record.key.as_deref().and_then(Owner::decode);
        let owner = owner.ok_or_else(|| {
            format!(
                "state record at {}: an owner of an unknown kind; a newer duolog may know it",
                record.offset
            )
        })?;
        let value = record.value.map(|value| value.to_vec());
        fold.apply(&StateRecord { owner, value })
            .map_err(|error| format!("state record at {}: {error}", record.offset))?;
    }
    Ok(())
}

/// What a core is started with.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// What an acknowledgement means where a topic does not say.
    pub durability: Durability,
    /// Seed of identities.
    pub seed: u64,
    /// How often age and size are looked at for retention, milliseconds.
    pub retention_check_ms: u64,
}

impl Core {
    /// The core that continues what `log` holds; an empty log gives an empty one.
    ///
    /// # Errors
    /// `Stopped` if the state cannot be read: damaged, or written by a newer version.
    pub fn recover(
        log: &dyn Log,
        now: Now,
        options: &CoreOptions,
        shared: Arc<Shared>,
    ) -> Result<Self, Stopped> {
        let mut fold = read_state(log)
            .map_err(|reason| Stopped { reason: format!("the broker's state cannot be read: {reason}") })?;
        fold.check(log).map_err(|reason| Stopped {
            reason: format!(
                "the broker's state does not fit together: {reason}; restore a copy of the data directory"
            ),
        })?;
        let broker = fold.broker.clone();
        let counters = Counters {
            next_partition: broker.as_ref().map_or(FIRST_PARTITION, |it| it.next_partition),
            next_queue: broker.as_ref().map_or(1, |it| it.next_queue),
            next_producer: broker.as_ref().map_or(1, |it| it.next_producer),
        };
        let mut core = Self::empty(options, log.incarnation(), counters, shared);
        let ledgers = std::mem::take(&mut fold.ledgers);
        let dedup = std::mem::take(&mut fold.dedup);
        let delays = std::mem::take(&mut fold.delays);
        let moves = std::mem::take(&mut fold.moves);
        core.take_fold(fold);
        core.take_bounds(log);
        let chunks = dedup.into_iter().map(|((topic, id), value)| (topic, id, Chunk::from_value(value)));
        core.recover_dedup(now, chunks);
        core.recover_delays(now, log, delays.into_iter());
        core.forget_lost();
        core.recover_queues(now, log, ledgers);
        core.recover_moves(now, moves.into_iter());
        if let Some(broker) = broker
            && !(broker.clean && broker.incarnation.checked_add(1) == Some(log.incarnation()))
        {
            core.raise_epochs(broker.durability_os);
        }
        core.show_all();
        // The first commit of a run says that the last one has ended.
        core.dirty.insert(Owner::Broker);
        Ok(core)
    }

    fn empty(options: &CoreOptions, incarnation: u32, counters: Counters, shared: Arc<Shared>) -> Self {
        Self {
            durability: options.durability,
            seed: Seed::new(options.seed, u64::from(incarnation)),
            shared,
            catalog: Catalog::default(),
            counters,
            producer_ids: 0..0,
            clean: false,
            partitions: BTreeMap::new(),
            producers: Producers::default(),
            cursors: Cursors::default(),
            dedup: Dedup::default(),
            delays: Delays::default(),
            tasks: Tasks::default(),
            queues: Queues::default(),
            incarnation,
            appends: super::appends::Appends::default(),
            dirty: std::collections::BTreeSet::new(),
            changes: super::group::Changes::default(),
            catalog_changed: false,
            lazy_since: None,
            carried: false,
            kept: super::group::Changes::default(),
            in_flight: std::collections::VecDeque::new(),
            next_group: 1,
            retry_at: None,
            state: Sequencer::new(TopicId(0), 0, 0),
            rounds: Rounds::default(),
            retention: Retention::every(options.retention_check_ms),
            stopped: None,
            stats: super::Stats::default(),
        }
    }

    fn take_fold(&mut self, fold: Fold) {
        for (id, value) in fold.topics {
            let id = TopicId(id);
            for (index, &(partition, epoch)) in value.partitions.iter().enumerate() {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                self.partitions.insert(PartitionId(partition), Sequencer::new(id, index, epoch));
                self.catalog.epochs.insert(PartitionId(partition), epoch);
            }
            self.catalog.put_topic(topic_of(id, value));
        }
        for (id, value) in fold.queues {
            self.catalog.put_queue(queue_of(QueueId(id), value));
        }
        self.take_routes(fold.exchanges, fold.bindings);
        self.catalog.version = self.catalog.version.max(fold.broker.map_or(0, |it| it.catalog_version));
        self.rounds = Rounds::recovered(fold.tail_bytes);
        self.cursors = fold.cursors;
        self.producers = fold.producers;
    }

    fn take_bounds(&mut self, log: &dyn Log) {
        for (&partition, sequencer) in &mut self.partitions {
            if let Some(bounds) = log.bounds(partition) {
                sequencer.start = bounds.start;
                sequencer.next = bounds.end;
                sequencer.durable = bounds.end;
                if bounds.start < bounds.end {
                    self.retention.note_holding(partition);
                }
            }
        }
        for partition in log.quarantined() {
            if let Some(sequencer) = self.partitions.get_mut(&partition) {
                tracing::error!(%partition, "quarantined after damage: it takes no appends");
                sequencer.quarantined = true;
            }
        }
        if let Some(bounds) = log.bounds(STATE_PARTITION) {
            self.state.start = bounds.start;
            self.state.next = bounds.end;
            self.state.durable = bounds.end;
        }
    }

    /// The last run did not end in order: what it showed before the sync may be gone, and clients are to notice. The
    /// log's incarnation is in no epoch given out before, not even in one that was lost.
    fn raise_epochs(&mut self, default_was_os: bool) {
        let incarnation = i32::try_from(self.incarnation).unwrap_or(i32::MAX);
        let default = if default_was_os { Durability::Os } else { Durability::Sync };
        let topics: Vec<_> = self.catalog.topics.values().cloned().collect();
        for topic in topics {
            let is_synced = topic.policy.durability.unwrap_or(default) == Durability::Sync;
            let is_relaxed = topic.labels.contains_key(RELAXED) && !planted::is(Bug::EpochKept);
            if is_synced && !is_relaxed {
                continue;
            }
            for partition in &topic.partitions {
                if let Some(sequencer) = self.partitions.get_mut(partition) {
                    sequencer.epoch = sequencer.epoch.saturating_add(1).max(incarnation);
                    self.catalog.epochs.insert(*partition, sequencer.epoch);
                }
            }
            self.dirty.insert(Owner::Topic(topic.id.0));
        }
    }

    fn show_all(&self) {
        for &partition in self.partitions.keys() {
            self.shared.watch.add(partition);
        }
        self.shared.catalog.store(Arc::new(self.catalog.clone()));
    }

    /// The next commit says that this run ended in order; nothing may follow it.
    pub fn end(&mut self) {
        self.clean = true;
        self.queues.stop(&Verdict::Durable);
        self.dirty.insert(Owner::Broker);
    }

    /// True if nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.appends.is_empty()
            && self.changes.is_empty()
            && self.dirty.is_empty()
            && self.kept.is_empty()
            && self.queues.lazy.is_empty()
            && self.queues.moves.is_empty()
            && self.delays.is_empty_line()
    }
}
