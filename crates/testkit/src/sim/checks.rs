//! What is looked at after each restart and at the end: everything that clients could find out.

use std::collections::BTreeSet;

use duolog_broker::{Isolation, LeaseAsk, Leased, MoveStatus, Outcome, QueueId, ReadAsk, Session, TopicId};
use duolog_record::{Batch, Offset, PartitionId, Record};
use duolog_storage::StoredBatch;

use super::clients::{Clients, number_of};
use super::clock::ManualClock;
use super::node::Node;
use super::stage::{Stage, stopped};
use super::tenants;
use crate::history::{Broken, History, Number};

/// Bytes that one batch of a run may decode to.
const BATCH_BYTES: usize = 1 << 20;

/// The header that tells of a dead record from which queue it comes.
pub(super) const DEAD_SOURCE: &str = "duolog-dead-source";

/// The records of one batch; that it was served means that it is whole.
fn decode(partition: PartitionId, stored: &StoredBatch) -> Result<Vec<Record>, Broken> {
    Batch::from_parts(stored.base, stored.leader_epoch, &stored.body)
        .and_then(|batch| batch.records(stored.base, BATCH_BYTES))
        .and_then(Iterator::collect)
        .map_err(|error| Broken(format!("batch {partition}/{} was served damaged: {error}", stored.base)))
}

/// Whether something may be missing between the records of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holes {
    None,
    /// What was settled may be gone already.
    WhereSettled,
}

/// All records of a partition from its start, read as a stream.
fn read_all(
    session: &Session,
    partition: PartitionId,
    holes: Holes,
) -> Result<(Offset, Offset, Vec<Record>), Broken> {
    let Whole { start, end, records } = read_whole(session, partition, holes)?;
    Ok((start, end, records.into_iter().map(|(_, record)| record).collect()))
}

/// What a partition holds.
pub(super) struct Whole {
    start: Offset,
    end: Offset,
    /// Each with its leader epoch.
    pub(super) records: Vec<(i32, Record)>,
}

/// The same, with what clients do not see of records.
pub(super) fn read_whole(session: &Session, partition: PartitionId, holes: Holes) -> Result<Whole, Broken> {
    let Some(bounds) = session.bounds(partition) else {
        return Ok(Whole { start: Offset(0), end: Offset(0), records: Vec::new() });
    };
    let mut records = Vec::new();
    let mut at = bounds.start;
    while at < bounds.end {
        let ask = ReadAsk { partition, from: at, bytes_max: 4096, isolation: Isolation::default() };
        let slice =
            session.read(ask).map_err(|error| Broken(format!("reading {partition}/{at}: {error}")))?;
        if slice.batches.is_empty() && holes == Holes::WhereSettled {
            break;
        }
        if slice.batches.is_empty() {
            return Err(Broken(format!("reading {partition}/{at} gives nothing below {}", bounds.end)));
        }
        for stored in slice.batches {
            at = stored.base.plus(u64::from(stored.offsets));
            let kept = decode(partition, &stored)?.into_iter().filter(|it| it.offset >= bounds.start);
            records.extend(kept.map(|record| (stored.leader_epoch, record)));
        }
    }
    Ok(Whole { start: bounds.start, end: bounds.end, records })
}

/// Reads the stream's partitions whole.
pub(super) fn streams(session: &Session, stage: &Stage, history: &mut History) -> Result<(), Broken> {
    for &partition in &stage.stream {
        let (start, end, records) = read_all(session, partition, Holes::None)?;
        let mut seen = BTreeSet::new();
        for record in records {
            history.read(partition, record.offset, number_of(record.value.as_ref())?)?;
            seen.insert(record.offset);
        }
        history.read_whole(partition, start, end, &seen)?;
    }
    Ok(())
}

/// Reads what is still to be had from a process that is about to die; what fails was not told.
pub(super) fn last_look(session: &Session, stage: &Stage, history: &mut History) -> Result<(), Broken> {
    for &partition in &stage.stream {
        let Some(bounds) = session.bounds(partition) else { continue };
        let from = Offset(bounds.end.0.saturating_sub(20)).max(bounds.start);
        let ask = ReadAsk { partition, from, bytes_max: 64 << 10, isolation: Isolation::default() };
        let Ok(slice) = session.read(ask) else { continue };
        for stored in slice.batches {
            for record in decode(partition, &stored)? {
                if record.offset >= bounds.start {
                    history.read(partition, record.offset, number_of(record.value.as_ref())?)?;
                }
            }
        }
    }
    Ok(())
}

