//! CLUSTER and its relatives: refused as by a server that is not part of a cluster, so that clients go on without one.

use super::{ADMIN, CONNECTION, Call, Command, FAST, LOADING, NOSCRIPT, STALE};
use crate::error::NO_CLUSTER;

const fn refused(name: &'static str, arity: i32, flags: u32) -> Command {
    Command::new(name, arity, flags, no_cluster).about("cluster", "3.0.0", "Refused: there is no cluster")
}

/// See the module.
pub const COMMANDS: &[Command] = &[
    refused("asking", 1, FAST | CONNECTION),
    refused("readonly", 1, LOADING | STALE | FAST | CONNECTION),
    refused("readwrite", 1, LOADING | STALE | FAST | CONNECTION),
    Command::container(
        "cluster",
        &[
            refused("cluster|addslots", -3, ADMIN | STALE),
            refused("cluster|addslotsrange", -4, ADMIN | STALE),
            refused("cluster|bumpepoch", 2, ADMIN | STALE),
            refused("cluster|count-failure-reports", 3, ADMIN | STALE),
            refused("cluster|countkeysinslot", 3, STALE),
            refused("cluster|delslots", -3, ADMIN | STALE),
            refused("cluster|delslotsrange", -4, ADMIN | STALE),
            refused("cluster|failover", -2, ADMIN | STALE),
            refused("cluster|flushslots", 2, ADMIN | STALE),
            refused("cluster|forget", 3, ADMIN | STALE),
            refused("cluster|getkeysinslot", 4, STALE),
            refused("cluster|help", 2, LOADING | STALE),
            refused("cluster|info", 2, STALE),
            refused("cluster|keyslot", 3, STALE),
            refused("cluster|links", 2, STALE),
            refused("cluster|meet", -4, ADMIN | STALE),
            refused("cluster|myid", 2, STALE),
            refused("cluster|myshardid", 2, STALE),
            refused("cluster|nodes", 2, STALE),
            refused("cluster|replicas", 3, ADMIN | STALE),
            refused("cluster|replicate", 3, ADMIN | STALE),
            refused("cluster|reset", -2, ADMIN | NOSCRIPT | STALE),
            refused("cluster|saveconfig", 2, ADMIN | STALE),
            refused("cluster|set-config-epoch", 3, ADMIN | STALE),
            refused("cluster|setslot", -4, ADMIN | STALE),
            refused("cluster|shards", 2, STALE),
            refused("cluster|slaves", 3, ADMIN | STALE),
            refused("cluster|slots", 2, STALE),
        ],
    )
    .about("cluster", "3.0.0", "Refused: there is no cluster"),
];

fn no_cluster(call: &mut Call<'_, '_>) {
    call.reply.error(NO_CLUSTER);
}
