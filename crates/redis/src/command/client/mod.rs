//! CLIENT: this connection, and all others.

mod kill;
mod list;
pub mod names;

use std::sync::atomic::Ordering::Relaxed;

use super::{ADMIN, CONNECTION, Call, Command, LOADING, NOSCRIPT, STALE, help};
use crate::client::Replies;
use crate::error;
use crate::registry::Entry;

const OWN: u32 = NOSCRIPT | LOADING | STALE | CONNECTION;
const OTHERS: u32 = ADMIN | OWN;
const CLIENTS: &str = "O(N) where N is the number of connections";

/// See the module.
pub const COMMANDS: &[Command] = &[Command::container(
    "client",
    &[
        Command::new("client|getname", 2, OWN, names::getname).about(
            "connection",
            "2.6.9",
            "Tells the name of the connection",
        ),
        Command::new("client|getredir", 2, OWN, getredir).about(
            "connection",
            "6.0.0",
            "Tells where notices of tracked keys go: nowhere",
        ),
        Command::new("client|help", 2, LOADING | STALE | CONNECTION, show_help).about(
            "connection",
            "5.0.0",
            "Shows the subcommands",
        ),
        Command::new("client|id", 2, OWN, id).about("connection", "5.0.0", "Tells the id of the connection"),
        Command::new("client|info", 2, OWN, list::info)
            .about("connection", "6.2.0", "Tells all about the connection")
            .tips(&["nondeterministic_output"]),
        Command::new("client|kill", -3, OTHERS, kill::kill)
            .about("connection", "2.4.0", "Ends connections")
            .grows(CLIENTS),
        Command::new("client|list", -2, OTHERS, list::list)
            .about("connection", "2.4.0", "Lists the connections")
            .grows(CLIENTS)
            .tips(&["nondeterministic_output"]),
        Command::new("client|no-evict", 3, OTHERS, no_evict).about(
            "connection",
            "7.0.0",
            "Keeps the connection when others are ended for want of memory",
        ),
        Command::new("client|no-touch", 3, OWN, no_touch).about(
            "connection",
            "7.2.0",
            "Whether commands of the connection count as uses of keys",
        ),
        Command::new("client|reply", 3, OWN, reply).about(
            "connection",
            "3.2.0",
            "Chooses which replies the connection gets",
        ),
        Command::new("client|setinfo", 4, OWN, names::setinfo).about(
            "connection",
            "7.2.0",
            "Names the library of the connection, or its version",
        ),
        Command::new("client|setname", 3, OWN, names::setname).about(
            "connection",
            "2.6.9",
            "Names the connection",
        ),
        Command::new("client|unblock", -3, OTHERS, unblock).about(
            "connection",
            "5.0.0",
            "Ends the wait of another connection",
        ),
    ],
)
.about("connection", "2.4.0", "Connections of clients")];

fn id(call: &mut Call<'_, '_>) {
    call.reply.integer(call.client.entry.id.cast_signed());
}

fn getredir(call: &mut Call<'_, '_>) {
    call.reply.integer(-1);
}

fn reply(call: &mut Call<'_, '_>) {
    if call.args.is(2, "on") {
        call.client.replies = Replies::On;
        call.reply.simple("OK");
    } else if call.args.is(2, "off") {
        call.client.replies = Replies::Off;
    } else if call.args.is(2, "skip") {
        if call.client.replies != Replies::Off {
            call.client.replies = Replies::SkipNext;
        }
    } else {
        call.reply.error(error::SYNTAX);
    }
}

/// Nobody waits in a command, as there is none that waits.
fn unblock(call: &mut Call<'_, '_>) {
    if call.args.len() > 4 {
        let refusal = error::subcommand_arguments("client", call.args.get(1));
        return call.reply.error(&refusal);
    }
    if call.args.len() == 4 && !call.args.is(3, "timeout") && !call.args.is(3, "error") {
        return call.reply.error(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
    match call.args.integer(2) {
        Some(_) => call.reply.integer(0),
        None => call.reply.error(error::NOT_INTEGER),
    }
}

fn no_evict(call: &mut Call<'_, '_>) {
    switch(call, |entry| &entry.no_evict);
}

fn no_touch(call: &mut Call<'_, '_>) {
    switch(call, |entry| &entry.no_touch);
}

fn switch(call: &mut Call<'_, '_>, of: fn(&Entry) -> &std::sync::atomic::AtomicBool) {
    let on = call.args.is(2, "on");
    if !on && !call.args.is(2, "off") {
        return call.reply.error(error::SYNTAX);
    }
    of(&call.client.entry).store(on, Relaxed);
    call.reply.simple("OK");
}

/// Kinds of connections that LIST and KILL tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientType {
    Normal,
    Pubsub,
    /// There are none: masters and replicas.
    Replication,
}

impl ClientType {
    /// The type of that name, or the text of the error.
    fn named(name: &[u8]) -> Result<Self, Vec<u8>> {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("normal") {
            Ok(Self::Normal)
        } else if is("pubsub") {
            Ok(Self::Pubsub)
        } else if is("master") || is("replica") || is("slave") {
            Ok(Self::Replication)
        } else {
            let shown = &name[..name.len().min(crate::limits::QUOTED_BYTES)];
            Err([b"ERR Unknown client type '", shown, b"'"].concat())
        }
    }

    fn of(entry: &Entry) -> Self {
        if entry.is_subscriber() { Self::Pubsub } else { Self::Normal }
    }
}

fn show_help(call: &mut Call<'_, '_>) {
    help(
        call,
        "CLIENT",
        &[
            ("GETNAME", "Name of this connection."),
            ("GETREDIR", "Where notices of tracked keys go: always -1, keys are not tracked."),
            ("ID", "Id of this connection."),
            ("INFO", "All about this connection, as in LIST."),
            ("KILL <ip:port>", "End the connection from this address."),
            (
                "KILL <option> <value> [<option> <value> [...]]",
                "End all connections that fit: ID, TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER, ADDR, LADDR, MAXAGE; SKIPME (YES|NO).",
            ),
            ("LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> ...]", "The connections, one a line."),
            ("NO-EVICT (ON|OFF)", "Accepted; no connection is ended for want of memory alone."),
            ("NO-TOUCH (ON|OFF)", "Accepted; there are no keys."),
            ("REPLY (ON|OFF|SKIP)", "Which replies this connection gets."),
            ("SETINFO (LIB-NAME|LIB-VER) <value>", "Name the library of this connection, or its version."),
            ("SETNAME <name>", "Name this connection."),
            ("UNBLOCK <id> [TIMEOUT|ERROR]", "End the wait of a connection; none waits, so 0."),
        ],
    );
}