/// Looks at the cursors.
pub(super) fn cursors(node: &mut Node, stage: &Stage, history: &History) -> Result<(), Broken> {
    for group in ["readers", "auditors"] {
        let asked = node.session.cursors(group);
        let Some(answer) = node.complete(asked) else { return Ok(()) };
        let cursors = answer.map_err(|error| Broken(format!("cursors of {group}: {error}")))?;
        for &partition in &stage.stream {
            let found = cursors.iter().find(|(of, _)| *of == partition).map(|(_, cursor)| cursor.offset);
            history.cursor_read(group, partition, found)?;
        }
    }
    Ok(())
}

/// Works a queue until nothing comes any more, letting leases and delays run out; answers what was delivered.
pub(super) fn drain(
    node: &mut Node,
    clock: &ManualClock,
    queue: QueueId,
    mut hear: impl FnMut(&Leased) -> Result<Number, Broken>,
) -> Result<BTreeSet<Number>, Broken> {
    let mut delivered = BTreeSet::new();
    let mut empty = 0;
    while empty < 3 {
        let session = node.session.clone();
        let ask = LeaseAsk {
            queue,
            count: 100,
            visibility_ms: Some(60_000),
            wait_ms: 0,
            attempt: None,
            priority: 0,
            bound: false,
        };
        let answer = node.complete(async move { session.lease(ask).await });
        let leased = answer.ok_or_else(stopped)?;
        let leased = leased.map_err(|error| Broken(format!("draining queue {}: {error}", queue.0)))?;
        if leased.is_empty() {
            empty += 1;
            clock.advance(100_000);
            continue;
        }
        empty = 0;
        let mut outcomes = Vec::new();
        for lease in &leased {
            delivered.insert(hear(lease)?);
            outcomes.push((lease.id, Outcome::Ack));
        }
        let settled = node.session.settle(queue, outcomes);
        let results = node.complete(settled).ok_or_else(stopped)?;
        let results = results.map_err(|error| Broken(format!("settling in queue {}: {error}", queue.0)))?;
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Err(Broken(format!("a fresh lease of queue {} could not be settled: {error}", queue.0)));
        }
    }
    Ok(delivered)
}

/// Reads the dead-letter topic: from where came what is in it.
pub(super) fn graves(
    session: &Session,
    stage: &Stage,
    clients: &Clients,
    history: &mut History,
) -> Result<(), Broken> {
    let catalog = session.catalog();
    let Some(topic) = catalog.topic_by_id(stage.dead_topic) else { return Ok(()) };
    for &partition in &topic.partitions {
        let (_, _, records) = read_all(session, partition, Holes::WhereSettled)?;
        for record in records {
            let number = number_of(record.value.as_ref())?;
            let source = record.headers.iter().find(|header| header.key == DEAD_SOURCE);
            let name = source.and_then(|header| header.value.as_deref());
            let queue = match name {
                Some(b"work") => stage.work,
                Some(b"jobs") => stage.jobs,
                other => return Err(Broken(format!("record {number} was dead-lettered by {other:?}"))),
            };
            history.dead_lettered(queue, number, (partition, record.offset))?;
        }
    }
    moved(session, stage, clients.moves_work_only, history)
}

/// Reads where the dead are moved to: each has its first place with it, and so the queue that it died in.
fn moved(
    session: &Session,
    stage: &Stage,
    moves_work_only: bool,
    history: &mut History,
) -> Result<(), Broken> {
    let catalog = session.catalog();
    let topic = catalog.queue_by_id(stage.moved).and_then(|queue| catalog.topic_by_id(queue.topic));
    for &partition in topic.iter().flat_map(|topic| &topic.partitions) {
        let (_, _, records) = read_all(session, partition, Holes::WhereSettled)?;
        for record in records {
            let number = number_of(record.value.as_ref())?;
            let origin = record.headers.iter().find(|header| header.key == "duolog-origin");
            let origin = origin.and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok());
            let first = origin.and_then(|origin| u128::from_str_radix(origin.split('/').next()?, 16).ok());
            let queue = match first.map(TopicId) {
                Some(topic) if topic == stage.stream_topic => stage.work,
                Some(topic) if topic == stage.jobs_topic => stage.jobs,
                _ => return Err(Broken(format!("record {number} was moved and comes from nowhere"))),
            };
            history.moved_on(queue, number);
            if stage.jobs == queue && moves_work_only {
                return Err(Broken(format!("record {number} was moved although the filter is for others")));
            }
        }
    }
    Ok(())
}

