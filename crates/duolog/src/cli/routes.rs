//! `duolog bindings`, and how `duolog exchange` names a binding.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, in_path};
use super::table::{Table, items, one_line, plain};
use super::{Answer, Verbs};

// No doc comments on what is flattened: they would compete with those of the commands for the help.
#[derive(Debug, Args)]
pub struct Graph {
    /// Only of this exchange
    #[arg(long, value_name = "EXCHANGE")]
    exchange: Option<String>,
    #[command(flatten)]
    to: Towards,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Towards {
    /// Only to this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Only to this topic, not to queues that read it
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only to this exchange
    #[arg(long, value_name = "EXCHANGE")]
    to_exchange: Option<String>,
}

impl Verbs for Graph {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let which = [
            ("exchange", self.exchange),
            ("queue", self.to.queue),
            ("topic", self.to.topic),
            ("to_exchange", self.to.to_exchange),
        ];
        let which = which.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let which: Vec<_> = which.map(|(name, value)| format!("{name}={}", in_path(&value))).collect();
        let graph = client.get(&format!("/api/routes?{}", which.join("&"))).await?;
        Ok(Answer::Value(graph, |graph| routes(items(&graph["exchanges"]), &graph["routes"], &graph["cut"])))
    }
}

/// A header as it is given: `NAME=VALUE`, or `NAME` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderArg(String, Option<String>);

impl FromStr for HeaderArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once('=') {
            Some((name, value)) => Self(name.to_owned(), Some(value.to_owned())),
            None => Self(text.to_owned(), None),
        })
    }
}

/// As the API takes them.
pub fn all_headers(headers: Vec<HeaderArg>) -> Map<String, Value> {
    headers.into_iter().map(|HeaderArg(name, value)| (name, json!(value))).collect()
}

#[derive(Debug, Args)]
pub struct Route {
    /// Exchange
    name: String,
    #[command(flatten)]
    to: End,
    /// What the exchange compares with the key of what is published; of a consistent-hash exchange the weight, 1 to 1000
    #[arg(long, default_value = "")]
    key: String,
    /// The key is given in base64, for bytes that are no text
    #[arg(long)]
    key_base64: bool,
    /// Of a headers exchange: all of these headers must be there, with this value or any
    #[arg(long, value_name = "NAME[=VALUE]", num_args = 1.., conflicts_with = "match_any")]
    match_all: Vec<HeaderArg>,
    /// Of a headers exchange: one of these headers must be there, with this value or any
    #[arg(long, value_name = "NAME[=VALUE]", num_args = 1..)]
    match_any: Vec<HeaderArg>,
    /// Of a fanout or headers exchange: rules that the headers must hold to, as in `{"store": ["books"], "price": [{"numeric": [">", 10]}]}`
    #[arg(long, value_name = "JSON", conflicts_with_all = ["match_all", "match_any", "body_rules"])]
    rules: Option<String>,
    /// The same for the body, which must be a JSON object
    #[arg(long, value_name = "JSON", conflicts_with_all = ["match_all", "match_any"])]
    body_rules: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct End {
    /// To this queue
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<String>,
    /// To this topic
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,
    /// To what this exchange finds
    #[arg(long, value_name = "EXCHANGE")]
    to_exchange: Option<String>,
    /// The other way: what is appended to this topic is published to the exchange
    #[arg(long, value_name = "TOPIC", conflicts_with_all = ["key", "match_all", "match_any", "rules", "body_rules"])]
    from_topic: Option<String>,
}

impl Route {
    /// The topic that the exchange gets, if it is that way round.
    pub fn source_topic(&self) -> Option<&str> {
        self.to.from_topic.as_deref()
    }

    /// Its exchange.
    pub fn exchange(&self) -> &str {
        &self.name
    }

    /// Where it leads.
    pub fn to(&self) -> String {
        end(&self.destination())
    }

    fn destination(&self) -> Value {
        let End { to_queue, to_topic, to_exchange, .. } = &self.to;
        match (to_queue, to_topic, to_exchange) {
            (Some(queue), ..) => json!({ "queue": queue }),
            (None, Some(topic), _) => json!({ "topic": topic }),
            (None, None, exchange) => json!({ "exchange": exchange }),
        }
    }

