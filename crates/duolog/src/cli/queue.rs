//! `duolog queue`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, in_path};
use super::moves::{self, Filter};
use super::table::{Table, bytes, fields, items, plain, span, time};
use super::{Answer, Verbs};
use crate::config::Span;

/// In which order a queue hands out its messages.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Order {
    /// Oldest first
    Standard,
    /// Messages of one key one after the other: while one is in flight, the others of its key wait
    Key,
    /// Keys take turns, those with few messages in flight first
    Fair,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Key => "key",
            Self::Fair => "fair",
        }
    }
}

/// What happens to messages that are more than a queue may hold.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Overflow {
    /// The oldest leave
    DropHead,
    /// The newest are refused
    Reject,
    /// The newest are refused and go where the dead go
    RejectDeadLetter,
}

impl Overflow {
    fn name(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::Reject => "reject",
            Self::RejectDeadLetter => "reject-dead-letter",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List queues with what waits in them
    List,
    /// Show depth and settings of a queue
    Describe {
        /// Queue
        name: String,
    },
    /// Declare a queue on a topic, or make both
    ///
    /// On a topic that exists the queue covers all partitions. Where there is no topic of the name, one is made with one
    /// partition, whose messages are kept until they are acknowledged.
    Create(Creation),
    /// Delete a queue, and its topic if the queue made that and no other queue reads it
    Delete {
        /// Queue
        name: String,
    },
    /// Acknowledge everything in a queue, in flight included; the topic keeps its records
    Purge {
        /// Queue
        name: String,
    },
    /// Hand out acknowledged messages again
    ///
    /// Receive counts start anew. Messages that are not acknowledged yet are left alone.
    Replay {
        /// Queue
        name: String,
        /// From where: `earliest`, an offset in every partition, a time (2026-11-24T08:00:00Z) or an age (2h)
        #[arg(long, value_name = "POINT")]
        from: String,
    },
    /// Move messages back to the queues that they were dead-lettered from, or to another queue
    ///
    /// Receive counts start anew there. Each message is in one queue or the other, never in both. Waits until the move is
    /// over and shows how far it is; interrupted, the move goes on in the broker.
    Redrive {
        /// Queue to move from
        name: String,
        /// Queue to move to; default: where each message came from
        #[arg(long, value_name = "QUEUE")]
        to: Option<String>,
        /// At most so many messages a second
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
        /// Only messages with this key or header: `key=VALUE` or `header.NAME=VALUE`
        #[arg(long, value_name = "FILTER")]
        filter: Option<Filter>,
        /// Count what would be moved, and move nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the moves from a queue, the latest first
    Moves {
        /// Queue
        name: String,
    },
    /// End a move; what it has moved stays moved
    CancelMove {
        /// Number of the move, as `queue moves` shows it
        id: u64,
    },
}

// A queue to be declared. No doc comment: it would compete with that of the subcommand for its help.
#[derive(Debug, Args)]
pub struct Creation {
    /// Queue: letters, digits, '.', '_' and '-'
    name: String,
    /// Topic that it reads; default: the one of the same name
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Where it begins: `earliest`, `latest`, an offset, a time (2026-11-24T08:00:00Z) or an age (2h);
    /// default: earliest
    #[arg(long, value_name = "POINT")]
    from: Option<String>,
    /// How long a received message is hidden from others; default: 30s
    #[arg(long, value_name = "TIME")]
    visibility_timeout: Option<Span>,
    /// After so many receives a message goes to the dead-letter queue instead
    #[arg(long, value_name = "N")]
    attempts_max: Option<u32>,
    /// Queue that such messages go to
    #[arg(long, value_name = "QUEUE", requires = "attempts_max")]
    dead_letter: Option<String>,
    /// Exchange that they go through instead, and with them what has expired and what was too much; '' is the default exchange
    #[arg(long, value_name = "EXCHANGE", conflicts_with = "dead_letter")]
    dead_letter_exchange: Option<String>,
    /// Key that they are published with there; default: their own
    #[arg(long, value_name = "KEY", requires = "dead_letter_exchange")]
    dead_letter_key: Option<String>,
    /// Most messages that may wait at a time; default: no limit
    #[arg(long, value_name = "N")]
    length_max: Option<u64>,
    /// Most bytes of bodies that may wait at a time; default: no limit
    #[arg(long, value_name = "BYTES")]
    length_bytes_max: Option<u64>,
    /// What happens to messages that are too many: the oldest leave, or the newest are refused
    #[arg(long, value_enum, default_value = "drop-head")]
    overflow: Overflow,
    /// The highest priority of messages (header `duolog-priority`), 1 to 255; default: none is looked at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    priority_max: Option<u8>,
    /// Age past which a message is no longer delivered; default: never
    #[arg(long, value_name = "TIME")]
    message_ttl: Option<Span>,
    /// In which order messages are handed out; cannot be changed later
    #[arg(long, value_enum, default_value = "standard")]
    order: Order,
    /// How long after it was sent a message may be received; default: at once
    #[arg(long, value_name = "TIME")]
    delay: Option<Span>,
    /// How long a message waits after a receive that did not acknowledge it in time or gave it back; default: not
    #[arg(long, value_name = "TIME")]
    backoff: Option<Span>,
    /// Let that double with each receive, up to this
    #[arg(long, value_name = "TIME", requires = "backoff")]
    backoff_max: Option<Span>,
}

impl Verbs for QueueCommand {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let at = |name: &str| format!("/api/queues/{}", in_path(name));
        Ok(match self {
            Self::List => Answer::Value(client.get("/api/queues").await?, listed),
            Self::Describe { name } => Answer::Value(client.get(&at(&name)).await?, described),
            Self::Create(creation) => creation.ask(client).await?,
            Self::Delete { name } => {
                client.delete(&at(&name)).await?;
                Answer::Done(format!("queue {name} deleted"), json!({ "deleted": name }))
            }
            Self::Purge { name } => {
                let done = client.post(&format!("{}/purge", at(&name)), json!({})).await?;
                Answer::Done(format!("messages settled: {}", plain(&done["settled"])), done)
            }
            Self::Replay { name, from } => {
                let done = client.post(&format!("{}/replay", at(&name)), json!({ "from": from })).await?;
                Answer::Done(format!("messages available again: {}", plain(&done["available"])), done)
            }
            Self::Redrive { name, to, rate, filter, dry_run } => {
                let mut body = json!({ "to": to, "rate_per_s": rate, "dry_run": dry_run });
                if let Some(filter) = filter {
                    filter.put(&mut body);
                }
                moves::follow(client, &at(&name), body).await?
            }
            Self::Moves { name } => {
                Answer::Value(client.get(&format!("{}/moves", at(&name))).await?, moves::listed)
            }
            Self::CancelMove { id } => {
                let done = client.delete(&format!("/api/moves/{id}")).await?;
                Answer::Done(format!("move {id} is {}", plain(&done["status"])), done)
            }
        })
    }
}

impl Creation {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let body = json!({
            "name": self.name,
            "topic": self.topic,
            "from": self.from,
            "visibility_timeout_ms": self.visibility_timeout.map(Span::ms),
            "attempts_max": self.attempts_max,
            "dead_letter": self.dead_letter,
            "dead_letter_exchange": self.dead_letter_exchange,
            "dead_letter_key": self.dead_letter_key,
            "length_max": self.length_max,
            "length_bytes_max": self.length_bytes_max,
            "overflow": self.overflow.name(),
            "priority_max": self.priority_max,
            "message_ttl_ms": self.message_ttl.map(Span::ms),
            "order": self.order.name(),
            "delay_ms": self.delay.map(Span::ms),
            "backoff_ms": self.backoff.map(Span::ms),
            "backoff_max_ms": self.backoff_max.map(Span::ms),
        });
        let made = client.post("/api/queues", body).await?;
        Ok(Answer::Done(format!("queue {} created on topic {}", self.name, plain(&made["topic"])), made))
    }
}

