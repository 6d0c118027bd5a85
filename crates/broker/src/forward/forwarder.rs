//! The thread of the forwards: which partitions it serves, and what each of them does next.
//!
//! A partition has one commit on its way at a time, so its records keep their order and its cursor tells what is stored. Nobody
//! waits for another: answers, new records and retries ring.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use duolog_record::{Offset, PartitionId};
use tracing::warn;

use super::onward::Onward;
use super::{Counts, Forward, group_of, is_group, number_in};
use crate::errors::{AppendError, CursorError, FetchError, Stopped};
use crate::limits::{ECHO_OPEN_BYTES, FORWARD_BYTES_IN_FLIGHT, PUBLISH_RECORDS};
use crate::ready::{Ready, Retry, Ring};
use crate::routing::Router;
use crate::session::KeptOpen;
use crate::watch::Readable;
use crate::{Advance, Catalog, CursorMove, Monotonic, Pending, Session, TopicId};

/// How often topics and partitions that have come or gone are noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One partition under one forward.
pub(super) struct Stage {
    pub(super) partition: PartitionId,
    pub(super) forward: Forward,
    number: i64,
    group: Arc<str>,
    /// Where its cursor is: the next record to be forwarded.
    next: Offset,
    /// Resolves when there is more.
    readable: Option<Readable>,
    storing: Option<Storing>,
    /// How many records go into one commit at most: fewer where one is to be found that is refused.
    pub(super) records_max: usize,
    /// Topics that do not take the record at this offset, whatever happens.
    pub(super) without: (Offset, Vec<TopicId>),
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
    first_bytes: u64,
    unrouted: u64,
    lost: u64,
    /// Records that a topic at least is left out for.
    refused: u64,
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
    crowded: BTreeSet<u64>,
    bytes_in_flight: usize,
    /// Commits that are on their way.
    storing: usize,
    pub(super) router: Router,
    pub(super) kept: KeptOpen,
    /// The version of the catalog that `stages` are of; `None` if they must be looked at anew.
    seen: Option<u64>,
    /// The last look has failed.
    look_again: Option<Retry>,
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
            crowded: BTreeSet::new(),
            bytes_in_flight: 0,
            storing: 0,
            router: Router::default(),
            kept: KeptOpen::new(ECHO_OPEN_BYTES),
            seen: None,
            look_again: None,
        }
    }

    /// Serves those that something has happened to, in turns: the others cost nothing.
    pub(super) fn run(mut self) {
        let session = self.session.clone();
        let forwards = &session.inner.forwards;
        let mut ready = Vec::new();
        {
            let _nobody_changes_them = forwards.changing.blocking_lock();
            if let Err(error) = self.forget_the_gone(&session.catalog()) {
                warn!(%error, "cursors of forwards that are gone are left");
            }
        }
        while !forwards.thread.is_ending() {
            self.look();
            self.ready.take(&mut ready);
            if ready.is_empty() {
                if self.storing == 0 {
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
    fn look(&mut self) {
        let is_early = self.look_again.is_some_and(|retry| !retry.is_due(self.now()));
        if is_early || self.seen == Some(self.session.catalog().version) {
            return;
        }
        let session = self.session.clone();
        // Whoever begins one places cursors before the forward is there, and whoever ends one forgets them afterwards.
        let _nobody_changes_them = session.inner.forwards.changing.blocking_lock();
        let catalog = session.catalog();
        let mut old: HashMap<(i64, PartitionId), u64> =
            self.stages.iter().map(|(number, stage)| ((stage.number, stage.partition), *number)).collect();
        let mut new = Vec::new();
        for (forward, number) in catalog.numbered_forwards() {
            let Some(topic) = catalog.topic_by_id(forward.topic) else { continue };
            let mut partitions = topic.partitions.clone();
            partitions.retain(|partition| old.remove(&(number, *partition)).is_none());
            if !partitions.is_empty() {
                new.push((forward, number, partitions));
            }
        }
        let any_has_gone = !old.is_empty();
        old.into_values().for_each(|number| self.forget(number));
        let mut failed = None;
        if any_has_gone {
            failed = self.forget_the_gone(&catalog).err();
        }
        for (forward, number, partitions) in new {
            failed = self.begin(&catalog, forward, number, &partitions).err().or(failed);
        }
        self.look_again = failed.map(|error| {
            let retry = Retry::after(self.look_again.take(), self.now());
            warn!(%error, wait_ms = retry.wait_ms(), "not all forwards can begin: they try again later");
            retry
        });
        self.seen = self.look_again.is_none().then_some(catalog.version);
    }

    fn forget(&mut self, number: u64) {
        if let Some(Stage { storing: Some(storing), .. }) = self.stages.remove(&number) {
            self.landed(storing.bytes);
        }
    }

    /// Forgets where forwards stood that are no longer there: their exchanges have gone, or a crash came between the two steps of a
    /// beginning or an end.
    fn forget_the_gone(&self, catalog: &Catalog) -> Result<(), CursorError> {
        let numbers: BTreeSet<i64> = catalog.numbered_forwards().map(|(_, number)| number).collect();
        for group in wait(self.session.groups())?.iter().filter(|group| is_group(group)) {
            if number_in(group).is_none_or(|number| !numbers.contains(&number)) {
                wait(self.session.drop_cursors(group, None))?;
            }
        }
        Ok(())
    }

    /// Begins where the cursors are. A partition without one was added to its topic later: all of it is forwarded.
    fn begin(
        &mut self,
        catalog: &Catalog,
        forward: Forward,
        number: i64,
        partitions: &[PartitionId],
    ) -> Result<(), CursorError> {
        let Some(exchange) = catalog.exchange_by_id(forward.exchange) else { return Ok(()) };
        let group = group_of(exchange, number);
        let mut cursors: HashMap<_, _> =
            wait(self.session.cursors(&group))?.into_iter().map(|(it, cursor)| (it, cursor.offset)).collect();
        // Without any at all it was refused, for a full disk, and came to be all the same: nobody said where it begins.
        let is_new = cursors.is_empty();
        let added = partitions.iter().filter(|partition| !cursors.contains_key(partition));
        let starts: Vec<_> = added
            .filter_map(|&it| {
                let bounds = self.session.bounds(it)?;
                Some((it, if is_new { bounds.end } else { bounds.start }))
            })
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
        for &partition in partitions {
            let Some(&next) = cursors.get(&partition) else { continue };
            self.stages_ever += 1;
            let ring = Ring::new(self.stages_ever, Arc::clone(&self.ready));
            ring.ring();
            let stage = Stage {
                partition,
                forward,
                number,
                group: Arc::clone(&group),
                next,
                readable: None,
                storing: None,
                records_max: PUBLISH_RECORDS,
                without: (next, Vec::new()),
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
        if stage.retry.is_some() && stage.storing.is_none() {
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
            self.crowded.insert(stage.ring.number());
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
        // What is below that has gone.
        onward.lost += from.0.min(onward.to.0) - stage.next.0;
        Ok(onward)
    }

    fn store(&mut self, stage: &mut Stage, onward: Onward) {
        let Onward { records, first, first_bytes, to, unrouted, lost, refused, bytes } = onward;
        let advance =
            Advance { group: Arc::clone(&stage.group), partition: stage.partition, from: stage.next, to };
        let count = records.len();
        self.bytes_in_flight += bytes;
        self.storing += 1;
        let answer = self.session.route_on(records, advance);
        stage.storing =
            Some(Storing { to, records: count, first, first_bytes, unrouted, lost, refused, bytes, answer });
    }

    fn stored(&mut self, stage: &mut Stage, answer: Result<Vec<Result<(), AppendError>>, AppendError>) {
        let Some(storing) = stage.storing.take() else { return };
        self.landed(storing.bytes);
        match answer {
            Ok(results) => self.moved(stage, &storing, &results),
            Err(error) => self.refused(stage, &storing, error),
        }
    }

    fn moved(&self, stage: &mut Stage, storing: &Storing, results: &[Result<(), AppendError>]) {
        let &Storing { to, records, unrouted, lost, refused, .. } = storing;
        stage.next = to;
        stage.retry = None;
        stage.refused = None;
        stage.records_max = (stage.records_max * 2).min(PUBLISH_RECORDS);
        // Of some, all topics may have gone meanwhile.
        let gone = results.iter().filter(|it| matches!(it, Err(AppendError::NotFound))).count() as u64;
        self.count(|counts| &counts.forwarded, records as u64 - gone);
        self.count(|counts| &counts.unrouted, unrouted + gone);
        self.count(|counts| &counts.refused, refused);
        self.count(|counts| &counts.lost, lost);
        if lost > 0 {
            let (topic, partition) = self.named(stage);
            warn!(topic, partition, lost, "offsets were damaged or had gone before they were forwarded");
        }
    }

    fn refused(&mut self, stage: &mut Stage, storing: &Storing, error: AppendError) {
        let &Storing { to, records, first, first_bytes, unrouted, .. } = storing;
        match error {
            AppendError::CursorMoved => {
                // It has ended.
                self.seen = None;
                stage.is_over = true;
            }
            AppendError::TooLarge { .. } | AppendError::Malformed(_) if records > 1 => stage.records_max = 1,
            // There may be room for some of them.
            AppendError::QueueFull(_) if records > 1 => stage.records_max = records / 2,
            AppendError::TooLarge { .. } | AppendError::Malformed(_) if records == 1 => {
                let (topic, partition) = self.named(stage);
                warn!(topic, partition, offset = first.0, %error, "a record cannot be forwarded and is left out");
                self.count(|counts| &counts.refused, 1);
                self.count(|counts| &counts.unrouted, unrouted);
                stage.refused = Some(to);
            }
            AppendError::QueueFull(ref name) => match self.never_takes(stage, name, first_bytes) {
                Some(topic) => {
                    if stage.without.0 != first {
                        stage.without = (first, Vec::new());
                    }
                    stage.without.1.push(topic);
                }
                None => self.try_later(stage, &error),
            },
            error => self.try_later(stage, &error),
        }
    }

    /// The topic of a queue that is too small for a value of so many bytes even when it is empty.
    fn never_takes(&self, stage: &Stage, queue: &str, bytes: u64) -> Option<TopicId> {
        let catalog = self.session.catalog();
        let exchange = catalog.exchange_by_id(stage.forward.exchange)?;
        let queue = catalog.queue(&exchange.namespace, queue)?;
        let is_small = queue.policy.length_bytes_max.is_some_and(|most| bytes > most);
        is_small.then_some(queue.topic)
    }

    /// Topic and index of the partition, for the log.
    pub(super) fn named(&self, stage: &Stage) -> (String, usize) {
        let catalog = self.session.catalog();
        let Some(topic) = catalog.topic_by_id(stage.forward.topic) else { return Default::default() };
        let index = topic.partitions.iter().position(|it| *it == stage.partition);
        (topic.name.clone(), index.unwrap_or_default())
    }

    fn try_later(&mut self, stage: &mut Stage, error: &dyn std::error::Error) {
        let is_first = stage.retry.is_none();
        let retry = Retry::after(stage.retry.take(), self.now());
        if is_first {
            let (topic, partition) = self.named(stage);
            warn!(topic, partition, %error, "records cannot be forwarded now: they are tried again until they can");
        }
        stage.retry = Some(retry);
    }

    /// There is room again for those that had none.
    fn landed(&mut self, bytes: usize) {
        self.bytes_in_flight -= bytes;
        self.storing -= 1;
        let crowded = std::mem::take(&mut self.crowded);
        crowded.iter().filter_map(|number| self.stages.get(number)).for_each(|stage| stage.ring.ring());
    }

    fn count(&self, which: impl Fn(&Counts) -> &AtomicU64, by: u64) {
        which(&self.session.inner.forwards.counts).fetch_add(by, Ordering::Relaxed);
    }
}
