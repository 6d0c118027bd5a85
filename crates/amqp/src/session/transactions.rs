//! Class `tx`: what a channel publishes and takes back is held until it is committed.
//!
//! Invariant: all that a transaction publishes becomes durable in one commit of the log, in all of its queues, or nothing of it does. What it
//! acknowledges is settled behind that: a crash between the two delivers it again. RabbitMQ promises neither across queues.
//! Source: AMQP 0-9-1, class `tx`; RabbitMQ `rabbit_channel` for what fails how.

use std::collections::BTreeMap;
use std::sync::Arc;

use duolog_broker::errors::{AppendError, SettleError};
use duolog_broker::limits::{GROUP_BYTES, PUBLISH_RECORDS, ROUTED_PLACES};
use duolog_broker::{LeaseId, Outcome, QueueId, Routed, Session};
use duolog_net::Reservation;

use super::AmqpSession;
use super::channel::Unacknowledged;
use super::publish::{Outgoing, Unroutable};
use crate::codec::ReplyCode;
use crate::codec::method::{TxCommit, TxCommitOk, TxRollbackOk, TxSelectOk};
use crate::error::AmqpError;
use crate::limits::TRANSACTION_STEP_BYTES;

/// What a channel holds until it is committed.
#[derive(Default)]
pub(super) struct Transaction {
    records: Vec<Routed>,
    /// What comes back.
    unroutable: Vec<Unroutable>,
    /// By their delivery tags, in the order of these.
    settled: BTreeMap<u64, (Unacknowledged, Outcome)>,
    /// Stored bytes of what is published, about.
    bytes: usize,
    places: usize,
    room: Reservation,
    /// Bytes of `room` that messages without a reservation of their own may still take.
    left: usize,
}

impl Transaction {
    pub(super) fn settled(&self) -> impl Iterator<Item = &Unacknowledged> {
        self.settled.values().map(|(it, _)| it)
    }

    /// What it holds of deliveries, to be given back.
    pub(super) fn take_settled(&mut self) -> BTreeMap<u64, (Unacknowledged, Outcome)> {
        std::mem::take(&mut self.settled)
    }

    /// Instead of settling it at once.
    pub(super) fn settle(&mut self, tag: u64, it: Unacknowledged, outcome: Outcome) {
        self.settled.insert(tag, (it, outcome));
    }
}

fn too_large(what: &str, most: usize) -> AmqpError {
    AmqpError::precondition(format_args!("transaction of more than {most} {what}"))
}

