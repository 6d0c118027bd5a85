//! A subscription: a binding of a topic with labels. Its key is its id, which follows from what is subscribed, so that a subscription made
//! twice is one.
//!
//! What cannot be delivered to now is *parked*: bound to the topic itself, which a publish has gone through already, so it leads nowhere.
//! That is a subscription of a queue that does not exist (yet), one that waits to be confirmed, and one whose protocol is not delivered.
//! One of an `http` or `https` endpoint leads to a queue of its own once it is confirmed: see `http`. One that is fed from the topic's log is
//! parked, too: see `replay`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use duolog_broker::catalog::DEFAULT_NAMESPACE;
use duolog_broker::errors::ChangeError;
use duolog_broker::limits::RULES_BYTES;
use duolog_broker::routing::{
    Binding, BindingSpec, Destination, Exchange, ExchangeId, Filter, Rules, RulesOn,
};
use duolog_broker::{Catalog, Labels, Queue, Session};
use duolog_record::Timestamp;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::replay::{self, State};
use super::topic::{self, is_topic};
use super::topics::after;
use super::{Answer, Call, DeliveryPolicy, SnsCode, SnsError, attributes, http, shown};
use crate::codec::arn;
use crate::limits::{SNS_FILTER_POLICIES, SNS_PAGE};
use crate::outbound;

const PROTOCOL: &str = "aws.sns.protocol";
const ENDPOINT: &str = "aws.sns.endpoint";
/// There until the subscription is confirmed.
pub(super) const TOKEN: &str = "aws.sns.token";
/// Until when the token may be used, milliseconds since 1970.
pub(super) const TOKEN_UNTIL: &str = "aws.sns.token-until";
/// The token that it was confirmed with: whoever confirms it once more is answered as the first time.
const TOKEN_USED: &str = "aws.sns.token-used";
/// There if the request that confirmed it was signed, or none was needed.
const AUTHENTICATED: &str = "aws.sns.authenticated";
/// There if only a signed request may undo it.
const BINDS: &str = "aws.sns.authenticate-on-unsubscribe";
/// How the broker was called when an endpoint was subscribed: what is posted there has URLs of the broker in it.
pub(super) const HOST: &str = "aws.sns.host";
/// What the topic was called then: the region and the account in it are the subscriber's.
pub(super) const TOPIC_ARN: &str = "aws.sns.topic-arn";

/// A binding that is a subscription.
#[derive(Clone, Copy)]
pub(super) struct Subscription<'c> {
    pub binding: &'c Arc<Binding>,
    pub protocol: &'c str,
    pub endpoint: &'c str,
}

impl<'c> Subscription<'c> {
    pub fn of(binding: &'c Arc<Binding>) -> Option<Self> {
        let labels = &binding.spec.labels;
        Some(Self { binding, protocol: labels.get(PROTOCOL)?, endpoint: labels.get(ENDPOINT)? })
    }

    pub fn is_pending(self) -> bool {
        self.binding.spec.labels.contains_key(TOKEN)
    }

    /// It was not confirmed in time: it is as if it were not there.
    pub fn has_expired(self, now: Timestamp) -> bool {
        let until = self.label(TOKEN_UNTIL).and_then(|until| until.parse().ok()).unwrap_or(0_i64);
        self.is_pending() && now.0 > until
    }

    /// True if it can be confirmed with this token, or was.
    pub fn has_token(self, token: &str) -> bool {
        self.label(TOKEN) == Some(token) || self.label(TOKEN_USED) == Some(token)
    }

    /// Until when its token may be used.
    pub fn token_until(self) -> i64 {
        self.label(TOKEN_UNTIL).and_then(|until| until.parse().ok()).unwrap_or(0)
    }

    /// True if only a signed request may undo it.
    pub fn is_bound(self) -> bool {
        self.label(BINDS).is_some()
    }

    fn was_authenticated(self) -> bool {
        let needed_none = !http::is_http(self.protocol) && !self.is_pending();
        needed_none || self.label(AUTHENTICATED).is_some()
    }

    pub fn label(self, name: &str) -> Option<&'c str> {
        self.binding.spec.labels.get(name).map(String::as_str)
    }

    pub fn is_raw(self) -> bool {
        self.attribute("RawMessageDelivery") == Some("true")
    }

    pub fn id(self) -> &'c str {
        std::str::from_utf8(&self.binding.spec.key).unwrap_or("")
    }

    /// An attribute that is set.
    pub fn attribute(self, name: &str) -> Option<&'c str> {
        attributes::get(&self.binding.spec.labels, name)
    }

    /// An attribute as a client reads it.
    pub fn shown(self, name: &str) -> Option<&'c str> {
        match (name, &self.binding.spec.filter) {
            ("FilterPolicy", Filter::Rules(rules)) => Some(rules.text()),
            ("FilterPolicyScope", Filter::Rules(rules)) => Some(scope(rules.on())),
            ("FilterPolicy", _) => None,
            _ => self.attribute(name),
        }
    }
}

