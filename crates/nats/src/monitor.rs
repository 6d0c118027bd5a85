//! What operators and their tools ask about, in the peer's shapes. Source: NATS documentation, "Monitoring".
//!
//! Fields that mean nothing here are left out; what is there has the peer's name, unit and form.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use duolog_broker::live::Subscription;
use duolog_broker::when;
use duolog_net::Carrier;
use duolog_record::Timestamp;
use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::limits::{CONNZ_LIMIT, CONTROL_LINE_BYTES, PINGS_OUT_MAX};
use crate::registry::{Client, Registry, subject_of};

/// The server in numbers.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Varz {
    pub server_id: String,
    pub server_name: String,
    pub version: &'static str,
    pub proto: u8,
    pub max_connections: usize,
    pub max_control_line: usize,
    pub max_payload: usize,
    pub max_pending: usize,
    /// Nanoseconds.
    pub ping_interval: u128,
    pub ping_max: u32,
    /// Nanoseconds.
    pub write_deadline: u128,
    /// RFC 3339, as all times here.
    pub start: String,
    pub now: String,
    pub uptime: String,
    pub connections: usize,
    pub total_connections: u64,
    pub subscriptions: usize,
    pub in_msgs: u64,
    pub out_msgs: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
    pub slow_consumers: u64,
    pub stale_connections: u64,
}

/// What to tell of the connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConnzOptions {
    /// How many to leave out.
    pub offset: usize,
    /// How many to tell of; 0 is 1,024.
    pub limit: usize,
    /// This one alone.
    pub cid: Option<u64>,
    /// `1` and `true` add the subjects of the subscriptions, `detail` all about them.
    pub subs: Option<String>,
}

/// The connections.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Connz {
    pub server_id: String,
    pub now: String,
    pub num_connections: usize,
    pub total: usize,
    pub offset: usize,
    pub limit: usize,
    pub connections: Vec<Conn>,
}

/// A connection.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Conn {
    pub cid: u64,
    pub kind: &'static str,
    #[serde(rename = "type")]
    pub kind_of_client: &'static str,
    pub ip: String,
    pub port: u16,
    pub start: String,
    pub last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<String>,
    pub uptime: String,
    pub idle: String,
    pub pending_bytes: usize,
    pub in_msgs: u64,
    pub out_msgs: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
    pub subscriptions: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions_list_detail: Option<Vec<Sub>>,
}

/// What to tell of the subscriptions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubszOptions {
    /// How many to leave out.
    pub offset: usize,
    /// How many to tell of; 0 is 1,024.
    pub limit: usize,
    /// `1` and `true` add the list.
    pub subs: Option<String>,
}

/// The subscriptions.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Subsz {
    pub server_id: String,
    pub now: String,
    pub num_subscriptions: usize,
    pub total: usize,
    pub offset: usize,
    pub limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions_list: Option<Vec<Sub>>,
}

/// A subscription.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Sub {
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qgroup: Option<String>,
    pub sid: String,
    pub msgs: u64,
    pub cid: u64,
}

/// Whether it serves.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Healthz {
    pub status: &'static str,
}

/// What metrics are made of; all but the first since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients that are connected.
    pub connections: usize,
    /// Clients that have connected.
    pub connections_total: u64,
    /// Messages published.
    pub messages_in: u64,
    /// Their bytes, headers included.
    pub bytes_in: u64,
    /// Messages written to clients.
    pub messages_out: u64,
    /// Their bytes, headers included.
    pub bytes_out: u64,
    /// Clients that were cut off because they took too little.
    pub slow_consumers: u64,
    /// Clients that were cut off because they did not answer.
    pub stale_connections: u64,
}

pub(crate) fn totals(registry: &Registry) -> Totals {
    let ((messages_in, bytes_in), (messages_out, bytes_out)) = registry.traffic();
    let counts = &registry.counts;
    Totals {
        connections: registry.clients().len(),
        connections_total: counts.connections.load(Ordering::Relaxed),
        messages_in,
        bytes_in,
        messages_out,
        bytes_out,
        slow_consumers: counts.slow_consumers.load(Ordering::Relaxed),
        stale_connections: counts.stale_connections.load(Ordering::Relaxed),
    }
}

pub(crate) fn varz(registry: &Registry) -> Varz {
    let (options, now, totals) = (registry.options(), registry.broker().now(), totals(registry));
    Varz {
        server_id: registry.server_id().to_owned(),
        server_name: options.server_name.clone(),
        version: VERSION,
        proto: 1,
        max_connections: options.connections_max,
        max_control_line: CONTROL_LINE_BYTES,
        max_payload: options.payload_bytes_max,
        max_pending: options.pending_bytes_max,
        ping_interval: options.ping_interval.as_nanos(),
        ping_max: PINGS_OUT_MAX,
        write_deadline: options.write_deadline.as_nanos(),
        start: when::shown(registry.start().0),
        now: when::shown(now.0),
        uptime: length(registry.start(), now),
        connections: totals.connections,
        total_connections: totals.connections_total,
        subscriptions: registry.clients().iter().map(|it| it.subscriptions.lock().len()).sum(),
        in_msgs: totals.messages_in,
        out_msgs: totals.messages_out,
        in_bytes: totals.bytes_in,
        out_bytes: totals.bytes_out,
        slow_consumers: totals.slow_consumers,
        stale_connections: totals.stale_connections,
    }
}

