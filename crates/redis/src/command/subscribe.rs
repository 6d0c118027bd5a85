//! SUBSCRIBE and its five relatives. Each name is confirmed for itself, by a message and not by a reply.

use super::{Call, Command, LOADING, NOSCRIPT, PUBSUB, PUSHES, STALE, WHILE_SUBSCRIBED};
use crate::subscriptions::Kind;

const FLAGS: u32 = PUBSUB | NOSCRIPT | LOADING | STALE | WHILE_SUBSCRIBED | PUSHES;

const EACH: &str = "O(N) where N is the number of names";

/// See the module.
pub const COMMANDS: &[Command] = &[
    Command::new("subscribe", -2, FLAGS, |call| begin(call, Kind::Channel))
        .about("pubsub", "2.0.0", "Listens to channels")
        .grows(EACH),
    Command::new("unsubscribe", -1, FLAGS, |call| end(call, Kind::Channel))
        .about("pubsub", "2.0.0", "Listens no more to channels, or to any")
        .grows(EACH),
    Command::new("psubscribe", -2, FLAGS, |call| begin(call, Kind::Pattern))
        .about("pubsub", "2.0.0", "Listens to all channels that match patterns")
        .grows(EACH),
    Command::new("punsubscribe", -1, FLAGS, |call| end(call, Kind::Pattern))
        .about("pubsub", "2.0.0", "Listens no more by patterns, or by any")
        .grows(EACH),
    Command::new("ssubscribe", -2, FLAGS, |call| begin(call, Kind::Shard))
        .about("pubsub", "7.0.0", "Listens to shard channels")
        .grows(EACH)
        .keys([1, -1, 1]),
    Command::new("sunsubscribe", -1, FLAGS, |call| end(call, Kind::Shard))
        .about("pubsub", "7.0.0", "Listens no more to shard channels, or to any")
        .grows(EACH)
        .keys([1, -1, 1]),
];

/// A confirmation comes before the first message. With nothing waiting, it is put where it comes before all that is heard from now
/// on; else it is said before the listening begins.
fn begin(call: &mut Call<'_, '_>, kind: Kind) {
    call.goes_first = call.client.hears_nothing();
    for name in call.args.from(1) {
        if call.goes_first {
            match call.client.subscribe(kind, name) {
                Ok(()) => confirm(call, kind.begun(), Some(name), kind),
                Err(refusal) => call.reply.error(refusal),
            }
        } else {
            begin_behind(call, kind, name);
        }
    }
}

fn begin_behind(call: &mut Call<'_, '_>, kind: Kind, name: &[u8]) {
    let is_new = !call.client.subscribed.of(kind).contains_key(name);
    if is_new && let Err(refusal) = call.client.may_subscribe(kind, name) {
        return call.reply.error(refusal);
    }
    let count = call.client.subscribed.told(kind) + usize::from(is_new);
    confirm_with(call, kind.begun(), Some(name), count);
    call.put_now();
    if let Err(refusal) = call.client.subscribe(kind, name) {
        // It has been told otherwise.
        call.reply.error(refusal);
        call.client.ending = true;
    }
}

fn end(call: &mut Call<'_, '_>, kind: Kind) {
    if call.args.len() > 1 {
        for name in call.args.from(1) {
            call.client.unsubscribe(kind, name);
            confirm(call, kind.ended(), Some(name), kind);
        }
        return;
    }
    let names: Vec<Box<[u8]>> = call.client.subscribed.of(kind).keys().cloned().collect();
    for name in &names {
        call.client.unsubscribe(kind, name);
        confirm(call, kind.ended(), Some(name), kind);
    }
    if names.is_empty() {
        confirm(call, kind.ended(), None, kind);
    }
}

fn confirm(call: &mut Call<'_, '_>, word: &[u8], name: Option<&[u8]>, kind: Kind) {
    let count = call.client.subscribed.told(kind);
    confirm_with(call, word, name, count);
}

fn confirm_with(call: &mut Call<'_, '_>, word: &[u8], name: Option<&[u8]>, count: usize) {
    call.reply.push(3);
    call.reply.bulk(word);
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.integer(count as i64);
}
