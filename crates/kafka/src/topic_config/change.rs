//! Changing the settings of a topic that exists: some of them (`changed`), or all (`replaced`).
//!
//! Pure: from a topic and what is asked for to the policy and labels that then hold.
//! Source: KIP-339 (operations), KIP-133 (replacement).

use std::collections::HashSet;

use duolog_broker::{Keep, Labels, Topic, TopicPolicy};

use super::policy::{apply, is_retention, unsay};
use super::{ConfigError, Kind, SETTINGS, Setting, find};
use crate::KafkaOptions;

/// Settings that Kafka does not have begin with this.
const OURS: &str = "duolog.";

/// Label of a topic that was kept until settled, and so many records more, before a client set how long to keep it.
const KEPT_SETTLED: &str = "kafka-kept-settled";

/// What is to become of one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// It gets this value.
    Set(&'a str),
    /// It follows the default again.
    Delete,
    /// These elements are added to its list.
    Append(&'a str),
    /// These elements are taken from its list.
    Subtract(&'a str),
}

impl<'a> Change<'a> {
    /// From the wire. Source: Kafka `AlterConfigOp.OpType`.
    ///
    /// # Errors
    /// `NoValue`, `Operation`.
    pub fn of_wire(name: &str, operation: i8, value: Option<&'a str>) -> Result<Self, ConfigError> {
        let value = value.ok_or_else(|| ConfigError::NoValue(name.to_owned()));
        match operation {
            0 => value.map(Self::Set),
            1 => Ok(Self::Delete),
            2 => value.map(Self::Append),
            3 => value.map(Self::Subtract),
            operation => Err(ConfigError::Operation { name: name.to_owned(), operation }),
        }
    }
}

/// Policy and labels once some settings have changed.
///
/// # Errors
/// See [`ConfigError`]; then nothing changes.
pub(crate) fn changed<'a>(
    topic: &Topic,
    options: &KafkaOptions,
    changes: impl Iterator<Item = (&'a str, Change<'a>)>,
) -> Result<(TopicPolicy, Labels), ConfigError> {
    let mut next = Next::of(topic, options);
    let mut seen = HashSet::new();
    for (name, change) in changes {
        let setting = find(name)?;
        if !seen.insert(setting.name) {
            return Err(ConfigError::Twice(name.to_owned()));
        }
        next.change(setting, change)?;
    }
    Ok(next.done())
}

/// Policy and labels if these settings are all that is set. Settings that Kafka does not have stay if it was another
/// protocol or the command line that set them.
///
/// # Errors
/// See [`ConfigError`]; then nothing changes.
pub(crate) fn replaced<'a>(
    topic: &Topic,
    options: &KafkaOptions,
    set: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(TopicPolicy, Labels), ConfigError> {
    let mut next = Next::of(topic, options);
    for setting in SETTINGS.iter().filter(|setting| setting.set_on(topic, options).is_some()) {
        // Who lists Kafka's settings does not mean to end the window of a FIFO queue.
        if setting.is_said(topic) || !setting.name.starts_with(OURS) {
            next.change(setting, Change::Delete)?;
        }
    }
    let mut seen = HashSet::new();
    for (name, value) in set {
        let setting = find(name)?;
        if !seen.insert(setting.name) {
            return Err(ConfigError::Twice(name.to_owned()));
        }
        next.change(setting, value.map_or(Change::Delete, Change::Set))?;
    }
    Ok(next.done())
}

/// A topic's settings on their way.
struct Next<'a> {
    topic: &'a Topic,
    options: &'a KafkaOptions,
    policy: TopicPolicy,
    labels: Labels,
}

impl<'a> Next<'a> {
    fn of(topic: &'a Topic, options: &'a KafkaOptions) -> Self {
        Self { topic, options, policy: topic.policy.clone(), labels: topic.labels.clone() }
    }

    fn change(&mut self, setting: &Setting, change: Change) -> Result<(), ConfigError> {
        let value = match change {
            Change::Delete => {
                self.unset(setting);
                return Ok(());
            }
            Change::Set(value) => value.to_owned(),
            Change::Append(more) => self.combined(setting, more, |list, element| {
                if !list.contains(&element) {
                    list.push(element);
                }
            })?,
            Change::Subtract(less) => {
                self.combined(setting, less, |list, element| list.retain(|it| *it != element))?
            }
        };
        let value = setting.read(&value)?;
        apply(&mut self.policy, setting.name, Some(&value));
        self.labels.insert(setting.label(), value.into_owned());
        if is_retention(setting.name) {
            self.keep_by_retention();
        }
        Ok(())
    }

    /// How many settled records were kept is remembered for when no client says any more how long to keep them.
    fn keep_by_retention(&mut self) {
        match self.policy.keep {
            Keep::Retention => {}
            Keep::UntilSettled { after: 0 } => drop(self.labels.remove(KEPT_SETTLED)),
            Keep::UntilSettled { after } => {
                self.labels.insert(KEPT_SETTLED.to_owned(), after.to_string());
            }
        }
        self.policy.keep = Keep::Retention;
    }

    fn unset(&mut self, setting: &Setting) {
        self.labels.remove(&setting.label());
        let default = setting.default(self.topic, self.options);
        unsay(&mut self.policy, setting.name, default.as_deref());
    }

    /// The list that now holds, with each element of `elements` worked in.
    fn combined(
        &self,
        setting: &Setting,
        elements: &str,
        work_in: impl Fn(&mut Vec<String>, String),
    ) -> Result<String, ConfigError> {
        if setting.kind != Kind::List {
            return Err(ConfigError::NotAList(setting.name));
        }
        let now = setting.set_on(self.topic, self.options);
        let now = now.or_else(|| setting.default(self.topic, self.options)).unwrap_or_default();
        let mut list = elements_of(&now);
        for element in elements_of(elements) {
            work_in(&mut list, element);
        }
        Ok(list.join(","))
    }

    fn done(mut self) -> (TopicPolicy, Labels) {
        let is_limited =
            SETTINGS.iter().any(|it| is_retention(it.name) && self.labels.contains_key(&it.label()));
        // No client says any more how long to keep what a queue made.
        if self.topic.made_by_queue && !is_limited && self.policy.keep == Keep::Retention {
            let before = self.labels.remove(KEPT_SETTLED);
            let after = before.and_then(|after| after.parse().ok()).unwrap_or_default();
            self.policy.keep = Keep::UntilSettled { after };
        }
        (self.policy, self.labels)
    }
}

fn elements_of(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
}
