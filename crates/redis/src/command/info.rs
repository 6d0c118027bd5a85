//! INFO: what is true of this broker, under the names that clients and dashboards of Redis read.

use std::fmt::Write;

use super::{Call, Command, DANGEROUS, LOADING, STALE};

/// The version of Redis whose protocol this is. Clients decide by it what they may ask for.
pub const REDIS_VERSION: &str = "7.4.0";

/// See the module.
pub const COMMANDS: &[Command] = &[Command::new("info", -1, LOADING | STALE | DANGEROUS, info)
    .about("server", "1.0.0", "Tells about the server, section by section")
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])];

/// Writes the lines of a section.
type Section = fn(&mut String, &Call<'_, '_>);

/// Sections, in order.
const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Modules", |_, _| ()),
    ("Errorstats", |_, _| ()),
    ("Cluster", |out, _| out.push_str("cluster_enabled:0\r\n")),
    // Without keys there is no line for any database.
    ("Keyspace", |_, _| ()),
];

fn info(call: &mut Call<'_, '_>) {
    let wanted: Vec<&[u8]> = call.args.from(1).collect();
    let is_wanted = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|word| {
                let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
                is(name) || is("all") || is("default") || is("everything")
            })
    };
    let mut text = String::new();
    for (name, write) in SECTIONS.iter().filter(|(name, _)| is_wanted(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {name}\r\n");
        write(&mut text, call);
    }
    call.reply.verbatim(text.as_bytes());
}

/// Writes lines `name:value`; writing to a string does not fail.
macro_rules! lines {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {
        $( let _ = write!($out, concat!($name, ":{}\r\n"), $value); )*
    };
}

fn server(out: &mut String, call: &Call<'_, '_>) {
    let server = &call.client.server;
    let now = server.broker.clock().now();
    let uptime_s = now.monotonic.ms_since(server.since.monotonic) / 1000;
    lines!(out,
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "standalone",
        "product": "duolog",
        "duolog_version": server.options.version,
        "os": std::env::consts::OS,
        "arch_bits": usize::BITS,
        "multiplexing_api": "tokio",
        "process_id": std::process::id(),
        "run_id": run_id(server.options.seed),
        "tcp_port": call.client.entry.local.port(),
        "server_time_usec": now.wall.0.saturating_mul(1000),
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86_400,
        "config_file": "",
    );
}

/// Forty hex digits that differ from run to run.
pub fn run_id(seed: u64) -> String {
    let mut id = String::new();
    let mut state = seed;
    while id.len() < 40 {
        // One step of SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let _ = write!(id, "{:016x}", mixed ^ (mixed >> 31));
    }
    id.truncate(40);
    id
}

fn clients(out: &mut String, call: &Call<'_, '_>) {
    let server = &call.client.server;
    let all = server.clients.all();
    lines!(out,
        "connected_clients": all.len(),
        "cluster_connections": 0,
        "maxclients": server.options.connections_max,
        "blocked_clients": 0,
        "tracking_clients": 0,
        "pubsub_clients": all.iter().filter(|entry| entry.is_subscriber()).count(),
        "watching_clients": 0,
        "clients_in_timeout_table": 0,
        "total_watched_keys": 0,
        "total_blocking_keys": 0,
    );
}

fn memory(out: &mut String, call: &Call<'_, '_>) {
    // What waits for the listeners of all protocols: there is no other data in memory that a client put there.
    let used = call.client.server.broker.live().stats().bytes;
    lines!(out,
        "used_memory": used,
        "used_memory_human": format_args!("{used}B"),
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
        "mem_allocator": "jemalloc",
    );
}

fn persistence(out: &mut String, _call: &Call<'_, '_>) {
    lines!(out,
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": "ok",
    );
}

fn stats(out: &mut String, call: &Call<'_, '_>) {
    let server = &call.client.server;
    let stats = server.stats();
    let (mut channels, mut shards) = (0_u64, 0_u64);
    server.broker.live().literals(&mut |subject, _| {
        *(if crate::subject::is_channel(subject) { &mut channels } else { &mut shards }) += 1;
    });
    lines!(out,
        "total_connections_received": stats.connections_begun,
        "total_commands_processed": stats.commands,
        "rejected_connections": 0,
        "expired_keys": 0,
        "evicted_keys": 0,
        "evicted_clients": 0,
        "keyspace_hits": 0,
        "keyspace_misses": 0,
        "pubsub_channels": channels,
        "pubsub_patterns": server.broker.live().globs(),
        "pubsubshard_channels": shards,
        "client_output_buffer_limit_disconnections": stats.subscribers_cut,
    );
}

fn replication(out: &mut String, call: &Call<'_, '_>) {
    lines!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": run_id(call.client.server.options.seed.wrapping_add(1)),
        "master_replid2": "0".repeat(40),
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
    );
}

#[cfg(test)]
mod tests {
    use super::run_id;

    #[test]
    fn a_run_is_known_by_forty_hex_digits() {
        assert_eq!(run_id(7).len(), 40);
        assert!(run_id(7).bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(run_id(7), run_id(8));
    }
}
