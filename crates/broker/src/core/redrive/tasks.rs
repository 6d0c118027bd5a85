//! The move tasks of a shard: what is written of them, and what the running ones have under way.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::planted::{self, Bug};

use crate::core::dead_letter::Place;
use crate::limits::{MOVE_RECORDS, MOVE_TASKS_KEPT};
use crate::state::{MoveFilterValue, MoveStatusValue, MoveValue};
use crate::{LeaseId, Monotonic, MoveFilter, MoveId, MoveSpec, MoveStatus, MoveTask, QueueId};

/// A task, and what it is doing.
#[derive(Clone, Debug)]
pub(in crate::core) struct Running {
    pub(in crate::core) task: MoveTask,
    /// Records that are to be read, are being read, or wait for a commit.
    pub(super) outstanding: usize,
    /// Those of them that are to be read when it is the task's turn to look.
    pub(super) unread: Vec<LeaseId>,
    /// It waits for its turn.
    pub(super) is_in_line: bool,
    /// Records that are damaged, and are kept from being looked at again.
    pub(super) held: Vec<(Place, LeaseId)>,
    /// Where a task that does not take what comes next looks on; `None` until it has begun.
    pub(super) search: Option<Search>,
    /// When it goes on.
    pub(super) next_at: Option<Monotonic>,
}

/// The way of a task through its queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// What is left: partition, from where on, and where the queue ended when the task began.
    pub(super) left: VecDeque<(PartitionId, Offset, Offset)>,
    /// Somebody looks.
    pub(super) is_looking: bool,
}

impl Running {
    pub(super) fn new(task: MoveTask, now: Monotonic) -> Self {
        let next_at = task.is_active().then_some(now);
        Self {
            task,
            outstanding: 0,
            unread: Vec::new(),
            is_in_line: false,
            held: Vec::new(),
            search: None,
            next_at,
        }
    }

    /// How many records it takes at a time.
    pub(super) fn at_once(&self) -> u32 {
        let rate = self.task.spec.rate_per_s;
        rate.map_or(MOVE_RECORDS, |rate| rate.div_ceil(10).clamp(1, MOVE_RECORDS))
    }

    pub(in crate::core) fn to_value(&self) -> MoveValue {
        let MoveTask { spec, status, moved, to_move, started_at, ended_at, .. } = &self.task;
        MoveValue {
            source: spec.source.0,
            destination: spec.destination.map(|queue| queue.0),
            rate_per_s: spec.rate_per_s,
            filter: spec.filter.as_ref().map(|filter| match filter {
                MoveFilter::Key(key) => MoveFilterValue::Key(key.to_vec()),
                MoveFilter::Header { name, value } => MoveFilterValue::Header(name.to_vec(), value.to_vec()),
            }),
            dry_run: spec.dry_run,
            status: match status {
                MoveStatus::Running => MoveStatusValue::Running,
                MoveStatus::Cancelling => MoveStatusValue::Cancelling,
                MoveStatus::Cancelled => MoveStatusValue::Cancelled,
                MoveStatus::Completed => MoveStatusValue::Completed,
                MoveStatus::Failed { reason } => MoveStatusValue::Failed(reason.clone()),
            },
            moved: *moved,
            to_move: *to_move,
            started_at: started_at.0,
            ended_at: ended_at.map(|at| at.0),
        }
    }
}

fn of_value(id: u64, value: MoveValue) -> MoveTask {
    MoveTask {
        id: MoveId(id),
        spec: MoveSpec {
            source: QueueId(value.source),
            destination: value.destination.map(QueueId),
            rate_per_s: value.rate_per_s,
            filter: value.filter.filter(|_| !planted::is(Bug::FilterForgotten)).map(|filter| match filter {
                MoveFilterValue::Key(key) => MoveFilter::Key(Bytes::from(key)),
                MoveFilterValue::Header(name, value) => {
                    MoveFilter::Header { name: Bytes::from(name), value: Bytes::from(value) }
                }
            }),
            dry_run: value.dry_run,
        },
        status: match value.status {
            MoveStatusValue::Running => MoveStatus::Running,
            MoveStatusValue::Cancelling => MoveStatus::Cancelling,
            MoveStatusValue::Cancelled => MoveStatus::Cancelled,
            MoveStatusValue::Completed => MoveStatus::Completed,
            MoveStatusValue::Failed(reason) => MoveStatus::Failed { reason },
        },
        moved: value.moved,
        to_move: value.to_move,
        started_at: Timestamp(value.started_at),
        ended_at: value.ended_at.map(Timestamp),
    }
}

