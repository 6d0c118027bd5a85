//! Subscribe, ConfirmSubscription, Unsubscribe.

use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{BindingSpec, Destination, Exchange};

use super::http::is_http;
use super::subscription::{
    HOST, Subscription, TOKEN, TOKEN_UNTIL, TOPIC_ARN, change_failed, check_policies, confirmed, find,
    set_attribute, spec_of,
};
use super::topic::{self, is_ordered, name_in};
use super::{Answer, Call, SnsCode, SnsError, confirmation, http, replay, shown, topics};
use crate::codec::arn;
use crate::limits::{SNS_ENDPOINT_BYTES, SNS_TOKEN_MS};
use crate::outbound::Endpoint;
use crate::settings::is_fifo;

/// Said instead of an ARN, unless the ARN is asked for.
const PENDING: &str = "pending confirmation";

pub(super) async fn subscribe(call: &Call<'_>) -> Answer {
    let topic = call.topic("TopicArn")?;
    let protocol = call.params.required("Protocol")?;
    let endpoint = call.params.get("Endpoint").unwrap_or("");
    check_endpoint(call, &topic, protocol, endpoint)?;
    let asked = call.params.map("Attributes")?;
    let mut spec = spec_asked(call, &topic, &asked)?;
    let id = String::from_utf8_lossy(&spec.key).into_owned();
    let catalog = call.session().catalog();
    if let Some(known) = find(&catalog, &topic, &id) {
        if !known.has_expired(call.session().now()) {
            return existing(call, &topic, known, &asked).await;
        }
        call.session().unbind(known.binding.spec.clone()).await.map_err(change_failed)?;
    }
    check_policies(&catalog, &spec)?;
    if needs_confirmation(protocol) {
        let until = call.session().now().0.saturating_add(SNS_TOKEN_MS);
        spec.labels.insert(TOKEN.to_owned(), call.frontend.next_token());
        spec.labels.insert(TOKEN_UNTIL.to_owned(), until.to_string());
    }
    if is_http(protocol) {
        // Before the subscription, which must not exceed what there may be of them.
        http::make_queue(call.session(), &topic, &id, None).await?;
        spec.labels.insert(HOST.to_owned(), call.host.to_owned());
        spec.labels.insert(TOPIC_ARN.to_owned(), call.topic_arn(&topic.name));
    }
    let replayed = asked.iter().find(|(name, _)| *name == replay::POLICY);
    if let Some((_, policy)) = replayed {
        replay::set(call, &topic, &mut spec, policy).await?;
    }
    let made = call.session().bind(spec.clone()).await.map_err(change_failed)?;
    // Of two that were made at the same time the first is the one.
    let catalog = call.session().catalog();
    let known = find(&catalog, &topic, &id).ok_or_else(SnsError::no_topic)?;
    if known.binding.id != made {
        call.session().unbind(spec).await.map_err(change_failed)?;
        return existing(call, &topic, known, &asked).await;
    }
    answer(call, &topic, known).await
}

/// The subscription that is asked for.
fn spec_asked(call: &Call<'_>, topic: &Exchange, asked: &[(&str, &str)]) -> Result<BindingSpec, SnsError> {
    let (protocol, endpoint) = (call.params.required("Protocol")?, call.params.get("Endpoint").unwrap_or(""));
    let mut spec = spec_of(&call.session().catalog(), topic, protocol, endpoint);
    // The scope says how the policy is read.
    let asked = asked.iter().copied().filter(|(name, _)| *name != replay::POLICY);
    let (scopes, others): (Vec<_>, Vec<_>) = asked.partition(|(name, _)| *name == "FilterPolicyScope");
    for (name, value) in scopes.into_iter().chain(others) {
        set_attribute(&mut spec, name, value, "Attributes Reason: ").map_err(|error| {
            match error.message == "Invalid parameter: AttributeName" {
                true => SnsError::invalid_because(
                    "Attributes",
                    format_args!("Unknown attribute: {}", shown(name)),
                ),
                false => error,
            }
        })?;
    }
    Ok(spec)
}

fn needs_confirmation(protocol: &str) -> bool {
    is_http(protocol) || matches!(protocol, "email" | "email-json")
}

async fn existing(
    call: &Call<'_>,
    topic: &Exchange,
    known: Subscription<'_>,
    asked: &[(&str, &str)],
) -> Answer {
    let default = |name: &str| if name == "RawMessageDelivery" { "false" } else { "" };
    let differs = |(name, value): &(&str, &str)| known.shown(name).unwrap_or(default(name)) != *value;
    match asked.iter().any(differs) {
        true => Err(SnsError::invalid_because(
            "Attributes",
            "Subscription already exists with different attributes",
        )),
        false => answer(call, topic, known).await,
    }
}

/// Answers; an endpoint that is to confirm is asked, also if it was before.
async fn answer(call: &Call<'_>, topic: &Exchange, known: Subscription<'_>) -> Answer {
    if known.is_pending() && is_http(known.protocol) {
        // Its queue may be taken away by somebody.
        let mut is_sent = false;
        while !is_sent {
            let queue = http::make_queue(call.session(), topic, known.id(), None).await?;
            is_sent = confirmation::send(call, topic, known, &queue).await?;
        }
        call.frontend.deliveries.wake();
    }
    if replay::is_fed(known) {
        call.frontend.deliveries.wake();
    }
    let wants_arn = call.params.get("ReturnSubscriptionArn") == Some("true");
    call.answer(|xml| match known.is_pending() && !wants_arn {
        true => xml.text("SubscriptionArn", PENDING),
        false => xml.text("SubscriptionArn", &call.arn_of(&topic.name, known.id())),
    })
}

