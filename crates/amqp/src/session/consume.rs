//! Consumers: each leases as much as it has credit for, and what is leased is delivered as fast as the client takes it.
//!
//! Invariant: `buffered` of a consumer and of its channel counts what it has asked for and what waits to be delivered; what was
//! leased and cannot be delivered any more goes back as if it had not been.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use duolog_broker::errors::LeaseError;
use duolog_broker::{LeaseAsk, Leased, Outcome, Queue, QueueId, Standing};
use duolog_net::{OverBudget, Reservation};
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable};

use super::channel::Unacknowledged;
use super::{AmqpSession, Stage};
use crate::codec::method::{
    BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicDeliver, BasicGet, BasicGetEmpty,
    BasicGetOk, BasicQos,
};
use crate::codec::{ReplyCode, ShortString, write_deliver, write_with_content};
use crate::convert;
use crate::error::AmqpError;
use crate::labels;
use crate::limits::{
    CONSUMER_BUFFER, CONSUMER_BUFFER_BYTES, CONSUMER_LINE, CONSUMERS, LEASE_GRACE, READY_BYTES,
};
use crate::registry::{ConsumerState, Consuming};
use crate::replies::REPLY_TO;

/// One who consumes.
pub(super) struct Consumer {
    pub(super) channel: u16,
    pub(super) tag: ShortString,
    pub(super) queue: Arc<Queue>,
    /// Deliveries are acknowledged by being written.
    no_ack: bool,
    /// 0 is no limit.
    prefetch: u16,
    unacknowledged: u32,
    /// Asked for, or leased and not delivered yet.
    buffered: u32,
    /// It waits in line.
    asking: Option<AbortHandle>,
    /// Between its leases as well.
    standing: Arc<Standing>,
}

/// Why nothing was leased.
#[derive(Debug)]
pub(super) enum Failed {
    Lease(LeaseError),
    Memory(OverBudget),
}

impl From<LeaseError> for Failed {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error)
    }
}

type Brought = Result<Result<(Vec<Leased>, Option<Reservation>), Failed>, Aborted>;

/// A lease on its way: the consumer, how many it asked for, what came. Its standing lasts until what it does not take has gone
/// back, so that the next finds that in its place.
pub(super) type Leasing = Pin<Box<dyn Future<Output = (u64, u32, Brought, Arc<Standing>)> + Send>>;

/// Leased, and not delivered yet.
pub(super) struct Ready {
    consumer: u64,
    leased: Leased,
    bytes: usize,
    /// Memory that it takes together with those before it that came with it.
    _room: Option<Reservation>,
}

impl Consumer {
    fn credit(&self) -> u32 {
        let room = CONSUMER_BUFFER.saturating_sub(self.buffered);
        match self.prefetch {
            0 => room,
            most => {
                room.min(u32::from(most).saturating_sub(self.unacknowledged.saturating_add(self.buffered)))
            }
        }
    }
}

