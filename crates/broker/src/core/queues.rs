//! The queues of a shard: each a ledger, the receivers that wait for it, and the looks at the log that it waits for.
//!
//! Invariant: after every change of a queue [`Core::settle_down`] has run: nobody waits for what is available, and the
//! queue's timer stands at its next deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, Range};

use duolog_record::{Offset, PartitionId, Timestamp};
use duolog_storage::planted::{self, Bug};
use duolog_storage::{Log, Span};

use super::Core;
use super::attempts::Attempts;
use super::dead_letter::{Dead, Moves};
use super::length::Sizes;
use super::line::Line;
use super::standings::Standings;
use super::verdict::Verdict;
use super::work::{Ahead, Work};
use crate::ledger::{
    DAMAGED_KEY, Hold, KeyedSpan, Keys, Ledger, LedgerSpan, LedgerState, NO_TTL, Outlived, Part, SnapshotAt,
};
use crate::limits::{
    KEY_LOOKS_PER_LEASE, LEDGER_WINDOW_RECORDS, LEDGER_WINDOW_RECORDS_ALL, LEDGER_WINDOW_RECORDS_FULL,
    LOOK_RETRY_MS, QUEUE_IDLE_MS, QUEUE_TIMERS, QUEUES, TTL_CHECK_MS, TTL_CHECK_MS_MIN, TTL_HEAD_MS_MIN,
};
use crate::state::{Owner, StateRecord, Value};
use crate::{DeadLetter, Monotonic, Now, Queue, QueueId, TopicId};

/// A queue's life in memory.
pub(super) struct QueueState {
    pub(super) topic: TopicId,
    pub(super) ledger: Ledger,
    pub(super) line: Line,
    pub(super) standings: Standings,
    pub(super) attempts: Attempts,
    /// Partitions whose window is being read.
    looking: BTreeSet<PartitionId>,
    /// Partitions that could not be read, and when to try again.
    unreadable: BTreeMap<PartitionId, Monotonic>,
    /// Records on their way to the dead-letter queue.
    pub(super) dead: Dead,
    /// Leases and moves that should have ended in a dead-letter queue that does not exist, since the start.
    pub(super) undeliverable: u64,
    /// A warning about that was given.
    warned: bool,
    /// Records that could not be decoded, since the start.
    pub(super) malformed: u64,
    /// Looks that the first in line has been held back for, because they may bring more of what it asked for.
    held_back: u32,
    /// When it goes to sleep; `None` sleeps: it has no window and asks for none, because nobody receives.
    sleeps_at: Option<Monotonic>,
    /// When to look for what has outlived its time to live, if records have one and there are any.
    outlived_at: Option<Monotonic>,
    /// Records may have brought times to live of their own along.
    is_timed: bool,
    /// Bytes of its records, if there is a limit.
    pub(super) sizes: Option<Box<Sizes>>,
    /// Where it stands in `Queues::timers`.
    timer: Option<Monotonic>,
    /// Its part of `Queues::window_records`.
    window_records: usize,
}

impl QueueState {
    fn new(topic: TopicId, ledger: Ledger) -> Self {
        Self {
            topic,
            ledger,
            line: Line::default(),
            standings: Standings::default(),
            attempts: Attempts::default(),
            looking: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            dead: Dead::default(),
            undeliverable: 0,
            warned: false,
            malformed: 0,
            held_back: 0,
            sleeps_at: None,
            outlived_at: None,
            is_timed: false,
            sizes: None,
            timer: None,
            window_records: 0,
        }
    }

    /// More may become available without anybody's doing.
    pub(super) fn is_looking(&self) -> bool {
        !self.looking.is_empty()
    }

    /// True if the first in line, who asks for `count`, is to wait for a look that is under way: a look at keys reads so
    /// many bytes, and large records would come one or two at a time. Where there are priorities, a look may bring some that go first.
    pub(super) fn holds_back(&self, count: u32) -> bool {
        let wants_more =
            || self.ledger.wants_keys() && self.ledger.free_up_to(count as usize) < count as usize;
        self.is_looking()
            && self.held_back < KEY_LOOKS_PER_LEASE
            && (self.ledger.priority_max().is_some() || wants_more())
    }

