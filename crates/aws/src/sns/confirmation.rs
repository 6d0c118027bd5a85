//! The message that asks an endpoint whether it wants to be subscribed: put into the queue of its subscription, so that it is posted and tried
//! again like any other, also after a crash.
//!
//! Source: SNS Developer Guide, "HTTP/HTTPS subscription confirmation JSON format".

use bytes::Bytes;
use duolog_broker::errors::AppendError;
use duolog_broker::{NewRecord, Queue};
use duolog_record::{Header, Record};

use super::envelope::{self, MESSAGE_ID, TOPIC, Written, find, header, shown};
use super::subscription::{Subscription, TOKEN};
use super::{Call, SnsCode, SnsError, attributes, signing};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::routing::Exchange;

/// Header of what is not a message that somebody has published.
const TYPE: &str = "duolog-sns-type";
/// The type of this one.
pub(super) const CONFIRMATION: &str = "SubscriptionConfirmation";

/// True for a confirmation that was put into the queue of a subscription.
pub(super) fn is_one(record: &Record) -> bool {
    find(record, TYPE) == Some(CONFIRMATION)
}

/// Puts the confirmation of a subscription that waits for it into its queue. False if that has just gone.
///
/// # Errors
/// If it cannot be signed or stored.
pub(super) async fn send(
    call: &Call<'_>,
    topic: &Exchange,
    it: Subscription<'_>,
    queue: &Queue,
) -> Result<bool, SnsError> {
    let Some(token) = it.binding.spec.labels.get(TOKEN) else { return Ok(true) };
    let record = record(call, topic, token).await?;
    match call.session().publish(queue.topic, vec![record]).await {
        Ok(_) => Ok(true),
        Err(AppendError::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn record(call: &Call<'_>, topic: &Exchange, token: &str) -> Result<NewRecord, SnsError> {
    let (id, arn, host) =
        (call.frontend.next_request_id().to_string(), call.topic_arn(&topic.name), call.host);
    let now = call.session().now();
    let time = shown(now);
    let message = format!(
        "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL included in this \
         message."
    );
    let url = format!("http://{host}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}");
    let text = format!(
        "Message\n{message}\nMessageId\n{id}\nSubscribeURL\n{url}\nTimestamp\n{time}\nToken\n{token}\nTopicArn\n{arn}\nType\n\
         {CONFIRMATION}\n"
    );
    let version = attributes::get(&topic.labels, "SignatureVersion").unwrap_or("1").to_owned();
    let signer = call.frontend.signer().await?;
    let certificate = format!("http://{host}{}{}.pem", signing::PATH, signer.id);
    let is_second = version == "2";
    let failed = |error: String| SnsError::new(SnsCode::InternalError, error);
    let signing = tokio::task::spawn_blocking(move || signer.sign(is_second, text.as_bytes()));
    let signature = signing.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    let mut out = Written::default();
    for (name, value) in [
        ("Type", CONFIRMATION),
        ("MessageId", &id),
        ("Token", token),
        ("TopicArn", &arn),
        ("Message", &message),
        ("SubscribeURL", &url),
        ("Timestamp", &time),
        ("SignatureVersion", &version),
        ("Signature", &STANDARD.encode(signature)),
        ("SigningCertURL", &certificate),
    ] {
        out.put(name, value);
    }
    let headers: Vec<Header> =
        vec![header(TYPE, CONFIRMATION), header(TOPIC, &arn), header(MESSAGE_ID, &id), envelope::time(now)];
    let value = Some(Bytes::from(out.end()));
    Ok(NewRecord { value, headers, timestamp: Some(now), ..NewRecord::default() })
}
