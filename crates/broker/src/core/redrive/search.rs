//! Move tasks that do not take what comes next: those with a filter, and those that only count.
//!
//! They go through the log once, from the oldest record that is not settled to where the queue ended when they began, and take
//! what matches out of wherever it stands. A record that is leased or delayed when they pass stays where it is.

use std::collections::VecDeque;

use duolog_record::{Offset, PartitionId};
use duolog_storage::ReadError;

use super::Core;
use super::tasks::Search;
use crate::core::line::lease_id;
use crate::core::work::Work;
use crate::ledger::{Sought, Taken};
use crate::limits::LOOK_RETRY_MS;
use crate::{LeaseId, MoveId, MoveStatus, Now, QueueId};

impl Core {
    /// Looks for the next records of a task, or ends it.
    pub(super) fn search(&mut self, now: Now, id: MoveId) {
        let Some(source) = self.tasks.get(id).map(|running| running.task.spec.source) else {
            return;
        };
        let all = self.all_of(source);
        let Some(running) = self.tasks.get_mut(id) else {
            return;
        };
        let count = running.at_once() as usize;
        let filter = running.task.spec.filter.clone();
        let search = running.search.get_or_insert(Search { left: all, is_looking: false });
        if search.is_looking {
            // It goes on when that has come.
            return;
        }
        let Some(ledger) = self.queues.get(source).map(|state| &state.ledger) else {
            return;
        };
        while let Some((partition, from, until)) = search.left.pop_front() {
            let Some((from, _)) = ledger.next_unsettled(partition, from).filter(|(from, _)| *from < until)
            else {
                continue;
            };
            search.left.push_front((partition, from, until));
            search.is_looking = true;
            self.queues.work.push_back(Work::Seek { task: id, partition, from, until, count, filter });
            return;
        }
        self.end_move(now, id, MoveStatus::Completed);
    }

    /// Where a queue begins and ends now.
    fn all_of(&self, source: QueueId) -> VecDeque<(PartitionId, Offset, Offset)> {
        let (Some(queue), Some(state)) = (self.catalog.queue_by_id(source), self.queues.get(source)) else {
            return VecDeque::new();
        };
        let partitions = self.catalog.topic_by_id(queue.topic).map_or(&[][..], |topic| &topic.partitions);
        let bounds = |&partition| {
            let (from, until) = state.ledger.next_unsettled(partition, Offset(0))?;
            Some((partition, from, until))
        };
        partitions.iter().filter_map(bounds).collect()
    }

    /// What a task has looked for was found.
    pub(in crate::core) fn found_sought(
        &mut self,
        now: Now,
        id: MoveId,
        partition: PartitionId,
        found: Result<(Vec<Sought>, Offset), ReadError>,
    ) {
        let Some(running) = self.tasks.get_mut(id).filter(|running| running.task.is_active()) else {
            return;
        };
        let Some(search) = &mut running.search else {
            return;
        };
        search.is_looking = false;
        if running.task.status != MoveStatus::Running {
            return self.step_move(now, id);
        }
        let (found, mut to) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(queue = running.task.spec.source.0, %error, "a move cannot look for records");
                running.next_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
                return;
            }
        };
        let (leases, refused) = self.take_sought(now, id, partition, &found);
        if leases.is_empty() && refused.is_some() {
            let reason =
                "the queue has as many gaps between its records as it may: receive some, and move again";
            return self.end_move(now, id, MoveStatus::Failed { reason: reason.to_owned() });
        }
        to = refused.unwrap_or(to);
        if let Some(search) = self.tasks.get_mut(id).and_then(|running| running.search.as_mut())
            && let Some(front) = search.left.front_mut().filter(|front| front.0 == partition)
        {
            front.1 = front.1.max(to);
        }
        if leases.is_empty() {
            self.step_move(now, id);
        } else {
            self.line_up(now, id, leases);
        }
    }

    /// Takes what was found out of reach of receivers, as far as it is there, or counts it. Gives what it took, and what the ledger
    /// had no room for.
    fn take_sought(
        &mut self,
        now: Now,
        id: MoveId,
        partition: PartitionId,
        found: &[Sought],
    ) -> (Vec<LeaseId>, Option<Offset>) {
        let mut leases = Vec::with_capacity(found.len());
        let Some(running) = self.tasks.get_mut(id) else {
            return (leases, None);
        };
        let source = running.task.spec.source;
        let (Some(queue), Some(state)) = (self.catalog.queue_by_id(source), self.queues.get_mut(source))
        else {
            return (leases, None);
        };
        if running.task.spec.dry_run {
            let is_there = |it: &&Sought| state.ledger.is_there(now, &queue.policy, partition, it);
            running.task.moved += found.iter().filter(is_there).count() as u64;
            return (leases, None);
        }
        let mut refused = None;
        for sought in found {
            match state.ledger.take(now, &queue.policy, partition, sought) {
                Taken::Taken(grant, record) => {
                    state.dead.take(record);
                    leases.push(lease_id(source, &grant));
                }
                Taken::NotThere => {}
                Taken::Full => {
                    refused = Some(sought.offset);
                    break;
                }
            }
        }
        self.note_lazy(now, source);
        self.settle_down(now, source);
        (leases, refused)
    }
}
