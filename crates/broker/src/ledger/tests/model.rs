//! A ledger as one map per partition, slow and plain: what the real one is held against.

use std::collections::BTreeMap;

use super::*;
use crate::Outcome;
use crate::errors::SettleError;
use crate::ledger::partition::Live;
use crate::ledger::settled::SettledSet;
use crate::ledger::{Hold, NO_TTL, RecordState, ReplayMark, Settled, Sought};
use crate::limits::VISIBILITY_MS;

/// One offset.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Nothing for a queue; settled when the real ledger says so.
    Hole {
        settled: bool,
    },
    Settled,
    Fresh,
    Record(Record),
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) state: RecordState,
    before: u64,
    pub(super) live: Live,
}

#[derive(Clone, Debug)]
pub(super) struct ModelPartition {
    pub(super) id: PartitionId,
    pub(super) cells: Vec<Cell>,
    /// The times to live that records brought along.
    ttls: Vec<u64>,
    pub(super) appended: Vec<i64>,
    pub(super) spans: Vec<LedgerSpan>,
    replay: ReplayMark,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) order: Order,
    pub(super) delay_ms: u64,
    pub(super) backoff: Backoff,
    /// The log's incarnation.
    pub(super) opening: u64,
    pub(super) partitions: Vec<ModelPartition>,
}

/// What a lease was asked for.
pub(super) struct Asked<'a> {
    pub(super) now: Now,
    pub(super) policy: &'a QueuePolicy,
    pub(super) count: u32,
    pub(super) visibility_ms: u64,
    pub(super) dead_letter_exists: bool,
    /// No cap of the ledger was near.
    pub(super) roomy: bool,
}

impl Cell {
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Settled | Self::Hole { settled: true })
    }

    fn is_ready(&self) -> bool {
        matches!(self, Self::Record(Record { live: Live::Ready, .. }))
    }

    fn live(&self) -> Option<Live> {
        match self {
            Self::Record(record) => Some(record.live),
            Self::Hole { .. } | Self::Settled | Self::Fresh => None,
        }
    }
}

impl ModelPartition {
    pub(super) fn new(id: PartitionId) -> Self {
        let (cells, spans, replay) = (Vec::new(), Vec::new(), ReplayMark::default());
        Self { id, cells, ttls: Vec::new(), appended: Vec::new(), spans, replay }
    }

    pub(super) fn end(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Appends a batch behind a hole.
    pub(super) fn append(
        &mut self,
        hole: u64,
        offsets: u32,
        skip: bool,
        now: Now,
        ttl_ms: u64,
    ) -> LedgerSpan {
        let base = self.end() + hole;
        let end = base + u64::from(offsets);
        self.appended.resize(end as usize, now.wall.0);
        self.ttls.resize(end as usize, ttl_ms);
        self.cells.resize(base as usize, Cell::Hole { settled: false });
        self.cells.resize(end as usize, if skip { Cell::Hole { settled: false } } else { Cell::Fresh });
        let span = LedgerSpan { base: Offset(base), offsets, append_time: now.wall, skip, ttl_ms };
        self.spans.push(span);
        span
    }

    fn live_from(&self, offset: u64) -> i64 {
        match &self.cells[offset as usize] {
            Cell::Record(record) => record.state.live_from,
            Cell::Hole { .. } | Cell::Settled | Cell::Fresh => {
                let appended = self.appended[offset as usize];
                if offset < self.replay.below { appended.max(self.replay.at) } else { appended }
            }
        }
    }

    fn outlived(&self, offset: u64, now: Now, policy: &QueuePolicy) -> bool {
        let ttl_ms = policy.message_ttl_ms.unwrap_or(NO_TTL).min(self.ttls[offset as usize]);
        ttl_ms != NO_TTL && now.wall.0 - self.live_from(offset) >= ttl_ms as i64
    }

    /// Every record below the window's end that could be leased is in its chain, or was passed over.
    fn check_groups(&self, groups: &BTreeMap<u64, (Vec<u64>, u32, u64)>, window_end: u64) {
        let mut known = groups.clone();
        for (offset, cell) in self.cells.iter().enumerate() {
            let (offset, key) = (offset as u64, key_of(offset as u64));
            if cell.live().is_some_and(|live| live != Live::Ready) {
                known.get_mut(&key).unwrap().1 -= 1;
            } else if offset < window_end && (matches!(cell, Cell::Fresh) || cell.is_ready()) {
                let (chain, _, more_from) = known.get_mut(&key).unwrap();
                if offset < *more_from {
                    assert_eq!(chain.remove(0), offset, "in the chain of {key}");
                }
            }
        }
        for (key, (chain, held, more_from)) in known {
            assert!(chain.is_empty() && held == 0, "{key}: {chain:?} {held}");
            assert!(more_from == u64::MAX || more_from < window_end, "{key}: {more_from} of {window_end}");
        }
    }

    /// Takes over what the ledger settled on its own: holes, and what has outlived. Answers how many records.
    fn adopt(&mut self, real: &SettledSet, may: impl Fn(&Self, u64) -> bool) -> u64 {
        let mut records = 0;
        for offset in 0..self.end() {
            let cell = &self.cells[offset as usize];
            if cell.is_settled() || !real.contains(offset) {
                continue;
            }
            if matches!(cell, Cell::Hole { .. }) {
                self.cells[offset as usize] = Cell::Hole { settled: true };
            } else {
                assert!(may(self, offset), "{offset} is settled: {cell:?}");
                self.cells[offset as usize] = Cell::Settled;
                records += 1;
            }
        }
        records
    }
}

impl Model {
    /// What a ledger like it is recovered with.
    pub(super) fn policy(&self) -> QueuePolicy {
        QueuePolicy { order: self.order, delay_ms: self.delay_ms, backoff: self.backoff, ..policy() }
    }

