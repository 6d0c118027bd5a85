//! The commands: a table of what each is, and the functions behind it.
//!
//! Adding a command: a row in its family's `COMMANDS`, and a function that takes a [`Call`]. Dispatch, arity errors, COMMAND and
//! COMMAND DOCS follow from the row; docs/redis.md lists it.

mod client;
mod cluster;
mod config;
mod connection;
mod details;
mod info;
mod publish;
mod pubsub;
mod subscribe;
mod time;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::client::Client;
use crate::codec::{Args, Reply};
use crate::error;
use crate::limits::QUOTED_BYTES;

/// What a command works on.
pub struct Call<'c, 'a> {
    /// The connection.
    pub client: &'c mut Client,
    /// The name and what follows it.
    pub args: Args<'a>,
    /// Where the answer goes.
    pub reply: Reply<'c>,
    /// The answer comes before all that is heard from the beginning of the command on.
    pub goes_first: bool,
}

impl Call<'_, '_> {
    /// Puts what is answered so far in its place, before the command goes on.
    pub fn put_now(&mut self) {
        let answered = self.reply.take();
        self.client.put(&answered);
    }
}

/// Flags that COMMAND shows, in its order, then those that only dispatch looks at.
pub const ADMIN: u32 = 1;
/// Not from scripts.
pub const NOSCRIPT: u32 = 1 << 1;
/// Served while a server loads its data.
pub const LOADING: u32 = 1 << 2;
/// Served by a replica that has lost its master.
pub const STALE: u32 = 1 << 3;
/// Takes no time to speak of.
pub const FAST: u32 = 1 << 4;
/// Served before authentication.
pub const NO_AUTH: u32 = 1 << 5;
/// Served while a script runs too long.
pub const ALLOW_BUSY: u32 = 1 << 6;
/// Publishes or listens.
pub const PUBSUB: u32 = 1 << 7;
/// Of the category `connection`.
pub const CONNECTION: u32 = 1 << 16;
/// Of the category `dangerous`, as every `ADMIN` command.
pub const DANGEROUS: u32 = 1 << 17;
/// Allowed to a subscriber that speaks RESP2.
pub const WHILE_SUBSCRIBED: u32 = 1 << 18;
/// Its answers are messages: sent even where replies are not wanted.
pub const PUSHES: u32 = 1 << 19;
/// Names of the flags that COMMAND shows.
const FLAG_NAMES: &[(u32, &str)] = &[
    (PUBSUB, "pubsub"),
    (ADMIN, "admin"),
    (NOSCRIPT, "noscript"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (ALLOW_BUSY, "allow_busy"),
];

/// A command, or a subcommand of one.
pub struct Command {
    /// In small letters; of a subcommand with its container's before it, as in `client|id`.
    pub name: &'static str,
    /// Arguments, the name included; at least so many if negative.
    pub arity: i32,
    /// See the constants.
    pub flags: u32,
    /// First and last argument that is a key, and the step between keys; noughts without any.
    pub keys: [i32; 3],
    /// Family in the documentation of Redis.
    pub group: &'static str,
    /// Version of Redis that had it first.
    pub since: &'static str,
    /// How its time grows.
    pub complexity: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// What clients of many servers need to know.
    pub tips: &'static [&'static str],
    /// What is done; `None` of a container that is nothing by itself.
    pub run: Option<fn(&mut Call<'_, '_>)>,
    /// Of a container.
    pub subcommands: &'static [Self],
}

impl Command {
    /// A row without what most rows lack.
    const fn new(name: &'static str, arity: i32, flags: u32, run: fn(&mut Call<'_, '_>)) -> Self {
        Self {
            name,
            arity,
            flags,
            keys: [0; 3],
            group: "",
            since: "",
            complexity: "O(1)",
            summary: "",
            tips: &[],
            run: Some(run),
            subcommands: &[],
        }
    }

    /// A row that is nothing without its subcommands.
    const fn container(name: &'static str, subcommands: &'static [Self]) -> Self {
        Self {
            name,
            arity: -2,
            flags: 0,
            keys: [0; 3],
            group: "",
            since: "",
            complexity: "Depends on subcommand.",
            summary: "",
            tips: &[],
            run: None,
            subcommands,
        }
    }

    const fn about(mut self, group: &'static str, since: &'static str, summary: &'static str) -> Self {
        self.group = group;
        self.since = since;
        self.summary = summary;
        self
    }

