//! Retention: which records go because nobody wants them any longer, and telling the log so.
//!
//! Invariant: a partition's start never passes what a queue on it holds unsettled and unexpired. A topic kept by
//! retention goes by age and size, looked up in the log by the reader's thread; one kept until settled goes by the floors
//! of its queues, and what they have settled above is discarded. Rounds are cut into slices, so that no tick is long, and
//! trims travel in the next group as any change does. Idle producers are forgotten on the way.
//! What was discarded is told again after a restart: the first round comes at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Log, ReadError, Trim};

use super::Core;
use super::group::Group;
use super::producers::ProducerKey;
use super::work::Work;
use crate::limits::{
    PENDING_TRIMS, RECLAIM_MS, RETENTION_LOOKS, RETENTION_PARTITIONS, RETENTION_PRODUCERS, RETENTION_RUNS,
    RETENTION_SETTLED_MS, RETENTION_SLICE_MS,
};
use crate::state::Owner;
use crate::{DeadLetter, Keep, Monotonic, Now, QueueId, QueuePolicy};

/// Where the rounds stand.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// How often age and size are looked at, milliseconds.
    every_ms: u64,
    /// When the next slice is due; at once after a start.
    next_at: Monotonic,
    /// When age and size are looked at next.
    looks_at: Monotonic,
    /// The round that is going on looks at age and size.
    looks: bool,
    /// Partitions that hold records, and some that did at the last visit: empty ones need none.
    holding: BTreeSet<PartitionId>,
    /// Partitions that this round has still to visit.
    line: VecDeque<PartitionId>,
    /// Producers up to here were visited; `None` if all were.
    producers: Option<Option<ProducerKey>>,
    /// Looks that have not come back.
    looking: usize,
    /// When the log is to reclaim what was trimmed.
    reclaim_at: Option<Monotonic>,
    /// Records that a queue holds although the topic's policy would have let them go.
    pinned: BTreeMap<PartitionId, Vec<(QueueId, u64)>>,
    /// A digest of the runs that the log was told last.
    told: BTreeMap<PartitionId, u64>,
}

/// A look at the ages and sizes of a partition.
pub struct Look {
    partition: PartitionId,
    older_than: Option<Timestamp>,
    bytes_max: Option<u64>,
    /// By queue: what was appended before has outlived its time there.
    outlived: Vec<(QueueId, Timestamp)>,
}

/// What a [`Look`] has found.
pub struct Looked {
    partition: PartitionId,
    ends: Result<Ends, ReadError>,
}

/// Where to begin so that what has its age or is too much lies below.
#[derive(Default)]
struct Ends {
    policy: Offset,
    outlived: Vec<(QueueId, Timestamp, Offset)>,
}

impl Look {
    /// Looks into the index of the log.
    pub(super) fn perform(self, log: &dyn Log) -> Looked {
        Looked { partition: self.partition, ends: self.ends(log) }
    }

    fn ends(&self, log: &dyn Log) -> Result<Ends, ReadError> {
        let partition = self.partition;
        // Taken first: what is appended meanwhile is too young.
        let Some(Range { start, end }) = log.bounds(partition) else {
            return Ok(Ends::default());
        };
        let first_since = |at| -> Result<Offset, ReadError> {
            let first = log.first_appended_at_or_after(partition, at)?;
            Ok(first.map_or(end, |span| span.base.min(end)))
        };
        let by_age = self.older_than.map(first_since).transpose()?;
        let by_size = self.bytes_max.map(|bytes| start_by_size(log, partition, start..end, bytes));
        let outlived = self
            .outlived
            .iter()
            .map(|&(queue, at)| Ok((queue, at, first_since(at)?)))
            .collect::<Result<_, _>>();
        let policy = by_age.max(by_size).unwrap_or_default();
        Ok(Ends { policy, outlived: outlived? })
    }
}

