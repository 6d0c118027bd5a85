//! Settings of the frontend.

use std::time::Duration;

use crate::limits::{
    BODY_BYTES_DEFAULT, CHANNELS, CONSUMER_TIMEOUT, FRAME_MAX_BYTES, HANDSHAKE, HEARTBEAT_S, WRITE_DEADLINE,
};

/// Settings of the frontend.
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// What the server properties tell as the version of this broker, beside that of the RabbitMQ that it behaves like.
    pub version: String,
    /// Name of the node in the server properties. RabbitMQ: `cluster_name`.
    pub server_name: String,
    /// Bytes of a frame that are offered. RabbitMQ: `frame_max`.
    pub frame_bytes_max: u32,
    /// Channels of one connection that are offered. RabbitMQ: `channel_max`.
    pub channels_max: u16,
    /// Seconds between heartbeats that are offered; 0 is none. RabbitMQ: `heartbeat`.
    pub heartbeat_s: u16,
    /// Bytes of a message's body. RabbitMQ: `max_message_size`.
    pub body_bytes_max: u64,
    /// How long a client may take from connecting to an open connection. RabbitMQ: `handshake_timeout`.
    pub handshake: Duration,
    /// How long a delivery may stay unacknowledged before its channel is closed. RabbitMQ: `consumer_timeout`.
    pub consumer_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_deadline: Duration,
    /// Seed of the names that the server makes up: randomness is a parameter.
    pub seed: u64,
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_name: "duolog".to_owned(),
            frame_bytes_max: FRAME_MAX_BYTES,
            channels_max: CHANNELS,
            heartbeat_s: HEARTBEAT_S,
            body_bytes_max: BODY_BYTES_DEFAULT,
            handshake: HANDSHAKE,
            consumer_timeout: CONSUMER_TIMEOUT,
            write_deadline: WRITE_DEADLINE,
            seed: 0,
        }
    }
}
