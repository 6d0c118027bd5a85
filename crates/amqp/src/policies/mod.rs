//! Policies: what is said of queues and exchanges by patterns of their names, beside what their declarations say.
//!
//! A virtual host's are labels of the exchange that marks it, so they are durable, go with it, and are seen in one snapshot with the
//! queues. What a queue was declared with stays in its own labels; what holds for it is its settings, and the label `IN_FORCE` what of
//! them policies have said. Invariant: who has changed policies or declared something looks afterwards whether all is as the
//! catalog then says, and changes it until it is (`apply.rs`), so the last of changes at the same time is followed by such a look.
//! Source: RabbitMQ documentation, "Parameters and Policies", "Operator Policies".

mod apply;
mod definition;
mod pattern;

use std::collections::HashMap;
use std::sync::Arc;

use duolog_broker::routing::Exchange;
use duolog_broker::{Catalog, Labels, Queue};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::apply::kept_without_policies;
pub use self::definition::Definition;
use self::pattern::Pattern;
use crate::codec::RawTable;
use crate::labels::Declared;
use crate::limits::POLICY_NAME_BYTES;
use crate::vhosts::MARK;

/// What of a thing's settings policies have said, as a label of it.
pub(crate) const IN_FORCE: &str = "amqp.in-force";

/// Whose a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// One of users.
    User,
    /// One of operators, which bounds those of users.
    Operator,
}

impl PolicyKind {
    /// What the names of their labels begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::User => "amqp.policy.",
            Self::Operator => "amqp.operator-policy.",
        }
    }
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyTo {
    /// Queues of all types.
    Queues,
    /// Those of type `classic`.
    ClassicQueues,
    /// Those of type `quorum`.
    QuorumQueues,
    /// Those of type `stream`.
    Streams,
    /// Exchanges.
    Exchanges,
    /// Everything.
    All,
}

/// What a policy may be for.
#[derive(Clone, Copy, Debug)]
enum Target {
    ClassicQueue,
    QuorumQueue,
    Stream,
    Exchange,
}

impl ApplyTo {
    fn is_for(self, target: Target) -> bool {
        match target {
            Target::ClassicQueue => matches!(self, Self::Queues | Self::ClassicQueues | Self::All),
            Target::QuorumQueue => matches!(self, Self::Queues | Self::QuorumQueues | Self::All),
            Target::Stream => matches!(self, Self::Queues | Self::Streams | Self::All),
            Target::Exchange => matches!(self, Self::Exchanges | Self::All),
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Unique among those of its kind in its virtual host.
    #[serde(skip)]
    pub name: String,
    /// What the names of things must match.
    pub pattern: String,
    /// Which things.
    #[serde(rename = "apply-to")]
    pub apply_to: ApplyTo,
    /// What it sets.
    pub definition: Definition,
    /// Of those that match, the one with the highest holds; of several with the same, the first by name.
    pub priority: i64,
}

impl Policy {
    /// As the management API gives it.
    ///
    /// # Errors
    /// What is wrong with it, in RabbitMQ's words where it has some.
    pub fn parse(kind: PolicyKind, name: &str, given: &Map<String, Value>) -> Result<Self, String> {
        let missing: Vec<_> = ["pattern", "definition"]
            .into_iter()
            .filter(|key| !given.contains_key(*key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if !missing.is_empty() {
            return Err(format!("[{}]", missing.join(",")));
        }
        Self::checked(kind, name, given).map_err(|why| format!("Validation failed\n\n{why}\n"))
    }

    fn checked(kind: PolicyKind, name: &str, given: &Map<String, Value>) -> Result<Self, String> {
        if name.is_empty() || name.len() > POLICY_NAME_BYTES {
            return Err(format!("the name of a policy has 1 to {POLICY_NAME_BYTES} bytes"));
        }
        let Some(pattern) = given["pattern"].as_str() else {
            return Err(format!("pattern should be a string but was {}", brief(&given["pattern"])));
        };
        if let Err(why) = Pattern::parse(pattern) {
            return Err(format!("pattern should be regular expression but is invalid: {why}"));
        }
        let apply_to = given.get("apply-to").map_or(Ok(ApplyTo::All), ApplyTo::deserialize);
        let apply_to = apply_to.map_err(|error| format!("apply-to unrecognised: {error}"))?;
        let priority = given.get("priority").map_or(Some(0), Value::as_i64).ok_or_else(|| {
            format!("priority should be a number, actually was {}", brief(&given["priority"]))
        })?;
        let Some(definition) = given["definition"].as_object() else {
            return Err(format!("definition should be an object but was {}", brief(&given["definition"])));
        };
        let definition = Definition::parse(kind, definition)?;
        Ok(Self { name: name.to_owned(), pattern: pattern.to_owned(), apply_to, definition, priority })
    }

    fn of_label(name: &str, value: &str) -> Option<Self> {
        let it: Self = serde_json::from_str(value).ok()?;
        Some(Self { name: name.to_owned(), ..it })
    }
}

/// The beginning of a value, for a refusal.
fn brief(value: &Value) -> String {
    /// Characters.
    const SHOWN: usize = 64;
    value.to_string().chars().take(SHOWN).collect()
}

/// Those of one kind that an exchange is labelled with, by name.
pub(crate) fn labelled(labels: &Labels, kind: PolicyKind) -> impl Iterator<Item = Policy> {
    let prefix = kind.prefix();
    let from = labels.range(prefix.to_owned()..);
    let named = from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)));
    named.filter_map(|(name, value)| Policy::of_label(name, value))
}

/// What holds for a queue or an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce {
    /// The policy.
    pub policy: Option<String>,
    /// That of operators.
    pub operator_policy: Option<String>,
    /// What both set together.
    pub definition: Definition,
}

