//! Moving records to a dead-letter queue: one commit appends the copy and settles the source.
//!
//! Invariant: a record is on its way from the moment that its ledger says so until its copy is in the frame that settles
//! it; whatever comes between (purge, deletion, a target that has gone) takes it out of `dying`, and nothing is copied
//! that is not there. A copy that the log refused is carried until it is taken, with the settlement beside it.
//! The record is read by the reader's thread: see `Work::Dead`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use duolog_record::{Codec, Header, Offset, PartitionId, Record, TimestampType};
use duolog_storage::ReadError;
use duolog_storage::limits::TARGETS_PER_ENTRY;
use duolog_storage::planted::{self, Bug};

use super::Core;
use super::command::Reply;
use super::group::Group;
use super::sealing::{Frame, Spread, record_bytes};
use super::verdict::{Answer, when_durable};
use super::work::Work;
use crate::deaths::{self, Death, Deaths};
use crate::errors::SettleError;
use crate::headers;
use crate::ledger::DeadRecord;
use crate::limits::{DEAD_LOOK_RECORDS, DEAD_LOOK_ROOM, LOOK_RETRY_MS, MOVE_BYTES, MOVE_LINE_BYTES};
use crate::routing::Seen;
use crate::state::Owner;
use crate::{DeadLetter, Monotonic, MoveId, NewRecord, Now, Queue, QueueId, TopicId};

/// A record's place.
pub(super) type Place = (PartitionId, Offset);

/// Why a record is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Attempts,
    Rejected,
    Malformed,
    Expired,
    Overflow,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Rejected => headers::REASON_REJECTED,
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::Overflow => "maxlen",
        }
    }
}

/// What the log holds of a record that is to be moved.
#[derive(Debug)]
pub enum DeadFound {
    /// This.
    Record {
        /// It.
        record: Record,
        /// It was compressed, and so its copy shall be.
        packed: bool,
    },
    /// Its batch is nonsense from some record on; the first such record carries the stored batch as its value.
    Malformed(Option<Bytes>),
    /// Nothing any more.
    Gone,
    /// It cannot be read now.
    Unreadable(ReadError),
}

/// A place in the answer to a settlement.
pub(super) type Slot = (u64, usize);

/// A record on its way.
struct Dying {
    record: DeadRecord,
    reason: Reason,
    /// Who waits for it.
    waiting: Option<Slot>,
}

/// The records of one queue that are on their way.
#[derive(Default)]
pub(super) struct Dead {
    dying: BTreeMap<Place, Dying>,
    /// Those that are still to be read.
    unread: VecDeque<Place>,
    /// It waits for its turn to look.
    is_in_line: bool,
    /// A look is being made.
    is_looking: bool,
    /// Read, and waiting for a commit.
    moving: usize,
    retry_at: Option<Monotonic>,
    /// Moved since the start.
    pub(super) moved: u64,
}

impl Dead {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.retry_at
    }

    pub(super) fn tick(&mut self, now: Now) {
        if self.retry_at.is_some_and(|at| at <= now.monotonic) {
            self.retry_at = None;
        }
    }

    fn push(&mut self, dying: Dying) {
        let place = (dying.record.partition, dying.record.offset);
        self.unread.push_back(place);
        self.dying.insert(place, dying);
    }

    /// There are records to look at, and it is time.
    fn wants_look(&self) -> bool {
        let is_busy = self.is_in_line || self.is_looking || self.moving > 0;
        !is_busy && self.retry_at.is_none() && !self.unread.is_empty()
    }

    /// It is its turn: the records to look at next, if there still are some.
    fn next_look(&mut self) -> Option<Vec<Place>> {
        self.is_in_line = false;
        if !self.wants_look() {
            return None;
        }
        let count = self.unread.len().min(DEAD_LOOK_RECORDS);
        let mut places: Vec<Place> =
            self.unread.drain(..count).filter(|place| self.dying.contains_key(place)).collect();
        places.sort_unstable();
        self.is_looking = !places.is_empty();
        self.is_looking.then_some(places)
    }

    /// A move task has this record now.
    pub(super) fn take(&mut self, record: DeadRecord) {
        let place = (record.partition, record.offset);
        self.dying.insert(place, Dying { record, reason: Reason::Rejected, waiting: None });
    }

    /// The record is on its way.
    pub(super) fn has(&self, place: Place) -> bool {
        self.dying.contains_key(&place)
    }

    /// The record is not on its way any more.
    pub(super) fn forget(&mut self, place: Place) {
        self.dying.remove(&place);
    }

    /// None is to be moved any more; gives those who wait.
    fn abandon(&mut self) -> Vec<Slot> {
        self.unread.clear();
        std::mem::take(&mut self.dying).into_values().filter_map(|it| it.waiting).collect()
    }
}

