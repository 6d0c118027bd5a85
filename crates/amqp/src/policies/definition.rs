//! What a policy sets, as key and value: checked when it is given, merged with what operators set, put over what was declared.
//!
//! Adding a key: a row in `KEYS`, and if it means something here its field in [`Definition::over`] and [`Definition::fields`].
//! Source: RabbitMQ documentation, "Parameters and Policies", "Operator Policies"; RabbitMQ 3.10, observed, for keys and texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use duolog_broker::{DeadLetter, Overflow, QueuePolicy, TopicPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{PolicyKind, brief};
use crate::arguments::{self, attempts_of, overflow_of, ttl_of};
use crate::codec::RawTable;
use crate::limits::{POLICY_KEY_BYTES, POLICY_NAME_BYTES};
use crate::session::streams::age_ms;

/// Keys and values, by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Definition(BTreeMap<String, Value>);

/// Which values a key takes.
enum Takes {
    Whole { least: i64 },
    Text { bytes: usize },
    One(&'static [&'static str]),
    Age,
    Any,
}

/// For whom a key is, and whether it means something here.
#[derive(PartialEq, Eq)]
enum Means {
    /// Operators may set it too.
    Limit,
    Setting,
    /// It says how RabbitMQ is to do what this broker does in its own way.
    Nothing,
    /// The same, and operators may set it.
    NoLimit,
}

struct Key {
    name: &'static str,
    /// What it is called in refusals.
    called: &'static str,
    takes: Takes,
    means: Means,
}

const fn key(name: &'static str, called: &'static str, takes: Takes, means: Means) -> Key {
    Key { name, called, takes, means }
}

const OVERFLOW: &str = "overflow";
const TTL: &str = "message-ttl";
const EXPIRES: &str = "expires";
const LENGTH: &str = "max-length";
const LENGTH_BYTES: &str = "max-length-bytes";
const DELIVERY_LIMIT: &str = "delivery-limit";
const DEAD_EXCHANGE: &str = "dead-letter-exchange";
const DEAD_KEY: &str = "dead-letter-routing-key";
const ALTERNATE: &str = "alternate-exchange";
const AGE: &str = "max-age";

const NAME: Takes = Takes::Text { bytes: POLICY_NAME_BYTES };
const ZERO: Takes = Takes::Whole { least: 0 };
const ONE: Takes = Takes::Whole { least: 1 };

const KEYS: &[Key] = &[
    key(TTL, "message TTL", ZERO, Means::Limit),
    key(EXPIRES, "queue expiry", ONE, Means::Limit),
    key(LENGTH, "maximum length", ZERO, Means::Limit),
    key(LENGTH_BYTES, "maximum length in bytes", ZERO, Means::Limit),
    key(DELIVERY_LIMIT, "delivery limit", ZERO, Means::Limit),
    key(OVERFLOW, "overflow value", Takes::One(&arguments::OVERFLOWS), Means::Setting),
    key(DEAD_EXCHANGE, "dead letter exchange name", NAME, Means::Setting),
    key(DEAD_KEY, "dead letter routing key", Takes::Text { bytes: POLICY_KEY_BYTES }, Means::Setting),
    key(ALTERNATE, "alternate exchange name", NAME, Means::Setting),
    key("max-in-memory-length", "maximum memory in messages", ZERO, Means::NoLimit),
    key("max-in-memory-bytes", "maximum memory in bytes", ZERO, Means::NoLimit),
    key("dead-letter-strategy", "dead letter strategy", Takes::One(&arguments::STRATEGIES), Means::Nothing),
    key("queue-mode", "queue-mode value", Takes::One(&["default", "lazy"]), Means::Nothing),
    key("queue-version", "queue version", ONE, Means::Nothing),
    key("queue-master-locator", "queue master locator", NAME, Means::Nothing),
    key("queue-leader-locator", "queue leader locator", NAME, Means::Nothing),
    key("initial-cluster-size", "initial cluster size", ONE, Means::Nothing),
    key(AGE, "max age", Takes::Age, Means::Setting),
    key("stream-max-segment-size-bytes", "segment size", ONE, Means::Nothing),
    key("ha-mode", "ha-mode value", Takes::One(&["all", "exactly", "nodes"]), Means::Nothing),
    key("ha-params", "ha-params value", Takes::Any, Means::Nothing),
    key("ha-sync-mode", "ha-sync-mode value", Takes::One(&["manual", "automatic"]), Means::Nothing),
    key("ha-sync-batch-size", "ha-sync-batch-size value", ONE, Means::Nothing),
    key("ha-promote-on-shutdown", "promotion", Takes::One(&["always", "when-synced"]), Means::Nothing),
    key("ha-promote-on-failure", "promotion", Takes::One(&["always", "when-synced"]), Means::Nothing),
];

