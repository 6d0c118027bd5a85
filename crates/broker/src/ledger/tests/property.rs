//! Random histories: the ledger and its model see the same, restarts and crashes included.

use std::collections::HashSet;

use proptest::prelude::*;

use super::model::{Asked, Model, ModelPartition, kind};
use super::*;
use crate::ledger::{SnapshotAt, Taken};
use crate::{Outcome, QueuePolicy};

#[derive(Clone, Debug)]
enum Op {
    Append {
        partition: usize,
        hole: u64,
        offsets: u32,
        skip: bool,
        live: bool,
        ttl_ms: Option<u64>,
    },
    Extend {
        spans: usize,
    },
    DropWindow,
    Lease {
        count: u32,
        visibility_ms: u64,
        attempts_max: Option<u32>,
        ttl_ms: Option<u64>,
        dead: bool,
    },
    Take {
        partition: usize,
        offset: u64,
        ttl_ms: Option<u64>,
    },
    Settle {
        handle: usize,
        outcome: Outcome,
    },
    Undo {
        handle: usize,
    },
    EndMove {
        handle: usize,
        moved: bool,
    },
    Pass {
        ms: u64,
    },
    Expire,
    SettleOutlived {
        ttl_ms: u64,
    },
    Purge,
    PurgeUnheld,
    Replay {
        partition: usize,
        from: u64,
    },
    StartMoved {
        partition: usize,
        start: u64,
    },
    AddPartition,
    /// Changes a delay that there is.
    Delay {
        ms: u64,
    },
    Write,
    Snapshot,
    Restart {
        wall_ms: i64,
    },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Ack),
        2 => (0..3u64).prop_map(|it| Outcome::Release { after_ms: it * 40 }),
        2 => (0..3u64).prop_map(|it| Outcome::Extend { for_ms: it * 70 }),
        1 => Just(Outcome::Extend { for_ms: crate::limits::VISIBILITY_MS - 20 }),
        2 => Just(Outcome::DeadLetter),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let handle = || 0..1000usize;
    prop_oneof![
        6 => (0..3usize, prop_oneof![4 => Just(0), 1 => 1..4u64], 1..5u32, prop::bool::weighted(0.1), prop::bool::weighted(0.8),
            prop::option::weighted(0.2, 0..400u64))
            .prop_map(|(partition, hole, offsets, skip, live, ttl_ms)| Op::Append {
                partition,
                hole,
                offsets,
                skip,
                live,
                ttl_ms,
            }),
        4 => (1..9usize).prop_map(|spans| Op::Extend { spans }),
        1 => Just(Op::DropWindow),
        8 => (1..9u32, 0..4u64, prop::option::of(1..3u32), prop::option::weighted(0.3, 0..400u64), any::<bool>())
            .prop_map(|(count, visibility, attempts_max, ttl_ms, dead)| {
                Op::Lease { count, visibility_ms: visibility * 50, attempts_max, ttl_ms, dead }
            }),
        4 => (0..3usize, 0..60u64, prop::option::weighted(0.3, 0..400u64))
            .prop_map(|(partition, offset, ttl_ms)| Op::Take { partition, offset, ttl_ms }),
        16 => (handle(), outcome()).prop_map(|(handle, outcome)| Op::Settle { handle, outcome }),
        2 => handle().prop_map(|handle| Op::Undo { handle }),
        3 => (handle(), any::<bool>()).prop_map(|(handle, moved)| Op::EndMove { handle, moved }),
        4 => (0..120u64).prop_map(|ms| Op::Pass { ms }),
        2 => Just(Op::Expire),
        1 => (0..400u64).prop_map(|ttl_ms| Op::SettleOutlived { ttl_ms }),
        1 => prop::bool::weighted(0.3).prop_map(|it| if it { Op::Purge } else { Op::AddPartition }),
        1 => prop::bool::weighted(0.3).prop_map(|it| if it { Op::PurgeUnheld } else { Op::Expire }),
        2 => (0..3usize, 0..60u64).prop_map(|(partition, from)| Op::Replay { partition, from }),
        1 => (0..3usize, 0..30u64).prop_map(|(partition, start)| Op::StartMoved { partition, start }),
        4 => Just(Op::Write),
        3 => Just(Op::Snapshot),
        2 => (-100..200i64).prop_map(|wall_ms| Op::Restart { wall_ms }),
    ]
}