/// All of them.
#[derive(Default)]
pub(in crate::core) struct Tasks {
    tasks: BTreeMap<MoveId, Running>,
    /// The one that moves from a queue.
    active: BTreeMap<QueueId, MoveId>,
    next: u64,
}

impl Tasks {
    pub(super) fn insert(&mut self, running: Running) {
        let (id, source) = (running.task.id, running.task.spec.source);
        if running.task.is_active() {
            self.active.insert(source, id);
        }
        self.next = self.next.max(id.0 + 1);
        self.tasks.insert(id, running);
    }

    pub(in crate::core) fn recover(&mut self, now: Monotonic, id: u64, value: MoveValue) {
        let mut task = of_value(id, value);
        if task.spec.dry_run && task.is_active() {
            // It counts from the beginning.
            task.moved = 0;
        }
        self.insert(Running::new(task, now));
    }

    /// An identity that was never given out as long as it is remembered.
    pub(super) fn next_id(&self) -> MoveId {
        MoveId(self.next)
    }

    pub(in crate::core) fn get(&self, id: MoveId) -> Option<&Running> {
        self.tasks.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: MoveId) -> Option<&mut Running> {
        self.tasks.get_mut(&id)
    }

    /// It is a task's turn: what it looks at, if it is still there and wants to.
    pub(in crate::core) fn next_look(&mut self, id: MoveId) -> Option<Vec<LeaseId>> {
        let running = self.tasks.get_mut(&id)?;
        running.is_in_line = false;
        Some(std::mem::take(&mut running.unread)).filter(|unread| !unread.is_empty())
    }

    pub(in crate::core) fn active_of(&self, source: QueueId) -> Option<MoveId> {
        self.active.get(&source).copied()
    }

    pub(super) fn active_count(&self) -> usize {
        self.active.len()
    }

    /// The task is over.
    pub(super) fn end(&mut self, id: MoveId) {
        if let Some(running) = self.tasks.get_mut(&id) {
            running.next_at = None;
            self.active.remove(&running.task.spec.source);
        }
    }

    /// Those of a queue, latest first.
    pub(super) fn of(&self, source: Option<QueueId>) -> Vec<MoveTask> {
        let is_of = |it: &&Running| source.is_none_or(|source| it.task.spec.source == source);
        self.tasks.values().rev().filter(is_of).map(|it| it.task.clone()).collect()
    }

    /// Forgets the oldest that are over, beyond what is kept of a queue; gives which.
    pub(super) fn forget_oldest(&mut self, source: QueueId) -> Vec<MoveId> {
        let over = self.tasks.values().filter(|it| it.task.spec.source == source && !it.task.is_active());
        let over: Vec<MoveId> = over.map(|it| it.task.id).collect();
        let gone = over[..over.len().saturating_sub(MOVE_TASKS_KEPT)].to_vec();
        gone.iter().for_each(|id| drop(self.tasks.remove(id)));
        gone
    }

    /// Forgets all of a queue that is gone; gives which.
    pub(super) fn forget(&mut self, source: QueueId) -> Vec<MoveId> {
        self.active.remove(&source);
        let of = self.tasks.values().filter(|it| it.task.spec.source == source);
        let gone: Vec<MoveId> = of.map(|it| it.task.id).collect();
        gone.iter().for_each(|id| drop(self.tasks.remove(id)));
        gone
    }

    /// Those that are to go on by now.
    pub(super) fn due(&self, now: Monotonic) -> Vec<MoveId> {
        let is_due = |id: &&MoveId| self.get(**id).and_then(|it| it.next_at).is_some_and(|at| at <= now);
        self.active.values().filter(is_due).copied().collect()
    }

    pub(in crate::core) fn next_deadline(&self) -> Option<Monotonic> {
        self.active.values().filter_map(|id| self.get(*id)?.next_at).min()
    }

    /// The first task after one, in order.
    pub(in crate::core) fn next_after(&self, from: std::ops::Bound<MoveId>) -> Option<MoveId> {
        self.tasks.range((from, std::ops::Bound::Unbounded)).next().map(|(&id, _)| id)
    }
}