/// Where a partition is to begin that keeps so many bytes: whole batches go as long as what is left is no less, so that a limit below
/// the size of a batch does not empty it. Source: Kafka topic configuration, `retention.bytes`: segments go while the rest exceeds it.
fn start_by_size(log: &dyn Log, partition: PartitionId, bounds: Range<Offset>, bytes: u64) -> Offset {
    let Some(less) = bytes.checked_sub(1) else {
        return bounds.end;
    };
    let first = log.start_for_bytes(partition, less).min(bounds.end);
    if first <= bounds.start {
        return bounds.start;
    }
    // The batch before it is what makes it enough; if that cannot be read, it is not measured.
    let before = log.spans(partition, Offset(first.0 - 1), 1).unwrap_or_default();
    before.first().map_or(first, |span| span.base.clamp(bounds.start, first))
}

impl Retention {
    pub(super) fn every(every_ms: u64) -> Self {
        Self { every_ms, ..Self::default() }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        // With looks under way their findings come first.
        let slice = (self.looking == 0).then_some(self.next_at);
        [slice, self.reclaim_at].into_iter().flatten().min()
    }

    /// A partition holds records now.
    pub(super) fn note_holding(&mut self, partition: PartitionId) {
        self.holding.insert(partition);
    }

    /// The disk is full: the next round looks at everything.
    pub(super) fn hurry(&mut self) {
        self.looks_at = Monotonic::default();
    }

    /// Something was trimmed or removed for good.
    fn note_trimmed(&mut self, now: Now) {
        self.reclaim_at.get_or_insert(now.monotonic.plus_ms(RECLAIM_MS));
    }

    /// Records that queues hold although their topics' policy would have let them go.
    pub(super) fn pinned(&self) -> Vec<(QueueId, PartitionId, u64)> {
        let of = |(&partition, pins): (&PartitionId, &Vec<(QueueId, u64)>)| {
            pins.iter().map(move |&(queue, records)| (queue, partition, records)).collect::<Vec<_>>()
        };
        self.pinned.iter().flat_map(of).collect()
    }
}

impl Core {
    /// Does the next slice, if it is due.
    pub(super) fn retain(&mut self, now: Now) {
        if self.retention.reclaim_at.is_some_and(|at| at <= now.monotonic) {
            self.retention.reclaim_at = None;
            self.queues.work.push_back(Work::Reclaim { now: now.wall });
        }
        if self.retention.looking > 0 || self.retention.next_at > now.monotonic {
            return;
        }
        if self.retention.line.is_empty() && self.retention.producers.is_none() {
            self.begin_round(now);
        }
        self.visit_producers(now);
        self.expire_dedup(now);
        self.retain_delays();
        self.visit_partitions(now);
        let is_over = self.retention.line.is_empty() && self.retention.producers.is_none();
        let pause_ms = match is_over {
            true => RETENTION_SETTLED_MS.min(self.retention.every_ms).max(1),
            false => RETENTION_SLICE_MS,
        };
        self.retention.next_at = now.monotonic.plus_ms(pause_ms);
    }

    fn begin_round(&mut self, now: Now) {
        self.retention.looks = self.retention.looks_at <= now.monotonic;
        self.retention.line = self.retention.holding.iter().copied().collect();
        if self.retention.looks {
            self.retention.looks_at = now.monotonic.plus_ms(self.retention.every_ms);
            // What is long dead may be due, and what was told after a start be mostly dead.
            self.retention.note_trimmed(now);
            self.retention.producers = Some(None);
            let partitions = &self.partitions;
            self.retention.told.retain(|partition, _| partitions.contains_key(partition));
            self.retention.pinned.retain(|partition, _| partitions.contains_key(partition));
        }
    }

    fn visit_producers(&mut self, now: Now) {
        let Some(after) = self.retention.producers else {
            return;
        };
        let (gone, next) = self.producers.expire_some(now.wall, after, RETENTION_PRODUCERS);
        for (partition, producer) in gone {
            self.dirty.insert(Owner::Producer(partition.0, producer));
        }
        self.retention.producers = next.map(Some);
    }

    fn visit_partitions(&mut self, now: Now) {
        let mut runs = 0;
        for _ in 0..RETENTION_PARTITIONS {
            if self.retention.looking >= RETENTION_LOOKS || runs >= RETENTION_RUNS {
                return;
            }
            let Some(partition) = self.retention.line.pop_front() else {
                return;
            };
            runs += self.visit(now, partition);
        }
    }