/// Runs of the ledger under test are told apart from a real one by these.
fn caps() -> impl Strategy<Value = Caps> {
    (1..9usize, 1..12usize, 1..6usize, 1..12usize, 1..4usize, 1..4usize, 1..8usize).prop_map(
        |(runs, records, spans, spans_queue, spans_min, dead, parts)| Caps {
            runs,
            records,
            spans: spans.max(spans_min),
            spans_queue,
            spans_min,
            dead,
            parts,
        },
    )
}

fn roomy_caps() -> Caps {
    Caps { parts: 7, ..Caps::of(Order::Standard) }
}

struct Run {
    ledger: Ledger,
    model: Model,
    caps: Caps,
    now: Now,
    opening: u32,
    handles: Vec<LeaseId>,
    given: HashSet<LeaseId>,
    /// What is on disk: the fold, and the model as it was written.
    disk: LedgerState,
    disk_model: Model,
    /// Logs keep their trims.
    starts: Vec<u64>,
    /// A second fold, of a snapshot round under way.
    round: Option<(LedgerState, Option<SnapshotAt>)>,
}

impl Run {
    fn new(model: Model, caps: Caps) -> Self {
        let mut run = Self {
            ledger: Ledger::new(model.order, &[], 1),
            model,
            caps,
            now: at(0),
            opening: 1,
            handles: Vec::new(),
            given: HashSet::new(),
            disk: LedgerState::default(),
            disk_model: Model::default(),
            starts: Vec::new(),
            round: None,
        };
        run.ledger.caps = caps;
        run.ledger.set_policy(&run.model.policy());
        run.add_partition();
        run.add_partition();
        run
    }

    fn add_partition(&mut self) {
        if self.model.partitions.len() < 3 {
            let id = PartitionId(30 + self.model.partitions.len() as u64);
            self.model.partitions.push(ModelPartition::new(id));
            self.ledger.add_partition(id, Offset(0));
            self.starts.push(0);
            self.write();
        }
    }

    fn partition(&self, index: usize) -> (usize, PartitionId) {
        let index = index % self.model.partitions.len();
        (index, self.model.partitions[index].id)
    }

    fn handle(&self, handle: usize) -> Option<LeaseId> {
        // Mostly the handles given last.
        let back = (handle % 16).min(handle % self.handles.len().max(1));
        self.handles.len().checked_sub(back + 1).map(|at| self.handles[at])
    }

