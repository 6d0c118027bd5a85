//! From leases to records: what the core granted is read and decoded on the receiver's own task.
//!
//! Invariant: a lease whose record does not reach the receiver is not forgotten. One that is nonsense is reported to the
//! core, one that is gone is settled, one that cannot be read now stays leased until its time is over, so that others
//! are not kept from what comes behind it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use duolog_record::{Header, Offset, PartitionId, Record};
use duolog_storage::{ReadError, ReadLimit, StoredBatch};

use crate::broker::Inner;
use crate::core::{Command, GiveBack, Granted, LeaseReply};
use crate::decoded::{Decoded, Found};
use crate::errors::{LeaseError, Stopped};
use crate::inbox::Inbox;
use crate::ledger::Grant;
use crate::limits::LEASE_READ_BYTES;
use crate::shard::{Input, shutting_down};
use crate::{LeaseAsk, LeaseId, Leased};

/// The shard as the home of leases that nobody received.
struct Home(Arc<Inbox<Input>>);

impl GiveBack for Home {
    fn give_back(&self, leases: Vec<LeaseId>) {
        // After the end leases are over anyhow.
        let _ = self.0.put(Input::Command(Command::GiveBack { leases }));
    }
}

/// What became of the grants.
#[derive(Default)]
struct Fetched {
    leased: Vec<Leased>,
    /// Nonsense under a valid checksum.
    malformed: Vec<LeaseId>,
    /// No longer, or never, in the log.
    gone: Vec<LeaseId>,
    /// Left for another call, because the answer is large enough.
    left: Vec<LeaseId>,
    unreadable: Option<ReadError>,
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
        let (reply, answer) = LeaseReply::new(Some(Arc::new(Home(Arc::clone(&inner.inbox)))));
        inner.send(Command::Lease { ask, reply });
        let granted = answer.await.unwrap_or_else(|_| Err(shutting_down().into()))?;
        if granted.grants().is_empty() {
            return Ok((Vec::new(), None));
        }
        let (fetched, granted) = fetch_off_thread(inner, granted, bytes_max).await?;
        if !fetched.malformed.is_empty() || !fetched.gone.is_empty() {
            inner.send(Command::Unreceivable {
                queue: ask.queue,
                malformed: fetched.malformed,
                gone: fetched.gone,
            });
        }
        if !fetched.leased.is_empty() {
            let bytes = fetched.leased.iter().map(|leased| bytes_of(&leased.record)).sum();
            // If this fails, or nobody waits for it any more, all goes back as if it had not been leased.
            let reserved = reserve(bytes).await?;
            granted.accept();
            if !fetched.left.is_empty() {
                inner.send(Command::GiveBack { leases: fetched.left });
            }
            return Ok((fetched.leased, Some(reserved)));
        }
        granted.accept();
        if let Some(error) = fetched.unreadable {
            return Err(LeaseError::Storage(error).into());
        }
        // Everything granted was settled on the way: there may be more behind it, within the time that is left.
        ask.wait_ms = deadline.ms_since(inner.clock.now().monotonic);
    }
}

/// Reads here if that does not block, else on a thread that may.
async fn fetch_off_thread(
    inner: &Arc<Inner>,
    granted: Granted,
    bytes_max: usize,
) -> Result<(Fetched, Granted), LeaseError> {
    if granted.grants().iter().all(|grant| inner.log.is_cached(grant.partition, grant.offset)) {
        return Ok((fetch(inner, &granted, bytes_max), granted));
    }
    let inner = Arc::clone(inner);
    let reading = tokio::task::spawn_blocking(move || (fetch(&inner, &granted, bytes_max), granted));
    reading.await.map_err(|error| Stopped { reason: format!("a read was broken off: {error}") }.into())
}

/// Reads and decodes what was granted, up to `bytes_max` bytes of records and the one that reaches them.
fn fetch(inner: &Inner, granted: &Granted, bytes_max: usize) -> Fetched {
    let mut fetched = Fetched { leased: Vec::with_capacity(granted.grants().len()), ..Fetched::default() };
    let mut source = Source::default();
    let mut bytes = 0;
    let grants = granted.grants();
    for (index, grant) in grants.iter().enumerate() {
        let id = granted.id(grant);
        if bytes >= bytes_max {
            fetched.left.push(id);
            continue;
        }
        match source.batch_of(inner, grant, &grants[index..]) {
            Ok(Some(batch)) => match batch.find(grant.offset) {
                Found::Record(record) => {
                    bytes += bytes_of(record);
                    fetched.leased.push(Leased {
                        id,
                        partition_index: grant.partition_index,
                        attempts: grant.attempt,
                        first_leased_at: grant.first_leased_at,
                        record: record.clone(),
                    });
                }
                Found::Malformed => fetched.malformed.push(id),
                Found::Hole => fetched.gone.push(id),
            },
            Ok(None) => fetched.gone.push(id),
            Err(error) => {
                tracing::warn!(queue = id.queue.0, %error, "a leased record cannot be read");
                fetched.unreadable = Some(error);
            }
        }
    }
    fetched
}

/// Bytes of memory that a record holds.
fn bytes_of(record: &Record) -> usize {
    let content = |it: &Header| it.key.len() + it.value.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|it| size_of::<Header>() + content(it));
    record.key.as_ref().map_or(0, Bytes::len)
        + record.value.as_ref().map_or(0, Bytes::len)
        + headers.sum::<usize>()
}

/// The batches of one call, read several at a time and opened one at a time.
#[derive(Default)]
struct Source {
    current: Option<Arc<Decoded>>,
    read: VecDeque<(PartitionId, StoredBatch)>,
}

impl Source {
    /// The batch that holds a grant's record; `None` if it is no longer there. `rest` begins with the grant.
    fn batch_of(
        &mut self,
        inner: &Inner,
        grant: &Grant,
        rest: &[Grant],
    ) -> Result<Option<&Decoded>, ReadError> {
        let &Grant { partition, offset, .. } = grant;
        if !self.current.as_ref().is_some_and(|it| it.contains(partition, offset)) {
            self.current = self.open(inner, partition, offset, rest)?;
        }
        Ok(self.current.as_deref())
    }

    fn open(
        &mut self,
        inner: &Inner,
        partition: PartitionId,
        offset: Offset,
        rest: &[Grant],
    ) -> Result<Option<Arc<Decoded>>, ReadError> {
        if let Some(kept) = inner.shared.decoded.get(partition, offset) {
            return Ok(Some(kept));
        }
        let holds = |(p, it): &(PartitionId, StoredBatch)| {
            *p == partition && it.base <= offset && offset < it.base.plus(u64::from(it.offsets))
        };
        while self.read.front().is_some_and(|read| !holds(read)) {
            self.read.pop_front();
        }
        if self.read.is_empty() {
            let same = rest.iter().take_while(|grant| grant.partition == partition);
            let until = same.last().map_or(offset, |last| last.offset).plus(1);
            let limit = ReadLimit { bytes_max: LEASE_READ_BYTES, until };
            let batches = match inner.log.read(partition, offset, limit) {
                Ok(batches) => batches,
                // Trimmed or deleted after it was leased.
                Err(ReadError::OutOfRange { at, start, .. }) if at < start => return Ok(None),
                Err(ReadError::UnknownPartition(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.read.extend(batches.into_iter().map(|batch| (partition, batch)));
        }
        let Some(read) = self.read.pop_front().filter(holds) else {
            return Ok(None);
        };
        let decoded = Arc::new(Decoded::open(partition, &read.1));
        inner.shared.decoded.put(&decoded);
        Ok(Some(decoded))
    }
}