fn scope(on: RulesOn) -> &'static str {
    match on {
        RulesOn::Headers => "MessageAttributes",
        RulesOn::Body => "MessageBody",
    }
}

/// The id of what is subscribed. Source: RFC 9562, "UUID Version 8".
pub(super) fn id_of(exchange: ExchangeId, protocol: &str, endpoint: &str) -> String {
    // Region and account of a queue are not looked at, so they are not part of what it is.
    let endpoint = if protocol == "sqs" { arn::queue_name(endpoint).unwrap_or(endpoint) } else { endpoint };
    let mut hash = Sha256::new();
    hash.update(exchange.0.to_be_bytes());
    for part in [protocol, endpoint] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(half).into_uuid().to_string()
}

/// A subscription that is to be.
pub(super) fn spec_of(catalog: &Catalog, exchange: &Exchange, protocol: &str, endpoint: &str) -> BindingSpec {
    let labels = [(PROTOCOL, protocol), (ENDPOINT, endpoint)];
    BindingSpec {
        source: exchange.id,
        destination: destination(catalog, exchange.id, protocol, endpoint),
        key: Bytes::from(id_of(exchange.id, protocol, endpoint)),
        filter: Filter::All,
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}

/// Where it leads as things are. That of an endpoint leads to its queue from when it is confirmed.
fn destination(catalog: &Catalog, exchange: ExchangeId, protocol: &str, endpoint: &str) -> Destination {
    let name = arn::queue_name(endpoint).filter(|_| protocol == "sqs");
    let queue = name.and_then(|name| catalog.queue(DEFAULT_NAMESPACE, name));
    queue.map_or(Destination::Exchange(exchange), |queue| Destination::Queue(queue.id))
}

/// The subscription with this id.
pub(super) fn find<'c>(catalog: &'c Catalog, exchange: &Exchange, id: &'c str) -> Option<Subscription<'c>> {
    catalog.bindings_by_key(exchange.id, id.as_bytes()).find_map(Subscription::of)
}

/// Sets an attribute of a subscription, filter policies too. `prefix` is what a complaint about one begins with.
pub(super) fn set_attribute(
    spec: &mut BindingSpec,
    name: &str,
    value: &str,
    prefix: &str,
) -> Result<(), SnsError> {
    let wrong = |what: &str| SnsError::invalid(format!("Invalid parameter: {prefix}{what}"));
    let parse = |on, policy: &str| {
        // Parsed it takes many times its length.
        if policy.len() > RULES_BYTES {
            return Err(wrong("FilterPolicy: it is longer than 256 KiB"));
        }
        match Rules::parse(on, policy) {
            Ok(rules) => Ok(Filter::Rules(Arc::new(rules))),
            Err(error) => Err(wrong(&format!("FilterPolicy: {error}"))),
        }
    };
    match name {
        "FilterPolicyScope" => {
            let on = match value {
                "MessageAttributes" => RulesOn::Headers,
                "MessageBody" => RulesOn::Body,
                other => {
                    return Err(wrong(&format!(
                        "FilterPolicyScope: Invalid value [{}]. Please use either MessageBody or MessageAttributes",
                        shown(other)
                    )));
                }
            };
            if let Filter::Rules(rules) = &spec.filter {
                spec.filter = parse(on, rules.text())?;
            }
            attributes::set(&mut spec.labels, name, value);
        }
        "FilterPolicy" if value.is_empty() => spec.filter = Filter::All,
        "FilterPolicy" => {
            let on = match attributes::get(&spec.labels, "FilterPolicyScope") {
                Some("MessageBody") => RulesOn::Body,
                Some(_) | None => RulesOn::Headers,
            };
            spec.filter = parse(on, value)?;
        }
        _ => {
            attributes::check_of_subscription(name, value)?;
            attributes::set(&mut spec.labels, name, value);
        }
    }
    Ok(())
}

/// A topic has only so many filter policies: each is looked at with every message.
pub(super) fn check_policies(catalog: &Catalog, spec: &BindingSpec) -> Result<(), SnsError> {
    let filtered =
        |binding: &&Arc<Binding>| binding.spec.filter != Filter::All && binding.spec.key != spec.key;
    if spec.filter == Filter::All
        || catalog.bindings_from(spec.source).filter(filtered).count() < SNS_FILTER_POLICIES
    {
        return Ok(());
    }
    Err(SnsError::new(
        SnsCode::FilterPolicyLimitExceeded,
        format!("The topic has as many filter policies as it may ({SNS_FILTER_POLICIES})"),
    ))
}

/// A change of a subscription that failed.
pub(super) fn change_failed(error: ChangeError) -> SnsError {
    match error {
        ChangeError::OverLimit(what) => SnsError::new(SnsCode::SubscriptionLimitExceeded, what),
        error => error.into(),
    }
}

impl Call<'_> {
    /// Topic and id in a subscription's ARN.
    pub(super) fn subscription_arn(&self) -> Result<(&str, &str), SnsError> {
        let text = self.params.required("SubscriptionArn")?;
        let parts = text.split(':').count();
        if parts < 6 {
            let reason = format!("An ARN must have at least 6 elements, not {parts}");
            return Err(SnsError::invalid_because("SubscriptionArn", reason));
        }
        arn::subscription(text).ok_or_else(|| {
            SnsError::invalid_because("SubscriptionArn", "it is not the ARN of a subscription")
        })
    }

    pub(super) fn arn_of(&self, topic: &str, id: &str) -> String {
        format!("{}:{id}", self.topic_arn(topic))
    }
}