    fn policy(attempts_max: Option<u32>, message_ttl_ms: Option<u64>) -> QueuePolicy {
        QueuePolicy { attempts_max, message_ttl_ms, in_flight_max: 8, ..policy() }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { partition, hole, offsets, skip, live, ttl_ms } => {
                let (index, id) = self.partition(partition);
                let ttl_ms = ttl_ms.filter(|_| !self.ledger.wants_keys()).unwrap_or(NO_TTL);
                let span = self.model.partitions[index].append(hole, offsets, skip, self.now, ttl_ms);
                if live && self.ledger.wants_keys() {
                    self.ledger.appended_keys(id, keyed(span));
                } else if live {
                    self.ledger.appended(id, span);
                } else {
                    self.ledger.set_end(id, Offset(self.model.partitions[index].end()));
                }
            }
            Op::Extend { spans } => self.extend(spans),
            Op::DropWindow => self.ledger.drop_window(),
            Op::Lease { count, visibility_ms, attempts_max, ttl_ms, dead } => {
                self.lease(count, visibility_ms, &Self::policy(attempts_max, ttl_ms), dead);
            }
            Op::Take { partition, offset, ttl_ms } => {
                let (index, id) = self.partition(partition);
                let all = self.model.partitions[index].end();
                if all > 0 {
                    self.take(id, offset % all, &Self::policy(None, ttl_ms));
                }
            }
            Op::Settle { handle, outcome } => {
                if let Some(id) = self.handle(handle) {
                    let answer = self.ledger.settle(self.now, id, outcome);
                    assert_eq!(kind(answer), self.model.settle(self.now, id, outcome));
                }
            }
            Op::Undo { handle } => {
                if let Some(id) = self.handle(handle) {
                    self.ledger.undo_lease(id);
                    self.model.undo(id);
                }
            }
            Op::EndMove { handle, moved } => {
                if let Some(id) = self.handle(handle) {
                    self.end_move(id.partition, id.offset, moved);
                }
            }
            Op::Pass { ms } => {
                self.now.monotonic = self.now.monotonic.plus_ms(ms);
                self.now.wall.0 += ms as i64;
            }
            Op::Expire => self.expire(),
            Op::SettleOutlived { ttl_ms } => {
                let policy = Self::policy(None, Some(ttl_ms));
                let settled = self.ledger.settle_outlived(self.now, &policy).settled;
                self.model.settle_outlived(self.now, &policy, settled, &self.ledger);
            }
            Op::Purge => {
                let partitions: Vec<_> = self.model.partitions.iter().map(|it| (it.id, it.end())).collect();
                let settled: u64 =
                    partitions.into_iter().map(|(id, end)| self.model.settle_below(id, end)).sum();
                assert_eq!(self.ledger.purge(), settled);
            }
            Op::PurgeUnheld => {
                let partitions: Vec<_> = self.model.partitions.iter().map(|it| it.id).collect();
                let settled: u64 = partitions.into_iter().map(|id| self.model.settle_unheld(id)).sum();
                assert_eq!(self.ledger.purge_unheld(), settled);
            }
            Op::Replay { partition, from } => {
                let (index, id) = self.partition(partition);
                let from = from.clamp(self.starts[index], self.model.partitions[index].end());
                let again = self.model.replay(self.now, id, from);
                assert_eq!(self.ledger.replay(self.now, id, Offset(from)), again);
            }
            Op::StartMoved { partition, start } => {
                let (index, id) = self.partition(partition);
                let start = start.clamp(self.starts[index], self.model.partitions[index].end());
                self.starts[index] = start;
                self.model.settle_below(id, start);
                self.ledger.start_moved(id, Offset(start));
            }
            Op::AddPartition => self.add_partition(),
            Op::Delay { ms } => {
                self.model.delay_ms = ms;
                self.ledger.set_policy(&self.model.policy());
            }
            Op::Write => self.write(),
            Op::Snapshot => self.snapshot(),
            Op::Restart { wall_ms } => self.restart(wall_ms),
        }
        self.model.check(&self.ledger);
    }

    fn end_move(&mut self, id: PartitionId, offset: Offset, moved: bool) {
        if moved {
            self.ledger.moved(id, offset);
        } else {
            self.ledger.move_failed(id, offset);
        }
        self.model.end_move(id, offset.0, moved);
    }

    /// Answers what the window asks for, at most so many spans a partition.
    fn extend(&mut self, spans_max: usize) {
        let asked: Vec<_> = self.ledger.needs_window().collect();
        for (id, from, room) in asked {
            assert!(room > 0);
            let it = self.model.partitions.iter().find(|it| it.id == id).unwrap();
            assert!(from.0 < it.end());
            let mut spans = it.spans.iter().filter(|span| span.base.0 + u64::from(span.offsets) > from.0);
            let read: Vec<_> = spans.by_ref().take(spans_max.min(room)).copied().collect();
            let to = match (spans.next(), read.last()) {
                (Some(_), Some(last)) => last.base.0 + u64::from(last.offsets),
                (_, _) => it.end(),
            };
            if self.ledger.wants_keys() {
                let read: Vec<_> = read.into_iter().map(keyed).collect();
                self.ledger.extend_groups(id, from, &read, Offset(to));
            } else {
                self.ledger.extend_window(id, from, &read, Offset(to));
            }
        }
    }

    fn lease(
        &mut self,
        count: u32,
        visibility_ms: u64,
        policy: &QueuePolicy,
        dead_letter_exists: bool,
    ) -> usize {
        let runs = self.ledger.runs;
        let roomy =
            self.ledger.runs < self.caps.runs && self.ledger.records + (count as usize) < self.caps.records;
        let result = self.ledger.lease(self.now, policy, count, visibility_ms, dead_letter_exists);
        // Holes that the window comes past are settled, and may be runs; so may what has outlived, until its neighbours have too.
        let roomy =
            roomy && self.ledger.runs < self.caps.runs && runs + (result.expired as usize) < self.caps.runs;
        let asked = Asked { now: self.now, policy, count, visibility_ms, dead_letter_exists, roomy };
        self.model.lease(&asked, &result, &self.ledger);
        for grant in &result.granted {
            assert!(self.given.insert(id(grant)), "a handle was given twice: {grant:?}");
            self.handles.push(id(grant));
        }
        result.granted.len() + result.dead.len() + result.expired as usize
    }

    /// Takes one record out of the middle, if it is one.
    fn take(&mut self, partition: PartitionId, offset: u64, policy: &QueuePolicy) {
        let Some(sought) = self.model.sought(partition, offset) else { return };
        let is_there = self.model.is_there(self.now, policy, partition, offset);
        assert_eq!(self.ledger.is_there(self.now, policy, partition, &sought), is_there, "{offset}");
        let is_full = self.ledger.runs >= self.caps.runs || self.ledger.records >= self.caps.records;
        match self.ledger.take(self.now, policy, partition, &sought) {
            Taken::Taken(grant, record) => {
                assert!(is_there, "{offset} was taken");
                assert_eq!((record.partition, record.offset), (partition, Offset(offset)));
                self.model.take(self.now, &grant);
                assert!(self.given.insert(id(&grant)), "a handle was given twice: {grant:?}");
                self.handles.push(id(&grant));
            }
            Taken::NotThere => assert!(!is_there, "{offset} was not taken"),
            Taken::Full => assert!(is_there && is_full, "{offset} found no room"),
        }
    }

    fn expire(&mut self) {
        let (any, expected) = (self.ledger.expire(self.now), self.model.expire(self.now));
        // The model does not tell when what was delayed becomes due.
        assert!(any == expected || any && self.model.delay_ms > 0);
    }

    fn write(&mut self) {
        while let Some(changes) = self.ledger.take_changes() {
            let parts: usize = changes.partitions.iter().map(|it| it.parts.len()).sum();
            assert!(parts <= self.caps.parts);
            self.disk.apply(&changes);
            if let Some((round, _)) = &mut self.round {
                round.apply(&changes);
            }
        }
        assert_eq!(self.disk, self.ledger.durable_state());
        self.disk_model = self.model.clone();
    }

    /// Writes the next piece of a snapshot round.
    fn snapshot(&mut self) {
        self.write();
        let (mut fold, place) = self.round.take().unwrap_or_default();
        let (piece, next) = self.ledger.snapshot(place);
        assert!(piece.partitions.iter().map(|it| it.parts.len()).sum::<usize>() <= self.caps.parts);
        fold.apply(&piece);
        // A piece says nothing new to one who followed the changes.
        self.disk.apply(&piece);
        assert_eq!(self.disk, self.ledger.durable_state());
        match next {
            Some(_) => self.round = Some((fold, next)),
            None => assert_eq!(fold, self.ledger.durable_state()),
        }
    }

    /// Falls back to what is written; the log keeps all its records and trims.
    fn restart(&mut self, wall_ms: i64) {
        self.opening += 1;
        self.now.wall.0 += wall_ms;
        self.now.monotonic = Monotonic(self.now.wall.0 as u64 % 1000 * 1_000_000);
        let mut model = std::mem::take(&mut self.disk_model);
        for (it, live) in model.partitions.iter_mut().zip(&self.model.partitions) {
            let known = it.spans.len();
            for span in &live.spans[known..] {
                let hole = span.base.0 - it.end();
                let appended = Now { wall: span.append_time, ..self.now };
                it.append(hole, span.offsets, span.skip, appended, span.ttl_ms);
            }
        }
        model.restart(self.now, self.opening);
        let bounds: Vec<_> = model
            .partitions
            .iter()
            .zip(&self.starts)
            .map(|(it, &start)| (it.id, Offset(start)..Offset(it.end())))
            .collect();
        for (id, bounds) in &bounds {
            model.settle_below(*id, bounds.start.0);
        }
        self.model = model;
        self.ledger =
            Ledger::recover(&self.model.policy(), self.disk.clone(), &bounds, self.now, self.opening);
        self.ledger.caps = self.caps;
        self.round = None;
        self.write();
    }

    /// Whatever happened, a queue can be emptied.
    fn drain(&mut self) {
        let policy = Self::policy(None, None);
        // The longest lease, and a back-off after it.
        let step_ms = 2 * crate::limits::VISIBILITY_MS;
        for _ in 0..10_000 {
            self.extend(usize::MAX);
            self.now.monotonic = self.now.monotonic.plus_ms(step_ms);
            self.now.wall.0 += step_ms as i64;
            self.expire();
            self.extend(usize::MAX);
            let from = self.handles.len();
            let taken = self.lease(9, 100, &policy, false);
            let granted: Vec<_> = self.handles[from..].into();
            for id in granted {
                assert_eq!(kind(self.ledger.settle(self.now, id, Outcome::Ack)), Ok(()));
                self.model.settle(self.now, id, Outcome::Ack).unwrap();
            }
            self.model.check(&self.ledger);
            if taken == 0 && self.ledger.needs_window().next().is_none() {
                break;
            }
        }
        for it in &self.ledger.partitions {
            let moving = it.records.len();
            assert!(it.records.values().all(|entry| entry.live == crate::ledger::partition::Live::Moving));
            assert_eq!(it.unsettled(), moving as u64, "not everything could be leased");
        }
    }
}