impl AmqpSession {
    pub(super) fn qos(&mut self, number: u16, method: BasicQos) -> Result<(), AmqpError> {
        if method.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", method.prefetch_size);
            return Err(AmqpError::not_implemented(text));
        }
        let channel = self.channel(number)?;
        if method.global {
            channel.prefetch_all = method.prefetch_count;
            let consumers: Vec<u64> = channel.consumers.values().copied().collect();
            self.wanting.extend(consumers);
        } else {
            channel.prefetch = method.prefetch_count;
        }
        Ok(())
    }

    pub(super) fn consume(&mut self, number: u16, method: &BasicConsume<'_>) -> Result<(), AmqpError> {
        if method.queue == REPLY_TO {
            let tag = self.consumer_tag(number, method)?;
            return self.consume_replies(number, method, tag);
        }
        if let Some(topic) = self.stream_named(number, method.queue)? {
            return self.consume_stream(number, method, topic);
        }
        let queue = self.queue_named(number, method.queue)?;
        let priority = self.priority_of(method, &queue)?;
        if self.consumers.len() + self.readers.len() >= CONSUMERS {
            return Err(AmqpError::new(
                ReplyCode::ResourceError,
                format_args!("more than {CONSUMERS} consumers"),
            ));
        }
        let tag = self.consumer_tag(number, method)?;
        let consuming = Consuming {
            source: queue.id.into(),
            channel: number,
            tag: tag.as_str().unwrap_or_default().to_owned(),
            ack_required: !method.no_ack,
            exclusive: method.exclusive,
            prefetch: self.channel(number)?.prefetch,
            priority,
            state: ConsumerState::Up,
        };
        let is_single = labels::is_single_active(&queue);
        let woken = Waker::from(Arc::clone(&self.bell));
        let standing = Arc::new(self.broker.stand(queue.id, priority, is_single, woken)?);
        self.registry.consume(&queue, self.id, consuming, Arc::downgrade(&standing))?;
        let serial = self.next_serial();
        let channel = self.channel(number)?;
        let prefetch = channel.prefetch;
        channel.consumers.insert(tag.clone(), serial);
        if !method.no_wait {
            BasicConsumeOk { consumer_tag: tag.as_short() }.write(&mut self.said, number);
        }
        let no_ack = method.no_ack;
        self.consumers.insert(
            serial,
            Consumer {
                channel: number,
                tag,
                queue,
                no_ack,
                prefetch,
                unacknowledged: 0,
                buffered: 0,
                asking: None,
                standing,
            },
        );
        self.wanting.insert(serial);
        Ok(())
    }

    /// The tag that a method names, or a new one.
    pub(super) fn consumer_tag(
        &mut self,
        number: u16,
        method: &BasicConsume<'_>,
    ) -> Result<ShortString, AmqpError> {
        let tag = if method.consumer_tag.is_empty() {
            ShortString::cut(&self.registry.new_name("amq.ctag-"))
        } else {
            method.consumer_tag.to_owned()
        };
        let channel = self.channel(number)?;
        if channel.consumers.contains_key(&tag) || channel.replies.as_ref().is_some_and(|it| it.tag == tag) {
            let text = format!("attempt to reuse consumer tag '{}'", tag.as_str().unwrap_or_default());
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        Ok(tag)
    }

    pub(super) fn cancel(&mut self, number: u16, method: &BasicCancel<'_>) -> Result<(), AmqpError> {
        let tag = method.consumer_tag.to_owned();
        if self.channel(number)?.replies.as_ref().is_some_and(|it| it.tag == tag) {
            self.leave_replies(number);
        }
        let known = self.channel(number)?.consumers.get(&tag).copied();
        let deleting = known.and_then(|serial| self.take_consumer(serial));
        let no_wait = method.no_wait;
        let answer = move |session: &mut Self, ()| {
            if !no_wait {
                BasicCancelOk { consumer_tag: tag.as_short() }.write(&mut session.said, number);
            }
            Ok(())
        };
        match deleting {
            // The queue that goes with its last consumer is gone when this is answered.
            Some(deleting) => self.operate(number, BasicCancel::ID, deleting, answer),
            None => answer(self, ())?,
        }
        Ok(())
    }

    /// Takes a consumer away; the queue that goes with it is deleted meanwhile.
    pub(super) fn remove_consumer(&mut self, serial: u64) {
        if let Some(deleting) = self.take_consumer(serial) {
            super::go_on_with(deleting);
        }
    }

    /// Takes a consumer away. What it was delivered stays with its channel. Gives the deletion of the queue that goes with it,
    /// which has begun.
    fn take_consumer(
        &mut self,
        serial: u64,
    ) -> Option<impl Future<Output = Result<(), AmqpError>> + Send + 'static + use<>> {
        if self.take_reader(serial) {
            return None;
        }
        let consumer = self.consumers.remove(&serial)?;
        if let Some(asking) = &consumer.asking {
            asking.abort();
        }
        if let Some(channel) = self.channels.get_mut(&consumer.channel) {
            channel.consumers.remove(&consumer.tag);
            channel.buffered = channel.buffered.saturating_sub(consumer.buffered);
            if channel.prefetch_all > 0 {
                self.wanting.extend(channel.consumers.values());
            }
        }
        let mut back = Vec::new();
        self.ready.retain(|it| {
            let stays = it.consumer != serial;
            if !stays {
                self.ready_bytes -= it.bytes;
                back.push(it.leased.id);
            }
            stays
        });
        self.broker.give_back(consumer.queue.id, back);
        self.leaving.push(consumer.standing);
        let queue = &consumer.queue;
        if !self.registry.leave(queue.id.into(), self.id, consumer.channel, consumer.tag.as_str())
            || !labels::is_auto_delete(&queue.labels)
        {
            return None;
        }
        self.registry.disown(queue.id.into());
        Some(super::queues::delete(&self.broker, queue.id))
    }

    /// Lines up all that may have credit.
    pub(super) fn ask_for_all(&mut self) {
        for number in std::mem::take(&mut self.sharing) {
            if let Some(channel) = self.channels.get(&number) {
                self.wanting.extend(channel.consumers.values());
            }
        }
        for serial in std::mem::take(&mut self.wanting) {
            self.ask_for(serial);
        }
    }

    /// Lines a consumer up for as much as it has credit for.
    pub(super) fn ask_for(&mut self, serial: u64) {
        let Some(consumer) = self.consumers.get_mut(&serial) else {
            self.flowing.insert(serial);
            return;
        };
        let Some(channel) = self.channels.get_mut(&consumer.channel) else { return };
        let count = consumer.credit().min(channel.credit());
        if consumer.asking.is_some() {
            return;
        }
        if count == 0 || self.stage != Stage::Running {
            return consumer.standing.lose_credit();
        }
        if !consumer.standing.is_active() {
            self.benched.insert(serial);
            return;
        }
        if self.ready_bytes > READY_BYTES {
            // Asked for once some of it is written.
            self.waiting_for_room.insert(serial);
            return consumer.standing.lose_credit();
        }
        consumer.standing.gain_credit();
        let ask = LeaseAsk {
            priority: consumer.standing.priority(),
            ..lease_of(consumer.queue.id, count, CONSUMER_LINE, self.registry.options().consumer_timeout)
        };
        consumer.buffered += count;
        channel.buffered += count;
        let (broker, budget) = (self.broker.clone(), self.budget.clone());
        let (leasing, handle) = abortable(async move {
            let reserve = |bytes| {
                let budget = budget.clone();
                async move { budget.reserve(bytes).await.map_err(Failed::Memory) }
            };
            broker.lease_within(ask, CONSUMER_BUFFER_BYTES, reserve).await
        });
        consumer.asking = Some(handle);
        let standing = Arc::clone(&consumer.standing);
        self.leasing.push(Box::pin(async move { (serial, count, leasing.await, standing) }));
    }

    /// Takes what was leased.
    pub(super) fn poll_leases(&mut self, waiting: &mut Context<'_>) {
        self.call_up(waiting);
        loop {
            self.ask_for_all();
            let Poll::Ready(Some((serial, count, brought, _standing))) =
                self.leasing.poll_next_unpin(waiting)
            else {
                return;
            };
            let Ok(brought) = brought else { continue };
            self.take_leased(serial, count, brought);
        }
    }

    /// Consumers that wait to be the active one, and are now.
    fn call_up(&mut self, waiting: &mut Context<'_>) {
        if self.benched.is_empty() {
            return;
        }
        // First, so that one which becomes active behind the look wakes the session.
        self.bell.waker.register(waiting.waker());
        let is_called = |serial: &u64| self.consumers.get(serial).is_none_or(|it| it.standing.is_active());
        let called: Vec<u64> = self.benched.iter().copied().filter(is_called).collect();
        for serial in called {
            self.benched.remove(&serial);
            self.wanting.insert(serial);
        }
    }

    /// The priority of a consumer. Source: RabbitMQ documentation, "Consumer Priorities".
    fn priority_of(&self, method: &BasicConsume<'_>, queue: &Queue) -> Result<i64, AmqpError> {
        let Some(value) = method.arguments.get("x-priority") else { return Ok(0) };
        value.as_integer().ok_or_else(|| {
            AmqpError::precondition(format_args!(
                "invalid arg 'x-priority' for queue '{}' in vhost '{}': it is no whole number",
                queue.name,
                self.vhost()
            ))
        })
    }

    fn take_leased(
        &mut self,
        serial: u64,
        count: u32,
        brought: Result<(Vec<Leased>, Option<Reservation>), Failed>,
    ) {
        let Some(consumer) = self.consumers.get_mut(&serial) else {
            // It went while this was on its way.
            if let Ok((leased, _)) = brought
                && let Some(first) = leased.first()
            {
                self.broker.give_back(first.id.queue, leased.iter().map(|it| it.id).collect());
            }
            return;
        };
        consumer.asking = None;
        let number = consumer.channel;
        let came = brought.as_ref().map_or(0, |(leased, _)| u32::try_from(leased.len()).unwrap_or(count));
        consumer.buffered = consumer.buffered.saturating_sub(count - came.min(count));
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.buffered = channel.buffered.saturating_sub(count - came.min(count));
        }
        match brought {
            Ok((leased, mut room)) => {
                let last = leased.len().saturating_sub(1);
                for (index, leased) in leased.into_iter().enumerate() {
                    let room = if index == last { room.take() } else { None };
                    let bytes = leased.record.value.as_ref().map_or(0, Bytes::len);
                    self.ready_bytes += bytes;
                    self.ready.push_back(Ready { consumer: serial, leased, bytes, _room: room });
                }
                self.wanting.insert(serial);
            }
            Err(Failed::Lease(LeaseError::NotFound)) => self.cancel_by_server(serial),
            Err(Failed::Lease(error)) => self.fail(number, BasicConsume::ID, &error.into()),
            Err(Failed::Memory(error)) => {
                self.fail(number, BasicConsume::ID, &AmqpError::new(ReplyCode::ResourceError, error));
            }
        }
    }

    /// Writes what is ready, as far as there is room.
    pub(super) fn write_deliveries(&mut self, out: &mut Vec<u8>, room: usize) {
        let now = self.broker.clock().now().monotonic;
        let mut written = 0;
        while out.len() < room
            && let Some(Ready { consumer: serial, leased, bytes, _room }) = self.ready.pop_front()
        {
            self.ready_bytes -= bytes;
            let Some(consumer) = self.consumers.get_mut(&serial) else { continue };
            let Some(channel) = self.channels.get_mut(&consumer.channel) else { continue };
            consumer.buffered = consumer.buffered.saturating_sub(1);
            channel.buffered = channel.buffered.saturating_sub(1);
            let held = Unacknowledged { lease: Some(leased.id), consumer: Some(serial), since: now };
            let delivery_tag = channel.deliver((!consumer.no_ack).then_some(held));
            if consumer.no_ack {
                self.settles.entry(leased.id.queue).or_default().push((leased.id, Outcome::Ack));
            } else {
                consumer.unacknowledged += 1;
            }
            let address = convert::message((&leased).into(), &consumer.queue.name, &mut self.scratch);
            let deliver = BasicDeliver {
                consumer_tag: consumer.tag.as_short(),
                delivery_tag,
                redelivered: leased.attempts > 1,
                exchange: address.exchange,
                routing_key: address.routing_key,
            };
            let body = leased.record.value.as_deref().unwrap_or_default();
            write_deliver(out, consumer.channel, &deliver, &self.scratch.properties, body, self.frame_max);
            written += 1;
            if consumer.asking.is_none() && consumer.buffered <= CONSUMER_BUFFER / 2 {
                self.wanting.insert(serial);
            }
        }
        if self.ready_bytes <= READY_BYTES {
            self.wanting.append(&mut self.waiting_for_room);
        }
        if written > 0 {
            self.registry.counts.messages_out.fetch_add(written, Ordering::Relaxed);
        }
    }

    /// A delivery is no longer held: its consumer has credit again.
    pub(super) fn credit(&mut self, it: &Unacknowledged, number: u16) {
        if let Some(serial) = it.consumer
            && !self.credit_reader(serial)
            && let Some(consumer) = self.consumers.get_mut(&serial)
        {
            consumer.unacknowledged = consumer.unacknowledged.saturating_sub(1);
            self.wanting.insert(serial);
        }
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.consumed = channel.consumed.saturating_sub(u32::from(it.consumer.is_some()));
        // All of the channel share its credit.
        if channel.prefetch_all > 0 {
            self.sharing.insert(number);
        }
    }

    pub(super) fn get(&mut self, number: u16, method: &BasicGet<'_>) -> Result<(), AmqpError> {
        self.refuse_stream(number, method.queue, "basic.get")?;
        let queue = self.queue_named(number, method.queue)?;
        self.registry.touch(queue.id);
        let (broker, no_ack) = (self.broker.clone(), method.no_ack);
        let ask = lease_of(queue.id, 1, Duration::ZERO, self.registry.options().consumer_timeout);
        let id = queue.id;
        let got = async move {
            // The lease last: nobody would give it back if this ended behind it.
            let ready = ready_in(&broker, id).await?;
            let leased = broker.lease(ask).await?.into_iter().next();
            Ok((leased, ready.saturating_sub(1)))
        };
        self.operate(number, BasicGet::ID, got, move |session, (leased, left)| {
            match leased {
                Some(leased) => session.write_got(number, &queue, no_ack, &leased, left),
                None => BasicGetEmpty::default().write(&mut session.said, number),
            }
            Ok(())
        });
        Ok(())
    }

    fn write_got(&mut self, number: u16, queue: &Queue, no_ack: bool, leased: &Leased, left: u32) {
        let Some(channel) = self.channels.get_mut(&number).filter(|it| !it.is_closing) else {
            return self.broker.give_back(queue.id, vec![leased.id]);
        };
        let since = self.broker.clock().now().monotonic;
        let held = Unacknowledged { lease: Some(leased.id), consumer: None, since };
        let delivery_tag = channel.deliver((!no_ack).then_some(held));
        if no_ack {
            self.settle(&held, Outcome::Ack);
        }
        self.registry.counts.messages_out.fetch_add(1, Ordering::Relaxed);
        let address = convert::message(leased.into(), &queue.name, &mut self.scratch);
        let got = BasicGetOk {
            delivery_tag,
            redelivered: leased.attempts > 1,
            exchange: address.exchange,
            routing_key: address.routing_key,
            message_count: left,
        };
        let body = leased.record.value.as_deref().unwrap_or_default();
        write_with_content(&mut self.said, number, &got, &self.scratch.properties, body, self.frame_max);
    }
}

/// A lease that lasts until after its channel would be closed for it, and ends with the broker.
fn lease_of(queue: QueueId, count: u32, wait: Duration, consumer_timeout: Duration) -> LeaseAsk {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let visibility_ms = Some(ms(consumer_timeout + LEASE_GRACE));
    LeaseAsk { queue, count, visibility_ms, wait_ms: ms(wait), attempt: None, priority: 0, bound: true }
}

/// Messages that could be delivered now.
pub(super) async fn ready_in(broker: &duolog_broker::Session, queue: QueueId) -> Result<u32, AmqpError> {
    let depth = broker.depth(queue).await?;
    Ok(u32::try_from(depth.available).unwrap_or(u32::MAX))
}
