//! What members ask of a group and what they are told: plain values, no wire format.
//!
//! A join or a sync may have to wait for others; it is answered later under its [`Token`], exactly once.

use std::sync::Arc;

use bytes::Bytes;

use super::{GroupError, State};

/// Names a request that waits; the caller chooses it and never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One way of assigning that a member offers (an assignor), with what it tells the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Name, e.g. `range`.
    pub name: Arc<str>,
    /// Opaque to the group.
    pub metadata: Bytes,
}

/// A member wants to be in the next generation.
#[derive(Clone, Debug)]
pub struct JoinAsk {
    /// The id it was given; empty for a newcomer.
    pub member_id: Arc<str>,
    /// Set for a static member.
    pub instance_id: Option<Arc<str>>,
    /// The connection's client id.
    pub client_id: Arc<str>,
    /// Where it comes from, for operators.
    pub client_host: Arc<str>,
    /// How long it may be silent, milliseconds.
    pub session_timeout_ms: u64,
    /// How long it may take to rejoin, milliseconds.
    pub rebalance_timeout_ms: u64,
    /// What kind of group, e.g. `consumer`.
    pub protocol_type: Arc<str>,
    /// What it offers, best first.
    pub protocols: Vec<Protocol>,
    /// It can be asked to join again with an id (JoinGroup v4 and later).
    pub id_required: bool,
    /// It can be told that a leader has nothing to assign (JoinGroup v9 and later).
    pub can_skip_assignment: bool,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub id: Arc<str>,
    /// Instance id of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// A place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// The id of the member that is told this.
    pub member_id: Arc<str>,
    /// The leader need not assign: the group keeps what it has.
    pub skip_assignment: bool,
    /// All members, for the leader; empty for others.
    pub members: Vec<JoinedMember>,
}

/// Why there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// The reason.
    pub error: GroupError,
    /// The id to go on with; empty if none.
    pub member_id: Arc<str>,
}

/// A member wants its assignment; the leader brings everybody's.
#[derive(Clone, Debug)]
pub struct SyncAsk {
    /// Member id.
    pub member_id: Arc<str>,
    /// Instance id of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation it joined.
    pub generation: i32,
    /// The protocol type it believes in, if it says.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol it believes in, if it says.
    pub protocol: Option<Arc<str>>,
    /// From the leader: assignment per member id.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// What a member has been assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen.
    pub protocol: Option<Arc<str>>,
    /// Opaque; empty if the leader gave it nothing.
    pub assignment: Bytes,
}

/// An answer to a waiting request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(Token, Result<Joined, JoinRefused>),
    /// To a sync.
    Sync(Token, Result<Synced, GroupError>),
}

/// Who speaks: for heartbeats and commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Member id; empty if it has none.
    pub member_id: Arc<str>,
    /// Instance id of a static member.
    pub instance_id: Option<Arc<str>>,
}

impl Identity {
    /// From what a request says; `member_id` is empty if the member has none.
    pub fn new(member_id: impl Into<Arc<str>>, instance_id: Option<String>) -> Self {
        Self { member_id: member_id.into(), instance_id: instance_id.map(Arc::from) }
    }
}

/// A member as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Member id.
    pub id: Arc<str>,
    /// Instance id of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Client id.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// Metadata of the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A group as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Name.
    pub id: Arc<str>,
    /// State.
    pub state: State,
    /// Protocol type; empty if it never had members.
    pub protocol_type: Arc<str>,
    /// Protocol chosen; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Members by id.
    pub members: Vec<MemberView>,
}
