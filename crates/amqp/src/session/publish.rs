//! From `basic.publish` to its confirmation.
//!
//! Invariant: messages are handed to the broker in the order in which they came, and confirmed in it: an acknowledgement never goes
//! out before the commit is durable, and one for several covers none that is open.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use duolog_broker::errors::AppendError;
use duolog_broker::routing::Seen;
use duolog_broker::{Gate, Monotonic, NewRecord, Pending, Routed, TopicId};
use duolog_net::Reservation;

use super::{AmqpSession, delayed, transactions};
use crate::codec::method::{BasicAck, BasicNack, BasicPublish, BasicReturn};
use crate::codec::{ContentHeader, Properties, RawTable, ReplyCode, ShortStr, ValueRef, write_with_content};
use crate::convert::{self, Copying, Keep};
use crate::error::AmqpError;
use crate::labels;
use crate::limits::{BODY_PATIENCE, PUBLISH_BYTES, PUBLISH_RECORDS};
use crate::replies::ADDRESSES;
use duolog_broker::limits::ROUTED_PLACES;
use duolog_record::limits::HEADERS_PER_RECORD;

/// The `delivery_mode` of messages that outlive the broker.
const PERSISTENT: u8 = 2;
/// Bodies up to here are not reserved for: what a connection reads at a time.
const FREE_BODY_BYTES: u64 = 64 << 10;
/// Keys of more queues, some of them not to be seen by receivers.
const COPIES: [&str; 2] = ["CC", "BCC"];

/// What has come in one input: copied as a whole when the first part of it is kept.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    shared: OnceCell<Bytes>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: OnceCell::new() }
    }
}

impl Keep for Source<'_> {
    fn keep(&self, part: &[u8]) -> Bytes {
        let at = part.as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        if self.bytes.get(at..at.saturating_add(part.len())).is_none() {
            return Copying.keep(part);
        }
        let shared = self.shared.get_or_init(|| Bytes::copy_from_slice(self.bytes));
        shared.slice(at..at + part.len())
    }
}

/// A message of which not all has come.
pub(super) struct Publishing {
    exchange: Bytes,
    key: Bytes,
    mandatory: bool,
    /// Once the header has come: properties, encoded, and the size of the body.
    header: Option<(Bytes, u64)>,
    body: Vec<u8>,
    room: Option<Reservation>,
    /// When a part of it has come last.
    moved_at: Monotonic,
}

impl Publishing {
    /// Memory is held for its body.
    pub(super) fn has_room(&self) -> bool {
        self.room.is_some()
    }

    /// It holds memory, and nothing of it has come for too long.
    pub(super) fn is_stuck(&self, now: Monotonic) -> bool {
        self.room.is_some() && Duration::from_millis(now.ms_since(self.moved_at)) > BODY_PATIENCE
    }

    pub(super) fn expects_header(&self) -> bool {
        self.header.is_none()
    }
}

/// Who is told what became of a message.
#[derive(Clone, Copy, Debug)]
struct Mark {
    channel: u16,
    serial: u64,
    /// If it is to be confirmed.
    tag: Option<u64>,
    /// Its place among the records; `None` if it went nowhere.
    index: Option<usize>,
}

/// A message that has come whole.
struct Message {
    exchange: Bytes,
    key: Bytes,
    mandatory: bool,
    /// Encoded.
    properties: Bytes,
    body: Bytes,
}

impl Message {
    /// It may have to wait for long.
    fn apart(self) -> Self {
        let [exchange, key, properties, body] =
            [&self.exchange, &self.key, &self.properties, &self.body].map(convert::apart);
        Self { exchange, key, properties, body, mandatory: self.mandatory }
    }
}

/// The same once it is known where it goes.
pub(super) struct Outgoing {
    /// `None` if no queue takes it.
    pub(super) routed: Option<Routed>,
    /// It comes back.
    pub(super) unroutable: Option<Unroutable>,
    /// Stored bytes, about.
    pub(super) bytes: usize,
    pub(super) room: Option<Reservation>,
}

/// A mandatory message that comes back.
pub(super) struct Unroutable {
    exchange: Bytes,
    key: Bytes,
    /// Encoded.
    properties: Bytes,
    body: Bytes,
}

impl Unroutable {
    /// Appends its `basic.return`.
    pub(super) fn write(&self, out: &mut Vec<u8>, channel: u16, frame_max: u32) {
        let returned = BasicReturn {
            reply_code: ReplyCode::NoRoute.number(),
            reply_text: ShortStr::cut(ReplyCode::NoRoute.name()),
            exchange: ShortStr::new(&self.exchange).unwrap_or_default(),
            routing_key: ShortStr::new(&self.key).unwrap_or_default(),
        };
        write_with_content(out, channel, &returned, &self.properties, &self.body, frame_max);
    }
}

