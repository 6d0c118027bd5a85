//! Settings as the wire shows them: CreateTopics and DescribeConfigs.

use duolog_broker::Topic;

use crate::KafkaOptions;
use crate::topic_config::{SETTINGS, Setting};

/// Where a value comes from, as the wire numbers it. Source: Kafka `DescribeConfigsResponse.ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum ConfigSource {
    Topic = 1,
    Static = 4,
    Default = 5,
}

/// One setting and its value.
pub(super) struct Config {
    pub name: &'static str,
    pub value: Option<String>,
    pub source: ConfigSource,
    pub setting: &'static Setting,
    pub default: Option<String>,
}

/// Every setting of a topic.
pub(super) fn of_topic<'a>(topic: &'a Topic, options: &'a KafkaOptions) -> impl Iterator<Item = Config> + 'a {
    SETTINGS.iter().map(move |setting| {
        let default = setting.default(options);
        match setting.set_on(topic, options) {
            Some(value) => {
                let value = Some(value);
                Config { name: setting.name, value, source: ConfigSource::Topic, setting, default }
            }
            None => {
                let value = default.clone();
                Config { name: setting.name, value, source: ConfigSource::Default, setting, default }
            }
        }
    })
}
