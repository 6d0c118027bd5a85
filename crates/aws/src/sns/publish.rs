//! Publish, PublishBatch: a message becomes a record for all who are subscribed; a request is one commit.
//!
//! Which queues get the message in an envelope is decided here and written into the record, so that it does not depend on what becomes
//! of the subscription before the message is received.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use duolog_broker::errors::AppendError;
use duolog_broker::limits::ROUTED_PLACES;
use duolog_broker::routing::{Destination, Exchange, Filter, Seen};
use duolog_broker::{Catalog, Gate, NewRecord, Routed, TopicId};
use duolog_record::Timestamp;
use tracing::info;
use uuid::Uuid;

use super::envelope::{self, Signed};
use super::message::Message;
use super::subscription::{self, Subscription};
use super::topic::is_ordered;
use super::xml::Xml;
use super::{Answer, Call, Params, Signer, SnsCode, SnsError, attributes, log};
use crate::codec::rules;
use crate::convert;
use crate::limits::{BATCH_ENTRIES, SNS_MESSAGE_BYTES};

/// A message that was published.
struct Sent {
    id: Uuid,
    /// In an ordered topic.
    number: Option<String>,
}

impl Sent {
    fn write(&self, xml: &mut Xml) {
        xml.text("MessageId", &self.id.to_string());
        if let Some(number) = &self.number {
            xml.text("SequenceNumber", number);
        }
    }
}

pub(super) async fn single(call: &Call<'_>) -> Answer {
    if call.params.get("PhoneNumber").is_some() {
        return Err(SnsError::invalid_because("PhoneNumber", "text messages are not sent here"));
    }
    let parameter = if call.params.get("TopicArn").is_none() { "TargetArn" } else { "TopicArn" };
    if call.params.get(parameter).is_none_or(str::is_empty) {
        return Err(SnsError::missing("TopicArn or TargetArn"));
    }
    let topic = call.topic(parameter)?;
    let message = Message::read(call.params, &topic)?;
    let sent = publish(call, &topic, vec![message]).await?.pop();
    let sent = sent.ok_or_else(|| SnsError::new(SnsCode::InternalError, "Nothing was published."))??;
    call.answer(|xml| sent.write(xml))
}

