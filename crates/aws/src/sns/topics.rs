//! CreateTopic, DeleteTopic, ListTopics, their attributes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use duolog_broker::Labels;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::routing::{Exchange, ExchangeKind, ExchangeSpec};
use duolog_record::Timestamp;
use serde_json::json;

use super::subscription::Subscription;
use super::topic::{self, is_ordered, is_topic};
use super::{Answer, Call, DeliveryPolicy, SnsCode, SnsError, archive, attributes, http, log, tags};
use crate::codec::rules;
use crate::limits::SNS_PAGE;
use crate::settings::is_fifo;

const PROTECTION: &str = "DataProtectionPolicy";

pub(super) async fn create(call: &Call<'_>) -> Answer {
    let name = call.params.required("Name")?;
    if !rules::is_topic_name(name) {
        return Err(SnsError::invalid("Invalid parameter: Topic Name"));
    }
    let labels = labels_asked(call, name)?;
    loop {
        let catalog = call.session().catalog();
        match catalog.exchange(DEFAULT_NAMESPACE, name) {
            Some(exchange) if !is_topic(exchange) => {
                let reason = "There is an exchange of this name that is not of kind fanout";
                return Err(SnsError::invalid_because("Topic Name", reason));
            }
            Some(exchange) => {
                check_same(exchange, &labels)?;
                log::ensure(call.session(), exchange).await?;
            }
            None => {
                let spec =
                    ExchangeSpec { labels: labels.clone(), ..ExchangeSpec::new(name, ExchangeKind::Fanout) };
                match call.session().create_exchange(spec).await {
                    // It is looked at once more: there is its log to make, or somebody was faster.
                    Ok(_) | Err(ChangeError::Exists(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        return call.answer(|xml| xml.text("TopicArn", &call.topic_arn(name)));
    }
}

fn labels_asked(call: &Call<'_>, name: &str) -> Result<Labels, SnsError> {
    let mut labels = Labels::new();
    let mut fifo = false;
    for (attribute, value) in call.params.map("Attributes")? {
        match attribute {
            "FifoTopic" if matches!(value, "true" | "false") => fifo = value == "true",
            "FifoTopic" => return Err(SnsError::invalid("Invalid parameter: FifoTopic")),
            _ => {
                attributes::check_of_topic(attribute, value, is_fifo(name)).map_err(|error| {
                    match error.message == "Invalid parameter: AttributeName" {
                        true => SnsError::invalid_because(
                            "Attributes",
                            format_args!("Unknown attribute {}", super::shown(attribute)),
                        ),
                        false => error,
                    }
                })?;
                set(&mut labels, attribute, value, call.session().now());
            }
        }
    }
    match (fifo, is_fifo(name)) {
        (true, false) => {
            return Err(SnsError::invalid(
                "Invalid parameter: Topic Name Reason: Fifo Topic names must end with .fifo and must be made up of only \
                 uppercase and lowercase ASCII letters, numbers, underscores, and hyphens.",
            ));
        }
        (false, true) => return Err(SnsError::invalid("Invalid parameter: Topic Name")),
        (true, true) | (false, false) => {}
    }
    if let Some(policy) = call.params.get(PROTECTION) {
        attributes::set(&mut labels, PROTECTION, checked_protection(policy)?);
    }
    tags::add(&mut labels, call.params)?;
    Ok(labels)
}

/// A topic that is there must be as it is asked for.
fn check_same(exchange: &Exchange, asked: &Labels) -> Result<(), SnsError> {
    let differs = |name: &str, value: &str| {
        let is = attributes::get(&exchange.labels, name);
        is.or(default_of(name)).unwrap_or("") != value
    };
    if attributes::all(asked).any(|(name, value)| differs(name, value)) {
        return Err(SnsError::invalid_because(
            "Attributes",
            "Topic already exists with different attributes",
        ));
    }
    let mut tags = tags::all(asked).peekable();
    if tags.peek().is_some() && !tags.eq(tags::all(&exchange.labels)) {
        return Err(SnsError::invalid_because("Tags", "Topic already exists with different tags"));
    }
    Ok(())
}

/// Sets an attribute that was checked.
fn set(labels: &mut Labels, name: &str, value: &str, now: Timestamp) {
    match name {
        archive::POLICY => archive::set(labels, value, now),
        name => attributes::set(labels, name, value),
    }
}

fn default_of(name: &str) -> Option<&'static str> {
    match name {
        "ContentBasedDeduplication" => Some("false"),
        "FifoThroughputScope" => Some("Topic"),
        _ => None,
    }
}

pub(super) async fn delete(call: &Call<'_>) -> Answer {
    match call.topic("TopicArn") {
        Ok(topic) if archive::retention_ms(&topic).is_some() => Err(SnsError::new(
            SnsCode::InvalidState,
            "The topic has an ArchivePolicy; set it to {} before the topic is deleted",
        )),
        Ok(topic) => {
            let catalog = call.session().catalog();
            let endpoints = catalog.bindings_from(topic.id).filter_map(Subscription::of);
            let endpoints: Vec<_> = endpoints.filter(|it| http::is_http(it.protocol)).collect();
            match call.session().delete_exchange(topic.id, false).await {
                // Somebody was faster.
                Ok(()) | Err(ChangeError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
            for it in endpoints {
                http::remove_queue(call.session(), it.id()).await?;
            }
            log::remove(call.session(), &topic).await?;
            call.done()
        }
        // What is not there need not be deleted.
        Err(error) if error == SnsError::no_topic() => call.done(),
        Err(error) => Err(error),
    }
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let after = after(call)?;
    let catalog = call.session().catalog();
    let exchanges = catalog.exchanges_from(DEFAULT_NAMESPACE, after.as_deref().unwrap_or(""));
    let is_next = |exchange: &&std::sync::Arc<Exchange>| {
        is_topic(exchange) && after.as_deref().is_none_or(|after| exchange.name.as_str() > after)
    };
    let mut exchanges = exchanges.filter(is_next);
    let page: Vec<_> = exchanges.by_ref().take(SNS_PAGE).collect();
    let more = exchanges.next().is_some();
    call.answer(|xml| {
        xml.element("Topics", |xml| {
            for exchange in &page {
                xml.element("member", |xml| xml.text("TopicArn", &call.topic_arn(&exchange.name)));
            }
        });
        if let Some(last) = page.last().filter(|_| more) {
            xml.text("NextToken", &URL_SAFE_NO_PAD.encode(&last.name));
        }
    })
}

/// What was last on the page before.
pub(super) fn after(call: &Call<'_>) -> Result<Option<String>, SnsError> {
    let Some(token) = call.params.get("NextToken").filter(|token| !token.is_empty()) else { return Ok(None) };
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|text| String::from_utf8(text).ok());
    text.map(Some).ok_or_else(|| SnsError::invalid_because("NextToken", "it is not one that was given out"))
}

pub(super) fn get_attributes(call: &Call<'_>) -> Answer {
    let topic = call.topic("TopicArn")?;
    let arn = call.topic_arn(&topic.name);
    let catalog = call.session().catalog();
    let (mut confirmed, mut pending) = (0_u64, 0_u64);
    for binding in catalog.bindings_from(topic.id) {
        match Subscription::of(binding) {
            Some(subscription) if subscription.is_pending() => pending += 1,
            Some(_) => confirmed += 1,
            None => {}
        }
    }
    let delivery = DeliveryPolicy::of_topic(attributes::get(&topic.labels, "DeliveryPolicy"));
    let mut pairs = vec![
        ("TopicArn", arn.clone()),
        ("Owner", call.echo.account.to_owned()),
        ("SubscriptionsConfirmed", confirmed.to_string()),
        ("SubscriptionsPending", pending.to_string()),
        ("SubscriptionsDeleted", "0".to_owned()),
        ("EffectiveDeliveryPolicy", delivery.shown_of_topic()),
    ];
    let set = |name: &str| attributes::get(&topic.labels, name).map(str::to_owned);
    pairs.push(("Policy", set("Policy").unwrap_or_else(|| default_policy(&arn, call.echo.account))));
    pairs.push(("DisplayName", set("DisplayName").unwrap_or_default()));
    if is_ordered(&topic) {
        pairs.push(("FifoTopic", "true".to_owned()));
        for name in ["ContentBasedDeduplication", "FifoThroughputScope"] {
            let value = set(name).or_else(|| default_of(name).map(str::to_owned));
            pairs.push((name, value.unwrap_or_default()));
        }
    }
    if let Some(beginning) = archive::beginning_shown(&topic, call.session().now()) {
        pairs.push(("BeginningArchiveTime", beginning));
    }
    for (name, value) in attributes::all(&topic.labels) {
        if name != PROTECTION && !pairs.iter().any(|(known, _)| *known == name) {
            pairs.push((name, value.to_owned()));
        }
    }
    call.answer(|xml| xml.map("Attributes", pairs))
}

/// Who may what, where nothing was said. Source: SNS Developer Guide, "Example cases for access control".
pub(super) fn default_policy(arn: &str, account: &str) -> String {
    let actions = [
        "GetTopicAttributes",
        "SetTopicAttributes",
        "AddPermission",
        "RemovePermission",
        "DeleteTopic",
        "Subscribe",
        "ListSubscriptionsByTopic",
        "Publish",
    ];
    let actions: Vec<String> = actions.iter().map(|action| format!("SNS:{action}")).collect();
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": actions,
            "Resource": arn,
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
        }],
    })
    .to_string()
}

pub(super) async fn set_attributes(call: &Call<'_>) -> Answer {
    let name = call.params.required("AttributeName")?;
    let value = call.params.get("AttributeValue").unwrap_or("");
    let now = call.session().now();
    call.change_topic("TopicArn", |topic, labels| {
        attributes::check_of_topic(name, value, is_ordered(topic))?;
        set(labels, name, value, now);
        Ok(())
    })
    .await?;
    log::ensure(call.session(), &*call.topic("TopicArn")?).await?;
    call.done()
}

fn checked_protection(policy: &str) -> Result<&str, SnsError> {
    match policy.is_empty() || attributes::is_json_map(policy) {
        true => Ok(policy),
        false => Err(SnsError::invalid_because(PROTECTION, "it is no JSON object of at most 20 KiB")),
    }
}

/// The policy is kept and given back; nothing is masked.
pub(super) async fn put_protection(call: &Call<'_>) -> Answer {
    let policy = checked_protection(call.params.required(PROTECTION)?)?;
    call.change_topic("ResourceArn", |_, labels| {
        attributes::set(labels, PROTECTION, policy);
        Ok(())
    })
    .await?;
    call.done()
}

pub(super) fn get_protection(call: &Call<'_>) -> Answer {
    let topic = call.topic("ResourceArn")?;
    let policy = attributes::get(&topic.labels, PROTECTION).unwrap_or("");
    call.answer(|xml| xml.text(PROTECTION, policy))
}

/// The topic of this name as `topic::named` has it, for those that hold an ARN only.
pub(super) fn exists(call: &Call<'_>, name: &str) -> bool {
    topic::named(&call.session().catalog(), name).is_some()
}
