//! What clients are told, and how the history hears of it.

use duolog_broker::errors::{AppendError, ChangeError, CursorError, LeaseError, SettleError};
use duolog_broker::{Appended, LeaseId, Leased, MoveId, MoveTask, Now, Outcome, Published, QueueId, TopicId};
use duolog_record::{Offset, PartitionId};

use super::clients::Clients;
use super::keyed::Sent;
use super::tenants;
use crate::history::{Attempt, Broken, Exchange, History, Moment, Number, Receive, Touched};

/// One settlement that was asked for.
pub(super) struct Asked {
    pub(super) id: LeaseId,
    pub(super) number: Number,
    pub(super) outcome: Outcome,
    /// What the history of a queue by key said when it was asked.
    pub(super) touched: Option<u64>,
    /// [`History::life`] when the lease was told.
    pub(super) life: u64,
    /// What the history of a queue with a policy of times said.
    pub(super) terms: Option<Touched>,
}

/// A receive from a queue with a policy of times.
pub(super) struct Course {
    pub(super) exchange: Exchange,
    /// `Turns::moment` when it was asked for.
    pub(super) moment: Moment,
    pub(super) visibility_ms: u64,
}

/// What is known of a receive that was answered.
pub(super) struct Heard {
    pub(super) queue: QueueId,
    /// If the queue is one by key.
    pub(super) receive: Option<Receive>,
    /// If it was given a name.
    pub(super) attempt: Option<Attempt>,
    pub(super) course: Option<Course>,
}

/// An answer to one verb.
pub(super) enum Told {
    /// A batch of records with these numbers.
    Append {
        /// Which producer, if it is an idempotent one.
        producer: Option<usize>,
        partition: PartitionId,
        numbers: Vec<Number>,
        result: Result<Appended, AppendError>,
    },
    Publish {
        topic: TopicId,
        numbers: Vec<Number>,
        /// If the topic is the tenants': whether each record has a key of its own, and when it was asked for.
        tenant: Option<(bool, Exchange)>,
        result: Result<Vec<Published>, AppendError>,
    },
    /// A record under a key.
    Keyed {
        sent: Sent,
        result: Result<Vec<Published>, AppendError>,
    },
    Move {
        result: Result<MoveId, ChangeError>,
    },
    Cancel {
        result: Result<MoveTask, ChangeError>,
    },
    Lease {
        heard: Heard,
        result: Result<Vec<Leased>, LeaseError>,
    },
    Settle {
        queue: QueueId,
        asked: Vec<Asked>,
        /// [`History::replays`] when it was asked.
        replays: u64,
        heard: Now,
        result: Result<Vec<Result<(), SettleError>>, SettleError>,
    },
    Cursor {
        group: String,
        partition: PartitionId,
        /// What the history knows the move by.
        id: u64,
        result: Result<(), CursorError>,
    },
    Trim {
        partition: PartitionId,
        result: Result<Offset, ChangeError>,
    },
    /// A replay or a purge.
    Count {
        queue: QueueId,
        result: Result<u64, ChangeError>,
    },
}

fn broken(what: &str, error: &impl std::fmt::Display) -> Broken {
    Broken(format!("{what} was answered: {error}"))
}

impl Told {
    /// Tells the history, and the clients what they go on with.
    pub(super) fn hear(self, history: &mut History, clients: &mut Clients) -> Result<(), Broken> {
        match self {
            Self::Append { producer, partition, numbers, result } => {
                if let Some(producer) = producer {
                    clients.producer_heard(producer, &numbers, &result, history);
                }
                appended(partition, &numbers, result, history)
            }
            Self::Publish { topic, numbers, tenant, result } => {
                published(topic, &numbers, tenant, result, history, clients)
            }
            Self::Keyed { sent, result } => match result {
                Ok(published) => match published.first() {
                    Some(&place) => clients.keyed.hear(history, sent, place),
                    None => Err(Broken(format!("record {} was published nowhere", sent.number))),
                },
                Err(error) => not_appended("a publish", &error),
            },
            Self::Move { result } => match result {
                Ok(id) => {
                    clients.moving(id);
                    Ok(())
                }
                // One may be running.
                Err(ChangeError::Exists(_)) => Ok(()),
                Err(error) => not_changed("a move", &error),
            },
            Self::Cancel { result } => match result {
                Ok(_) => {
                    history.seen.moves_cancelled += 1;
                    Ok(())
                }
                // It may be over, and so long that it was forgotten.
                Err(ChangeError::NotFound(_) | ChangeError::Invalid { .. }) => Ok(()),
                Err(error) => not_changed("a cancellation", &error),
            },
            Self::Lease { heard, result } => leased(heard, result, history, clients),
            Self::Settle { queue, asked, replays, heard, result } => match result {
                Ok(results) => asked
                    .into_iter()
                    .zip(results)
                    .try_for_each(|(asked, result)| settled(queue, asked, replays, heard, result, history)),
                Err(SettleError::DiskFull | SettleError::Stopped(_)) => Ok(()),
                Err(error) => Err(broken("a settlement", &error)),
            },
            Self::Cursor { group, partition, id, result } => match result {
                Ok(()) => {
                    history.cursor_moved(&group, partition, id);
                    Ok(())
                }
                Err(CursorError::DiskFull | CursorError::Stopped(_)) => Ok(()),
                Err(error) => Err(broken("a move of a cursor", &error)),
            },
            Self::Trim { partition, result } => match result {
                Ok(start) => {
                    history.trimmed(partition, start);
                    Ok(())
                }
                Err(error) => not_changed("a trim", &error),
            },
            Self::Count { queue, result } => {
                if let Err(error) = result {
                    not_changed("a replay or purge", &error)?;
                }
                history.replay_over(queue);
                Ok(())
            }
        }
    }
}

