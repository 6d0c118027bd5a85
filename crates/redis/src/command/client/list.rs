//! CLIENT LIST and CLIENT INFO: one line a connection, in the fields of Redis 7.4. What has no meaning here is nought.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use duolog_broker::Monotonic;
use duolog_broker::live::PendingSize;

use super::ClientType;
use crate::command::{Call, name_at};
use crate::error;
use crate::registry::Entry;

/// CLIENT LIST.
pub fn list(call: &mut Call<'_, '_>) {
    let args = call.args;
    let fits: Box<dyn Fn(&Entry) -> bool> = match args.len() {
        2 => Box::new(|_| true),
        4 if args.is(2, "type") => match ClientType::named(args.get(3)) {
            Ok(wanted) => Box::new(move |entry| ClientType::of(entry) == wanted),
            Err(refusal) => return call.reply.error(&refusal),
        },
        4.. if args.is(2, "id") => {
            let ids: Option<std::collections::HashSet<u64>> =
                (3..args.len()).map(|at| args.integer(at).map(i64::cast_unsigned)).collect();
            match ids {
                Some(ids) => Box::new(move |entry| ids.contains(&entry.id)),
                None => return call.reply.error(b"ERR Invalid client ID"),
            }
        }
        _ => return call.reply.error(error::SYNTAX),
    };
    let now = call.client.server.broker.clock().now().monotonic;
    let mut text = Vec::new();
    for entry in call.client.server.clients.all() {
        if fits(&entry) {
            line(&mut text, &entry, now);
        }
    }
    call.reply.verbatim(&text);
}

/// CLIENT INFO.
pub fn info(call: &mut Call<'_, '_>) {
    let mut text = Vec::new();
    line(&mut text, &call.client.entry, call.client.server.broker.clock().now().monotonic);
    call.reply.verbatim(&text);
}

fn line(out: &mut Vec<u8>, entry: &Entry, now: Monotonic) {
    let age = now.ms_since(entry.since) / 1000;
    let idle = now.ms_since(Monotonic(entry.active.load(Relaxed))) / 1000;
    let names = entry.names.lock().clone();
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut flags = String::new();
    for (set, letter) in [
        (entry.is_subscriber(), 'P'),
        (entry.no_evict.load(Relaxed), 'e'),
        (entry.no_touch.load(Relaxed), 'T'),
    ] {
        flags.extend(set.then_some(letter));
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let PendingSize { bytes, messages } = entry.waiting();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd=0 name={} age={age} idle={idle} flags={flags} db={} sub={} psub={} ssub={} multi=-1 watch=0 \
         qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll={messages} omem={bytes} tot-mem={bytes} events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}",
        entry.id,
        entry.peer,
        entry.local,
        shown(&names.name),
        entry.database.load(Relaxed),
        entry.channels.load(Relaxed),
        entry.patterns.load(Relaxed),
        entry.shards.load(Relaxed),
        name_at(entry.command.load(Relaxed)),
        if entry.resp3.load(Relaxed) { 3 } else { 2 },
        shown(&names.library),
        shown(&names.library_version),
    );
    out.extend_from_slice(text.as_bytes());
}