/// A settlement that waits for moves.
struct SettleWait {
    results: Vec<Result<(), SettleError>>,
    left: usize,
    reply: Reply<Vec<Result<(), SettleError>>, SettleError>,
}

/// A copy on its way to its topics.
pub(super) struct Copy {
    pub(super) places: Vec<(TopicId, PartitionId)>,
    pub(super) record: NewRecord,
    /// It is to be compressed, with its neighbours.
    pub(super) packed: bool,
}

/// A copy that waits for a commit, and its source.
struct Move {
    queue: QueueId,
    source: Place,
    copy: Copy,
    /// The move task that it is part of, if it is no dead letter.
    task: Option<MoveId>,
}

/// Who waits for its turn to look at records that are to be moved.
enum Looker {
    /// A queue, at its dead.
    Queue(QueueId),
    /// A move task, at what it has taken.
    Task(MoveId),
}

/// All moves of a shard.
#[derive(Default)]
pub(super) struct Moves {
    line: VecDeque<Move>,
    /// Bytes of the records in it.
    line_bytes: usize,
    /// Looks that are being made.
    looks: usize,
    /// Those that wait for their turn, so that neither queues nor tasks keep the others from looking.
    lookers: VecDeque<Looker>,
    waits: BTreeMap<u64, SettleWait>,
    next_wait: u64,
}

impl Moves {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// What one more look may bring fits beside what is here and on its way.
    fn has_room(&self) -> bool {
        self.line_bytes + (self.looks + 1) * DEAD_LOOK_ROOM <= MOVE_LINE_BYTES
    }

    /// Copies of dead records that stand in line, those of move tasks, and the bytes of both, counted anew.
    #[cfg(test)]
    pub(super) fn standing(&self) -> (usize, usize, usize) {
        let tasks = self.line.iter().filter(|it| it.task.is_some()).count();
        let bytes = self.line.iter().map(|it| record_bytes(&it.copy.record)).sum();
        assert_eq!(bytes, self.line_bytes);
        (self.line.len() - tasks, tasks, bytes)
    }

    /// A move task has taken records and is to look at them in its turn.
    pub(super) fn line_up(&mut self, task: MoveId) {
        self.lookers.push_back(Looker::Task(task));
    }

    fn push(&mut self, it: Move) {
        self.line_bytes += record_bytes(&it.copy.record);
        self.line.push_back(it);
    }

    fn pop(&mut self) -> Option<Move> {
        let it = self.line.pop_front()?;
        self.line_bytes -= record_bytes(&it.copy.record);
        Some(it)
    }

    /// Holds an answer back until `left` of its results are known.
    pub(super) fn wait(
        &mut self,
        results: Vec<Result<(), SettleError>>,
        left: usize,
        reply: Reply<Vec<Result<(), SettleError>>, SettleError>,
    ) -> u64 {
        let number = self.next_wait;
        self.next_wait += 1;
        self.waits.insert(number, SettleWait { results, left, reply });
        number
    }

    /// One result is known; gives the answer if it was the last.
    fn resolve(&mut self, place: Option<Slot>, result: Result<(), SettleError>) -> Option<Answer> {
        let (number, index) = place?;
        let wait = self.waits.get_mut(&number)?;
        wait.left -= 1;
        if let Some(slot) = wait.results.get_mut(index) {
            *slot = result;
        }
        if wait.left > 0 {
            return None;
        }
        let wait = self.waits.remove(&number)?;
        Some(when_durable(wait.reply, wait.results))
    }
}

fn header(key: &'static str, value: String) -> Header {
    Header { key: Bytes::from_static(key.as_bytes()), value: Some(Bytes::from(value)) }
}

