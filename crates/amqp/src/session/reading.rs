//! Consumers of streams: each reads from where it wants, ahead of what its client takes, and nothing is settled.
//!
//! An acknowledgement gives credit and does no more: a message is not taken from others, and is not delivered again. Invariant: at
//! most one read of a consumer is on its way, and what it has read ahead is reserved for.
//! Source: RabbitMQ documentation, "Streams and Super Streams", "Consuming".

use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use duolog_broker::errors::FetchError;
use duolog_broker::{ReadAsk, Session, Start, Topic};
use duolog_net::{Budget, OverBudget, Reservation};
use duolog_record::{Offset, PartitionId, Record, Timestamp};
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable};

use super::channel::Unacknowledged;
use super::streams::{age_ms, is_stream};
use super::{AmqpSession, Stage};
use crate::codec::method::{BasicConsume, BasicConsumeOk, BasicDeliver};
use crate::codec::{ReplyCode, Scalar, ShortString, ValueRef, write_deliver};
use crate::convert::{self, Delivered};
use crate::error::AmqpError;
use crate::limits::{CONSUMER_BUFFER, CONSUMER_BUFFER_BYTES, CONSUMERS};
use crate::registry::{ConsumerState, Consuming};

/// One who reads a stream.
pub(super) struct Reader {
    pub(super) channel: u16,
    pub(super) tag: ShortString,
    pub(super) topic: Arc<Topic>,
    prefetch: u16,
    unacknowledged: u32,
    /// Read and not delivered yet.
    ahead: VecDeque<Piece>,
    /// Where the next read begins; empty while it is under way.
    cursors: Vec<Cursor>,
    reading: Option<AbortHandle>,
}

/// A record that was read.
struct Piece {
    record: Record,
    /// Memory of all that were read with it; of the last of them.
    _room: Option<Reservation>,
}

/// Where one stands in a partition.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    partition: PartitionId,
    next: Offset,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    Start(Start),
    /// At the batch that came last.
    LastBatch,
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Failed {
    Fetch(FetchError),
    Memory(OverBudget),
    /// The thread that read it is gone.
    Lost,
}

impl From<OverBudget> for Failed {
    fn from(error: OverBudget) -> Self {
        Self::Memory(error)
    }
}

impl From<Failed> for AmqpError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Fetch(error @ FetchError::NotFound(_)) => Self::not_found(error),
            Failed::Fetch(FetchError::Denied) => Self::refused(FetchError::Denied),
            Failed::Fetch(error) => Self::new(ReplyCode::InternalError, error),
            Failed::Memory(error) => Self::new(ReplyCode::ResourceError, error),
            Failed::Lost => Self::new(ReplyCode::InternalError, "a read was broken off"),
        }
    }
}

/// What one read has brought, and where the next begins.
pub(super) struct Chunk {
    cursors: Vec<Cursor>,
    records: Vec<Record>,
    room: Reservation,
}

/// A read on its way: whose, and what came.
pub(super) type Reading = Pin<Box<dyn Future<Output = (u64, Result<Result<Chunk, Failed>, Aborted>)> + Send>>;

impl AmqpSession {
    /// `basic.consume` on a stream.
    pub(super) fn consume_stream(
        &mut self,
        number: u16,
        method: &BasicConsume<'_>,
        topic: Arc<Topic>,
    ) -> Result<(), AmqpError> {
        let what = format!("queue '{}' in vhost '{}'", topic.name, self.vhost());
        let (prefetch, prefetch_all) = {
            let channel = self.channel(number)?;
            (channel.prefetch, channel.prefetch_all)
        };
        if method.no_ack {
            let text = format!("automatic acknowledgement not supported by stream queues: {what}");
            return Err(AmqpError::not_implemented(text));
        }
        if prefetch == 0 {
            return Err(AmqpError::precondition(format_args!(
                "consumer prefetch count is not set for {what}"
            )));
        }
        if prefetch_all > 0 {
            return Err(AmqpError::not_implemented(format_args!("{what} does not support global qos")));
        }
        if method.exclusive {
            return Err(AmqpError::refused(format_args!("{what} is read by all who want to")));
        }
        if self.consumers.len() + self.readers.len() >= CONSUMERS {
            let text = format!("more than {CONSUMERS} consumers");
            return Err(AmqpError::new(ReplyCode::ResourceError, text));
        }
        let from = beginning(method.arguments.get("x-stream-offset"), &what, self.broker.now())?;
        let tag = self.consumer_tag(number, method)?;
        let broker = self.broker.clone();
        let no_wait = method.no_wait;
        let (of, finding) = (Arc::clone(&topic), Arc::clone(&topic));
        let found = async move {
            let found = tokio::task::spawn_blocking(move || find(&broker, &finding, from)).await;
            Ok(found.unwrap_or(Err(Failed::Lost))?)
        };
        self.operate(number, BasicConsume::ID, found, move |session, cursors| {
            session.begin_reading(number, tag, of, prefetch, cursors, no_wait)
        });
        Ok(())
    }