impl AmqpSession {
    pub(super) fn tx_select(&mut self, number: u16) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        if channel.confirming.is_some() {
            return Err(AmqpError::precondition("cannot switch from confirm to tx mode"));
        }
        channel.transaction.get_or_insert_default();
        TxSelectOk {}.write(&mut self.said, number);
        Ok(())
    }

    fn transaction(&mut self, number: u16) -> Result<&mut Transaction, AmqpError> {
        let transaction = self.channel(number)?.transaction.as_deref_mut();
        transaction.ok_or_else(|| AmqpError::precondition("channel is not transactional"))
    }

    /// Bytes that the channels of this connection hold for their transactions.
    pub(super) fn held_bytes(&self) -> usize {
        self.channels.values().filter_map(|it| it.transaction.as_ref()).map(|it| it.bytes).sum()
    }

    /// A published message waits for the commit.
    pub(super) fn hold(&mut self, number: u16, message: Outgoing) -> Result<(), AmqpError> {
        let Outgoing { routed, unroutable, bytes, room } = message;
        let held = self.held_bytes();
        let budget = self.budget.clone();
        let transaction = self.transaction(number)?;
        if held.saturating_add(bytes) > GROUP_BYTES {
            return Err(too_large("bytes", GROUP_BYTES));
        }
        match room {
            Some(room) => transaction.room.merge(room),
            None if transaction.left >= bytes => transaction.left -= bytes,
            None => {
                let more = bytes.max(TRANSACTION_STEP_BYTES);
                // Not waited for: who has a transaction open may hold what others wait for.
                let Ok(Some(room)) = budget.try_reserve(more) else { return Err(no_memory()) };
                transaction.room.merge(room);
                transaction.left = more - bytes;
            }
        }
        transaction.bytes += bytes;
        transaction.places += routed.as_ref().map_or(0, |it| it.topics.len());
        transaction.records.extend(routed);
        transaction.unroutable.extend(unroutable);
        if transaction.places > ROUTED_PLACES {
            return Err(too_large("places in queues", ROUTED_PLACES));
        }
        if transaction.records.len() + transaction.unroutable.len() > PUBLISH_RECORDS {
            return Err(too_large("messages", PUBLISH_RECORDS));
        }
        Ok(())
    }

    /// `tx.commit`: answered once what was published is durable, and so is what was acknowledged.
    pub(super) fn tx_commit(&mut self, number: u16) -> Result<(), AmqpError> {
        let transaction = std::mem::take(self.transaction(number)?);
        // What was published before the transaction comes before it.
        self.flush();
        let Transaction { records, unroutable, settled, room, .. } = transaction;
        let count = (records.len() + unroutable.len()) as u64;
        self.count_published(count);
        let outcomes = settled.values().filter_map(|(it, outcome)| Some((it.lease?, *outcome))).collect();
        // By itself: once it has begun it comes to its end, though the connection may not.
        let committing = tokio::spawn(commit(self.broker.clone(), records, outcomes, room));
        let registry = Arc::clone(&self.registry);
        let committed = async move {
            let lost = |_| AmqpError::new(ReplyCode::InternalError, "the transaction has failed");
            committing.await.map_err(lost)?.map_err(|error| match error {
                CommitError::Append(error) => {
                    registry.note_refusal(&error);
                    failed(error)
                }
                CommitError::Settle(error) => error.into(),
            })
        };
        self.operate(number, TxCommit::ID, committed, move |session, ()| {
            for it in &unroutable {
                it.write(&mut session.said, number, session.frame_max);
            }
            settled.values().for_each(|(it, _)| session.credit(it, number));
            TxCommitOk {}.write(&mut session.said, number);
            Ok(())
        });
        Ok(())
    }

    /// `tx.rollback`: what was published is dropped, and what was acknowledged is unacknowledged again.
    pub(super) fn tx_rollback(&mut self, number: u16) -> Result<(), AmqpError> {
        let settled = std::mem::take(self.transaction(number)?).settled;
        let back = settled.into_iter().map(|(tag, (it, _))| (tag, it));
        self.channel(number)?.unacknowledged.extend(back);
        TxRollbackOk {}.write(&mut self.said, number);
        Ok(())
    }
}

pub(super) fn no_memory() -> AmqpError {
    AmqpError::precondition("there is no memory left for the transaction")
}

/// Publishes, then settles. What is not to be settled for want of the one goes back to its place.
async fn commit(
    broker: Session,
    records: Vec<Routed>,
    outcomes: Vec<(LeaseId, Outcome)>,
    _room: Reservation,
) -> Result<(), CommitError> {
    let published = if records.is_empty() { Ok(Vec::new()) } else { broker.route_all(records).await };
    let outcomes = outcomes.into_iter().map(|(lease, outcome)| match published {
        Ok(_) => (lease, outcome),
        Err(_) => (lease, Outcome::Release { after_ms: 0 }),
    });
    let mut by_queue: BTreeMap<QueueId, Vec<(LeaseId, Outcome)>> = BTreeMap::new();
    outcomes.for_each(|it| by_queue.entry(it.0.queue).or_default().push(it));
    let settling: Vec<_> = by_queue.into_iter().map(|(queue, all)| broker.settle(queue, all)).collect();
    published.map_err(CommitError::Append)?;
    for settled in settling {
        match settled.await {
            // A queue that has gone has nothing to be settled.
            Ok(_) | Err(SettleError::NotFound) => {}
            Err(error) => return Err(CommitError::Settle(error)),
        }
    }
    Ok(())
}

/// What of a commit has failed.
enum CommitError {
    Append(AppendError),
    Settle(SettleError),
}

/// Nothing was stored. The channel is lost alone where the connection can go on.
fn failed(error: AppendError) -> AmqpError {
    let AmqpError { code, text, .. } = error.into();
    match code {
        ReplyCode::ResourceError => {
            AmqpError::precondition(format_args!("transaction is not committed: {text}"))
        }
        code => AmqpError::new(code, text),
    }
}