/// Key and headers of a record that the queue has given up: one more death, and where it goes through an exchange, the address there.
fn sent_on(
    now: Now,
    queue: &Queue,
    reason: Reason,
    key: Option<Bytes>,
    mut headers: Vec<Header>,
) -> (Option<Bytes>, Vec<Header>) {
    let mut deaths = Deaths::of(&headers).unwrap_or_default();
    deaths.add(death_of(now, queue, reason, key.as_deref(), &headers));
    let replaced = [headers::DEAD_HISTORY, headers::TTL];
    headers.retain(|header| !replaced.iter().any(|it| header.key == it));
    headers.push(header(headers::DEAD_HISTORY, deaths.to_string()));
    let Some(DeadLetter::Exchange { name, key: other }) = &queue.policy.dead_letter else {
        return (key, headers);
    };
    headers.retain(|header| header.key != headers::EXCHANGE);
    headers.push(header(headers::DEAD_EXCHANGE, name.clone()));
    if !name.is_empty() {
        headers.push(header(headers::EXCHANGE, name.clone()));
    }
    (other.clone().or(key), headers)
}

/// What is remembered of this time.
fn death_of(now: Now, queue: &Queue, reason: Reason, key: Option<&[u8]>, all: &[Header]) -> Death {
    let exchange = all.iter().find(|header| header.key == headers::EXCHANGE);
    Death {
        reason: reason.as_str().to_owned(),
        queue: queue.name.clone(),
        count: 1,
        time: now.wall.0,
        exchange: deaths::text(exchange.and_then(|it| it.value.as_deref()).unwrap_or_default()).into_owned(),
        key: deaths::text(key.unwrap_or_default()).into_owned(),
        ttl_ms: headers::ttl_ms(all),
    }
}

impl Core {
    /// The topic of the queue that a queue's dead records go to, if there is one. Never its own, where they would come back, and
    /// none that takes no records because of damage.
    fn dead_letter_topic(&self, queue: &Queue) -> Option<TopicId> {
        let name = queue.policy.dead_letter.as_ref()?.queue()?;
        let target = self.catalog.queue(&queue.namespace, name)?;
        (target.topic != queue.topic && self.has_sound_partition(target.topic)).then_some(target.topic)
    }

    /// A record that the queue gives up leaves it: for a queue that is there, or through an exchange, wherever that leads.
    pub(super) fn gives_up(&self, queue: &Queue) -> bool {
        match queue.policy.dead_letter {
            Some(DeadLetter::Queue(_)) => self.dead_letter_topic(queue).is_some(),
            Some(DeadLetter::Exchange { .. }) => true,
            // What has had its attempts is gone.
            None => queue.policy.attempts_max.is_some(),
        }
    }

    /// Where a copy goes: nowhere is not an error if an exchange says so. `None` if it cannot go now.
    pub(super) fn dead_letter_places(
        &mut self,
        queue: &Queue,
        reason: Reason,
        record: &NewRecord,
    ) -> Option<Vec<(TopicId, PartitionId)>> {
        let topics = match &queue.policy.dead_letter {
            None => Vec::new(),
            Some(DeadLetter::Queue(_)) => vec![self.dead_letter_topic(queue)?],
            Some(DeadLetter::Exchange { name, .. }) => {
                let key = record.key.as_deref().unwrap_or_default();
                let seen = Seen::new(&record.headers, record.value.as_deref().unwrap_or_default());
                let mut topics = self.catalog.route_by_name(&queue.namespace, name, key, &seen);
                if reason != Reason::Rejected {
                    let deaths = Deaths::of(&record.headers).unwrap_or_default();
                    topics.retain(|topic| !self.is_cycle(&deaths, *topic));
                }
                topics
            }
        };
        let places = topics
            .into_iter()
            .map(|topic| Some((topic, self.sound_place(topic, record.key.as_deref(), &record.headers)?)));
        places.collect()
    }

    /// A queue on the topic would see a record that has been there before, and nobody but the broker has moved it since.
    fn is_cycle(&self, deaths: &Deaths, topic: TopicId) -> bool {
        let queues = self.queues.on(topic).iter().filter_map(|id| self.catalog.queue_by_id(*id));
        queues.into_iter().any(|queue| deaths.is_cycle(&queue.name))
    }