    fn of(&mut self, id: PartitionId) -> &mut ModelPartition {
        self.partitions.iter_mut().find(|it| it.id == id).unwrap()
    }

    fn lives(&self) -> impl Iterator<Item = Live> + '_ {
        self.partitions.iter().flat_map(|it| it.cells.iter().filter_map(Cell::live))
    }

    pub(super) fn leased(&self) -> u32 {
        self.lives().filter(|live| matches!(live, Live::Leased { .. })).count() as u32
    }

    /// What the ledger answers to a handle that it gave once.
    pub(super) fn settle(&mut self, now: Now, id: LeaseId, outcome: Outcome) -> Result<(), SettleError> {
        let backoff = self.backoff;
        let opening = self.opening;
        let is_of_before = |incarnation: u64| incarnation >> 32 < opening;
        let of = self.of(id.partition);
        let was_replayed = id.offset.0 < of.replay.below;
        let cell = &mut of.cells[id.offset.0 as usize];
        if cell.is_settled() {
            return Err(SettleError::Settled);
        }
        let Cell::Record(record) = cell else {
            let is_lost = is_of_before(id.incarnation) && !was_replayed;
            return Err(if is_lost { SettleError::Lost } else { SettleError::Expired });
        };
        let written = (record.state.incarnation, record.state.attempts);
        if written != (id.incarnation, id.attempt) {
            let is_lost = (written.0 <= id.incarnation && written.1 < id.attempt)
                && (is_of_before(id.incarnation) && is_of_before(written.0))
                && record.live != Live::Moving;
            return Err(if is_lost { SettleError::Lost } else { SettleError::Expired });
        }
        let wall = now.wall.0;
        let running = match record.live {
            Live::Moving => return Err(SettleError::Expired),
            Live::Leased { until, latest } if until > now.monotonic => Some(latest),
            Live::Leased { .. } | Live::Ready | Live::Delayed { .. } => None,
        };
        match outcome {
            Outcome::Ack => *cell = Cell::Settled,
            Outcome::DeadLetter => record.live = Live::Moving,
            Outcome::Release { after_ms: 0 } if backoff != Backoff::None => {
                running.ok_or(SettleError::Expired)?;
                let granted_ms = waits_ms(backoff, record.state.attempts);
                record.state.hold = Hold::Delayed { not_before: wall + granted_ms as i64, granted_ms };
                record.live = Live::Delayed { until: now.monotonic.plus_ms(granted_ms) };
            }
            Outcome::Release { after_ms: 0 } | Outcome::Extend { for_ms: 0 } => {
                running.ok_or(SettleError::Expired)?;
                record.state.hold = Hold::Free;
                record.live = Live::Ready;
            }
            Outcome::Release { after_ms } => {
                running.ok_or(SettleError::Expired)?;
                record.state.hold =
                    Hold::Delayed { not_before: wall + after_ms as i64, granted_ms: after_ms };
                record.live = Live::Delayed { until: now.monotonic.plus_ms(after_ms) };
            }
            Outcome::Extend { for_ms } => {
                let latest = running.ok_or(SettleError::Expired)?;
                let until = now.monotonic.plus_ms(for_ms);
                if until > latest {
                    return Err(SettleError::TooLong { ms_max: VISIBILITY_MS });
                }
                let Hold::Leased { leased_at, .. } = record.state.hold else { unreachable!() };
                record.state.hold =
                    Hold::Leased { leased_at, until: wall + for_ms as i64, granted_ms: for_ms };
                record.live = Live::Leased { until, latest };
            }
        }
        Ok(())
    }