    /// As the API takes it.
    pub fn body(&self) -> Value {
        let mut body = json!({ "exchange": self.name, "to": self.destination(), "key": self.key });
        if self.key_base64 {
            body["key_base64"] = json!(true);
        }
        for (mode, headers) in [("all", &self.match_all), ("any", &self.match_any)] {
            if !headers.is_empty() {
                body["match"] = json!({ "mode": mode, "headers": all_headers(headers.clone()) });
            }
        }
        for (on, text) in [("headers", &self.rules), ("body", &self.body_rules)] {
            if let Some(text) = text {
                body["rules"] = json!({ "on": on, "text": text });
            }
        }
        body
    }
}

/// A table of routes, in which each of the exchanges that somebody declared has a line at least.
pub fn routes(exchanges: &[Value], routes: &Value, cut: &Value) -> String {
    let mut of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for route in items(routes) {
        of.entry(route["exchange"].as_str().unwrap_or_default()).or_default().push(route);
    }
    let mut table = Table::new(&["FROM", "KIND", "TO", "WHEN"]);
    for exchange in exchanges {
        let (name, kind) = (plain(&exchange["name"]), plain(&exchange["kind"]));
        let routes = of.remove(&*name).unwrap_or_default();
        let topics = items(&exchange["from_topics"]);
        for topic in topics {
            let (from, to) = (format!("topic {}", plain(topic)), format!("exchange {name}"));
            table.row(vec![from, "-".to_owned(), to, "it is appended".to_owned()]);
        }
        let is_bare = routes.is_empty() && topics.is_empty() && exchange["alternate"].is_null();
        for route in routes {
            table.row(vec![name.clone(), kind.clone(), end(&route["to"]), one_line(&when(&kind, route))]);
        }
        if let Some(alternate) = exchange["alternate"].as_str() {
            let to = end(&json!({ "exchange": alternate }));
            table.row(vec![name.clone(), kind.clone(), to, "nothing else takes it".to_owned()]);
        }
        // Those that AMQP clients expect are always there: they have a line once something is bound.
        let is_always_there = exchanges.len() > 1 && name.starts_with("amq.");
        if is_bare && !is_always_there {
            table.row(vec![name, kind, "-".to_owned(), "-".to_owned()]);
        }
    }
    let mut text = table.show("no exchanges");
    if cut.as_bool() == Some(true) {
        text += "and more: name an exchange, or a queue, topic or exchange that it leads to\n";
    }
    text
}

fn end(to: &Value) -> String {
    let only = to.as_object().and_then(|it| it.iter().next());
    only.map_or_else(|| "-".to_owned(), |(what, name)| format!("{what} {}", plain(name)))
}

/// Which records take a route.
fn when(kind: &str, route: &Value) -> String {
    let is_base64 = route["key_base64"].as_bool() == Some(true);
    let key = if is_base64 {
        format!("base64 {}", plain(&route["key"]))
    } else {
        format!("{:?}", plain(&route["key"]))
    };
    let also = if route["key"] == json!("") { String::new() } else { format!(" (bound with the key {key})") };
    if let Some(text) = route["rules"]["text"].as_str() {
        return format!("of the {}: {text}{also}", plain(&route["rules"]["on"]));
    }
    match kind {
        "direct" => format!("the key is {key}"),
        "topic" => format!("the key is like {key}"),
        "consistent-hash" => format!("its share by weight: {}", plain(&route["key"])),
        "headers" => format!("{}{also}", headers_of(&route["match"])),
        _ => format!("always{also}"),
    }
}

fn headers_of(matching: &Value) -> String {
    let Some(headers) = matching["headers"].as_object() else { return "always".to_owned() };
    let is_base64 = if matching["base64"].as_bool() == Some(true) { "in base64, " } else { "" };
    let shown: Vec<_> = headers
        .iter()
        .map(|(name, value)| value.as_str().map_or_else(|| name.clone(), |value| format!("{name}={value}")))
        .collect();
    match (plain(&matching["mode"]).as_str(), shown.is_empty()) {
        ("all", true) => "always".to_owned(),
        (_, true) => "never".to_owned(),
        (mode, false) => format!("{is_base64}{mode} of {}", shown.join(" ")),
    }
}