fn check(order: Order, caps: Caps, ops: &[Op]) {
    check_all(Model { order, ..Model::default() }, caps, ops);
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Standard), Just(Order::ByKey), Just(Order::Fair)]
}

fn backoff() -> impl Strategy<Value = Backoff> {
    prop_oneof![
        2 => Just(Backoff::None),
        1 => (1..100u64).prop_map(|ms| Backoff::Fixed { ms }),
        1 => (1..40u64, 40..200u64).prop_map(|(base_ms, max_ms)| Backoff::Exponential { base_ms, max_ms }),
    ]
}

fn check_all(model: Model, caps: Caps, ops: &[Op]) {
    let mut run = Run::new(model, caps);
    for op in ops {
        run.apply(op);
    }
    for handle in 0..run.handles.len() {
        let id = run.handles[handle];
        run.end_move(id.partition, id.offset, false);
    }
    run.drain();
    run.write();
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(1500), max_shrink_iters: 20_000, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_ledger_does_what_its_model_does(ops in prop::collection::vec(op(), 1..120)) {
        check(Order::Standard, roomy_caps(), &ops);
    }

    #[test]
    fn the_ledger_does_so_under_tiny_limits(caps in caps(), ops in prop::collection::vec(op(), 1..120)) {
        check(Order::Standard, caps, &ops);
    }

    #[test]
    fn delays_and_back_offs_hold_in_every_order(
        order in orders(),
        backoff in backoff(),
        delay_ms in prop_oneof![Just(0), 1..200u64],
        ops in prop::collection::vec(prop_oneof![20 => op(), 1 => (1..200u64).prop_map(|ms| Op::Delay { ms })], 1..120),
    ) {
        check_all(Model { order, backoff, delay_ms, ..Model::default() }, roomy_caps(), &ops);
    }

    #[test]
    fn the_ledger_by_key_does_what_its_model_does(ops in prop::collection::vec(op(), 1..120)) {
        check(Order::ByKey, roomy_caps(), &ops);
    }

    #[test]
    fn the_ledger_by_key_does_so_under_tiny_limits(caps in caps(), ops in prop::collection::vec(op(), 1..120)) {
        check(Order::ByKey, caps, &ops);
    }

    #[test]
    fn the_fair_ledger_does_what_its_model_does(ops in prop::collection::vec(op(), 1..120)) {
        check(Order::Fair, roomy_caps(), &ops);
    }

    #[test]
    fn the_fair_ledger_does_so_under_tiny_limits(caps in caps(), ops in prop::collection::vec(op(), 1..120)) {
        check(Order::Fair, caps, &ops);
    }
}

