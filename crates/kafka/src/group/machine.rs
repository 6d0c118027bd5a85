//! One group: its state, its members and the book-keeping that every operation shares. The operations are beside it:
//! `join`, `statics`, `rebalance`, `sync`, `present` (heartbeats, commits), `leave`, `timers`.
//!
//! Invariants: `waiting_joins` counts the members whose join waits; `bytes` is what members and pending ids cost; a round
//! is open exactly while the state is `PreparingRebalance`; a sync waits only in `CompletingRebalance`; every parked token is
//! answered once, before its member goes. Checked by `assert_sound` in the tests after each step.
//!
//! Pure: `now` comes in, replies and the next deadline go out. Source: KIP-62, KIP-134, KIP-345, KIP-394, KIP-814.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use duolog_broker::{Monotonic, Now};
use duolog_record::Timestamp;

use super::member::{Member, protocols_bytes};
use super::{
    GroupConfig, GroupError, GroupView, Identity, JoinRefused, Joined, MemberIds, MemberView, Protocol,
    Reply, State, Synced, Token, limits, protocol,
};

/// What an operation works with.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) ids: &'a mut MemberIds,
    pub(super) replies: &'a mut Vec<Reply>,
}

/// A gathering of members for the next generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// When it ends, whoever is missing.
    pub(super) ends_at: Monotonic,
    /// Set in the first round of an empty group, which waits for company.
    pub(super) initial: Option<Initial>,
}

/// The delay of a first round: extended while members keep arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial {
    /// How much further it may be extended, milliseconds.
    pub(super) left_ms: u64,
    /// Somebody arrived since the delay was last set.
    pub(super) arrived: bool,
}

/// A group. See the module's head.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Ids given out by `MemberIdRequired` and when they lapse.
    pub(super) pending: BTreeMap<Arc<str>, Monotonic>,
    /// Instance id -> member id of static members.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) waiting_joins: usize,
    pub(super) round: Option<Round>,
    /// When members that still owe a sync are dropped.
    pub(super) sync_by: Option<Monotonic>,
    /// When it last became empty.
    pub(super) emptied_at: Timestamp,
    /// When `fire` is to be called: never later than the earliest real deadline, often earlier.
    pub(super) wake_at: Option<Monotonic>,
    pub(super) bytes: usize,
    pub(super) arrivals: u64,
    /// Members went and the others have not been told yet.
    pub(super) departed: bool,
}