    const fn grows(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    const fn keys(mut self, keys: [i32; 3]) -> Self {
        self.keys = keys;
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn with(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// True if a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// True if it takes so many arguments, the name included.
    fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }

    /// Names of its flags.
    fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        FLAG_NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }

    /// Its categories of access control.
    fn categories(&self) -> Vec<&'static str> {
        let dangerous = self.flags & (ADMIN | DANGEROUS) != 0;
        let all = [
            (self.has(PUBSUB), "@pubsub"),
            (self.has(ADMIN), "@admin"),
            (self.has(FAST), "@fast"),
            (!self.has(FAST), "@slow"),
            (dangerous, "@dangerous"),
            (self.has(CONNECTION), "@connection"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }
}

/// All commands; each is followed by its subcommands.
static TABLE: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    let families: [&'static [Command]; 9] = [
        client::COMMANDS,
        cluster::COMMANDS,
        config::COMMANDS,
        connection::COMMANDS,
        details::COMMANDS,
        info::COMMANDS,
        publish::COMMANDS,
        pubsub::COMMANDS,
        subscribe::COMMANDS,
    ];
    let rows = families.into_iter().flatten().chain(time::COMMANDS);
    rows.flat_map(|command| std::iter::once(command).chain(command.subcommands)).collect()
});

/// Places in [`TABLE`] by name.
static PLACES: LazyLock<HashMap<&'static [u8], u32>> = LazyLock::new(|| {
    (0..).zip(TABLE.iter()).map(|(index, command)| (command.name.as_bytes(), index)).collect()
});

/// Those that are no subcommands.
fn top_level() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().copied().filter(|command| !command.name.contains('|'))
}

/// The name of the command at a place of the table.
pub fn name_at(index: u32) -> &'static str {
    TABLE.get(index as usize).map_or("NULL", |command| command.name)
}

/// The place of PUBLISH, which is served without a look into the table.
pub fn publish_index() -> u32 {
    static PLACE: LazyLock<u32> = LazyLock::new(|| PLACES.get(&b"publish"[..]).copied().unwrap_or(u32::MAX));
    *PLACE
}

/// A command by its full name, whatever the case.
fn lookup(name: &[u8]) -> Option<(u32, &'static Command)> {
    let index = *PLACES.get(&name.to_ascii_lowercase()[..])?;
    Some((index, TABLE[index as usize]))
}

/// The command that a request names, its arity checked.
///
/// # Errors
/// The text of the error.
pub fn find(args: Args<'_>) -> Result<(u32, &'static Command), Vec<u8>> {
    let name = args.get(0);
    // Only containers have names with a bar, and nobody calls a subcommand by such a name.
    let known = (!name.contains(&b'|')).then(|| lookup(name)).flatten();
    let Some((index, command)) = known else { return Err(unknown(args)) };
    let (index, command) = if command.subcommands.is_empty() || args.len() == 1 {
        (index, command)
    } else {
        let full = [name, b"|", args.get(1)].concat();
        lookup(&full).ok_or_else(|| error::subcommand(command.name, args.get(1)))?
    };
    if command.run.is_none() || !command.takes(args.len()) {
        return Err(error::arity(command.name));
    }
    Ok((index, command))
}

/// The error for a command that does not exist: it quotes the name and, up to a limit, the arguments.
fn unknown(args: Args<'_>) -> Vec<u8> {
    let cut = |bytes: &[u8], room: usize| -> Vec<u8> {
        // As a text of C: it ends before the first zero.
        bytes.iter().take(room).take_while(|byte| **byte != 0).copied().collect()
    };
    let mut quoted = Vec::new();
    for arg in args.from(1) {
        if quoted.len() >= QUOTED_BYTES {
            break;
        }
        let shown = cut(arg, QUOTED_BYTES - quoted.len());
        quoted.extend_from_slice(&[b"'", &shown[..], b"' "].concat());
    }
    let name = cut(args.get(0), QUOTED_BYTES);
    [b"ERR unknown command '", &name[..], b"', with args beginning with: ", &quoted].concat()
}

/// Answers a HELP: a line that says how to call, then pairs of a form and what it does.
fn help(call: &mut Call<'_, '_>, container: &str, lines: &[(&str, &str)]) {
    call.reply.array(2 * lines.len() + 3);
    call.reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (form, meaning) in lines.iter().copied().chain([("HELP", "Show this text.")]) {
        call.reply.simple(form);
        call.reply.simple(&format!("    {meaning}"));
    }
}

#[cfg(test)]
mod tests;