    /// Somebody else is the first in line.
    pub(super) fn hold_back_anew(&mut self) {
        self.held_back = 0;
    }

    /// Somebody receives: from now on, and for a while, it looks ahead.
    pub(super) fn wake(&mut self, now: Now) {
        self.sleeps_at = Some(now.monotonic.plus_ms(QUEUE_IDLE_MS));
    }

    /// It looks ahead, if it sleeps.
    pub(super) fn stay_awake(&mut self, now: Now) {
        if self.sleeps_at.is_none() {
            self.doze(now);
        }
    }

    /// It looks ahead a little longer.
    fn doze(&mut self, now: Now) {
        self.sleeps_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
    }

    /// Records with times to live of their own have come.
    fn note_ttls(&mut self, now: Now, ttls: impl Iterator<Item = u64>) {
        if let Some(least) = ttls.filter(|ttl_ms| *ttl_ms != NO_TTL).min() {
            self.is_timed = true;
            let at = now.monotonic.plus_ms(least.clamp(TTL_HEAD_MS_MIN, TTL_CHECK_MS));
            self.outlived_at = Some(self.outlived_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// What cannot be read comes to receivers as if it were one batch: they are told of it, and it goes where such records go.
    /// Nothing says when it was appended or which keys it had, so it counts as new and is a group of its own: it holds nobody up.
    fn take_damage(&mut self, now: Now, partition: PartitionId, from: Offset, damaged: Range<Offset>) {
        let mut base = damaged.start;
        while base < damaged.end {
            let offsets = u32::try_from(damaged.end.0 - base.0).unwrap_or(u32::MAX);
            let span = LedgerSpan { base, offsets, append_time: now.wall, skip: false, ttl_ms: NO_TTL };
            let to = base.plus(u64::from(offsets));
            let begin = if base == damaged.start { from } else { base };
            if self.ledger.wants_keys() {
                let keyed = KeyedSpan { span, keys: Keys::All(DAMAGED_KEY) };
                self.ledger.extend_groups(partition, begin, &[keyed], to);
            } else {
                self.ledger.extend_window(partition, begin, &[span], to);
            }
            base = to;
        }
    }

    /// Forgets the window if nobody has received for long.
    fn fall_asleep(&mut self, now: Now) {
        if self.sleeps_at.is_some_and(|at| at <= now.monotonic) {
            if self.line.len() > 0 || self.is_looking() {
                return self.doze(now);
            }
            self.sleeps_at = None;
            self.ledger.drop_window();
        }
    }

    /// Records should have gone to a dead-letter queue that does not exist.
    pub(super) fn note_undeliverable(&mut self, queue: &Queue, records: u64) {
        self.undeliverable += records;
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                queue = queue.name,
                dead_letter = queue.policy.dead_letter.as_ref().and_then(DeadLetter::queue),
                "the dead-letter queue does not exist: records stay where they are"
            );
        }
    }

    /// The dead-letter queue exists: should it go again, that is worth another warning.
    pub(super) fn note_deliverable(&mut self) {
        self.warned = false;
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let line = if self.is_looking() { None } else { self.line.next_deadline() };
        let retry = self.unreadable.values().min().copied();
        let own = [self.sleeps_at, self.outlived_at];
        let all =
            [self.ledger.next_deadline(), line, retry, self.dead.next_deadline()].into_iter().chain(own);
        all.flatten().min()
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Queues {
    /// Boxed, because the nodes of a map are half empty when ids only rise.
    states: BTreeMap<QueueId, Box<QueueState>>,
    by_topic: BTreeMap<TopicId, Vec<QueueId>>,
    timers: BTreeSet<(Monotonic, QueueId)>,
    /// Ledgers with changes that nobody waits for.
    pub(super) lazy: BTreeSet<QueueId>,
    /// Looks at the log that are to be made elsewhere.
    pub(super) work: VecDeque<Work>,
    pub(super) moves: Moves,
    /// Records in the windows of queues that look at keys.
    window_records: usize,
    /// Queues whose bytes are counted.
    pub(super) sized: usize,
}

impl Queues {
    pub(super) fn get(&self, id: QueueId) -> Option<&QueueState> {
        self.states.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: QueueId) -> Option<&mut QueueState> {
        self.states.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn is_full(&self) -> bool {
        self.states.len() >= QUEUES
    }

    /// True if a queue on the topic looks at keys.
    pub(super) fn wants_keys(&self, topic: TopicId) -> bool {
        self.on(topic).iter().any(|id| self.get(*id).is_some_and(|state| state.ledger.wants_keys()))
    }

    /// The highest priority that a topic's records may have, if a queue on it looks at priorities.
    pub(super) fn priority_max(&self, topic: TopicId) -> Option<u8> {
        self.on(topic).iter().find_map(|id| self.get(*id)?.ledger.priority_max())
    }

    /// The first `count` queues by id, of those that come after one.
    pub(super) fn ids_after(&self, after: Option<QueueId>, count: usize) -> Vec<QueueId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.states.range((from, Bound::Unbounded)).map(|(&id, _)| id).take(count).collect()
    }

    /// The queues that read a topic.
    pub(super) fn on(&self, topic: TopicId) -> &[QueueId] {
        self.by_topic.get(&topic).map_or(&[], Vec::as_slice)
    }

    pub(super) fn insert(&mut self, id: QueueId, topic: TopicId, ledger: Ledger) {
        self.states.insert(id, Box::new(QueueState::new(topic, ledger)));
        self.by_topic.entry(topic).or_default().push(id);
    }

    pub(super) fn remove(&mut self, id: QueueId) -> Option<Box<QueueState>> {
        let state = self.states.remove(&id)?;
        self.window_records -= state.window_records;
        self.sized -= usize::from(state.sizes.is_some());
        if let Some(timer) = state.timer {
            self.timers.remove(&(timer, id));
        }
        self.lazy.remove(&id);
        if let Some(others) = self.by_topic.get_mut(&state.topic) {
            others.retain(|&other| other != id);
            if others.is_empty() {
                self.by_topic.remove(&state.topic);
            }
        }
        Some(state)
    }

    /// The shard ends: nobody waits any longer.
    pub(super) fn stop(&mut self, verdict: &Verdict) {
        for (&id, state) in &mut self.states {
            for waiter in state.line.take_all() {
                match verdict {
                    Verdict::Stopped(stopped) => waiter.reply.refuse(stopped.clone().into()),
                    Verdict::Durable | Verdict::DiskFull => waiter.reply.nothing(id),
                }
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Takes off timers that are over, so many that a turn does not become long; each is set anew by `settle_down`.
    fn take_due(&mut self, now: Monotonic) -> Vec<QueueId> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
            && due.len() < QUEUE_TIMERS
        {
            self.timers.pop_first();
            if let Some(state) = self.states.get_mut(&id) {
                state.timer = None;
            }
            due.push(id);
        }
        due
    }

    fn set_timer(&mut self, id: QueueId) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        let records = state.ledger.window_records();
        self.window_records -= std::mem::replace(&mut state.window_records, records);
        self.window_records += records;
        let next = state.next_deadline();
        if state.timer == next {
            return;
        }
        if let Some(timer) = std::mem::replace(&mut state.timer, next) {
            self.timers.remove(&(timer, id));
        }
        if let Some(next) = next {
            self.timers.insert((next, id));
        }
    }

    /// Asks for what the windows of a queue lack.
    fn look_ahead(&mut self, id: QueueId, until: impl Fn(PartitionId) -> Option<Offset>) {
        let Some(state) = self.states.get_mut(&id) else {
            return;
        };
        if state.sleeps_at.is_none() {
            return;
        }
        let keys = state.ledger.wants_keys();
        if keys {
            let is_full = self.window_records >= LEDGER_WINDOW_RECORDS_ALL;
            let most = if is_full { LEDGER_WINDOW_RECORDS_FULL } else { LEDGER_WINDOW_RECORDS };
            state.ledger.set_window_records(most);
        }
        for (partition, from, count) in state.ledger.needs_window() {
            if state.looking.contains(&partition) || state.unreadable.contains_key(&partition) {
                continue;
            }
            let Some(until) = until(partition) else {
                continue;
            };
            state.looking.insert(partition);
            self.work.push_back(Work::Spans { queue: id, partition, from, count, until, keys });
        }
    }
}

impl Core {
    /// Looks at the log that are to be made on another thread; each finding comes back as a command.
    pub fn take_work(&mut self) -> Option<Work> {
        self.queues.work.pop_front()
    }

    /// Does what is due: ends leases and delays, answers receivers that have waited long enough.
    pub fn tick(&mut self, now: Now) {
        if self.stopped.is_some() {
            return;
        }
        for id in self.queues.take_due(now.monotonic) {
            if let Some(state) = self.queues.get_mut(id) {
                state.unreadable.retain(|_, retry| *retry > now.monotonic);
                // What ends by its time is not written: it follows from what was.
                state.ledger.expire(now);
                state.dead.tick(now);
                state.fall_asleep(now);
            }
            self.check_outlived(now, id);
            self.settle_down(now, id);
        }
        self.tick_delays(now);
        self.tick_moves(now);
        self.retain(now);
    }

    /// From time to time settles what has outlived its time to live although nobody receives.
    fn check_outlived(&mut self, now: Now, id: QueueId) {
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        if state.outlived_at.is_some_and(|at| at <= now.monotonic) {
            state.outlived_at = None;
            if state.sleeps_at.is_none() && state.ledger.needs_window().next().is_some() {
                state.doze(now);
            }
            self.settle_outlived(now, id);
        }
    }

    /// Settles what has outlived its time to live, as far as the window reaches.
    pub(super) fn settle_outlived(&mut self, now: Now, id: QueueId) {
        let Some(queue) = self.catalog.queue_by_id(id).cloned() else {
            return;
        };
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        let Outlived { settled, dead, next } = state.ledger.settle_outlived(now, &queue.policy);
        let policy = queue.policy.message_ttl_ms.map(|ttl_ms| outlived_next(now, ttl_ms));
        let head = next.map(|due| due_at(now, due));
        // The time to live may have become shorter since the last look was set.
        state.outlived_at = [state.outlived_at, policy, head].into_iter().flatten().min();
        let is_changed = settled > 0 || !dead.is_empty();
        self.bury_all(&queue, dead);
        if is_changed {
            self.note_lazy(now, id);
        }
    }

    /// Gives out what can be given out, asks for what is missing, and sets the timer.
    pub(super) fn settle_down(&mut self, now: Now, id: QueueId) {
        if self.queues.get(id).is_some_and(|state| state.ledger.priority_max().is_some()) {
            self.look_ahead(id);
        }
        self.serve(now, id);
        self.shorten(now, id);
        self.look_at_dead(id);
        self.look_ahead(id);
        self.dismiss(now, id);
        self.arm_outlived(now, id);
        self.queues.set_timer(id);
    }

    /// An empty queue has nothing that could outlive its time; the first record that comes sets the time of the next look.
    fn arm_outlived(&mut self, now: Now, id: QueueId) {
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        if state.ledger.is_empty() {
            (state.outlived_at, state.is_timed) = (None, false);
        } else if state.outlived_at.is_none()
            && let Some(queue) = self.catalog.queue_by_id(id)
        {
            let ttl_ms = queue.policy.message_ttl_ms.or(state.is_timed.then_some(TTL_CHECK_MS));
            // The first of them may be due when that is over.
            let at = |ttl_ms: u64| now.monotonic.plus_ms(ttl_ms.clamp(TTL_HEAD_MS_MIN, TTL_CHECK_MS));
            state.outlived_at = ttl_ms.map(at);
        }
    }

    fn look_ahead(&mut self, id: QueueId) {
        let partitions = &self.partitions;
        self.queues.look_ahead(id, |partition| partitions.get(&partition).map(|it| it.durable));
    }

    /// A commit is durable: the queues on the partition have something new.
    pub(super) fn queue_appended(
        &mut self,
        now: Now,
        partition: PartitionId,
        span: &Span,
        keys: &[u64],
        ttls: &[u64],
        touched: &mut BTreeSet<QueueId>,
    ) {
        let Some(sequencer) = self.partitions.get(&partition) else {
            return;
        };
        let topic = sequencer.topic;
        let ids = self.queues.by_topic.get(&topic).map_or(&[][..], Vec::as_slice);
        for id in ids {
            if let Some(state) = self.queues.states.get_mut(id) {
                state.note_ttls(now, ttls.iter().copied());
                let is_awake = state.sleeps_at.is_some();
                let span = ledger_span(span);
                match state.ledger.wants_keys() {
                    false if is_awake => {
                        by_ttl(span, ttls).for_each(|span| state.ledger.appended(partition, span));
                    }
                    true if is_awake && !keys.is_empty() => {
                        state.ledger.appended_keys(partition, KeyedSpan::new(span, keys));
                    }
                    false | true => state.ledger.set_end(partition, span.base.plus(u64::from(span.offsets))),
                }
                touched.insert(*id);
            }
        }
    }

    /// A partition's start has moved up: what lay below is no longer delivered.
    pub(super) fn queue_start_moved(&mut self, partition: PartitionId, start: Offset) {
        let Some(sequencer) = self.partitions.get(&partition) else {
            return;
        };
        for id in self.queues.on(sequencer.topic).to_vec() {
            if let Some(state) = self.queues.get_mut(id) {
                state.ledger.start_moved(partition, start);
                self.queues.lazy.insert(id);
            }
        }
    }

    /// What was found for a window.
    pub(super) fn found_spans(
        &mut self,
        now: Now,
        id: QueueId,
        partition: PartitionId,
        from: Offset,
        found: Result<(Ahead, Offset), duolog_storage::ReadError>,
    ) {
        let start = self.partitions.get(&partition).map(|it| it.start);
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        state.looking.remove(&partition);
        state.held_back = state.held_back.saturating_add(1);
        match found {
            Ok((ahead, to)) => {
                match ahead {
                    Ahead::Spans(spans) => {
                        state.note_ttls(now, spans.iter().map(|span| span.ttl_ms));
                        state.ledger.extend_window(partition, from, &spans, to);
                    }
                    Ahead::Keys(spans) => state.ledger.extend_groups(partition, from, &spans, to),
                    Ahead::Damage(at, error) => {
                        tracing::warn!(queue = id.0, %partition, %error, until = %to, "a queue has come to damage");
                        state.take_damage(now, partition, from, at..to);
                    }
                }
                self.settle_outlived(now, id);
            }
            Err(duolog_storage::ReadError::OutOfRange { .. }) if start.is_some_and(|start| from < start) => {
                state.ledger.start_moved(partition, start.unwrap_or(from));
            }
            Err(error) => {
                tracing::warn!(queue = id.0, %partition, %error, "a queue cannot look ahead");
                state.unreadable.insert(partition, now.monotonic.plus_ms(LOOK_RETRY_MS));
            }
        }
        // Asked for first: who waits for more than was found is held back only if more is on the way.
        self.look_ahead(id);
        self.settle_down(now, id);
    }

    /// Something in a queue's ledger has changed that nobody waits for.
    pub(super) fn note_lazy(&mut self, now: Now, id: QueueId) {
        self.queues.lazy.insert(id);
        self.lazy_since.get_or_insert(now.monotonic);
    }

    /// What has changed in a ledger, or that it is gone.
    pub(super) fn ledger_records(&mut self, id: QueueId, records: &mut Vec<StateRecord>) {
        let owner = Owner::Ledger(id.0);
        match self.queues.get_mut(id) {
            Some(state) => {
                while let Some(mut changes) = state.ledger.take_changes() {
                    if planted::is(Bug::DeliveryCountLost) {
                        for it in &mut changes.partitions {
                            it.parts.retain(|part| !is_lease(part));
                        }
                    }
                    let value = Some(Value::Ledger(changes).encode());
                    records.push(StateRecord { owner: owner.clone(), value });
                }
            }
            None => records.push(StateRecord { owner, value: None }),
        }
    }

    /// One piece of a ledger's whole state, and where the next begins.
    pub(super) fn ledger_piece(
        &self,
        id: QueueId,
        at: Option<SnapshotAt>,
    ) -> Option<(StateRecord, Option<SnapshotAt>)> {
        let (changes, next) = self.queues.get(id)?.ledger.snapshot(at);
        let value = Some(Value::Ledger(changes).encode());
        Some((StateRecord { owner: Owner::Ledger(id.0), value }, next))
    }

    /// The ledgers of the queues in the catalog, as they were written.
    pub(super) fn recover_queues(
        &mut self,
        now: Now,
        log: &dyn Log,
        mut ledgers: BTreeMap<u64, LedgerState>,
    ) {
        let queues: Vec<_> = self.catalog.queues.values().cloned().collect();
        for queue in queues {
            let state = ledgers.remove(&queue.id.0).unwrap_or_default();
            let partitions = self.catalog.topic_by_id(queue.topic).map_or(&[][..], |it| &it.partitions);
            let bounds: Vec<_> = partitions
                .iter()
                .filter_map(|partition| Some((*partition, self.partitions.get(partition)?)))
                .map(|(partition, it)| (partition, it.start..it.durable))
                .collect();
            let ledger = Ledger::recover(&queue.policy, state, &bounds, now, log.incarnation());
            let forgot_some = ledger.is_changed();
            self.queues.insert(queue.id, queue.topic, ledger);
            if forgot_some {
                // Written with the first commit: its offsets may be those that were forgotten as settled.
                self.note_lazy(now, queue.id);
            }
            // What times to live its records brought along shows when it looks ahead.
            let may_be_timed = matches!(queue.policy.dead_letter, Some(DeadLetter::Exchange { .. }));
            if may_be_timed && let Some(state) = self.queues.get_mut(queue.id) {
                state.note_ttls(now, std::iter::once(TTL_CHECK_MS_MIN));
            }
            self.watch_sizes(queue.id);
            self.settle_outlived(now, queue.id);
            self.settle_down(now, queue.id);
        }
    }
}

/// When to look again for what has outlived its time to live.
fn outlived_next(now: Now, ttl_ms: u64) -> Monotonic {
    now.monotonic.plus_ms(ttl_ms.clamp(TTL_CHECK_MS_MIN, TTL_CHECK_MS))
}

/// When the wall clock says so; not at once, so that many that are due one after the other are taken together, and not far off,
/// because the clock may be set.
fn due_at(now: Now, due: Timestamp) -> Monotonic {
    let in_ms = u64::try_from(due.0.saturating_sub(now.wall.0)).unwrap_or_default();
    now.monotonic.plus_ms(in_ms.clamp(TTL_HEAD_MS_MIN, TTL_CHECK_MS))
}

/// What a ledger knows of a batch.
pub(super) fn ledger_span(span: &Span) -> LedgerSpan {
    let (base, offsets, append_time) = (span.base, span.offsets, span.append_time);
    // There are no control batches until there are transactions.
    LedgerSpan { base, offsets, append_time, skip: false, ttl_ms: NO_TTL }
}

/// A batch cut where the times to live of its records change; whole if none has any.
pub(super) fn by_ttl(whole: LedgerSpan, ttls: &[u64]) -> impl Iterator<Item = LedgerSpan> {
    let mut base = whole.base;
    let cut = ttls.chunk_by(|one, other| one == other).map(move |alike| {
        let offsets = alike.len() as u32;
        let span = LedgerSpan { base, offsets, ttl_ms: alike[0], ..whole };
        base = base.plus(u64::from(offsets));
        span
    });
    let uncut = ttls.is_empty().then_some(whole);
    uncut.into_iter().chain(cut)
}

/// True for what a lease alone has written.
fn is_lease(part: &Part) -> bool {
    matches!(part, Part::Record(_, state) | Part::Timed(_, state, _) if matches!(state.hold, Hold::Leased { .. }))
}
