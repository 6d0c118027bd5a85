//! Topics and queues over one log: the deterministic core and the sessions through which frontends reach it.
//!
//! Place: floor 2. Knows no protocol, no socket, no clock. One at a time drives a shard: decides, applies in
//! memory, commits, and answers when the commit is durable. Frontends use [`Session`] and nothing else.

mod ahead;
mod broker;
mod by_epoch;
mod by_time;
pub mod catalog;
pub mod clock;
pub mod core;
pub mod deaths;
mod decoded;
pub mod errors;
pub mod forward;
pub mod headers;
mod idempotency;
mod inbox;
pub mod ledger;
pub mod limits;
pub mod live;
mod moves;
mod principal;
mod reader;
mod ready;
mod room;
pub mod routing;
mod seed;
mod session;
mod shard;
mod shared;
mod standing;
mod state;
mod trie;
mod verbs;
mod watch;
pub mod when;

pub use broker::{Broker, BrokerOptions, Stepper};
pub use catalog::{
    Backoff, Catalog, DeadLetter, DedupPolicy, Keep, Labels, Order, Overflow, Queue, QueueId, QueuePolicy,
    QueueSpec, Start, Topic, TopicId, TopicPolicy, TopicSpec,
};
pub use clock::{Clock, Monotonic, Now};
pub use moves::{MoveFilter, MoveId, MoveSpec, MoveStatus, MoveTask};
pub use principal::{Action, Authorizer, Capability, Permissive, Principal};
pub use session::{Gap, Pending, Session};
pub use shared::Written;
pub use standing::Standing;
pub use verbs::{
    Advance, Appended, AttemptId, Cursor, CursorMove, Depth, EpochEnd, Gate, GroupCursors, Isolation,
    KnownProducer, LeaseAsk, LeaseId, Leased, NewRecord, OffsetAt, Outcome, Overview, Published, ReadAsk,
    ReadSlice, Routed,
};
pub use watch::Readable;
