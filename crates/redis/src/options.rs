//! Settings of the frontend.

/// Settings of the frontend.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Bytes that may wait for a subscriber; with more it is cut off. Redis: `client-output-buffer-limit pubsub`, hard.
    pub buffer_hard_bytes: usize,
    /// Bytes that may wait for it for `buffer_soft_ms` at most. Redis: the same, soft.
    pub buffer_soft_bytes: usize,
    /// Milliseconds. Redis: the same, soft seconds.
    pub buffer_soft_ms: u64,
    /// Connections at a time, as clients are shown it. Redis: `maxclients`.
    pub connections_max: usize,
    /// Where the log lies, as clients are shown it. Redis: `dir`.
    pub data_dir: String,
    /// This broker's version, as clients are shown it.
    pub version: String,
    /// Seed of the run's id: randomness is a parameter.
    pub seed: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            buffer_hard_bytes: 32 << 20,
            buffer_soft_bytes: 8 << 20,
            buffer_soft_ms: 60_000,
            connections_max: 10_000,
            data_dir: "data".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: 0,
        }
    }
}
