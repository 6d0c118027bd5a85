//! From leases to records: what the core granted is read and decoded on the receiver's own task.
//!
//! Invariant: a lease whose record does not reach the receiver is not forgotten. One that is nonsense is reported to the
//! core, one that is gone is settled, one that cannot be read now stays leased until its time is over, so that others
//! are not kept from what comes behind it, and its receiver is told, unless there was something to receive before it: then
//! it goes back, and the next receiver is told.
//!
//! Memory: batches are opened within the broker's `Room`, and records leave it once the receiver has found room for them
//! elsewhere. Nobody waits for one while holding of the other: a receive that has to wait for its receiver's room lets go
//! of what it has read and reads it again.

mod fetch;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use self::fetch::Fetch;
use crate::broker::Inner;
use crate::core::{Command, GiveBack, Granted, LeaseReply};
use crate::errors::{LeaseError, Stopped};
use crate::shard::{Desk, Input, shutting_down};
use crate::{LeaseAsk, LeaseId, Leased};

/// The shard as the home of leases that nobody received.
struct Home(Arc<Desk>);

impl GiveBack for Home {
    fn give_back(&self, leases: Vec<LeaseId>) {
        self.0.put(Input::Command(Command::GiveBack { leases }));
    }
}

/// See `Session::lease_within`.
pub(super) async fn lease<R, E, F>(
    inner: &Arc<Inner>,
    mut ask: LeaseAsk,
    bytes_max: usize,
    reserve: impl Fn(usize) -> F,
) -> Result<(Vec<Leased>, Option<R>), E>
where
    E: From<LeaseError>,
    F: Future<Output = Result<R, E>>,
{
    let deadline = inner.clock.now().monotonic.plus_ms(ask.wait_ms);
    loop {
        let (reply, answer) = LeaseReply::new(Some(Arc::new(Home(Arc::clone(&inner.desk)))));
        inner.send(Command::Lease { ask, reply });
        let granted = answer.await.unwrap_or_else(|_| Err(shutting_down().into()))?;
        if granted.grants().is_empty() {
            return Ok((Vec::new(), None));
        }
        let mut fetch = Fetch::new(granted.grants().len(), bytes_max);
        let (mut fetched, mut granted) = fetch_all(inner, fetch, granted).await?;
        let mut reserved = None;
        if !fetched.leased.is_empty() {
            // If this fails, or nobody waits for it any more, all goes back as if it had not been leased.
            let mut reserving = pin!(reserve(fetched.content));
            reserved = match poll_once(reserving.as_mut()).await {
                Some(reserved) => Some(reserved?),
                None => {
                    fetch = Fetch::new(fetched.grants, bytes_max);
                    drop(fetched);
                    let reserved = reserving.await?;
                    (fetched, granted) = fetch_all(inner, fetch, granted).await?;
                    Some(reserved)
                }
            };
        }
        if !fetched.malformed.is_empty() || !fetched.gone.is_empty() {
            let (malformed, gone) = (fetched.malformed, fetched.gone);
            inner.send(Command::Unreceivable { queue: ask.queue, malformed, gone });
        }
        let left: Vec<LeaseId> =
            granted.grants()[fetched.grants..].iter().map(|grant| granted.id(grant)).collect();
        granted.accept();
        if !left.is_empty() {
            inner.send(Command::GiveBack { leases: left });
        }
        if !fetched.leased.is_empty() {
            return Ok((fetched.leased, reserved));
        }
        if let Some(error) = fetched.unreadable {
            return Err(LeaseError::Storage(error).into());
        }
        // Everything granted was settled on the way: there may be more behind it, within the time that is left.
        ask.wait_ms = deadline.ms_since(inner.clock.now().monotonic);
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Fetches, and waits for room where there is none for the first record.
async fn fetch_all(
    inner: &Arc<Inner>,
    mut fetch: Fetch,
    mut granted: Granted,
) -> Result<(fetch::Fetched, Granted), LeaseError> {
    loop {
        let needs;
        (fetch, granted, needs) = fetch_off_thread(inner, fetch, granted).await?;
        match needs {
            None => return Ok((fetch.into_fetched(), granted)),
            Some(bytes) => fetch.resume(inner.shared.room.take(bytes).await),
        }
    }
}

/// Reads here if that does not block, else on a thread that may.
async fn fetch_off_thread(
    inner: &Arc<Inner>,
    mut fetch: Fetch,
    granted: Granted,
) -> Result<(Fetch, Granted, Option<usize>), LeaseError> {
    if fetch.is_at_hand(inner, &granted) {
        let needs = fetch.run(inner, &granted);
        return Ok((fetch, granted, needs));
    }
    let inner = Arc::clone(inner);
    let reading = tokio::task::spawn_blocking(move || {
        let needs = fetch.run(&inner, &granted);
        (fetch, granted, needs)
    });
    reading.await.map_err(|error| Stopped { reason: format!("a read was broken off: {error}") }.into())
}
