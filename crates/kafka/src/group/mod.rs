//! Consumer groups: the classic rebalance protocol as a state machine, and its shell.
//!
//! `Coordinator` is pure: requests and the time go in, replies and the next deadline come out; `machine` and the files named
//! there are one group. `Groups` is the shell around it. Members, generations and assignments live in memory only: after a restart members find themselves
//! unknown and join again. Offsets are the broker's cursors and durable.
//! Source: the Kafka protocol guide (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) and the KIPs named in each file.

mod ask;
mod config;
mod coordinator;
mod error;
mod expiry;
mod forget;
mod groups;
mod ids;
mod join;
mod leave;
pub mod limits;
mod machine;
mod member;
mod present;
mod protocol;
mod rebalance;
mod state;
mod statics;
mod sweep;
mod sync;
mod timers;

#[cfg(test)]
mod tests;

pub use ask::{
    GroupView, Identity, JoinAsk, JoinRefused, Joined, JoinedMember, MemberView, Protocol, Reply, SyncAsk,
    Synced, Token,
};
pub use config::GroupConfig;
pub use coordinator::{Coordinator, GroupListing, Use};
pub use error::GroupError;
pub use groups::{Groups, OffsetsError};
pub use ids::MemberIds;
pub use state::State;
