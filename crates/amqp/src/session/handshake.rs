//! From the first byte to an open connection. Source: AMQP 0-9-1, 2.2.4 and class `connection`.

use super::{AmqpSession, Stage};
use crate::codec::method::{
    ConnectionOpen, ConnectionOpenOk, ConnectionStart, ConnectionStartOk, ConnectionTune, ConnectionTuneOk,
};
use crate::codec::{
    LongStr, PROTOCOL_HEADER, ReplyCode, ShortStr, Table, Value, parse_protocol_header, sasl,
};
use crate::error::AmqpError;
use crate::limits::FRAME_MIN_BYTES;
use crate::registry::Connected;
use crate::{AmqpOptions, RABBITMQ_VERSION, vhosts};

/// What clients look for among the capabilities; `consumer_priorities` is not there.
const CAPABILITIES: [&str; 8] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

fn server_properties(options: &AmqpOptions) -> Table {
    let capabilities = CAPABILITIES.into_iter().fold(Table::default(), |table, name| table.with(name, true));
    Table::default()
        .with("capabilities", Value::Table(capabilities))
        .with("cluster_name", options.server_name.as_str())
        .with("product", "RabbitMQ")
        .with("version", RABBITMQ_VERSION)
        .with("platform", "Duolog")
        .with("duolog_version", options.version.as_str())
        .with("information", "Duolog speaks AMQP 0-9-1 as RabbitMQ does: see docs/amqp.md")
}

impl AmqpSession {
    /// Takes the protocol header; `None` if it has not come whole. What is none is answered with one, and that is the end.
    pub(super) fn take_protocol(&mut self, bytes: &[u8]) -> Option<usize> {
        match parse_protocol_header(bytes) {
            Ok(Some(length)) => {
                let properties = server_properties(self.registry.options()).encode();
                ConnectionStart {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: properties.as_raw(),
                    mechanisms: LongStr(b"PLAIN AMQPLAIN"),
                    locales: LongStr(b"en_US"),
                }
                .write(&mut self.said, 0);
                self.stage = Stage::Start;
                Some(length)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(connection = self.id, peer = %self.peer, %error, "not AMQP 0-9-1");
                self.said.extend_from_slice(&PROTOCOL_HEADER);
                self.stage = Stage::Over;
                Some(bytes.len())
            }
        }
    }

    pub(super) fn start_ok(&mut self, method: &ConnectionStartOk<'_>) -> Result<(), AmqpError> {
        let read = match method.mechanism.as_str() {
            Some("PLAIN") => sasl::plain(method.response.0),
            Some("AMQPLAIN") => sasl::amqplain(method.response.0),
            _ => {
                let mechanism = String::from_utf8_lossy(method.mechanism.as_bytes()).into_owned();
                let text = format!("unsupported authentication mechanism '{mechanism}'");
                return Err(AmqpError::new(ReplyCode::NotAllowed, text));
            }
        };
        let credentials = read.map_err(|error| AmqpError::new(error.reply_code(), error))?;
        self.user = credentials.user.into();
        let capability = |name| {
            let capabilities = method.client_properties.get("capabilities")?.as_table()?;
            capabilities.get(name)?.as_bool()
        };
        self.hears_cancels = capability("consumer_cancel_notify") == Some(true);
        self.hears_blocked = capability("connection.blocked") == Some(true);
        let options = self.registry.options();
        let (channel_max, frame_max) = (options.channels_max, options.frame_bytes_max);
        ConnectionTune { channel_max, frame_max, heartbeat: options.heartbeat_s }.write(&mut self.said, 0);
        self.stage = Stage::Tune;
        Ok(())
    }

    pub(super) fn tune_ok(&mut self, method: ConnectionTuneOk) -> Result<(), AmqpError> {
        let options = self.registry.options();
        let (offered, frames) = (options.channels_max, options.frame_bytes_max);
        // Zero is no limit of the client's own.
        if method.channel_max > offered {
            let text = format!(
                "negotiated channel_max = {} is higher than the maximum allowed value ({offered})",
                method.channel_max
            );
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        if method.frame_max > frames {
            let text = format!(
                "negotiated frame_max = {} is higher than the maximum allowed value ({frames})",
                method.frame_max
            );
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        if (1..FRAME_MIN_BYTES).contains(&method.frame_max) {
            let text = format!(
                "negotiated frame_max = {} is lower than the minimum allowed value ({FRAME_MIN_BYTES})",
                method.frame_max
            );
            return Err(AmqpError::new(ReplyCode::NotAllowed, text));
        }
        self.channels_max = if method.channel_max == 0 { offered } else { method.channel_max };
        self.frame_max = if method.frame_max == 0 { frames } else { method.frame_max };
        self.timers.begin(method.heartbeat);
        self.stage = Stage::Open;
        Ok(())
    }

    pub(super) fn open(&mut self, method: &ConnectionOpen<'_>) -> Result<(), AmqpError> {
        let vhost = method.virtual_host.as_str().unwrap_or_default();
        if !vhosts::is_known(&self.catalog, vhost) {
            return Err(AmqpError::new(ReplyCode::NotAllowed, format_args!("vhost {vhost} not found")));
        }
        vhosts::namespace_of(vhost).clone_into(&mut self.namespace);
        ConnectionOpenOk { known_hosts: ShortStr::EMPTY }.write(&mut self.said, 0);
        self.timers.opened();
        let user = String::from_utf8_lossy(&self.user).into_owned();
        self.bell.open(Connected { peer: self.peer, user, vhost: vhost.to_owned(), channels: Vec::new() });
        self.stage = Stage::Running;
        Ok(())
    }
}