    /// Applies the policy of a partition, or asks for a look that it needs. Gives the settled runs that this touched.
    fn visit(&mut self, now: Now, partition: PartitionId) -> usize {
        let holding = self.partitions.get(&partition).filter(|it| it.start < it.durable);
        let Some(sequencer) = holding else {
            self.retention.pinned.remove(&partition);
            self.retention.holding.remove(&partition);
            return 0;
        };
        let Some(topic) = self.catalog.topic_by_id(sequencer.topic) else {
            return 0;
        };
        if topic.policy.keep == Keep::Retention && !self.retention.looks {
            // Between looks only what queues have settled goes.
            return 0;
        }
        let ago = |ms: u64| Timestamp(now.wall.0.saturating_sub_unsigned(ms));
        // What goes through an exchange when its time is over is needed until it has gone there.
        let is_over = |policy: &QueuePolicy| !matches!(policy.dead_letter, Some(DeadLetter::Exchange { .. }));
        let policies = self.queues.on(topic.id).iter().filter_map(|id| self.catalog.queue_by_id(*id));
        let outlived: Vec<_> = policies
            .filter(|queue| is_over(&queue.policy))
            .filter_map(|queue| Some((queue.id, ago(queue.policy.message_ttl_ms?))))
            .collect();
        let policy = &topic.policy;
        let (by_age, by_size) = match policy.keep {
            Keep::Retention => (policy.retention_ms.map(ago), policy.retention_bytes),
            Keep::UntilSettled { .. } => (None, None),
        };
        let is_by_time = match policy.keep {
            Keep::Retention => by_age.is_some() || by_size.is_some(),
            Keep::UntilSettled { .. } => !outlived.is_empty(),
        };
        if is_by_time && self.retention.looks {
            let look = Look { partition, older_than: by_age, bytes_max: by_size, outlived };
            self.queues.work.push_back(Work::Retention(look));
            self.retention.looking += 1;
            return 0;
        }
        match policy.keep {
            Keep::Retention => 0,
            Keep::UntilSettled { .. } => self.apply(partition, &Ends::default()),
        }
    }

    /// A look has come back.
    pub(super) fn found_retention(&mut self, now: Now, looked: Looked) {
        self.retention.looking = self.retention.looking.saturating_sub(1);
        match looked.ends {
            Ok(ends) => drop(self.apply(looked.partition, &ends)),
            Err(error) => {
                tracing::warn!(partition = %looked.partition, %error, "retention cannot look at a partition");
            }
        }
        self.retain(now);
    }

    /// Moves the start up to what policy and queues allow, and discards what is settled above.
    fn apply(&mut self, partition: PartitionId, ends: &Ends) -> usize {
        let Some(topic) = self.partitions.get(&partition).map(|it| it.topic) else {
            return 0;
        };
        let Some(keep) = self.catalog.topic_by_id(topic).map(|topic| topic.policy.keep) else {
            return 0;
        };
        let pins = self.pins(partition, &ends.outlived);
        let offsets = pins.iter().map(|&(_, pin)| pin);
        let pin = if planted::is(Bug::TrimmedByOneQueue) { offsets.max() } else { offsets.min() };
        let wanted = match keep {
            Keep::Retention => ends.policy,
            // Without a queue nobody has settled anything.
            Keep::UntilSettled { after } => {
                let after = if planted::is(Bug::KeptTooFew) { after / 2 } else { after };
                Offset(pin.unwrap_or_default().0.saturating_sub(after))
            }
        };
        let over = pins.iter().filter(|&&(_, pin)| pin < wanted);
        let over: Vec<_> = over.map(|&(queue, pin)| (queue, wanted.since(pin))).collect();
        if over.is_empty() {
            self.retention.pinned.remove(&partition);
        } else {
            self.retention.pinned.insert(partition, over);
        }
        if self.changes.trims.len() < PENDING_TRIMS {
            self.move_start(partition, pin.map_or(wanted, |pin| pin.min(wanted)));
        }
        if keep == (Keep::UntilSettled { after: 0 }) { self.discard_settled(partition) } else { 0 }
    }