impl Takes {
    fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Whole { least } => value.as_i64().is_some_and(|it| it >= *least),
            Self::Text { bytes } => value.as_str().is_some_and(|it| it.len() <= *bytes),
            Self::One(of) => value.as_str().is_some_and(|it| of.contains(&it)),
            Self::Age => value.as_str().and_then(age_ms).is_some(),
            Self::Any => true,
        }
    }
}

/// Which fields of a queue's settings a definition names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    ttl: bool,
    length: bool,
    length_bytes: bool,
    overflow: bool,
    attempts: bool,
    dead_letter: bool,
}

impl Fields {
    /// `settings`, with those that either names taken from `from`.
    pub(super) fn taken(self, other: Self, from: QueuePolicy, settings: &QueuePolicy) -> QueuePolicy {
        let mut settings = settings.clone();
        if self.ttl || other.ttl {
            settings.message_ttl_ms = from.message_ttl_ms;
        }
        if self.length || other.length {
            settings.length_max = from.length_max;
        }
        if self.length_bytes || other.length_bytes {
            settings.length_bytes_max = from.length_bytes_max;
        }
        if self.overflow || other.overflow {
            settings.overflow = from.overflow;
        }
        if self.attempts || other.attempts {
            settings.attempts_max = from.attempts_max;
        }
        if self.dead_letter || other.dead_letter {
            settings.dead_letter = from.dead_letter;
        }
        settings
    }
}