/// Messages on their way to the broker.
#[derive(Default)]
pub(super) struct Gathered {
    records: Vec<Routed>,
    marks: Vec<Mark>,
    bytes: usize,
    /// Places that the records take in topics.
    places: usize,
    rooms: Vec<Reservation>,
}

/// One for each message, or one for all.
type Results = Result<Vec<Result<(), AppendError>>, AppendError>;

/// Messages that the broker has.
pub(super) struct InFlight {
    pending: Option<Pending<Results>>,
    marks: Vec<Mark>,
    bytes: usize,
    _rooms: Vec<Reservation>,
}

impl AmqpSession {
    pub(super) fn publish(
        &mut self,
        number: u16,
        method: &BasicPublish<'_>,
        source: &Source<'_>,
    ) -> Result<(), AmqpError> {
        if method.immediate {
            return Err(AmqpError::not_implemented("immediate=true"));
        }
        let moved_at = self.broker.clock().now().monotonic;
        let channel = self.channel(number)?;
        channel.publishing = Some(Publishing {
            exchange: source.keep(method.exchange.as_bytes()),
            key: source.keep(method.routing_key.as_bytes()),
            mandatory: method.mandatory,
            header: None,
            body: Vec::new(),
            room: None,
            moved_at,
        });
        Ok(())
    }