    /// Sends a record on its way.
    pub(super) fn bury(&mut self, id: QueueId, record: DeadRecord, reason: Reason, waiting: Option<Slot>) {
        if let Some(state) = self.queues.get_mut(id) {
            state.dead.push(Dying { record, reason, waiting });
        }
    }

    /// The same, of those that have had their attempts or their time. Where there is no place for them they are settled.
    pub(super) fn bury_all(&mut self, queue: &Queue, dead: Vec<DeadRecord>) {
        for record in dead {
            let reason = if record.outlived { Reason::Expired } else { Reason::Attempts };
            match queue.policy.dead_letter {
                Some(_) => self.bury(queue.id, record, reason, None),
                None => self.settle_dead(queue.id, record),
            }
        }
    }

    /// Asks for the records that are to be moved next, or waits until those of others have gone.
    pub(super) fn look_at_dead(&mut self, id: QueueId) {
        if let Some(state) = self.queues.get_mut(id)
            && state.dead.wants_look()
        {
            state.dead.is_in_line = true;
            self.queues.moves.lookers.push_back(Looker::Queue(id));
        }
        self.admit_lookers();
    }

    /// Lets those look whose turn it is, as far as there is room for what they may bring.
    pub(super) fn admit_lookers(&mut self) {
        while self.queues.moves.has_room()
            && let Some(looker) = self.queues.moves.lookers.pop_front()
        {
            let work = match looker {
                Looker::Queue(queue) => {
                    let places = self.queues.get_mut(queue).and_then(|state| state.dead.next_look());
                    places.map(|places| Work::Dead { queue, places })
                }
                Looker::Task(task) => self.tasks.next_look(task).map(|leases| Work::Redrive { task, leases }),
            };
            if let Some(work) = work {
                self.queues.moves.looks += 1;
                self.queues.work.push_back(work);
            }
        }
    }

    /// A look has been made; what it brought is not counted any more until it stands in line.
    pub(super) fn end_look(&mut self) {
        self.queues.moves.looks -= 1;
    }

    /// What was read; `rest` was left for another look.
    pub(super) fn found_dead(
        &mut self,
        now: Now,
        id: QueueId,
        found: Vec<(Place, DeadFound)>,
        rest: Vec<Place>,
    ) {
        self.end_look();
        let Some(queue) = self.catalog.queue_by_id(id).cloned() else {
            return self.admit_lookers();
        };
        let Some(state) = self.queues.get_mut(id) else {
            return self.admit_lookers();
        };
        state.dead.is_looking = false;
        for place in rest.into_iter().rev() {
            state.dead.unread.push_front(place);
        }
        for (place, found) in found {
            self.take_dead(now, &queue, place, found);
        }
        self.settle_down(now, id);
    }

    fn take_dead(&mut self, now: Now, queue: &Queue, place: Place, found: DeadFound) {
        let Some(state) = self.queues.get_mut(queue.id) else {
            return;
        };
        let Some(dying) = state.dead.dying.get_mut(&place) else {
            return;
        };
        let (source, value, packed) = match found {
            DeadFound::Record { record, packed } => (Some(record), None, packed),
            DeadFound::Malformed(bytes) => {
                dying.reason = Reason::Malformed;
                (None, bytes, false)
            }
            DeadFound::Gone => return self.forget_dead(now, queue.id, place),
            DeadFound::Unreadable(error) => {
                // One look may meet many of them, all for the same reason.
                if state.dead.retry_at.is_none() {
                    tracing::warn!(queue = queue.id.0, %error, "dead records cannot be read");
                }
                state.dead.unread.push_back(place);
                state.dead.retry_at = Some(now.monotonic.plus_ms(LOOK_RETRY_MS));
                return;
            }
        };
        let (dead, reason) = (dying.record, dying.reason);
        let source = source.unwrap_or(Record {
            offset: place.1,
            timestamp: now.wall,
            key: None,
            value,
            headers: Vec::new(),
        });
        let record = self.copy_of(now, queue, dead, reason, source);
        match self.dead_letter_places(queue, reason, &record) {
            None => self.fail_move(now, queue.id, place),
            Some(places) if places.is_empty() => self.forget_dead(now, queue.id, place),
            Some(places) => self.queue_move(queue.id, place, Copy { places, record, packed }, None),
        }
    }

