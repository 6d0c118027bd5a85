//! What a message is wrapped in on its way to a queue or an endpoint: JSON with the message, who published it where, and a signature.
//!
//! The record holds the bare message; the envelope is made of its headers when it is received:
//! ```text
//! duolog-sns-topic       ARN of the topic       duolog-sns-message-id   duolog-sns-subject   duolog-sns-timestamp
//! duolog-sns-envelope    ids of the topics (hexadecimal, commas between) whose queues get the envelope, `*` for all; none: nobody
//! duolog-sns-sequence    number in an ordered topic
//! duolog-sns-replayed    it is replayed
//! duolog-sns-signature   version, id of the certificate, signature in base64, blanks between
//! ```
//! Source: SNS Developer Guide, "Parsing message formats", "Verifying the signatures of messages".

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::headers::TYPE_PREFIX;
use duolog_broker::{Catalog, when};
use duolog_record::{Header, Record, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::publish::text_bytes;
use super::signing::Signer;
use super::{http, subscription, topic};
use crate::codec::arn;
use crate::convert::RESERVED_PREFIX;

pub(super) const TOPIC: &str = "duolog-sns-topic";
pub(super) const MESSAGE_ID: &str = "duolog-sns-message-id";
const SUBJECT: &str = "duolog-sns-subject";
const TIME: &str = "duolog-sns-timestamp";
const ENVELOPE: &str = "duolog-sns-envelope";
const NUMBER: &str = "duolog-sns-sequence";
const SIGNATURE: &str = "duolog-sns-signature";
const REPLAYED: &str = "duolog-sns-replayed";
/// Attribute of a message that is replayed as it is.
const REPLAYED_ATTRIBUTE: &str = "Replayed";
/// All topics.
const ALL: &str = "*";

/// What is the same for all who get a message.
pub(super) struct Sent<'a> {
    pub id: Uuid,
    pub arn: &'a str,
    pub subject: Option<&'a str>,
    pub time: Timestamp,
}

/// A header of ours.
pub(super) fn header(key: &'static str, value: &str) -> Header {
    Header { key: bytes::Bytes::from_static(key.as_bytes()), value: Some(text_bytes(value)) }
}

/// The header with a message's number in an ordered topic.
pub(super) fn number_header(number: &str) -> Header {
    header(NUMBER, number)
}

/// The header with the time that a message was published at.
pub(super) fn time(time: Timestamp) -> Header {
    header(TIME, &shown(time))
}

/// As the service writes times: to the millisecond.
pub(super) fn shown(time: Timestamp) -> String {
    let seconds = when::shown(time.0);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), time.0.rem_euclid(1000))
}

impl Sent<'_> {
    /// The headers of the record; of its topics these get the envelope.
    pub fn headers(&self, in_envelope: &[u128], is_all: bool) -> Vec<Header> {
        let mut headers =
            vec![header(TOPIC, self.arn), header(MESSAGE_ID, &self.id.to_string()), time(self.time)];
        headers.extend(self.subject.map(|subject| header(SUBJECT, subject)));
        if is_all {
            headers.push(header(ENVELOPE, ALL));
        } else if !in_envelope.is_empty() {
            let mut list = String::with_capacity(33 * in_envelope.len());
            for topic in in_envelope {
                let comma = if list.is_empty() { "" } else { "," };
                // Writing into memory does not fail.
                let _ = write!(list, "{comma}{topic:032x}");
            }
            headers.push(header(ENVELOPE, &list));
        }
        headers
    }

    /// What is signed: names and values, a line each, by name.
    pub fn text_to_sign(&self, body: &[u8]) -> String {
        let mut text = format!("Message\n{}\nMessageId\n{}\n", String::from_utf8_lossy(body), self.id);
        if let Some(subject) = self.subject {
            let _ = write!(text, "Subject\n{subject}\n");
        }
        let _ = write!(text, "Timestamp\n{}\nTopicArn\n{}\nType\nNotification\n", shown(self.time), self.arn);
        text
    }
}

/// The headers of a message that was published, for a queue that gets the envelope, or the message as it is.
pub(super) fn readdressed(headers: &[Header], in_envelope: Option<u128>, is_replayed: bool) -> Vec<Header> {
    let is_kept = |it: &&Header| it.key != ENVELOPE && it.key != REPLAYED;
    let mut all: Vec<Header> = headers.iter().filter(is_kept).cloned().collect();
    all.extend(in_envelope.map(|topic| header(ENVELOPE, &format!("{topic:032x}"))));
    if is_replayed {
        all.push(header(REPLAYED, "true"));
        if in_envelope.is_none() && !headers.iter().any(|it| it.key == REPLAYED_ATTRIBUTE) {
            all.push(header(REPLAYED_ATTRIBUTE, "true"));
        }
    }
    all
}

