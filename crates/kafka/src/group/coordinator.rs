//! All groups of a broker: finds the group a request is about, keeps the budget, and knows when to wake.
//!
//! Invariants: `bytes` is the sum over the groups and never grows past `limits::BYTES_TOTAL` by a request; `wakes` holds each
//! group's `wake_at` once; a blank group is not kept. Pure: see `machine`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use duolog_broker::{Monotonic, Now};
use duolog_record::Timestamp;

use super::machine::{Context, Group};
use super::member::protocols_bytes;
use super::{
    GroupConfig, GroupError, GroupView, Identity, JoinAsk, JoinRefused, MemberIds, Reply, State, SyncAsk,
    Token, limits,
};

/// A group in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Name.
    pub id: Arc<str>,
    /// Protocol type; empty if it has none.
    pub protocol_type: Arc<str>,
    /// State.
    pub state: State,
}

/// Whether a group is in use, for those who delete offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It has members, or expects some.
    Busy,
    /// Its last member left then.
    EmptySince(Timestamp),
    /// It has had no member since the broker started.
    NeverUsed,
}

/// All groups. See the module's head.
pub struct Coordinator {
    config: GroupConfig,
    ids: MemberIds,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) wakes: BTreeSet<(Monotonic, Arc<str>)>,
    pub(super) bytes: usize,
}

impl Coordinator {
    /// No groups yet. `ids` gives out member ids.
    #[must_use]
    pub fn new(config: GroupConfig, ids: MemberIds) -> Self {
        Self { config, ids, groups: BTreeMap::new(), wakes: BTreeSet::new(), bytes: 0 }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// When [`Self::fire`] is to be called next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Monotonic> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// A member joins; `token` is answered in `replies` now or by a later call, exactly once.
    pub fn join(&mut self, now: Now, group: &str, token: Token, ask: JoinAsk, replies: &mut Vec<Reply>) {
        if let Err(error) = self.admit(group, &ask) {
            let member_id = ask.member_id;
            replies.push(Reply::Join(token, Err(JoinRefused { error, member_id })));
            return;
        }
        self.with(now, group, replies, |group, context| group.join(token, ask, context));
    }

    fn admit(&self, group: &str, ask: &JoinAsk) -> Result<(), GroupError> {
        check_name(group)?;
        let bounds = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        if !bounds.contains(&ask.session_timeout_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let offer = protocols_bytes(&ask.protocols);
        let names = [&ask.client_id, &ask.client_host, &ask.protocol_type, &ask.member_id];
        if ask.protocols.len() > limits::PROTOCOLS_PER_MEMBER
            || offer > limits::MEMBER_METADATA_BYTES
            || names.into_iter().chain(&ask.instance_id).any(|name| name.len() > limits::NAME_BYTES)
        {
            return Err(GroupError::TooLarge);
        }
        if !ask.member_id.is_empty() && !self.groups.contains_key(group) {
            return Err(GroupError::UnknownMember);
        }
        let prefix = ask.instance_id.as_ref().unwrap_or(&ask.client_id).len();
        let cost = limits::MEMBER_OVERHEAD_BYTES + offer + 3 * prefix + ask.client_host.len() + 64;
        let crowded = self.groups.len() >= limits::GROUPS && !self.groups.contains_key(group);
        if crowded || self.bytes + cost > limits::BYTES_TOTAL {
            return Err(GroupError::Full);
        }
        Ok(())
    }

    /// A member asks for its assignment; answered as [`Self::join`].
    pub fn sync(&mut self, now: Now, group: &str, token: Token, ask: SyncAsk, replies: &mut Vec<Reply>) {
        if let Err(error) = self.check_known(group) {
            replies.push(Reply::Sync(token, Err(error)));
            return;
        }
        let size: usize = ask.assignments.iter().map(|(_, share)| share.len()).sum();
        let fits = size <= limits::ASSIGNMENT_BYTES && self.bytes + size <= limits::BYTES_TOTAL;
        self.with(now, group, replies, |group, context| group.sync(token, ask, fits, context));
    }

    /// A member lives.
    ///
    /// # Errors
    /// `RebalanceInProgress` if it is to join again; others if it has no place.
    pub fn heartbeat(
        &mut self,
        now: Now,
        group: &str,
        who: &Identity,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.check_known(group)?;
        self.with(now, group, &mut Vec::new(), |group, context| group.heartbeat(who, generation, context))
    }

    /// Members leave; one answer each, in order.
    ///
    /// # Errors
    /// `InvalidGroupId`; `TooLarge` if more are named than one request may.
    pub fn leave(
        &mut self,
        now: Now,
        group: &str,
        leaving: &[Identity],
        replies: &mut Vec<Reply>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        check_name(group)?;
        if leaving.len() > limits::LEAVES_PER_REQUEST {
            return Err(GroupError::TooLarge);
        }
        if !self.groups.contains_key(group) {
            return Ok(vec![Err(GroupError::UnknownMember); leaving.len()]);
        }
        Ok(self.with(now, group, replies, |group, context| group.leave(leaving, context)))
    }

    /// Whether this member, or nobody in particular (generation -1), may commit offsets now. The empty group id may, as old
    /// clients use it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_commit(
        &mut self,
        now: Now,
        group: &str,
        who: &Identity,
        generation: i32,
    ) -> Result<(), GroupError> {
        if group.len() > limits::NAME_BYTES {
            return Err(GroupError::InvalidGroupId);
        }
        if !self.groups.contains_key(group) {
            return if generation < 0 { Ok(()) } else { Err(GroupError::IllegalGeneration) };
        }
        self.with(now, group, &mut Vec::new(), |group, context| group.check_commit(who, generation, context))
    }

    /// Forgets a group without members. True if it was known.
    ///
    /// # Errors
    /// `NonEmpty` if it has members.
    pub fn delete(&mut self, group: &str) -> Result<bool, GroupError> {
        let Some(found) = self.groups.get(group) else { return Ok(false) };
        if found.state != State::Empty {
            return Err(GroupError::NonEmpty);
        }
        self.drop_group(group);
        Ok(true)
    }

    /// Whether the group's offsets are in use.
    #[must_use]
    pub fn usage(&self, group: &str) -> Use {
        match self.groups.get(group) {
            None => Use::NeverUsed,
            Some(found) if !found.is_idle() => Use::Busy,
            Some(found) if found.generation == 0 => Use::NeverUsed,
            Some(found) => Use::EmptySince(found.emptied_at),
        }
    }

    /// What operators see of a group; `None` if it has no members and never had.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<GroupView> {
        self.groups.get_key_value(group).map(|(id, group)| group.view(id))
    }