    pub(super) fn undo(&mut self, id: LeaseId) {
        if let Cell::Record(record) = &mut self.of(id.partition).cells[id.offset.0 as usize]
            && (record.state.incarnation, record.state.attempts) == (id.incarnation, id.attempt)
            && record.live != Live::Moving
        {
            record.state.attempts -= 1;
            record.state.incarnation = record.before;
            record.state.hold = Hold::Free;
            record.live = Live::Ready;
        }
    }

    /// Ends the dead-letter move of a record, if there is one.
    pub(super) fn end_move(&mut self, id: PartitionId, offset: u64, moved: bool) {
        let cell = &mut self.of(id).cells[offset as usize];
        if let Cell::Record(record) = cell
            && record.live == Live::Moving
        {
            record.state.hold = Hold::Free;
            record.live = Live::Ready;
            if moved {
                *cell = Cell::Settled;
            }
        }
    }

    pub(super) fn expire(&mut self, now: Now) -> bool {
        let mut any = false;
        let backoff = self.backoff;
        for cell in self.partitions.iter_mut().flat_map(|it| &mut it.cells) {
            let Cell::Record(record) = cell else { continue };
            if let Live::Leased { until, .. } = record.live
                && until <= now.monotonic
                && backoff != Backoff::None
            {
                record.live =
                    Live::Delayed { until: until.plus_ms(waits_ms(backoff, record.state.attempts)) };
            }
            if let Live::Leased { until, .. } | Live::Delayed { until } = record.live
                && until <= now.monotonic
            {
                record.live = Live::Ready;
                any = true;
            }
        }
        any
    }

    /// Settles everything below `end`; answers how many.
    pub(super) fn settle_below(&mut self, id: PartitionId, end: u64) -> u64 {
        let cells = &mut self.of(id).cells;
        let mut settled = 0;
        for cell in cells.iter_mut().take(end as usize).filter(|cell| !cell.is_settled()) {
            *cell = match cell {
                Cell::Hole { .. } => Cell::Hole { settled: true },
                Cell::Settled | Cell::Fresh | Cell::Record(_) => Cell::Settled,
            };
            settled += 1;
        }
        settled
    }

    pub(super) fn settle_unheld(&mut self, id: PartitionId) -> u64 {
        let mut settled = 0;
        for cell in self.of(id).cells.iter_mut().filter(|cell| !cell.is_settled()) {
            *cell = match cell {
                Cell::Record(Record { live: Live::Leased { .. } | Live::Moving, .. }) => continue,
                Cell::Hole { .. } => Cell::Hole { settled: true },
                Cell::Settled | Cell::Fresh | Cell::Record(_) => Cell::Settled,
            };
            settled += 1;
        }
        settled
    }