/// A signature as it travels.
pub(super) struct Signed(String);

impl Signed {
    /// Signs a text, by the second version of signatures or the first.
    ///
    /// # Errors
    /// If the key cannot.
    pub fn new(signer: &Signer, is_second: bool, text: &str) -> Result<Self, String> {
        let signature = STANDARD.encode(signer.sign(is_second, text.as_bytes())?);
        let version = if is_second { 2 } else { 1 };
        Ok(Self(format!("{version} {} {signature}", signer.id)))
    }

    pub fn header(&self) -> Header {
        header(SIGNATURE, &self.0)
    }
}

/// Who receives a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver<'a> {
    /// How it called us.
    pub host: &'a str,
    /// What there is.
    pub catalog: &'a Catalog,
    /// The queue that the message came to first.
    pub queue: &'a str,
    /// The topic that it came to first.
    pub topic: u128,
}

/// The value of a header, if it is text.
pub(super) fn find<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let header = record.headers.iter().find(|header| header.key == name.as_bytes())?;
    std::str::from_utf8(header.value.as_ref()?).ok()
}

/// The envelope of a message that its receiver gets in one.
pub(crate) fn of(record: &Record, receiver: Receiver<'_>) -> Option<String> {
    let topics = find(record, ENVELOPE)?;
    let own = format!("{:032x}", receiver.topic);
    if topics != ALL && !topics.split(',').any(|topic| topic == own) {
        return None;
    }
    let arn = find(record, TOPIC)?;
    let body = std::str::from_utf8(record.value.as_deref()?).ok()?;
    let mut out = Written::default();
    out.put("Type", "Notification");
    out.put("MessageId", find(record, MESSAGE_ID)?);
    out.put_some("SequenceNumber", find(record, NUMBER));
    out.put("TopicArn", arn);
    out.put_some("Subject", find(record, SUBJECT));
    out.put("Message", body);
    out.put("Timestamp", find(record, TIME)?);
    let mut signature = find(record, SIGNATURE).unwrap_or("").split(' ');
    if let (Some(version), Some(certificate), Some(signature)) =
        (signature.next(), signature.next(), signature.next())
    {
        let host = receiver.host;
        out.put("SignatureVersion", version);
        out.put("Signature", signature);
        out.put("SigningCertURL", &format!("http://{host}{}{certificate}.pem", super::signing::PATH));
    }
    out.put("UnsubscribeURL", &unsubscribe_url(arn, receiver));
    let attributes = attributes_of(record);
    if !attributes.is_empty() {
        out.put_json("MessageAttributes", &Value::Object(attributes));
    }
    if find(record, REPLAYED).is_some() {
        out.put_json("Replayed", &Value::Bool(true));
    }
    Some(out.end())
}

fn unsubscribe_url(arn: &str, receiver: Receiver<'_>) -> String {
    let topic = arn::topic_name(arn).and_then(|name| topic::named(receiver.catalog, name));
    let id = topic.map(|topic| match http::id_in(receiver.queue) {
        Some(id) => id.to_owned(),
        None => subscription::id_of(topic.id, "sqs", &arn::of_queue("", "", receiver.queue)),
    });
    let id = id.unwrap_or_else(|| Uuid::nil().to_string());
    format!("http://{}/?Action=Unsubscribe&SubscriptionArn={arn}:{id}", receiver.host)
}

fn attributes_of(record: &Record) -> Map<String, Value> {
    let mut all = Map::new();
    for header in &record.headers {
        let (Ok(name), Some(value)) = (std::str::from_utf8(&header.key), &header.value) else { continue };
        if name.starts_with(RESERVED_PREFIX) {
            continue;
        }
        let data_type = find(record, &format!("{TYPE_PREFIX}{name}")).unwrap_or("String");
        let value = match std::str::from_utf8(value).ok().filter(|_| !data_type.starts_with("Binary")) {
            Some(text) => text.to_owned(),
            None => STANDARD.encode(value),
        };
        all.insert(name.to_owned(), json!({"Type": data_type, "Value": value}));
    }
    all
}

/// An object in the order of the service, a pair a line.
#[derive(Default)]
pub(super) struct Written(String);

impl Written {
    pub fn put(&mut self, name: &str, value: &str) {
        self.put_json(name, &Value::String(value.to_owned()));
    }

    fn put_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn put_json(&mut self, name: &str, value: &Value) {
        let comma = if self.0.is_empty() { "" } else { ",\n" };
        let _ = write!(self.0, "{comma}  \"{name}\" : ");
        // JSON may hold these two as they are, and messages of SQS may not.
        self.0 += &value.to_string().replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    }

    pub fn end(self) -> String {
        format!("{{\n{}\n}}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(shown(Timestamp(1_700_000_000_007)), "2023-11-14T22:13:20.007Z");
    }
}
