//! Settings of the group protocol, named and defaulted as Kafka's broker settings.

use super::limits;
use crate::KafkaOptions;

/// How groups behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first generation.
    pub initial_rebalance_delay_ms: u64,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: u64,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: u64,
    /// `group.max.size`; at most `limits::MEMBERS_PER_GROUP`.
    pub members_max: usize,
    /// `offsets.retention.minutes`, in milliseconds: how long an empty group keeps its offsets.
    pub offsets_retention_ms: u64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_check_interval_ms: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 30 * 60 * 1000,
            members_max: limits::MEMBERS_PER_GROUP,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_check_interval_ms: 10 * 60 * 1000,
        }
    }
}

impl From<&KafkaOptions> for GroupConfig {
    fn from(options: &KafkaOptions) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            initial_rebalance_delay_ms: ms(options.initial_rebalance_delay),
            offsets_retention_ms: ms(options.offsets_retention),
            ..Self::default()
        }
    }
}