    /// Puts a copy into the line for the next commit.
    pub(super) fn queue_move(&mut self, queue: QueueId, source: Place, copy: Copy, task: Option<MoveId>) {
        self.queues.moves.push(Move { queue, source, copy, task });
        if let Some(state) = self.queues.get_mut(queue) {
            state.dead.moving += 1;
        }
    }

    /// The header that tells where a record was first appended.
    pub(super) fn origin(&self, topic: TopicId, (partition, offset): Place) -> Header {
        let index = self.partitions.get(&partition).map_or(0, |it| it.index);
        header(headers::ORIGIN, format!("{:032x}/{index}/{offset}", topic.0))
    }

    /// What a full queue has refused, with its story in the headers.
    pub(super) fn refused_copy(&self, now: Now, queue: &Queue, record: NewRecord) -> NewRecord {
        let NewRecord { key, value, mut headers, timestamp, .. } = record;
        headers.retain(|header| {
            !header.key.starts_with(headers::DEAD_PREFIX) || header.key == headers::DEAD_HISTORY
        });
        headers.push(header(headers::DEAD_REASON, Reason::Overflow.as_str().to_owned()));
        headers.push(header(headers::DEAD_SOURCE, queue.name.clone()));
        let (key, headers) = sent_on(now, queue, Reason::Overflow, key, headers);
        NewRecord { key, value, headers, timestamp, ..NewRecord::default() }
    }

    /// A dead record with its story in the headers.
    fn copy_of(
        &self,
        now: Now,
        queue: &Queue,
        dead: DeadRecord,
        reason: Reason,
        source: Record,
    ) -> NewRecord {
        let topic = self.catalog.topic_by_id(queue.topic).map_or("", |topic| &topic.name);
        let index = self.partitions.get(&dead.partition).map_or(0, |it| it.index);
        let Record { timestamp, key, value, mut headers, .. } = source;
        headers.retain(|header| {
            !header.key.starts_with(headers::DEAD_PREFIX) || header.key == headers::DEAD_HISTORY
        });
        if !headers.iter().any(|header| header.key == headers::ORIGIN) {
            headers.push(self.origin(queue.topic, (dead.partition, dead.offset)));
        }
        headers.extend([
            header(headers::DEAD_REASON, reason.as_str().to_owned()),
            header(headers::DEAD_SOURCE, queue.name.clone()),
            header(headers::DEAD_TOPIC, topic.to_owned()),
            header(headers::DEAD_PARTITION, index.to_string()),
            header(headers::DEAD_OFFSET, dead.offset.to_string()),
            header(headers::DEAD_ATTEMPTS, dead.attempts.to_string()),
            header(headers::DEAD_FIRST_TIME, dead.first_leased_at.0.to_string()),
            header(headers::DEAD_LAST_TIME, now.wall.0.to_string()),
        ]);
        let (key, headers) = sent_on(now, queue, reason, key, headers);
        NewRecord { key, value, headers, timestamp: Some(timestamp), ..NewRecord::default() }
    }

    /// The log no longer has it: there is nothing to copy, and nothing to keep.
    fn forget_dead(&mut self, now: Now, id: QueueId, place: Place) {
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        let dying = state.dead.dying.remove(&place);
        state.ledger.moved(place.0, place.1);
        self.note_lazy(now, id);
        let waiting = dying.and_then(|it| it.waiting);
        if let Some(answer) = self.queues.moves.resolve(waiting, Ok(())) {
            self.answer_when_durable(answer);
        }
    }

    /// There is no target: the record stays where it is.
    fn fail_move(&mut self, now: Now, id: QueueId, place: Place) {
        let queue = self.catalog.queue_by_id(id).cloned();
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        let dying = state.dead.dying.remove(&place);
        state.ledger.move_failed(place.0, place.1);
        if let Some(queue) = &queue {
            state.note_undeliverable(queue, 1);
        }
        self.note_lazy(now, id);
        let waiting = dying.and_then(|it| it.waiting);
        if let Some(answer) = self.queues.moves.resolve(waiting, Err(SettleError::NotFound)) {
            self.answer_when_durable(answer);
        }
    }