    fn begin_reading(
        &mut self,
        number: u16,
        tag: ShortString,
        topic: Arc<Topic>,
        prefetch: u16,
        cursors: Vec<Cursor>,
        no_wait: bool,
    ) -> Result<(), AmqpError> {
        let serial = self.next_serial();
        self.channel(number)?.consumers.insert(tag.clone(), serial);
        self.registry.read(
            self.id,
            Consuming {
                source: topic.id.into(),
                channel: number,
                tag: tag.as_str().unwrap_or_default().to_owned(),
                ack_required: true,
                exclusive: false,
                prefetch,
                priority: 0,
                state: ConsumerState::Up,
            },
        );
        if !no_wait {
            BasicConsumeOk { consumer_tag: tag.as_short() }.write(&mut self.said, number);
        }
        let reader = Reader {
            channel: number,
            tag,
            topic,
            prefetch,
            unacknowledged: 0,
            ahead: VecDeque::new(),
            cursors,
            reading: None,
        };
        self.readers.insert(serial, reader);
        self.hungry.insert(serial);
        Ok(())
    }

    /// Takes a reader away; false if there is none.
    pub(super) fn take_reader(&mut self, serial: u64) -> bool {
        let Some(reader) = self.readers.remove(&serial) else { return false };
        if let Some(reading) = &reader.reading {
            reading.abort();
        }
        if let Some(channel) = self.channels.get_mut(&reader.channel) {
            channel.consumers.remove(&reader.tag);
        }
        self.registry.leave(reader.topic.id.into(), self.id, reader.channel, reader.tag.as_str());
        true
    }

    /// A delivery is acknowledged; false if it is not of a reader.
    pub(super) fn credit_reader(&mut self, serial: u64) -> bool {
        let Some(reader) = self.readers.get_mut(&serial) else { return false };
        reader.unacknowledged = reader.unacknowledged.saturating_sub(1);
        self.flowing.insert(serial);
        true
    }

    /// Begins reads, and takes what they have brought.
    pub(super) fn poll_reading(&mut self, waiting: &mut Context<'_>) {
        loop {
            for serial in std::mem::take(&mut self.hungry) {
                self.begin_read(serial);
            }
            let Poll::Ready(Some((serial, read))) = self.reading.poll_next_unpin(waiting) else { return };
            let Ok(read) = read else { continue };
            self.take_read(serial, read);
        }
    }

    fn begin_read(&mut self, serial: u64) {
        let Some(reader) = self.readers.get_mut(&serial) else { return };
        if reader.reading.is_some() || self.stage != Stage::Running {
            return;
        }
        let cursors = std::mem::take(&mut reader.cursors);
        let (reading, handle) = abortable(read(self.broker.clone(), self.budget.clone(), cursors));
        reader.reading = Some(handle);
        self.reading.push(Box::pin(async move { (serial, reading.await) }));
    }

    fn take_read(&mut self, serial: u64, read: Result<Chunk, Failed>) {
        let Some(reader) = self.readers.get_mut(&serial) else { return };
        reader.reading = None;
        let number = reader.channel;
        match read {
            Ok(Chunk { cursors, records, room }) => {
                reader.cursors = cursors;
                let (last, mut room) = (records.len().saturating_sub(1), Some(room));
                for (index, record) in records.into_iter().enumerate() {
                    let _room = if index == last { room.take() } else { None };
                    reader.ahead.push_back(Piece { record, _room });
                }
                self.flowing.insert(serial);
            }
            Err(Failed::Fetch(FetchError::NotFound(_))) => self.cancel_by_server(serial),
            Err(failed) => self.fail(number, BasicConsume::ID, &failed.into()),
        }
    }