pub(super) fn get_attributes(call: &Call<'_>) -> Answer {
    let (name, id) = call.subscription_arn()?;
    let catalog = call.session().catalog();
    let topic = topic::named(&catalog, name).ok_or_else(SnsError::no_subscription)?;
    let it = find(&catalog, topic, id).ok_or_else(SnsError::no_subscription)?;
    let account = call.echo.account;
    let mut pairs = vec![
        ("SubscriptionArn", call.arn_of(name, id)),
        ("TopicArn", call.topic_arn(name)),
        ("Owner", account.to_owned()),
        ("Protocol", it.protocol.to_owned()),
        ("Endpoint", outbound::shown(it.endpoint)),
        ("RawMessageDelivery", it.is_raw().to_string()),
        ("PendingConfirmation", it.is_pending().to_string()),
        ("ConfirmationWasAuthenticated", it.was_authenticated().to_string()),
        ("SubscriptionPrincipal", format!("arn:aws:iam::{account}:root")),
    ];
    for name in [
        "FilterPolicy",
        "FilterPolicyScope",
        "RedrivePolicy",
        "DeliveryPolicy",
        "SubscriptionRoleArn",
        replay::POLICY,
    ] {
        if let Some(value) = it.shown(name) {
            pairs.push((name, value.to_owned()));
        }
    }
    if let Some(status) = State::of(it).and_then(State::shown) {
        pairs.push(("ReplayStatus", status.to_owned()));
    }
    if http::is_http(it.protocol) {
        let policy = attributes::get(&topic.labels, "DeliveryPolicy");
        let policy = DeliveryPolicy::of_subscription(policy, it.attribute("DeliveryPolicy"));
        pairs.push(("EffectiveDeliveryPolicy", policy.shown_of_subscription()));
    }
    call.answer(|xml| xml.map("Attributes", pairs))
}

pub(super) async fn set_attributes(call: &Call<'_>) -> Answer {
    let (topic_name, id) = call.subscription_arn()?;
    let name = call.params.required("AttributeName")?;
    let value = call.params.get("AttributeValue").unwrap_or("");
    loop {
        let catalog = call.session().catalog();
        let topic = topic::named(&catalog, topic_name).ok_or_else(SnsError::no_subscription)?;
        let it = find(&catalog, topic, id).ok_or_else(SnsError::no_subscription)?;
        let mut spec = it.binding.spec.clone();
        match name {
            replay::POLICY => replay::set(call, topic, &mut spec, value).await?,
            name => set_attribute(&mut spec, name, value, "")?,
        }
        check_policies(&catalog, &spec)?;
        if spec == it.binding.spec || call.session().rebind(it.binding, spec).await.map_err(change_failed)? {
            if name == replay::POLICY {
                call.frontend.deliveries.wake();
            }
            return call.done();
        }
    }
}

pub(super) fn list_of_topic(call: &Call<'_>) -> Answer {
    let topic = call.topic("TopicArn")?;
    listed(call, Some(&topic))
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    listed(call, None)
}

