//! `duolog topic`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, in_path};
use super::table::{Table, bytes, fields, items, one_line, plain, span, time};
use super::{Answer, Verbs};
use crate::config::{Acked, OrNone, Size, Span};

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// List topics with what they hold
    List,
    /// Show settings, partitions and queues of a topic
    Describe {
        /// Topic
        name: String,
    },
    /// Create a topic
    Create(Creation),
    /// Change settings of a topic; what is not named stays
    Set(Changes),
    /// Delete a topic, its records and the queues on it
    Delete {
        /// Topic
        name: String,
    },
    /// Look at records without taking them
    Peek {
        /// Topic
        name: String,
        /// Partition
        #[arg(long, default_value_t = 0, value_name = "N")]
        partition: usize,
        /// Offset of the first record; default: the earliest
        #[arg(long, value_name = "OFFSET")]
        offset: Option<u64>,
        /// How many records, 1000 at most
        #[arg(long, default_value_t = 10, value_name = "N")]
        count: usize,
    },
    /// Delete the records before an offset or a time, also those that a queue still holds
    Trim {
        /// Topic
        name: String,
        /// First record that stays: `latest`, an offset, a time (2026-11-24T08:00:00Z) or an age (2h)
        #[arg(long, value_name = "POINT")]
        before: String,
        /// Only in this partition
        #[arg(long, value_name = "N")]
        partition: Option<usize>,
    },
}

// A topic to be made. No doc comment: it would compete with that of the subcommand for its help.
#[derive(Debug, Args)]
pub struct Creation {
    /// Topic: letters, digits, '.', '_' and '-'
    name: String,
    /// Number of partitions; default: the broker's
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Age past which records go, as in 7d, or `none`; default: the broker's
    #[arg(long, value_name = "TIME|none")]
    retention: Option<OrNone<Span>>,
    /// Bytes per partition past which the oldest records go, or `none`; default: the broker's
    #[arg(long, value_name = "SIZE|none")]
    retention_bytes: Option<OrNone<Size>>,
    /// What an acknowledgement means: `sync` or `os`; default: the broker's
    #[arg(long, value_name = "sync|os")]
    durability: Option<Acked>,
    /// Keep records until every queue on the topic has acknowledged them, and so many more; default: by retention
    #[arg(long, value_name = "N")]
    keep_settled: Option<u64>,
    /// Store a record once that is sent again under one idempotency key within this time, as in 5m
    #[arg(long, value_name = "TIME")]
    dedup_window: Option<Span>,
    /// Where a key counts: in the whole `topic` (default), or among records of one `key`
    #[arg(long, value_name = "topic|key", requires = "dedup_window")]
    dedup_scope: Option<String>,
}

// Settings to be changed. No doc comment, as above.
#[derive(Debug, Args)]
pub struct Changes {
    /// Topic
    name: String,
    /// Grow to so many partitions
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Age past which records go, as in 7d, or `none`
    #[arg(long, value_name = "TIME|none")]
    retention: Option<OrNone<Span>>,
    /// Bytes per partition past which the oldest records go, or `none`
    #[arg(long, value_name = "SIZE|none")]
    retention_bytes: Option<OrNone<Size>>,
    /// Keep records until every queue has acknowledged them, and so many more; `none` is by retention
    #[arg(long, value_name = "N|none")]
    keep_settled: Option<OrNone<Size>>,
    /// Store a record once that is sent again under one idempotency key within this time, or `none`
    #[arg(long, value_name = "TIME|none")]
    dedup_window: Option<OrNone<Span>>,
    /// Where a key counts: in the whole `topic`, or among records of one `key`
    #[arg(long, value_name = "topic|key")]
    dedup_scope: Option<String>,
}

impl Verbs for TopicCommand {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        Ok(match self {
            Self::List => Answer::Value(client.get("/api/topics").await?, listed),
            Self::Describe { name } => {
                Answer::Value(client.get(&format!("/api/topics/{}", in_path(&name))).await?, described)
            }
            Self::Create(creation) => creation.ask(client).await?,
            Self::Set(changes) => changes.ask(client).await?,
            Self::Delete { name } => {
                client.delete(&format!("/api/topics/{}", in_path(&name))).await?;
                Answer::Done(format!("topic {name} deleted"), json!({ "deleted": name }))
            }
            Self::Peek { name, partition, offset, count } => {
                let mut path =
                    format!("/api/topics/{}/records?partition={partition}&count={count}", in_path(&name));
                if let Some(offset) = offset {
                    path += &format!("&offset={offset}");
                }
                Answer::Value(client.get(&path).await?, peeked)
            }
            Self::Trim { name, before, partition } => {
                let body = json!({ "before": before, "partition": partition });
                let path = format!("/api/topics/{}/trim", in_path(&name));
                Answer::Value(client.post(&path, body).await?, partitions)
            }
        })
    }
}