    pub(super) fn replay(&mut self, now: Now, id: PartitionId, from: u64) -> u64 {
        let it = self.of(id);
        let below = it.end();
        let mut again = 0;
        for cell in it.cells.iter_mut().skip(from as usize).filter(|cell| cell.is_settled()) {
            *cell = match cell {
                Cell::Hole { .. } => Cell::Hole { settled: false },
                Cell::Settled | Cell::Fresh | Cell::Record(_) => Cell::Fresh,
            };
            again += 1;
        }
        if again > 0 {
            it.replay = ReplayMark { below, at: now.wall.0.max(it.replay.at) };
        }
        again
    }

    /// Holds against the rules what a lease brought, and takes it over.
    pub(super) fn lease(&mut self, asked: &Asked<'_>, result: &LeaseResult, after: &Ledger) {
        let Asked { now, policy, .. } = *asked;
        self.expire(now);
        let room = asked.count.min(policy.in_flight_max.saturating_sub(self.leased())) as usize;
        assert!(result.granted.len() <= room, "{} granted of {room}", result.granted.len());
        let before = self.clone();
        let mut expired = 0;
        for (it, real) in self.partitions.iter_mut().zip(&after.partitions) {
            expired += it.adopt(&real.settled, |it, offset| {
                let cell = &it.cells[offset as usize];
                (matches!(cell, Cell::Fresh) || cell.is_ready()) && it.outlived(offset, now, policy)
            });
        }
        assert_eq!(result.expired, expired);
        for dead in &result.dead {
            let it = self.of(dead.partition);
            assert!(!it.outlived(dead.offset.0, now, policy) && asked.dead_letter_exists);
            let cell = &mut it.cells[dead.offset.0 as usize];
            assert!(cell.is_ready());
            let Cell::Record(record) = cell else { unreachable!() };
            assert_eq!(record.state.attempts, dead.attempts);
            assert!(record.state.attempts >= policy.attempts_max.unwrap());
            record.live = Live::Moving;
        }
        for grant in &result.granted {
            self.grant(asked, grant);
        }
        self.check_order(&before, asked, result, after);
        // What has outlived may make room under a cap for a partition that had its turn.
        let final_room = asked.roomy || result.expired == 0;
        let dead_room = result.dead.len() < after.caps.dead;
        let certain = asked.roomy && result.expired == 0;
        let final_room = final_room && (certain || self.order == Order::Standard);
        if result.granted.len() < room && dead_room && final_room && asked.visibility_ms > 0 {
            assert!(!after.has_available(), "something was left although there was room");
        }
    }

    /// A record as the log has it; `None` for a hole.
    pub(super) fn sought(&self, id: PartitionId, offset: u64) -> Option<Sought> {
        let it = self.partitions.iter().find(|it| it.id == id)?;
        let is_hole = matches!(it.cells[offset as usize], Cell::Hole { .. });
        let append_time = Timestamp(it.appended[offset as usize]);
        let (key, ttl_ms) = (key_of(offset), it.ttls[offset as usize]);
        (!is_hole).then_some(Sought { offset: Offset(offset), append_time, key, ttl_ms })
    }

    /// It could be leased, but for others of its key.
    pub(super) fn is_there(&self, now: Now, policy: &QueuePolicy, id: PartitionId, offset: u64) -> bool {
        let Some(it) = self.partitions.iter().find(|it| it.id == id) else { return false };
        let is_due = self.delay_ms == 0 || it.appended[offset as usize] + self.delay_ms as i64 <= now.wall.0;
        let cell = &it.cells[offset as usize];
        (cell.is_ready() || matches!(cell, Cell::Fresh) && is_due) && !it.outlived(offset, now, policy)
    }

    /// Takes over that a record was taken.
    pub(super) fn take(&mut self, now: Now, grant: &Grant) {
        let policy = policy();
        let (count, visibility_ms) = (1, 0);
        let asked =
            Asked { now, policy: &policy, count, visibility_ms, dead_letter_exists: false, roomy: false };
        self.grant(&asked, grant);
        let cell = &mut self.of(grant.partition).cells[grant.offset.0 as usize];
        let Cell::Record(record) = cell else { unreachable!() };
        record.live = Live::Moving;
    }

