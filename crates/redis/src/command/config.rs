//! CONFIG: the settings of Redis that mean something here, with the values that hold.
//!
//! One can be changed, the bounds of what waits for subscribers. Setting another to what it is changes nothing and is no error;
//! to something else it is refused, rather than accepted and not kept.

use std::collections::HashSet;

use duolog_broker::live::Pattern;

use super::{ADMIN, Call, Command, LOADING, NOSCRIPT, STALE, help};
use crate::client::Client;
use crate::error;
use crate::limits::{DATABASES, QUOTED_BYTES};
use crate::server::BufferLimits;

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;
const EACH: &str = "O(N) where N is the number of settings";

/// See the module.
pub const COMMANDS: &[Command] = &[Command::container(
    "config",
    &[
        Command::new("config|get", -3, FLAGS, get).about("server", "2.0.0", "Tells settings").grows(EACH),
        Command::new("config|help", 2, LOADING | STALE, show_help).about(
            "server",
            "5.0.0",
            "Shows the subcommands",
        ),
        Command::new("config|resetstat", 2, FLAGS, resetstat).about(
            "server",
            "2.0.0",
            "Counts from nought again what INFO counts",
        ),
        Command::new("config|rewrite", 2, FLAGS, rewrite).about(
            "server",
            "2.8.0",
            "Refused: settings are not written to a file",
        ),
        Command::new("config|set", -4, FLAGS, set)
            .about("server", "2.0.0", "Changes settings")
            .grows(EACH)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ],
)
.about("server", "2.0.0", "Settings of the server")];

/// The one that can be changed.
const BUFFERS: &str = "client-output-buffer-limit";
/// Classes of it beside `pubsub`, with what holds for them. Replies of ordinary clients are bounded by not serving more
/// requests, and there are no replicas.
const FIXED_CLASSES: &[(&str, &str, [u64; 3])] =
    &[("normal", "normal", [0, 0, 0]), ("slave", "replica", [268_435_456, 67_108_864, 60])];

/// A setting: its name, its value, and whether Redis lets nobody change it either.
struct Setting {
    name: &'static str,
    value: fn(&Client) -> String,
    immutable: bool,
}

const fn setting(name: &'static str, value: fn(&Client) -> String) -> Setting {
    Setting { name, value, immutable: false }
}

const fn immutable(name: &'static str, value: fn(&Client) -> String) -> Setting {
    Setting { name, value, immutable: true }
}

const SETTINGS: &[Setting] = &[
    setting("appendonly", |_| "no".to_owned()),
    setting("bind", |client| client.entry.local.ip().to_string()),
    setting(BUFFERS, |client| shown(client.server.buffers.get())),
    immutable("cluster-enabled", |_| "no".to_owned()),
    immutable("databases", |_| DATABASES.to_string()),
    setting("dir", |client| client.server.options.data_dir.clone()),
    setting("maxclients", |client| client.server.options.connections_max.to_string()),
    setting("maxmemory", |_| "0".to_owned()),
    setting("maxmemory-policy", |_| "noeviction".to_owned()),
    setting("notify-keyspace-events", |_| String::new()),
    setting("port", |client| client.entry.local.port().to_string()),
    setting("proto-max-bulk-len", |client| client.bulk_bytes_max.to_string()),
    setting("replica-read-only", |_| "yes".to_owned()),
    setting("requirepass", |_| String::new()),
    setting("save", |_| String::new()),
    setting("slave-read-only", |_| "yes".to_owned()),
    setting("tcp-keepalive", |_| "0".to_owned()),
    setting("timeout", |_| "0".to_owned()),
];

fn shown(limits: BufferLimits) -> String {
    let mut text = String::new();
    for (class, _, [hard, soft, seconds]) in FIXED_CLASSES {
        text += &format!("{class} {hard} {soft} {seconds} ");
    }
    text + &format!("pubsub {} {} {}", limits.hard_bytes, limits.soft_bytes, limits.soft_ms / 1000)
}

fn get(call: &mut Call<'_, '_>) {
    let patterns: Vec<Pattern> =
        call.args.from(2).map(|pattern| Pattern::glob(&pattern.to_ascii_lowercase())).collect();
    let named: Vec<&Setting> = SETTINGS
        .iter()
        .filter(|setting| patterns.iter().any(|pattern| pattern.matches(setting.name.as_bytes())))
        .collect();
    call.reply.map(named.len());
    for setting in named {
        call.reply.bulk(setting.name.as_bytes());
        call.reply.bulk((setting.value)(call.client).as_bytes());
    }
}