/// The policies of a virtual host, ready to be looked at.
#[derive(Debug, Default)]
struct Compiled {
    users: Vec<(Policy, Pattern)>,
    operators: Vec<(Policy, Pattern)>,
}

impl Compiled {
    fn new(labels: &Labels) -> Self {
        let compiled = |kind| {
            // A pattern that is none was refused when it was put.
            let with_pattern = |it: Policy| Some((Pattern::parse(&it.pattern).ok()?, it));
            let mut all: Vec<_> =
                labelled(labels, kind).filter_map(with_pattern).map(|(pattern, it)| (it, pattern)).collect();
            // Stable: by name among those of the same.
            all.sort_by_key(|(it, _)| std::cmp::Reverse(it.priority));
            all
        };
        Self { users: compiled(PolicyKind::User), operators: compiled(PolicyKind::Operator) }
    }

    fn in_force(&self, target: Target, name: &str) -> InForce {
        let first = |all: &'_ [(Policy, Pattern)]| {
            let is_it =
                |(it, pattern): &&(Policy, Pattern)| it.apply_to.is_for(target) && pattern.is_match(name);
            all.iter().find(is_it).map(|(it, _)| it.clone())
        };
        let (policy, operator) = (first(&self.users), first(&self.operators));
        let definitions = [&policy, &operator].map(|it| it.as_ref().map(|it| &it.definition));
        InForce {
            definition: Definition::merged(definitions[0], definitions[1]),
            policy: policy.map(|it| it.name),
            operator_policy: operator.map(|it| it.name),
        }
    }
}

/// With the exchange that they were read from.
type CompiledFrom = (Arc<Exchange>, Arc<Compiled>);

/// What is compiled of the policies of virtual hosts.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// By namespace.
    compiled: Mutex<HashMap<String, CompiledFrom>>,
}

impl Policies {
    /// `None` if a namespace has none, which is what most have.
    fn of(&self, catalog: &Catalog, namespace: &str) -> Option<Arc<Compiled>> {
        let mark = catalog.exchange(namespace, MARK)?;
        let has = |kind: PolicyKind| {
            let mut from = mark.labels.range(kind.prefix().to_owned()..);
            from.next().is_some_and(|(key, _)| key.starts_with(kind.prefix()))
        };
        if !has(PolicyKind::User) && !has(PolicyKind::Operator) {
            return None;
        }
        let mut all = self.compiled.lock();
        if let Some((from, compiled)) = all.get(namespace)
            && Arc::ptr_eq(from, mark)
        {
            return Some(Arc::clone(compiled));
        }
        let compiled = Arc::new(Compiled::new(&mark.labels));
        all.retain(|namespace, _| catalog.exchange(namespace, MARK).is_some());
        all.insert(namespace.to_owned(), (Arc::clone(mark), Arc::clone(&compiled)));
        Some(compiled)
    }

