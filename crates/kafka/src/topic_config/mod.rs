//! The settings of topics: which exist, what each may be, and what of it the broker keeps as its policy.
//!
//! Settings that have no meaning here (how Kafka cuts and indexes its files) are accepted, kept and shown, so that tools
//! go on working; settings whose promise would be broken are refused. What a client has set is kept as labels; what is
//! not set follows the broker. Adding a setting: a row in `settings.rs`, and `policy.rs` if it decides.
//! Source: Kafka 4.2 documentation, "Topic configs".

mod change;
mod policy;
mod settings;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use duolog_broker::Topic;

use crate::KafkaOptions;

pub(crate) use change::{Change, changed, replaced};
pub(crate) use policy::{default_policy, policy};
pub(crate) use settings::SETTINGS;

/// Labels that hold what a client has set begin with this.
const LABEL: &str = "kafka:";

/// The type of a setting, as DescribeConfigs numbers them. Source: Kafka `DescribeConfigsResponse.ConfigType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Where a value comes from, as the wire numbers it. Source: Kafka `DescribeConfigsResponse.ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum ConfigSource {
    Topic = 1,
    Static = 4,
    Default = 5,
}

/// A place that can decide a value: which setting there, what it says, whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synonym {
    pub name: &'static str,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
enum Check {
    /// Any value of the type.
    Any,
    /// A whole number in these bounds.
    Between(i64, i64),
    /// A number from 0 to 1.
    Ratio,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Only this, because nothing else is done here: why.
    Only(&'static str, &'static str),
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// Unless the broker's options say otherwise; `None` is not set.
    default: Option<&'static str>,
    check: Check,
    /// What Kafka calls the broker's setting that a topic follows.
    of_broker: Option<&'static str>,
    pub documentation: &'static str,
}

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// No such setting.
    #[error("unknown topic config name: {0}")]
    Unknown(String),
    /// Twice in one request.
    #[error("{0} is given twice")]
    Twice(String),
    /// An operation without the value that it needs.
    #[error("{0} has no value")]
    NoValue(String),
    /// An operation that the protocol does not have.
    #[error("{name}: there is no operation {operation}")]
    Operation {
        /// The setting.
        name: String,
        /// As sent.
        operation: i8,
    },
    /// Something is to be added to or taken from what is no list.
    #[error("{0} is not a list: it can be set or deleted, not appended to or subtracted from")]
    NotAList(&'static str),
    /// A value that cannot be.
    #[error("invalid value {value:?} for {name}: {why}")]
    Value {
        /// The setting.
        name: &'static str,
        /// As sent.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The setting of this name.
///
/// # Errors
/// `Unknown`.
fn find(name: &str) -> Result<&'static Setting, ConfigError> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))
}

impl Setting {
    /// The label that holds what a client has set.
    fn label(&self) -> String {
        format!("{LABEL}{}", self.name)
    }

    /// A value as it is kept: without space around it, a truth value in small letters.
    /// Source: Kafka `ConfigDef.parseType`.
    ///
    /// # Errors
    /// As `check`.
    fn read<'v>(&self, value: &'v str) -> Result<Cow<'v, str>, ConfigError> {
        let value = match self.kind {
            Kind::Boolean => Cow::Owned(value.trim().to_ascii_lowercase()),
            Kind::Text | Kind::Int | Kind::Long | Kind::Double | Kind::List => Cow::Borrowed(value.trim()),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// # Errors
    /// `Value`, naming what is wrong.
    fn check(&self, value: &str) -> Result<(), ConfigError> {
        let wrong = |why: String| Err(ConfigError::Value { name: self.name, value: value.to_owned(), why });
        let fits = match self.kind {
            Kind::Boolean => matches!(value, "true" | "false"),
            Kind::Int => value.parse::<i32>().is_ok(),
            Kind::Long => value.parse::<i64>().is_ok(),
            Kind::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Text | Kind::List => true,
        };
        if !fits {
            return wrong(format!("it must be {}", self.kind.article()));
        }
        match self.check {
            Check::Any => Ok(()),
            Check::Between(least, most) => match value.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ if most == i64::MAX => wrong(format!("it must be at least {least}")),
                _ => wrong(format!("it must be between {least} and {most}")),
            },
            Check::Ratio => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => wrong("it must be between 0 and 1".to_owned()),
            },
            Check::OneOf(known) if known.contains(&value) => Ok(()),
            Check::OneOf(known) => wrong(format!("it must be one of {}", known.join(", "))),
            Check::Only(known, _) if known == value => Ok(()),
            Check::Only(_, why) => wrong(why.to_owned()),
        }
    }

    /// What holds for a topic that does not set it.
    pub fn default(&self, topic: &Topic, options: &KafkaOptions) -> Option<String> {
        // Without limits, a topic made by a queue is kept until settled.
        if topic.made_by_queue && policy::is_retention(self.name) {
            return Some("-1".to_owned());
        }
        policy::of_options(self.name, options).unwrap_or_else(|| self.default.map(str::to_owned))
    }

    /// What a client has set on a topic, or the policy says although no client has set it; `None` is the default.
    pub fn set_on(&self, topic: &Topic, options: &KafkaOptions) -> Option<String> {
        let Some(now) = policy::of_policy(self.name, &topic.policy) else {
            return topic.labels.get(&self.label()).cloned();
        };
        // Another protocol or the command line may have made the topic, or changed it since: show what holds.
        now.filter(|now| self.is_said(topic) || Some(now) != self.default(topic, options).as_ref())
    }

    /// A client has set what holds, and nobody else has changed it since.
    fn is_said(&self, topic: &Topic) -> bool {
        let said = topic.labels.get(&self.label());
        said.is_some() && policy::of_policy(self.name, &topic.policy).is_none_or(|now| now.as_ref() == said)
    }

    /// All that can decide the value on this topic, the strongest first: the first decides. Never empty.
    pub fn synonyms(&self, topic: &Topic, options: &KafkaOptions) -> Vec<Synonym> {
        let default = self.default(topic, options);
        let of_topic = self.set_on(topic, options).map(|value| (self.name, Some(value), ConfigSource::Topic));
        let built_in = self.default.map(str::to_owned);
        let name = self.of_broker.unwrap_or(self.name);
        let (configured, built_in) = match default == built_in {
            // What a topic made by a queue does is no setting of the broker.
            false if topic.made_by_queue => (None, default),
            false => (Some((name, default, ConfigSource::Static)), built_in),
            true => (None, built_in),
        };
        let last = Some((name, built_in, ConfigSource::Default));
        let all = [of_topic, configured, last].into_iter().flatten();
        all.map(|(name, value, source)| Synonym { name, value, source }).collect()
    }
}

impl Kind {
    fn article(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Text => "text",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::List => "a list",
        }
    }
}
