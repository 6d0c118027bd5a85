//! `duolog exchange`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Client, in_path};
use super::routes::{HeaderArg, Route, all_headers, routes};
use super::table::{Table, fields, items, plain, time};
use super::{Answer, Verbs};

/// How an exchange compares what is published with its bindings.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// The key of the binding is that of the record
    Direct,
    /// All bindings
    Fanout,
    /// The key of the binding is a pattern: `*` is one word between dots, `#` any number of them
    Topic,
    /// What the binding says about headers
    Headers,
    /// One of the bindings, always the same for the same key; the key of the binding is its weight
    ConsistentHash,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "consistent-hash",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ExchangeCommand {
    /// List exchanges
    List,
    /// Show an exchange and what is bound to it
    Describe {
        /// Exchange
        name: String,
    },
    /// Declare an exchange
    Create {
        /// Exchange: letters, digits, '.', '_' and '-'
        name: String,
        /// How it compares
        #[arg(long, value_enum, default_value = "direct")]
        kind: Kind,
        /// Exchange that gets what no binding of this one takes
        #[arg(long, value_name = "EXCHANGE")]
        alternate: Option<String>,
        /// Header that a consistent-hash exchange goes by, instead of the key
        #[arg(long, value_name = "NAME")]
        hash_header: Option<String>,
    },
    /// Delete an exchange and its bindings
    Delete {
        /// Exchange
        name: String,
        /// Only if nothing is bound to it
        #[arg(long)]
        if_unused: bool,
    },
    /// Publish a message through an exchange, and show which topics it went to
    Publish {
        /// Exchange
        name: String,
        /// Body
        value: String,
        /// Routing key, and the record's key; default: none
        #[arg(long)]
        key: Option<String>,
        /// A header; may be repeated
        #[arg(long = "header", value_name = "NAME=VALUE")]
        headers: Vec<HeaderArg>,
    },
    /// Let an exchange route to a queue, a topic or another exchange, or get what is appended to a topic
    Bind {
        #[command(flatten)]
        route: Route,
        /// With --from-topic, where to begin: `earliest`, `latest`, an offset, a time (2026-11-24T08:00:00Z) or an age (2h)
        #[arg(long, value_name = "POINT", default_value = "latest", requires = "from_topic")]
        from: String,
    },
    /// Undo a binding, given as it was made
    Unbind(Route),
}

impl Verbs for ExchangeCommand {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let at = |name: &str| format!("/api/exchanges/{}", in_path(name));
        Ok(match self {
            Self::List => Answer::Value(client.get("/api/exchanges").await?, listed),
            Self::Describe { name } => Answer::Value(client.get(&at(&name)).await?, described),
            Self::Create { name, kind, alternate, hash_header } => {
                let sentence = format!("exchange {name} created, kind: {}", kind.name());
                let body = json!({ "name": name, "kind": kind.name(), "alternate": alternate, "hash_header": hash_header });
                Answer::Done(sentence, client.post("/api/exchanges", body).await?)
            }
            Self::Delete { name, if_unused } => {
                client.delete(&format!("{}?if_unused={if_unused}", at(&name))).await?;
                Answer::Done(format!("exchange {name} deleted"), json!({ "deleted": name }))
            }
            Self::Publish { name, value, key, headers } => {
                let headers: Map<_, _> = all_headers(headers);
                let body = json!({ "key": key, "value": value, "headers": headers });
                let done = client.post(&format!("{}/publish", at(&name)), body).await?;
                Answer::Done(published(&done), done)
            }
            Self::Bind { route, from } => {
                if let Some(topic) = route.source_topic() {
                    let path = format!("{}/from-topics", at(route.exchange()));
                    let done = client.post(&path, json!({ "topic": topic, "from": from })).await?;
                    let sentence = format!("topic {topic} bound to exchange {}", route.exchange());
                    return Ok(Answer::Done(sentence, done));
                }
                let done = client.post("/api/routes", route.body()).await?;
                Answer::Done(format!("exchange {} bound to {}", route.exchange(), route.to()), done)
            }
            Self::Unbind(route) => {
                if let Some(topic) = route.source_topic() {
                    client
                        .delete(&format!("{}/from-topics/{}", at(route.exchange()), in_path(topic)))
                        .await?;
                    let sentence = format!("topic {topic} no longer bound to exchange {}", route.exchange());
                    return Ok(Answer::Done(sentence, json!({ "deleted": topic })));
                }
                let body = route.body();
                client.delete_with("/api/routes", body.clone()).await?;
                let sentence = format!("exchange {} no longer bound so to {}", route.exchange(), route.to());
                Answer::Done(sentence, json!({ "deleted": body }))
            }
        })
    }
}

fn published(done: &Value) -> String {
    match items(&done["routed"]) {
        [] => "stored nowhere: no binding takes it".to_owned(),
        _ => format!("stored in: {}", plain(&done["routed"])),
    }
}

fn listed(exchanges: &Value) -> String {
    let mut table = Table::new(&["EXCHANGE", "KIND", "BINDINGS", "ALTERNATE"]);
    for exchange in items(exchanges) {
        table.row(vec![
            plain(&exchange["name"]),
            plain(&exchange["kind"]),
            plain(&exchange["bindings"]),
            plain(&exchange["alternate"]),
        ]);
    }
    table.show("no exchanges")
}

fn described(exchange: &Value) -> String {
    let by = match (exchange["kind"].as_str(), &exchange["hash_header"]) {
        (Some("consistent-hash"), Value::Null) => "the key".to_owned(),
        (Some("consistent-hash"), header) => format!("the header {}", plain(header)),
        _ => "-".to_owned(),
    };
    let head = fields(&[
        ("exchange", plain(&exchange["name"])),
        ("kind", plain(&exchange["kind"])),
        ("hashes", by),
        ("alternate", plain(&exchange["alternate"])),
        ("created", time(&exchange["created_at_ms"])),
        ("bindings", plain(&exchange["bindings"])),
        ("from topics", plain(&exchange["from_topics"])),
    ]);
    format!("{head}\n{}", routes(std::slice::from_ref(exchange), &exchange["routes"], &exchange["cut"]))
}
