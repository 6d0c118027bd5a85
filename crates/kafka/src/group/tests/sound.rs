//! What must hold after every step, whatever happened.

use std::collections::BTreeSet;

use super::super::machine::{Group, pending_bytes};
use super::super::{Coordinator, State};

impl Coordinator {
    /// Checks the books against what they count.
    pub(in crate::group) fn assert_sound(&self) {
        let bytes: usize = self.groups.values().map(|group| group.bytes).sum();
        assert_eq!(self.bytes, bytes, "the budget's sum");
        let wakes: BTreeSet<_> =
            self.groups.iter().filter_map(|(name, group)| Some((group.wake_at?, name.clone()))).collect();
        assert_eq!(self.wakes, wakes, "the wake-ups");
        for (name, group) in &self.groups {
            assert!(!group.is_blank(), "{name} is blank and kept");
            group.assert_sound();
        }
    }
}

impl Group {
    fn assert_sound(&self) {
        let members = self.members.values();
        assert_eq!(self.waiting_joins, members.clone().filter(|m| m.join.is_some()).count(), "waiting joins");
        let pending: usize = self.pending.keys().map(|id| pending_bytes(id)).sum();
        assert_eq!(self.bytes, pending + members.clone().map(|m| m.footprint()).sum::<usize>(), "bytes");
        assert_eq!(
            self.round.is_some(),
            self.state == State::PreparingRebalance,
            "a round is open: {self:?}"
        );
        assert!(
            members.clone().all(|m| m.sync.is_none()) || self.state == State::CompletingRebalance,
            "syncs"
        );
        assert!(
            members.clone().all(|m| m.join.is_none()) || self.state == State::PreparingRebalance,
            "joins"
        );
        assert!(self.state != State::Empty || self.members.is_empty(), "an empty group has members");
        assert!(
            !matches!(self.state, State::Stable | State::CompletingRebalance) || !self.members.is_empty(),
            "a generation without members"
        );
        assert!(
            self.leader.as_ref().is_none_or(|id| self.members.contains_key(id)),
            "the leader is a member"
        );
        assert!(!self.departed, "departures are told");
        for (instance, id) in &self.instances {
            let member = self.members.get(id).expect("an instance's member exists");
            assert_eq!(member.instance_id.as_ref(), Some(instance));
        }
        let earliest = self.members.values().filter(|m| m.newcomer || (m.join.is_none() && m.sync.is_none()));
        for member in earliest {
            assert!(self.wake_at.is_some_and(|at| at <= member.expires_at), "a session without a wake-up");
        }
    }
}
