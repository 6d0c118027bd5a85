//! The thread of the forwards: which partitions it serves, and what each of them does next.
//!
//! A partition has one commit on its way at a time, so its records keep their order and its cursor tells what is stored. Nobody
//! waits for another: answers, new records and retries ring.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use duolog_record::{Offset, PartitionId};
use tracing::warn;

use super::onward::Onward;
use super::{Counts, Forward, exchange_of, group_of, is_group};
use crate::errors::{AppendError, CursorError, FetchError, Stopped};
use crate::limits::{ECHO_OPEN_BYTES, FORWARD_BYTES_IN_FLIGHT, PUBLISH_RECORDS};
use crate::ready::{Ready, Retry, Ring};
use crate::routing::{ExchangeId, Router};
use crate::session::KeptOpen;
use crate::watch::Readable;
use crate::{Advance, Catalog, CursorMove, Monotonic, Pending, Session};

/// How often topics and partitions that have come or gone are noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One partition under one forward.
pub(super) struct Stage {
    pub(super) partition: PartitionId,
    pub(super) forward: Forward,
    group: Arc<str>,
    /// Where its cursor is: the next record to be forwarded.
    next: Offset,
    /// Resolves when there is more.
    readable: Option<Readable>,
    storing: Option<Storing>,
    /// How many records go into one commit at most: fewer where one is to be found that is refused.
    pub(super) records_max: usize,
    /// The only record in this range that a binding takes was refused for good.
    refused: Option<Offset>,
    /// Its cursor is elsewhere: it is looked up again, if the forward is still there.
    is_over: bool,
    /// What was tried last has failed.
    retry: Option<Retry>,
    ring: Arc<Ring>,
}

/// What is on its way to the disk.
struct Storing {
    to: Offset,
    records: usize,
    /// The first of them.
    first: Offset,
    unrouted: u64,
    lost: u64,
    bytes: usize,
    answer: Pending<Result<Vec<Result<(), AppendError>>, AppendError>>,
}

/// What the thread works with.
pub(super) struct Forwarder {
    pub(super) session: Session,
    /// By their numbers, which are not used again.
    stages: HashMap<u64, Stage>,
    stages_ever: u64,
    /// Those that something has happened to.
    ready: Arc<Ready>,
    /// Those that will try again when it is time.
    failed: BTreeSet<u64>,
    /// Those that have something to read and no room for it.
    crowded: Vec<Arc<Ring>>,
    bytes_in_flight: usize,
    pub(super) router: Router,
    pub(super) kept: KeptOpen,
    /// The version of the catalog that `stages` are of; `None` if they must be looked at anew.
    seen: Option<u64>,
}

