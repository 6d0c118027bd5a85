//! What a person sees at start: what listens where, and where the data lies. Goes to standard error.

use std::io::{IsTerminal, Write};

use crate::config::{Config, LogFormat, Protocol};

use super::listeners::Addresses;

/// Shows it where a person reads along; a log collector gets lines of the log only.
pub fn show(config: &Config, addresses: &Addresses) {
    let mut err = std::io::stderr().lock();
    if config.log_format == LogFormat::Json || !err.is_terminal() {
        return;
    }
    // A banner that cannot be shown is no failure.
    let _ = err.write_all(text(config, addresses).as_bytes());
}

fn text(config: &Config, addresses: &Addresses) -> String {
    let mut text = format!("\n  Duolog {}\n\n", env!("CARGO_PKG_VERSION"));
    for (protocol, address) in addresses {
        let (url, whom) = match protocol {
            Protocol::Kafka => (address.to_string(), "Kafka clients: bootstrap.servers"),
            Protocol::Aws => (format!("http://{address}"), "SQS clients: AWS_ENDPOINT_URL"),
            Protocol::Amqp => (format!("amqp://{address}"), "RabbitMQ clients"),
            Protocol::Redis => (format!("redis://{address}"), "Redis clients: publish, subscribe"),
            Protocol::Nats => (format!("nats://{address}"), "NATS clients: servers"),
            Protocol::NatsWs => (format!("ws://{address}"), "NATS clients behind a WebSocket: servers"),
            Protocol::Admin => (format!("http://{address}"), "health, /metrics, the command line"),
        };
        text += &format!("  {:<7} {url:<30} {whom}\n", protocol.name());
    }
    text += &format!("  {:<7} {}\n\n", "data", config.data_dir.display());
    text
}
