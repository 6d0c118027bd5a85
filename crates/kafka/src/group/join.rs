//! Joining: newcomers, members that come back, and who is let in.
//!
//! Source: KIP-394 (an id before membership), KIP-389 (`group.max.size`), KIP-345 (static members, see `statics`).

use std::sync::Arc;

use super::machine::{Context, Group};
use super::member::Member;
use super::{GroupError, Identity, JoinAsk, JoinRefused, Joined, Reply, State, Token, limits, protocol};

impl Group {
    /// Handles a join; it is answered now or when the round ends.
    pub(super) fn join(&mut self, token: Token, ask: JoinAsk, context: &mut Context<'_>) {
        if let Err(refused) = self.admit(&ask, context) {
            context.replies.push(Reply::Join(token, Err(refused)));
        } else if ask.member_id.is_empty() {
            self.join_new(token, ask, context);
        } else {
            self.join_known(token, ask, context);
        }
        self.try_complete_round(context);
    }

    /// Whether there is room and a common protocol. A member that the group has outgrown is dropped.
    fn admit(&mut self, ask: &JoinAsk, context: &mut Context<'_>) -> Result<(), JoinRefused> {
        if !self.has_room_for(&ask.member_id, context.config.members_max.min(limits::MEMBERS_PER_GROUP)) {
            self.remove(&ask.member_id, GroupError::Full, context);
            self.forget_pending(&ask.member_id);
            return Err(JoinRefused { error: GroupError::Full, member_id: Arc::from("") });
        }
        let same_type = self.members.is_empty() || self.protocol_type.as_ref() == Some(&ask.protocol_type);
        if ask.protocol_type.is_empty()
            || !same_type
            || !protocol::fits(self.members.values(), &ask.protocols)
        {
            return Err(refused(GroupError::InconsistentProtocol, &ask.member_id));
        }
        Ok(())
    }

    /// While members gather, those that wait count: a place is not kept for somebody who may never come.
    fn has_room_for(&self, id: &str, members_max: usize) -> bool {
        let member = self.members.get(id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.join.is_some()) || self.waiting_joins < members_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < members_max
            }
        }
    }

    fn join_new(&mut self, token: Token, ask: JoinAsk, context: &mut Context<'_>) {
        let prefix = ask.instance_id.as_ref().unwrap_or(&ask.client_id);
        let id = context.ids.next(prefix);
        let holder = ask.instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        if let Some(holder) = holder {
            self.replace_static(token, &holder, id, ask, context);
        } else if ask.id_required && ask.instance_id.is_none() {
            let error = if self.pending.len() < limits::PENDING_PER_GROUP {
                let until = context.now.monotonic.plus_ms(ask.session_timeout_ms);
                self.expect_member(id.clone(), until);
                JoinRefused { error: GroupError::MemberIdRequired, member_id: id }
            } else {
                refused(GroupError::Full, "")
            };
            context.replies.push(Reply::Join(token, Err(error)));
        } else {
            self.join_as(token, id, ask, context);
        }
    }

    fn join_known(&mut self, token: Token, ask: JoinAsk, context: &mut Context<'_>) {
        let id = ask.member_id.clone();
        // An id that was given out belongs to a dynamic member; with an instance id it is somebody else's.
        if ask.instance_id.is_none() && self.forget_pending(&id) {
            return self.join_as(token, id, ask, context);
        }
        let who = Identity { member_id: id.clone(), instance_id: ask.instance_id.clone() };
        if let Err(error) = self.validate(&who) {
            let answer = Err(refused(error, &id));
            context.replies.push(Reply::Join(token, answer));
            return;
        }
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == ask.protocols);
        match self.state {
            State::CompletingRebalance if unchanged => self.join_again(token, &id, context),
            // A leader that joins again wants a new assignment: it saw the topics change.
            State::Stable if unchanged && !self.is_leader(&id) => self.join_again(token, &id, context),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.rejoin(token, &id, ask, context);
            }
            State::Empty | State::Dead => {
                let answer = Err(refused(GroupError::UnknownMember, &id));
                context.replies.push(Reply::Join(token, answer));
            }
        }
    }

    /// A member that already has its place did not hear the answer: it is told again.
    fn join_again(&mut self, token: Token, id: &Arc<str>, context: &mut Context<'_>) {
        self.touch(id, context.now);
        let place: Joined = self.place(id);
        context.replies.push(Reply::Join(token, Ok(place)));
    }

    /// A member joins the next generation, and starts its round if none is open.
    pub(super) fn rejoin(&mut self, token: Token, id: &Arc<str>, ask: JoinAsk, context: &mut Context<'_>) {
        self.set_offer(id, ask.protocols, ask.session_timeout_ms, ask.rebalance_timeout_ms);
        self.park_join(id, token, context);
        self.prepare_rebalance(context);
    }

    /// Takes in a new member under `id`.
    fn join_as(&mut self, token: Token, id: Arc<str>, ask: JoinAsk, context: &mut Context<'_>) {
        let kind = ask.protocol_type.clone();
        let expires_at = context.now.monotonic.plus_ms(limits::NEWCOMER_JOIN_MS);
        self.arrivals += 1;
        self.insert(Member::new(id.clone(), ask, self.arrivals, expires_at), &kind);
        if let Some(initial) = self.round.as_mut().and_then(|round| round.initial.as_mut()) {
            initial.arrived = true;
        }
        self.park_join(&id, token, context);
        self.prepare_rebalance(context);
    }
}

/// A refusal that leaves the member the id it came with.
pub(super) fn refused(error: GroupError, member_id: &str) -> JoinRefused {
    JoinRefused { error, member_id: Arc::from(member_id) }
}
