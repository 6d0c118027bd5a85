//! Moves: what is to be moved, and how far it is.

use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::Answer;
use super::client::Client;
use super::table::{Table, items, plain, time};

/// How often a move that goes on is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Which messages are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those with this key.
    Key(String),
    /// Those with this header: name and value.
    Header(String, String),
}

impl Filter {
    /// Puts it into a request.
    pub fn put(self, body: &mut Value) {
        match self {
            Self::Key(key) => body["key"] = json!(key),
            Self::Header(name, value) => body["header"] = json!({ "name": name, "value": value }),
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = text.split_once('=').and_then(|(what, value)| match what.split_once('.') {
            None if what == "key" => Some(Self::Key(value.to_owned())),
            Some(("header", name)) if !name.is_empty() => {
                Some(Self::Header(name.to_owned(), value.to_owned()))
            }
            Some(_) | None => None,
        });
        what.ok_or_else(|| format!("{text:?} is neither key=VALUE nor header.NAME=VALUE"))
    }
}

/// Starts a move and waits until it is over.
pub async fn follow(client: &Client, queue: &str, body: Value) -> anyhow::Result<Answer> {
    use std::io::IsTerminal;
    let mut task = client.post(&format!("{queue}/moves"), body).await?;
    let id = plain(&task["id"]);
    let shows = std::io::stderr().is_terminal();
    while matches!(task["status"].as_str(), Some("running" | "cancelling")) {
        if shows {
            eprint!("\rmove {id}: {} of about {} messages", plain(&task["moved"]), plain(&task["to_move"]));
        }
        tokio::time::sleep(EVERY).await;
        task = client.get(&format!("/api/moves/{id}")).await?;
    }
    if shows {
        eprintln!();
    }
    let moved = plain(&task["moved"]);
    match task["status"].as_str() {
        Some("completed") if task["dry_run"] == json!(true) => {
            Ok(Answer::Done(format!("messages that would be moved: {moved}"), task))
        }
        Some("completed") => Ok(Answer::Done(format!("messages moved: {moved}"), task)),
        Some("failed") => bail!("the move failed after {moved} messages: {}", plain(&task["reason"])),
        _ => Ok(Answer::Done(format!("the move was cancelled after {moved} messages"), task)),
    }
}

/// The moves of a queue.
pub fn listed(moves: &Value) -> String {
    let mut table = Table::new(&["MOVE", "TO", "STATUS", "MOVED", "OF ABOUT", "STARTED", "REASON"]);
    for it in items(moves) {
        let to = it["to"].as_str().unwrap_or("where they came from").to_owned();
        table.row(vec![
            plain(&it["id"]),
            to,
            match it["dry_run"] == json!(true) {
                true => format!("{} (dry run)", plain(&it["status"])),
                false => plain(&it["status"]),
            },
            plain(&it["moved"]),
            plain(&it["to_move"]),
            time(&it["started_at_ms"]),
            it["reason"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table.show("no moves")
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn filters_are_read() {
        assert_eq!("key=a=b".parse(), Ok(Filter::Key("a=b".to_owned())));
        assert_eq!("header.x.y=1".parse(), Ok(Filter::Header("x.y".to_owned(), "1".to_owned())));
        for wrong in ["key", "x=1", "header.=1", "header=1", ""] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }
}
