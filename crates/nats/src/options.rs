//! Settings of the frontend.

use std::time::Duration;

/// Settings of the frontend.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// What INFO calls the server's name.
    pub server_name: String,
    /// Bytes of a message, header block included. nats-server: `max_payload`.
    pub payload_bytes_max: usize,
    /// Bytes that may wait for a client before it is cut off. nats-server: `max_pending`.
    pub pending_bytes_max: usize,
    /// How long a client may take nothing of what is sent to it. nats-server: `write_deadline`.
    pub write_deadline: Duration,
    /// How often a client is asked whether it is there. nats-server: `ping_interval`.
    pub ping_interval: Duration,
    /// Connections at a time; more are refused. nats-server: `max_connections`.
    pub connections_max: usize,
    /// Subscriptions of one connection; `None` is no limit of its own. nats-server: `max_subscriptions`.
    pub subscriptions_max: Option<usize>,
    /// How long clients that were told that the server goes get to leave by themselves.
    pub lame_duck: Duration,
    /// Seed of what tells this server from others: randomness is a parameter.
    pub seed: u64,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            server_name: "duolog".to_owned(),
            payload_bytes_max: 1 << 20,
            pending_bytes_max: 64 << 20,
            write_deadline: Duration::from_secs(10),
            ping_interval: Duration::from_secs(120),
            connections_max: 64 << 10,
            subscriptions_max: None,
            lame_duck: Duration::from_secs(1),
            seed: 0,
        }
    }
}
