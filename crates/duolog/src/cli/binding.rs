//! `duolog binding`.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, in_path};
use super::table::{Table, items, plain};
use super::{Answer, Verbs};

/// Which way a binding goes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// From a subject into a topic
    Capture,
    /// From a topic to a subject
    Echo,
}

#[derive(Debug, Subcommand)]
pub enum BindingCommand {
    /// List bindings between subjects and topics
    List,
    /// Append what is published on a subject to a topic as well
    ///
    /// The subject becomes the record's key. A NATS request is answered by an acknowledgement, a Redis PUBLISH by its number, once
    /// the message is durable.
    Capture {
        /// Subject; `*` is one token, `>` one or more at the end, `#` any or none
        subject: String,
        /// Topic
        #[arg(long)]
        topic: String,
    },
    /// Let what is appended to a topic from now on, by any protocol, be heard on a subject
    Echo {
        /// Topic
        topic: String,
        /// Subject; may have `{key}`, `{topic}` and `{partition}` in it
        #[arg(long)]
        subject: String,
        /// Serve a listener that is too slow from the log, instead of cutting it off
        #[arg(long)]
        catch_up: bool,
    },
    /// End a binding
    Delete {
        /// Which way it goes
        kind: Kind,
        /// Its subject, as it was given
        #[arg(long)]
        subject: String,
        /// Its topic
        #[arg(long)]
        topic: String,
    },
}

impl Verbs for BindingCommand {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        Ok(match self {
            Self::List => Answer::Value(client.get("/api/bindings").await?, listed),
            Self::Capture { subject, topic } => {
                let sentence = format!("what is published on {subject} is appended to topic {topic}");
                let body = json!({ "kind": "capture", "subject": subject, "topic": topic });
                Answer::Done(sentence, client.post("/api/bindings", body).await?)
            }
            Self::Echo { topic, subject, catch_up } => {
                let sentence = format!("what is appended to topic {topic} is heard on {subject}");
                let body =
                    json!({ "kind": "echo", "subject": subject, "topic": topic, "catch_up": catch_up });
                Answer::Done(sentence, client.post("/api/bindings", body).await?)
            }
            Self::Delete { kind, subject, topic } => {
                let kind = match kind {
                    Kind::Capture => "capture",
                    Kind::Echo => "echo",
                };
                let (subject_in, topic_in) = (in_path(&subject), in_path(&topic));
                let which = format!("/api/bindings?kind={kind}&subject={subject_in}&topic={topic_in}");
                client.delete(&which).await?;
                let deleted = json!({ "kind": kind, "subject": subject, "topic": topic });
                Answer::Done(
                    format!("{kind} of {subject} and topic {topic} deleted"),
                    json!({ "deleted": deleted }),
                )
            }
        })
    }
}

fn listed(bindings: &Value) -> String {
    let mut table = Table::new(&["KIND", "SUBJECT", "TOPIC", "SLOW LISTENERS", "FROM"]);
    for it in items(bindings) {
        let slow = match (it["kind"].as_str(), it["catch_up"].as_bool()) {
            (Some("echo"), Some(true)) => "catch up",
            (Some("echo"), _) => "as always",
            _ => "-",
        };
        let from = if it["configured"] == json!(true) { "configuration" } else { "operator" };
        table.row(vec![
            plain(&it["kind"]),
            plain(&it["subject"]),
            plain(&it["topic"]),
            slow.to_owned(),
            from.to_owned(),
        ]);
    }
    table.show("no bindings")
}
