//! Settings of the frontend.

use std::time::Duration;

/// Settings of the frontend.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Where clients are told to connect: host and port. `None` names the address that the client reached, which is
    /// right without port forwarding or name translation in between.
    pub advertised: Option<(String, u16)>,
    /// The cluster's id, 22 characters of base64 by convention.
    pub cluster_id: String,
    /// This broker's id.
    pub node_id: i32,
    /// Where the log lies, as operators are shown it.
    pub data_dir: String,
    /// Create a topic when a client names one that does not exist and allows it. Kafka: `auto.create.topics.enable`.
    pub auto_create: bool,
    /// Partitions of a topic whose creator does not say. Kafka: `num.partitions`.
    pub default_partitions: u32,
    /// Age past which records of such a topic go, unless it says otherwise; `None` keeps them.
    /// Kafka: `log.retention.ms`.
    pub retention_ms: Option<u64>,
    /// Bytes per partition past which the oldest records go; `None` is no limit. Kafka: `log.retention.bytes`.
    pub retention_bytes: Option<u64>,
    /// Largest batch of a topic that does not say, bytes. Kafka: `message.max.bytes`.
    pub message_bytes_max: u32,
    /// Most bytes of records in one fetch response. Kafka: `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// Bytes a second that all consumers together read from the disk at most while others write; `None` is no limit.
    pub catch_up_bytes_per_second: Option<u64>,
    /// How long a new group waits for more members before its first rebalance.
    /// Kafka: `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// How long offsets of a group without members are kept. Kafka: `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// Seed of member ids: randomness is a parameter.
    pub seed: u64,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            advertised: None,
            cluster_id: "duolog-local-cluster-0".to_owned(),
            node_id: 1,
            data_dir: "data".to_owned(),
            auto_create: true,
            default_partitions: 1,
            retention_ms: Some(7 * 24 * 60 * 60 * 1000),
            retention_bytes: None,
            message_bytes_max: 1_048_588,
            fetch_bytes_max: 55 << 20,
            catch_up_bytes_per_second: None,
            initial_rebalance_delay: Duration::from_secs(3),
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            seed: 0,
        }
    }
}