/// Wakes a thread that waits for one answer.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the shard, which does not wait for this thread.
fn wait<T, E: From<Stopped>>(mut answer: Pending<Result<T, E>>) -> Result<T, E> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut answer).poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl Forwarder {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            stages: HashMap::new(),
            stages_ever: 0,
            ready: Arc::new(Ready::new(std::thread::current())),
            failed: BTreeSet::new(),
            crowded: Vec::new(),
            bytes_in_flight: 0,
            router: Router::default(),
            kept: KeptOpen::new(ECHO_OPEN_BYTES),
            seen: None,
        }
    }

    /// Serves those that something has happened to, in turns: the others cost nothing.
    pub(super) fn run(mut self) {
        let session = self.session.clone();
        let forwards = &session.inner.forwards;
        let mut ready = Vec::new();
        if let Err(error) = self.forget_the_gone() {
            warn!(%error, "cursors of forwards that are gone are left");
        }
        while !forwards.thread.is_ending() {
            if let Err(error) = self.look() {
                warn!(%error, "not all forwards can begin: they try again");
            }
            self.ready.take(&mut ready);
            if ready.is_empty() {
                if self.bytes_in_flight == 0 {
                    // Whoever broke off within a batch is ready or on its way: nobody has use for those that are open.
                    self.kept.clear();
                }
                std::thread::park_timeout(self.rest());
                self.ready.take(&mut ready);
            }
            let now = self.now();
            for number in std::mem::take(&mut self.failed) {
                match self.stages.get(&number) {
                    Some(stage) if stage.retry.is_some_and(|retry| retry.is_due(now)) => stage.ring.ring(),
                    Some(_) => drop(self.failed.insert(number)),
                    None => {}
                }
            }
            for number in ready.drain(..) {
                // One that is no longer wanted is not there.
                if let Some(mut stage) = self.stages.remove(&number) {
                    self.serve(&mut stage);
                    if !stage.is_over {
                        self.stages.insert(number, stage);
                    }
                }
            }
            forwards.counts.waiting.store(self.failed.len() as u64, Ordering::Relaxed);
        }
    }

    fn now(&self) -> Monotonic {
        self.session.clock().now().monotonic
    }

    /// How long nothing happens by itself.
    fn rest(&self) -> Duration {
        let now = self.now();
        let failed = self.failed.iter().filter_map(|number| self.stages.get(number)?.retry);
        failed.map(|retry| retry.left(now)).min().map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))
    }

    /// Makes the stages anew if what exists has changed. Those that stay go on where they are.
    fn look(&mut self) -> Result<(), CursorError> {
        let catalog = self.session.catalog();
        if self.seen == Some(catalog.version) {
            return Ok(());
        }
        let mut old: HashMap<(Forward, PartitionId), u64> =
            self.stages.iter().map(|(number, stage)| ((stage.forward, stage.partition), *number)).collect();
        let mut new: BTreeMap<ExchangeId, Vec<(Forward, PartitionId)>> = BTreeMap::new();
        for forward in catalog.forwards() {
            let Some(topic) = catalog.topic_by_id(forward.topic) else { continue };
            for &partition in &topic.partitions {
                if old.remove(&(forward, partition)).is_none() {
                    new.entry(forward.exchange).or_default().push((forward, partition));
                }
            }
        }
        let mut has_gone = BTreeSet::new();
        for ((forward, _), number) in old {
            self.forget(number);
            has_gone.insert(forward.exchange);
        }
        if has_gone.into_iter().any(|exchange| catalog.exchange_by_id(exchange).is_none()) {
            self.forget_the_gone()?;
        }
        for (exchange, partitions) in new {
            self.begin(&catalog, exchange, &partitions)?;
        }
        self.seen = Some(catalog.version);
        Ok(())
    }

    fn forget(&mut self, number: u64) {
        if let Some(stage) = self.stages.remove(&number) {
            self.landed(stage.storing.map_or(0, |it| it.bytes));
        }
    }

    /// Forgets where forwards stood that are no longer there: their exchanges have gone, or a crash came between the two steps of a
    /// beginning or an end.
    fn forget_the_gone(&mut self) -> Result<(), CursorError> {
        let session = self.session.clone();
        // Whoever begins one places cursors before the forward is there.
        let _nobody_changes_them = session.inner.forwards.changing.blocking_lock();
        let catalog = session.catalog();
        for group in wait(session.groups())?.iter().filter(|group| is_group(group)) {
            let forwards = exchange_of(group).into_iter().flat_map(|exchange| catalog.forwards_to(exchange));
            let topics = forwards.filter_map(|it| catalog.topic_by_id(it.topic));
            let wanted: BTreeSet<_> = topics.flat_map(|topic| &topic.partitions).collect();
            let mut gone: Vec<_> = wait(session.cursors(group))?.into_iter().map(|(it, _)| it).collect();
            gone.retain(|partition| !wanted.contains(partition));
            if !gone.is_empty() {
                wait(session.drop_cursors(group, Some(gone)))?;
            }
        }
        Ok(())
    }

    /// Begins where the cursors are. A partition without one was added to its topic later: all of it is forwarded.
    fn begin(
        &mut self,
        catalog: &Catalog,
        exchange: ExchangeId,
        partitions: &[(Forward, PartitionId)],
    ) -> Result<(), CursorError> {
        let Some(exchange) = catalog.exchange_by_id(exchange) else { return Ok(()) };
        let group = group_of(exchange);
        let mut cursors: HashMap<_, _> =
            wait(self.session.cursors(&group))?.into_iter().map(|(it, cursor)| (it, cursor.offset)).collect();
        let starts: Vec<_> = partitions
            .iter()
            .filter(|(_, partition)| !cursors.contains_key(partition))
            .filter_map(|&(_, partition)| Some((partition, self.session.bounds(partition)?.start)))
            .collect();
        if !starts.is_empty() {
            let to = |&(partition, offset): &_| CursorMove {
                partition,
                offset,
                leader_epoch: -1,
                metadata: String::new(),
            };
            wait(self.session.place_cursors(&group, starts.iter().map(to).collect()))?;
            cursors.extend(starts);
        }
        for &(forward, partition) in partitions {
            let Some(&next) = cursors.get(&partition) else { continue };
            self.stages_ever += 1;
            let ring = Ring::new(self.stages_ever, Arc::clone(&self.ready));
            ring.ring();
            let stage = Stage {
                partition,
                forward,
                group: Arc::clone(&group),
                next,
                readable: None,
                storing: None,
                records_max: PUBLISH_RECORDS,
                refused: None,
                is_over: false,
                retry: None,
                ring,
            };
            self.stages.insert(self.stages_ever, stage);
        }
        Ok(())
    }

    fn serve(&mut self, stage: &mut Stage) {
        // Whatever happens from now on rings again.
        stage.ring.answer();
        let waker = Waker::from(Arc::clone(&stage.ring));
        let mut context = Context::from_waker(&waker);
        while self.step(stage, &mut context) {}
        if stage.retry.is_some() {
            self.failed.insert(stage.ring.number());
        }
    }

    /// Does what comes next. False if that has to wait.
    fn step(&mut self, stage: &mut Stage, context: &mut Context<'_>) -> bool {
        if let Some(storing) = &mut stage.storing {
            let Poll::Ready(answer) = Pin::new(&mut storing.answer).poll(context) else { return false };
            self.stored(stage, answer);
            // The others have their turn before this one goes on.
            stage.ring.ring();
            return false;
        }
        if stage.retry.is_some_and(|retry| !retry.is_due(self.now())) {
            return false;
        }
        if let Some(readable) = &mut stage.readable {
            if Pin::new(readable).poll(context).is_pending() {
                return false;
            }
            stage.readable = None;
        }
        // A partition or exchange that is gone goes with the next look.
        let Some(bounds) = self.session.bounds(stage.partition) else { return false };
        if stage.next >= bounds.end {
            stage.readable = Some(self.session.readable(&[(stage.partition, stage.next)]));
            return true;
        }
        if self.bytes_in_flight >= FORWARD_BYTES_IN_FLIGHT {
            self.crowded.push(Arc::clone(&stage.ring));
            return false;
        }
        match self.onward(stage, stage.next.max(bounds.start)) {
            Ok(onward) => self.store(stage, onward),
            Err(error) => self.try_later(stage, &error),
        }
        stage.storing.is_some()
    }

    /// What comes next in a partition, from `from` on: below that nothing is left.
    fn onward(&mut self, stage: &Stage, from: Offset) -> Result<Onward, FetchError> {
        let mut onward = match stage.refused {
            Some(until) => Onward::past(until),
            None => self.read(stage, from)?,
        };
        let trimmed = from.0.min(onward.to.0) - stage.next.0;
        if trimmed > 0 {
            warn!(
                partition = stage.partition.0,
                offsets = trimmed,
                "records went before they were forwarded"
            );
            onward.lost += trimmed;
        }
        Ok(onward)
    }

    fn store(&mut self, stage: &mut Stage, onward: Onward) {
        let Onward { records, first, to, unrouted, lost, bytes } = onward;
        let advance =
            Advance { group: Arc::clone(&stage.group), partition: stage.partition, from: stage.next, to };
        let count = records.len();
        self.bytes_in_flight += bytes;
        let answer = self.session.route_on(records, advance);
        stage.storing = Some(Storing { to, records: count, first, unrouted, lost, bytes, answer });
    }

    fn stored(&mut self, stage: &mut Stage, answer: Result<Vec<Result<(), AppendError>>, AppendError>) {
        let Some(Storing { to, records, first, unrouted, lost, bytes, .. }) = stage.storing.take() else {
            return;
        };
        self.landed(bytes);
        let error = match answer {
            Ok(results) => {
                stage.next = to;
                stage.retry = None;
                stage.refused = None;
                stage.records_max = (stage.records_max * 2).min(PUBLISH_RECORDS);
                // Of some, all topics may have gone meanwhile.
                let taken = results.iter().filter(|it| it.is_ok()).count();
                self.count(|counts| &counts.lost, lost);
                self.count(|counts| &counts.forwarded, taken as u64);
                self.count(|counts| &counts.unrouted, unrouted + (records - taken) as u64);
                return;
            }
            Err(error) => error,
        };
        match error {
            AppendError::CursorMoved => {
                // It has ended, or begun anew elsewhere.
                self.seen = None;
                stage.is_over = true;
            }
            AppendError::TooLarge { .. } | AppendError::Malformed(_) if records > 1 => stage.records_max = 1,
            // There may be room for some of them.
            AppendError::QueueFull(_) if records > 1 => stage.records_max = records / 2,
            AppendError::TooLarge { .. } | AppendError::Malformed(_) if records == 1 => {
                let name = self.session.catalog().topic_by_id(stage.forward.topic).map(|it| it.name.clone());
                let topic = name.unwrap_or_default();
                warn!(topic, offset = first.0, %error, "a record cannot be forwarded and is left out");
                self.count(|counts| &counts.refused, 1);
                self.count(|counts| &counts.unrouted, unrouted);
                stage.refused = Some(to);
            }
            error => self.try_later(stage, &error),
        }
    }

    fn try_later(&mut self, stage: &mut Stage, error: &dyn std::error::Error) {
        let retry = Retry::after(stage.retry.take(), self.now());
        let topic = self.session.catalog().topic_by_id(stage.forward.topic).map(|it| it.name.clone());
        warn!(topic, partition = stage.partition.0, %error, wait_ms = retry.wait_ms(),
            "records cannot be forwarded now and are tried again later");
        stage.retry = Some(retry);
    }

    /// There is room again for those that had none.
    fn landed(&mut self, bytes: usize) {
        self.bytes_in_flight -= bytes;
        self.crowded.drain(..).for_each(|ring| ring.ring());
    }

    fn count(&self, which: impl Fn(&Counts) -> &AtomicU64, by: u64) {
        which(&self.session.inner.forwards.counts).fetch_add(by, Ordering::Relaxed);
    }
}