/// A sound broker may refuse an append for want of room or of time, and when it has stopped.
fn not_appended(what: &str, error: &AppendError) -> Result<(), Broken> {
    match error {
        AppendError::DiskFull | AppendError::Overloaded | AppendError::Stopped(_) => Ok(()),
        error => Err(broken(what, error)),
    }
}

/// A sound broker may refuse a change for want of room, and when it has stopped.
fn not_changed(what: &str, error: &ChangeError) -> Result<(), Broken> {
    match error {
        ChangeError::DiskFull | ChangeError::Stopped(_) => Ok(()),
        error => Err(broken(what, error)),
    }
}

fn appended(
    partition: PartitionId,
    numbers: &[Number],
    result: Result<Appended, AppendError>,
    history: &mut History,
) -> Result<(), Broken> {
    match result {
        Ok(appended) => (0..)
            .zip(numbers)
            .try_for_each(|(index, &number)| history.appended(partition, appended.base.plus(index), number)),
        Err(error) => not_appended("an append", &error),
    }
}

fn published(
    topic: TopicId,
    numbers: &[Number],
    tenant: Option<(bool, Exchange)>,
    result: Result<Vec<Published>, AppendError>,
    history: &mut History,
    clients: &mut Clients,
) -> Result<(), Broken> {
    let published = match result {
        Ok(published) => published,
        Err(error) => return not_appended("a publish", &error),
    };
    for (&number, place) in numbers.iter().zip(published) {
        // A delayed record is seen elsewhere: where it enters the topic.
        if place.partition_index == Published::DELAYED {
            clients.delayed.insert(number, history.life());
        } else {
            history.appended(place.partition, place.offset, number)?;
            if let Some((of_its_own, exchange)) = &tenant {
                let ttl_ms = tenants::ttl_ms(number);
                history.published(number, (place.partition, place.offset), ttl_ms, *of_its_own, exchange);
            }
        }
        clients.published.insert((topic, number));
    }
    Ok(())
}

fn leased(
    heard: Heard,
    result: Result<Vec<Leased>, LeaseError>,
    history: &mut History,
    clients: &mut Clients,
) -> Result<(), Broken> {
    match result {
        Ok(leased) => clients.leased(history, heard, &leased),
        Err(LeaseError::OverLimit { .. } | LeaseError::Overloaded) => Ok(()),
        // With the power off nothing can be read, and stays leased.
        Err(LeaseError::Storage(error)) if !clients.power_is_off() => Err(broken("a receive", &error)),
        // The leases may be on the disk already.
        Err(LeaseError::Stopped(_) | LeaseError::Storage(_)) => {
            history.lost_receive(heard.queue);
            Ok(())
        }
        Err(error) => Err(broken("a receive", &error)),
    }
}

/// One settlement was answered.
fn settled(
    queue: QueueId,
    asked: Asked,
    replays: u64,
    heard: Now,
    result: Result<(), SettleError>,
    history: &mut History,
) -> Result<(), Broken> {
    let Asked { id, number, outcome, touched, life, terms } = asked;
    history.seen.handles_over += u64::from(result.is_ok() && life < history.life());
    if let (Ok(()), Outcome::Release { after_ms: 0 }, Some(touched)) = (&result, outcome, touched)
        && let Some(lines) = history.lines(queue)
    {
        lines.released((id.partition, id.offset), touched);
    }
    if result.is_ok() && !matches!(outcome, Outcome::Extend { for_ms: 1.. }) {
        history.attempts.over(id);
    }
    let is_refused = matches!(&result, Err(SettleError::DiskFull | SettleError::Stopped(_)));
    if let (false, Some(touched)) = (is_refused, terms) {
        history.settle_answered(queue, &touched, outcome, result.is_ok(), heard)?;
    }
    match result {
        Ok(()) if outcome == Outcome::Ack && history.replays(queue) == replays => {
            history.settled(queue, number);
        }
        Ok(()) => {}
        Err(error) if may_refuse(&error) => {}
        Err(error) => return Err(broken("a settlement", &error)),
    }
    Ok(())
}

/// A settlement may be refused so by a broker that is sound.
pub(super) fn may_refuse(error: &SettleError) -> bool {
    matches!(
        error,
        SettleError::Settled
            | SettleError::Expired
            | SettleError::Lost
            | SettleError::Unknown
            | SettleError::DiskFull
            | SettleError::Stopped(_)
    )
}