impl Definition {
    /// # Errors
    /// What is wrong with the first value that is, or which keys there are not.
    pub(super) fn parse(kind: PolicyKind, given: &Map<String, Value>) -> Result<Self, String> {
        if given.is_empty() {
            return Err("no policy provided".to_owned());
        }
        let is_for = |it: &&Key| match kind {
            PolicyKind::Operator => matches!(it.means, Means::Limit | Means::NoLimit),
            PolicyKind::User => true,
        };
        let known = |name: &str| KEYS.iter().filter(is_for).find(|it| it.name == name);
        for (name, value) in given {
            if let Some(key) = known(name).filter(|it| !it.takes.takes(value)) {
                return Err(format!("{} is not a valid {}", brief(value), key.called));
            }
        }
        let unknown: Vec<_> = given.keys().map(String::as_str).filter(|name| known(name).is_none()).collect();
        if !unknown.is_empty() {
            return Err(format!("{unknown:?} are not recognised policy settings"));
        }
        Ok(Self(given.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    /// Both together: of limits that both set the lower one, of all else what operators say.
    pub(super) fn merged(users: Option<&Self>, operators: Option<&Self>) -> Self {
        let mut merged = users.cloned().unwrap_or_default();
        for (name, value) in operators.into_iter().flat_map(|it| &it.0) {
            let lower = merged.0.get(name).filter(|other| other.as_i64() < value.as_i64());
            let value = lower.unwrap_or(value).clone();
            merged.0.insert(name.clone(), value);
        }
        merged
    }

    /// What of it means something for a queue.
    pub(super) fn for_queue(mut self, is_quorum: bool) -> Self {
        let is_for_queues =
            |name: &str| ![ALTERNATE, AGE].contains(&name) && (is_quorum || name != DELIVERY_LIMIT);
        let has_meaning = |it: &Key| matches!(it.means, Means::Limit | Means::Setting);
        self.0.retain(|name, _| {
            is_for_queues(name) && KEYS.iter().any(|it| it.name == name && has_meaning(it))
        });
        self
    }

    /// What of it means something for a stream.
    pub(super) fn for_stream(mut self) -> Self {
        self.0.retain(|name, _| [AGE, LENGTH_BYTES].contains(&name.as_str()));
        self
    }

    /// As a label; `None` if it says nothing.
    pub(super) fn to_label(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| serde_json::to_string(self).expect("keys are strings"))
    }

    /// The inverse; nothing if somebody has put nonsense into the label.
    pub(crate) fn of_label(label: Option<&String>) -> Self {
        label.and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default()
    }

    fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_i64()?.try_into().ok()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The exchange that gets what an exchange leads nowhere.
    pub(super) fn alternate(&self) -> Option<&str> {
        self.text(ALTERNATE)
    }

    /// Without use for how many milliseconds a queue goes.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.whole(EXPIRES)
    }

    pub(super) fn fields(&self) -> Fields {
        let has = |name: &str| self.0.contains_key(name);
        Fields {
            ttl: has(TTL),
            length: has(LENGTH),
            length_bytes: has(LENGTH_BYTES),
            overflow: has(OVERFLOW),
            attempts: has(DELIVERY_LIMIT),
            dead_letter: has(DEAD_EXCHANGE) || has(DEAD_KEY),
        }
    }

    /// The settings of a queue that was declared with these arguments: of limits the lower one, of all else what was declared.
    /// Source: RabbitMQ `rabbit_amqqueue_process`, `res_min` and `res_arg`.
    pub(super) fn over(&self, own: QueuePolicy, arguments: RawTable<'_>) -> QueuePolicy {
        let declared = |name: &str| arguments.get(name).and_then(|it| it.as_str());
        let exchange = declared("x-dead-letter-exchange").or_else(|| self.text(DEAD_EXCHANGE));
        let key = declared("x-dead-letter-routing-key").or_else(|| self.text(DEAD_KEY));
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let overflow = declared("x-overflow").or_else(|| self.text(OVERFLOW)).and_then(overflow_of);
        QueuePolicy {
            message_ttl_ms: lower(own.message_ttl_ms, self.whole(TTL).map(ttl_of)),
            length_max: lower(own.length_max, self.whole(LENGTH)),
            length_bytes_max: lower(own.length_bytes_max, self.whole(LENGTH_BYTES)),
            attempts_max: lower(own.attempts_max, self.whole(DELIVERY_LIMIT).map(attempts_of)),
            overflow: overflow.unwrap_or(Overflow::DropHead),
            dead_letter: exchange.map(|name| DeadLetter::Exchange { name: name.to_owned(), key }),
            ..own
        }
    }

    /// How a stream keeps its records, if it was declared so: of both the lesser. What neither this nor `before` names stays as it `is`.
    pub(super) fn over_stream(&self, before: &Self, own: &TopicPolicy, is: &TopicPolicy) -> TopicPolicy {
        let names = |name: &str| self.0.contains_key(name) || before.0.contains_key(name);
        let mut kept = is.clone();
        if names(AGE) {
            kept.retention_ms = lower(own.retention_ms, self.text(AGE).and_then(age_ms));
        }
        if names(LENGTH_BYTES) {
            kept.retention_bytes = lower(own.retention_bytes, self.whole(LENGTH_BYTES));
        }
        kept
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(value: Value) -> Definition {
        Definition::parse(PolicyKind::User, value.as_object().unwrap()).unwrap()
    }

    #[test]
    fn of_two_limits_the_lower_one_holds_and_of_two_settings_that_of_the_operators() {
        let users = definition(json!({ "max-length": 5, "message-ttl": 10, "overflow": "reject-publish" }));
        let operators = definition(json!({ "max-length": 7, "message-ttl": 3, "max-length-bytes": 9 }));
        let both =
            json!({ "max-length": 5, "message-ttl": 3, "max-length-bytes": 9, "overflow": "reject-publish" });
        assert_eq!(Definition::merged(Some(&users), Some(&operators)), definition(both));
        assert_eq!(Definition::merged(None, Some(&operators)), operators);
        assert_eq!(Definition::merged(Some(&users), None), users);
    }

    #[test]
    fn what_has_no_meaning_for_a_queue_changes_nothing_of_it() {
        let all =
            json!({ "ha-mode": "all", "alternate-exchange": "x", "delivery-limit": 2, "max-length": 1 });
        let label = |is_quorum| definition(all.clone()).for_queue(is_quorum).to_label();
        assert_eq!(label(false).unwrap(), r#"{"max-length":1}"#);
        assert_eq!(label(true).unwrap(), r#"{"delivery-limit":2,"max-length":1}"#);
        assert_eq!(definition(json!({ "queue-mode": "lazy" })).for_queue(true).to_label(), None);
    }

    #[test]
    fn settings_that_no_definition_names_stay_as_they_are() {
        let is = QueuePolicy { length_max: Some(1), message_ttl_ms: Some(2), ..QueuePolicy::default() };
        let from = QueuePolicy { length_max: Some(3), message_ttl_ms: Some(4), ..QueuePolicy::default() };
        let (length, none) = (definition(json!({ "max-length": 9 })).fields(), Fields::default());
        let expected = QueuePolicy { length_max: Some(3), ..is.clone() };
        assert_eq!(length.taken(none, from.clone(), &is), expected);
        assert_eq!(none.taken(length, from.clone(), &is), expected);
        assert_eq!(none.taken(none, from, &is), is);
    }
}
