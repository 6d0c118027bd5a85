//! The core of a shard: everything it knows and decides, without a thread, a clock or a disk.
//!
//! Commands and the time go in; commits come out of [`Core::seal`], their fate goes into [`Core::committed`], slow looks
//! at the log come out of [`Core::take_work`] and their findings go back in as commands. Whoever sits on the shard's
//! seat drives it, and so does the simulator: the same inputs in the same order give the same outputs.
//! Order is always: decide, apply in memory, commit, answer when durable. Nothing is shown before it is durable.
//! Adding a verb: a `Command`, an arm in [`Core::handle`], and a method in the file of its noun.

mod appends;
mod attempts;
mod check;
mod command;
mod cursors;
mod dead_letter;
mod declare;
mod dedup;
mod delay;
mod depth;
mod group;
#[cfg(test)]
mod harness;
mod lease;
mod length;
mod line;
mod producers;
mod queues;
mod recover;
mod redrive;
mod retention;
mod rewind;
mod rounds;
mod routed;
mod routing;
mod sealing;
mod sequencer;
mod standings;
#[cfg(test)]
mod tests;
mod topics;
mod verdict;
mod work;
mod written;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use duolog_record::PartitionId;
use duolog_storage::Durability;

use self::appends::Appends;
use self::cursors::Cursors;
use self::dedup::Dedup;
use self::delay::Delays;
use self::group::{Changes, Group};
use self::producers::Producers;
use self::queues::Queues;
use self::redrive::Tasks;
use self::retention::Retention;
use self::rounds::Rounds;
use self::sequencer::Sequencer;
use self::verdict::{Answer, Verdict};
use crate::errors::Stopped;
use crate::limits::LAZY_MS;
use crate::seed::Seed;
use crate::state::Owner;
use crate::{Catalog, Monotonic, Now};

pub use self::command::{Command, Reply};
pub use self::dead_letter::DeadFound;
pub use self::delay::{PassAt, Passed};
pub use self::depth::Depths;
pub use self::line::{GiveBack, Granted, LeaseReply};
pub use self::recover::CoreOptions;
pub use self::rewind::AtTime;
pub use self::sealing::Sealed;
pub(crate) use self::sealing::{bytes_of, record_bytes};
pub use self::standings::Stand;
pub use self::work::{Ahead, Finding, Work};
pub use crate::shared::Shared;
pub use crate::state::STATE_PARTITION;

/// Identities given out; rise only.
#[derive(Clone, Debug)]
struct Counters {
    next_partition: u64,
    next_queue: u64,
    next_producer: i64,
}

/// Counted since start, for metrics.
#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    group_commits: u64,
    records_appended: u64,
    bytes_appended: u64,
}

/// A shard's state and its decisions.
pub struct Core {
    durability: Durability,
    seed: Seed,
    shared: Arc<Shared>,
    /// Ahead of the shared one by what is not durable yet.
    catalog: Catalog,
    counters: Counters,
    /// Reserved, not given out yet.
    producer_ids: Range<i64>,
    /// This run has ended in order.
    clean: bool,
    partitions: BTreeMap<PartitionId, Sequencer>,
    producers: Producers,
    cursors: Cursors,
    dedup: Dedup,
    delays: Delays,
    tasks: Tasks,
    queues: Queues,
    /// How many times the log was opened.
    incarnation: u32,
    appends: Appends,
    /// Owners whose state differs from what was last sealed.
    dirty: BTreeSet<Owner>,
    /// What the next group carries besides appends and the dirty.
    changes: Changes,
    /// Changed after the shared catalog was last sealed into a group.
    catalog_changed: bool,
    /// Since when a change waits that nobody waits for.
    lazy_since: Option<Monotonic>,
    /// `kept` was refused for want of space: it goes first and alone.
    carried: bool,
    kept: Changes,
    in_flight: VecDeque<Group>,
    next_group: u64,
    /// Not before then is a refused commit tried again.
    retry_at: Option<Monotonic>,
    state: Sequencer,
    rounds: Rounds,
    retention: Retention,
    stopped: Option<Stopped>,
    stats: Stats,
}

