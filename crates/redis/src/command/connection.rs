//! The connection itself: PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    ALLOW_BUSY, CONNECTION, Call, Command, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE, WHILE_SUBSCRIBED,
};
use crate::client::Replies;
use crate::command::client::names;
use crate::error;
use crate::limits::DATABASES;

const GREETS: u32 = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY | CONNECTION;

/// See the module.
pub const COMMANDS: &[Command] = &[
    Command::new("auth", -2, GREETS, auth)
        .about("connection", "1.0.0", "Names the user and the password of the connection")
        .grows("O(N) where N is the number of passwords of the user"),
    Command::new("echo", 2, LOADING | STALE | FAST | CONNECTION, echo).about(
        "connection",
        "1.0.0",
        "Gives back its argument",
    ),
    Command::new("hello", -1, GREETS, hello).about(
        "connection",
        "6.0.0",
        "Chooses the version of the protocol and tells about the server",
    ),
    Command::new("ping", -1, FAST | CONNECTION | WHILE_SUBSCRIBED, ping)
        .about("connection", "1.0.0", "Asks whether the server answers")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::new("quit", -1, GREETS | WHILE_SUBSCRIBED, quit).about(
        "connection",
        "1.0.0",
        "Ends the connection",
    ),
    Command::new("reset", 1, GREETS | WHILE_SUBSCRIBED, reset).about(
        "connection",
        "6.2.0",
        "Makes the connection as it was at its beginning",
    ),
    Command::new("select", 2, LOADING | STALE | FAST | CONNECTION, select).about(
        "connection",
        "1.0.0",
        "Chooses the numbered database of the connection",
    ),
];

fn ping(call: &mut Call<'_, '_>) {
    if call.args.len() > 2 {
        return call.reply.error(&error::arity("ping"));
    }
    if !call.client.resp3 && call.client.subscribed.len() > 0 {
        // As a message, because everything that such a client gets is one.
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(call.args.get(1));
    } else if call.args.len() == 2 {
        call.reply.bulk(call.args.get(1));
    } else {
        call.reply.simple("PONG");
    }
}

fn echo(call: &mut Call<'_, '_>) {
    call.reply.bulk(call.args.get(1));
}

fn auth(call: &mut Call<'_, '_>) {
    match call.args.len() {
        2 => call.reply.error(error::NO_PASSWORD),
        3 if is_user(call.args.get(1)) => call.reply.simple("OK"),
        3 => call.reply.error(error::WRONG_PASSWORD),
        _ => call.reply.error(error::SYNTAX),
    }
}

/// There is one user, who has no password: any is right.
fn is_user(name: &[u8]) -> bool {
    name == b"default"
}

fn hello(call: &mut Call<'_, '_>) {
    let mut resp3 = call.client.resp3;
    if call.args.len() > 1 {
        match call.args.integer(1) {
            Some(2) => resp3 = false,
            Some(3) => resp3 = true,
            Some(_) => return call.reply.error(b"NOPROTO unsupported protocol version"),
            None => return call.reply.error(b"ERR Protocol version is not an integer or out of range"),
        }
    }
    let mut name = None;
    let mut at = 2;
    while at < call.args.len() {
        let more = call.args.len() - at - 1;
        if call.args.is(at, "auth") && more >= 2 {
            if !is_user(call.args.get(at + 1)) {
                return call.reply.error(error::WRONG_PASSWORD);
            }
            at += 3;
        } else if call.args.is(at, "setname") && more >= 1 {
            name = Some(call.args.get(at + 1));
            if let Err(refusal) = names::check_name(call.args.get(at + 1)) {
                return call.reply.error(refusal);
            }
            at += 2;
        } else {
            let shown = call.args.get(at);
            let shown = &shown[..shown.len().min(crate::limits::QUOTED_BYTES)];
            return call.reply.error(&[b"ERR Syntax error in HELLO option '", shown, b"'"].concat());
        }
    }
    if let Some(name) = name {
        call.client.entry.names.lock().name = name.to_vec();
    }
    if resp3 != call.client.resp3 {
        call.client.set_resp3(resp3);
        call.reply.set_resp3(resp3);
    }
    introduce(call);
}

fn introduce(call: &mut Call<'_, '_>) {
    let reply = &mut call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(super::info::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if call.client.resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(call.client.entry.id.cast_signed());
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

fn select(call: &mut Call<'_, '_>) {
    match call.args.integer(1) {
        Some(database) if (0..DATABASES).contains(&database) => {
            call.client.entry.database.store(database as u8, Relaxed);
            call.reply.simple("OK");
        }
        Some(number) if i32::try_from(number).is_err() => {
            let (least, most) = (i32::MIN, i32::MAX);
            let text = format!("ERR value is out of range, value must between {least} and {most}");
            call.reply.error(text.as_bytes());
        }
        Some(_) => call.reply.error(b"ERR DB index is out of range"),
        None => call.reply.error(error::NOT_INTEGER),
    }
}

fn quit(call: &mut Call<'_, '_>) {
    call.client.ending = true;
    call.reply.simple("OK");
}

fn reset(call: &mut Call<'_, '_>) {
    let client = &mut *call.client;
    client.unsubscribe_all();
    client.set_resp3(false);
    // A skipped reply is skipped even so, as in Redis.
    if client.replies != Replies::Skip {
        client.replies = Replies::On;
    }
    client.entry.names.lock().name.clear();
    client.entry.database.store(0, Relaxed);
    client.entry.no_evict.store(false, Relaxed);
    client.entry.no_touch.store(false, Relaxed);
    call.reply.set_resp3(false);
    call.reply.simple("RESET");
}