/// The end: the disk is healthy, and whatever was promised must come out.
pub(super) fn finale(
    node: &mut Node,
    clock: &ManualClock,
    stage: &Stage,
    clients: &mut Clients,
    history: &mut History,
) -> Result<(), Broken> {
    // First, because what lives there does not live long.
    tenants::over(node, clock, stage, clients, history)?;
    streams(&node.session, stage, history)?;
    cursors(node, stage, history)?;
    let mut of_stream = BTreeSet::new();
    for &partition in &stage.stream {
        let (_, _, records) = read_all(&node.session, partition, Holes::None)?;
        for record in records {
            of_stream.insert(number_of(record.value.as_ref())?);
        }
    }
    let (of_jobs, of_lines) =
        (clients.published_to(stage.jobs_topic), clients.published_to(stage.lines_topic));
    delays_over(node, clock, stage.jobs)?;
    let all = [
        (stage.work, of_stream),
        (stage.jobs, of_jobs.clone()),
        (stage.audit, of_jobs),
        (stage.lines, of_lines),
    ];
    for (queue, promised) in all {
        let delivered = drain(node, clock, queue, |lease| {
            let number = number_of(lease.record.value.as_ref())?;
            history.leased(queue, number, lease.attempts)?;
            Ok(number)
        })?;
        graves(&node.session, stage, clients, history)?;
        history.drained(queue, &promised, &delivered)?;
    }
    moves_over(node, clock)?;
    let mut seen = BTreeSet::new();
    for queue in [stage.dead, stage.moved] {
        drain(node, clock, queue, |lease| {
            let number = number_of(lease.record.value.as_ref())?;
            if !seen.insert(number) && !clients.may_replay {
                return Err(Broken(format!(
                    "record {number} is among the dead twice, or moved and there still"
                )));
            }
            Ok(number)
        })?;
    }
    // What was moved away was among the dead, and has not been lost on the way.
    let lost = history.dead().find(|number| !seen.contains(number));
    lost.map_or(Ok(()), |number| Err(Broken(format!("record {number} was dead-lettered and is nowhere"))))
}

/// Waits until nothing is delayed any more.
fn delays_over(node: &mut Node, clock: &ManualClock, queue: QueueId) -> Result<(), Broken> {
    for _ in 0..1_000 {
        let asked = node.session.depth(queue);
        let depth = node.complete(asked).ok_or_else(stopped)?;
        if depth.map_err(|error| Broken(format!("the depth of queue {}: {error}", queue.0)))?.delayed == 0 {
            return Ok(());
        }
        clock.advance(50);
        node.step();
        let _moved_on = node.pump();
    }
    Err(Broken("what is delayed does not come".to_owned()))
}

/// Waits until no move task runs any more.
fn moves_over(node: &mut Node, clock: &ManualClock) -> Result<(), Broken> {
    for _ in 0..10_000 {
        let asked = node.session.list_moves(None);
        let tasks = node.complete(asked).ok_or_else(stopped)?;
        let tasks = tasks.map_err(|error| Broken(format!("the moves: {error}")))?;
        if let Some(task) = tasks.iter().find(|task| matches!(task.status, MoveStatus::Failed { .. })) {
            return Err(Broken(format!("a move has failed: {:?}", task.status)));
        }
        if !tasks.iter().any(duolog_broker::MoveTask::is_active) {
            return Ok(());
        }
        clock.advance(50);
        node.step();
        let _moved_on = node.pump();
    }
    Err(Broken("a move does not end".to_owned()))
}

/// After damage at rest: whatever is still served is what was stored, and what is not is an error, never silence.
pub(super) fn rotten(session: &Session, stage: &Stage, history: &mut History) -> Result<(), Broken> {
    for &partition in &stage.stream {
        // A partition that is gone altogether is refused by whoever asks for it.
        let Some(bounds) = session.bounds(partition) else { continue };
        let (mut seen, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut at = bounds.start;
        while at < bounds.end {
            let ask = ReadAsk { partition, from: at, bytes_max: 1, isolation: Isolation::default() };
            let batches = match session.read(ask) {
                Ok(slice) => slice.batches,
                // What lies behind the damage may be asked for.
                Err(_) => {
                    refused.insert(at);
                    at = at.plus(1);
                    continue;
                }
            };
            let Some(stored) = batches.first() else {
                return Err(Broken(format!("reading {partition}/{at} gives nothing below {}", bounds.end)));
            };
            for record in decode(partition, stored)? {
                if record.offset >= bounds.start {
                    history.read(partition, record.offset, number_of(record.value.as_ref())?)?;
                    seen.insert(record.offset);
                }
            }
            at = stored.base.plus(u64::from(stored.offsets)).max(at.plus(1));
        }
        seen.extend(refused);
        history.read_damaged(partition, bounds.start, bounds.end, &seen)?;
    }
    Ok(())
}