    /// Nothing of the queue is to be moved any more, because it was settled or is gone.
    pub(super) fn abandon_dead(&mut self, id: QueueId, result: &Result<(), SettleError>) {
        let waiting = self.queues.get_mut(id).map(|state| state.dead.abandon()).unwrap_or_default();
        for place in waiting {
            if let Some(answer) = self.queues.moves.resolve(Some(place), result.clone()) {
                self.answer_when_durable(answer);
            }
        }
    }

    /// Puts copies that were refused into the frame again, beside the settlements of their sources.
    pub(super) fn seal_kept_moves(&mut self, frame: &mut Frame, group: &mut Group) {
        for copy in std::mem::take(&mut group.changes.moves) {
            // The source is settled; a target that was deleted since would have taken the copy with it.
            if planted::is(Bug::DeadLetterInTwo) {
                self.changes.moves.push(copy);
            } else if !self.seal_copy(frame, group, copy) {
                tracing::info!("a dead-letter topic went before its record came");
            }
        }
    }

    /// Puts copies into the frame, and with them what settles their sources.
    pub(super) fn seal_moves(&mut self, now: Now, frame: &mut Frame, group: &mut Group) {
        let bytes_max = frame.bytes() + MOVE_BYTES;
        let mut touched = BTreeSet::new();
        while let Some(next) = self.queues.moves.line.front() {
            let bytes = record_bytes(&next.copy.record);
            if !touched.is_empty() && frame.bytes() + bytes > bytes_max {
                break;
            }
            touched.insert(next.queue);
            if let Some(next) = self.queues.moves.pop() {
                self.seal_move(now, frame, group, next);
            }
        }
        for queue in touched {
            self.settle_down(now, queue);
        }
        // Also if all of them have gone meanwhile.
        self.admit_lookers();
    }

    fn seal_move(
        &mut self,
        now: Now,
        frame: &mut Frame,
        group: &mut Group,
        Move { queue: id, source, copy, task }: Move,
    ) {
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        state.dead.moving -= 1;
        if !state.dead.dying.contains_key(&source) {
            return;
        }
        if !self.seal_copy(frame, group, copy) {
            self.fail_move(now, id, source);
            return task.into_iter().for_each(|task| self.move_unsealed(now, task));
        }
        let Some(state) = self.queues.get_mut(id) else {
            return;
        };
        let dying = state.dead.dying.remove(&source);
        state.ledger.moved(source.0, source.1);
        state.dead.moved += u64::from(task.is_none());
        self.dirty.insert(Owner::Ledger(id.0));
        if let Some(task) = task {
            self.move_sealed(now, task);
        }
        let waiting = dying.and_then(|it| it.waiting);
        if let Some(answer) = self.queues.moves.resolve(waiting, Ok(())) {
            group.changes.answers.push(answer);
        }
    }

    /// Gives a copy its places; false if its topics are gone.
    pub(super) fn seal_copy(&mut self, frame: &mut Frame, group: &mut Group, mut copy: Copy) -> bool {
        if planted::is(Bug::BuriedPartly)
            && copy.places.len() > 1
            && let Some(place) = copy.places.pop()
        {
            let (record, packed) = (copy.record.clone(), copy.packed);
            self.changes.moves.push(Copy { places: vec![place], record, packed });
        }
        let codec = if copy.packed { Codec::Lz4 } else { Codec::None };
        // The records of a batch carry one kind of time.
        let mut spreads = [TimestampType::Create, TimestampType::Append].map(|it| Spread::packed(it, codec));
        let mut any = false;
        for &(topic, partition) in &copy.places {
            let Some(topic) = self.catalog.topic_by_id(topic) else { continue };
            let topic = topic.clone();
            let Some(target) = self.take_place(group, topic.id, partition, &copy.record) else { continue };
            any = true;
            let spread = &mut spreads[usize::from(topic.policy.timestamps == TimestampType::Append)];
            spread.add(&topic.policy, target, self.queues.wants_keys(topic.id));
        }
        for spread in spreads {
            spread.each_body(TARGETS_PER_ENTRY, |spread| frame.push_spread(spread, &copy.record));
        }
        if any {
            group.changes.moves.push(copy);
        }
        any
    }
}
