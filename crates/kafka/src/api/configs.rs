//! Settings as the wire shows them: CreateTopics and DescribeConfigs.

use duolog_broker::Topic;

use crate::KafkaOptions;
use crate::topic_config::{ConfigSource, Kind, SETTINGS, Synonym};

/// Types of things that have settings. Source: Kafka `ConfigResource.Type`.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// One setting and what decides it.
pub(super) struct Config {
    pub name: &'static str,
    pub kind: Kind,
    /// It cannot be changed through the protocol.
    pub is_read_only: bool,
    /// The strongest first; never empty.
    pub synonyms: Vec<Synonym>,
    pub documentation: &'static str,
}

impl Config {
    pub fn value(&self) -> Option<&str> {
        self.synonyms.first()?.value.as_deref()
    }

    pub fn source(&self) -> ConfigSource {
        self.synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source)
    }
}

/// Every setting of a topic.
pub(super) fn of_topic<'a>(topic: &'a Topic, options: &'a KafkaOptions) -> impl Iterator<Item = Config> + 'a {
    SETTINGS.iter().map(move |setting| Config {
        name: setting.name,
        kind: setting.kind,
        is_read_only: false,
        synonyms: setting.synonyms(topic, options),
        documentation: setting.documentation,
    })
}