#[test]
fn batches_that_have_become_due_one_behind_the_other_keep_their_order() {
    let a = |partition, hole, offsets, live: bool| Op::Append {
        partition,
        hole,
        offsets,
        skip: false,
        live,
        ttl_ms: None,
    };
    let ops = vec![
        a(2, 0, 2, false),
        a(0, 3, 1, false),
        a(0, 0, 3, false),
        a(0, 0, 1, false),
        Op::Extend { spans: 2 },
        a(1, 0, 1, false),
        Op::Replay { partition: 0, from: 0 },
        a(2, 0, 2, false),
        Op::Extend { spans: 1 },
        Op::Extend { spans: 1 },
        Op::Restart { wall_ms: 13 },
        Op::Pass { ms: 70 },
        Op::Pass { ms: 56 },
        a(0, 0, 1, false),
        a(2, 0, 2, false),
        a(0, 0, 3, false),
        Op::Extend { spans: 8 },
        Op::Lease { count: 3, visibility_ms: 50, attempts_max: None, ttl_ms: Some(1), dead: false },
        Op::Lease { count: 2, visibility_ms: 0, attempts_max: None, ttl_ms: None, dead: false },
        Op::Settle { handle: 77, outcome: Outcome::Ack },
        Op::Delay { ms: 1 },
        Op::Replay { partition: 0, from: 8 },
    ];
    check_all(
        Model { order: Order::Standard, backoff: Backoff::None, delay_ms: 0, ..Model::default() },
        roomy_caps(),
        &ops,
    );
}