impl Group {
    pub(super) fn new(now: Now) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            instances: BTreeMap::new(),
            waiting_joins: 0,
            round: None,
            sync_by: None,
            emptied_at: now.wall,
            wake_at: None,
            bytes: 0,
            arrivals: 0,
            departed: false,
        }
    }

    /// True if nothing of it needs remembering: it has never had a member and expects none.
    pub(super) fn is_blank(&self) -> bool {
        self.state == State::Empty && self.generation == 0 && self.pending.is_empty()
    }

    /// True if it has no member and expects none.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty()
    }

    /// Who speaks must be a member; a static one must be the current holder of its instance id.
    ///
    /// # Errors
    /// `Fenced` if another member holds the instance id, `UnknownMember` if there is no such member or instance.
    pub(super) fn validate(&self, who: &Identity) -> Result<(), GroupError> {
        if let Some(instance) = &who.instance_id {
            match self.instances.get(instance) {
                Some(holder) if *holder != who.member_id => return Err(GroupError::Fenced),
                Some(_) => {}
                None => return Err(GroupError::UnknownMember),
            }
        }
        if self.members.contains_key(&who.member_id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// Asks to be called at `at` or earlier.
    pub(super) fn wake(&mut self, at: Monotonic) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// The member has shown that it lives. A newcomer has no id to show it again with until its first generation.
    pub(super) fn touch(&mut self, id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(id) {
            let ms = if member.newcomer { limits::NEWCOMER_JOIN_MS } else { member.session_timeout_ms };
            let at = now.monotonic.plus_ms(ms);
            member.expires_at = at;
            self.wake(at);
        }
    }

    /// Takes a member in; the first one leads and says what kind of group it is.
    pub(super) fn insert(&mut self, member: Member, protocol_type: &Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.bytes += member.footprint();
        self.wake(member.expires_at);
        let gone = self.members.insert(member.id.clone(), member);
        debug_assert!(gone.is_none(), "a member id is never given out twice");
    }

    /// Takes a member out; what it waits for is answered with `error`. The earliest of the others leads if it led.
    pub(super) fn remove(&mut self, id: &str, error: GroupError, context: &mut Context<'_>) {
        self.refuse_join(id, error, context);
        self.answer_sync(id, Err(error), context);
        let Some(member) = self.members.remove(id) else { return };
        self.bytes -= member.footprint();
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance).is_some_and(|holder| *holder == member.id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_ref() == Some(&member.id) {
            self.leader = self.earliest(|_| true);
        }
    }

    /// The earliest arrival among the members that `which` wants.
    pub(super) fn earliest(&self, which: impl Fn(&Member) -> bool) -> Option<Arc<str>> {
        self.members
            .values()
            .filter(|member| which(member))
            .min_by_key(|member| member.arrival)
            .map(|m| m.id.clone())
    }

    /// Remembers an id that was given out until `until`.
    pub(super) fn expect_member(&mut self, id: Arc<str>, until: Monotonic) {
        self.bytes += pending_bytes(&id);
        self.pending.insert(id, until);
        self.wake(until);
    }

    /// Forgets an id that was given out. True if it was expected.
    pub(super) fn forget_pending(&mut self, id: &str) -> bool {
        let gone = self.pending.remove_entry(id);
        if let Some((id, _)) = &gone {
            self.bytes -= pending_bytes(id);
        }
        gone.is_some()
    }

    /// Replaces what a member offers and how patient it is.
    pub(super) fn set_offer(
        &mut self,
        id: &str,
        protocols: Vec<Protocol>,
        session_timeout_ms: u64,
        rebalance_timeout_ms: u64,
    ) {
        if let Some(member) = self.members.get_mut(id) {
            self.bytes -= protocols_bytes(&member.protocols);
            self.bytes += protocols_bytes(&protocols);
            member.protocols = protocols;
            member.session_timeout_ms = session_timeout_ms;
            member.rebalance_timeout_ms = rebalance_timeout_ms;
        }
    }

    /// Replaces a member's assignment.
    pub(super) fn assign(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(id) {
            self.bytes -= member.assignment.len();
            self.bytes += assignment.len();
            member.assignment = assignment;
        }
    }

    /// Lets a join wait. An earlier one of the same member is over: its sender has given it up and asked again.
    pub(super) fn park_join(&mut self, id: &str, token: Token, context: &mut Context<'_>) {
        self.refuse_join(id, GroupError::RebalanceInProgress, context);
        if let Some(member) = self.members.get_mut(id) {
            member.join = Some(token);
            self.waiting_joins += 1;
        }
    }

    /// Lets a sync wait, as [`Self::park_join`].
    pub(super) fn park_sync(&mut self, id: &str, token: Token, context: &mut Context<'_>) {
        self.answer_sync(id, Err(GroupError::RebalanceInProgress), context);
        if let Some(member) = self.members.get_mut(id) {
            member.sync = Some(token);
        }
    }

    /// Answers a waiting join. True if there was one.
    pub(super) fn answer_join(
        &mut self,
        id: &str,
        answer: Result<Joined, JoinRefused>,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(token) = self.members.get_mut(id).and_then(|member| member.join.take()) else {
            return false;
        };
        self.waiting_joins -= 1;
        context.replies.push(Reply::Join(token, answer));
        true
    }

    /// Refuses a waiting join. An unknown member is to come back as a newcomer, so it is given no id.
    pub(super) fn refuse_join(&mut self, id: &str, error: GroupError, context: &mut Context<'_>) {
        let member_id = if error == GroupError::UnknownMember { Arc::from("") } else { Arc::from(id) };
        self.answer_join(id, Err(JoinRefused { error, member_id }), context);
    }

    /// Answers a waiting sync. True if there was one.
    pub(super) fn answer_sync(
        &mut self,
        id: &str,
        answer: Result<Synced, GroupError>,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(token) = self.members.get_mut(id).and_then(|member| member.sync.take()) else {
            return false;
        };
        context.replies.push(Reply::Sync(token, answer));
        true
    }

    /// The longest rebalance timeout of a member, milliseconds; 0 without members.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0);
        longest.min(limits::REBALANCE_TIMEOUT_MS)
    }

    /// The protocol that the members would choose now.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        protocol::select(self.members.values(), leader)
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// A member's place in the current generation; the leader is told of all members.
    pub(super) fn place(&self, id: &Arc<str>) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = if self.is_leader(id) {
            self.members.values().map(|member| member.seen_by_leader(protocol)).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.clone(),
            skip_assignment: false,
            members,
        }
    }

    /// A member's assignment in the current generation.
    pub(super) fn share(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// As operators see it: metadata, assignments and the protocol only while they hold.
    pub(super) fn view(&self, id: &Arc<str>) -> GroupView {
        let stable = self.state == State::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let view = |member: &Member| MemberView {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        };
        let members = self.members.values().map(view).collect();
        let protocol_type = self.protocol_type.clone().unwrap_or_default();
        GroupView { id: id.clone(), state: self.state, protocol_type, protocol, members }
    }
}

/// What a pending id costs, bytes.
pub(super) fn pending_bytes(id: &str) -> usize {
    limits::MEMBER_OVERHEAD_BYTES / 2 + id.len()
}