/// A page of subscriptions, by the names of their topics and their ids.
fn listed(call: &Call<'_>, only: Option<&Exchange>) -> Answer {
    let token = after(call)?;
    let after = token.as_deref().and_then(|token| token.split_once('/'));
    if token.is_some() && after.is_none() {
        return Err(SnsError::invalid_because("NextToken", "it is not one that was given out"));
    }
    let catalog = call.session().catalog();
    let first = only.map_or(after.map_or("", |(name, _)| name), |only| &only.name);
    let topics = catalog
        .exchanges_from(DEFAULT_NAMESPACE, first)
        .filter(|exchange| is_topic(exchange))
        .take_while(|exchange| only.is_none_or(|only| only.id == exchange.id));
    let mut all = topics.flat_map(|topic| {
        let is_after = move |it: &Subscription<'_>| {
            after.is_none_or(|(name, id)| (topic.name.as_str(), it.id()) > (name, id))
        };
        catalog
            .bindings_from(topic.id)
            .filter_map(Subscription::of)
            .filter(is_after)
            .map(move |it| (topic, it))
    });
    let page: Vec<_> = all.by_ref().take(SNS_PAGE).collect();
    let more = all.next().is_some();
    call.answer(|xml| {
        xml.element("Subscriptions", |xml| {
            for (topic, it) in &page {
                xml.element("member", |xml| {
                    xml.text("TopicArn", &call.topic_arn(&topic.name));
                    xml.text("Protocol", it.protocol);
                    match it.is_pending() {
                        true => xml.text("SubscriptionArn", "PendingConfirmation"),
                        false => xml.text("SubscriptionArn", &call.arn_of(&topic.name, it.id())),
                    }
                    xml.text("Owner", call.echo.account);
                    xml.text("Endpoint", &outbound::shown(it.endpoint));
                });
            }
        });
        if let Some((topic, it)) = page.last().filter(|_| more) {
            xml.text("NextToken", &URL_SAFE_NO_PAD.encode(format!("{}/{}", topic.name, it.id())));
        }
    })
}

/// Keeps the subscriptions of a queue that is to be deleted: they hold again when a queue of its name is made.
pub(crate) async fn park(session: &Session, queue: &Queue) {
    let catalog = session.catalog();
    for binding in catalog.bindings_to(Destination::Queue(queue.id)) {
        if Subscription::of(binding).is_some() {
            let spec = BindingSpec {
                destination: Destination::Exchange(binding.spec.source),
                ..binding.spec.clone()
            };
            lead(session, binding, spec).await;
        }
    }
}

/// Puts in force the subscriptions of a queue that has been made.
pub(crate) async fn unpark(session: &Session, name: &str) {
    let catalog = session.catalog();
    let Some(queue) = catalog.queue(DEFAULT_NAMESPACE, name) else { return };
    for topic in catalog.exchanges(DEFAULT_NAMESPACE).filter(|exchange| is_topic(exchange)) {
        let id = id_of(topic.id, "sqs", &arn::of_queue("", "", name));
        if let Some(it) = catalog.bindings_by_key(topic.id, id.as_bytes()).find_map(Subscription::of)
            && it.binding.spec.destination == Destination::Exchange(topic.id)
            && !replay::is_fed(it)
        {
            let destination = Destination::Queue(queue.id);
            lead(session, it.binding, BindingSpec { destination, ..it.binding.spec.clone() }).await;
        }
    }
}

/// The same for one topic, whoever made its subscribers' queues.
pub(super) async fn unpark_of(session: &Session, topic: &Exchange) {
    let catalog = session.catalog();
    for binding in catalog.bindings_to(Destination::Exchange(topic.id)) {
        let Some(it) = Subscription::of(binding).filter(|it| it.binding.spec.source == topic.id) else {
            continue;
        };
        let destination = destination(&catalog, topic.id, it.protocol, it.endpoint);
        if destination != binding.spec.destination && !it.is_pending() && !replay::is_fed(it) {
            lead(session, binding, BindingSpec { destination, ..binding.spec.clone() }).await;
        }
    }
}

async fn lead(session: &Session, known: &Arc<Binding>, spec: BindingSpec) {
    match session.rebind(known, spec).await {
        // If it has changed or gone meanwhile, so has what was to be done.
        Ok(_) | Err(ChangeError::NotFound(_)) => {}
        Err(error) => warn!(%error, "a subscription cannot follow its queue"),
    }
}

/// Labels of a subscription that has been confirmed.
pub(super) fn confirmed(mut labels: Labels, is_signed: bool, binds: bool) -> Labels {
    if let Some(token) = labels.remove(TOKEN) {
        labels.insert(TOKEN_USED.to_owned(), token);
    }
    for (label, _) in [(AUTHENTICATED, is_signed), (BINDS, binds)].into_iter().filter(|(_, is)| *is) {
        labels.insert(label.to_owned(), "true".to_owned());
    }
    labels
}
