//! `duolog group`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, in_path};
use super::table::{Table, items, plain, time};
use super::{Answer, Verbs};

#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List consumer groups with how far they are behind
    List,
    /// Show where a group stands in each partition
    Describe {
        /// Group
        name: String,
    },
    /// Forget the offsets of a group
    Delete {
        /// Group
        name: String,
    },
}

impl Verbs for GroupCommand {
    async fn ask(self, client: &Client) -> anyhow::Result<Answer> {
        let at = |name: &str| format!("/api/groups/{}", in_path(name));
        Ok(match self {
            Self::List => Answer::Value(client.get("/api/groups").await?, listed),
            Self::Describe { name } => Answer::Value(client.get(&at(&name)).await?, described),
            Self::Delete { name } => {
                client.delete(&at(&name)).await?;
                Answer::Done(format!("group {name} deleted"), json!({ "deleted": name }))
            }
        })
    }
}

fn listed(groups: &Value) -> String {
    let mut table = Table::new(&["GROUP", "LAG", "TOPICS"]);
    for group in items(groups) {
        table.row(vec![plain(&group["name"]), plain(&group["lag_records"]), plain(&group["topics"])]);
    }
    table.show("no groups")
}

fn described(group: &Value) -> String {
    let mut table = Table::new(&["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MOVED"]);
    for it in items(&group["partitions"]) {
        table.row(vec![
            plain(&it["topic"]),
            plain(&it["partition"]),
            plain(&it["offset"]),
            plain(&it["end"]),
            plain(&it["lag_records"]),
            time(&it["moved_at_ms"]),
        ]);
    }
    table.show("no offsets")
}
