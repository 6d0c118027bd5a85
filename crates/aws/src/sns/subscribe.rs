//! Subscribe, ConfirmSubscription, Unsubscribe.

use duolog_broker::routing::{BindingSpec, Exchange};

use super::subscription::{
    Subscription, TOKEN, TOKEN_UNTIL, change_failed, check_policies, confirmed, find, set_attribute, spec_of,
};
use super::topic::{self, is_ordered, name_in};
use super::{Answer, Call, SnsError, shown, topics};
use crate::codec::arn;
use crate::limits::{SNS_ENDPOINT_BYTES, SNS_TOKEN_MS};
use crate::settings::is_fifo;

/// Said instead of an ARN, unless the ARN is asked for.
const PENDING: &str = "pending confirmation";

pub(super) async fn subscribe(call: &Call<'_>) -> Answer {
    let topic = call.topic("TopicArn")?;
    let protocol = call.params.required("Protocol")?;
    let endpoint = call.params.get("Endpoint").unwrap_or("");
    check_endpoint(&topic, protocol, endpoint)?;
    let asked = call.params.map("Attributes")?;
    let catalog = call.session().catalog();
    let mut spec = spec_of(&catalog, &topic, protocol, endpoint);
    // The scope says how the policy is read.
    let (scopes, others): (Vec<_>, Vec<_>) =
        asked.iter().copied().partition(|(name, _)| *name == "FilterPolicyScope");
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
    let id = String::from_utf8_lossy(&spec.key).into_owned();
    if let Some(known) = find(&catalog, &topic, &id) {
        return existing(call, &topic, known, &asked);
    }
    check_policies(&catalog, &spec)?;
    if matches!(protocol, "email" | "email-json") {
        let until = call.session().now().0.saturating_add(SNS_TOKEN_MS);
        spec.labels.insert(TOKEN.to_owned(), call.frontend.next_token());
        spec.labels.insert(TOKEN_UNTIL.to_owned(), until.to_string());
    }
    let made = call.session().bind(spec.clone()).await.map_err(change_failed)?;
    // Of two that were made at the same time the first is the one.
    let catalog = call.session().catalog();
    let known = find(&catalog, &topic, &id).ok_or_else(SnsError::no_topic)?;
    if known.binding.id != made {
        call.session().unbind(spec).await.map_err(change_failed)?;
        return existing(call, &topic, known, &asked);
    }
    answer(call, &topic, known)
}

fn existing(call: &Call<'_>, topic: &Exchange, known: Subscription<'_>, asked: &[(&str, &str)]) -> Answer {
    let default = |name: &str| if name == "RawMessageDelivery" { "false" } else { "" };
    let differs = |(name, value): &(&str, &str)| known.shown(name).unwrap_or(default(name)) != *value;
    match asked.iter().any(differs) {
        true => Err(SnsError::invalid_because(
            "Attributes",
            "Subscription already exists with different attributes",
        )),
        false => answer(call, topic, known),
    }
}

fn answer(call: &Call<'_>, topic: &Exchange, known: Subscription<'_>) -> Answer {
    let wants_arn = call.params.get("ReturnSubscriptionArn") == Some("true");
    call.answer(|xml| match known.is_pending() && !wants_arn {
        true => xml.text("SubscriptionArn", PENDING),
        false => xml.text("SubscriptionArn", &call.arn_of(&topic.name, known.id())),
    })
}

fn check_endpoint(topic: &Exchange, protocol: &str, endpoint: &str) -> Result<(), SnsError> {
    let wrong = |what: &str| Err(SnsError::invalid(format!("Invalid parameter: {what}")));
    let is_arn = |service: &str| endpoint.starts_with("arn:") && endpoint.split(':').nth(2) == Some(service);
    if endpoint.len() > SNS_ENDPOINT_BYTES {
        return wrong("Endpoint Reason: it is longer than 2,048 bytes");
    }
    match protocol {
        "sqs" if arn::queue_name(endpoint).is_none() => return wrong("SQS endpoint ARN"),
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

pub(super) async fn unsubscribe(call: &Call<'_>) -> Answer {
    let (name, id) = call.subscription_arn()?;
    let catalog = call.session().catalog();
    let known = topic::named(&catalog, name).and_then(|topic| find(&catalog, topic, id));
    // What is not there need not be undone.
    if let Some(known) = known {
        call.session().unbind(known.binding.spec.clone()).await.map_err(change_failed)?;
    }
    call.done()
}

pub(super) async fn confirm(call: &Call<'_>) -> Answer {
    let name = name_in("TopicArn", call.params.required("TopicArn")?)?;
    let token = call.params.required("Token")?;
    if !topics::exists(call, name) {
        return Err(SnsError::no_topic());
    }
    loop {
        let catalog = call.session().catalog();
        let topic = topic::named(&catalog, name).ok_or_else(SnsError::no_topic)?;
        let has_token =
            |it: &Subscription<'_>| it.binding.spec.labels.get(TOKEN).is_some_and(|its| its == token);
        let mut all = catalog.bindings_from(topic.id).filter_map(Subscription::of);
        let known = all.find(has_token).ok_or_else(|| SnsError::invalid("Invalid parameter: Token"))?;
        let labels = &known.binding.spec.labels;
        let until = labels.get(TOKEN_UNTIL).and_then(|until| until.parse().ok()).unwrap_or(0_i64);
        if call.session().now().0 > until {
            return Err(SnsError::invalid("Invalid parameter: Token Reason: it has expired"));
        }
        let spec = BindingSpec { labels: confirmed(labels.clone()), ..known.binding.spec.clone() };
        if call.session().rebind(known.binding, spec).await.map_err(change_failed)? {
            let arn = call.arn_of(name, known.id());
            return call.answer(|xml| xml.text("SubscriptionArn", &arn));
        }
    }
}