pub(crate) fn connz(registry: &Registry, options: &ConnzOptions) -> Connz {
    let now = registry.broker().now();
    let clients = match options.cid {
        Some(cid) => registry.client(cid).into_iter().collect(),
        None => registry.clients(),
    };
    let limit = limit(options.limit);
    let page = clients.iter().skip(options.offset).take(limit);
    let connections: Vec<_> = page.map(|client| conn(client, options.subs.as_deref(), now)).collect();
    Connz {
        server_id: registry.server_id().to_owned(),
        now: when::shown(now.0),
        num_connections: connections.len(),
        total: clients.len(),
        offset: options.offset,
        limit,
        connections,
    }
}

fn conn(client: &Arc<Client>, subs: Option<&str>, now: Timestamp) -> Conn {
    let ((in_msgs, in_bytes), (out_msgs, out_bytes)) = (client.received.read(), client.sent.read());
    let about = client.about.lock().clone();
    let rtt_us = client.rtt_us();
    let details = (is_yes(subs) || subs == Some("detail")).then(|| subscriptions(client));
    let (list, detail) = match details {
        Some(all) if is_yes(subs) => (Some(all.into_iter().map(|it| it.subject).collect()), None),
        all => (None, all),
    };
    Conn {
        cid: client.id,
        kind: "Client",
        kind_of_client: kind_of_client(client.carrier),
        ip: client.peer.ip().to_string(),
        port: client.peer.port(),
        start: when::shown(client.start.0),
        last_activity: when::shown(client.last_activity().0),
        rtt: (rtt_us > 0).then(|| format!("{rtt_us}µs")),
        uptime: length(client.start, now),
        idle: length(client.last_activity(), now),
        pending_bytes: client.pending().bytes,
        in_msgs,
        out_msgs,
        in_bytes,
        out_bytes,
        subscriptions: client.subscriptions.lock().len(),
        name: about.name,
        lang: about.lang,
        version: about.version,
        subscriptions_list: list,
        subscriptions_list_detail: detail,
    }
}

fn kind_of_client(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Tcp => "nats",
        Carrier::WebSocket => "websocket",
    }
}

pub(crate) fn subsz(registry: &Registry, options: &SubszOptions) -> Subsz {
    let clients = registry.clients();
    let total = clients.iter().map(|it| it.subscriptions.lock().len()).sum();
    let limit = limit(options.limit);
    let list = is_yes(options.subs.as_deref())
        .then(|| clients.iter().flat_map(subscriptions).skip(options.offset).take(limit).collect());
    Subsz {
        server_id: registry.server_id().to_owned(),
        now: when::shown(registry.broker().now().0),
        num_subscriptions: total,
        total,
        offset: options.offset,
        limit,
        subscriptions_list: list,
    }
}

/// Those of one connection.
fn subscriptions(client: &Arc<Client>) -> Vec<Sub> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of = |sid: &[u8], subscription: &Subscription| Sub {
        subject: text(subject_of(subscription)),
        qgroup: subscription.group().map(text),
        sid: text(sid),
        msgs: subscription.delivered(),
        cid: client.id,
    };
    client.subscriptions.lock().iter().map(|(sid, subscription)| of(sid, subscription)).collect()
}

fn is_yes(value: Option<&str>) -> bool {
    matches!(value, Some("1" | "true"))
}

fn limit(asked: usize) -> usize {
    if asked == 0 { CONNZ_LIMIT } else { asked }
}

/// A length of time in the peer's form: `1d2h3m4s`, from the first unit that counts.
fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = (to.0 - from.0).max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let mut shown = String::new();
    for (count, unit) in [(days, 'd'), (hours, 'h'), (minutes, 'm')] {
        if count > 0 || !shown.is_empty() {
            shown += &format!("{count}{unit}");
        }
    }
    shown + &format!("{}s", seconds % 60)
}

#[cfg(test)]
mod tests {
    use duolog_record::Timestamp;

    use super::length;

    #[test]
    fn lengths_are_shown_from_the_first_unit_that_counts() {
        for (ms, expected) in
            [(999, "0s"), (61_000, "1m1s"), (3_600_000, "1h0m0s"), (90_061_000, "1d1h1m1s"), (-5, "0s")]
        {
            assert_eq!(length(Timestamp(0), Timestamp(ms)), expected);
        }
    }
}
