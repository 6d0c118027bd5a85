//! Receivers of a backlog that lies on the disk: what one reads along, the others find.

use std::sync::atomic::{AtomicU64, Ordering};

use duolog_record::Offset;
use duolog_storage::{Log, MemoryLog, ReadError, ReadLimit, StoredBatch};

use super::*;
use crate::support::{ReadThrough, Reads};

/// A log whose old batches are not in memory, and whose reads are counted.
type OldLog = ReadThrough<OldReads>;

struct OldReads {
    reads: AtomicU64,
    /// From this offset on everything is in memory.
    cached_from: AtomicU64,
    /// No read that comes as far as this offset succeeds.
    broken_at: AtomicU64,
}

impl Reads for OldReads {
    fn read(
        &self,
        log: &MemoryLog,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let batches = log.read(partition, from, limit)?;
        // The state is read from memory.
        if self.is_cached(log, partition, from) || batches.is_empty() {
            return Ok(batches);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let end = batches.last().map_or(from, |it| it.base.plus(u64::from(it.offsets)));
        if end.0 > self.broken_at.load(Ordering::Relaxed) {
            return Err(ReadError::Io { partition, reason: "a bad sector".to_owned() });
        }
        Ok(batches)
    }

    fn is_cached(&self, _: &MemoryLog, _: PartitionId, from: Offset) -> bool {
        from.0 >= self.cached_from.load(Ordering::Relaxed)
    }
}

/// A queue with so many messages, each a batch of its own, of which those from `cached_from` on are in memory.
async fn backlog(messages: u64, cached_from: u64) -> (Arc<OldLog>, Bench, QueueId) {
    let log = Arc::new(OldLog::new(OldReads {
        reads: AtomicU64::new(0),
        cached_from: AtomicU64::new(0),
        broken_at: AtomicU64::new(u64::MAX),
    }));
    let clock = Arc::new(HandClock::default());
    let options = BrokerOptions { seed: 1, retention_check_ms: 60_000, ..BrokerOptions::default() };
    let broker = Broker::start(log.clone(), clock.clone(), Arc::new(Permissive), options).unwrap();
    let session = broker.session(Principal::anonymous());
    let bench = Bench { clock, broker, session };
    let queue = bench.queue("q", None).await;
    let partition = bench.partition(queue);
    for number in 0..messages {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(1), None, Some(format!("{number}").as_bytes()), &[]);
        bench.session.append(partition, builder.build()).await.unwrap();
    }
    log.cached_from.store(cached_from, Ordering::Relaxed);
    (log, bench, queue)
}

#[tokio::test]
async fn receivers_of_a_backlog_share_what_is_read() {
    let (log, bench, queue) = backlog(1_000, 1_000).await;
    for call in 0..100 {
        let expected: Vec<String> = (10 * call..10 * call + 10).map(|it| it.to_string()).collect();
        assert_eq!(values(&bench.lease(queue, 10).await), expected);
    }
    let reads = log.reads.load(Ordering::Relaxed);
    assert!((3..12).contains(&reads), "{reads} reads of 1,000 messages");
    bench.broker.stop();
}

#[tokio::test]
async fn a_backlog_is_read_as_far_as_what_is_in_memory() {
    let (log, bench, queue) = backlog(400, 200).await;
    for call in 0..40 {
        let expected: Vec<String> = (10 * call..10 * call + 10).map(|it| it.to_string()).collect();
        assert_eq!(values(&bench.lease(queue, 10).await), expected);
    }
    assert!(log.reads.load(Ordering::Relaxed) < 6);
    bench.broker.stop();
}

#[tokio::test]
async fn what_cannot_be_read_further_on_keeps_nobody_from_what_stands_before_it() {
    let (log, bench, queue) = backlog(60, 60).await;
    log.broken_at.store(50, Ordering::Relaxed);
    for call in 0..5 {
        let expected: Vec<String> = (10 * call..10 * call + 10).map(|it| it.to_string()).collect();
        assert_eq!(values(&bench.lease(queue, 10).await), expected);
    }
    let error = bench.session.lease(ask(queue, 10, 0)).await.unwrap_err();
    assert!(matches!(error, LeaseError::Storage(ReadError::Io { .. })), "{error}");
    bench.broker.stop();
}