    /// The header of a content. A channel that expects none is refused by the caller.
    pub(super) fn header(
        &mut self,
        number: u16,
        header: &ContentHeader<'_>,
        source: &Source<'_>,
    ) -> Result<(), AmqpError> {
        let most = self.registry.options().body_bytes_max;
        if header.body_size > most {
            let text = format!("message size {} is larger than configured max size {most}", header.body_size);
            return Err(AmqpError { method: Some(BasicPublish::ID), ..AmqpError::precondition(text) });
        }
        let properties = source.keep(header.properties);
        let size = header.body_size;
        let channel = self.channel(number)?;
        let Some(publishing) = &mut channel.publishing else { return Ok(()) };
        publishing.header = Some((properties, size));
        if size == 0 {
            return self.complete(number, Bytes::new());
        }
        if size > FREE_BODY_BYTES {
            let bytes = usize::try_from(size).unwrap_or(usize::MAX);
            if self.take_body_room(number, bytes)? {
                return Ok(());
            }
            self.has_published = true;
            let budget = self.budget.clone();
            let reserving = async move {
                budget.reserve(bytes).await.map_err(|error| AmqpError::new(ReplyCode::ResourceError, error))
            };
            self.wait_for(number, BasicPublish::ID, false, reserving, move |session, room| {
                if let Some(channel) = session.channels.get_mut(&number)
                    && let Some(publishing) = &mut channel.publishing
                {
                    publishing.room = Some(room);
                    publishing.moved_at = session.broker.clock().now().monotonic;
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Memory for a body, if it is free; false if it is to be waited for.
    ///
    /// # Errors
    /// `PreconditionFailed` if a transaction holds some that others wait for: then it is not to be waited for.
    fn take_body_room(&mut self, number: u16, bytes: usize) -> Result<bool, AmqpError> {
        let Ok(Some(room)) = self.budget.try_reserve(bytes) else {
            return if self.held_bytes() > 0 { Err(transactions::no_memory()) } else { Ok(false) };
        };
        let moved_at = self.broker.clock().now().monotonic;
        if let Some(publishing) = &mut self.channel(number)?.publishing {
            (publishing.room, publishing.moved_at) = (Some(room), moved_at);
        }
        Ok(true)
    }

    pub(super) fn body(&mut self, number: u16, piece: &[u8], source: &Source<'_>) -> Result<(), AmqpError> {
        let moved_at = self.broker.clock().now().monotonic;
        let channel = self.channel(number)?;
        let Some(publishing) = &mut channel.publishing else { return Ok(()) };
        let size =
            publishing.header.as_ref().map_or(0, |(_, size)| usize::try_from(*size).unwrap_or(usize::MAX));
        publishing.moved_at = moved_at;
        let has = publishing.body.len() + piece.len();
        if has > size {
            let text = format!("content body of {has} bytes where the header says {size}");
            return Err(AmqpError::new(ReplyCode::UnexpectedFrame, text));
        }
        if has < size {
            if publishing.body.is_empty() && publishing.room.is_some() {
                // It is paid for.
                publishing.body.reserve_exact(size);
            }
            publishing.body.extend_from_slice(piece);
            return Ok(());
        }
        let body = if publishing.body.is_empty() {
            source.keep(piece)
        } else {
            publishing.body.extend_from_slice(piece);
            std::mem::take(&mut publishing.body).into()
        };
        self.complete(number, body)
    }

    /// A message has come whole.
    fn complete(&mut self, number: u16, body: Bytes) -> Result<(), AmqpError> {
        let channel = self.channel(number)?;
        let Some(Publishing { exchange, key, mandatory, header, room, .. }) = channel.publishing.take()
        else {
            return Ok(());
        };
        let properties = header.map_or(Bytes::from_static(Properties::NONE), |(properties, _)| properties);
        let mut message = Message { exchange, key, mandatory, properties, body };
        if channel.transaction.is_some() {
            message = message.apart();
        }
        self.send(number, message, room)
            .map_err(|error| AmqpError { method: Some(error.method.unwrap_or(BasicPublish::ID)), ..error })
    }

    fn send(&mut self, number: u16, message: Message, room: Option<Reservation>) -> Result<(), AmqpError> {
        let Message { exchange, key, mandatory, properties: encoded, body } = message;
        let properties = decoded(&encoded)?;
        let addressed = self.with_address(number, &properties)?;
        let properties = addressed.as_ref().map_or(Ok(properties), decoded)?;
        let encoded = addressed.as_ref().unwrap_or(&encoded);
        self.check_properties(&properties)?;
        let topics = self.find(&exchange, &key, &properties, &body)?;
        if exchange.is_empty() {
            self.reply(&key, &properties, (&exchange, encoded, &body))?;
        }
        let delay_ms = self.delay_ms(&exchange, &properties);
        let is_returned = mandatory && (topics.is_empty() || delay_ms.is_some());
        let mut outgoing = Outgoing { routed: None, unroutable: None, bytes: body.len(), room };
        if is_returned {
            let (exchange, key, properties) = (exchange.clone(), key.clone(), encoded.clone());
            outgoing.unroutable = Some(Unroutable { exchange, key, properties, body: body.clone() });
        }
        if !topics.is_empty() {
            let mut record = record_of(&exchange, key, encoded, &properties, body)?;
            if let Some(ms) = delay_ms {
                delayed::delay(&mut record, ms);
            }
            // Source: AMQP 0-9-1, property `delivery-mode`: 2 is persistent; RabbitMQ takes one that is not given as 1.
            let is_persistent = properties.delivery_mode == Some(PERSISTENT);
            let relaxed = !is_persistent && self.channel(number)?.transaction.is_none();
            let routed = Routed { record, topics, relaxed, gate: Gate::Open };
            outgoing.bytes = routed.stored_bytes();
            outgoing.routed = Some(routed);
        }
        if self.channel(number)?.transaction.is_some() {
            return self.hold(number, outgoing);
        }
        self.gather(number, outgoing);
        Ok(())
    }

    /// Answers whom the keys name, at once: what is not stored is not part of a transaction, either.
    fn reply(
        &self,
        key: &Bytes,
        properties: &Properties<'_>,
        (exchange, encoded, body): (&Bytes, &Bytes, &Bytes),
    ) -> Result<(), AmqpError> {
        let is_address = |it: &&[u8]| it.starts_with(ADDRESSES.as_bytes());
        let copies = copies(properties.headers.unwrap_or_default())?;
        for to in std::iter::once(&**key).chain(copies).filter(is_address) {
            self.registry.addresses.post(to, (exchange, key), (encoded, body), &self.budget);
        }
        Ok(())
    }

    fn gather(&mut self, number: u16, message: Outgoing) {
        let Outgoing { routed, unroutable, bytes, room } = message;
        let places = routed.as_ref().map_or(0, |it| it.topics.len());
        if self.gathered.places + places > ROUTED_PLACES || self.gathered.bytes + bytes > PUBLISH_BYTES {
            self.flush_published();
        }
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let tag = channel.confirming;
        channel.confirming = tag.map(|tag| tag + 1);
        let mut mark = Mark { channel: number, serial: channel.serial, tag, index: None };
        if let Some(unroutable) = unroutable {
            unroutable.write(&mut self.said, number, self.frame_max);
        }
        if let Some(routed) = routed {
            mark.index = Some(self.gathered.records.len());
            self.gathered.places += places;
            self.gathered.records.push(routed);
            self.gathered.rooms.extend(room);
        }
        self.gathered.bytes += bytes;
        self.gathered.marks.push(mark);
        if self.gathered.marks.len() >= PUBLISH_RECORDS || self.gathered.bytes >= PUBLISH_BYTES {
            self.flush_published();
        }
    }

    fn check_properties(&self, properties: &Properties<'_>) -> Result<(), AmqpError> {
        if let Some(user) = properties.user_id
            && *user.as_bytes() != *self.user
        {
            let lossy = String::from_utf8_lossy;
            return Err(AmqpError::precondition(format_args!(
                "user_id property set to '{}' but authenticated user was '{}'",
                lossy(user.as_bytes()),
                lossy(&self.user)
            )));
        }
        let is_number =
            |it: &ShortStr<'_>| std::str::from_utf8(it.as_bytes()).is_ok_and(|it| it.parse::<u64>().is_ok());
        match properties.expiration.filter(|it| !is_number(it)) {
            Some(text) => {
                let text = String::from_utf8_lossy(text.as_bytes());
                Err(AmqpError::precondition(format_args!(
                    "invalid expiration '{text}': it is no number of milliseconds"
                )))
            }
            None => Ok(()),
        }
    }

    /// The topics that take a message.
    fn find(
        &mut self,
        exchange: &[u8],
        key: &[u8],
        properties: &Properties<'_>,
        body: &[u8],
    ) -> Result<Arc<[TopicId]>, AmqpError> {
        let table = properties.headers.unwrap_or_default();
        let copies = copies(table)?;
        if exchange.is_empty() {
            let find = |router: &mut duolog_broker::routing::Router, key: &[u8]| {
                router.addressed(&self.catalog, &self.namespace, key)
            };
            let mut found = find(&mut self.router, key);
            if !copies.is_empty() {
                let mut all = found.to_vec();
                all.extend(copies.iter().flat_map(|key| find(&mut self.router, key).to_vec()));
                all.sort_unstable();
                all.dedup();
                found = all.into();
            }
            return Ok(found);
        }
        let name = String::from_utf8_lossy(exchange);
        let known = self.catalog.exchange(&self.namespace, &name).cloned();
        let Some(exchange) = known else { return Err(self.no_exchange(&name)) };
        if labels::is_internal(&exchange) {
            let text = format!("cannot publish to internal exchange '{name}' in vhost '{}'", self.vhost());
            return Err(AmqpError::refused(text));
        }
        if copies.is_empty() && self.catalog.routes_by_key(exchange.id) {
            return Ok(self.router.route(&self.catalog, &exchange, key, &Seen::new(&[], body)));
        }
        // Headers or the body are looked at: here as the record will have them.
        let table = Properties { headers: properties.headers, ..Properties::default() };
        let headers = convert::record_headers(&table, ShortStr::EMPTY, &Copying);
        let keys: Vec<&[u8]> = std::iter::once(key).chain(copies).collect();
        Ok(self.catalog.route(exchange.id, &keys, &Seen::new(&headers, body)).into())
    }

    pub(super) fn count_published(&mut self, count: u64) {
        self.has_published |= count > 0;
        self.registry.counts.messages_in.fetch_add(count, Ordering::Relaxed);
    }

    /// Hands over what was gathered.
    pub(super) fn flush_published(&mut self) {
        let Gathered { records, marks, bytes, rooms, .. } = std::mem::take(&mut self.gathered);
        if marks.is_empty() {
            return;
        }
        self.count_published(marks.len() as u64);
        let pending = (!records.is_empty()).then(|| self.broker.route(records));
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(InFlight { pending, marks, bytes, _rooms: rooms });
    }

    /// Tells what became of what was published.
    pub(super) fn poll_published(&mut self, waiting: &mut Context<'_>) {
        while let Some(first) = self.in_flight.front_mut() {
            let results = match &mut first.pending {
                None => Ok(Vec::new()),
                Some(pending) => match Pin::new(pending).poll(waiting) {
                    Poll::Ready(results) => results,
                    Poll::Pending => return,
                },
            };
            let Some(InFlight { marks, bytes, .. }) = self.in_flight.pop_front() else { return };
            self.in_flight_bytes -= bytes;
            self.confirm(&marks, results);
        }
    }

    fn confirm(&mut self, marks: &[Mark], results: Results) {
        let result_of = |mark: &Mark| match (mark.index, &results) {
            (None, _) => Ok(()),
            (Some(_), Err(error)) => Err(error.clone()),
            (Some(index), Ok(results)) => match results.get(index) {
                // Its queues have gone meanwhile: as if they had gone before.
                Some(Err(AppendError::NotFound)) | None => Ok(()),
                Some(result) => result.clone(),
            },
        };
        // Acknowledged together: so many of one channel, up to this number.
        let mut open: Option<(u16, u64, u32)> = None;
        for mark in marks {
            let is_there = |it: &super::Channel| it.serial == mark.serial && !it.is_closing;
            if !self.channels.get(&mark.channel).is_some_and(is_there) {
                continue;
            }
            let result = result_of(mark);
            if let Err(error) = &result {
                self.registry.note_refusal(error);
            }
            if let Err(error) = &result
                && !matches!(error, AppendError::QueueFull(_))
            {
                tracing::warn!(connection = self.id, channel = mark.channel, %error, "published message is refused");
            }
            match (mark.tag, result) {
                (Some(tag), Ok(())) => match &mut open {
                    Some((channel, last, count)) if *channel == mark.channel => {
                        *last = tag;
                        *count += 1;
                    }
                    _ => {
                        self.write_ack(open);
                        open = Some((mark.channel, tag, 1));
                    }
                },
                (Some(tag), Err(_)) => {
                    self.write_ack(open.take());
                    BasicNack { delivery_tag: tag, multiple: false, requeue: false }
                        .write(&mut self.said, mark.channel);
                }
                // Nobody asked to hear that a queue takes no more.
                (None, Ok(()) | Err(AppendError::QueueFull(_))) => {}
                (None, Err(error)) => self.fail(mark.channel, BasicPublish::ID, &error.into()),
            }
        }
        self.write_ack(open);
    }

    fn write_ack(&mut self, open: Option<(u16, u64, u32)>) {
        if let Some((channel, delivery_tag, count)) = open {
            BasicAck { delivery_tag, multiple: count > 1 }.write(&mut self.said, channel);
        }
    }
}

fn decoded(properties: &Bytes) -> Result<Properties<'_>, AmqpError> {
    Properties::decode(properties).map_err(|error| AmqpError::new(error.reply_code(), error))
}

/// Further keys: of the headers CC and BCC, lists of them. Source: RabbitMQ documentation, "Sender-selected Distribution".
fn copies<'a>(table: RawTable<'a>) -> Result<Vec<&'a [u8]>, AmqpError> {
    let mut keys = Vec::new();
    for name in COPIES {
        match table.get(name) {
            None => {}
            Some(ValueRef::Array(array)) => {
                for value in array.iter() {
                    let ValueRef::String(key) = value else { return Err(not_keys(name)) };
                    keys.push(key.0);
                }
            }
            Some(_) => return Err(not_keys(name)),
        }
    }
    Ok(keys)
}

fn not_keys(name: &str) -> AmqpError {
    AmqpError::precondition(format_args!("invalid message: '{name}' header should be an array of strings"))
}

fn record_of(
    exchange: &Bytes,
    key: Bytes,
    encoded: &Bytes,
    properties: &Properties<'_>,
    body: Bytes,
) -> Result<NewRecord, AmqpError> {
    let exchange = ShortStr::new(exchange).unwrap_or_default();
    for (name, _) in properties.headers.unwrap_or_default().iter() {
        if convert::is_reserved(name.as_bytes()) {
            let name = String::from_utf8_lossy(name.as_bytes());
            return Err(AmqpError::precondition(format_args!(
                "invalid message: the header '{name}' is the broker's own"
            )));
        }
    }
    let mut headers = convert::record_headers(properties, exchange, &KeptIn(encoded));
    headers.retain(|header| header.key != "BCC");
    if headers.len() > HEADERS_PER_RECORD {
        let text =
            format!("invalid message: more than {HEADERS_PER_RECORD} headers, properties and types counted");
        return Err(AmqpError::precondition(text));
    }
    Ok(NewRecord { key: Some(key), value: Some(body), headers, ..NewRecord::default() })
}

/// Slices of something that is kept; copies of anything else.
struct KeptIn<'a>(&'a Bytes);

impl Keep for KeptIn<'_> {
    fn keep(&self, part: &[u8]) -> Bytes {
        let at = part.as_ptr().addr().wrapping_sub(self.0.as_ptr().addr());
        match self.0.get(at..at.saturating_add(part.len())) {
            Some(_) if !part.is_empty() => self.0.slice(at..at + part.len()),
            _ => Copying.keep(part),
        }
    }
}