    fn grant(&mut self, asked: &Asked<'_>, grant: &Grant) {
        let Asked { now, policy, visibility_ms, .. } = *asked;
        let (order, delay_ms) = (self.order, self.delay_ms as i64);
        let it = self.of(grant.partition);
        let offset = grant.offset.0;
        let is_due = delay_ms == 0 || it.appended[offset as usize] + delay_ms <= now.wall.0;
        assert!(is_due || !matches!(it.cells[offset as usize], Cell::Fresh), "{offset} is not due");
        assert!(!it.outlived(offset, now, policy), "{offset} has outlived");
        let (live_from, ttl_ms) = (it.live_from(offset), it.ttls[offset as usize]);
        let cell = &mut it.cells[offset as usize];
        let (attempts, first, before) = match cell {
            Cell::Fresh => (0, now.wall.0, 0),
            Cell::Record(Record { state, live: Live::Ready, .. }) => {
                let first = if state.attempts == 0 { now.wall.0 } else { state.first_leased_at };
                (state.attempts, first, state.incarnation)
            }
            Cell::Hole { .. } | Cell::Settled | Cell::Record(_) => panic!("{offset} was granted: {cell:?}"),
        };
        if let Some(max) = policy.attempts_max.filter(|_| asked.dead_letter_exists) {
            assert!(attempts < max, "{offset} had its attempts");
        }
        assert_eq!((grant.attempt, grant.first_leased_at.0), (attempts + 1, first));
        let until = now.wall.0 + visibility_ms as i64;
        let leased = Hold::Leased { leased_at: now.wall.0, until, granted_ms: visibility_ms };
        let live = Live::Leased {
            until: now.monotonic.plus_ms(visibility_ms),
            latest: now.monotonic.plus_ms(VISIBILITY_MS),
        };
        let state = RecordState {
            attempts: grant.attempt,
            incarnation: grant.incarnation,
            live_from,
            first_leased_at: first,
            key: if order == Order::Standard { 0 } else { key_of(offset) },
            hold: if visibility_ms == 0 { Hold::Free } else { leased },
            ttl_ms,
        };
        let live = if visibility_ms == 0 { Live::Ready } else { live };
        *cell = Cell::Record(Record { state, before, live });
    }

    /// Oldest first: below the last one granted nothing is left that could have been.
    fn check_order(&self, before: &Self, asked: &Asked<'_>, result: &LeaseResult, after: &Ledger) {
        let mut order: Vec<_> = result.granted.iter().map(|it| it.partition).collect();
        order.dedup();
        for (it, real) in before.partitions.iter().zip(&after.partitions) {
            assert!(
                order.iter().filter(|&&id| id == it.id).count() <= 1,
                "a partition's records stand together"
            );
            let granted: Vec<_> = result
                .granted
                .iter()
                .filter(|grant| grant.partition == it.id)
                .map(|it| it.offset.0)
                .collect();
            assert!(granted.is_sorted_by(|one, next| one < next), "{granted:?}");
            if self.order != Order::Standard {
                self.check_groups_order(it, real, &granted);
                continue;
            }
            let Some(&last) = granted.last() else { continue };
            let taken = |offset| {
                granted.contains(&offset)
                    || real.settled.contains(offset)
                    || result.dead.iter().any(|dead| (dead.partition, dead.offset.0) == (it.id, offset))
            };
            // What is not due keeps back the fresh ones behind it, should the wall clock have been set back between them.
            let mut waits = false;
            for offset in (0..last).filter(|&offset| !taken(offset)) {
                let cell = &it.cells[offset as usize];
                assert!(!cell.is_ready(), "{offset} was passed over for {last}");
                let delay_ms = self.delay_ms as i64;
                let is_due = delay_ms == 0 || it.appended[offset as usize] + delay_ms <= asked.now.wall.0;
                let is_fresh = matches!(cell, Cell::Fresh);
                waits |= is_fresh && !is_due;
                let seen = is_fresh && offset < real.window.end() && !waits;
                assert!(!seen || !asked.roomy, "{offset} was passed over for {last}");
            }
        }
    }