impl Creation {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let mut body = json!({ "name": self.name });
        let fields = [
            ("partitions", self.partitions.map(|it| json!(it))),
            ("retention_ms", self.retention.map(|it| json!(it.0.map(Span::ms)))),
            ("retention_bytes", self.retention_bytes.map(|it| json!(it.0.map(|size| size.0)))),
            ("durability", self.durability.map(|it| json!(it.name()))),
            ("keep_settled", self.keep_settled.map(|it| json!(it))),
            ("dedup_window_ms", self.dedup_window.map(|it| json!(it.ms()))),
            ("dedup_scope", self.dedup_scope.map(|it| json!(it))),
        ];
        put(&mut body, fields);
        let made = client.post("/api/topics", body).await?;
        let count = items(&made["partitions"]).len();
        Ok(Answer::Done(format!("topic {} created, partitions: {count}", self.name), made))
    }
}

impl Changes {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let mut body = json!({});
        let fields = [
            ("partitions", self.partitions.map(|it| json!(it))),
            ("retention_ms", self.retention.map(|it| json!(it.0.map(Span::ms)))),
            ("retention_bytes", self.retention_bytes.map(|it| json!(it.0.map(|size| size.0)))),
            ("keep_settled", self.keep_settled.map(|it| json!(it.0.map(|count| count.0)))),
            ("dedup_window_ms", self.dedup_window.map(|it| json!(it.0.map(Span::ms)))),
            ("dedup_scope", self.dedup_scope.map(|it| json!(it))),
        ];
        put(&mut body, fields);
        let path = format!("/api/topics/{}/settings", in_path(&self.name));
        Ok(Answer::Value(client.post(&path, body).await?, described))
    }
}

/// Puts what is there into a request.
fn put<const N: usize>(body: &mut Value, fields: [(&str, Option<Value>); N]) {
    for (field, value) in fields {
        if let Some(value) = value {
            body[field] = value;
        }
    }
}

fn listed(topics: &Value) -> String {
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "RECORDS", "BYTES", "QUEUES"]);
    for topic in items(topics) {
        table.row(vec![
            plain(&topic["name"]),
            plain(&topic["partitions"]),
            plain(&topic["records"]),
            bytes(&topic["bytes"]),
            plain(&topic["queues"]),
        ]);
    }
    table.show("no topics")
}

fn described(topic: &Value) -> String {
    let or = |value: &Value, show: fn(&Value) -> String, none: &str| match value {
        Value::Null => none.to_owned(),
        value => show(value),
    };
    let kept = match topic["keep_settled"].as_u64() {
        Some(0) => "until settled by its queues".to_owned(),
        Some(more) => format!("until settled by its queues, and {more} records more"),
        None => "by retention, and what a queue holds unsettled".to_owned(),
    };
    let head = fields(&[
        ("topic", plain(&topic["name"])),
        ("id", plain(&topic["id"])),
        ("created", time(&topic["created_at_ms"])),
        ("queues", plain(&topic["queues"])),
        ("kept", kept),
        ("retention", or(&topic["retention_ms"], span, "for ever")),
        ("retention bytes", or(&topic["retention_bytes"], bytes, "no limit")),
        ("largest batch", bytes(&topic["batch_bytes_max"])),
        ("deduplication", deduplication(topic)),
        ("timestamps", plain(&topic["timestamps"])),
        ("durability", or(&topic["durability"], plain, "the broker's")),
    ]);
    format!("{head}\n{}", partitions(&topic["partitions"]))
}

fn deduplication(topic: &Value) -> String {
    match (&topic["dedup_window_ms"], topic["dedup_scope"].as_str()) {
        (Value::Null, _) => "none".to_owned(),
        (window, Some("key")) => format!("{} by key", span(window)),
        (window, _) => span(window),
    }
}

fn partitions(partitions: &Value) -> String {
    let mut table = Table::new(&["PARTITION", "START", "END", "BYTES"]);
    for it in items(partitions) {
        table.row(vec![plain(&it["partition"]), plain(&it["start"]), plain(&it["end"]), bytes(&it["bytes"])]);
    }
    table.show("no partitions")
}

fn peeked(records: &Value) -> String {
    let mut table = Table::new(&["OFFSET", "TIME", "KEY", "VALUE", "HEADERS"]);
    for record in items(records) {
        let headers = items(&record["headers"]).iter();
        let headers: Vec<_> =
            headers.map(|pair| format!("{}={}", plain(&pair[0]), plain(&pair[1]))).collect();
        table.row(vec![
            plain(&record["offset"]),
            time(&record["timestamp_ms"]),
            one_line(&plain(&record["key"])),
            one_line(&plain(&record["value"])),
            one_line(&headers.join(" ")),
        ]);
    }
    table.show("no records there")
}
