//! `duolog topic`, `queue`, `group`, `binding`, `exchange` and `bindings`: a client of the admin API, and nothing but that.
//!
//! Adding a verb: a variant in the file of its noun, with the one request that it makes.

mod binding;
mod client;
mod exchange;
mod group;
mod moves;
mod queue;
mod routes;
mod table;
mod topic;

use clap::Args;
use serde_json::Value;

pub use self::binding::BindingCommand;
pub use self::client::Client;
pub use self::exchange::ExchangeCommand;
pub use self::group::GroupCommand;
pub use self::queue::QueueCommand;
pub use self::routes::Graph;
pub use self::topic::TopicCommand;

/// Which broker, and for whom the answer is.
#[derive(Debug, Args)]
pub struct Target {
    /// Admin listener of the broker
    #[arg(long, env = "DUOLOG_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9600", global = true)]
    pub admin: String,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What is printed.
pub enum Answer {
    /// The JSON as it is, or what people see of it.
    Value(Value, fn(&Value) -> String),
    /// A sentence, and the JSON beside it.
    Done(String, Value),
}

/// A family of commands.
pub trait Verbs {
    /// Makes the request.
    fn ask(self, client: &Client) -> impl Future<Output = anyhow::Result<Answer>>;
}

/// Runs one command to its end.
pub fn run(target: Target, verbs: impl Verbs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(target.admin);
    let answer = runtime.block_on(verbs.ask(&client))?;
    let text = match (answer, target.json) {
        (Answer::Value(value, _) | Answer::Done(_, value), true) => {
            serde_json::to_string_pretty(&value)? + "\n"
        }
        (Answer::Value(value, show), false) => show(&value),
        (Answer::Done(sentence, _), false) => sentence + "\n",
    };
    print(&text);
    Ok(())
}

/// Prints; that the reader has gone (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