/// All are checked before any is changed.
fn set(call: &mut Call<'_, '_>) {
    if !call.args.len().is_multiple_of(2) {
        return call.reply.error(error::SYNTAX);
    }
    let mut seen = HashSet::new();
    let mut buffers = call.client.server.buffers.get();
    for at in (2..call.args.len()).step_by(2) {
        let (name, value) = (call.args.get(at), call.args.get(at + 1));
        let Some(setting) = SETTINGS.iter().find(|it| name.eq_ignore_ascii_case(it.name.as_bytes())) else {
            let shown = &name[..name.len().min(QUOTED_BYTES)];
            let text =
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", shown, b"'"].concat();
            return call.reply.error(&text);
        };
        let checked = if !seen.insert(setting.name) {
            Err("duplicate parameter")
        } else if setting.name == BUFFERS {
            parse_buffers(value, &mut buffers)
        } else if setting.immutable || (setting.value)(call.client).as_bytes() != value {
            Err("can't set immutable config")
        } else {
            Ok(())
        };
        if let Err(why) = checked {
            let name = setting.name;
            let text = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
            return call.reply.error(text.as_bytes());
        }
    }
    call.client.server.buffers.set(buffers);
    call.reply.simple("OK");
}

/// Reads `class hard soft seconds`, once or more.
fn parse_buffers(value: &[u8], buffers: &mut BufferLimits) -> Result<(), &'static str> {
    let text = String::from_utf8_lossy(value);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.");
    }
    for four in words.chunks(4) {
        let is = |class: &str| four[0].eq_ignore_ascii_case(class);
        let fixed = FIXED_CLASSES.iter().find(|(class, other, _)| is(class) || is(other));
        if fixed.is_none() && !is("pubsub") {
            return Err("Invalid client class specified in buffer limit configuration.");
        }
        let seconds = four[3].parse::<u32>().ok().map(u64::from);
        let (Some(hard), Some(soft), Some(seconds)) = (bytes(four[1]), bytes(four[2]), seconds) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        };
        match fixed {
            Some((.., holds)) if *holds == [hard, soft, seconds] => {}
            Some(_) => return Err("can't set immutable config"),
            None => {
                let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                *buffers = BufferLimits {
                    hard_bytes: length(hard),
                    soft_bytes: length(soft),
                    soft_ms: seconds * 1000,
                };
            }
        }
    }
    Ok(())
}

/// Bytes as Redis writes them: `8mb` is 8 times 2 to the 20th, `8m` 8 million.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn resetstat(call: &mut Call<'_, '_>) {
    call.client.server.reset_stats();
    call.reply.simple("OK");
}

fn rewrite(call: &mut Call<'_, '_>) {
    call.reply.error(b"ERR The server is running without a config file");
}

fn show_help(call: &mut Call<'_, '_>) {
    help(
        call,
        "CONFIG",
        &[
            ("GET <pattern> [<pattern> ...]", "Settings whose names match, with their values."),
            ("RESETSTAT", "Count from nought again what INFO counts."),
            ("REWRITE", "Refused: settings are not written to a file."),
            (
                "SET <name> <value> [<name> <value> ...]",
                "Change settings; client-output-buffer-limit is one.",
            ),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::{bytes, parse_buffers, shown};
    use crate::server::BufferLimits;

    #[test]
    fn sizes_have_the_units_of_redis() {
        for (text, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("8mb", Some(8 << 20)),
            ("8M", Some(8_000_000)),
            ("1gb", Some(1 << 30)),
            ("2kb", Some(2048)),
            ("x", None),
            ("-1", None),
            ("1tb", None),
            ("99999999999999gb", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_bounds_of_subscribers_can_be_changed() {
        let mut limits = BufferLimits { hard_bytes: 0, soft_bytes: 0, soft_ms: 0 };
        assert_eq!(parse_buffers(b"normal 0 0 0 pubsub 32mb 8mb 60", &mut limits), Ok(()));
        assert_eq!(limits, BufferLimits { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_ms: 60_000 });
        assert_eq!(shown(limits), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
        for refused in ["", "pubsub 1 1", "pubsub 1 1 x", "other 1 1 1", "normal 1 0 0"] {
            assert!(parse_buffers(refused.as_bytes(), &mut limits).is_err(), "{refused}");
        }
    }
}
