//! The tenants' topic, which keeps some of what is settled, and its two queues: their replays, and what they must have given
//! out at the end.

use std::collections::BTreeSet;

use duolog_broker::errors::ChangeError;
use duolog_broker::{LeaseAsk, Leased, Now, Outcome, QueueId, Start};
use duolog_record::Offset;

use super::clients::{Clients, number_of};
use super::clock::ManualClock;
use super::node::Node;
use super::stage::{BACKOFF_MS, BRIEF_MS, KEEP_SETTLED, Stage, stopped};
use super::told::{Course, Heard};
use crate::history::{Broken, History, Number};

/// Nothing is held back for longer, milliseconds: what clients ask for, and a back-off.
const HOLD_MS: u64 = 3_000 + BACKOFF_MS;

/// The time to live that a record brings along, if it does, milliseconds: now and then longer than the queue's.
pub(super) fn ttl_ms(number: Number) -> Option<u64> {
    number.is_multiple_of(4).then(|| 500 + number * 397 % (BRIEF_MS + 1_000))
}

/// Replays one of the queues from a record on; 0 is the earliest.
pub(super) fn replay(
    node: &mut Node,
    stage: &Stage,
    queue: QueueId,
    from: Offset,
    history: &mut History,
) -> Result<(), Broken> {
    let mut exchange = history.exchange(node.now());
    let asked = node.session.replay_queue(queue, Start::Offset(from));
    let count = match node.complete(asked) {
        Some(Ok(count)) => count,
        Some(Err(ChangeError::DiskFull | ChangeError::Stopped(_))) | None => {
            history.maybe_replayed(queue);
            return Ok(());
        }
        Some(Err(error)) => {
            return Err(Broken(format!("a replay of queue {} was answered: {error}", queue.0)));
        }
    };
    exchange.heard = node.now();
    let bounds = node.session.bounds(stage.tenants).ok_or_else(stopped)?;
    if bounds.end.since(bounds.start) < KEEP_SETTLED.min(bounds.end.0) {
        return Err(Broken(format!("{} to {} is kept of {}", bounds.start, bounds.end, stage.tenants)));
    }
    history.replayed(queue, bounds.start.max(from), count, &exchange)
}

/// One receive, of which the clients hear.
fn receive(
    node: &mut Node,
    clients: &mut Clients,
    history: &mut History,
    queue: QueueId,
) -> Result<Vec<Leased>, Broken> {
    let mut exchange = history.exchange(node.now());
    let moment = history.turns(queue).map_or(0, |turns| turns.moment() + 1);
    let visibility_ms = 60_000;
    let ask = LeaseAsk {
        queue,
        count: 100,
        visibility_ms: Some(visibility_ms),
        wait_ms: 0,
        attempt: None,
        priority: 0,
        bound: false,
    };
    let session = node.session.clone();
    let answer = node.complete(async move { session.lease(ask).await });
    let leased = answer.ok_or_else(stopped)?;
    let leased = leased.map_err(|error| Broken(format!("a receive from queue {}: {error}", queue.0)))?;
    exchange.heard = node.now();
    let course = Some(Course { exchange, moment, visibility_ms });
    clients.leased(history, Heard { queue, receive: None, attempt: None, course }, &leased)?;
    Ok(leased)
}

fn acknowledge(
    node: &mut Node,
    history: &mut History,
    queue: QueueId,
    held: &[Leased],
) -> Result<(), Broken> {
    for some in held.chunks(100) {
        let outcomes = some.iter().map(|lease| (lease.id, Outcome::Ack)).collect();
        let asked = node.session.settle(queue, outcomes);
        let results = node.complete(asked).ok_or_else(stopped)?;
        let results = results.map_err(|error| Broken(format!("settling in queue {}: {error}", queue.0)))?;
        for (lease, result) in some.iter().zip(results) {
            let number = number_of(lease.record.value.as_ref())?;
            if let Err(error) = result {
                return Err(Broken(format!("record {number} is leased by queue {} and {error}", queue.0)));
            }
            history.settled(queue, number);
        }
    }
    Ok(())
}

/// Lets time pass, in which the broker does what is due.
pub(super) fn pass(node: &mut Node, clock: &ManualClock, ms: u64) -> Result<(), Broken> {
    for _ in 0..ms.div_ceil(500) {
        clock.advance(500);
        while node.step_and_pump() {}
    }
    node.failed().map_or(Ok(()), |_| Err(stopped()))
}

/// Everything that a queue gives now, and when it gave nothing more.
fn take_all(
    node: &mut Node,
    clients: &mut Clients,
    history: &mut History,
    queue: QueueId,
) -> Result<(Vec<Leased>, Now), Broken> {
    let mut held = Vec::new();
    loop {
        let leased = receive(node, clients, history, queue)?;
        if leased.is_empty() {
            return Ok((held, node.now()));
        }
        held.extend(leased);
    }
}

fn numbers_of(held: &[Leased]) -> Result<BTreeSet<Number>, Broken> {
    held.iter().map(|lease| number_of(lease.record.value.as_ref())).collect()
}

/// The end. What is young, or was replayed, comes out of the brief queue, and whoever has it may take longer than it lives.
/// Meanwhile every tenant gets everything, and what is kept once more after a replay.
pub(super) fn over(
    node: &mut Node,
    clock: &ManualClock,
    stage: &Stage,
    clients: &mut Clients,
    history: &mut History,
) -> Result<(), Broken> {
    if clients.may_replay_kept {
        replay(node, stage, stage.brief, Offset(0), history)?;
    }
    pass(node, clock, HOLD_MS)?;
    let brief = take_brief(node, stage, clients, history)?;
    let published = clients.published_to(stage.tenants_topic);
    for is_again in [false, true] {
        if is_again {
            replay(node, stage, stage.turns, Offset(0), history)?;
        }
        let (held, _) = take_all(node, clients, history, stage.turns)?;
        history.drained(stage.turns, &published, &numbers_of(&held)?)?;
        acknowledge(node, history, stage.turns, &held)?;
        pass(node, clock, 1_000)?;
    }
    pass(node, clock, BRIEF_MS)?;
    history.seen.settled_late += brief.len() as u64;
    acknowledge(node, history, stage.brief, &brief)
}

/// Takes what is left in the brief queue: all that is not too old for certain.
fn take_brief(
    node: &mut Node,
    stage: &Stage,
    clients: &mut Clients,
    history: &mut History,
) -> Result<Vec<Leased>, Broken> {
    let queue = stage.brief;
    let published = clients.published_to(stage.tenants_topic);
    let (held, now) = take_all(node, clients, history, queue)?;
    let is_young = |number: &Number| history.lives(queue, *number, now);
    let young: BTreeSet<Number> = published.iter().copied().filter(is_young).collect();
    history.drained(queue, &young, &numbers_of(&held)?)?;
    let outlived = published.difference(&young).filter(|it| !history.is_settled(queue, **it)).count();
    history.seen.outlived += outlived as u64;
    Ok(held)
}
