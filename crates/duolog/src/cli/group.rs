//! `duolog group`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, in_path};
use super::table::{Table, fields, items, plain, time};
use super::{Answer, Verbs};

#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List consumer groups with how far they are behind
    List,
    /// Show members of a group, and where it stands in each partition
    Describe {
        /// Group
        name: String,
    },
    /// Delete a group without members: forget its offsets
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
    let mut table = Table::new(&["GROUP", "STATE", "LAG", "TOPICS"]);
    for group in items(groups) {
        table.row(vec![
            plain(&group["name"]),
            plain(&group["state"]),
            plain(&group["lag_records"]),
            plain(&group["topics"]),
        ]);
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
    let mut members = Table::new(&["MEMBER", "CLIENT", "HOST"]);
    for it in items(&group["members"]) {
        members.row(vec![plain(&it["id"]), plain(&it["client_id"]), plain(&it["client_host"])]);
    }
    let head = fields(&[("group", plain(&group["name"])), ("state", plain(&group["state"]))]);
    format!("{head}\n{}\n{}", members.show("no members"), table.show("no offsets"))
}