    /// Of one key in order, without a gap; by key nothing behind a record that is held.
    fn check_groups_order(
        &self,
        before: &ModelPartition,
        real: &crate::ledger::partition::PartitionLedger,
        granted: &[u64],
    ) {
        for &offset in granted {
            let same = |at: &u64| key_of(*at) == key_of(offset);
            for at in (0..before.end()).filter(same) {
                let cell = &before.cells[at as usize];
                let is_held = cell.live().is_some_and(|live| live != Live::Ready);
                assert!(self.order == Order::Fair || !is_held, "{offset} was granted while {at} is held");
                let can_be = matches!(cell, Cell::Fresh) || cell.is_ready();
                if at < offset && can_be {
                    assert!(
                        granted.contains(&at)
                            || real.settled.contains(at)
                            || self.order == Order::Fair && is_dead(real, at),
                        "{at} was passed over for {offset}"
                    );
                }
            }
        }
    }

    /// Takes over what was lost to its time to live.
    pub(super) fn settle_outlived(&mut self, now: Now, policy: &QueuePolicy, settled: u64, after: &Ledger) {
        let mut here = 0;
        for (it, real) in self.partitions.iter_mut().zip(&after.partitions) {
            here += it.adopt(&real.settled, |it, offset| {
                let idle = match &it.cells[offset as usize] {
                    Cell::Record(record) => !matches!(record.live, Live::Leased { .. } | Live::Moving),
                    Cell::Hole { .. } | Cell::Settled | Cell::Fresh => true,
                };
                idle && it.outlived(offset, now, policy)
            });
        }
        assert_eq!(settled, here);
    }

    /// Stops and starts: the holds that are not over go on.
    pub(super) fn restart(&mut self, now: Now, opening: u32) {
        self.opening = opening.into();
        let backoff = self.backoff;
        for cell in self.partitions.iter_mut().flat_map(|it| &mut it.cells) {
            let Cell::Record(record) = cell else { continue };
            record.before = record.state.incarnation;
            let waits = waits_ms(backoff, record.state.attempts);
            let remaining = |until: i64, granted: u64| ((until - now.wall.0).max(0) as u64).min(granted);
            record.live = match record.state.hold {
                Hold::Delayed { not_before, granted_ms } if not_before > now.wall.0 => {
                    Live::Delayed { until: now.monotonic.plus_ms(remaining(not_before, granted_ms)) }
                }
                Hold::Leased { leased_at, until, granted_ms } if until > now.wall.0 => {
                    let latest = remaining(leased_at + VISIBILITY_MS as i64, VISIBILITY_MS);
                    let until = remaining(until, granted_ms);
                    Live::Leased {
                        until: now.monotonic.plus_ms(until),
                        latest: now.monotonic.plus_ms(latest.max(until)),
                    }
                }
                Hold::Leased { until, .. } if until + waits as i64 > now.wall.0 => {
                    Live::Delayed { until: now.monotonic.plus_ms(remaining(until + waits as i64, waits)) }
                }
                Hold::Free | Hold::Delayed { .. } | Hold::Leased { .. } => Live::Ready,
            };
        }
    }

    /// Compares everything that can be seen, after holes were taken over.
    pub(super) fn check(&mut self, ledger: &Ledger) {
        for (it, real) in self.partitions.iter_mut().zip(&ledger.partitions) {
            it.adopt(&real.settled, |_, _| false);
            assert_eq!((it.id, it.end()), (real.id, real.end));
            for (offset, cell) in it.cells.iter().enumerate() {
                let offset = offset as u64;
                assert_eq!(cell.is_settled(), real.settled.contains(offset), "{offset} is {cell:?}");
                let record = real.records.get(&offset).map(|entry| (entry.state, entry.live));
                match cell {
                    Cell::Record(model) => assert_eq!(Some((model.state, model.live)), record, "{offset}"),
                    Cell::Hole { .. } | Cell::Settled | Cell::Fresh => assert_eq!(None, record, "{offset}"),
                }
                if self.order == Order::Standard {
                    assert_eq!(cell.is_ready(), real.ready.contains(&offset), "{offset}");
                }
            }
            if let Some(groups) = &real.groups {
                it.check_groups(&groups.audit(), real.window.end());
            }
            assert_eq!(it.replay, real.replay);
        }
        self.check_sums(ledger);
    }