impl Core {
    /// Takes one command. What it answers at once is answered before this returns.
    pub fn handle(&mut self, now: Now, command: Command) {
        if let Some(stopped) = &self.stopped {
            return command.refuse(stopped);
        }
        match command {
            Command::Append { partition, batch, keys, reply } => self.append(partition, batch, keys, reply),
            Command::Publish { topic, records, reply } => self.publish(now, topic, records, reply),
            Command::Route { records, whole, advance, reply } => {
                self.route(now, records, whole, advance, reply);
            }
            Command::CreateExchange { spec, reply } => self.create_exchange(now, *spec, reply),
            Command::DeleteExchange { exchange, if_unused, reply } => {
                self.delete_exchange(exchange, if_unused, reply);
            }
            Command::Bind { spec, reply } => self.bind(*spec, reply),
            Command::Unbind { spec, reply } => self.unbind(&spec, reply),
            Command::SetExchange { known, alternate, labels, reply } => {
                self.set_exchange(&known, alternate, labels, reply);
            }
            Command::Rebind { known, spec, reply } => self.rebind(&known, *spec, reply),
            Command::MoveCursors { group, moves, reply } => self.move_cursors(now, group, moves, reply),
            Command::Cursors { group, reply } => self.look_at_cursors(&group, reply),
            Command::Groups { reply } => self.look_at_groups(reply),
            Command::ForgetCursors { group, partitions, reply } => {
                self.forget_cursors(&group, partitions, reply);
            }
            Command::Producers { partition, reply } => self.look_at_producers(partition, reply),
            Command::NewProducerId { reply } => self.new_producer_id(reply),
            Command::CreateTopic { spec, reply } => self.create_topic(now, spec, reply),
            Command::AddPartitions { topic, total, reply } => self.add_partitions(topic, total, reply),
            Command::DeleteTopic { topic, reply } => self.delete_topic(topic, reply),
            Command::SetTopic { known, policy, labels, reply } => {
                self.set_topic(&known, policy, labels, reply);
            }
            Command::Trim { partition, start, over_queues, reply } => {
                self.trim(partition, start, over_queues, reply);
            }
            Command::Lease { ask, reply } => self.lease(now, ask, reply),
            Command::Join { queue, stand } => self.join(queue, stand),
            Command::Leave { queue, stand } => self.leave(now, queue, &stand),
            Command::Serve { queue } => self.settle_down(now, queue),
            Command::GiveBack { leases } => self.give_back(now, &leases),
            Command::Unreceivable { queue, malformed, gone } => {
                self.unreceivable(now, queue, &malformed, &gone);
            }
            Command::Settle { queue, outcomes, reply } => self.settle(now, queue, outcomes, reply),
            Command::CreateQueue { spec, reply } => self.create_queue(now, *spec, reply),
            Command::DeleteQueue { queue, reply } => self.delete_queue(queue, reply),
            Command::SetQueue { known, policy, labels, reply } => {
                self.set_queue(now, &known, policy, labels, reply);
            }
            Command::PurgeQueue { queue, reply } => self.purge_queue(now, queue, reply),
            Command::PurgeUnheld { queue, reply } => self.purge_unheld(now, queue, reply),
            Command::ReplayQueue { queue, from, reply } => self.replay_queue(now, queue, from, reply),
            Command::StartMove { spec, reply } => self.start_move(now, *spec, reply),
            Command::ListMoves { source, reply } => self.list_moves(source, reply),
            Command::CancelMove { id, reply } => self.cancel_move(now, id, reply),
            Command::Depth { queue, reply } => self.depth(now, queue, reply),
            Command::Depths { after, reply } => self.depths(now, after, reply),
            Command::Overview { reply } => self.overview(reply),
            Command::Found(finding) => self.found(now, finding),
        }
    }

    /// When [`Self::tick`] and [`Self::seal`] are to be called next, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        if self.stopped.is_some() {
            return None;
        }
        // With a group in flight its fate comes first, and with it the next look at what waits.
        let lazy_since = if self.in_flight.is_empty() { self.lazy_since } else { None };
        let lazy = lazy_since.map(|since| since.plus_ms(LAZY_MS));
        let (queues, retention) = (self.queues.next_deadline(), self.retention.next_deadline());
        let others = [self.delays.next_deadline(), self.tasks.next_deadline()];
        [lazy, self.retry_at, queues, retention].into_iter().chain(others).flatten().min()
    }

    /// Why the shard takes no more commands, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Holds an answer back until everything that has happened so far is durable; answers at once if it is.
    fn answer_when_durable(&mut self, answer: Answer) {
        if !self.dirty.is_empty() || !self.changes.is_empty() || !self.queues.lazy.is_empty() {
            self.changes.answers.push(answer);
        } else if let Some(group) = self.in_flight.back_mut() {
            group.changes.answers.push(answer);
        } else if self.carried {
            self.kept.answers.push(answer);
        } else {
            answer(&Verdict::Durable);
        }
    }

    /// Ends the shard: everybody who waits hears why.
    fn stop(&mut self, stopped: Stopped) {
        tracing::error!(reason = %stopped.reason, "the shard stops");
        let verdict = Verdict::Stopped(stopped.clone());
        self.stopped = Some(stopped);
        for group in std::mem::take(&mut self.in_flight) {
            group.answer_all(&verdict);
        }
        let kept = std::mem::take(&mut self.kept).answers;
        for answer in kept.into_iter().chain(std::mem::take(&mut self.changes).answers) {
            answer(&verdict);
        }
        self.appends.refuse_all(&verdict);
        self.queues.stop(&verdict);
        self.lazy_since = None;
        self.retry_at = None;
    }
}
