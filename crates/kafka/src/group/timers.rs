//! What happens by itself: ids that lapse, members that fall silent, rounds and syncs that take too long.
//!
//! Heartbeats only move a member's deadline; `wake_at` stays where it was and is set right here, so a heartbeat costs no
//! look at the other members.

use duolog_broker::Monotonic;

use super::machine::{Context, Group};
use super::{GroupError, State};

impl Group {
    /// Does what is due and sets the next wake-up.
    pub(super) fn fire(&mut self, context: &mut Context<'_>) {
        let now = context.now.monotonic;
        self.drop_lapsed(now);
        self.drop_silent(context);
        self.members_gone(context);
        if self.sync_by.is_some_and(|by| by <= now) {
            self.drop_unsynced(context);
        }
        if self.round.is_some_and(|round| round.ends_at <= now) {
            self.round_over(context);
        }
        self.wake_at = self.next_deadline();
    }

    fn drop_lapsed(&mut self, now: Monotonic) {
        let lapsed: Vec<_> =
            self.pending.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone()).collect();
        for id in lapsed {
            self.forget_pending(&id);
        }
    }

    fn drop_silent(&mut self, context: &mut Context<'_>) {
        let now = context.now.monotonic;
        let silent: Vec<_> =
            self.members.values().filter(|member| !member.is_alive(now)).map(|m| m.id.clone()).collect();
        for id in silent {
            self.remove(&id, GroupError::UnknownMember, context);
            self.departed = true;
        }
    }

    /// Members that were told of the generation and never asked for their assignment hold up or waste partitions.
    fn drop_unsynced(&mut self, context: &mut Context<'_>) {
        self.sync_by = None;
        if !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        let owing: Vec<_> =
            self.members.values().filter(|member| member.owes_sync).map(|m| m.id.clone()).collect();
        for id in owing {
            self.remove(&id, GroupError::UnknownMember, context);
            self.departed = true;
        }
        self.members_gone(context);
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let waits = |member: &&super::member::Member| {
            member.newcomer || (member.join.is_none() && member.sync.is_none())
        };
        let sessions = self.members.values().filter(waits).map(|member| member.expires_at);
        let pending = self.pending.values().copied();
        let round = self.round.map(|round| round.ends_at);
        sessions.chain(pending).chain(round).chain(self.sync_by).min()
    }
}
