//! Structures that several responses share.

use crate::codec::message::message;

message! {
    LeaderIdAndEpoch {
        leader_id: i32 [..] = -1;
        leader_epoch: i32 [..] = -1;
    }
    NodeEndpoint {
        node_id: i32 [..];
        host: String [..];
        port: i32 [..];
        rack: Option<String> [..];
    }
}
