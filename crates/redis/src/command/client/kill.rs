//! CLIENT KILL: by address, or by everything that options name together.

use duolog_broker::Monotonic;

use super::ClientType;
use crate::codec::Args;
use crate::command::Call;
use crate::error;
use crate::registry::Entry;

/// What a connection must be like to be ended.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<ClientType>,
    address: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    age_min_s: Option<u64>,
    spares_me: bool,
}

/// CLIENT KILL.
pub fn kill(call: &mut Call<'_, '_>) {
    if call.args.len() == 3 {
        let address = call.args.get(2).to_vec();
        let filter = Filter { address: Some(address), ..Filter::default() };
        return match end(call, &filter) {
            0 => call.reply.error(b"ERR No such client"),
            _ => call.reply.simple("OK"),
        };
    }
    match Filter::read(call.args) {
        Ok(filter) => {
            let ended = end(call, &filter);
            call.reply.integer(ended);
        }
        Err(refusal) => call.reply.error(&refusal),
    }
}

/// Ends all that fit; how many they were. The connection that asks still gets its answer.
fn end(call: &mut Call<'_, '_>, filter: &Filter) -> i64 {
    let now = call.client.server.broker.clock().now().monotonic;
    let me = call.client.entry.id;
    let mut ended = 0;
    for entry in call.client.server.clients.all() {
        let is_me = entry.id == me;
        if entry.is_killed() || (is_me && filter.spares_me) || !filter.fits(&entry, now) {
            continue;
        }
        ended += 1;
        if is_me {
            call.client.ending = true;
        } else {
            entry.kill();
        }
    }
    ended
}

impl Filter {
    /// Reads pairs of an option and its value.
    fn read(args: Args<'_>) -> Result<Self, Vec<u8>> {
        let mut filter = Self { spares_me: true, ..Self::default() };
        let mut at = 2;
        while at < args.len() {
            if at + 1 == args.len() {
                return Err(error::SYNTAX.to_vec());
            }
            let value = args.get(at + 1);
            if args.is(at, "id") {
                let id = args.integer(at + 1).filter(|id| *id > 0);
                let id = id.ok_or_else(|| b"ERR client-id should be greater than 0".to_vec())?;
                filter.id = Some(id.cast_unsigned());
            } else if args.is(at, "maxage") {
                let age = args
                    .integer(at + 1)
                    .ok_or_else(|| b"ERR maxage is not an integer or out of range".to_vec())?;
                let age = u64::try_from(age).ok().filter(|age| *age > 0);
                filter.age_min_s = Some(age.ok_or_else(|| b"ERR maxage should be greater than 0".to_vec())?);
            } else if args.is(at, "type") {
                filter.kind = Some(ClientType::named(value)?);
            } else if args.is(at, "addr") {
                filter.address = Some(value.to_vec());
            } else if args.is(at, "laddr") {
                filter.local = Some(value.to_vec());
            } else if args.is(at, "user") {
                if value != b"default" {
                    let shown = &value[..value.len().min(crate::limits::QUOTED_BYTES)];
                    return Err([b"ERR No such user '", shown, b"'"].concat());
                }
            } else if args.is(at, "skipme") && args.is(at + 1, "yes") {
                filter.spares_me = true;
            } else if args.is(at, "skipme") && args.is(at + 1, "no") {
                filter.spares_me = false;
            } else {
                return Err(error::SYNTAX.to_vec());
            }
            at += 2;
        }
        Ok(filter)
    }

    fn fits(&self, entry: &Entry, now: Monotonic) -> bool {
        let is = |wanted: &Option<Vec<u8>>, address: std::net::SocketAddr| {
            wanted.as_ref().is_none_or(|wanted| *wanted == address.to_string().into_bytes())
        };
        self.id.is_none_or(|id| id == entry.id)
            && self.kind.is_none_or(|kind| kind == ClientType::of(entry))
            && self.age_min_s.is_none_or(|age| now.ms_since(entry.since) / 1000 >= age)
            && is(&self.address, entry.peer)
            && is(&self.local, entry.local)
    }
}