    /// What holds for a queue of this name that is declared with these arguments.
    fn for_queue(
        &self,
        catalog: &Catalog,
        (namespace, name): (&str, &str),
        arguments: RawTable<'_>,
    ) -> InForce {
        let target = if is_quorum(arguments) { Target::QuorumQueue } else { Target::ClassicQueue };
        self.of(catalog, namespace).map(|it| it.in_force(target, name)).unwrap_or_default()
    }

    /// What holds for a queue; nothing for those that other protocols declared.
    pub(crate) fn on_queue(&self, catalog: &Catalog, queue: &Queue) -> InForce {
        if !crate::labels::is_ours(queue) {
            return InForce::default();
        }
        let declared = Declared::of(&queue.labels);
        self.for_queue(catalog, (&queue.namespace, &queue.name), declared.table())
    }

    /// What holds for a stream.
    pub(crate) fn on_stream(&self, catalog: &Catalog, namespace: &str, name: &str) -> InForce {
        self.of(catalog, namespace).map(|it| it.in_force(Target::Stream, name)).unwrap_or_default()
    }

    /// What holds for an exchange.
    pub(crate) fn on_exchange(&self, catalog: &Catalog, namespace: &str, name: &str) -> InForce {
        self.of(catalog, namespace).map(|it| it.in_force(Target::Exchange, name)).unwrap_or_default()
    }
}

fn is_quorum(arguments: RawTable<'_>) -> bool {
    arguments.get("x-queue-type").and_then(|it| it.as_str()) == Some("quorum")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, body: Value) -> Policy {
        Policy::parse(PolicyKind::User, name, body.as_object().unwrap()).unwrap()
    }

    fn labels(policies: &[Policy]) -> Labels {
        let labelled = |it: &Policy| {
            (format!("{}{}", PolicyKind::User.prefix(), it.name), serde_json::to_string(it).unwrap())
        };
        policies.iter().map(labelled).collect()
    }

    #[test]
    fn a_policy_is_read_as_it_was_written() {
        let all = [
            policy("a", json!({ "pattern": "^q", "definition": { "max-length": 1 }, "priority": -3 })),
            policy(
                "b c/ü",
                json!({ "pattern": "", "definition": { "ha-mode": "all" }, "apply-to": "quorum_queues" }),
            ),
        ];
        assert_eq!(labelled(&labels(&all), PolicyKind::User).collect::<Vec<_>>(), all);
        assert_eq!(labelled(&labels(&all), PolicyKind::Operator).count(), 0);
    }

    #[test]
    fn the_highest_priority_holds_and_the_first_name_among_equals() {
        let of = |pattern: &str, priority: i64, apply_to: &str| json!({ "pattern": pattern, "definition": { "max-length": 1 }, "priority": priority, "apply-to": apply_to });
        let compiled = Compiled::new(&labels(&[
            policy("any", of(".*", 0, "all")),
            policy("b", of("^q", 5, "queues")),
            policy("c", of("^q", 5, "all")),
            policy("quorum", of("^qq", 7, "quorum_queues")),
            policy("stream", of("", 9, "streams")),
        ]));
        for (target, name, expected) in [
            (Target::ClassicQueue, "x", "any"),
            (Target::ClassicQueue, "q", "b"),
            (Target::ClassicQueue, "qq", "b"),
            (Target::QuorumQueue, "qq", "quorum"),
            (Target::Exchange, "q", "c"),
            (Target::Stream, "q", "stream"),
        ] {
            assert_eq!(
                compiled.in_force(target, name).policy.as_deref(),
                Some(expected),
                "{target:?} {name}"
            );
        }
    }
}