    /// All groups that have or had members, by name.
    pub fn list(&self) -> impl Iterator<Item = GroupListing> + '_ {
        self.groups.iter().map(|(id, group)| GroupListing {
            id: id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        })
    }

    /// Does what is due; cheap if nothing is.
    pub fn fire(&mut self, now: Now, replies: &mut Vec<Reply>) {
        while let Some((at, name)) = self.wakes.first().cloned() {
            if at > now.monotonic {
                return;
            }
            self.with(now, &name, replies, |group, context| {
                group.fire(context);
                // What is due is done: a wake-up that stays in the past would turn this loop for ever.
                if group.wake_at.is_some_and(|next| next <= now.monotonic) {
                    group.wake_at = Some(Monotonic(now.monotonic.0.saturating_add(1)));
                }
            });
        }
    }

    /// Runs an operation on a group, made if need be, and keeps the books.
    fn with<T>(
        &mut self,
        now: Now,
        name: &str,
        replies: &mut Vec<Reply>,
        operation: impl FnOnce(&mut Group, &mut Context<'_>) -> T,
    ) -> T {
        if !self.groups.contains_key(name) {
            self.groups.insert(Arc::from(name), Group::new(now));
        }
        let key = self.groups.get_key_value(name).map(|(key, _)| key.clone()).unwrap_or_default();
        let group = self.groups.get_mut(name).expect("it was inserted above");
        let (bytes, wake) = (group.bytes, group.wake_at);
        let mut context = Context { now, config: &self.config, ids: &mut self.ids, replies };
        let result = operation(group, &mut context);
        self.bytes = self.bytes - bytes + group.bytes;
        let (blank, next) = (group.is_blank(), group.wake_at);
        if wake != next {
            self.wakes.extend(next.map(|at| (at, key.clone())));
            if let Some(at) = wake {
                self.wakes.remove(&(at, key));
            }
        }
        if blank {
            self.drop_group(name);
        }
        result
    }

    fn drop_group(&mut self, name: &str) {
        if let Some((key, group)) = self.groups.remove_entry(name) {
            self.bytes -= group.bytes;
            if let Some(at) = group.wake_at {
                self.wakes.remove(&(at, key));
            }
        }
    }

    fn check_known(&self, group: &str) -> Result<(), GroupError> {
        check_name(group)?;
        if self.groups.contains_key(group) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }
}

/// Names of groups that have members: not empty, not longer than the wire's strings.
fn check_name(group: &str) -> Result<(), GroupError> {
    if group.is_empty() || group.len() > limits::NAME_BYTES {
        return Err(GroupError::InvalidGroupId);
    }
    Ok(())
}