fn listed(queues: &Value) -> String {
    let headings = &["QUEUE", "TOPIC", "AVAILABLE", "IN FLIGHT", "DELAYED", "OLDEST", "DEAD-LETTERED"];
    let mut table = Table::new(headings);
    for queue in items(queues) {
        table.row(vec![
            plain(&queue["name"]),
            plain(&queue["topic"]),
            plain(&queue["available"]),
            plain(&queue["in_flight"]),
            plain(&queue["delayed"]),
            span(&queue["oldest_age_ms"]),
            plain(&queue["dead_lettered"]),
        ]);
    }
    table.show("no queues")
}

/// How long it may become, and what happens then.
fn limit(queue: &Value) -> String {
    let count = queue["length_max"].as_u64().map(|most| format!("{most} messages"));
    let size = queue["length_bytes_max"].as_u64().map(|_| bytes(&queue["length_bytes_max"]));
    match [count, size].into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => "no limit".to_owned(),
        limits => format!("{}, then {}", limits.join(" and "), plain(&queue["overflow"])),
    }
}

fn or_none(value: &Value) -> String {
    if value.is_null() { "none".to_owned() } else { plain(value) }
}

fn described(queue: &Value) -> String {
    let after = match &queue["attempts_max"] {
        Value::Null => "when rejected or expired".to_owned(),
        attempts => format!("after {} receives", plain(attempts)),
    };
    let through = match (queue["dead_letter_exchange"].as_str(), queue["dead_letter_key"].as_str()) {
        (Some(exchange), Some(key)) => Some(format!("exchange {exchange:?} with key {key:?}")),
        (Some(exchange), None) => Some(format!("exchange {exchange:?}")),
        (None, _) => None,
    };
    let dead_letter = match queue["dead_letter"].as_str().map(str::to_owned).or(through) {
        Some(target) => format!("{target} {after}"),
        None => "none: a message is delivered until it is acknowledged".to_owned(),
    };
    let ttl = match &queue["message_ttl_ms"] {
        Value::Null => "none".to_owned(),
        ttl => span(ttl),
    };
    let backoff = match (&queue["backoff_ms"], &queue["backoff_max_ms"]) {
        (Value::Null, _) => "none".to_owned(),
        (ms, Value::Null) => span(ms),
        (ms, most) => format!("{}, doubled up to {}", span(ms), span(most)),
    };
    fields(&[
        ("queue", plain(&queue["name"])),
        ("topic", plain(&queue["topic"])),
        ("created", time(&queue["created_at_ms"])),
        ("available", plain(&queue["available"])),
        ("in flight", plain(&queue["in_flight"])),
        ("delayed", plain(&queue["delayed"])),
        ("backlog", bytes(&queue["backlog_bytes"])),
        ("oldest", span(&queue["oldest_age_ms"])),
        ("dead-lettered", format!("{} since the start of the broker", plain(&queue["dead_lettered"]))),
        ("visibility timeout", span(&queue["visibility_timeout_ms"])),
        ("dead-letter queue", dead_letter),
        ("length, at most", limit(queue)),
        ("priorities, up to", or_none(&queue["priority_max"])),
        ("receive wait", span(&queue["receive_wait_ms"])),
        ("message ttl", ttl),
        ("order", plain(&queue["order"])),
        ("delay", span(&queue["delay_ms"])),
        ("back-off", backoff),
        ("in flight, at most", plain(&queue["in_flight_max"])),
        ("largest message", bytes(&queue["message_bytes_max"])),
    ])
}