pub(super) async fn batch(call: &Call<'_>) -> Answer {
    let topic = call.topic("TopicArn")?;
    let entries: Vec<Params<'_>> = call.params.members("PublishBatchRequestEntries").collect();
    let ids = check_ids(&entries)?;
    let (mut failed, mut messages, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for (id, entry) in ids.into_iter().zip(entries) {
        match Message::read(entry, &topic) {
            Ok(message) => {
                messages.push(message);
                named.push(id);
            }
            Err(error) => failed.push((id, error)),
        }
    }
    if messages.iter().map(|message| message.bytes).sum::<usize>() > SNS_MESSAGE_BYTES {
        return Err(SnsError::new(
            SnsCode::BatchRequestTooLong,
            "The length of all the messages put together is more than the limit.",
        ));
    }
    let mut successful = Vec::new();
    for (id, sent) in named.into_iter().zip(publish(call, &topic, messages).await?) {
        match sent {
            Ok(sent) => successful.push((id, sent)),
            Err(error) => failed.push((id, error)),
        }
    }
    call.answer(|xml| {
        xml.element("Successful", |xml| {
            for (id, sent) in &successful {
                xml.element("member", |xml| {
                    xml.text("Id", id);
                    sent.write(xml);
                });
            }
        });
        xml.element("Failed", |xml| {
            for (id, error) in &failed {
                xml.element("member", |xml| {
                    xml.text("Id", id);
                    xml.text("Code", error.code.parts().0);
                    xml.text("Message", &error.message);
                    xml.text("SenderFault", if error.code.is_senders() { "true" } else { "false" });
                });
            }
        });
    })
}

/// The ids of a batch's entries.
fn check_ids<'f>(entries: &[Params<'f>]) -> Result<Vec<&'f str>, SnsError> {
    if entries.is_empty() {
        return Err(SnsError::new(
            SnsCode::EmptyBatchRequest,
            "The batch request doesn't contain any entries.",
        ));
    }
    if entries.len() > BATCH_ENTRIES {
        return Err(SnsError::new(
            SnsCode::TooManyEntriesInBatchRequest,
            "The batch request contains more entries than permissible.",
        ));
    }
    let mut ids = Vec::with_capacity(entries.len());
    for entry in entries {
        let id = entry.required("Id")?;
        if !rules::is_batch_id(id) {
            return Err(SnsError::new(
                SnsCode::InvalidBatchEntryId,
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            ));
        }
        if ids.contains(&id) {
            return Err(SnsError::new(
                SnsCode::BatchEntryIdsNotDistinct,
                "Two or more batch entries in the request have the same Id.",
            ));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Who is subscribed, by what the service makes of a message for them.
#[derive(Default)]
struct Subscribers<'c> {
    /// Topics of queues, and by which protocol they are subscribed.
    protocols: BTreeMap<TopicId, &'c str>,
    /// Those that get the message as it is. If queues that read one topic differ, it is as it is for all.
    raw: BTreeSet<TopicId>,
    /// Protocols that nothing is delivered by.
    others: Vec<(&'c str, &'c Filter)>,
}

impl<'c> Subscribers<'c> {
    fn of(catalog: &'c Catalog, topic: &Exchange) -> Self {
        let mut it = Self::default();
        let subscriptions = catalog.bindings_from(topic.id).filter_map(Subscription::of);
        for subscription in subscriptions.filter(|it| !it.is_pending()) {
            let spec = &subscription.binding.spec;
            match spec.destination {
                Destination::Queue(id) => {
                    let Some(queue) = catalog.queue_by_id(id) else { continue };
                    it.protocols.insert(queue.topic, subscription.protocol);
                    if subscription.is_raw() {
                        it.raw.insert(queue.topic);
                    }
                }
                Destination::Topic(_) | Destination::Exchange(_) => {
                    if subscription.protocol != "sqs" {
                        it.others.push((subscription.protocol, &spec.filter));
                    }
                }
            }
        }
        it
    }

    fn gets_envelope(&self, topic: TopicId) -> bool {
        self.protocols.contains_key(&topic) && !self.raw.contains(&topic)
    }

    /// Names and counts what is not delivered.
    fn drop_others(&self, call: &Call<'_>, topic: &Exchange, record: &Seen<'_>) {
        for (protocol, _) in self.others.iter().filter(|(_, filter)| filter.takes(record)) {
            call.frontend.dropped.fetch_add(1, Ordering::Relaxed);
            info!(topic = %topic.name, protocol, "a delivery is dropped: this protocol is not served");
        }
    }
}

/// A message on its way, with a text to sign for each body that somebody gets in an envelope.
struct Prepared {
    id: Uuid,
    records: Vec<Routed>,
    /// By record.
    texts: Vec<Option<String>>,
}

/// Publishes messages; one result for each, in order.
async fn publish(
    call: &Call<'_>,
    topic: &Exchange,
    messages: Vec<Message>,
) -> Result<Vec<Result<Sent, SnsError>>, SnsError> {
    subscription::unpark_of(call.session(), topic).await;
    log::ensure(call.session(), topic).await?;
    let catalog = call.session().catalog();
    let topic = catalog.exchange_by_id(topic.id).ok_or_else(SnsError::no_topic)?;
    let now = call.session().now();
    let mut prepared: Vec<Prepared> = {
        let subscribers = Subscribers::of(&catalog, topic);
        messages
            .into_iter()
            .map(|message| prepare(call, &catalog, topic, &subscribers, message, now))
            .collect()
    };
    // Those of ordered topics are not signed by the service either.
    if !is_ordered(topic) && prepared.iter().any(|it| it.texts.iter().any(Option::is_some)) {
        let version = attributes::get(&topic.labels, "SignatureVersion").unwrap_or("1");
        sign(call, version == "2", &mut prepared).await?;
    }
    hand_over(call, topic, now, prepared).await
}

fn prepare(
    call: &Call<'_>,
    catalog: &Catalog,
    topic: &Exchange,
    subscribers: &Subscribers<'_>,
    message: Message,
    now: Timestamp,
) -> Prepared {
    let id = call.frontend.next_request_id();
    let (group, dedup_id) = (message.group.clone(), message.dedup_id.clone());
    // Rules on bodies look at that of queues.
    let body = message.body_for(Some("sqs"));
    let record = convert::new_record(body.clone(), group, &message.attributes, None, dedup_id, None);
    let record = NewRecord { timestamp: Some(now), ..record };
    let seen = Seen::new(&record.headers, body);
    let key = record.key.as_deref().unwrap_or_default();
    let topics = catalog.route(topic.id, &[key], &seen);
    subscribers.drop_others(call, topic, &seen);
    let arn = call.topic_arn(&topic.name);
    let sent = envelope::Sent { id, arn: &arn, subject: message.subject.as_deref(), time: now };
    let mut prepared = Prepared { id, records: Vec::new(), texts: Vec::new() };
    let log = log::of(catalog, topic).map(|log| log.id);
    let mut by_body = by_body(&message, subscribers, topics, log);
    // What the log knows goes nowhere, so it is asked first.
    by_body.sort_by_key(|(_, topics)| !log.is_some_and(|log| topics.contains(&log)));
    for (body, topics) in by_body {
        let in_envelope: Vec<u128> =
            topics.iter().filter(|topic| subscribers.gets_envelope(**topic)).map(|topic| topic.0).collect();
        let mut record = NewRecord { value: Some(body.clone()), ..record.clone() };
        record.headers.extend(sent.headers(&in_envelope, in_envelope.len() == topics.len()));
        let text = (!in_envelope.is_empty()).then(|| sent.text_to_sign(body));
        let gate = match log.filter(|log| topics.contains(log)) {
            Some(log) => Gate::Deduplicates(log),
            None if log.is_some() => Gate::Follows,
            None => Gate::Open,
        };
        prepared.records.push(Routed { record, topics: topics.into(), gate, relaxed: false });
        prepared.texts.push(text);
    }
    prepared
}

/// The topics by the body that they get: one record for all, unless protocols have bodies of their own.
fn by_body<'m>(
    message: &'m Message,
    subscribers: &Subscribers<'_>,
    topics: Vec<TopicId>,
    log: Option<TopicId>,
) -> Vec<(&'m Bytes, Vec<TopicId>)> {
    let mut all: Vec<(&Bytes, Vec<TopicId>)> = Vec::new();
    for topic in topics {
        // Queues are fed from the log.
        let protocol = match Some(topic) == log {
            true => Some("sqs"),
            false => subscribers.protocols.get(&topic).copied(),
        };
        let body = message.body_for(protocol);
        match all.iter_mut().find(|(its, _)| std::ptr::eq(*its, body) || *its == body) {
            Some((_, topics)) => topics.push(topic),
            None => all.push((body, vec![topic])),
        }
    }
    all
}