    /// Writes what readers have credit for, as far as there is room.
    pub(super) fn write_read(&mut self, out: &mut Vec<u8>, room: usize) {
        let mut written = 0;
        while out.len() < room
            && let Some(serial) = self.flowing.pop_first()
        {
            written += self.write_of(serial, out, room);
        }
        if written > 0 {
            self.registry.counts.messages_out.fetch_add(written, Ordering::Relaxed);
        }
    }

    fn write_of(&mut self, serial: u64, out: &mut Vec<u8>, room: usize) -> u64 {
        let since = self.broker.clock().now().monotonic;
        let Some(reader) = self.readers.get_mut(&serial) else { return 0 };
        let Some(channel) = self.channels.get_mut(&reader.channel) else { return 0 };
        let mut written = 0;
        while reader.unacknowledged < u32::from(reader.prefetch)
            && channel.credit() > 0
            && let Some(piece) = reader.ahead.pop_front()
        {
            let held = Unacknowledged { lease: None, consumer: Some(serial), since };
            let delivery_tag = channel.deliver(Some(held));
            reader.unacknowledged += 1;
            let record = &piece.record;
            let delivered = Delivered { record, attempts: 1, stream_offset: Some(record.offset) };
            let address = convert::message(delivered, &reader.topic.name, &mut self.scratch);
            let deliver = BasicDeliver {
                consumer_tag: reader.tag.as_short(),
                delivery_tag,
                redelivered: false,
                exchange: address.exchange,
                routing_key: address.routing_key,
            };
            let body = record.value.as_deref().unwrap_or_default();
            write_deliver(out, reader.channel, &deliver, &self.scratch.properties, body, self.frame_max);
            written += 1;
            if out.len() >= room {
                self.flowing.insert(serial);
                break;
            }
        }
        if reader.reading.is_none() && reader.ahead.len() <= CONSUMER_BUFFER as usize / 2 {
            self.hungry.insert(serial);
        }
        written
    }

    /// Readers of streams that have gone.
    pub(super) fn readers_left_behind(&self) -> Vec<u64> {
        let catalog = self.broker.catalog();
        let is_gone = |it: &Reader| !catalog.topic_by_id(it.topic.id).is_some_and(|topic| is_stream(topic));
        self.readers.iter().filter(|(_, it)| is_gone(it)).map(|(serial, _)| *serial).collect()
    }
}

/// Where a consumer wants to begin; without an argument at what comes next.
fn beginning(argument: Option<ValueRef<'_>>, what: &str, now: Timestamp) -> Result<Beginning, AmqpError> {
    let Some(value) = argument else { return Ok(Beginning::Start(Start::Latest)) };
    let named = value.as_str().and_then(|text| match text {
        "first" => Some(Beginning::Start(Start::Earliest)),
        "next" => Some(Beginning::Start(Start::Latest)),
        "last" => Some(Beginning::LastBatch),
        age => {
            let ago = i64::try_from(age_ms(age)?).ok()?;
            Some(Beginning::Start(Start::Time(Timestamp(now.0.saturating_sub(ago)))))
        }
    });
    let time = match value {
        ValueRef::Scalar(Scalar::Timestamp(seconds)) => i64::try_from(seconds)
            .ok()
            .and_then(|it| it.checked_mul(1_000))
            .map(|ms| Beginning::Start(Start::Time(Timestamp(ms)))),
        _ => None,
    };
    let offset = value
        .as_integer()
        .and_then(|it| u64::try_from(it).ok())
        .map(|it| Beginning::Start(Start::Offset(Offset(it))));
    named.or(time).or(offset).ok_or_else(|| {
        AmqpError::precondition(format_args!(
            "invalid arg 'x-stream-offset' for {what}: it is first, last, next, an offset, a timestamp or an age"
        ))
    })
}