    fn check_sums(&self, ledger: &Ledger) {
        let cells = || self.partitions.iter().flat_map(|it| &it.cells);
        let unsettled = cells().filter(|cell| !cell.is_settled()).count() as u64;
        let moving = self.lives().filter(|&live| live == Live::Moving).count() as u64;
        let delayed = self.lives().filter(|live| matches!(live, Live::Delayed { .. })).count() as u64;
        let depth = ledger.depth();
        assert_eq!(ledger.in_flight(), self.leased());
        assert_eq!((depth.in_flight, depth.delayed), (u64::from(self.leased()) + moving, delayed));
        assert_eq!(depth.available, unsettled - depth.in_flight - depth.delayed);
        let oldest = |it: &ModelPartition| it.cells.iter().position(|cell| !cell.is_settled());
        let oldest: Vec<_> =
            self.partitions.iter().filter_map(|it| Some((it.id, Offset(oldest(it)? as u64)))).collect();
        assert_eq!(depth.oldest, oldest);
        let deadline = self.lives().filter_map(|live| match live {
            Live::Leased { until, .. } | Live::Delayed { until } => Some(until),
            Live::Ready | Live::Moving => None,
        });
        if self.delay_ms == 0 {
            assert_eq!(ledger.next_deadline(), deadline.min());
        } else if let Some(deadline) = deadline.min() {
            assert!(ledger.next_deadline().is_some_and(|next| next <= deadline));
        }
        if self.order != Order::Standard {
            let open = |it: &crate::ledger::partition::PartitionLedger| it.is_leasable();
            assert_eq!(ledger.has_available(), ledger.partitions.iter().any(open));
            assert_eq!(ledger.spans, ledger.partitions.iter().map(|it| it.window_len()).sum::<usize>());
            // Of each key one may go beyond, see `may_lease_fresh`.
            assert!(ledger.records <= ledger.caps.records + 3 * ledger.partitions.len());
            return;
        }
        let ready = cells().any(Cell::is_ready);
        let fresh = self.partitions.iter().zip(&ledger.partitions).any(|(it, real)| {
            let seen = it.cells.iter().take(real.window.end() as usize);
            seen.filter(|cell| matches!(cell, Cell::Fresh)).count() > 0
        });
        if self.delay_ms > 0 {
            // What is due is seen when the time is told.
            assert!(ready <= ledger.has_available() && ledger.has_available() <= (ready || fresh));
        } else if ledger.runs < ledger.caps.runs && ledger.records < ledger.caps.records {
            assert_eq!(ledger.has_available(), ready || fresh);
        } else {
            assert!(ledger.has_available() || !ready);
        }
        assert_eq!(ledger.runs, ledger.partitions.iter().map(|it| it.settled.runs_len()).sum::<usize>());
        assert_eq!(ledger.records, ledger.partitions.iter().map(|it| it.records.len()).sum::<usize>());
        assert_eq!(ledger.spans, ledger.partitions.iter().map(|it| it.window.len()).sum::<usize>());
        assert!(ledger.records <= ledger.caps.records);
        assert!(ledger.runs <= 2 * ledger.caps.records + ledger.partitions.len(), "{} runs", ledger.runs);
        let spans_min = ledger.caps.spans_min * ledger.partitions.len();
        assert!(ledger.spans <= ledger.caps.spans_queue + spans_min, "{} spans", ledger.spans);
    }
}

fn waits_ms(backoff: Backoff, attempts: u32) -> u64 {
    match backoff {
        Backoff::None => 0,
        Backoff::Fixed { ms } => ms,
        Backoff::Exponential { base_ms, max_ms } => {
            (1..attempts).fold(base_ms, |ms, _| (ms * 2).min(max_ms)).min(max_ms)
        }
    }
}

fn is_dead(real: &crate::ledger::partition::PartitionLedger, offset: u64) -> bool {
    real.records.get(&offset).is_some_and(|entry| entry.live == Live::Moving)
}

/// The kind of an answer, which is all that the model tells of a success.
pub(super) fn kind(answer: Result<Settled, SettleError>) -> Result<(), SettleError> {
    answer.map(|_| ())
}