/// Signs what is to be; on a thread that may take its time, a millisecond each.
async fn sign(call: &Call<'_>, is_second: bool, prepared: &mut [Prepared]) -> Result<(), SnsError> {
    let signer: Arc<Signer> = call.frontend.signer().await?;
    let texts: Vec<Option<String>> =
        prepared.iter_mut().flat_map(|it| std::mem::take(&mut it.texts)).collect();
    let signing = move || {
        let sign = |text: Option<String>| text.map(|text| Signed::new(&signer, is_second, &text)).transpose();
        texts.into_iter().map(sign).collect::<Result<Vec<_>, _>>()
    };
    let failed = |error: String| SnsError::new(SnsCode::InternalError, error);
    let signed = tokio::task::spawn_blocking(signing).await.map_err(|error| failed(error.to_string()))?;
    let records = prepared.iter_mut().flat_map(|it| &mut it.records);
    for (routed, signed) in records.zip(signed.map_err(failed)?) {
        routed.record.headers.extend(signed.map(|signed| signed.header()));
    }
    Ok(())
}

async fn hand_over(
    call: &Call<'_>,
    topic: &Exchange,
    now: Timestamp,
    mut prepared: Vec<Prepared>,
) -> Result<Vec<Result<Sent, SnsError>>, SnsError> {
    let session = call.session();
    let mut sent: Vec<Sent> = prepared.iter().map(|it| Sent { id: it.id, number: None }).collect();
    let counts: Vec<usize> = prepared.iter().map(|it| it.records.len()).collect();
    let send = |prepared: Vec<Prepared>| {
        let places: usize = prepared.iter().flat_map(|it| &it.records).map(|it| it.topics.len()).sum();
        // One commit, in which a message that cannot be taken fails by itself. If that has too many places, or a message is more than
        // one record, each message has its own, all or none. So has one that is ordered: what only some have taken could not be sent again,
        // because the log would know it.
        let is_one =
            places <= ROUTED_PLACES && !is_ordered(topic) && prepared.iter().all(|it| it.records.len() <= 1);
        let calls: Vec<Vec<Routed>> = match is_one {
            true => vec![prepared.into_iter().flat_map(|it| it.records).collect()],
            false => prepared.into_iter().map(|it| it.records).collect(),
        };
        let calls = calls.into_iter().filter(|records| !records.is_empty());
        let route = |records: Vec<Routed>| match is_one {
            true => (records.len(), session.route(records)),
            false => (records.len(), session.route_all(records)),
        };
        calls.map(route).collect::<Vec<_>>()
    };
    let pending = match is_ordered(topic) {
        false => send(prepared),
        true => call.frontend.numbers.hand_over(now, |next| {
            for (it, sent) in prepared.iter_mut().zip(&mut sent) {
                let number = next();
                let header = envelope::number_header(&number);
                it.records.iter_mut().for_each(|routed| routed.record.headers.push(header.clone()));
                sent.number = Some(number);
            }
            send(prepared)
        }),
    };
    let mut results: Vec<Result<(), AppendError>> = Vec::new();
    for (count, pending) in pending {
        match pending.await {
            Ok(stored) => results.extend(stored),
            Err(error) => results.extend(std::iter::repeat_n(Err(error), count)),
        }
    }
    let mut results = results.into_iter();
    let outcome = |(count, sent): (usize, Sent)| {
        let failed = results.by_ref().take(count).filter_map(Result::err);
        match failed.collect::<Vec<AppendError>>().into_iter().next() {
            None => Ok(sent),
            // Whoever was there is gone meanwhile: nobody is left to deliver to.
            Some(AppendError::NotFound) if count == 1 => Ok(sent),
            Some(AppendError::NotFound) => {
                Err(SnsError::new(SnsCode::ServiceUnavailable, "A subscriber has just gone; try again."))
            }
            Some(error) => Err(error.into()),
        }
    };
    Ok(counts.into_iter().zip(sent).map(outcome).collect())
}

/// A text as a header's value.
pub(super) fn text_bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