/// The place in every partition. May touch the disk.
fn find(broker: &Session, topic: &Topic, from: Beginning) -> Result<Vec<Cursor>, Failed> {
    let find = |partition: &PartitionId| {
        let partition = *partition;
        let bounds = broker.bounds(partition).ok_or(Failed::Fetch(FetchError::NotFound(partition)))?;
        let next = match from {
            Beginning::Start(Start::Earliest) => bounds.start,
            Beginning::Start(Start::Latest) => bounds.end,
            Beginning::Start(Start::Offset(offset)) => offset.max(bounds.start),
            Beginning::Start(Start::Time(at)) => {
                let found = broker.offset_at(partition, at).map_err(Failed::Fetch)?;
                found.map_or(bounds.end, |it| it.offset)
            }
            Beginning::LastBatch if bounds.start >= bounds.end => bounds.end,
            Beginning::LastBatch => {
                let last = Offset(bounds.end.0 - 1);
                let ask = ReadAsk {
                    partition,
                    from: last,
                    bytes_max: 1,
                    isolation: duolog_broker::Isolation::ReadUncommitted,
                };
                let read = broker.read(ask).map_err(Failed::Fetch)?;
                read.batches.first().map_or(last, |it| it.base.max(bounds.start))
            }
        };
        Ok(Cursor { partition, next })
    };
    topic.partitions.iter().map(find).collect()
}

/// Waits until there is something, and reads as much as one chunk takes.
async fn read(broker: Session, budget: Budget, mut cursors: Vec<Cursor>) -> Result<Chunk, Failed> {
    let mut bytes_max = CONSUMER_BUFFER_BYTES;
    loop {
        let beyond: Vec<_> = cursors.iter().map(|it| (it.partition, it.next)).collect();
        broker.readable(&beyond).await;
        let mut room = budget.reserve(bytes_max).await?;
        let (reader, from) = (broker.clone(), cursors.clone());
        let read = tokio::task::spawn_blocking(move || read_some(&reader, from, bytes_max)).await;
        let read = read.unwrap_or(Err(Failed::Lost))?;
        if read.bytes > bytes_max {
            // One large record: once more, with room for it.
            bytes_max = read.bytes;
            continue;
        }
        cursors = read.cursors;
        if read.records.is_empty() {
            continue;
        }
        room.shrink_to(read.bytes);
        // The one that comes first has its turn last the next time.
        cursors.rotate_left(1);
        return Ok(Chunk { cursors, records: read.records, room });
    }
}

/// What was found at the cursors.
struct Found {
    cursors: Vec<Cursor>,
    records: Vec<Record>,
    bytes: usize,
}

/// Reads what is there, at most so many bytes unless the first record alone has more. Blocks.
fn read_some(broker: &Session, mut cursors: Vec<Cursor>, bytes_max: usize) -> Result<Found, Failed> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for cursor in &mut cursors {
        let partition = cursor.partition;
        let bounds = broker.bounds(partition).ok_or(Failed::Fetch(FetchError::NotFound(partition)))?;
        let from = cursor.next.max(bounds.start);
        if from >= bounds.end {
            continue;
        }
        let mut is_full = false;
        let scanned = broker.scan(partition, from, |found| {
            let record = match found {
                Ok(record) => record,
                Err(gap) => {
                    tracing::warn!(%partition, from = %gap.offsets.start, until = %gap.offsets.end, error = %gap.error,
                        "a consumer of a stream passes over what is damaged");
                    cursor.next = gap.offsets.end;
                    return ControlFlow::Continue(());
                }
            };
            let takes = bytes_of(&record);
            if records.len() >= CONSUMER_BUFFER as usize || (!records.is_empty() && bytes + takes > bytes_max) {
                is_full = true;
                return ControlFlow::Break(());
            }
            bytes += takes;
            cursor.next = record.offset.plus(1);
            records.push(record);
            ControlFlow::Continue(())
        });
        match scanned {
            // All that was there has been seen, though the last offsets may have no records.
            Ok(()) if !is_full => cursor.next = cursor.next.max(bounds.end),
            Ok(()) => break,
            // What was there has been deleted meanwhile: it goes on where the partition begins now.
            Err(FetchError::OutOfRange { start, .. }) => cursor.next = cursor.next.max(start),
            Err(error) => return Err(Failed::Fetch(error)),
        }
    }
    Ok(Found { cursors, records, bytes })
}

fn bytes_of(record: &Record) -> usize {
    let size = |it: &Option<Bytes>| it.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|it| it.key.len() + size(&it.value)).sum();
    size(&record.key) + size(&record.value) + headers + size_of::<Record>()
}