    /// Up to where each queue on a partition needs nothing of it.
    pub(super) fn pins(
        &self,
        partition: PartitionId,
        outlived: &[(QueueId, Timestamp, Offset)],
    ) -> Vec<(QueueId, Offset)> {
        let Some(sequencer) = self.partitions.get(&partition) else {
            return Vec::new();
        };
        let pin = |&id: &QueueId| {
            let ledger = &self.queues.get(id)?.ledger;
            let outlived = outlived.iter().find(|it| it.0 == id).map(|&(_, at, end)| (at, end));
            Some((id, ledger.needed_from(partition, outlived)?))
        };
        self.queues.on(sequencer.topic).iter().filter_map(pin).collect()
    }

    /// Tells the log what all queues have settled above the start. Gives how many runs were looked at.
    fn discard_settled(&mut self, partition: PartitionId) -> usize {
        let Some(sequencer) = self.partitions.get(&partition) else {
            return 0;
        };
        let mut common: Option<Vec<Range<Offset>>> = None;
        let mut seen = 0;
        for &id in self.queues.on(sequencer.topic) {
            let Some(state) = self.queues.get(id) else {
                continue;
            };
            let floor = state.ledger.floor(partition).unwrap_or_default();
            let mut settled = vec![sequencer.start..floor];
            settled.extend(state.ledger.settled_runs(partition));
            settled.retain(|run| run.start < run.end);
            seen += settled.len();
            common = Some(match common {
                None => settled,
                Some(others) => intersect(&others, &settled),
            });
        }
        let runs = common.unwrap_or_default();
        let digest = runs.iter().fold(runs.len() as u64, |digest, run| {
            (digest ^ run.start.0).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ run.end.0
        });
        if !runs.is_empty() && self.retention.told.insert(partition, digest) != Some(digest) {
            self.discard_when_durable(partition, runs);
        }
        seen
    }
}

impl Core {
    /// A settlement that is lost with the next crash must not have cost the record: the log hears of it afterwards.
    pub(super) fn discard_when_durable(&mut self, partition: PartitionId, runs: Vec<Range<Offset>>) {
        let is_pending = !self.dirty.is_empty() || !self.changes.is_empty() || !self.queues.lazy.is_empty();
        if is_pending {
            self.changes.discards.push((partition, runs));
        } else if !self.kept.is_empty() {
            self.kept.discards.push((partition, runs));
        } else if let Some(group) = self.last_state_in_flight() {
            group.changes.discards.push((partition, runs));
        } else {
            self.queues.work.push_back(Work::Discard { partition, runs });
        }
    }

    /// A group is durable: what it has settled may go, what it has trimmed can be reclaimed.
    pub(super) fn show_retention(&mut self, now: Now, group: &mut Group) {
        for (partition, runs) in std::mem::take(&mut group.changes.discards) {
            self.queues.work.push_back(Work::Discard { partition, runs });
            self.retention.note_trimmed(now);
        }
        let frees = |trim: &Trim| match trim {
            Trim::Start { start, .. } => start.0 > 0,
            Trim::Remove { .. } => true,
        };
        if group.changes.trims.iter().any(frees) {
            self.retention.note_trimmed(now);
        }
    }
}

/// What lies in both; each rises and is disjoint.
fn intersect(one: &[Range<Offset>], other: &[Range<Offset>]) -> Vec<Range<Offset>> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut common = Vec::new();
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        let both = a.start.max(b.start)..a.end.min(b.end);
        if both.start < both.end {
            common.push(both);
        }
        if a.end <= b.end {
            one.next();
        } else {
            other.next();
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use duolog_record::Offset;

    use super::intersect;

    #[test]
    fn runs_are_intersected() {
        let runs = |all: &[(u64, u64)]| all.iter().map(|&(a, b)| Offset(a)..Offset(b)).collect::<Vec<_>>();
        let (one, other) = (runs(&[(0, 5), (7, 9), (10, 20)]), runs(&[(3, 8), (9, 12), (13, 14), (19, 30)]));
        assert_eq!(intersect(&one, &other), runs(&[(3, 5), (7, 8), (10, 12), (13, 14), (19, 20)]));
        assert_eq!(intersect(&one, &[]), []);
    }
}
