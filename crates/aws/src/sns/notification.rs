//! What is posted to an endpoint: a record as a request.
//!
//! Source: SNS Developer Guide, "HTTP/HTTPS headers", "Amazon SNS raw message delivery".

use bytes::Bytes;
use duolog_broker::{Catalog, Leased};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::confirmation::{self, CONFIRMATION};
use super::envelope::{self, MESSAGE_ID, Receiver, TOPIC, find};
use crate::codec::message_id;

const AGENT: HeaderValue = HeaderValue::from_static("Amazon Simple Notification Service Agent");
const RAW: HeaderName = HeaderName::from_static("x-amz-sns-rawdelivery");

/// Where a record is posted.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    /// How the broker is called in URLs.
    pub host: &'a str,
    pub catalog: &'a Catalog,
    /// The queue that it was taken from, and its topic.
    pub queue: &'a str,
    pub topic: u128,
    /// The topic that it was published to, if the record does not say.
    pub arn: &'a str,
    /// Of the subscription.
    pub id: &'a str,
    pub content_type: &'a str,
}

/// Headers and body.
pub(super) fn of(leased: &Leased, to: To<'_>) -> (HeaderMap, Bytes) {
    let record = &leased.record;
    let receiver = Receiver { host: to.host, catalog: to.catalog, queue: to.queue, topic: to.topic };
    let is_confirmation = confirmation::is_one(record);
    let envelope = envelope::of(record, receiver).filter(|_| !is_confirmation);
    let is_raw = envelope.is_none() && !is_confirmation;
    let body = envelope.map_or_else(|| record.value.clone().unwrap_or_default(), Bytes::from);
    let arn = find(record, TOPIC).unwrap_or(to.arn);
    let made = || message_id::of_place(to.topic, leased.partition_index, record.offset).to_string();
    let id = find(record, MESSAGE_ID).map_or_else(made, str::to_owned);
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, AGENT);
    let subscription = format!("{arn}:{}", to.id);
    for (name, value) in [
        (
            HeaderName::from_static("x-amz-sns-message-type"),
            if is_confirmation { CONFIRMATION } else { "Notification" },
        ),
        (HeaderName::from_static("x-amz-sns-message-id"), id.as_str()),
        (HeaderName::from_static("x-amz-sns-topic-arn"), arn),
        (HeaderName::from_static("x-amz-sns-subscription-arn"), &subscription),
        (CONTENT_TYPE, to.content_type),
    ] {
        let is_known = !is_confirmation || name != "x-amz-sns-subscription-arn";
        // Others than SNS may have written the record.
        if let Some(value) = HeaderValue::from_str(value).ok().filter(|_| is_known) {
            headers.insert(name, value);
        }
    }
    if is_raw {
        headers.insert(RAW, HeaderValue::from_static("true"));
    }
    (headers, body)
}