fn check_endpoint(call: &Call<'_>, topic: &Exchange, protocol: &str, endpoint: &str) -> Result<(), SnsError> {
    let wrong = |what: &str| Err(SnsError::invalid(format!("Invalid parameter: {what}")));
    let is_arn = |service: &str| endpoint.starts_with("arn:") && endpoint.split(':').nth(2) == Some(service);
    if endpoint.len() > SNS_ENDPOINT_BYTES {
        return wrong("Endpoint Reason: it is longer than 2,048 bytes");
    }
    match protocol {
        "sqs" if arn::queue_name(endpoint).is_none() => return wrong("SQS endpoint ARN"),
        "sqs" if arn::queue_name(endpoint).is_some_and(|name| http::id_in(name).is_some()) => {
            return wrong("SQS endpoint ARN");
        }
        "http" | "https" => check_url(call, protocol, endpoint)?,
        "email" | "email-json" if !endpoint.contains('@') => return wrong("Email address"),
        "sms" if endpoint.is_empty() => return wrong("SMS endpoint"),
        "lambda" if !is_arn("lambda") => return wrong("Lambda endpoint ARN"),
        "firehose" if !is_arn("firehose") => return wrong("Firehose endpoint ARN"),
        "application" if !is_arn("sns") => return wrong("Application endpoint arn invalid"),
        "sqs" | "email" | "email-json" | "sms" | "lambda" | "firehose" | "application" => {}
        other => {
            let shown = shown(other);
            return wrong(&format!("Amazon SNS does not support this protocol string: {shown}"));
        }
    }
    let to_fifo = arn::queue_name(endpoint).is_some_and(is_fifo);
    match (is_ordered(topic), protocol) {
        (false, "sqs") if to_fifo => wrong(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ),
        (true, protocol) if protocol != "sqs" => {
            wrong("Invalid parameter: Endpoint Reason: Please use an SQS queue with a FIFO topic")
        }
        _ => Ok(()),
    }
}

fn check_url(call: &Call<'_>, protocol: &str, url: &str) -> Result<(), SnsError> {
    let endpoint =
        Endpoint::parse(protocol, url).map_err(|why| SnsError::invalid_because("Endpoint", why))?;
    match endpoint.is_private_by_itself() && !call.frontend.deliveries.allow_private() {
        true => Err(SnsError::invalid_because(
            "Endpoint",
            "it is at an address that is not public, which the broker delivers to only if it is started with \
             --sns-private-endpoints",
        )),
        false => Ok(()),
    }
}

pub(super) async fn unsubscribe(call: &Call<'_>) -> Answer {
    let (name, id) = call.subscription_arn()?;
    let catalog = call.session().catalog();
    let known = topic::named(&catalog, name).and_then(|topic| find(&catalog, topic, id));
    // What is not there need not be undone.
    let Some(known) = known else { return call.done() };
    if known.is_bound() && !call.is_signed {
        return Err(SnsError::new(
            SnsCode::AuthorizationError,
            "The subscription was confirmed so that only a signed request may undo it.",
        ));
    }
    match is_http(known.protocol) || replay::is_fed(known) {
        true => http::end(call.session(), known).await.map_err(change_failed)?,
        false => drop(call.session().unbind(known.binding.spec.clone()).await.map_err(change_failed)?),
    }
    call.done()
}

pub(super) async fn confirm(call: &Call<'_>) -> Answer {
    let topic_arn = call.params.required("TopicArn")?;
    let name = name_in("TopicArn", topic_arn)?;
    let token = call.params.required("Token")?;
    let binds = match call.params.get("AuthenticateOnUnsubscribe") {
        None | Some("" | "false" | "False") => false,
        Some("true" | "True") => true,
        Some(other) => {
            let why = format_args!("{} is neither true nor false", shown(other));
            return Err(SnsError::invalid_because("AuthenticateOnUnsubscribe", why));
        }
    };
    if !topics::exists(call, name) {
        return Err(SnsError::no_topic());
    }
    loop {
        let catalog = call.session().catalog();
        let topic = topic::named(&catalog, name).ok_or_else(SnsError::no_topic)?;
        let mut all = catalog.bindings_from(topic.id).filter_map(Subscription::of);
        let known = all.find(|it| it.has_token(token));
        let known = known.ok_or_else(|| SnsError::invalid("Invalid parameter: Token"))?;
        if call.session().now().0 > known.token_until() {
            return Err(SnsError::invalid("Invalid parameter: Token Reason: it has expired"));
        }
        if !known.is_pending() || is_confirmed(call, topic, known, binds).await? {
            // Of the region that the topic's has: who opens the URL has signed for none.
            let arn = format!("{topic_arn}:{}", known.id());
            return call.answer(|xml| xml.text("SubscriptionArn", &arn));
        }
    }
}

/// Confirms a subscription; false if it has changed or gone meanwhile.
async fn is_confirmed(
    call: &Call<'_>,
    topic: &Exchange,
    known: Subscription<'_>,
    binds: bool,
) -> Result<bool, SnsError> {
    let labels = confirmed(known.binding.spec.labels.clone(), call.is_signed, binds && call.is_signed);
    let mut spec = BindingSpec { labels, ..known.binding.spec.clone() };
    if is_http(known.protocol) {
        let queue = http::make_queue(call.session(), topic, known.id(), None).await?;
        spec.destination = Destination::Queue(queue.id);
    }
    match call.session().rebind(known.binding, spec).await {
        Ok(is_done) => Ok(is_done),
        // Its queue, or all of it.
        Err(ChangeError::NotFound(_)) => Ok(false),
        Err(error) => Err(change_failed(error)),
    }
}
